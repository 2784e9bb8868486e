//! Volumes and interfaces that come and go while the guest exists.

use kit::{Error, Kind, Result};
use rpc::compute::{AttachInterface, AttachVolume, BlockDevice, DetachInterface, DetachVolume, Instance, NetworkInterface};
use rpc::conductor::SaveInstance;

use super::record::Record;
use super::{disks, network, volumes};
use crate::host::Host;
use crate::hypervisor::{Nic, PowerState};

/// Attaches a reserved volume, and answers the device name.
pub async fn volume(host: Host, request: AttachVolume) -> Result<String> {
    let slot = host.slot(&request.instance_id);
    let _turn = slot.turn.lock().await;
    let instance = host.must_have(&request.instance_id).await?;
    let mut device = device(&instance, &request.bdm_id)?;
    let name = device.device_name.clone().unwrap_or_else(|| disks::next_device_name(&instance));
    device.device_name = Some(name.clone());
    let user = host.session.on_behalf(&request.caller).await?;
    // a step that runs twice finds it exported
    if device.connection_info.is_none() {
        volumes::connect(&host, &user, &instance.id, &mut device).await?;
    }
    let attached = attach_volume(&host, &instance, &device).await;
    if let (Err(_), Some(attachment)) = (&attached, &device.attachment_id) {
        let service = host.session.auth(&request.caller.request_id).await?;
        if let Err(error) = sdk::found(host.cloud.volume.delete_attachment(&service, attachment).await) {
            tracing::error!(attachment, %error, "an attachment could not be taken back");
        }
    }
    attached?;
    if let Some(attachment) = &device.attachment_id {
        host.cloud.volume.complete_attachment(&user, attachment).await?;
    }
    Ok(name)
}

async fn attach_volume(host: &Host, instance: &Instance, device: &BlockDevice) -> Result<()> {
    let disk = volumes::disk(host, instance, device).await?;
    // recorded first: a guest that is off finds it there when it is started
    host.save(SaveInstance { block_devices: vec![volumes::to_save(device)], ..host.change(&instance.id) }).await?;
    if is_off(host, &instance.id) { Ok(()) } else { host.hypervisor.attach_disk(&instance.id, disk).await }
}

/// Detaches a volume, then ends its attachment.
pub async fn detach_volume(host: Host, request: DetachVolume) -> Result<()> {
    let slot = host.slot(&request.instance_id);
    let _turn = slot.turn.lock().await;
    let instance = host.must_have(&request.instance_id).await?;
    let device = device(&instance, &request.bdm_id)?;
    let volume_id = device.volume_id.clone().unwrap_or_default();
    let user = host.session.on_behalf(&request.caller).await?;
    let disk = volumes::disk_id(&device).unwrap_or_default();
    if let Err(error) = host.hypervisor.detach_disk(&instance.id, &disk).await {
        tracing::warn!(instance = instance.id, volume = volume_id, %error, "the guest keeps the volume");
        host.cloud.volume.roll_detaching(&user, &volume_id).await?;
        return Err(error);
    }
    let Some(attachment) = &device.attachment_id else { return Ok(()) };
    Ok(sdk::found(host.cloud.volume.delete_attachment(&user, attachment).await).map(drop)?)
}

/// Plugs one more port into the guest.
pub async fn interface(host: Host, request: AttachInterface) -> Result<NetworkInterface> {
    let slot = host.slot(&request.instance_id);
    let _turn = slot.turn.lock().await;
    let instance = host.must_have(&request.instance_id).await?;
    let brought = instance.network_info.iter().find(|interface| interface.request_id.as_ref() == Some(&request.caller.request_id));
    if let Some(interface) = brought {
        return Ok(interface.clone());
    }
    let interface = network::allocate_one(&host, &request.caller, &instance, request.requested).await?;
    let attached = attach_interface(&host, &instance, &interface).await;
    if attached.is_err() {
        let mut with_it = instance.clone();
        with_it.network_info.push(interface.clone());
        let request_id = &request.caller.request_id;
        if let Err(error) = network::release_one(&host, request_id, &with_it, &interface.port_id).await {
            tracing::error!(port = interface.port_id, %error, "a port could not be taken back");
        }
    }
    attached.map(|()| interface)
}

async fn attach_interface(host: &Host, instance: &Instance, interface: &NetworkInterface) -> Result<()> {
    let nic = Nic {
        port_id: interface.port_id.clone(),
        mac: interface.mac_address.clone(),
        mtu: interface.mtu,
        tap: interface.device_name.clone(),
    };
    let mut record = Record::load(host, &instance.id).await;
    if !record.taps.contains(&nic.tap) {
        record.taps.push(nic.tap.clone());
    }
    record.save(host, &instance.id).await?;
    host.hypervisor.plug(&nic).await?;
    if !is_off(host, &instance.id)
        && let Err(error) = host.hypervisor.attach_nic(&instance.id, nic, disks::hardware(instance)?.vif_model).await
    {
        host.hypervisor.unplug(&interface.device_name).await?;
        return Err(error);
    }
    let mut interfaces = instance.network_info.clone();
    interfaces.retain(|have| have.port_id != interface.port_id);
    interfaces.push(interface.clone());
    host.save(SaveInstance { network_info: Some(interfaces), ..host.change(&instance.id) }).await
}

/// Unplugs a port, and deletes it if nova made it.
pub async fn detach_interface(host: Host, request: DetachInterface) -> Result<()> {
    let slot = host.slot(&request.instance_id);
    let _turn = slot.turn.lock().await;
    let instance = host.must_have(&request.instance_id).await?;
    let port = &request.port_id;
    let known = instance.network_info.iter().find(|interface| interface.port_id == *port);
    let known = known.ok_or_else(|| Error::not_found(format!("Port {port} is not attached")))?;
    host.hypervisor.detach_nic(&instance.id, port).await?;
    host.hypervisor.unplug(&known.device_name).await?;
    let mut record = Record::load(&host, &instance.id).await;
    record.taps.retain(|tap| *tap != known.device_name);
    record.save(&host, &instance.id).await?;
    network::release_one(&host, &request.caller.request_id, &instance, port).await?;
    let left = instance.network_info.iter().filter(|interface| interface.port_id != *port).cloned().collect();
    host.save(SaveInstance { network_info: Some(left), ..host.change(&instance.id) }).await
}

/// A volume among an instance's block devices.
pub fn device(instance: &Instance, bdm_id: &str) -> Result<BlockDevice> {
    let device = instance.block_devices.iter().find(|device| device.bdm_id == bdm_id && volumes::is_volume(device));
    device.cloned().ok_or_else(|| Error::new(Kind::NotFound, format!("Instance {} has no block device {bdm_id}.", instance.id)))
}

/// Whether nothing of the guest runs, so that a change is only recorded.
pub fn is_off(host: &Host, id: &str) -> bool {
    match host.hypervisor.state(id) {
        PowerState::Shutdown | PowerState::NoState => true,
        PowerState::Running | PowerState::Paused | PowerState::Crashed | PowerState::Suspended => false,
    }
}
