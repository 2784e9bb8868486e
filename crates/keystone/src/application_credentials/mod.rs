//! Application credentials: secrets with which a program acts as its user, in one project, with no more than some of the user's roles.

pub mod access_rules;
pub mod api;
pub mod store;

use kit::clock::Timestamp;
use kit::context::AccessRule;
use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "application_credentials")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub name: String,
    pub user_id: String,
    pub project_id: String,
    pub secret_hash: String,
    pub description: Option<String>,
    pub expires_at: Option<Timestamp>,
    /// It may make further credentials.
    pub unrestricted: bool,
    /// Ids.
    pub roles: kit::db::Json<Vec<String>>,
    /// What it may call; nothing for everything.
    pub access_rules: Option<kit::db::Json<Vec<AccessRule>>>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
