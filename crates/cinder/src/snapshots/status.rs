//! The states of a snapshot, and the one table of who may leave which for which.
//!
//! ```text
//!  creating -> available -> deleting -> (gone)
//!      \         ^  \ \         \
//!     error      |   \ unmanaging error_deleting
//!                restoring, backing-up
//!  managing -> available, error_managing
//! ```

use sea_orm::entity::prelude::*;

/// `status`
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text")]
pub enum Status {
    #[sea_orm(string_value = "creating")]
    Creating,
    #[sea_orm(string_value = "available")]
    Available,
    /// Its volume goes back to it.
    #[sea_orm(string_value = "restoring")]
    Restoring,
    #[sea_orm(string_value = "backing-up")]
    BackingUp,
    #[sea_orm(string_value = "unmanaging")]
    Unmanaging,
    #[sea_orm(string_value = "deleting")]
    Deleting,
    #[sea_orm(string_value = "error")]
    Error,
    #[sea_orm(string_value = "error_deleting")]
    ErrorDeleting,
    #[sea_orm(string_value = "managing")]
    Managing,
    #[sea_orm(string_value = "error_managing")]
    ErrorManaging,
}

/// What changes a snapshot's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter)]
pub enum Change {
    Created,
    CreateFailed,
    Delete,
    ForceDelete,
    DeleteFailed,
    Restore,
    BackUp,
    /// The end of what made it busy.
    Released,
    Managed,
    ManageFailed,
    Unmanage,
}

use Status::{Available, BackingUp, Creating, Deleting, ErrorDeleting, ErrorManaging, Managing, Restoring, Unmanaging};

/// Each change with the states it may come from and the one it leads to.
pub const TABLE: &[(Change, &[Status], Status)] = &[
    (Change::Created, &[Creating], Available),
    (Change::CreateFailed, &[Creating], Status::Error),
    (Change::Delete, &[Available, Status::Error, ErrorManaging], Deleting),
    (
        Change::ForceDelete,
        &[Creating, Available, Deleting, Managing, Status::Error, ErrorDeleting, ErrorManaging, Restoring, BackingUp, Unmanaging],
        Deleting,
    ),
    (Change::DeleteFailed, &[Deleting], ErrorDeleting),
    (Change::Restore, &[Available], Restoring),
    (Change::BackUp, &[Available], BackingUp),
    (Change::Released, &[Restoring, BackingUp, Unmanaging], Available),
    (Change::Managed, &[Managing], Available),
    (Change::ManageFailed, &[Managing], ErrorManaging),
    (Change::Unmanage, &[Available, Status::Error], Unmanaging),
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

    /// Nothing is going on with it.
    pub fn is_settled(self) -> bool {
        match self {
            Available | Status::Error | ErrorDeleting | ErrorManaging => true,
            Creating | Managing | Restoring | BackingUp | Unmanaging | Deleting => false,
        }
    }

    /// The states that a flow is in the middle of, each with what becomes of the snapshot if there is no such flow.
    pub fn without_flow(self) -> Option<Status> {
        match self {
            Creating => Some(Status::Error),
            Deleting => Some(ErrorDeleting),
            Managing => Some(ErrorManaging),
            Restoring | BackingUp | Unmanaging => Some(Available),
            Available | Status::Error | ErrorDeleting | ErrorManaging => None,
        }
    }

    /// What a host may say of it with `os-update_snapshot_status`.
    pub fn may_be_told(self, next: Status) -> bool {
        match self {
            Creating => matches!(next, Creating | Available | Status::Error),
            Deleting => matches!(next, Deleting | ErrorDeleting),
            Available | Restoring | BackingUp | Managing | Unmanaging | Status::Error | ErrorDeleting | ErrorManaging => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use sea_orm::Iterable;

    use super::*;

    #[test]
    fn every_change_has_one_row_and_every_state_an_end() {
        for change in Change::iter() {
            assert_eq!(TABLE.iter().filter(|(other, _, _)| *other == change).count(), 1, "{change:?}");
        }
        for status in Status::iter() {
            assert!(TABLE.iter().any(|(_, from, _)| from.contains(&status)), "{status:?} is never left");
        }
    }
}
