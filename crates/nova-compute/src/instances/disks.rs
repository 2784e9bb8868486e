//! The local disks of an instance: made once, found again ever after. Which disks a guest has follows from conductor's record and from what
//! lies in the instance's directory, so a guest can be started again at any time.

use std::io::Write;
use std::path::{Path, PathBuf};

use kit::{Error, Kind, Result};
use rpc::compute::{BlockDevice, Instance};
use tokio::process::Command;

use super::disk_changes::Rescue;
use super::{placing, volumes};
use crate::config_drive;
use crate::host::{Host, Store};
use crate::hypervisor::qemu::account::Account;
use crate::hypervisor::qemu::files::{Files, TPM_STATE, VARS, create_plain};
use crate::hypervisor::{Disk, DiskBus, DiskFormat, DiskLimits, DiskSource, Guest, Hardware, Nic};
use crate::image::cache::Base;
use crate::image::{qemu_img, verify};
use crate::metadata::Documents;

pub const ROOT: &str = "disk";
pub const SWAP: &str = "disk.swap";
pub const CONFIG: &str = "disk.config";

/// Makes the local disks that are not there yet. `base` is the image of the root disk, none when that is a volume.
pub async fn make(store: &Store, instance: &Instance, base: Option<&Base>, documents: Option<&Documents>) -> Result<()> {
    let dir = store.instances.join(&instance.id);
    store.account.private_dir(&dir)?;
    if let Some(base) = base {
        let image = instance.image_id.as_deref().unwrap_or_default();
        verify::check_size(image, base.virtual_size, instance.flavor.root_gb)?;
        let size = (instance.flavor.root_gb > 0).then_some(instance.flavor.root_gb << 30);
        once(&dir.join(ROOT), async |path| qemu_img::overlay(store.account, path, &base.path, base.format, size).await).await?;
    }
    for (index, gigabytes) in ephemeral_sizes(instance).into_iter().enumerate() {
        let label = format!("ephemeral{index}");
        let format = ["mkfs.ext4", "-q", "-F", "-L", &label];
        once(&dir.join(ephemeral(index)), async |path| blank(store.account, path, gigabytes << 30, &format).await).await?;
    }
    if instance.flavor.swap_mb > 0 {
        let bytes = instance.flavor.swap_mb << 20;
        once(&dir.join(SWAP), async |path| blank(store.account, path, bytes, &["mkswap"]).await).await?;
    }
    if let Some(documents) = documents {
        once(&dir.join(CONFIG), async |path| {
            config_drive::write(path, store.drive_format, documents).await?;
            store.account.own(path)
        })
        .await?;
    }
    Ok(())
}

/// The guest of an instance as it is to be started, from what is recorded and what is there.
pub async fn guest(host: &Host, instance: &Instance) -> Result<Guest> {
    let mut disks = Vec::new();
    let mut devices: Vec<&BlockDevice> = instance.block_devices.iter().filter(|device| volumes::is_volume(device)).collect();
    // the one to boot from first, then in the order they were given
    devices.sort_by_key(|device| device.boot_index.filter(|index| *index >= 0).unwrap_or(i32::MAX));
    let mut volumes = Vec::new();
    for device in devices {
        volumes.push(volumes::disk(host, instance, device).await?);
    }
    if boots_from_volume(instance) {
        disks.extend(volumes);
        disks.extend(local_disks(host, instance));
    } else {
        disks.extend(local_disks(host, instance));
        disks.extend(volumes);
    }
    let hardware = hardware(instance)?;
    for local in disks.iter_mut().filter(|disk| !disk.removable) {
        local.bus = hardware.disk_bus;
        local.limits = hardware.disk_limits.clone();
        if let ("config", Some(bus), DiskSource::File { path, .. }) = (local.id.as_str(), hardware.devices.cdrom_bus, &local.source)
            && config_drive::is_disc(path).await?
        {
            (local.bus, local.cdrom) = (bus, bus != DiskBus::Virtio);
        }
    }
    let boot_disk = add_rescue(host, instance, &mut disks, hardware.disk_bus);
    let nic = |interface: &rpc::compute::NetworkInterface| Nic {
        port_id: interface.port_id.clone(),
        mac: interface.mac_address.clone(),
        mtu: interface.mtu,
        tap: interface.device_name.clone(),
    };
    Ok(Guest {
        id: instance.id.clone(),
        name: instance.instance_name.clone(),
        vcpus: instance.flavor.vcpus,
        memory_mb: instance.flavor.ram_mb,
        disks,
        boot_disk,
        nics: instance.network_info.iter().map(nic).collect(),
        hardware,
        placement: placing::place(host, instance).await?,
    })
}

/// The machine that an instance asks for.
pub fn hardware(instance: &Instance) -> Result<Hardware> {
    Hardware::of(&instance.image_properties, &instance.flavor.extra_specs, instance.flavor.vcpus)
}

/// The rescue disk, if there is one: before all others, or after them and yet the one to boot from.
fn add_rescue(host: &Host, instance: &Instance, disks: &mut Vec<Disk>, bus: DiskBus) -> Option<String> {
    let dir = host.store.as_ref()?.instances.join(&instance.id);
    let rescue = Rescue::all().find(|rescue| dir.join(rescue.file()).exists())?;
    let source = DiskSource::File { path: dir.join(rescue.file()), format: DiskFormat::Qcow2 };
    let limits = DiskLimits::default();
    let disk = |cdrom, bus| Disk { id: "rescue".into(), source, bus, read_only: cdrom, cdrom, removable: false, serial: None, limits };
    match rescue {
        Rescue::First => disks.insert(0, disk(false, bus)),
        Rescue::Last { cdrom, bus } => disks.push(disk(cdrom, bus)),
    }
    Some("rescue".into())
}

/// Whether a file in an instance's directory is one of its own disks.
pub fn is_disk(name: &str) -> bool {
    let ephemeral = name.strip_prefix("disk.eph").is_some_and(|number| number.parse::<usize>().is_ok());
    ephemeral || [ROOT, SWAP, CONFIG].contains(&name)
}

/// Whether such a file goes where the guest goes while it is off: its disks, and what its firmware and its trusted platform module remember.
pub fn travels(name: &str) -> bool {
    is_disk(name) && name != CONFIG || [VARS, TPM_STATE].contains(&name)
}

/// What the disk of such a file is called: [`Disk::id`].
pub fn id_of(name: &str) -> &str {
    match name {
        ROOT => "root",
        other => other.strip_prefix("disk.").unwrap_or(other),
    }
}

/// Keeps what a guest wrote to its console on another host.
pub async fn keep_console(store: &Store, id: &str, text: &str) -> Result<()> {
    let (file, bytes) = (Files::new(store.instances.join(id)).old_console(), text.as_bytes().to_owned());
    let keep = move || Ok(create_plain(&file)?.write_all(&bytes)?);
    tokio::task::spawn_blocking(keep).await.map_err(Error::internal)?
}

/// Whether the root disk is a volume.
pub fn boots_from_volume(instance: &Instance) -> bool {
    instance.block_devices.iter().any(|device| volumes::is_volume(device) && device.boot_index == Some(0))
}

/// The device name of each block device, in their order. Names that were asked for are kept if they can be.
pub fn device_names(instance: &Instance) -> Vec<String> {
    let mut taken: Vec<String> = instance.block_devices.iter().filter_map(|device| device.device_name.clone()).collect();
    let mut letters = if boots_from_volume(instance) { 0 } else { 1 };
    letters += ephemeral_sizes(instance).len() + usize::from(instance.flavor.swap_mb > 0);
    taken.extend((0..letters).map(|index| name(index).to_owned()));
    let root = |device: &BlockDevice| device.boot_index == Some(0);
    let mut names = Vec::new();
    for device in &instance.block_devices {
        let chosen = match &device.device_name {
            Some(name) => name.clone(),
            None if root(device) => name(0),
            None => free_name(&taken),
        };
        taken.push(chosen.clone());
        names.push(chosen);
    }
    names
}

/// The next free name for a volume that is attached later.
pub fn next_device_name(instance: &Instance) -> String {
    let mut taken: Vec<String> = instance.block_devices.iter().filter_map(|device| device.device_name.clone()).collect();
    let local = 1 + ephemeral_sizes(instance).len() + usize::from(instance.flavor.swap_mb > 0) + usize::from(instance.config_drive);
    taken.extend((0..local).map(name));
    free_name(&taken)
}

fn free_name(taken: &[String]) -> String {
    (0..).map(name).find(|name| !taken.contains(name)).unwrap_or_default()
}

/// `/dev/vda`, ... `/dev/vdz`, `/dev/vdaa`
fn name(index: usize) -> String {
    let letter = |index: usize| char::from(b'a' + (index % 26) as u8);
    match index {
        0..26 => format!("/dev/vd{}", letter(index)),
        _ => format!("/dev/vd{}{}", letter(index / 26 - 1), letter(index)),
    }
}

fn local_disks(host: &Host, instance: &Instance) -> Vec<Disk> {
    let Some(store) = &host.store else { return Vec::new() };
    let dir = store.instances.join(&instance.id);
    let disk = |id: &str, file: &str, format, read_only| Disk {
        id: id.to_owned(),
        source: DiskSource::File { path: dir.join(file), format },
        bus: DiskBus::Virtio,
        read_only,
        cdrom: false,
        removable: false,
        serial: None,
        limits: DiskLimits::default(),
    };
    let mut disks = vec![disk("root", ROOT, DiskFormat::Qcow2, false)];
    disks.extend((0..ephemeral_sizes(instance).len()).map(|n| disk(&format!("eph{n}"), &ephemeral(n), DiskFormat::Raw, false)));
    disks.push(disk("swap", SWAP, DiskFormat::Raw, false));
    let config = if dir.join(Rescue::CONFIG).exists() { Rescue::CONFIG } else { CONFIG };
    disks.push(disk("config", config, DiskFormat::Raw, true));
    disks.retain(|disk| matches!(&disk.source, DiskSource::File { path, .. } if path.exists()));
    disks
}

fn ephemeral(index: usize) -> String {
    format!("disk.eph{index}")
}

/// GiB of each ephemeral disk: those the user listed, else the flavor's.
fn ephemeral_sizes(instance: &Instance) -> Vec<u64> {
    let is_ephemeral = |device: &&BlockDevice| {
        device.source_type == "blank" && device.destination_type == "local" && device.guest_format.as_deref() != Some("swap")
    };
    let listed: Vec<u64> = instance.block_devices.iter().filter(is_ephemeral).filter_map(|device| device.volume_size).collect();
    match instance.flavor.ephemeral_gb {
        gigabytes if listed.is_empty() && gigabytes > 0 => vec![gigabytes],
        _ => listed,
    }
}

/// Makes a file under another name first: what has its name is whole.
pub async fn once(path: &Path, make: impl AsyncFnOnce(&PathBuf) -> Result<()>) -> Result<()> {
    if tokio::fs::try_exists(path).await? {
        return Ok(());
    }
    let partial = path.with_extension(format!("{}.part", path.extension().and_then(|e| e.to_str()).unwrap_or_default()));
    match tokio::fs::remove_file(&partial).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    make(&partial).await?;
    Ok(tokio::fs::rename(&partial, path).await?)
}

/// A sparse file with a file system, or swap space, on it.
async fn blank(account: Account, path: &Path, bytes: u64, format: &[&str]) -> Result<()> {
    tokio::fs::File::create(path).await?.set_len(bytes).await?;
    account.own(path)?;
    let Some((program, arguments)) = format.split_first() else { return Ok(()) };
    let mut command = Command::new(program);
    command.args(arguments).arg(path).current_dir("/").kill_on_drop(true);
    account.apply(&mut command);
    let output = command.output().await.map_err(|error| Error::unavailable(format!("{program} cannot be run: {error}")))?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Err(Error::new(Kind::Internal, format!("{program} failed: {why}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::fixtures;

    fn volume(boot_index: Option<i32>, device_name: Option<&str>) -> BlockDevice {
        BlockDevice {
            bdm_id: "b".into(),
            source_type: "volume".into(),
            destination_type: "volume".into(),
            image_id: None,
            snapshot_id: None,
            volume_id: Some("v".into()),
            volume_size: None,
            volume_type: None,
            boot_index,
            delete_on_termination: false,
            device_name: device_name.map(str::to_owned),
            disk_bus: None,
            device_type: None,
            guest_format: None,
            tag: None,
            attachment_id: None,
            connection_info: None,
        }
    }

    #[test]
    fn devices_get_the_names_the_guest_will_see() {
        let mut instance = fixtures::documents().about.instance;
        instance.block_devices = vec![volume(None, None), volume(None, Some("/dev/vdb")), volume(None, None)];
        assert_eq!(device_names(&instance), ["/dev/vdc", "/dev/vdb", "/dev/vdd"]);
        instance.flavor.ephemeral_gb = 1;
        instance.flavor.swap_mb = 64;
        instance.block_devices = vec![volume(None, None)];
        assert_eq!(device_names(&instance), ["/dev/vdd"]);
        instance.flavor = fixtures::documents().about.instance.flavor;
        instance.block_devices = vec![volume(Some(0), None), volume(None, None)];
        assert_eq!(device_names(&instance), ["/dev/vda", "/dev/vdb"]);
        assert_eq!((name(25), name(26), name(27)), ("/dev/vdz".into(), "/dev/vdaa".into(), "/dev/vdab".into()));
    }

    #[test]
    fn what_a_machine_remembers_goes_with_its_disks() {
        let all = ["disk", "disk.eph0", "uefi-vars", "tpm", "disk.config", "qmp.sock", "../disk"];
        assert_eq!(all.map(travels), [true, true, true, true, false, false, false]);
    }

    #[test]
    fn a_disk_is_called_by_its_file() {
        assert_eq!(["disk", "disk.swap", "disk.eph1"].map(id_of), ["root", "swap", "eph1"]);
    }

    #[tokio::test]
    async fn a_file_is_whole_or_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk.swap");
        let failed = once(&path, async |partial| {
            tokio::fs::write(partial, "half").await?;
            Err(Error::unavailable("no"))
        });
        assert!(failed.await.is_err());
        assert!(!path.exists());
        once(&path, async |partial| Ok(tokio::fs::write(partial, "whole").await?)).await.unwrap();
        once(&path, async |_| Err(Error::unavailable("asked twice"))).await.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
    }
}
