//! The states of an image, and the one table of which may follow which.

use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

/// ```text
/// queued -> saving -> active <-> deactivated
///  |  |        `-> queued (upload failed)
///  |  `-> uploading -> importing -> active
///  |                      `-> queued (import failed)
///  `-> importing (from the web)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize)]
#[sea_orm(rs_type = "String", db_type = "Text")]
pub enum Status {
    #[sea_orm(string_value = "queued")]
    Queued,
    #[sea_orm(string_value = "saving")]
    Saving,
    #[sea_orm(string_value = "uploading")]
    Uploading,
    #[sea_orm(string_value = "importing")]
    Importing,
    #[sea_orm(string_value = "active")]
    Active,
    #[sea_orm(string_value = "deactivated")]
    Deactivated,
}

/// Each state with those that may follow it.
pub const TABLE: &[(Status, &[Status])] = &[
    (Status::Queued, &[Status::Saving, Status::Uploading, Status::Importing]),
    (Status::Saving, &[Status::Active, Status::Queued]),
    (Status::Uploading, &[Status::Importing, Status::Queued]),
    (Status::Importing, &[Status::Active, Status::Queued, Status::Uploading]),
    (Status::Active, &[Status::Deactivated]),
    (Status::Deactivated, &[Status::Active]),
];

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Queued => "queued",
            Status::Saving => "saving",
            Status::Uploading => "uploading",
            Status::Importing => "importing",
            Status::Active => "active",
            Status::Deactivated => "deactivated",
        }
    }

    /// Whether the other may follow this one; each may stay what it is, as it does while an image is copied to further stores.
    pub fn may_become(self, other: Status) -> bool {
        self == other || TABLE.iter().any(|(from, to)| *from == self && to.contains(&other))
    }
}
