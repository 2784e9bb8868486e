//! A storage of words only: it keeps the rules of a real one (what is exported cannot be deleted, a clone needs its source) and no bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use kit::{Error, Result};
use serde_json::{Value, json};

use crate::backend::{Capacity, Export, Origin, VolumeBackend};

/// GiB a simulated host has.
const CAPACITY: f64 = 100_000.0;

/// The simulated storage of a host.
#[derive(Default)]
pub struct SimBackend(Mutex<BTreeMap<String, SimVolume>>);

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

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, SimVolume>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, volume_id: &str, change: impl FnOnce(&mut SimVolume)) -> Result<()> {
        self.lock().get_mut(volume_id).map(change).ok_or_else(|| missing(volume_id))
    }

    fn make(&self, volume_id: &str, size: u64, origin: &Origin) -> Result<()> {
        let mut volumes = self.lock();
        match origin {
            Origin::Blank | Origin::Image(_) => {}
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
        let info = json!({"driver_volume_type": "sim", "data": {"export": export.attachment_id, "readonly": export.readonly}});
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
