//! The states of a volume, and the one table of who may leave which for which.
//!
//! ```text
//!  creating -> downloading -> available <-> reserved -> attaching -> in-use <-> detaching
//!      \            |          |  ^  \                                 |
//!       +--> error <+   extending-+   deleting -> (gone)          extending
//!                          |              |
//!                   error_extending  error_deleting
//! ```

use sea_orm::entity::prelude::*;

/// `status`
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text")]
pub enum Status {
    #[sea_orm(string_value = "creating")]
    Creating,
    #[sea_orm(string_value = "downloading")]
    Downloading,
    #[sea_orm(string_value = "available")]
    Available,
    #[sea_orm(string_value = "reserved")]
    Reserved,
    #[sea_orm(string_value = "attaching")]
    Attaching,
    #[sea_orm(string_value = "in-use")]
    InUse,
    #[sea_orm(string_value = "detaching")]
    Detaching,
    #[sea_orm(string_value = "maintenance")]
    Maintenance,
    #[sea_orm(string_value = "extending")]
    Extending,
    #[sea_orm(string_value = "deleting")]
    Deleting,
    #[sea_orm(string_value = "error")]
    Error,
    #[sea_orm(string_value = "error_deleting")]
    ErrorDeleting,
    #[sea_orm(string_value = "error_extending")]
    ErrorExtending,
}

/// `attach_status`
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text")]
pub enum AttachStatus {
    #[sea_orm(string_value = "detached")]
    Detached,
    #[sea_orm(string_value = "reserved")]
    Reserved,
    #[sea_orm(string_value = "attaching")]
    Attaching,
    #[sea_orm(string_value = "attached")]
    Attached,
}

/// What changes a volume's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Download,
    Created,
    CreateFailed,
    Delete,
    ForceDelete,
    DeleteFailed,
    Extend,
    ExtendInUse,
    ExtendFailed,
    /// os-reserve
    Reserve,
    Unreserve,
    BeginDetaching,
    RollDetaching,
}

use Status::{
    Attaching, Available, Creating, Deleting, Detaching, Downloading, ErrorDeleting, ErrorExtending, Extending, InUse, Maintenance,
    Reserved,
};

/// Each change with the states it may come from and the one it leads to.
pub const TABLE: &[(Change, &[Status], Status)] = &[
    (Change::Download, &[Creating, Downloading], Downloading),
    (Change::Created, &[Creating, Downloading], Available),
    (Change::CreateFailed, &[Creating, Downloading], Status::Error),
    (Change::Delete, &[Available, Status::Error, ErrorExtending], Deleting),
    (
        Change::ForceDelete,
        &[Available, Reserved, Attaching, InUse, Detaching, Maintenance, Status::Error, ErrorExtending, ErrorDeleting],
        Deleting,
    ),
    (Change::DeleteFailed, &[Deleting], ErrorDeleting),
    (Change::Extend, &[Available], Extending),
    (Change::ExtendInUse, &[Available, InUse], Extending),
    (Change::ExtendFailed, &[Extending], ErrorExtending),
    (Change::Reserve, &[Available], Attaching),
    (Change::Unreserve, &[Attaching], Available),
    (Change::BeginDetaching, &[InUse], Detaching),
    (Change::RollDetaching, &[Detaching], InUse),
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
    /// As the API writes it.
    pub fn text(self) -> String {
        self.to_value()
    }

    pub fn parse(text: &str) -> Option<Status> {
        Status::try_from_value(&text.to_owned()).ok()
    }

    /// The states in which a volume's attachments decide its status.
    pub fn follows_attachments(self) -> bool {
        match self {
            Available | Reserved | Attaching | InUse | Detaching => true,
            Creating | Downloading | Maintenance | Extending | Deleting | Status::Error | ErrorDeleting | ErrorExtending => false,
        }
    }
}

impl AttachStatus {
    pub fn text(self) -> String {
        self.to_value()
    }

    pub fn parse(text: &str) -> Option<AttachStatus> {
        AttachStatus::try_from_value(&text.to_owned()).ok()
    }
}

/// A volume's status by its attachments: the furthest of them counts.
pub fn settle(attachments: impl Iterator<Item = AttachStatus> + Clone) -> (Status, AttachStatus) {
    let any = |wanted: AttachStatus| attachments.clone().any(|status| status == wanted);
    if any(AttachStatus::Attached) {
        (InUse, AttachStatus::Attached)
    } else if any(AttachStatus::Attaching) {
        (Attaching, AttachStatus::Attaching)
    } else if any(AttachStatus::Reserved) {
        (Reserved, AttachStatus::Reserved)
    } else {
        (Available, AttachStatus::Detached)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_has_one_row() {
        for (change, from, _) in TABLE {
            assert!(!from.is_empty());
            assert_eq!(TABLE.iter().filter(|(other, _, _)| other == change).count(), 1);
        }
        assert_eq!(TABLE.len(), 13);
    }

    #[test]
    fn the_furthest_attachment_decides() {
        use AttachStatus::*;
        assert_eq!(settle([].into_iter()).0, Status::Available);
        assert_eq!(settle([Reserved].into_iter()).0, Status::Reserved);
        assert_eq!(settle([Reserved, Attached, Attaching].into_iter()).0, Status::InUse);
    }
}
