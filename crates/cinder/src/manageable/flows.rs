//! Managing and unmanaging on the host.

use std::time::Duration;

use kit::flow::{Flow, Step};
use kit::{Error, Result};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Set};
use serde::{Deserialize, Serialize};

use crate::volumes::{ActiveModel, Change, Column, Entity, store};
use crate::{Cinder, hosts, quotas, types};

const PATIENCE: Duration = Duration::from_secs(300);

/// take -> announce
#[derive(Serialize, Deserialize)]
pub struct ManageVolume {
    pub volume_id: String,
    pub host: String,
    pub name: String,
    /// GiB, once known.
    pub size: i64,
}

impl Flow for ManageVolume {
    type App = Cinder;
    const KIND: &'static str = "manage_volume";

    fn steps() -> Vec<Step<Self>> {
        kit::steps![Self: take / fail, announce]
    }
}

impl ManageVolume {
    async fn take(&mut self, app: &Cinder) -> Result<()> {
        let message = rpc::volume::ManageVolume { volume_id: self.volume_id.clone(), name: self.name.clone() };
        let size = hosts::call(app, Some(&self.host), message, PATIENCE).await?;
        self.size = i64::try_from(size).unwrap_or(i64::MAX);
        Ok(())
    }

    async fn fail(&mut self, app: &Cinder, _: &Error) -> Result<()> {
        store::turn(app, &self.volume_id, Change::ManageFailed).await
    }

    /// Only now is its size known, and with it what it takes of the quota; what is there is there, whatever the limit says.
    async fn announce(&mut self, app: &Cinder) -> Result<()> {
        let (id, size) = (self.volume_id.clone(), self.size);
        app.db()
            .write(move |tx| {
                Box::pin(async move {
                    let volume = store::fetch(tx, &id).await?;
                    if !store::change(tx, &id, Change::Managed).await? {
                        return Ok(());
                    }
                    let type_name = types::store::name(tx, &volume.type_id).await?;
                    quotas::store::add_anyway(tx, &volume.project_id, &quotas::gigabytes(size, &type_name)).await?;
                    let row = ActiveModel { size: Set(size), ..Default::default() };
                    Entity::update_many().set(row).filter(Column::Id.eq(&id)).exec(tx).await?;
                    Ok(())
                })
            })
            .await
    }
}

/// let_go -> forget
#[derive(Serialize, Deserialize)]
pub struct UnmanageVolume {
    pub volume_id: String,
    pub host: Option<String>,
}

impl Flow for UnmanageVolume {
    type App = Cinder;
    const KIND: &'static str = "unmanage_volume";

    fn steps() -> Vec<Step<Self>> {
        kit::steps![Self: let_go / fail, forget]
    }
}

impl UnmanageVolume {
    async fn let_go(&mut self, app: &Cinder) -> Result<()> {
        let message = rpc::volume::UnmanageVolume { volume_id: store::data_id(app, &self.volume_id).await? };
        hosts::call(app, self.host.as_deref(), message, PATIENCE).await
    }

    async fn fail(&mut self, app: &Cinder, _: &Error) -> Result<()> {
        store::turn(app, &self.volume_id, Change::UnmanageFailed).await
    }

    /// The row goes, and with it the quota it took: once, however often this runs.
    async fn forget(&mut self, app: &Cinder) -> Result<()> {
        let id = self.volume_id.clone();
        app.db()
            .write(move |tx| {
                Box::pin(async move {
                    let Some(volume) = store::find(tx, &id).await? else { return Ok(()) };
                    let type_name = types::store::name(tx, &volume.type_id).await?;
                    if store::remove(tx, &id).await? {
                        quotas::store::release(tx, &volume.project_id, &quotas::volume(volume.size, &type_name)).await?;
                    }
                    Ok(())
                })
            })
            .await
    }
}
