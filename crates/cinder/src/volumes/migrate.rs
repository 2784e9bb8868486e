//! `os-migrate_volume`: a volume moves to another host, and keeps its id. As in cinder, a volume of its own is made there for the time of
//! the move, which only administrators see; the data goes into it ([`flow`]), and in the end the volume is where that one was
//! ([`completion`]), under whose id the storage then keeps the data.
//!
//! How far it is, is its `migration_status` ([`status`]); that of the volume made for it is `target:ID`.

pub mod completion;
pub mod flow;
pub mod status;

use http::StatusCode;
use kit::clock::Timestamp;
use kit::{Context, Error, Reply, Result, ids};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, Set};
use serde_json::Value;

pub use completion::complete;
use flow::MigrateVolume;
use status::{Migration, Move};

use super::{ActiveModel, AttachStatus, Change, Column, Entity, Status, Volume, retype, store};
use crate::body::truth;
use crate::keys::{self, Key};
use crate::manageable::api::host_named;
use crate::types::{VolumeType, encryption};
use crate::{Cinder, services, snapshots};

/// How the `migration_status` of a volume begins that is made for the move of another.
pub const TARGET: &str = "target:";

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
    lock: bool,
    types: Option<(VolumeType, VolumeType)>,
) -> Result<()> {
    let key = new_key(app, &volume, types.as_ref()).await?;
    let zone = services::store::zone_of(app, &to).await?;
    let (flows, caller) = (app.flows()?.clone(), ctx.caller());
    let flow_id = app
        .db()
        .write(move |tx| {
            Box::pin(async move {
                let volume = store::lock(tx, &volume.id).await?;
                check(&volume, !snapshots::store::of_volume(tx, &volume.id).await?.is_empty())?;
                if let Some((old, new)) = &types {
                    store::change_or_refuse(tx, &volume.id, Change::Retype).await?;
                    retype::recharge(tx, &volume, old, new).await?;
                }
                if !status::advance(tx, &volume.id, Move::Begin).await? {
                    return Err(refusal(&volume));
                }
                if lock && volume.status == Status::Available {
                    let row = ActiveModel { status: Set(Status::Maintenance), ..Default::default() };
                    Entity::update_many().set(row).filter(Column::Id.eq(&volume.id)).exec(tx).await?;
                }
                let new_type = types.as_ref().map(|(_, new)| new);
                let target = add_target(tx, &volume, (to.clone(), zone), new_type, key).await?;
                let flow = MigrateVolume {
                    caller,
                    volume_id: volume.id.clone(),
                    new_id: target,
                    old_data_id: volume.data_id().to_owned(),
                    size: volume.size,
                    in_use: volume.status == Status::InUse,
                    from: volume.host,
                    to,
                    retyped_from: types.as_ref().map(|(old, _)| old.id.clone()),
                    retyped_to: types.as_ref().map(|(_, new)| new.id.clone()),
                };
                flows.insert(tx, &volume.id, &flow).await
            })
        })
        .await?;
    app.flows()?.start(&flow_id);
    Ok(())
}

/// The key of the volume made for the move: a new one if the types are encrypted in different ways.
async fn new_key(app: &Cinder, volume: &Volume, types: Option<&(VolumeType, VolumeType)>) -> Result<Option<Key>> {
    let db = app.db().read();
    if let Some((old, new)) = types
        && encryption::changes(db, old, new).await?
    {
        return match encryption::of(db, &new.id).await? {
            Some(how) => app.master_key().new_key(&volume.project_id, encryption::cipher(&how)?).map(Some),
            None => Ok(None),
        };
    }
    match &volume.encryption_key_id {
        Some(key) => keys::copy(db, key, &volume.project_id).await.map(Some),
        None => Ok(None),
    }
}

/// The volume made for the move; it takes nothing of the quota, and the room at its host at once. Answers its id.
async fn add_target(
    tx: &impl ConnectionTrait,
    volume: &Volume,
    (host, zone): (String, String),
    new_type: Option<&VolumeType>,
    key: Option<Key>,
) -> Result<String> {
    let id = ids::uuid();
    let target = Volume {
        id: id.clone(),
        status: Status::Creating,
        attach_status: AttachStatus::Detached,
        migration_status: Some(format!("{TARGET}{}", volume.id)),
        multiattach: new_type.map_or(volume.multiattach, VolumeType::multiattach),
        availability_zone: zone,
        host: Some(host),
        type_id: new_type.map_or_else(|| volume.type_id.clone(), |kind| kind.id.clone()),
        encryption_key_id: key.as_ref().map(|key| key.id.clone()),
        name_id: None,
        created_at: Timestamp::now(),
        updated_at: None,
        ..volume.clone()
    };
    if let Some(key) = key {
        keys::insert(tx, key).await?;
    }
    Entity::insert(ActiveModel::from(target)).exec_without_returning(tx).await?;
    Ok(id)
}

/// Whether something is under way that a volume's status does not tell.
pub fn is_migrating(volume: &Volume) -> bool {
    volume.migration_status.as_deref().and_then(Migration::parse).is_some_and(Migration::is_under_way)
}

/// Whether it is there only for the move of another.
pub fn is_target(volume: &Volume) -> bool {
    volume.migration_status.as_deref().is_some_and(|status| status.starts_with(TARGET))
}

fn check(volume: &Volume, has_snapshots: bool) -> Result<()> {
    let still = matches!(volume.status, Status::Available | Status::InUse);
    match !still || is_migrating(volume) || is_target(volume) || has_snapshots || volume.group_id.is_some() {
        true => Err(refusal(volume)),
        false => Ok(()),
    }
}

fn refusal(volume: &Volume) -> Error {
    store::invalid(format!(
        "Volume {} status must be available or in-use, must not be migrating, have snapshots, be replicated, be part of a group and \
         destination host/cluster must be different than the current one",
        volume.id
    ))
}
