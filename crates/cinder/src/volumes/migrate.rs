//! `os-migrate_volume`: a volume that nobody uses moves to another host, and keeps its id.
//!
//! `migration_status`: starting -> migrating -> success, or error.

use std::time::Duration;

use http::StatusCode;
use kit::clock::Timestamp;
use kit::flow::{Flow, Step};
use kit::{Context, Error, Reply, Result};
use rpc::volume::{CopyVolume, DeleteVolume, InitializeConnection, TerminateConnection, VolumeSource};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, Set};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{ActiveModel, Change, Column, Entity, Status, Volume, api, retype, store};
use crate::body::truth;
use crate::manageable::api::host_named;
use crate::quotas::store as quota;
use crate::types::{self, VolumeType};
use crate::{Cinder, hosts, services, snapshots};

/// A volume may be large.
const PATIENCE: Duration = Duration::from_secs(4 * 3600);
/// As whom the new host exports the volume while it is filled.
const EXPORT: &str = "migration";

pub async fn migrate(app: Cinder, ctx: Context, volume: Volume, body: Value) -> Result<Reply> {
    if body["cluster"].is_string() {
        return Err(Error::bad_request("No available service in the cluster: the hosts of this cloud form none."));
    }
    let host = body["host"].as_str().and_then(|host| host.split('#').next());
    let host = host.ok_or_else(|| Error::bad_request("Must specify 'host' or 'cluster' to migrate to."))?;
    let host = host_named(&app, host).await?;
    if volume.host.as_ref() == Some(&host) {
        return Err(refusal(&volume));
    }
    begin(&app, &ctx, volume, host, truth(&body["lock_volume"]) == Some(true), None).await?;
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

/// Promises the move to a host; with another type, if it is for that.
pub async fn begin(
    app: &Cinder,
    ctx: &Context,
    volume: Volume,
    to: String,
    maintenance: bool,
    types: Option<(VolumeType, VolumeType)>,
) -> Result<()> {
    let flow = MigrateVolume {
        caller: ctx.caller(),
        volume_id: volume.id,
        from: volume.host,
        to,
        size: volume.size,
        maintenance,
        retyped_from: types.as_ref().map(|(old, _)| old.id.clone()),
        retyped_to: types.as_ref().map(|(_, new)| new.id.clone()),
    };
    let flows = app.flows()?.clone();
    let flow_id = app
        .db()
        .write(move |tx| {
            Box::pin(async move {
                let volume = store::lock(tx, &flow.volume_id).await?;
                check(&volume, !snapshots::store::of_volume(tx, &volume.id).await?.is_empty())?;
                if let Some((old, new)) = &types {
                    store::change_or_refuse(tx, &volume.id, Change::Retype).await?;
                    retype::recharge(tx, &volume, old, new).await?;
                }
                let mut row = ActiveModel { migration_status: Set(Some("starting".into())), ..Default::default() };
                if flow.maintenance {
                    row.status = Set(Status::Maintenance);
                }
                Entity::update_many().set(row).filter(Column::Id.eq(&volume.id)).exec(tx).await?;
                flows.insert(tx, &volume.id, &flow).await
            })
        })
        .await?;
    app.flows()?.start(&flow_id);
    Ok(())
}

/// Whether something is under way that a volume's status does not tell.
pub fn is_migrating(volume: &Volume) -> bool {
    matches!(volume.migration_status.as_deref(), Some("starting" | "migrating"))
}

fn check(volume: &Volume, has_snapshots: bool) -> Result<()> {
    match volume.status != Status::Available || is_migrating(volume) || has_snapshots || volume.group_id.is_some() {
        true => Err(refusal(volume)),
        false => Ok(()),
    }
}

fn refusal(volume: &Volume) -> Error {
    store::invalid(format!(
        "Volume {} status must be available, must not be migrating, have snapshots, be replicated, be part of a group and destination \
         host/cluster must be different than the current one",
        volume.id
    ))
}

/// `os-migrate_volume_completion`: compute says that a server has another volume in place of this one. Ours move without its help, so that
/// there is never a migration to complete, and what was swapped stays swapped.
pub async fn complete(app: Cinder, ctx: Context, volume: Volume, body: Value) -> Result<Reply> {
    let id = body["new_volume"].as_str().and_then(kit::ids::parse_uuid);
    let id = id.ok_or_else(|| Error::bad_request("Invalid input for field/attribute new_volume. It is not a UUID."))?;
    let new = api::find_for(&app, &ctx, &id, "volume:get").await?;
    match (&volume.migration_status, &new.migration_status) {
        (None, None) => Reply::ok(&json!({"save_volume_id": new.id})),
        (None, Some(_)) => Err(store::invalid("Source volume not mid-migration.")),
        (Some(_), None) => Err(store::invalid("Destination volume not mid-migration.")),
        (Some(_), Some(status)) => {
            Err(store::invalid(format!("Destination has migration_status {status}, expected target:{}.", volume.id)))
        }
    }
}

/// prepare -> fill -> move_over -> leave
#[derive(Serialize, Deserialize)]
pub struct MigrateVolume {
    caller: rpc::Caller,
    volume_id: String,
    from: Option<String>,
    to: String,
    size: i64,
    maintenance: bool,
    /// The type it has, if it moves for the sake of another, and that one. The other is charged from the start.
    #[serde(default)]
    retyped_from: Option<String>,
    #[serde(default)]
    retyped_to: Option<String>,
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
        self.say(app, "migrating").await?;
        let message = rpc::volume::CreateVolume {
            caller: self.caller.clone(),
            volume_id: self.volume_id.clone(),
            size: self.size.unsigned_abs(),
            source: VolumeSource::Blank,
        };
        hosts::call(app, Some(&self.to), message, PATIENCE).await.map(drop)
    }

    /// The volume is where it was, and what it was; unless it has moved already.
    async fn give_up(&mut self, app: &Cinder, _: &Error) -> Result<()> {
        let volume = store::find(app.db().read(), &self.volume_id).await?;
        if volume.is_some_and(|volume| volume.host.as_ref() == Some(&self.to)) {
            return self.leave(app).await;
        }
        self.say(app, "error").await?;
        if let (Some(old), Some(new)) = (self.retyped_from.clone(), self.retyped_to.clone()) {
            let id = self.volume_id.clone();
            app.db().write(move |tx| Box::pin(async move { take_back(tx, &id, &old, &new).await })).await?;
        }
        hosts::call(app, Some(&self.to), DeleteVolume { volume_id: self.volume_id.clone() }, PATIENCE).await
    }

    async fn fill(&mut self, app: &Cinder) -> Result<()> {
        let export =
            InitializeConnection { volume_id: self.volume_id.clone(), attachment_id: EXPORT.into(), connector: json!({}), readonly: false };
        let connection = hosts::call(app, Some(&self.to), export, PATIENCE).await?;
        let copy = CopyVolume { volume_id: self.volume_id.clone(), connection };
        hosts::call(app, self.from.as_deref(), copy, PATIENCE).await?;
        self.end_export(app).await
    }

    async fn stop_filling(&mut self, app: &Cinder, _: &Error) -> Result<()> {
        self.end_export(app).await
    }

    /// One look tells that it is there, in the zone of that place, and of its new type.
    async fn move_over(&mut self, app: &Cinder) -> Result<()> {
        let (id, row, kind) = (self.volume_id.clone(), self.said("success"), self.retyped_to.clone());
        let availability_zone = Set(services::store::zone_of(app, &self.to).await?);
        let row = ActiveModel { host: Set(Some(self.to.clone())), availability_zone, ..row };
        let moved = app.db().write(move |tx| {
            Box::pin(async move {
                Entity::update_many().set(row).filter(Column::Id.eq(&id)).exec(tx).await?;
                let Some(kind) = kind else { return Ok(()) };
                retype::become_type(tx, &id, &types::store::fetch(tx, &kind).await?).await?;
                store::finish(tx, &id, Change::Retyped).await
            })
        });
        moved.await
    }

    /// What is left behind is of no use; a host that cannot be asked now reports it as a stranger.
    async fn leave(&mut self, app: &Cinder) -> Result<()> {
        let gone = hosts::call(app, self.from.as_deref(), DeleteVolume { volume_id: self.volume_id.clone() }, PATIENCE).await;
        if let Err(error) = gone {
            tracing::warn!(volume = self.volume_id, host = self.from, %error, "the old copy stays behind");
        }
        Ok(())
    }

    async fn end_export(&self, app: &Cinder) -> Result<()> {
        let message = TerminateConnection { volume_id: self.volume_id.clone(), attachment_id: EXPORT.into() };
        hosts::call(app, Some(&self.to), message, PATIENCE).await
    }

    async fn say(&self, app: &Cinder, status: &str) -> Result<()> {
        store::update(app, &self.volume_id, self.said(status)).await
    }

    /// `migration_status`; maintenance ends with the migration.
    fn said(&self, status: &str) -> ActiveModel {
        let migration_status = Set(Some(status.to_owned()));
        let mut row = ActiveModel { migration_status, updated_at: Set(Some(Timestamp::now())), ..Default::default() };
        if self.maintenance && status != "migrating" {
            row.status = Set(Status::Available);
        }
        row
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
