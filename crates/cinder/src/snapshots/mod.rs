//! A snapshot: what a volume held at a moment, kept on the volume's own host.

pub mod actions;
pub mod api;
pub mod flows;
pub mod metadata;
pub mod status;
pub mod store;
pub mod view;

use std::collections::BTreeMap;

use kit::clock::Timestamp;
use kit::db::Json;
use sea_orm::entity::prelude::*;

pub use status::{Change, Status};

/// A row of `snapshots`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "snapshots")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub volume_id: String,
    pub project_id: String,
    pub user_id: String,
    pub name: Option<String>,
    pub description: Option<String>,
    pub size: i64,
    pub status: Status,
    pub metadata: Json<BTreeMap<String, String>>,
    pub group_snapshot_id: Option<String>,
    /// As a host that takes it by itself tells.
    pub progress: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Option<Timestamp>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

pub type Snapshot = Model;
