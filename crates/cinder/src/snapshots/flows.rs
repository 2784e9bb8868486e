//! Making and deleting snapshots on the host of their volume.

use std::time::Duration;

use kit::flow::{Flow, Step};
use kit::{Error, Result};
use serde::{Deserialize, Serialize};

use super::{Change, store};
use crate::messages::{self, Action};
use crate::{Cinder, hosts, volumes};

const PATIENCE: Duration = Duration::from_secs(300);

/// take -> announce
#[derive(Serialize, Deserialize)]
pub struct CreateSnapshot {
    #[serde(default)]
    pub caller: rpc::Caller,
    pub snapshot_id: String,
    pub volume_id: String,
    pub host: Option<String>,
}

impl Flow for CreateSnapshot {
    type App = Cinder;
    const KIND: &'static str = "create_snapshot";

    fn steps() -> Vec<Step<Self>> {
        kit::steps![Self: take / drop_again, announce]
    }
}

impl CreateSnapshot {
    async fn take(&mut self, app: &Cinder) -> Result<()> {
        let message = rpc::volume::CreateSnapshot {
            volume_id: volumes::store::data_id(app, &self.volume_id).await?,
            snapshot_id: self.snapshot_id.clone(),
        };
        hosts::call(app, self.host.as_deref(), message, PATIENCE).await
    }

    /// Says so first: a host that is gone must not keep the owner waiting.
    async fn drop_again(&mut self, app: &Cinder, error: &Error) -> Result<()> {
        messages::tell(app, &self.caller, Action::CreateSnapshot, &self.snapshot_id, error).await;
        store::turn(app, &self.snapshot_id, Change::CreateFailed).await?;
        let message = rpc::volume::DeleteSnapshot {
            volume_id: volumes::store::data_id(app, &self.volume_id).await?,
            snapshot_id: self.snapshot_id.clone(),
        };
        hosts::call(app, self.host.as_deref(), message, PATIENCE).await
    }

    async fn announce(&mut self, app: &Cinder) -> Result<()> {
        store::turn(app, &self.snapshot_id, Change::Created).await
    }
}

/// destroy -> forget
#[derive(Serialize, Deserialize)]
pub struct DeleteSnapshot {
    /// Who asked for it, and is told if it fails.
    #[serde(default)]
    pub caller: Option<rpc::Caller>,
    pub snapshot_id: String,
    pub volume_id: String,
    pub host: Option<String>,
    pub type_name: String,
}

impl Flow for DeleteSnapshot {
    type App = Cinder;
    const KIND: &'static str = "delete_snapshot";

    fn steps() -> Vec<Step<Self>> {
        kit::steps![Self: destroy / fail, forget]
    }
}

impl DeleteSnapshot {
    async fn destroy(&mut self, app: &Cinder) -> Result<()> {
        let message = rpc::volume::DeleteSnapshot {
            volume_id: volumes::store::data_id(app, &self.volume_id).await?,
            snapshot_id: self.snapshot_id.clone(),
        };
        hosts::call(app, self.host.as_deref(), message, PATIENCE).await
    }

    async fn fail(&mut self, app: &Cinder, error: &Error) -> Result<()> {
        if let Some(caller) = &self.caller {
            messages::tell(app, caller, Action::DeleteSnapshot, &self.snapshot_id, error).await;
        }
        store::turn(app, &self.snapshot_id, Change::DeleteFailed).await
    }

    async fn forget(&mut self, app: &Cinder) -> Result<()> {
        let (id, type_name) = (self.snapshot_id.clone(), self.type_name.clone());
        app.db()
            .write(move |tx| {
                Box::pin(async move {
                    match store::find(tx, &id).await? {
                        Some(snapshot) => store::remove(tx, &snapshot, &type_name).await,
                        None => Ok(()),
                    }
                })
            })
            .await
    }
}
