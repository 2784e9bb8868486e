//! A snapshot: what a volume held at a moment, kept on the volume's own host.

pub mod api;
pub mod flows;
pub mod store;

use std::collections::BTreeMap;

use kit::clock::Timestamp;
use kit::db::Json;
use sea_orm::entity::prelude::*;

/// `status`: creating -> available -> deleting -> (gone), or an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text")]
pub enum Status {
    #[sea_orm(string_value = "creating")]
    Creating,
    #[sea_orm(string_value = "available")]
    Available,
    #[sea_orm(string_value = "deleting")]
    Deleting,
    #[sea_orm(string_value = "error")]
    Error,
    #[sea_orm(string_value = "error_deleting")]
    ErrorDeleting,
}

impl Status {
    pub fn text(self) -> String {
        self.to_value()
    }

    pub fn parse(text: &str) -> Option<Status> {
        Status::try_from_value(&text.to_owned()).ok()
    }

    /// Nothing is going on with it.
    pub fn is_settled(self) -> bool {
        match self {
            Status::Available | Status::Error | Status::ErrorDeleting => true,
            Status::Creating | Status::Deleting => false,
        }
    }
}

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
    pub created_at: Timestamp,
    pub updated_at: Option<Timestamp>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

pub type Snapshot = Model;
