//! Restoring: into a volume that is there, or into a new one.

use http::StatusCode;
use kit::call::Wrapper;
use kit::clock::Timestamp;
use kit::flow::{Flow, Step};
use kit::{Context, Error, Path, Reply, Result, Versioned, ids};
use rpc::volume::{CopyVolume, DeleteVolume, InitializeConnection, TerminateConnection, VolumeSource};
use sea_orm::EntityTrait;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::flows::PATIENCE;
use super::{Backup, Change, api, keeper, store};
use crate::body::{Body, text};
use crate::keys::{self, Key};
use crate::messages::{self, Action};
use crate::volumes::store::Kind;
use crate::volumes::{self, Volume};
use crate::{Cinder, hosts, quotas, services, types};

/// `POST /backups/{id}/restore`
#[derive(Deserialize, Versioned)]
pub struct Restoration {
    volume_id: Option<String>,
    name: Option<String>,
}

impl Wrapper for Restoration {
    const KEY: &'static str = "restore";
}

pub async fn restore(app: Cinder, ctx: Context, Path(id): Path<String>, Body(body): Body<Restoration>) -> Result<Reply> {
    let backup = api::find(&app, &ctx, &id).await?;
    let new = body.volume_id.is_none();
    let (volume, key) = match &body.volume_id {
        Some(volume) => (fitting(&backup, volumes::api::find_for(&app, &ctx, volume, "volume:update").await?)?, None),
        None => blank(&app, &ctx, &backup, text("name", body.name)?).await?,
    };
    let answer = json!({"backup_id": backup.id, "volume_id": volume.id, "volume_name": volume.name});
    promise(&app, &ctx, backup, (volume, key), new).await?;
    Reply::json(StatusCode::ACCEPTED, &json!({"restore": answer}))
}

/// The volume, if the backup can be put into it.
fn fitting(backup: &Backup, volume: Volume) -> Result<Volume> {
    if volume.size < backup.size {
        return Err(volumes::store::invalid(format!(
            "volume size {} is too small to restore backup of size {}.",
            volume.size, backup.size
        )));
    }
    if backup.encryption_key_id.is_some() && volume.encryption_key_id.is_none() {
        return Err(volumes::store::invalid(format!("Volume {} is not encrypted, but the backup is.", volume.id)));
    }
    if is_elsewhere(backup, &volume) && backup.encryption_key_id.is_some() {
        // it would lie in the clear on its way
        return Err(volumes::store::invalid("The volume is on another host than the backup, which is encrypted."));
    }
    Ok(volume)
}

/// Whether the volume's host cannot read the backup.
fn is_elsewhere(backup: &Backup, volume: &Volume) -> bool {
    backup.bucket.is_none() && volume.host.as_ref() != Some(&backup.host)
}

/// A volume that is about to be made of the backup, on the backup's host, with its key. What was encrypted is of its own type again.
async fn blank(app: &Cinder, ctx: &Context, backup: &Backup, name: Option<String>) -> Result<(Volume, Option<Key>)> {
    let own = backup.about.as_ref().and_then(|about| about.0.type_id.as_deref());
    let kind = types::store::find_for(app.db().read(), ctx, own).await?;
    let source = VolumeSource::Backup { backup_id: backup.id.clone() };
    let key = volumes::encryption::key_for(app, ctx.project_id()?, &kind, &source, backup.encryption_key_id.as_deref()).await?;
    let host = keeper::of(app, backup).await?;
    let volume = Volume {
        id: ids::uuid(),
        project_id: ctx.project_id()?.to_owned(),
        user_id: ctx.user_id()?.to_owned(),
        name: Some(name.unwrap_or_else(|| format!("restore_backup_{}", backup.id))),
        description: match &backup.about {
            Some(about) => about.0.description.clone(),
            None => Some(format!("auto-created_from_restore_from_backup: {}", backup.id)),
        },
        size: backup.size,
        status: volumes::Status::RestoringBackup,
        attach_status: volumes::AttachStatus::Detached,
        migration_status: None,
        bootable: backup.about.as_ref().is_some_and(|about| about.0.bootable),
        multiattach: kind.multiattach(),
        readonly: false,
        availability_zone: services::store::zone_of(app, &host).await?,
        host: Some(host),
        type_id: kind.id,
        snapshot_id: None,
        source_volid: None,
        group_id: None,
        encryption_key_id: key.as_ref().map(|key| key.id.clone()),
        name_id: None,
        created_at: Timestamp::now(),
        updated_at: None,
    };
    Ok((volume, key))
}

async fn promise(app: &Cinder, ctx: &Context, backup: Backup, (volume, key): (Volume, Option<Key>), new: bool) -> Result<()> {
    let (flows, caller) = (app.flows()?.clone(), ctx.caller());
    let flow_id = app
        .db()
        .write(move |tx| {
            Box::pin(async move {
                store::change_or_refuse(tx, &backup.id, Change::Restore).await?;
                let by_way_of = is_elsewhere(&backup, &volume).then(|| Stopover { host: backup.host.clone(), volume_id: ids::uuid() });
                let flow = RestoreBackup {
                    caller,
                    by_way_of,
                    data_id: Some(backup.data_id().to_owned()),
                    backup_id: backup.id,
                    volume_id: volume.id.clone(),
                    host: volume.host.clone().unwrap_or(backup.host),
                    size: volume.size,
                    new,
                };
                let about = backup.about.map(|about| about.0).unwrap_or_default();
                if let Some(key) = key {
                    keys::insert(tx, key).await?;
                }
                if new {
                    let type_name = types::store::name(tx, &volume.type_id).await?;
                    quotas::store::charge(tx, &volume.project_id, &quotas::volume(volume.size, &type_name)).await?;
                    volumes::Entity::insert(volumes::ActiveModel::from(volume)).exec_without_returning(tx).await?;
                } else {
                    volumes::store::change_or_refuse(tx, &volume.id, volumes::Change::Restore).await?;
                }
                volumes::store::set_metadata(tx, &flow.volume_id, Kind::User, &about.metadata, false).await?;
                volumes::store::set_metadata(tx, &flow.volume_id, Kind::Image, &about.image_metadata, true).await?;
                flows.insert(tx, &flow.volume_id, &flow).await
            })
        })
        .await?;
    app.flows()?.start(&flow_id);
    Ok(())
}

/// fill -> announce
#[derive(Serialize, Deserialize)]
pub struct RestoreBackup {
    caller: rpc::Caller,
    backup_id: String,
    /// Under which id the host keeps it, if not its own.
    #[serde(default)]
    data_id: Option<String>,
    volume_id: String,
    host: String,
    size: i64,
    new: bool,
    /// Where the volume's host cannot read the backup.
    #[serde(default)]
    by_way_of: Option<Stopover>,
}

/// A volume at the backup's host, which is made of it, copied, and removed again.
#[derive(Clone, Serialize, Deserialize)]
struct Stopover {
    host: String,
    volume_id: String,
}

impl Flow for RestoreBackup {
    type App = Cinder;
    const KIND: &'static str = "restore_backup";

    fn steps() -> Vec<Step<Self>> {
        kit::steps![Self: fill / fail, announce]
    }
}

impl RestoreBackup {
    async fn fill(&mut self, app: &Cinder) -> Result<()> {
        let (volume_id, size) = (volumes::store::data_id(app, &self.volume_id).await?, self.size.unsigned_abs());
        let backup_id = self.data_id.clone().unwrap_or_else(|| self.backup_id.clone());
        if self.new {
            let (source, caller) = (VolumeSource::Backup { backup_id }, self.caller.clone());
            let message = rpc::volume::CreateVolume { caller, volume_id, size, source };
            return hosts::call(app, Some(&self.host), message, PATIENCE).await.map(drop);
        }
        if let Some(stopover) = self.by_way_of.clone() {
            let (source, caller) = (VolumeSource::Backup { backup_id }, self.caller.clone());
            let message = rpc::volume::CreateVolume { caller, volume_id: stopover.volume_id.clone(), size, source };
            hosts::call(app, Some(&stopover.host), message, PATIENCE).await?;
            self.copy(app, &stopover, volume_id).await?;
            return self.leave(app, &stopover).await;
        }
        hosts::call(app, Some(&self.host), rpc::volume::RestoreBackup { backup_id, volume_id, size }, PATIENCE).await
    }

    /// The volume's host lets the backup's host in, which writes what it has made.
    async fn copy(&self, app: &Cinder, stopover: &Stopover, volume_id: String) -> Result<()> {
        let export = InitializeConnection {
            volume_id,
            attachment_id: stopover.volume_id.clone(),
            connector: json!({"host": stopover.host.split('@').next()}),
            readonly: false,
        };
        let connection = hosts::call(app, Some(&self.host), export, PATIENCE).await?;
        let copy = CopyVolume { volume_id: stopover.volume_id.clone(), connection };
        hosts::call(app, Some(&stopover.host), copy, PATIENCE).await
    }

    async fn leave(&self, app: &Cinder, stopover: &Stopover) -> Result<()> {
        let volume_id = volumes::store::data_id(app, &self.volume_id).await?;
        let message = TerminateConnection { volume_id, attachment_id: stopover.volume_id.clone() };
        hosts::call(app, Some(&self.host), message, PATIENCE).await?;
        hosts::call(app, Some(&stopover.host), DeleteVolume { volume_id: stopover.volume_id.clone() }, PATIENCE).await
    }

    async fn fail(&mut self, app: &Cinder, error: &Error) -> Result<()> {
        volumes::store::turn(app, &self.volume_id, volumes::Change::RestoreFailed).await?;
        store::turn(app, &self.backup_id, Change::Restored).await?;
        messages::tell(app, &self.caller, Action::RestoreBackup, &self.backup_id, error).await;
        if let Some(stopover) = self.by_way_of.clone()
            && let Err(error) = self.leave(app, &stopover).await
        {
            tracing::warn!(volume = stopover.volume_id, host = stopover.host, %error, "what was made of a backup stays behind");
        }
        Ok(())
    }

    async fn announce(&mut self, app: &Cinder) -> Result<()> {
        volumes::store::turn(app, &self.volume_id, volumes::Change::Restored).await?;
        store::turn(app, &self.backup_id, Change::Restored).await
    }
}
