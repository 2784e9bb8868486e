//! Roles, and which implies which. [`api`] has the operations on roles, [`implications`] those on what they imply.

pub mod api;
pub mod implications;
pub mod store;

use sea_orm::entity::prelude::*;

use crate::fields::Extra;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "roles")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub name: String,
    /// Empty for a global role. A role of a domain only serves to imply others.
    pub domain_id: String,
    pub description: Option<String>,
    pub options: Extra,
    pub extra: Extra,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Who has the prior role has the implied one too.
pub mod implied {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "implied_roles")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub prior_role_id: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub implied_role_id: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
