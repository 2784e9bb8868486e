//! A storage of words only: it keeps the rules of a real one (what is exported cannot be deleted, a clone needs its source) and no bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use kit::{Error, Result};
use rpc::volume::{BackedUp, Manageable, ManageableSnapshot};
use serde_json::{Value, json};

use crate::backend::{Capacity, Export, ImageFile, Origin, Original, VolumeBackend};

/// GiB a simulated host has.
const CAPACITY: f64 = 100_000.0;
/// How the names of snapshots begin that nobody manages.
const STRAY_SNAPSHOT: &str = "_snapshot-";

/// The simulated storage of a host.
#[derive(Default)]
pub struct SimBackend {
    volumes: Mutex<BTreeMap<String, SimVolume>>,
    /// Backups, each with the one it builds on.
    backups: Mutex<BTreeMap<String, Option<String>>>,
    /// What nobody manages, with its size.
    strays: Mutex<BTreeMap<String, u64>>,
}

#[derive(Default)]
struct SimVolume {
    size: u64,
    exports: BTreeSet<String>,
    snapshots: BTreeSet<String>,
}

impl SimBackend {
    pub fn new() -> SimBackend {
        SimBackend::default()
    }

    /// The volumes that exist, each with the attachments it is exported to.
    pub fn volumes(&self) -> BTreeMap<String, Vec<String>> {
        self.lock().iter().map(|(id, volume)| (id.clone(), volume.exports.iter().cloned().collect())).collect()
    }

    /// The backups that exist.
    pub fn backups(&self) -> Vec<String> {
        held(&self.backups).keys().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, SimVolume>> {
        held(&self.volumes)
    }

    fn copy(&self, backup_id: &str, original: &Original) -> Result<BackedUp> {
        let volumes = self.lock();
        let volume = volumes.get(&original.volume_id).ok_or_else(|| missing(&original.volume_id))?;
        if original.snapshot_id.as_ref().is_some_and(|id| !volume.snapshots.contains(id)) {
            return Err(missing(&original.volume_id));
        }
        let mut backups = held(&self.backups);
        if let Some(parent) = &original.parent_id
            && !backups.contains_key(parent)
        {
            return Err(Error::not_found(format!("Backup {parent} could not be found.")));
        }
        backups.insert(backup_id.to_owned(), original.parent_id.clone());
        Ok(BackedUp { object_count: 1, container: None })
    }

    fn adopt(&self, volume_id: &str, name: &str) -> Result<u64> {
        let mut volumes = self.lock();
        if let Some(volume) = volumes.get(volume_id) {
            return Ok(volume.size);
        }
        let size = held(&self.strays).remove(name).ok_or_else(|| no_stray(name))?;
        volumes.insert(volume_id.to_owned(), SimVolume { size, ..SimVolume::default() });
        Ok(size)
    }

    fn adopt_snapshot(&self, volume_id: &str, snapshot_id: &str, name: &str) -> Result<u64> {
        let mut volumes = self.lock();
        let volume = volumes.get_mut(volume_id).ok_or_else(|| missing(volume_id))?;
        if !volume.snapshots.contains(snapshot_id) {
            if !name.starts_with(STRAY_SNAPSHOT) || !volume.snapshots.remove(name) {
                return Err(no_stray(name));
            }
            volume.snapshots.insert(snapshot_id.to_owned());
        }
        Ok(volume.size)
    }

    fn change(&self, volume_id: &str, change: impl FnOnce(&mut SimVolume)) -> Result<()> {
        self.lock().get_mut(volume_id).map(change).ok_or_else(|| missing(volume_id))
    }

    fn make(&self, volume_id: &str, size: u64, origin: &Origin) -> Result<()> {
        let mut volumes = self.lock();
        match origin {
            Origin::Blank | Origin::Image(_) => {}
            Origin::Backup(id) if held(&self.backups).contains_key(id) => {}
            Origin::Backup(id) => return Err(Error::not_found(format!("Backup {id} could not be found."))),
            Origin::Volume(id) if volumes.contains_key(id) => {}
            Origin::Snapshot { volume_id: id, snapshot_id } if volumes.get(id).is_some_and(|v| v.snapshots.contains(snapshot_id)) => {}
            Origin::Volume(id) | Origin::Snapshot { volume_id: id, .. } => return Err(missing(id)),
        }
        volumes.entry(volume_id.to_owned()).or_insert(SimVolume { size, ..SimVolume::default() });
        Ok(())
    }

    fn remove(&self, volume_id: &str) -> Result<()> {
        let mut volumes = self.lock();
        if volumes.get(volume_id).is_some_and(|v| !v.exports.is_empty()) {
            return Err(Error::conflict(format!("Volume {volume_id} is still exported.")));
        }
        volumes.remove(volume_id);
        Ok(())
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn no_stray(name: &str) -> Error {
    Error::bad_request(format!("Manage existing volume failed due to invalid backend reference {name}: it is not there."))
}

/// As little of a disk as its format needs to be known by.
fn empty_disk(format: &str) -> Vec<u8> {
    let mut disk = vec![0; 512];
    if format == "qcow2" {
        // magic, version 3, clusters of 64 KiB, one GiB, and where a header of version 3 ends
        for (at, bytes) in
            [(0, &b"QFI\xfb\0\0\0\x03"[..]), (20, &16u32.to_be_bytes()), (24, &(1u64 << 30).to_be_bytes()), (100, &104u32.to_be_bytes())]
        {
            disk.splice(at..at + bytes.len(), bytes.iter().copied());
        }
    }
    disk
}

fn missing(volume_id: &str) -> Error {
    Error::not_found(format!("Volume {volume_id} could not be found."))
}

impl VolumeBackend for SimBackend {
    fn protocol(&self) -> &'static str {
        "sim"
    }

    fn create<'a>(&'a self, volume_id: &'a str, size: u64, origin: Origin) -> BoxFuture<'a, Result<()>> {
        ready(self.make(volume_id, size, &origin)).boxed()
    }

    fn delete<'a>(&'a self, volume_id: &'a str) -> BoxFuture<'a, Result<()>> {
        ready(self.remove(volume_id)).boxed()
    }

    fn extend<'a>(&'a self, volume_id: &'a str, size: u64) -> BoxFuture<'a, Result<()>> {
        ready(self.change(volume_id, |volume| volume.size = volume.size.max(size))).boxed()
    }

    fn export<'a>(&'a self, volume_id: &'a str, export: Export) -> BoxFuture<'a, Result<Value>> {
        let info = json!({"driver_volume_type": "sim", "data": {"export": export.attachment_id, "volume_id": volume_id, "readonly": export.readonly}});
        ready(self.change(volume_id, |volume| volume.exports.extend([export.attachment_id])).map(|()| info)).boxed()
    }

    fn unexport<'a>(&'a self, volume_id: &'a str, attachment_id: &'a str) -> BoxFuture<'a, Result<()>> {
        if let Some(volume) = self.lock().get_mut(volume_id) {
            volume.exports.remove(attachment_id);
        }
        ready(Ok(())).boxed()
    }

    fn snapshot<'a>(&'a self, volume_id: &'a str, snapshot_id: &'a str) -> BoxFuture<'a, Result<()>> {
        ready(self.change(volume_id, |volume| volume.snapshots.extend([snapshot_id.to_owned()]))).boxed()
    }

    fn delete_snapshot<'a>(&'a self, volume_id: &'a str, snapshot_id: &'a str) -> BoxFuture<'a, Result<()>> {
        if let Some(volume) = self.lock().get_mut(volume_id) {
            volume.snapshots.remove(snapshot_id);
        }
        ready(Ok(())).boxed()
    }

    fn revert<'a>(&'a self, volume_id: &'a str, snapshot_id: &'a str, _: u64) -> BoxFuture<'a, Result<()>> {
        let kept = self.lock().get(volume_id).is_some_and(|volume| volume.snapshots.contains(snapshot_id));
        ready(if kept { Ok(()) } else { Err(missing(volume_id)) }).boxed()
    }

    fn refill<'a>(&'a self, volume_id: &'a str, size: u64, _: Origin) -> BoxFuture<'a, Result<()>> {
        ready(self.change(volume_id, |volume| volume.size = volume.size.max(size))).boxed()
    }

    fn image_file<'a>(&'a self, volume_id: &'a str, _: &'a str, format: &'a str) -> BoxFuture<'a, Result<ImageFile>> {
        ready(self.change(volume_id, |_| ()).map(|()| ImageFile::Bytes(empty_disk(format)))).boxed()
    }

    fn copy_to<'a>(&'a self, volume_id: &'a str, _: &'a Value) -> BoxFuture<'a, Result<()>> {
        ready(self.change(volume_id, |_| ())).boxed()
    }

    fn back_up<'a>(&'a self, backup_id: &'a str, original: Original) -> BoxFuture<'a, Result<BackedUp>> {
        ready(self.copy(backup_id, &original)).boxed()
    }

    fn delete_backup<'a>(&'a self, backup_id: &'a str) -> BoxFuture<'a, Result<()>> {
        held(&self.backups).remove(backup_id);
        ready(Ok(())).boxed()
    }

    fn has_backup<'a>(&'a self, backup_id: &'a str) -> BoxFuture<'a, Result<bool>> {
        ready(Ok(held(&self.backups).contains_key(backup_id))).boxed()
    }

    fn manageable(&self) -> BoxFuture<'_, Result<Vec<Manageable>>> {
        let strays = held(&self.strays).iter().map(|(name, size)| Manageable { name: name.clone(), size: *size }).collect();
        ready(Ok(strays)).boxed()
    }

    fn manage<'a>(&'a self, volume_id: &'a str, name: &'a str) -> BoxFuture<'a, Result<u64>> {
        ready(self.adopt(volume_id, name)).boxed()
    }

    fn unmanage<'a>(&'a self, volume_id: &'a str) -> BoxFuture<'a, Result<()>> {
        if let Some(volume) = self.lock().remove(volume_id) {
            held(&self.strays).insert(format!("volume-{volume_id}"), volume.size);
        }
        ready(Ok(())).boxed()
    }

    fn manageable_snapshots(&self) -> BoxFuture<'_, Result<Vec<ManageableSnapshot>>> {
        let volumes = self.lock();
        let of = |(id, volume): (&String, &SimVolume)| {
            let stray = volume.snapshots.iter().filter(|name| name.starts_with(STRAY_SNAPSHOT));
            stray.map(|name| ManageableSnapshot { name: name.clone(), volume_id: id.clone(), size: volume.size }).collect::<Vec<_>>()
        };
        ready(Ok(volumes.iter().flat_map(of).collect())).boxed()
    }

    fn manage_snapshot<'a>(&'a self, volume_id: &'a str, snapshot_id: &'a str, name: &'a str) -> BoxFuture<'a, Result<u64>> {
        ready(self.adopt_snapshot(volume_id, snapshot_id, name)).boxed()
    }

    fn unmanage_snapshot<'a>(&'a self, volume_id: &'a str, snapshot_id: &'a str) -> BoxFuture<'a, Result<()>> {
        if let Some(volume) = self.lock().get_mut(volume_id)
            && volume.snapshots.remove(snapshot_id)
        {
            volume.snapshots.insert(format!("{STRAY_SNAPSHOT}{snapshot_id}"));
        }
        ready(Ok(())).boxed()
    }

    fn restore<'a>(&'a self, volumes: &'a [String], exports: &'a [(String, Export)]) -> BoxFuture<'a, Result<()>> {
        let mut have = self.lock();
        have.retain(|id, _| volumes.contains(id));
        for id in volumes {
            let volume = have.entry(id.clone()).or_default();
            volume.exports = exports.iter().filter(|(of, _)| of == id).map(|(_, export)| export.attachment_id.clone()).collect();
        }
        ready(Ok(())).boxed()
    }

    fn capacity(&self) -> BoxFuture<'_, Result<Capacity>> {
        let used: u64 = self.lock().values().map(|volume| volume.size).sum();
        ready(Ok(Capacity { total: CAPACITY, free: CAPACITY - used as f64 })).boxed()
    }
}
