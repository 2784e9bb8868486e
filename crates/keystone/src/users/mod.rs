//! Users: who can log in. [`api`] has the operations, [`store`] the queries.

pub mod api;
pub mod store;
mod view;

use kit::clock::Timestamp;
use sea_orm::entity::prelude::*;

use crate::fields::Extra;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "users")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub name: String,
    pub domain_id: String,
    pub default_project_id: Option<String>,
    /// Absent when the user cannot log in with a password.
    pub password_hash: Option<String>,
    pub enabled: bool,
    /// Tokens issued earlier are void.
    pub tokens_valid_from: Timestamp,
    pub options: Extra,
    pub extra: Extra,
    pub password_set_at: Timestamp,
    pub password_expires_at: Option<Timestamp>,
    /// Hashes of earlier passwords, the latest first.
    pub password_history: kit::db::Json<Vec<String>>,
    /// Wrong passwords since the last right one, while they are counted.
    pub failed_logins: i64,
    pub failed_login_at: Timestamp,
    /// The last login, or when the user was made or enabled; noted while an operator cares.
    pub last_active_at: Timestamp,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// A user without a password.
    pub fn new(id: String, name: String, domain_id: String) -> Model {
        Model {
            id,
            name,
            domain_id,
            default_project_id: None,
            password_hash: None,
            enabled: true,
            tokens_valid_from: Timestamp::default(),
            options: Extra::default(),
            extra: Extra::default(),
            password_set_at: Timestamp::default(),
            password_expires_at: None,
            password_history: kit::db::Json::default(),
            failed_logins: 0,
            failed_login_at: Timestamp::default(),
            last_active_at: Timestamp::now(),
        }
    }
}

/// The options a user can have.
pub const OPTIONS: &[&str] = &[
    "ignore_change_password_upon_first_use",
    "ignore_password_expiry",
    "ignore_lockout_failure_attempts",
    "lock_password",
    "multi_factor_auth_enabled",
    "multi_factor_auth_rules",
    "ignore_user_inactivity",
];
