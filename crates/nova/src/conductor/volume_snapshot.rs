//! An image of a server that boots from a volume: snapshots of its volumes, and an image without data that says how to make a server of them.

use std::collections::BTreeMap;

use kit::{Context, Error, Result};
use rpc::compute::BlockDevice;
use serde_json::{Value, json};

use crate::Nova;
use crate::servers::instance::Model;
use crate::servers::{images, store};

/// Takes the snapshots and makes the image; answers its id. What was made of one that fails goes again.
pub async fn create(app: &Nova, ctx: &Context, server: &Model, name: &str, metadata: &BTreeMap<String, String>) -> Result<String> {
    let devices = store::block_devices_of(app.db.read(), &server.id).await?;
    let mut taken = Vec::new();
    match make(app, ctx, server, name, metadata, devices, &mut taken).await {
        Ok(image) => Ok(image),
        Err(error) => {
            for snapshot in taken {
                if let Err(error) = sdk::found(app.cloud.volume.delete_snapshot(&ctx.auth(), &snapshot).await) {
                    tracing::warn!(snapshot, %error, "a snapshot was left");
                }
            }
            Err(error)
        }
    }
}

async fn make(
    app: &Nova,
    ctx: &Context,
    server: &Model,
    name: &str,
    metadata: &BTreeMap<String, String>,
    devices: Vec<BlockDevice>,
    taken: &mut Vec<String>,
) -> Result<String> {
    let mut mapping = Vec::new();
    for device in devices {
        let Some(volume) = device.volume_id.clone() else { continue };
        let snapshot = app.cloud.volume.create_snapshot(&ctx.auth(), &volume, &format!("snapshot for {name}")).await.map_err(|error| {
            match error.status {
                413 => Error::forbidden(error.message),
                _ => Error::from(error),
            }
        })?;
        taken.push(snapshot.id.clone());
        mapping.push(entry(&device, &snapshot.id, snapshot.size));
    }
    let mut fields = images::properties(server, &[("image_type", "snapshot")]);
    fields.remove("base_image_ref");
    fields.extend(metadata.iter().map(|(key, value)| (key.clone(), json!(value))));
    let root = server.root_device_name.clone().unwrap_or_else(|| "/dev/vda".to_owned());
    fields.extend([
        ("name".to_owned(), json!(name)),
        ("visibility".to_owned(), json!("private")),
        // no data is none of the formats that glance would look for
        ("disk_format".to_owned(), json!("raw")),
        ("container_format".to_owned(), json!("bare")),
        ("root_device_name".to_owned(), json!(root)),
        ("bdm_v2".to_owned(), json!("True")),
        ("block_device_mapping".to_owned(), json!(Value::Array(mapping).to_string())),
    ]);
    let image = images::make(app, ctx, &fields).await?;
    // nothing is uploaded, but only what has data is active
    if let Err(error) = app.cloud.image.upload(&ctx.auth(), &image.id, sdk::Body::empty(), Some(0)).await {
        images::discard(app, ctx, &image.id).await;
        return Err(error.into());
    }
    Ok(image.id)
}

/// How a new server gets this volume: from its snapshot.
fn entry(device: &BlockDevice, snapshot: &str, size: u64) -> Value {
    json!({
        "source_type": "snapshot", "destination_type": "volume", "snapshot_id": snapshot, "volume_size": size,
        "boot_index": device.boot_index, "device_name": device.device_name, "disk_bus": device.disk_bus,
        "device_type": device.device_type, "guest_format": device.guest_format, "tag": device.tag,
        "delete_on_termination": device.delete_on_termination, "no_device": null, "image_id": null, "volume_id": null,
    })
}
