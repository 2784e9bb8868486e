//! Rebuild: the same server, with its ports and volumes, made anew from an image.

use kit::Result;
use rpc::actions::RebuildInstance;

use super::action::{Subject, finish, power_off, task};
use super::{build, disk_changes, disks, images, power, volumes};
use crate::host::Host;

/// Makes the guest anew.
pub async fn rebuild(host: Host, request: RebuildInstance) {
    let subject = Subject { host: &host, caller: &request.caller, instance_id: &request.instance_id };
    subject.cast("compute_rebuild_instance", steps(&host, &request)).await;
}

async fn steps(host: &Host, request: &RebuildInstance) -> Result<()> {
    let mut instance = host.must_have(&request.instance_id).await?;
    // what cannot be had leaves the old guest as it is
    let base = images::of_root(host, &request.caller, &instance).await?;
    let drive = build::drive(host, &instance, request.admin_password.clone()).await?;
    task(host, &instance, "rebuild_block_device_mapping").await?;
    power_off(host, &instance.id).await?;
    if let Some(store) = &host.store {
        disk_changes::clear(store, &instance.id, base.is_some(), request.preserve_ephemeral).await?;
    }
    if let Some(image) = &request.reimage {
        volumes::refill_root(host, &request.caller, &mut instance, image).await?;
    }
    task(host, &instance, "rebuild_spawning").await?;
    if let Some(store) = &host.store {
        disks::make(store, &instance, base.as_ref(), drive.as_ref()).await?;
    }
    if instance.vm_state == "stopped" {
        return finish(host, &instance.id, Some("stopped")).await;
    }
    power::start(host, &instance).await?;
    finish(host, &instance.id, Some("active")).await
}
