//! The flow of a migration. The data of a volume that nobody uses is copied by its host; of one in use by compute, under the guest.

use std::time::{Duration, Instant};

use kit::flow::{Flow, Step};
use kit::{Error, Result};
use rpc::volume::{CopyVolume, DeleteVolume, InitializeConnection, TerminateConnection, VolumeSource};
use sea_orm::{ConnectionTrait, EntityTrait};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::{AttachStatus, Change, Status, retype, store};
use super::completion;
use super::status::{self, Migration, Move};
use crate::quotas::store as quota;
use crate::{Cinder, attachments, hosts, types};

/// A volume may be large.
const PATIENCE: Duration = Duration::from_secs(4 * 3600);
/// How often somebody looks whether compute is done.
const LOOK: Duration = Duration::from_millis(500);

/// prepare -> fill -> move_over -> leave
#[derive(Serialize, Deserialize)]
pub struct MigrateVolume {
    pub caller: rpc::Caller,
    pub volume_id: String,
    /// The volume made for the move.
    pub new_id: String,
    /// Under which id the old host keeps the data.
    pub old_data_id: String,
    pub from: Option<String>,
    pub to: String,
    pub size: i64,
    pub in_use: bool,
    /// The type it has, if it moves for the sake of another, and that one. The other is charged from the start.
    pub retyped_from: Option<String>,
    pub retyped_to: Option<String>,
}

impl Flow for MigrateVolume {
    type App = Cinder;
    const KIND: &'static str = "migrate_volume";

    fn steps() -> Vec<Step<Self>> {
        kit::steps![Self: prepare / give_up, fill / stop_filling, move_over, leave]
    }
}

impl MigrateVolume {
    async fn prepare(&mut self, app: &Cinder) -> Result<()> {
        let id = self.volume_id.clone();
        app.db().write(move |tx| Box::pin(async move { status::advance(tx, &id, Move::Fill).await })).await?;
        let message = rpc::volume::CreateVolume {
            caller: self.caller.clone(),
            volume_id: self.new_id.clone(),
            size: self.size.unsigned_abs(),
            source: VolumeSource::Blank,
        };
        hosts::call(app, Some(&self.to), message, PATIENCE).await?;
        store::turn(app, &self.new_id, Change::Created).await
    }

    /// The volume is where it was, and what it was; unless it has moved already.
    async fn give_up(&mut self, app: &Cinder, _: &Error) -> Result<()> {
        let uses = attachments::store::of_volume(app.db().read(), &self.new_id).await?;
        if uses.iter().any(|attachment| attachment.status == AttachStatus::Attached) {
            // compute did not say so, but a guest writes to it
            self.move_over(app).await?;
        }
        if self.has_moved(app).await? {
            return self.leave(app).await;
        }
        let id = self.volume_id.clone();
        app.db().write(move |tx| Box::pin(async move { status::fail(tx, &id).await })).await?;
        if let (Some(old), Some(new)) = (self.retyped_from.clone(), self.retyped_to.clone()) {
            let id = self.volume_id.clone();
            app.db().write(move |tx| Box::pin(async move { take_back(tx, &id, &old, &new).await })).await?;
        }
        for attachment in uses {
            self.end_export(app, attachment.id).await?;
        }
        hosts::call(app, Some(&self.to), DeleteVolume { volume_id: self.new_id.clone() }, PATIENCE).await?;
        let id = self.new_id.clone();
        app.db().write(move |tx| Box::pin(async move { store::remove(tx, &id).await.map(drop) })).await
    }

    async fn fill(&mut self, app: &Cinder) -> Result<()> {
        match self.in_use {
            true => self.swap(app).await,
            false => self.copy(app).await,
        }
    }

    /// The new host lets the old one in, which writes what it has.
    async fn copy(&self, app: &Cinder) -> Result<()> {
        let writer = self.from.as_deref().and_then(|from| from.split('@').next());
        let export = InitializeConnection {
            volume_id: self.new_id.clone(),
            attachment_id: self.new_id.clone(),
            connector: json!({"host": writer}),
            readonly: false,
        };
        let connection = hosts::call(app, Some(&self.to), export, PATIENCE).await?;
        let copy = CopyVolume { volume_id: self.old_data_id.clone(), connection };
        hosts::call(app, self.from.as_deref(), copy, PATIENCE).await?;
        self.end_export(app, self.new_id.clone()).await
    }

    /// Asks compute to put the new volume in the place of the old one, and waits until it says that this is done, or cannot be.
    async fn swap(&self, app: &Cinder) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        self.ask_compute(app).await?;
        while !self.has_moved(app).await? {
            let volume = store::fetch(app.db().read(), &self.volume_id).await?;
            if volume.migration_status.as_deref().and_then(Migration::parse) == Some(Migration::Error) {
                return Err(Error::unavailable(format!("Compute could not exchange volume {} for {}.", self.volume_id, self.new_id)));
            }
            if Instant::now() > deadline {
                return Err(Error::unavailable(format!("Compute did not exchange volume {} in time.", self.volume_id)));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Once: who was asked has reserved the new volume.
    async fn ask_compute(&self, app: &Cinder) -> Result<()> {
        let db = app.db().read();
        if store::find(db, &self.new_id).await?.is_none_or(|new| new.status != Status::Available) {
            return Ok(());
        }
        let auth = app.session().auth(&self.caller.request_id).await?;
        let uses = attachments::store::of_volume(db, &self.volume_id).await?;
        for attachment in uses.into_iter().filter(|attachment| attachment.status == AttachStatus::Attached) {
            let server = attachment.instance_id.ok_or_else(|| {
                Error::bad_request(format!("Volume {} is used by no server, and nobody can exchange it.", self.volume_id))
            })?;
            app.compute().swap_volume(&auth, &server, &self.volume_id, &self.new_id).await?;
        }
        Ok(())
    }

    async fn stop_filling(&mut self, app: &Cinder, _: &Error) -> Result<()> {
        match self.in_use {
            true => Ok(()),
            false => self.end_export(app, self.new_id.clone()).await,
        }
    }

    /// One look tells that it is there, in the zone of that place, and of its new type.
    async fn move_over(&mut self, app: &Cinder) -> Result<()> {
        let (id, new_id) = (self.volume_id.clone(), self.new_id.clone());
        app.db().write(move |tx| Box::pin(async move { completion::finish(tx, &id, &new_id).await })).await
    }

    /// What is left behind is of no use; a host that cannot be asked now reports it as a stranger.
    async fn leave(&mut self, app: &Cinder) -> Result<()> {
        let gone = hosts::call(app, self.from.as_deref(), DeleteVolume { volume_id: self.old_data_id.clone() }, PATIENCE).await;
        if let Err(error) = gone {
            tracing::warn!(volume = self.volume_id, host = self.from, %error, "the old copy stays behind");
        }
        Ok(())
    }

    async fn has_moved(&self, app: &Cinder) -> Result<bool> {
        let volume = store::find(app.db().read(), &self.volume_id).await?;
        Ok(volume.is_some_and(|volume| volume.name_id.as_ref() == Some(&self.new_id)))
    }

    async fn end_export(&self, app: &Cinder, attachment_id: String) -> Result<()> {
        let message = TerminateConnection { volume_id: self.new_id.clone(), attachment_id };
        hosts::call(app, Some(&self.to), message, PATIENCE).await
    }
}

/// What was charged to the type that the volume does not get is charged to its own again, whatever the quota says by now.
async fn take_back(tx: &impl ConnectionTrait, id: &str, old: &str, new: &str) -> Result<()> {
    let volume = store::lock(tx, id).await?;
    if volume.status == Status::Retyping {
        let old = types::store::fetch(tx, old).await?;
        quota::add_anyway(tx, &volume.project_id, &retype::charges(tx, &volume, &old).await?).await?;
        // nobody is charged for a type that has been deleted since
        if let Some(new) = types::Entity::find_by_id(new).one(tx).await? {
            retype::release(tx, &volume, &new).await?;
        }
    }
    store::finish(tx, id, Change::Retyped).await
}
