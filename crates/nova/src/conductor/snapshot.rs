//! An image of a server's disk, and the end of the oldest backups:
//!
//! ```text
//!   upload  -> the host uploads the disk into the image     undo: the image goes, the task is over
//!   rotate  -> backups beyond the number to keep go
//!   finish  -> the task is over
//! ```

use kit::flow::{Flow, Step};
use kit::{Error, Result, steps};
use rpc::Caller;
use rpc::actions::SnapshotInstance;
use rpc::compute::compute_topic;
use serde::{Deserialize, Serialize};

use super::alive;
use crate::Nova;
use crate::servers::begin::host_of;
use crate::servers::instance::ActiveModel;
use crate::servers::states::TaskState;

/// What is going on meanwhile.
const TASKS: &[TaskState] = &[
    TaskState::ImageSnapshotPending,
    TaskState::ImageSnapshot,
    TaskState::ImagePendingUpload,
    TaskState::ImageUploading,
    TaskState::ImageBackup,
];

/// What the journal keeps.
#[derive(Serialize, Deserialize)]
pub struct Snapshot {
    caller: Caller,
    instance_id: String,
    image_id: String,
    rotation: Option<Rotation>,
}

/// How many backups of a kind are kept.
#[derive(Serialize, Deserialize)]
pub struct Rotation {
    pub backup_type: String,
    pub keep: usize,
}

impl Flow for Snapshot {
    type App = Nova;
    const KIND: &'static str = "snapshot";

    fn steps() -> Vec<Step<Self>> {
        steps![Self: upload / discard, rotate, finish]
    }
}

impl Snapshot {
    pub fn new(caller: Caller, instance_id: &str, image_id: &str, rotation: Option<Rotation>) -> Snapshot {
        Snapshot { caller, instance_id: instance_id.to_owned(), image_id: image_id.to_owned(), rotation }
    }

    async fn upload(&mut self, app: &Nova) -> Result<()> {
        let server = alive(app, &self.instance_id).await?;
        if is_active(app, &self.caller, &self.image_id).await? {
            return Ok(());
        }
        let message = SnapshotInstance { caller: self.caller.clone(), instance_id: server.id.clone(), image_id: self.image_id.clone() };
        app.bus.call(&compute_topic(&host_of(&server)?), message, app.config.transfer_timeout).await
    }

    async fn discard(&mut self, app: &Nova, error: &Error) -> Result<()> {
        let auth = app.session.on_behalf(&self.caller).await?;
        sdk::found(app.cloud.image.delete(&auth, &self.image_id).await)?;
        super::settle(app, &self.caller, &self.instance_id, TASKS, error).await
    }

    async fn rotate(&mut self, app: &Nova) -> Result<()> {
        let Some(rotation) = &self.rotation else { return Ok(()) };
        let auth = app.session.on_behalf(&self.caller).await?;
        let filters = [("instance_uuid", self.instance_id.as_str()), ("image_type", "backup"), ("backup_type", &rotation.backup_type)];
        let mut backups = app.cloud.image.list(&auth, &filters).await?;
        backups.sort_by(|a, b| b.created_at.cmp(&a.created_at));
        for old in backups.into_iter().skip(rotation.keep) {
            sdk::found(app.cloud.image.delete(&auth, &old.id).await)?;
        }
        Ok(())
    }

    async fn finish(&mut self, app: &Nova) -> Result<()> {
        super::end_action(app, &self.caller, &self.instance_id, TASKS, <ActiveModel as Default>::default(), false).await
    }
}

/// Whether an image has its data already; one that is gone is an error.
pub async fn is_active(app: &Nova, caller: &Caller, image_id: &str) -> Result<bool> {
    let auth = app.session.on_behalf(caller).await?;
    Ok(app.cloud.image.show(&auth, image_id).await?.status == "active")
}
