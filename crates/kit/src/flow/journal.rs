//! The journal's rows: which flow is at which step, and whose it is.

use sea_orm::entity::prelude::*;

use crate::clock::Timestamp;

/// A row of the journal.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "flows")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub kind: String,
    /// What the flow works on, a server's id say.
    pub subject: String,
    pub step: i64,
    pub backward: bool,
    pub state: String,
    pub error: Option<String>,
    pub owner: String,
    pub lease_until: Timestamp,
    pub created_at: Timestamp,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
