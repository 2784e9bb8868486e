//! `/os-assisted-volume-snapshots`: cinder asks nova to snapshot a volume that only its guest can, because its data is a file the guest has
//! open. No volume backend here is of that kind (volumes are exports whose backend snapshots them itself), so a well-formed request for an
//! attached volume is refused as one that nova refuses too: the volume cannot be snapshotted this way.

use kit::{Context, Error, Json, Path, Query, Reply, Result};
use sea_orm::entity::prelude::*;
use serde::Deserialize;
use serde_json::Value;

use crate::servers::block_devices;
use crate::{Nova, validate};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Snapshot {
    volume_id: String,
    create_info: CreateInfo,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateInfo {
    snapshot_id: String,
    #[serde(rename = "type")]
    kind: String,
    new_file: String,
    #[serde(default)]
    id: Option<String>,
}

/// What a deletion says in its query, as JSON.
#[derive(Deserialize)]
struct DeleteInfo {
    volume_id: String,
}

/// `POST /os-assisted-volume-snapshots`
pub async fn create(app: Nova, ctx: Context, body: Json<Value>) -> Result<Reply> {
    let asked = Value::Object(validate::only(body.0, "snapshot", ctx.strict)?);
    let asked: Snapshot = serde_json::from_value(asked)
        .map_err(|error| Error::bad_request(format!("Invalid input for field/attribute snapshot. {error}")))?;
    let info = &asked.create_info;
    if info.kind != "qcow2" {
        return Err(validate::invalid("type", &info.kind, format!("'{}' is not one of ['qcow2']", info.kind)));
    }
    for (path, text) in [
        ("volume_id", Some(&asked.volume_id)),
        ("snapshot_id", Some(&info.snapshot_id)),
        ("new_file", Some(&info.new_file)),
        ("id", info.id.as_ref()),
    ] {
        if text.is_some_and(String::is_empty) {
            return Err(validate::invalid(path, "", "'' is too short"));
        }
    }
    Err(refuse(&app, &asked.volume_id).await?)
}

/// `DELETE /os-assisted-volume-snapshots/{id}?delete_info={...}`
pub async fn delete(app: Nova, _: Context, _: Path<String>, query: Query) -> Result<Reply> {
    let info = query.get("delete_info").and_then(|text| serde_json::from_str::<DeleteInfo>(text).ok());
    let info = info.ok_or_else(|| Error::bad_request("Invalid input for query parameters delete_info. It must have a volume_id."))?;
    Err(refuse(&app, &info.volume_id).await?)
}

async fn refuse(app: &Nova, volume: &str) -> Result<Error> {
    let attached = block_devices::Entity::find().filter(block_devices::Column::VolumeId.eq(volume)).one(app.db.read()).await?;
    Ok(Error::bad_request(match attached {
        None => format!("No volume Block Device Mapping with id {volume}."),
        Some(_) => format!("Invalid volume: volume {volume} is snapshotted by its own backend, not by the server it is attached to."),
    }))
}
