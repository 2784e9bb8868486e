//! The volumes of an instance: made where the user asked for new ones, reserved, exported to this host, and given back.

use kit::undo::Undo;
use kit::{Error, Kind, Result};
use rpc::Caller;
use rpc::compute::{BlockDevice, Instance};
use rpc::conductor::SavedBlockDevice;
use sdk::Auth;
use sdk::volume::{ConnectionInfo, Nbd, NewVolume, Source};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use super::{ceph, disks};
use crate::host::Host;
use crate::hypervisor::{Disk, DiskBus, DiskLimits, DiskSource, NbdServer};

const LOOK: Duration = Duration::from_secs(1);

/// Whether a block device is a volume.
pub fn is_volume(device: &BlockDevice) -> bool {
    device.destination_type == "volume"
}

/// Makes, reserves and exports all volumes of an instance, which then knows where they are.
pub async fn connect_all(host: &Host, caller: &Caller, instance: &mut Instance) -> Result<Vec<SavedBlockDevice>> {
    let user = host.session.on_behalf(caller).await?;
    let mut saved = Vec::new();
    let names = disks::device_names(instance);
    let id = instance.id.clone();
    for (device, name) in instance.block_devices.iter_mut().zip(names) {
        device.device_name = Some(name);
        if is_volume(device) {
            ensure_volume(host, &user, device).await?;
            // told before it is used, so that whoever cleans up knows of it
            host.save(rpc::conductor::SaveInstance { block_devices: vec![to_save(device)], ..host.change(&id) }).await?;
            connect(host, &user, &id, device).await?;
        }
        saved.push(to_save(device));
    }
    Ok(saved)
}

/// Reserves a volume for the instance if nobody has, and exports it to this host.
pub async fn connect(host: &Host, user: &Auth, instance_id: &str, device: &mut BlockDevice) -> Result<()> {
    let volume_id = device.volume_id.clone().ok_or_else(|| Error::internal("a block device without volume"))?;
    let attachment_id = match &device.attachment_id {
        Some(id) => id.clone(),
        None => host.cloud.volume.create_attachment(user, &volume_id, instance_id).await?.id,
    };
    device.attachment_id = Some(attachment_id.clone());
    let connector = connector(host, instance_id, device.device_name.as_deref());
    let attachment = host.cloud.volume.update_attachment(user, &attachment_id, &connector).await?;
    device.connection_info = Some(serde_json::to_value(attachment.connection_info)?);
    Ok(())
}

/// Exports the volumes of an instance that is still on another host to this one, by attachments of their own; the instance is changed as if it
/// were here already.
pub async fn connect_ahead(host: &Host, caller: &Caller, instance: &mut Instance, undo: &mut Undo) -> Result<Vec<SavedBlockDevice>> {
    let user = host.session.on_behalf(caller).await?;
    let (id, mut saved) = (instance.id.clone(), Vec::new());
    for device in instance.block_devices.iter_mut().filter(|device| is_volume(device)) {
        let volume_id = device.volume_id.clone().ok_or_else(|| Error::internal("a block device without volume"))?;
        let attachment = host.cloud.volume.create_attachment(&user, &volume_id, &id).await?.id;
        device.attachment_id = Some(attachment.clone());
        let (host_again, request_id) = (host.clone(), caller.request_id.clone());
        undo.push("an attachment", move || async move {
            let service = host_again.session.auth(&request_id).await?;
            Ok(sdk::found(host_again.cloud.volume.delete_attachment(&service, &attachment).await).map(drop)?)
        });
        connect(host, &user, &id, device).await?;
        saved.push(to_save(device));
    }
    Ok(saved)
}

/// The guests have their volumes: they are in use now.
pub async fn complete_all(host: &Host, caller: &Caller, instance: &Instance) -> Result<()> {
    let user = host.session.on_behalf(caller).await?;
    for attachment_id in instance.block_devices.iter().filter(|device| is_volume(device)).filter_map(|d| d.attachment_id.as_deref()) {
        host.cloud.volume.complete_attachment(&user, attachment_id).await?;
    }
    Ok(())
}

/// Ends the exports to this host but keeps the volumes reserved: another host may try.
pub async fn disconnect_all(host: &Host, request_id: &str, instance: &Instance) -> Result<()> {
    let service = host.session.auth(request_id).await?;
    for device in instance.block_devices.iter().filter(|device| is_volume(device)) {
        if device.volume_id.is_some() && device.attachment_id.is_some() {
            reserve_again(host, &service, &instance.id, &mut device.clone()).await?;
        }
    }
    Ok(())
}

/// Ends a volume's export to this host, and reserves it anew for the same server.
async fn reserve_again(host: &Host, service: &Auth, instance_id: &str, device: &mut BlockDevice) -> Result<()> {
    let volume_id = device.volume_id.clone().ok_or_else(|| Error::internal("a block device without volume"))?;
    if let Some(attachment_id) = &device.attachment_id {
        sdk::found(host.cloud.volume.delete_attachment(service, attachment_id).await)?;
    }
    let again = host.cloud.volume.create_attachment(service, &volume_id, instance_id).await?;
    device.attachment_id = Some(again.id);
    let saved = SavedBlockDevice { attachment_id: device.attachment_id.clone(), ..only(device) };
    host.save(rpc::conductor::SaveInstance { block_devices: vec![saved], ..host.change(instance_id) }).await
}

/// Has the volume that a guest boots from filled with an image, while nothing uses it.
pub async fn refill_root(host: &Host, caller: &Caller, instance: &mut Instance, image_id: &str) -> Result<()> {
    let user = host.session.on_behalf(caller).await?;
    let id = instance.id.clone();
    let root = instance.block_devices.iter_mut().find(|device| device.boot_index == Some(0) && is_volume(device));
    let root = root.ok_or_else(|| Error::internal("there is no volume to boot from"))?;
    reserve_again(host, &host.session.auth(&caller.request_id).await?, &id, root).await?;
    let volume_id = root.volume_id.clone().unwrap_or_default();
    host.cloud.volume.reimage(&user, &volume_id, image_id).await?;
    wait_until(host, &user, &volume_id, "reserved").await?;
    connect(host, &user, &id, root).await?;
    host.save(rpc::conductor::SaveInstance { block_devices: vec![to_save(root)], ..host.change(&id) }).await?;
    match &root.attachment_id {
        Some(attachment) => Ok(host.cloud.volume.complete_attachment(&user, attachment).await?),
        None => Ok(()),
    }
}

/// Gives all volumes back, and deletes those that were to go with the server.
pub async fn release_all(host: &Host, request_id: &str, instance: &Instance) -> Result<()> {
    let service = host.session.auth(request_id).await?;
    for device in instance.block_devices.iter().filter(|device| is_volume(device)) {
        if let Some(attachment_id) = &device.attachment_id {
            sdk::found(host.cloud.volume.delete_attachment(&service, attachment_id).await)?;
        }
        if let Some(volume_id) = device.volume_id.as_ref().filter(|_| device.delete_on_termination)
            && let Err(error) = sdk::found(host.cloud.volume.delete(&service, volume_id).await)
        {
            // as in nova: the server goes, and the volume stays for its owner to see
            tracing::warn!(volume = volume_id, %error, "a volume could not be deleted with its server");
        }
    }
    Ok(())
}

/// A volume as a disk of a guest.
pub async fn disk(host: &Host, instance: &Instance, device: &BlockDevice) -> Result<Disk> {
    let serial = device.volume_id.clone().ok_or_else(|| Error::internal("a block device without volume"))?;
    let info = connection(device);
    let id = disk_id(device).unwrap_or_else(|| serial.clone());
    let source = match (info.nbd().and_then(source), info.rbd()) {
        // a simulated guest does not look at it
        _ if host.store.is_none() => DiskSource::Nbd { server: NbdServer::Unix("/nonexistent".into()), export: id.clone() },
        (Some(source), _) => source,
        (None, Some(rbd)) => ceph::source(host, &rbd).await?,
        (None, None) => {
            let kind = info.driver_volume_type.unwrap_or_else(|| "unknown".into());
            return Err(Error::new(Kind::NotImplemented, format!("Volume {id} is served by {kind}, which this host cannot attach.")));
        }
    };
    // whoever serves a volume keeps it from being written; nobody serves Ceph's
    let read_only = info.rbd().is_some_and(|rbd| rbd.access_mode.as_deref() == Some("ro"));
    let limits = DiskLimits::of_volume(info.data.get("qos_specs").unwrap_or(&Value::Null));
    let cdrom = device.device_type.as_deref() == Some("cdrom");
    let bus = bus(instance, device, cdrom)?;
    Ok(Disk { serial: Some(serial), id, source, bus, read_only: cdrom || read_only, cdrom, removable: true, limits })
}

/// How the hypervisor knows a volume: by the id that its storage has for it, which stays while the guest has it.
pub fn disk_id(device: &BlockDevice) -> Option<String> {
    let info = connection(device);
    let ours = matches!(info.driver_volume_type.as_deref(), Some("nbd" | "rbd" | "sim"));
    info.volume_id().filter(|_| ours).map(str::to_owned).or_else(|| device.volume_id.clone())
}

fn connection(device: &BlockDevice) -> ConnectionInfo {
    // what is not understood reaches nothing
    device.connection_info.clone().and_then(|info| serde_json::from_value(info).ok()).unwrap_or_default()
}

fn source(nbd: Nbd) -> Option<DiskSource> {
    let server = match nbd {
        Nbd { socket_path: Some(path), .. } => NbdServer::Unix(path.into()),
        Nbd { host: Some(host), port: Some(port), auth_password: key, .. } => NbdServer::Tcp { host, port, key },
        Nbd { .. } => return None,
    };
    Some(DiskSource::Nbd { server, export: nbd.export })
}

/// As the device says, or else as the image; but what may come and go cannot do so on SATA, unless the guest boots from it. A CD drive is there
/// from the start, or not at all.
fn bus(instance: &Instance, device: &BlockDevice, cdrom: bool) -> Result<DiskBus> {
    if let Some(word) = &device.disk_bus {
        return DiskBus::parse(word);
    }
    let hardware = disks::hardware(instance)?;
    if cdrom {
        return Ok(hardware.devices.cdrom_bus.unwrap_or(DiskBus::Sata));
    }
    Ok(match hardware.disk_bus {
        DiskBus::Sata if device.boot_index != Some(0) => DiskBus::Virtio,
        bus => bus,
    })
}

/// What this host tells cinder of itself.
fn connector(host: &Host, instance_id: &str, mountpoint: Option<&str>) -> Value {
    json!({"host": host.name(), "ip": host.config.host_ip, "platform": std::env::consts::ARCH, "os_type": std::env::consts::OS,
           "multipath": false, "instance": instance_id, "mountpoint": mountpoint})
}

/// The volume of a device that asks for a new one.
async fn ensure_volume(host: &Host, user: &Auth, device: &mut BlockDevice) -> Result<()> {
    if device.volume_id.is_some() {
        return Ok(());
    }
    let missing = |what: &str| Error::bad_request(format!("Block Device Mapping is Invalid: it names no {what}."));
    let source = match device.source_type.as_str() {
        "blank" => Source::Blank,
        "image" => Source::Image(device.image_id.clone().ok_or_else(|| missing("image"))?),
        "snapshot" => Source::Snapshot(device.snapshot_id.clone().ok_or_else(|| missing("snapshot"))?),
        _ => return Err(missing("volume")),
    };
    let new = NewVolume { size: device.volume_size, source, volume_type: device.volume_type.clone(), ..NewVolume::default() };
    let volume = host.cloud.volume.create(user, &new).await?;
    device.volume_id = Some(volume.id.clone());
    wait_until(host, user, &volume.id, "available").await
}

/// Waits until a volume that is made or filled has this status.
async fn wait_until(host: &Host, user: &Auth, volume_id: &str, wanted: &str) -> Result<()> {
    let deadline = Instant::now() + host.config.volume_timeout;
    loop {
        let volume = host.cloud.volume.show(user, volume_id).await?;
        match volume.status.as_str() {
            status if status == wanted => return Ok(()),
            status if status.starts_with("error") => {
                return Err(Error::unavailable(format!("Volume {volume_id} did not finish being created: its status is {status}.")));
            }
            status if Instant::now() >= deadline => {
                let seconds = host.config.volume_timeout.as_secs();
                return Err(Error::unavailable(format!("Volume {volume_id} is still {status} after {seconds} s.")));
            }
            _ => tokio::time::sleep(LOOK).await,
        }
    }
}

fn only(device: &BlockDevice) -> SavedBlockDevice {
    SavedBlockDevice { bdm_id: device.bdm_id.clone(), device_name: None, volume_id: None, attachment_id: None, connection_info: None }
}

/// All that a host found out about a block device.
pub fn to_save(device: &BlockDevice) -> SavedBlockDevice {
    SavedBlockDevice {
        bdm_id: device.bdm_id.clone(),
        device_name: device.device_name.clone(),
        volume_id: device.volume_id.clone(),
        attachment_id: device.attachment_id.clone(),
        connection_info: device.connection_info.clone(),
    }
}
