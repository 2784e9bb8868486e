//! A volume under a guest, exchanged for another or grown, while the guest goes on.

use kit::{Error, Result};
use rpc::actions::{ExtendVolume, SwapVolume};
use rpc::conductor::SaveInstance;

use super::action::Subject;
use super::attach::{device, is_off};
use super::volumes;
use crate::host::Host;

/// Copies a volume to another, which the guest then has in its place.
pub async fn swap(host: Host, request: SwapVolume) -> Result<()> {
    let subject = Subject { host: &host, caller: &request.caller, instance_id: &request.instance_id };
    subject.call("compute_swap_volume", exchange(&host, &request)).await
}

async fn exchange(host: &Host, request: &SwapVolume) -> Result<()> {
    let instance = host.must_have(&request.instance_id).await?;
    let old = device(&instance, &request.bdm_id)?;
    if is_off(host, &instance.id) {
        return Err(Error::conflict(format!("Instance {} does not run, and its volumes cannot be swapped.", instance.id)));
    }
    let user = host.session.on_behalf(&request.caller).await?;
    let mut new = old.clone();
    new.volume_id = Some(request.new_volume_id.clone());
    new.attachment_id = Some(request.new_attachment_id.clone());
    volumes::connect(host, &user, &instance.id, &mut new).await?;
    let (from, to) = (volumes::disk(host, &instance, &old).await?, volumes::disk(host, &instance, &new).await?);
    host.hypervisor.swap_disk(&instance.id, &from.id, to).await?;
    // from here on the guest has the new one
    host.save(SaveInstance { block_devices: vec![volumes::to_save(&new)], ..host.change(&instance.id) }).await?;
    host.cloud.volume.complete_attachment(&user, &request.new_attachment_id).await?;
    if let Some(attachment) = &old.attachment_id {
        sdk::found(host.cloud.volume.delete_attachment(&user, attachment).await)?;
    }
    let Some(was) = &old.volume_id else { return Ok(()) };
    let known_as = match host.cloud.volume.complete_migration(&user, was, &request.new_volume_id, false).await {
        Ok(known_as) => known_as,
        Err(error) => {
            // the guest has it all the same
            tracing::warn!(instance = instance.id, volume = was, %error, "cinder was not told of the exchange");
            return Ok(());
        }
    };
    if known_as != request.new_volume_id {
        // cinder moved a volume: it is the same one in another place
        new.volume_id = Some(known_as);
        host.save(SaveInstance { block_devices: vec![volumes::to_save(&new)], ..host.change(&instance.id) }).await?;
    }
    Ok(())
}

/// Cinder says that a volume grew: the guest is shown its new size.
pub async fn extend(host: Host, request: ExtendVolume) -> Result<()> {
    let subject = Subject { host: &host, caller: &request.caller, instance_id: &request.instance_id };
    subject.call("compute_extend_volume", grow(&host, &request.instance_id, &request.volume_id)).await
}

async fn grow(host: &Host, instance_id: &str, volume_id: &str) -> Result<()> {
    if is_off(host, instance_id) {
        return Ok(());
    }
    let service = host.session.auth(&kit::ids::request()).await?;
    let volume = host.cloud.volume.show(&service, volume_id).await?;
    let instance = host.must_have(instance_id).await?;
    let device = instance.block_devices.iter().find(|device| device.volume_id.as_deref() == Some(volume_id));
    let disk = device.and_then(volumes::disk_id).unwrap_or_else(|| volume_id.to_owned());
    host.hypervisor.resize_disk(instance_id, &disk, volume.size << 30).await
}
