//! Managing and unmanaging snapshots on the host of their volume.

use std::time::Duration;

use kit::flow::{Flow, Step};
use kit::{Error, Result};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Set};
use serde::{Deserialize, Serialize};

use crate::snapshots::{ActiveModel, Change, Column, Entity, store};
use crate::{Cinder, hosts, volumes};

const PATIENCE: Duration = Duration::from_secs(300);

/// take -> announce
#[derive(Serialize, Deserialize)]
pub struct ManageSnapshot {
    pub snapshot_id: String,
    pub volume_id: String,
    pub host: Option<String>,
    pub name: String,
    /// GiB, once known.
    pub size: i64,
}

impl Flow for ManageSnapshot {
    type App = Cinder;
    const KIND: &'static str = "manage_snapshot";

    fn steps() -> Vec<Step<Self>> {
        kit::steps![Self: take / fail, announce]
    }
}

impl ManageSnapshot {
    async fn take(&mut self, app: &Cinder) -> Result<()> {
        let message = rpc::volume::ManageSnapshot {
            volume_id: volumes::store::data_id(app, &self.volume_id).await?,
            snapshot_id: self.snapshot_id.clone(),
            name: self.name.clone(),
        };
        let size = hosts::call(app, self.host.as_deref(), message, PATIENCE).await?;
        self.size = i64::try_from(size).unwrap_or(i64::MAX);
        Ok(())
    }

    async fn fail(&mut self, app: &Cinder, _: &Error) -> Result<()> {
        store::turn(app, &self.snapshot_id, Change::ManageFailed).await
    }

    /// The quota was charged for the volume's size, which a snapshot never exceeds.
    async fn announce(&mut self, app: &Cinder) -> Result<()> {
        let (id, size) = (self.snapshot_id.clone(), self.size);
        app.db()
            .write(move |tx| {
                Box::pin(async move {
                    if store::change(tx, &id, Change::Managed).await? {
                        let row = ActiveModel { size: Set(size), ..Default::default() };
                        Entity::update_many().set(row).filter(Column::Id.eq(&id)).exec(tx).await?;
                    }
                    Ok(())
                })
            })
            .await
    }
}

/// let_go -> forget
#[derive(Serialize, Deserialize)]
pub struct UnmanageSnapshot {
    pub snapshot_id: String,
    pub volume_id: String,
    pub host: Option<String>,
    pub type_name: String,
}

impl Flow for UnmanageSnapshot {
    type App = Cinder;
    const KIND: &'static str = "unmanage_snapshot";

    fn steps() -> Vec<Step<Self>> {
        kit::steps![Self: let_go / fail, forget]
    }
}

impl UnmanageSnapshot {
    async fn let_go(&mut self, app: &Cinder) -> Result<()> {
        let message = rpc::volume::UnmanageSnapshot {
            volume_id: volumes::store::data_id(app, &self.volume_id).await?,
            snapshot_id: self.snapshot_id.clone(),
        };
        hosts::call(app, self.host.as_deref(), message, PATIENCE).await
    }

    async fn fail(&mut self, app: &Cinder, _: &Error) -> Result<()> {
        store::turn(app, &self.snapshot_id, Change::Released).await
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
