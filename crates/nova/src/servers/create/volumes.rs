//! The volumes a server is given: looked up in cinder and reserved with the user's token, released when the server is not written.

use kit::{Context, Error, Kind, Result, ids};
use rpc::compute::BlockDevice;
use sdk::Auth;
use sdk::volume::Details;

use crate::Nova;
use crate::microversions::MULTIATTACH;

/// What was reserved, and for which server.
pub struct Reserved {
    /// Chosen early, because an attachment names its server.
    pub server_id: String,
    pub devices: Vec<BlockDevice>,
}

/// Checks that volumes and snapshots exist and are free.
pub async fn check(app: &Nova, ctx: &Context, devices: &[BlockDevice], count: i64) -> Result<()> {
    for device in devices {
        let Some(id) = &device.volume_id else { continue };
        if count > 1 {
            return Err(Error::bad_request("Cannot attach one or more volumes to multiple instances"));
        }
        let volume = fetch(app, ctx, id).await.map_err(|error| match error.kind {
            Kind::NotFound => bad(format!("failed to get volume {id}.")),
            _ => error,
        })?;
        refuse_multiattach(ctx, &volume)?;
        refuse_unavailable(&volume).map_err(|error| bad(error.message))?;
        if device.boot_index == Some(0) && volume.bootable != "true" {
            return Err(Error::bad_request(format!("Block Device {id} is not bootable.")));
        }
    }
    Ok(())
}

async fn fetch(app: &Nova, ctx: &Context, id: &str) -> Result<Details> {
    Ok(app.cloud.volume.show(&ctx.auth(), id).await?)
}

/// A volume for many servers is for clients that know that.
pub fn refuse_multiattach(ctx: &Context, volume: &Details) -> Result<()> {
    if volume.multiattach && !ctx.speaks(MULTIATTACH) {
        return Err(Error::bad_request("Multiattach volumes are only supported starting with compute API version 2.60."));
    }
    Ok(())
}

/// Only an available volume, or one for many servers, can be attached.
pub fn refuse_unavailable(volume: &Details) -> Result<()> {
    let free = volume.status == "available" || (volume.multiattach && volume.status == "in-use");
    if free {
        return Ok(());
    }
    Err(Error::bad_request(format!(
        "Invalid volume: volume {} status must be 'available'. Currently in '{}' status.",
        volume.id, volume.status
    )))
}

/// Reserves the volumes of a new server; all of them or none.
pub async fn reserve_for(app: &Nova, ctx: &Context, devices: &[BlockDevice]) -> Result<Reserved> {
    let mut reserved = Reserved { server_id: ids::uuid(), devices: devices.to_vec() };
    for index in 0..reserved.devices.len() {
        let Some(device) = reserved.devices.get_mut(index) else { break };
        let Some(volume) = device.volume_id.clone() else { continue };
        match reserve(app, &ctx.auth(), &volume, &reserved.server_id).await {
            Ok(attachment) => device.attachment_id = Some(attachment),
            Err(error) => {
                reserved.release(app, ctx).await;
                return Err(error);
            }
        }
    }
    Ok(reserved)
}

/// Reserves one volume; answers the attachment.
pub async fn reserve(app: &Nova, user: &Auth, volume: &str, server_id: &str) -> Result<String> {
    let attachment = app.cloud.volume.create_attachment(user, volume, server_id).await.map_err(|error| match error.status {
        400 | 404 | 409 => Error::bad_request(format!("Invalid volume: {}", error.message)),
        _ => Error::from(error),
    })?;
    Ok(attachment.id)
}

impl Reserved {
    /// Gives the volumes back.
    pub async fn release(&self, app: &Nova, ctx: &Context) {
        for attachment in self.devices.iter().filter_map(|d| d.attachment_id.as_deref()) {
            if let Err(error) = sdk::found(app.cloud.volume.delete_attachment(&ctx.auth(), attachment).await) {
                tracing::error!(attachment, %error, "a reserved volume could not be released");
            }
        }
    }
}

fn bad(reason: impl std::fmt::Display) -> Error {
    Error::bad_request(format!("Block Device Mapping is Invalid: {reason}"))
}
