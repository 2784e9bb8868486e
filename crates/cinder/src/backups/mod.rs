//! A backup: what a volume held, in a place of its own, from which volumes can be made when the volume is gone.
//!
//! ```text
//!  creating -> available <-> restoring
//!      \           |
//!     error     deleting -> (gone), error_deleting
//! ```

pub mod api;
pub mod create;
pub mod flows;
pub mod keeper;
pub mod records;
pub mod restore;
pub mod store;
pub mod view;

use std::collections::BTreeMap;

use kit::clock::Timestamp;
use kit::db::Json;
use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

/// `status`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text")]
#[serde(rename_all = "snake_case")]
pub enum Status {
    #[sea_orm(string_value = "creating")]
    Creating,
    #[sea_orm(string_value = "available")]
    Available,
    #[sea_orm(string_value = "restoring")]
    Restoring,
    #[sea_orm(string_value = "deleting")]
    Deleting,
    #[sea_orm(string_value = "error")]
    Error,
    #[sea_orm(string_value = "error_deleting")]
    ErrorDeleting,
}

/// What changes a backup's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter)]
pub enum Change {
    Created,
    CreateFailed,
    Restore,
    Restored,
    Delete,
    ForceDelete,
    DeleteFailed,
}

/// Each change with the states it may come from and the one it leads to.
pub const TABLE: &[(Change, &[Status], Status)] = &[
    (Change::Created, &[Status::Creating], Status::Available),
    (Change::CreateFailed, &[Status::Creating], Status::Error),
    (Change::Restore, &[Status::Available], Status::Restoring),
    (Change::Restored, &[Status::Restoring], Status::Available),
    (Change::Delete, &[Status::Available, Status::Error], Status::Deleting),
    (Change::ForceDelete, &[Status::Available, Status::Error, Status::ErrorDeleting, Status::Restoring], Status::Deleting),
    (Change::DeleteFailed, &[Status::Deleting], Status::ErrorDeleting),
];

impl Change {
    /// Where it may come from, and where it leads.
    pub fn rule(self) -> (&'static [Status], Status) {
        let row = TABLE.iter().find(|(change, _, _)| *change == self);
        // every change has its row, which a test checks; none would allow nothing
        row.map_or((&[], Status::Error), |(_, from, to)| (from, *to))
    }
}

impl Status {
    pub fn text(self) -> String {
        self.to_value()
    }

    pub fn parse(text: &str) -> Option<Status> {
        Status::try_from_value(&text.to_owned()).ok()
    }

    /// The states that a flow is in the middle of, each with what becomes of the backup if there is no such flow.
    pub fn without_flow(self) -> Option<Status> {
        match self {
            Status::Creating => Some(Status::Error),
            Status::Restoring => Some(Status::Available),
            Status::Deleting => Some(Status::ErrorDeleting),
            Status::Available | Status::Error | Status::ErrorDeleting => None,
        }
    }
}

/// A row of `backups`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "backups")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub project_id: String,
    pub user_id: String,
    pub volume_id: String,
    pub snapshot_id: Option<String>,
    /// The backup this one builds on.
    pub parent_id: Option<String>,
    /// `HOST@BACKEND`, where it is kept.
    pub host: String,
    pub name: Option<String>,
    pub description: Option<String>,
    /// GiB of the volume.
    pub size: i64,
    pub status: Status,
    pub object_count: i64,
    pub fail_reason: Option<String>,
    pub container: Option<String>,
    pub availability_zone: String,
    pub metadata: Json<BTreeMap<String, String>>,
    /// Under which id the host keeps it, if not its own: that of the backup whose record was imported as this one.
    pub data_id: Option<String>,
    /// The bucket it is in, from which every host reads it.
    pub bucket: Option<String>,
    pub encryption_key_id: Option<String>,
    /// What was known of the volume, for the volumes made of it.
    pub about: Option<Json<About>>,
    /// When the volume held what the backup holds.
    pub data_at: Timestamp,
    pub created_at: Timestamp,
    pub updated_at: Option<Timestamp>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

pub type Backup = Model;

impl Model {
    /// The id under which the host keeps it.
    pub fn data_id(&self) -> &str {
        self.data_id.as_deref().unwrap_or(&self.id)
    }
}

/// What a volume has beside its data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct About {
    pub name: Option<String>,
    pub description: Option<String>,
    pub bootable: bool,
    pub metadata: BTreeMap<String, String>,
    pub image_metadata: BTreeMap<String, String>,
    /// The type of an encrypted volume: only such volumes can hold what it held.
    #[serde(default)]
    pub type_id: Option<String>,
}

#[cfg(test)]
mod tests {
    use sea_orm::Iterable;

    use super::*;

    #[test]
    fn every_change_has_one_row() {
        for change in Change::iter() {
            assert_eq!(TABLE.iter().filter(|(other, _, _)| *other == change).count(), 1, "{change:?}");
        }
    }
}
