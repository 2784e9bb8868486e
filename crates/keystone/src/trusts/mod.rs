//! Trusts: a user (the trustor) lets another (the trustee) act in a project with some of the trustor's roles, as the trustor or as
//! themselves. [`api`] has the operations, [`store`] the queries; logging in through one is in [`crate::tokens::auth`].

pub mod api;
pub mod store;

use kit::clock::Timestamp;
use sea_orm::entity::prelude::*;

use crate::fields::Extra;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "trusts")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub trustor_user_id: String,
    pub trustee_user_id: String,
    pub project_id: Option<String>,
    /// The trustee acts as the trustor.
    pub impersonation: bool,
    /// Ids.
    pub roles: kit::db::Json<Vec<String>>,
    pub expires_at: Option<Timestamp>,
    /// Nothing for as often as one likes.
    pub remaining_uses: Option<i64>,
    /// The trust this one passes on.
    pub redelegated_trust_id: Option<String>,
    /// How often it can still be passed on; zero forbids it.
    pub redelegation_count: i64,
    pub deleted_at: Option<Timestamp>,
    pub extra: Extra,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// The user a token of this trust speaks for.
    pub fn acting_user(&self) -> &String {
        if self.impersonation { &self.trustor_user_id } else { &self.trustee_user_id }
    }
}
