//! The accounts of servers: at the end of each period every host's servers of that time are told as `instance.exists`, and the host's row in
//! `usage_audits` says so. The log of it is `/os-instance_usage_audit_log`.

pub mod api;
pub mod period;
pub mod run;

use kit::clock::Timestamp;
use sea_orm::entity::prelude::*;

/// A row: the account of one host and period.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "usage_audits")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub host: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub period_beginning: Timestamp,
    #[sea_orm(primary_key, auto_increment = false)]
    pub period_ending: Timestamp,
    /// `DONE`: it is written with what it tells.
    pub state: String,
    pub task_items: i64,
    pub errors: i64,
    pub message: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
