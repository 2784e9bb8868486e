//! A volume: its row, and its states.

pub mod actions;
pub mod api;
pub mod build;
pub mod create;
pub mod delete;
pub mod encryption;
pub mod events;
pub mod extend;
pub mod filters;
pub mod metadata;
pub mod migrate;
pub mod reimage;
pub mod reset;
pub mod retype;
pub mod revert;
pub mod source;
pub mod status;
pub mod store;
pub mod upload;
pub mod view;

use kit::clock::Timestamp;
use sea_orm::entity::prelude::*;

pub use status::{AttachStatus, Change, Status};

/// A row of `volumes`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "volumes")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub project_id: String,
    pub user_id: String,
    pub name: Option<String>,
    pub description: Option<String>,
    /// GiB
    pub size: i64,
    pub status: Status,
    pub attach_status: AttachStatus,
    pub migration_status: Option<String>,
    pub bootable: bool,
    pub multiattach: bool,
    pub readonly: bool,
    pub availability_zone: String,
    /// `HOST@BACKEND`, once scheduled.
    pub host: Option<String>,
    pub type_id: String,
    pub snapshot_id: Option<String>,
    pub source_volid: Option<String>,
    pub group_id: Option<String>,
    pub encryption_key_id: Option<String>,
    /// Under which id the storage keeps its data since it moved, if not under its own.
    pub name_id: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Option<Timestamp>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

pub type Volume = Model;

impl Model {
    /// Under which id the storage keeps its data.
    pub fn data_id(&self) -> &str {
        self.name_id.as_deref().unwrap_or(&self.id)
    }
}
