//! A snapshot of a group: one of each of its volumes, made and deleted together.

pub mod api;
pub mod flows;
pub mod store;

use kit::clock::Timestamp;
use sea_orm::entity::prelude::*;

use crate::groups::Status;

/// A row of `group_snapshots`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "group_snapshots")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub group_id: String,
    pub project_id: String,
    pub user_id: String,
    pub name: Option<String>,
    pub description: Option<String>,
    pub type_id: String,
    pub status: Status,
    pub created_at: Timestamp,
    pub updated_at: Option<Timestamp>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

pub type GroupSnapshot = Model;
