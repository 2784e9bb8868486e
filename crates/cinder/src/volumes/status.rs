//! The states of a volume, and the one table of who may leave which for which.
//!
//! ```text
//!  creating -> downloading -> available <-> reserved -> attaching -> in-use <-> detaching
//!      \            |          |     ^                                | ^
//!       +--> error <+          v     |                                v |
//!            a busy state: extending, uploading, retyping, backing-up, restoring-backup, reverting, downloading,
//!                          awaiting-transfer, managing, unmanaging, deleting
//!                          |
//!                    its own error: error_extending, error_restoring, error_managing, error_deleting; else error
//! ```
//! Where a busy state ends well, the attachments say whether the volume is in use again.

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
    #[sea_orm(string_value = "uploading")]
    Uploading,
    #[sea_orm(string_value = "retyping")]
    Retyping,
    #[sea_orm(string_value = "reverting")]
    Reverting,
    #[sea_orm(string_value = "backing-up")]
    BackingUp,
    #[sea_orm(string_value = "restoring-backup")]
    RestoringBackup,
    #[sea_orm(string_value = "awaiting-transfer")]
    AwaitingTransfer,
    #[sea_orm(string_value = "managing")]
    Managing,
    #[sea_orm(string_value = "unmanaging")]
    Unmanaging,
    #[sea_orm(string_value = "deleting")]
    Deleting,
    #[sea_orm(string_value = "error")]
    Error,
    #[sea_orm(string_value = "error_deleting")]
    ErrorDeleting,
    #[sea_orm(string_value = "error_extending")]
    ErrorExtending,
    #[sea_orm(string_value = "error_restoring")]
    ErrorRestoring,
    #[sea_orm(string_value = "error_backing-up")]
    ErrorBackingUp,
    #[sea_orm(string_value = "error_managing")]
    ErrorManaging,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter)]
pub enum Change {
    Download,
    Created,
    CreateFailed,
    Delete,
    ForceDelete,
    DeleteFailed,
    Extend,
    ExtendInUse,
    Extended,
    ExtendFailed,
    /// os-reserve
    Reserve,
    Unreserve,
    BeginDetaching,
    RollDetaching,
    /// One detached by hand is well again.
    Detached,
    Upload,
    UploadInUse,
    Uploaded,
    Retype,
    Retyped,
    Revert,
    Reverted,
    RevertFailed,
    Reimage,
    ReimageReserved,
    BackUp,
    BackUpInUse,
    BackedUp,
    Restore,
    Restored,
    RestoreFailed,
    OfferTransfer,
    EndTransfer,
    Managed,
    ManageFailed,
    Unmanage,
    UnmanageFailed,
}

use Status::{
    Attaching, Available, AwaitingTransfer, BackingUp, Creating, Deleting, Detaching, Downloading, ErrorBackingUp, ErrorDeleting,
    ErrorExtending, ErrorManaging, ErrorRestoring, Extending, InUse, Maintenance, Managing, Reserved, RestoringBackup, Retyping, Reverting,
    Unmanaging, Uploading,
};

/// Each change with the states it may come from and the one it leads to.
pub const TABLE: &[(Change, &[Status], Status)] = &[
    (Change::Download, &[Creating, Downloading], Downloading),
    (Change::Created, &[Creating, Downloading], Available),
    (Change::CreateFailed, &[Creating, Downloading], Status::Error),
    (Change::Delete, &[Available, Status::Error, ErrorRestoring, ErrorExtending, ErrorManaging], Deleting),
    (
        Change::ForceDelete,
        &[
            Creating,
            Downloading,
            Available,
            Reserved,
            Attaching,
            InUse,
            Detaching,
            Maintenance,
            Extending,
            Uploading,
            Retyping,
            Reverting,
            BackingUp,
            RestoringBackup,
            AwaitingTransfer,
            Managing,
            Unmanaging,
            Deleting,
            Status::Error,
            ErrorExtending,
            ErrorDeleting,
            ErrorRestoring,
            ErrorBackingUp,
            ErrorManaging,
        ],
        Deleting,
    ),
    (Change::DeleteFailed, &[Deleting], ErrorDeleting),
    (Change::Extend, &[Available], Extending),
    (Change::ExtendInUse, &[Available, InUse], Extending),
    (Change::Extended, &[Extending], Available),
    (Change::ExtendFailed, &[Extending], ErrorExtending),
    (Change::Reserve, &[Available], Attaching),
    (Change::Unreserve, &[Attaching], Available),
    (Change::BeginDetaching, &[InUse], Detaching),
    (Change::RollDetaching, &[Detaching], InUse),
    (Change::Detached, &[Status::Error], Available),
    (Change::Upload, &[Available], Uploading),
    (Change::UploadInUse, &[Available, InUse], Uploading),
    (Change::Uploaded, &[Uploading], Available),
    (Change::Retype, &[Available, InUse], Retyping),
    (Change::Retyped, &[Retyping], Available),
    (Change::Revert, &[Available], Reverting),
    (Change::Reverted, &[Reverting], Available),
    (Change::RevertFailed, &[Reverting], Status::Error),
    (Change::Reimage, &[Available, Status::Error], Downloading),
    (Change::ReimageReserved, &[Available, Status::Error, Reserved], Downloading),
    (Change::BackUp, &[Available], BackingUp),
    (Change::BackUpInUse, &[Available, InUse], BackingUp),
    (Change::BackedUp, &[BackingUp], Available),
    (Change::Restore, &[Available], RestoringBackup),
    (Change::Restored, &[RestoringBackup], Available),
    (Change::RestoreFailed, &[RestoringBackup], ErrorRestoring),
    (Change::OfferTransfer, &[Available], AwaitingTransfer),
    (Change::EndTransfer, &[AwaitingTransfer], Available),
    (Change::Managed, &[Managing], Available),
    (Change::ManageFailed, &[Managing], ErrorManaging),
    (Change::Unmanage, &[Available, Status::Error], Unmanaging),
    (Change::UnmanageFailed, &[Unmanaging], Status::Error),
];

impl Change {
    /// Where it may come from, and where it leads.
    pub fn rule(self) -> (&'static [Status], Status) {
        let row = TABLE.iter().find(|(change, _, _)| *change == self);
        // every change has its row, which a test checks; none would allow nothing
        row.map_or((&[], Status::Error), |(_, from, to)| (from, *to))
    }

    /// As a refusal names it: `Volume status must be ... to extend`.
    pub fn verb(self) -> &'static str {
        match self {
            Change::Download | Change::Created | Change::CreateFailed => "create",
            Change::Delete | Change::ForceDelete | Change::DeleteFailed => "delete",
            Change::Extend | Change::ExtendInUse | Change::Extended | Change::ExtendFailed => "extend",
            Change::Reserve => "reserve",
            Change::Unreserve => "unreserve",
            Change::BeginDetaching => "begin detaching",
            Change::RollDetaching => "roll detaching",
            Change::Detached => "detach",
            Change::Upload | Change::UploadInUse | Change::Uploaded => "upload to image",
            Change::Retype | Change::Retyped => "retype",
            Change::Revert | Change::Reverted | Change::RevertFailed => "revert",
            Change::Reimage | Change::ReimageReserved => "re-image",
            Change::BackUp | Change::BackUpInUse | Change::BackedUp => "be backed up",
            Change::Restore | Change::Restored | Change::RestoreFailed => "be restored to",
            Change::OfferTransfer | Change::EndTransfer => "transfer",
            Change::Managed | Change::ManageFailed => "manage",
            Change::Unmanage | Change::UnmanageFailed => "unmanage",
        }
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

    /// As the API shows it: who asks for a volume need not know that it is taken over rather than made.
    pub fn shown(self) -> Status {
        match self {
            Managing => Creating,
            ErrorManaging => Status::Error,
            other => other,
        }
    }

    /// Something went wrong with it.
    pub fn is_error(self) -> bool {
        matches!(self, Status::Error | ErrorDeleting | ErrorExtending | ErrorRestoring | ErrorBackingUp | ErrorManaging)
    }

    /// The states in which a volume's attachments decide its status.
    pub fn follows_attachments(self) -> bool {
        match self {
            Available | Reserved | Attaching | InUse | Detaching => true,
            Creating
            | Downloading
            | Maintenance
            | Extending
            | Uploading
            | Retyping
            | Reverting
            | BackingUp
            | RestoringBackup
            | AwaitingTransfer
            | Managing
            | Unmanaging
            | Deleting
            | Status::Error
            | ErrorDeleting
            | ErrorExtending
            | ErrorRestoring
            | ErrorBackingUp
            | ErrorManaging => false,
        }
    }

    /// The states that a flow is in the middle of, each with what becomes of the volume if there is no such flow.
    pub fn without_flow(self) -> Option<Status> {
        match self {
            Creating | Downloading | Reverting | Unmanaging => Some(Status::Error),
            Deleting => Some(ErrorDeleting),
            Extending => Some(ErrorExtending),
            RestoringBackup => Some(ErrorRestoring),
            Managing => Some(ErrorManaging),
            Uploading | Retyping | BackingUp => Some(Available),
            Available
            | Reserved
            | Attaching
            | InUse
            | Detaching
            | Maintenance
            | AwaitingTransfer
            | Status::Error
            | ErrorDeleting
            | ErrorExtending
            | ErrorRestoring
            | ErrorBackingUp
            | ErrorManaging => None,
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
    use sea_orm::Iterable;

    use super::*;

    #[test]
    fn every_change_has_one_row() {
        for change in Change::iter() {
            assert_eq!(TABLE.iter().filter(|(other, _, _)| *other == change).count(), 1, "{change:?}");
            assert!(!change.rule().0.is_empty());
        }
    }

    #[test]
    fn what_a_flow_is_in_the_middle_of_can_end() {
        for status in Status::iter() {
            let leaves = TABLE.iter().any(|(_, from, to)| from.contains(&status) && *to != status);
            assert!(leaves, "{status:?} is never left");
            if let Some(after) = status.without_flow() {
                assert!(after.without_flow().is_none());
            }
        }
    }

    #[test]
    fn the_furthest_attachment_decides() {
        use AttachStatus::*;
        assert_eq!(settle([].into_iter()).0, Status::Available);
        assert_eq!(settle([Reserved].into_iter()).0, Status::Reserved);
        assert_eq!(settle([Reserved, Attached, Attaching].into_iter()).0, Status::InUse);
    }
}
