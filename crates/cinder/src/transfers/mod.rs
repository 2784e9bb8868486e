//! A transfer: the offer of a volume to whoever knows its key. The key itself is told once and kept only as a salted digest.

pub mod accept;
pub mod api;

use kit::clock::Timestamp;
use kit::{Error, Result};
use sea_orm::entity::prelude::*;
use sha2::{Digest, Sha256};

/// A row of `transfers`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "transfers")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub volume_id: String,
    pub name: Option<String>,
    pub salt: String,
    pub digest: String,
    pub no_snapshots: bool,
    /// Who offers.
    pub project_id: String,
    pub created_at: Timestamp,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

pub type Transfer = Model;

pub async fn fetch(db: &impl ConnectionTrait, id: &str) -> Result<Transfer> {
    Entity::find_by_id(id).one(db).await?.ok_or_else(|| not_found(id))
}

pub fn not_found(id: &str) -> Error {
    Error::not_found(format!("Transfer {id} could not be found."))
}

/// What is kept of a key.
pub fn digest(salt: &str, key: &str) -> String {
    Sha256::digest(format!("{salt}:{key}")).iter().map(|byte| format!("{byte:02x}")).collect()
}
