//! An attachment: the use of a volume by a server. Without a connector it only reserves the volume; with one, the volume is exported; when
//! completed, the volume is in use.

pub mod api;
pub mod legacy;
pub mod store;
pub mod view;

use kit::clock::Timestamp;
use kit::db::Json;
use sea_orm::entity::prelude::*;

use crate::volumes::AttachStatus;

/// A row of `attachments`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "attachments")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub volume_id: String,
    pub project_id: String,
    pub instance_id: Option<String>,
    /// Of the connector.
    pub host: Option<String>,
    pub mountpoint: Option<String>,
    pub status: AttachStatus,
    /// `rw` or `ro`
    pub mode: String,
    pub connector: Option<Json<serde_json::Value>>,
    pub connection_info: Option<Json<serde_json::Value>>,
    pub created_at: Timestamp,
    pub attached_at: Option<Timestamp>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

pub type Attachment = Model;
