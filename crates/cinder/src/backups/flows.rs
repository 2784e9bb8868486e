//! Making and deleting backups on the host of their volume.

use std::time::Duration;

use kit::flow::{Flow, Step};
use kit::{Error, Result};
use sea_orm::Set;
use serde::{Deserialize, Serialize};

use super::{ActiveModel, Change, keeper, store};
use crate::messages::{self, Action, NO_SERVICE};
use crate::{Cinder, hosts, services, snapshots, volumes};

/// A volume may be large.
pub const PATIENCE: Duration = Duration::from_secs(4 * 3600);

/// copy -> announce
#[derive(Serialize, Deserialize)]
pub struct CreateBackup {
    pub caller: rpc::Caller,
    pub backup_id: String,
    pub volume_id: String,
    pub snapshot_id: Option<String>,
    pub parent_id: Option<String>,
    pub host: String,
}

impl Flow for CreateBackup {
    type App = Cinder;
    const KIND: &'static str = "create_backup";

    fn steps() -> Vec<Step<Self>> {
        kit::steps![Self: copy / drop_again, announce]
    }
}

impl CreateBackup {
    async fn copy(&mut self, app: &Cinder) -> Result<()> {
        if !services::store::backs_up(app.db().read(), &self.host).await? {
            return Err(Error::unavailable("Service not found for creating backup.").code(NO_SERVICE));
        }
        let message = rpc::volume::CreateBackup {
            backup_id: self.backup_id.clone(),
            volume_id: volumes::store::data_id(app, &self.volume_id).await?,
            snapshot_id: self.snapshot_id.clone(),
            parent_id: self.parent_id.clone(),
        };
        let made = hosts::call(app, Some(&self.host), message, PATIENCE).await?;
        let mut row = ActiveModel { object_count: Set(made.object_count), bucket: Set(made.container.clone()), ..Default::default() };
        if let (Some(bucket), Some(backup)) = (made.container, store::find(app.db().read(), &self.backup_id).await?) {
            row.container = Set(Some(backup.container.unwrap_or(bucket)));
        }
        store::update(app, &self.backup_id, row).await
    }

    /// Says so first: a host that is gone must not keep the owner waiting.
    async fn drop_again(&mut self, app: &Cinder, error: &Error) -> Result<()> {
        let why = ActiveModel { fail_reason: Set(Some(error.message.chars().take(255).collect())), ..Default::default() };
        store::update(app, &self.backup_id, why).await?;
        store::turn(app, &self.backup_id, Change::CreateFailed).await?;
        self.release(app).await?;
        messages::tell(app, &self.caller, Action::CreateBackup, &self.backup_id, error).await;
        hosts::call(app, Some(&self.host), rpc::volume::DeleteBackup { backup_id: self.backup_id.clone() }, PATIENCE).await
    }

    async fn announce(&mut self, app: &Cinder) -> Result<()> {
        self.release(app).await?;
        store::turn(app, &self.backup_id, Change::Created).await
    }

    /// What was read is free again.
    async fn release(&self, app: &Cinder) -> Result<()> {
        match &self.snapshot_id {
            Some(snapshot) => snapshots::store::turn(app, snapshot, snapshots::Change::Released).await,
            None => volumes::store::turn(app, &self.volume_id, volumes::Change::BackedUp).await,
        }
    }
}

/// destroy -> forget
#[derive(Serialize, Deserialize)]
pub struct DeleteBackup {
    pub caller: rpc::Caller,
    pub backup_id: String,
}

impl Flow for DeleteBackup {
    type App = Cinder;
    const KIND: &'static str = "delete_backup";

    fn steps() -> Vec<Step<Self>> {
        kit::steps![Self: destroy / fail, forget]
    }
}

impl DeleteBackup {
    /// What an imported record leads to as well stays until the last of them goes.
    async fn destroy(&mut self, app: &Cinder) -> Result<()> {
        let Some(backup) = store::find(app.db().read(), &self.backup_id).await? else { return Ok(()) };
        if store::shares_data(app.db().read(), &backup).await? {
            return Ok(());
        }
        let message = rpc::volume::DeleteBackup { backup_id: backup.data_id().to_owned() };
        hosts::call(app, Some(&keeper::of(app, &backup).await?), message, PATIENCE).await
    }

    async fn fail(&mut self, app: &Cinder, error: &Error) -> Result<()> {
        messages::tell(app, &self.caller, Action::DeleteBackup, &self.backup_id, error).await;
        store::turn(app, &self.backup_id, Change::DeleteFailed).await
    }

    async fn forget(&mut self, app: &Cinder) -> Result<()> {
        let id = self.backup_id.clone();
        app.db()
            .write(move |tx| {
                Box::pin(async move {
                    match store::find(tx, &id).await? {
                        Some(backup) => store::remove(tx, &backup).await,
                        None => Ok(()),
                    }
                })
            })
            .await
    }
}
