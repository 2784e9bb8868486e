//! Exported records: what cinder knows of a backup, in text that a cinder which lost its database can read in again.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kit::call::Wrapper;
use kit::clock::Timestamp;
use kit::db::Json as DbJson;
use kit::{Context, Error, Path, Reply, Result, Versioned};
use sea_orm::EntityTrait;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{About, ActiveModel, Backup, Entity, Status, api, keeper, store, view};
use crate::body::Body;
use crate::keys::{self, Key};
use crate::{Cinder, hosts, quotas};

/// Whose records these are.
const SERVICE: &str = "cinder.backup.drivers.cumulo";
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// What a record says.
#[derive(Serialize, Deserialize)]
struct Record {
    id: String,
    /// Under which id the host keeps it.
    data_id: String,
    volume_id: String,
    parent_id: Option<String>,
    host: String,
    name: Option<String>,
    description: Option<String>,
    size: i64,
    object_count: i64,
    availability_zone: String,
    data_at: i64,
    about: Option<About>,
    #[serde(default)]
    bucket: Option<String>,
    /// The key of what is encrypted, sealed.
    #[serde(default)]
    key: Option<Sealed>,
}

/// As it is in the key manager; of use to who has the master key.
#[derive(Serialize, Deserialize)]
struct Sealed {
    cipher: String,
    sealed: String,
}

pub async fn export(app: Cinder, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let backup = api::find(&app, &ctx, &id).await?;
    if backup.status != Status::Available {
        let status = backup.status.text();
        return Err(Error::bad_request(format!("Invalid backup: Backup status must be available and not {status}.")));
    }
    let key = match &backup.encryption_key_id {
        Some(id) => Some(keys::copy(app.db().read(), id, &backup.project_id).await?),
        None => None,
    };
    let record = Record {
        key: key.map(|key| Sealed { cipher: key.cipher, sealed: key.sealed }),
        bucket: backup.bucket.clone(),
        data_id: backup.data_id().to_owned(),
        id: backup.id,
        volume_id: backup.volume_id,
        parent_id: backup.parent_id,
        host: backup.host,
        name: backup.name,
        description: backup.description,
        size: backup.size,
        object_count: backup.object_count,
        availability_zone: backup.availability_zone,
        data_at: backup.data_at.0,
        about: backup.about.map(|about| about.0),
    };
    let url = STANDARD.encode(serde_json::to_vec(&record)?);
    Reply::ok(&json!({"backup-record": {"backup_service": SERVICE, "backup_url": url}}))
}

/// `POST /backups/import_record`
#[derive(Deserialize, Versioned)]
pub struct Import {
    backup_service: String,
    backup_url: String,
}

impl Wrapper for Import {
    const KEY: &'static str = "backup-record";
}

pub async fn import(app: Cinder, ctx: Context, Body(body): Body<Import>) -> Result<Reply> {
    if body.backup_service != SERVICE {
        return Err(Error::unavailable(format!("There is no backup service '{}' to import the record.", body.backup_service)));
    }
    let unreadable = || Error::bad_request("Invalid input received: Can't parse backup record.");
    let text = STANDARD.decode(&body.backup_url).map_err(|_| unreadable())?;
    let record: Record = serde_json::from_slice(&text).map_err(|_| unreadable())?;
    if record.size < 1 || [&record.id, &record.data_id].iter().any(|id| kit::ids::parse_uuid(id).is_none()) {
        return Err(unreadable());
    }
    if store::find(app.db().read(), &record.id).await?.is_some() {
        return Err(Error::bad_request("Invalid backup: Backup already exists in database."));
    }
    // a record of a backup that is not there would be a promise nobody keeps
    let look = rpc::volume::FindBackup { backup_id: record.data_id.clone() };
    let keeper = keeper::among(&app, &record.host, record.bucket.is_some()).await?;
    if !hosts::call(&app, Some(&keeper), look, PATIENCE).await? {
        return Err(store::not_found(&record.id));
    }
    let key = record.key.map(|sealed| known(&app, &ctx, sealed)).transpose()?;
    let backup = Backup {
        container: record.bucket.clone(),
        bucket: record.bucket,
        encryption_key_id: key.as_ref().map(|key| key.id.clone()),
        data_id: Some(record.data_id).filter(|data_id| *data_id != record.id),
        about: record.about.map(DbJson),
        id: record.id,
        project_id: ctx.project_id()?.to_owned(),
        user_id: ctx.user_id()?.to_owned(),
        volume_id: record.volume_id,
        snapshot_id: None,
        parent_id: record.parent_id,
        host: record.host,
        name: record.name,
        description: record.description,
        size: record.size,
        status: Status::Available,
        object_count: record.object_count,
        fail_reason: None,
        availability_zone: record.availability_zone,
        metadata: DbJson(Default::default()),
        data_at: Timestamp(record.data_at),
        created_at: Timestamp::now(),
        updated_at: None,
    };
    let answer = view::brief(&ctx, &backup);
    app.db()
        .write(move |tx| {
            Box::pin(async move {
                quotas::store::charge(tx, &backup.project_id, &quotas::backup(backup.size)).await?;
                if let Some(key) = key {
                    keys::insert(tx, key).await?;
                }
                Entity::insert(ActiveModel::from(backup)).exec_without_returning(tx).await?;
                Ok(())
            })
        })
        .await?;
    Reply::created(&json!({"backup": answer}))
}

/// The key of an imported backup, if it was sealed with a master key of ours.
fn known(app: &Cinder, ctx: &Context, sealed: Sealed) -> Result<Key> {
    let key = app.master_key().new_key(ctx.project_id()?, &sealed.cipher)?;
    let key = Key { sealed: sealed.sealed, ..key };
    let refused = |error: Error| Error::bad_request("Invalid backup: the key of the record cannot be opened here.").source(error);
    app.master_key().reveal(&key).map_err(refused)?;
    Ok(key)
}
