//! Credentials: secrets of users for other ways to log in, encrypted at rest. [`api`] has the operations, [`ec2`] those on access keys and
//! requests signed with them ([`signature`]), [`totp`] the codes of one-time password devices.

pub mod api;
pub mod ec2;
pub mod signature;
pub mod store;
pub mod totp;

use sea_orm::entity::prelude::*;

use crate::fields::Extra;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "credentials")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// `ec2`, `totp`, `cert` or what a program likes.
    pub r#type: String,
    pub user_id: String,
    pub project_id: Option<String>,
    /// The blob, sealed with the keys for credentials.
    pub sealed: String,
    pub extra: Extra,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
