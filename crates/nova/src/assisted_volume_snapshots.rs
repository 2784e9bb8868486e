//! `/os-assisted-volume-snapshots`: cinder asks nova to snapshot a volume that only its guest can, because its data is a file the guest has
//! open. The answer comes at once and the outcome later, to cinder. No volume here is of that kind (they are exports, which their backend
//! snapshots), so the outcome is always an error, as it is where nova's driver cannot do it.

use kit::{Context, Error, Json, Path, Query, Reply, Result};
use sea_orm::entity::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

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
    attached(&app, &asked.volume_id).await?;
    cannot(&app, &ctx, &info.snapshot_id, "error");
    Reply::ok(&json!({"snapshot": {"id": info.snapshot_id, "volumeId": asked.volume_id}}))
}

/// `DELETE /os-assisted-volume-snapshots/{id}?delete_info={...}`
pub async fn delete(app: Nova, ctx: Context, id: Path<String>, query: Query) -> Result<Reply> {
    let info = query.get("delete_info").and_then(|text| serde_json::from_str::<DeleteInfo>(text).ok());
    let info = info.ok_or_else(|| Error::bad_request("Invalid input for query parameters delete_info. It must have a volume_id."))?;
    attached(&app, &info.volume_id).await?;
    cannot(&app, &ctx, &id.0, "error_deleting");
    Reply::no_content()
}

/// 400 unless some server has the volume.
async fn attached(app: &Nova, volume: &str) -> Result<()> {
    let device = block_devices::Entity::find().filter(block_devices::Column::VolumeId.eq(volume)).one(app.db.read()).await?;
    device.map(drop).ok_or_else(|| Error::bad_request(format!("No volume Block Device Mapping with id {volume}.")))
}

/// Tells cinder that it could not be done.
fn cannot(app: &Nova, ctx: &Context, snapshot: &str, status: &'static str) {
    let (app, request, snapshot) = (app.clone(), ctx.request_id.clone(), snapshot.to_owned());
    tokio::spawn(async move {
        let told = async {
            let auth = app.session.auth(&request).await?;
            sdk::found(app.cloud.volume.update_snapshot_status(&auth, &snapshot, status).await)?;
            Ok::<(), Error>(())
        };
        if let Err(error) = told.await {
            tracing::warn!(snapshot, status, %error, "cinder was not told that a snapshot cannot be taken");
        }
    });
}
