//! Who has which role on what. [`grants`] sets and checks one assignment at a time, [`list`] answers `GET /v3/role_assignments`.

pub mod effective;
pub mod grants;
pub mod list;
pub mod store;

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, Hash, DeriveEntityModel)]
#[sea_orm(table_name = "assignments")]
pub struct Model {
    /// `user` or `group`.
    pub actor_kind: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub actor_id: String,
    /// `project`, `domain` or `system`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub target_kind: String,
    /// `system` where the kind is that.
    #[sea_orm(primary_key, auto_increment = false)]
    pub target_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub role_id: String,
    /// It holds for what is below the target and not for the target itself.
    #[sea_orm(primary_key, auto_increment = false)]
    pub inherited: bool,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
