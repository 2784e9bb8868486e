//! A group: volumes that are kept, copied and deleted together.
//!
//! `creating -> available -> deleting -> (gone)`, or `error`, `error_deleting`.

pub mod api;
pub mod change;
pub mod create;
pub mod flows;
pub mod store;
pub mod view;

use kit::clock::Timestamp;
use kit::db::Json;
use sea_orm::entity::prelude::*;

/// `status`, of groups and of their snapshots.
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

/// Each state with those that may follow it.
pub const TABLE: &[(Status, &[Status])] = &[
    (Status::Creating, &[Status::Available, Status::Error]),
    (Status::Available, &[Status::Deleting]),
    (Status::Error, &[Status::Deleting]),
    (Status::Deleting, &[Status::ErrorDeleting]),
    (Status::ErrorDeleting, &[Status::Deleting]),
];

impl Status {
    /// Whether the other may follow this one.
    pub fn may_become(self, other: Status) -> bool {
        TABLE.iter().any(|(from, to)| *from == self && to.contains(&other))
    }

    pub fn text(self) -> String {
        self.to_value()
    }

    pub fn parse(text: &str) -> Option<Status> {
        Status::try_from_value(&text.to_owned()).ok()
    }

    /// The states that a flow is in the middle of, each with what becomes of it if there is no such flow.
    pub fn without_flow(self) -> Option<Status> {
        match self {
            Status::Creating => Some(Status::Error),
            Status::Deleting => Some(Status::ErrorDeleting),
            Status::Available | Status::Error | Status::ErrorDeleting => None,
        }
    }
}

/// A row of `volume_groups`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "volume_groups")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub project_id: String,
    pub user_id: String,
    pub name: Option<String>,
    pub description: Option<String>,
    pub type_id: String,
    /// The ids of the types its volumes may have.
    pub volume_types: Json<Vec<String>>,
    pub availability_zone: String,
    pub status: Status,
    /// What it was made from.
    pub group_snapshot_id: Option<String>,
    pub source_group_id: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Option<Timestamp>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

pub type Group = Model;

#[cfg(test)]
mod tests {
    use sea_orm::Iterable;

    use super::*;

    #[test]
    fn every_state_has_one_row_and_what_a_flow_is_in_can_end() {
        for status in Status::iter() {
            assert_eq!(TABLE.iter().filter(|(from, to)| *from == status && !to.is_empty()).count(), 1, "{status:?}");
            assert!(status.without_flow().is_none_or(|after| status.may_become(after) && after.without_flow().is_none()));
            assert!(!status.may_become(status));
        }
    }
}
