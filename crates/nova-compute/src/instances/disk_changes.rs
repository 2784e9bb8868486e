//! Local disks after they were made: cleared for a rebuild, joined by a rescue disk, set aside for a resize and taken from another host.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kit::{Error, Kind, Result};
use rpc::actions::OfferedDisk;
use rpc::compute::Instance;

use super::disks::{self, CONFIG, ROOT, SWAP};
use crate::config_drive;
use crate::host::Store;
use crate::hypervisor::DiskBus;
use crate::hypervisor::qemu::files::VARS;
use crate::image::cache::Base;
use crate::image::qemu_img;
use crate::metadata::Documents;

/// Where a rescue disk stands among the guest's disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rescue {
    /// Before all others, which move by a letter.
    First,
    /// After them, which keep their places, as the device that the rescue image asks for.
    Last { cdrom: bool, bus: DiskBus },
}

impl Rescue {
    pub const CONFIG: &'static str = "disk.config.rescue";

    /// By the rescue image's properties.
    pub fn of(properties: &BTreeMap<String, String>) -> Result<Rescue> {
        let word = |property: &str| properties.get(property).map(String::as_str);
        let (device, bus) = (word("hw_rescue_device"), word("hw_rescue_bus"));
        if device.is_none() && bus.is_none() {
            return Ok(Rescue::First);
        }
        let cdrom = match device {
            None | Some("disk") => false,
            Some("cdrom") => true,
            Some(other) => return Err(Error::bad_request(format!("Requested rescue device '{other}' is not supported"))),
        };
        let bus = match bus.or_else(|| word(if cdrom { "hw_cdrom_bus" } else { "hw_disk_bus" })) {
            Some(word) => DiskBus::parse(word)
                .ok()
                .filter(|bus| !(cdrom && *bus == DiskBus::Virtio))
                .ok_or_else(|| Error::bad_request(format!("Requested rescue bus '{word}' is not supported by the 'qemu' virt type")))?,
            None if cdrom => DiskBus::Sata,
            None => DiskBus::Virtio,
        };
        Ok(Rescue::Last { cdrom, bus })
    }

    /// All there can be.
    pub fn all() -> impl Iterator<Item = Rescue> {
        let buses = [DiskBus::Virtio, DiskBus::Scsi, DiskBus::Sata, DiskBus::Usb];
        let last = buses.into_iter().flat_map(|bus| [false, true].map(|cdrom| Rescue::Last { cdrom, bus }));
        [Rescue::First].into_iter().chain(last)
    }

    /// The name of its file, by which the guest is made again as it was.
    pub fn file(self) -> String {
        match self {
            Rescue::First => "disk.rescue".into(),
            Rescue::Last { cdrom, bus } => {
                let bus = match bus {
                    DiskBus::Virtio => "virtio",
                    DiskBus::Scsi => "scsi",
                    DiskBus::Sata => "sata",
                    DiskBus::Usb => "usb",
                };
                format!("disk.rescue-{}-{bus}", if cdrom { "cdrom" } else { "disk" })
            }
        }
    }
}

/// Makes the rescue disk, and a config drive with another password if there is to be one.
pub async fn make_rescue(store: &Store, id: &str, rescue: Rescue, base: &Base, documents: Option<&Documents>) -> Result<()> {
    let dir = store.instances.join(id);
    end_rescue(store, id).await?;
    if let Some(documents) = documents {
        let path = dir.join(Rescue::CONFIG);
        config_drive::write(&path, store.drive_format, documents).await?;
        store.account.own(&path)?;
    }
    qemu_img::overlay(store.account, &dir.join(rescue.file()), &base.path, base.format, None).await
}

/// Removes what a rescue made.
pub async fn end_rescue(store: &Store, id: &str) -> Result<()> {
    let dir = store.instances.join(id);
    for name in Rescue::all().map(Rescue::file).chain([Rescue::CONFIG.to_owned()]) {
        remove(&dir.join(name)).await?;
    }
    Ok(())
}

/// Removes the disks that a rebuild makes anew.
pub async fn clear(store: &Store, id: &str, root: bool, preserve_ephemeral: bool) -> Result<()> {
    end_rescue(store, id).await?;
    let dir = store.instances.join(id);
    let mut names = files(&dir).await?;
    names.retain(|name| match name.as_str() {
        ROOT => root,
        SWAP | CONFIG => true,
        _ => !preserve_ephemeral,
    });
    for name in names {
        remove(&dir.join(name)).await?;
    }
    // boot entries of what was there
    if root { remove(&dir.join(VARS)).await } else { Ok(()) }
}

/// Renames the instance's directory, so that another guest of it can be made beside it. Repeating it changes nothing.
pub async fn set_aside(store: &Store, id: &str) -> Result<()> {
    let (dir, aside) = (store.instances.join(id), aside(store, id));
    if tokio::fs::try_exists(&aside).await? {
        return Ok(());
    }
    Ok(tokio::fs::rename(dir, aside).await?)
}

/// Puts it back, in place of what is there now.
pub async fn put_back(store: &Store, id: &str) -> Result<()> {
    let (dir, aside) = (store.instances.join(id), aside(store, id));
    if !tokio::fs::try_exists(&aside).await? {
        return Ok(());
    }
    remove_dir(&dir).await?;
    Ok(tokio::fs::rename(aside, dir).await?)
}

/// Forgets what was set aside.
pub async fn forget_aside(store: &Store, id: &str) -> Result<()> {
    remove_dir(&aside(store, id)).await
}

/// Where the disks are that were set aside.
pub fn aside(store: &Store, id: &str) -> PathBuf {
    store.instances.join(format!("{id}_resize"))
}

/// The names of an instance's disks in a directory; what is made anew anywhere is not among them.
pub async fn offered(dir: &Path) -> Result<Vec<String>> {
    named(dir, disks::travels).await
}

/// Takes the disks that another host, or this one, offers, and grows the root disk to its flavor.
pub async fn take(store: &Store, instance: &Instance, disks: &[OfferedDisk]) -> Result<()> {
    let dir = store.instances.join(&instance.id);
    store.account.private_dir(&dir)?;
    for disk in disks {
        // a name comes from another host and becomes a path
        if !disks::travels(&disk.name) {
            return Err(Error::bad_request(format!("{} is no disk of an instance.", disk.name)));
        }
        disks::once(&dir.join(&disk.name), async |path| copy(store, disk, path).await).await?;
    }
    let (root, bytes) = (dir.join(ROOT), instance.flavor.root_gb << 30);
    if bytes > 0 && tokio::fs::try_exists(&root).await? {
        qemu_img::grow(store.account, &root, bytes).await?;
    }
    Ok(())
}

/// A file of this host is copied as it is; what another host serves is copied flat.
async fn copy(store: &Store, disk: &OfferedDisk, to: &Path) -> Result<()> {
    let format = if disk.name == ROOT { "qcow2" } else { "raw" };
    match disk.url.strip_prefix("nbd://") {
        Some(_) => {
            store.prepare(to).await?;
            qemu_img::copy_from(store.account, &disk.url, to, format).await
        }
        None => {
            let mut command = tokio::process::Command::new("cp");
            command.args(["--sparse=always", "--reflink=auto", "--no-dereference"]).arg(&disk.url).arg(to).current_dir("/");
            store.account.apply(&mut command);
            let output = command.kill_on_drop(true).output().await?;
            match output.status.success() {
                true => Ok(()),
                false => Err(Error::new(Kind::Internal, String::from_utf8_lossy(&output.stderr).trim().to_owned())),
            }
        }
    }
}

/// The disks in an instance's directory.
pub async fn files(dir: &Path) -> Result<Vec<String>> {
    named(dir, disks::is_disk).await
}

async fn named(dir: &Path, meant: impl Fn(&str) -> bool) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let mut entries = match tokio::fs::read_dir(dir).await {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(names),
        entries => entries?,
    };
    while let Some(entry) = entries.next_entry().await? {
        names.extend(entry.file_name().into_string().ok().filter(|name| meant(name)));
    }
    names.sort();
    Ok(names)
}

async fn remove(path: &Path) -> Result<()> {
    match tokio::fs::remove_file(path).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

async fn remove_dir(path: &Path) -> Result<()> {
    match tokio::fs::remove_dir_all(path).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(properties: &[(&str, &str)]) -> Result<Rescue> {
        Rescue::of(&properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn a_rescue_disk_is_the_device_that_its_image_asks_for() {
        assert_eq!(of(&[]).unwrap(), Rescue::First);
        assert_eq!(of(&[("hw_rescue_device", "cdrom")]).unwrap(), Rescue::Last { cdrom: true, bus: DiskBus::Sata });
        assert_eq!(of(&[("hw_rescue_bus", "usb")]).unwrap(), Rescue::Last { cdrom: false, bus: DiskBus::Usb });
        let scsi = of(&[("hw_rescue_device", "disk"), ("hw_disk_bus", "scsi")]).unwrap();
        assert_eq!(scsi.file(), "disk.rescue-disk-scsi");
        assert_eq!(Rescue::all().find(|rescue| rescue.file() == scsi.file()), Some(scsi));
    }

    #[test]
    fn what_cannot_rescue_is_told() {
        assert_eq!(of(&[("hw_rescue_device", "floppy")]).unwrap_err().message, "Requested rescue device 'floppy' is not supported");
        for wrong in [&[("hw_rescue_bus", "lpt")][..], &[("hw_rescue_device", "cdrom"), ("hw_rescue_bus", "virtio")]] {
            assert!(of(wrong).unwrap_err().message.contains("Requested rescue bus"));
        }
    }
}
