//! Projects, which own what the other services make; a domain is a project too ([`crate::domains`]). [`api`] has the operations, [`tree`]
//! what is above and below, [`tags`] their labels, [`store`] the queries.

pub mod api;
pub mod store;
pub mod tags;
pub mod tree;
pub mod view;

use kit::clock::Timestamp;
use sea_orm::entity::prelude::*;

use crate::fields::Extra;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "projects")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub name: String,
    /// Empty for a domain.
    pub domain_id: String,
    /// The domain for a project at the top; nothing for a domain.
    pub parent_id: Option<String>,
    pub is_domain: bool,
    pub description: String,
    pub enabled: bool,
    /// Tokens issued earlier for this, or for anything in it, are void.
    pub tokens_valid_from: Timestamp,
    pub tags: kit::db::Json<Vec<String>>,
    pub options: Extra,
    pub extra: Extra,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The options a project or domain can have.
pub const OPTIONS: &[&str] = &["immutable"];

impl Model {
    /// Whether an administrator has protected it from changes.
    pub fn is_immutable(&self) -> bool {
        self.options.0.get("immutable") == Some(&serde_json::Value::Bool(true))
    }
}
