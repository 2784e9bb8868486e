//! Messages: why something that was accepted did not come about, in words for the user who asked for it.

pub mod api;
pub mod cause;

use std::time::Duration;

use kit::clock::Timestamp;
use kit::{Error, Kind, Result, ids};
use sea_orm::entity::prelude::*;

use crate::Cinder;
use crate::scheduler::NO_VALID_BACKEND;
use cause::Cause;

/// How long a message is kept.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// A row of `messages`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "messages")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub project_id: String,
    pub request_id: String,
    pub resource_type: String,
    pub resource_uuid: Option<String>,
    pub event_id: String,
    pub user_message: String,
    pub message_level: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// How the error is known that says that nobody makes backups.
pub const NO_SERVICE: &str = "ServiceNotFound";

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Schedule,
    CopyVolumeToImage,
    UpdateAttachment,
    CopyImageToVolume,
    UnmanageVolume,
    ExtendVolume,
    CreateVolume,
    CreateSnapshot,
    DeleteSnapshot,
    CreateBackup,
    DeleteBackup,
    RestoreBackup,
    Reimage,
}

impl Action {
    /// Its number in event ids, what it is about, and its words.
    fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Action::Schedule => ("001", "VOLUME", "schedule allocate volume"),
            Action::CopyVolumeToImage => ("003", "VOLUME", "copy volume to image"),
            Action::UpdateAttachment => ("004", "VOLUME", "update attachment"),
            Action::CopyImageToVolume => ("005", "VOLUME", "copy image to volume"),
            Action::UnmanageVolume => ("006", "VOLUME", "unmanage volume"),
            Action::ExtendVolume => ("007", "VOLUME", "extend volume"),
            Action::CreateVolume => ("008", "VOLUME", "create volume from backend storage"),
            Action::CreateSnapshot => ("009", "VOLUME_SNAPSHOT", "create snapshot"),
            Action::DeleteSnapshot => ("010", "VOLUME_SNAPSHOT", "delete snapshot"),
            Action::CreateBackup => ("013", "VOLUME_BACKUP", "create backup"),
            Action::DeleteBackup => ("014", "VOLUME_BACKUP", "delete backup"),
            Action::RestoreBackup => ("015", "VOLUME_BACKUP", "restore backup"),
            Action::Reimage => ("016", "VOLUME", "reimage volume"),
        }
    }

    /// The cause, as far as cinder tells users of it.
    fn cause(self, error: &Error) -> Cause {
        let unreachable = matches!(error.kind, Kind::Unavailable | Kind::TimedOut);
        match self {
            Action::Schedule | Action::ExtendVolume if is(error, NO_VALID_BACKEND) => cause::NO_BACKEND_AVAILABLE,
            Action::CreateBackup if is(error, NO_SERVICE) => cause::BACKUP_SCHEDULE_ERROR,
            Action::CreateBackup | Action::DeleteBackup if unreachable => cause::BACKUP_SERVICE_DOWN,
            Action::CopyVolumeToImage if error.kind == Kind::TooLarge => cause::QUOTA_EXCEED,
            Action::CopyVolumeToImage => cause::FAILED_TO_UPLOAD_VOLUME,
            Action::UnmanageVolume => cause::UNMANAGE_ENC_NOT_SUPPORTED,
            _ if unreachable => cause::DRIVER_NOT_INITIALIZED,
            Action::CopyImageToVolume | Action::Reimage if error.kind == Kind::TooLarge => cause::NOT_ENOUGH_SPACE_FOR_IMAGE,
            Action::CopyImageToVolume | Action::Reimage if error.kind == Kind::BadRequest => cause::IMAGE_FORMAT_UNACCEPTABLE,
            Action::ExtendVolume => cause::DRIVER_FAILED_EXTEND,
            Action::CreateVolume => cause::DRIVER_FAILED_CREATE,
            Action::CreateSnapshot => cause::SNAPSHOT_CREATE_ERROR,
            Action::DeleteSnapshot if error.kind == Kind::Conflict => cause::SNAPSHOT_IS_BUSY,
            Action::DeleteSnapshot => cause::SNAPSHOT_DELETE_ERROR,
            Action::CreateBackup => cause::BACKUP_CREATE_DRIVER_ERROR,
            Action::DeleteBackup => cause::BACKUP_DELETE_DRIVER_ERROR,
            Action::RestoreBackup => cause::BACKUP_RESTORE_ERROR,
            Action::Schedule | Action::CopyImageToVolume | Action::UpdateAttachment | Action::Reimage => cause::UNKNOWN_ERROR,
        }
    }
}

fn is(error: &Error, code: &str) -> bool {
    error.code.as_deref() == Some(code)
}

/// Tells the user that `action` on a resource failed. A message that cannot be kept is no reason for more to fail.
pub async fn tell(app: &Cinder, caller: &rpc::Caller, action: Action, resource: &str, error: &Error) {
    tell_cause(app, caller, action, resource, action.cause(error)).await;
}

/// The same where the cause is known.
pub async fn tell_cause(app: &Cinder, caller: &rpc::Caller, action: Action, resource: &str, (cause, sentence): Cause) {
    let (number, kind, words) = action.names();
    let row = Model {
        id: ids::uuid(),
        project_id: caller.project_id.clone(),
        request_id: caller.request_id.clone(),
        resource_type: kind.to_owned(),
        resource_uuid: Some(resource.to_owned()),
        event_id: format!("VOLUME_{kind}_{number}_{cause}"),
        user_message: format!("{words}:{sentence}"),
        message_level: "ERROR".to_owned(),
        created_at: Timestamp::now(),
        expires_at: Timestamp::now().plus(KEPT),
    };
    let kept = app.db().write(move |tx| {
        Box::pin(async move {
            Entity::insert(ActiveModel::from(row)).exec_without_returning(tx).await?;
            Ok(())
        })
    });
    if let Err(error) = kept.await {
        tracing::warn!(resource, %error, "a message to the user was lost");
    }
}

/// Forgets the messages whose time is over.
pub async fn forget_expired(app: &Cinder) -> Result<()> {
    let now = Timestamp::now();
    if Entity::find().filter(Column::ExpiresAt.lt(now)).one(app.db().read()).await?.is_none() {
        return Ok(());
    }
    app.db()
        .write(move |tx| {
            Box::pin(async move {
                Entity::delete_many().filter(Column::ExpiresAt.lt(now)).exec(tx).await?;
                Ok(())
            })
        })
        .await
}
