//! Asking for a backup: what is checked and promised before 202.

use std::collections::BTreeMap;

use http::StatusCode;
use kit::call::Wrapper;
use kit::clock::Timestamp;
use kit::db::Json as DbJson;
use kit::{Context, Error, Reply, Result, Versioned, ids};
use sea_orm::{ConnectionTrait, EntityTrait};
use serde::Deserialize;
use serde_json::json;

use super::flows::CreateBackup;
use super::{About, ActiveModel, Backup, Entity, Status, store, view};
use crate::body::{Body, boolean, text};
use crate::keys::{self, Key};
use crate::volumes::store::Kind;
use crate::volumes::{self, Volume, metadata};
use crate::{Cinder, quotas, snapshots};

/// `POST /backups`
#[derive(Deserialize, Versioned)]
pub struct NewBackup {
    volume_id: String,
    container: Option<String>,
    name: Option<String>,
    description: Option<String>,
    #[serde(default, deserialize_with = "boolean")]
    incremental: Option<bool>,
    #[serde(default, deserialize_with = "boolean")]
    force: Option<bool>,
    snapshot_id: Option<String>,
    #[since(3.43)]
    metadata: Option<BTreeMap<String, String>>,
    #[since(3.51)]
    availability_zone: Option<String>,
}

impl Wrapper for NewBackup {
    const KEY: &'static str = "backup";
}

pub async fn create(app: Cinder, ctx: Context, Body(body): Body<NewBackup>) -> Result<Reply> {
    let volume = volumes::api::find_for(&app, &ctx, &body.volume_id, "volume:get").await?;
    let snapshot = match &body.snapshot_id {
        Some(id) => Some(snapshots::api::find_for(&app, &ctx, id, "volume:get_snapshot").await?),
        None => None,
    };
    if let Some(snapshot) = &snapshot
        && snapshot.volume_id != volume.id
    {
        return Err(Error::bad_request(format!("Invalid snapshot: Snapshot {} is of another volume.", snapshot.id)));
    }
    let host = volume.host.clone().ok_or_else(|| volumes::store::invalid("The volume is on no host."))?;
    let parent = match body.incremental {
        Some(true) => Some(store::newest(app.db().read(), ctx.project_id()?, &volume.id, &host).await?.ok_or_else(no_parent)?),
        Some(false) | None => None,
    };
    let pairs = body.metadata.unwrap_or_default();
    metadata::check(&pairs)?;
    let db = app.db().read();
    let about = About {
        name: volume.name.clone(),
        description: volume.description.clone(),
        bootable: volume.bootable,
        metadata: volumes::store::metadata(db, &volume.id, Kind::User).await?,
        image_metadata: volumes::store::metadata(db, &volume.id, Kind::Image).await?,
        type_id: volume.encryption_key_id.as_ref().map(|_| volume.type_id.clone()),
    };
    let project = ctx.project_id()?;
    let key = key_of(&app, &volume, parent.as_ref(), project).await?;
    let parent_data = parent.as_ref().map(|parent| parent.data_id().to_owned());
    let backup = Backup {
        id: ids::uuid(),
        project_id: project.to_owned(),
        user_id: ctx.user_id()?.to_owned(),
        volume_id: volume.id.clone(),
        snapshot_id: body.snapshot_id,
        parent_id: parent.map(|parent| parent.id),
        host,
        name: text("name", body.name)?,
        description: text("description", body.description)?,
        size: volume.size,
        status: Status::Creating,
        object_count: 0,
        fail_reason: None,
        container: text("container", body.container)?,
        availability_zone: body.availability_zone.unwrap_or_else(|| volume.availability_zone.clone()),
        metadata: DbJson(pairs),
        data_id: None,
        bucket: None,
        encryption_key_id: key.as_ref().map(|key| key.id.clone()),
        about: Some(DbJson(about)),
        data_at: snapshot.as_ref().map_or_else(Timestamp::now, |snapshot| snapshot.created_at),
        created_at: Timestamp::now(),
        updated_at: None,
    };
    let answer = view::brief(&ctx, &backup);
    promise(&app, &ctx, volume, (backup, key), parent_data, body.force == Some(true)).await?;
    Reply::json(StatusCode::ACCEPTED, &json!({"backup": answer}))
}

/// The key of a backup of an encrypted volume: what builds on another has the other's.
async fn key_of(app: &Cinder, volume: &Volume, parent: Option<&Backup>, project: &str) -> Result<Option<Key>> {
    let of_parent = parent.map(|parent| parent.encryption_key_id.as_ref());
    let id = match (&volume.encryption_key_id, of_parent) {
        (None, None | Some(None)) => return Ok(None),
        (Some(own), None) => own,
        (Some(_), Some(Some(of_parent))) => of_parent,
        (None, Some(Some(_))) | (Some(_), Some(None)) => return Err(no_parent()),
    };
    keys::copy(app.db().read(), id, project).await.map(Some)
}

/// The row, its quota, the busy state of what is read, and the flow.
async fn promise(
    app: &Cinder,
    ctx: &Context,
    volume: Volume,
    (backup, key): (Backup, Option<Key>),
    parent_data: Option<String>,
    force: bool,
) -> Result<()> {
    let (flows, caller) = (app.flows()?.clone(), ctx.caller());
    let flow_id = app
        .db()
        .write(move |tx| {
            Box::pin(async move {
                mark(tx, &volume.id, backup.snapshot_id.as_deref(), force).await?;
                quotas::store::charge(tx, &backup.project_id, &quotas::backup(backup.size)).await?;
                let flow = CreateBackup {
                    caller,
                    backup_id: backup.id.clone(),
                    volume_id: volume.id,
                    snapshot_id: backup.snapshot_id.clone(),
                    parent_id: parent_data,
                    host: backup.host.clone(),
                };
                if let Some(key) = key {
                    keys::insert(tx, key).await?;
                }
                Entity::insert(ActiveModel::from(backup)).exec_without_returning(tx).await?;
                flows.insert(tx, &flow.backup_id, &flow).await
            })
        })
        .await?;
    app.flows()?.start(&flow_id);
    Ok(())
}

/// What is read becomes busy, or 400 says why it cannot be read now.
async fn mark(tx: &impl ConnectionTrait, volume_id: &str, snapshot_id: Option<&str>, force: bool) -> Result<()> {
    if let Some(id) = snapshot_id {
        if snapshots::store::change(tx, id, snapshots::Change::BackUp).await? {
            return Ok(());
        }
        let status = snapshots::store::fetch(tx, id).await?.status.text();
        let sentence = "Snapshot to be backed up must be available, but the current status is";
        return Err(Error::bad_request(format!("Invalid snapshot: {sentence} \"{status}\".")));
    }
    let change = if force { volumes::Change::BackUpInUse } else { volumes::Change::BackUp };
    if volumes::store::change(tx, volume_id, change).await? {
        return Ok(());
    }
    Err(match volumes::store::fetch(tx, volume_id).await?.status {
        volumes::Status::InUse => volumes::store::invalid("Backing up an in-use volume must use the force flag."),
        status => volumes::store::invalid(format!(
            "Volume to be backed up must be available or in-use, but the current status is \"{}\".",
            status.text()
        )),
    })
}

fn no_parent() -> Error {
    Error::bad_request("Invalid backup: No backups available to do an incremental backup.")
}
