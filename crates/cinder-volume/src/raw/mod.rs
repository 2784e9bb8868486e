//! Volumes on a storage that has disks, snapshots and clones of its own: a [`Pool`]. A volume is one raw disk there; an encrypted one holds
//! LUKS, which QEMU opens.
//!
//! [`make`] fills disks under another name first, so that a volume is whole or absent whatever happens; [`leave`] is how data leaves,
//! [`manage`] takes disks over and lets them go, [`names`] says what all of it is called.
//!
//! ```text
//! in STATE_DIR:
//! backups         unless they are in a bucket
//! work/ID         what lies on this host for one piece of work; it begins anew after a crash
//! volumes, nbd    of volumes that this host serves, as those of the file backend
//! ```

mod leave;
mod make;
mod manage;
pub mod names;
mod pool;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use kit::{Error, Result};
use rpc::volume::{BackedUp, Manageable, ManageableSnapshot, Secret};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::backend::{Basics, Capacity, Export, ImageFile, Origin, Original, VolumeBackend};
use crate::connection::{CephDir, layered};
use crate::file::backup::Backups;
use crate::file::export::Change;
use crate::file::exports::Exports;
use crate::file::luks::Keys;
use crate::file::{GIB, Layout};
pub use pool::Pool;

/// A QEMU that was killed is taken for alive by a storage for half a minute.
const WATCHED: Duration = Duration::from_secs(45);
const LOOK: Duration = Duration::from_secs(1);

/// The volumes of a pool. Cheap to clone.
pub struct RawBackend<P>(Arc<Inner<P>>);

struct Inner<P> {
    pool: P,
    state_dir: PathBuf,
    keys: Keys,
    ceph: CephDir,
    exports: Exports,
    backups: Backups,
}

impl<P: Pool> RawBackend<P> {
    /// Makes the directories; the pool itself is looked at later. Blocks for a moment.
    pub fn open(config: Basics, pool: P) -> Result<RawBackend<P>> {
        let exports = Exports::open(config.state_dir.clone(), config.qemu_user.as_deref(), config.address)?;
        let backups = Backups::open(config.state_dir.clone(), config.keys.clone(), config.shelf)?;
        match std::fs::remove_dir_all(config.state_dir.join("work")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let Basics { state_dir, keys, ceph, .. } = config;
        Ok(RawBackend(Arc::new(Inner { pool, state_dir, keys, ceph, exports, backups })))
    }

    fn pool(&self) -> &P {
        &self.0.pool
    }

    async fn key_of(&self, volume_id: &str) -> Result<Option<Secret>> {
        self.0.keys.of(volume_id).await
    }

    /// The disk of a volume that is there.
    async fn existing(&self, volume_id: &str) -> Result<String> {
        let disk = names::volume(volume_id)?;
        match self.pool().size(&disk).await? {
            Some(_) => Ok(disk),
            None => Err(Error::not_found(format!("Volume {volume_id} has no disk on this storage."))),
        }
    }

    /// The same of one that nobody uses.
    async fn unused(&self, volume_id: &str) -> Result<String> {
        let disk = self.existing(volume_id).await?;
        self.refuse_used(volume_id, &disk).await?;
        Ok(disk)
    }

    async fn refuse_used(&self, volume_id: &str, disk: &str) -> Result<()> {
        let used = || Error::conflict(format!("Volume {volume_id} is still exported."));
        if self.0.exports.of(volume_id).is_some() {
            return Err(used());
        }
        let deadline = Instant::now() + WATCHED;
        while self.pool().is_watched(disk).await? {
            if Instant::now() > deadline {
                return Err(used());
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    async fn remove(&self, volume_id: &str) -> Result<()> {
        let disk = names::volume(volume_id)?;
        if self.pool().size(&disk).await?.is_some() {
            self.refuse_used(volume_id, &disk).await?;
        }
        self.pool().remove(&names::part(&disk)).await?;
        self.pool().remove(&disk).await
    }

    async fn extend_to(&self, volume_id: &str, bytes: u64) -> Result<()> {
        let disk = self.existing(volume_id).await?;
        self.enlarge(&disk, bytes, self.key_of(volume_id).await?.as_ref()).await?;
        match self.0.exports.of(volume_id) {
            Some(exporter) => exporter.apply(Change::Resize(bytes)).await,
            None => Ok(()),
        }
    }

    async fn connect(&self, volume_id: &str, export: Export) -> Result<Value> {
        let disk = self.existing(volume_id).await?;
        let Some(mut data) = self.pool().connection(&disk, &export).await? else {
            return self.serve(volume_id, &disk, export).await;
        };
        data["volume_id"] = json!(volume_id);
        data["access_mode"] = json!(if export.readonly { "ro" } else { "rw" });
        data["encrypted"] = json!(self.key_of(volume_id).await?.is_some());
        data["qos_specs"] = Value::Null;
        Ok(json!({"driver_volume_type": self.pool().protocol(), "data": data}))
    }

    /// Whoever is served an encrypted volume sees it in the clear.
    async fn serve(&self, volume_id: &str, disk: &str, export: Export) -> Result<Value> {
        let key = self.key_of(volume_id).await?;
        let node = layered(self.pool().node(disk, None), key.is_some());
        let layout = Layout { node: Some(node), ..Layout::new(&self.0.state_dir, volume_id) };
        tokio::fs::create_dir_all(&layout.dir).await?;
        self.0.exports.start(volume_id, &layout, key, export).await
    }

    async fn take_on(&self, volumes: &[String], exports: &[(String, Export)]) -> Result<()> {
        self.pool().prepare().await?;
        self.0.exports.end_others(exports).await?;
        // of a pool that several hosts share each knows its own volumes only
        let strangers =
            self.pool().names().await?.into_iter().filter(|name| !names::volume_of(name).is_some_and(|id| volumes.iter().any(|v| v == id)));
        strangers.for_each(|name| tracing::debug!(name, "is here, but is no volume of this host"));
        for (volume_id, export) in exports {
            // one broken volume must not keep the others from their guests
            if let Err(error) = self.connect(volume_id, export.clone()).await {
                tracing::error!(volume = volume_id, %error, "could not be exported again");
            }
        }
        Ok(())
    }
}

impl<P: Pool> VolumeBackend for RawBackend<P> {
    fn protocol(&self) -> &'static str {
        self.0.pool.protocol()
    }

    fn create<'a>(&'a self, volume_id: &'a str, size: u64, origin: Origin) -> BoxFuture<'a, Result<()>> {
        self.make(volume_id, size * GIB, origin).boxed()
    }

    fn delete<'a>(&'a self, volume_id: &'a str) -> BoxFuture<'a, Result<()>> {
        self.remove(volume_id).boxed()
    }

    fn extend<'a>(&'a self, volume_id: &'a str, size: u64) -> BoxFuture<'a, Result<()>> {
        self.extend_to(volume_id, size * GIB).boxed()
    }

    fn export<'a>(&'a self, volume_id: &'a str, export: Export) -> BoxFuture<'a, Result<Value>> {
        self.connect(volume_id, export).boxed()
    }

    fn unexport<'a>(&'a self, volume_id: &'a str, attachment_id: &'a str) -> BoxFuture<'a, Result<()>> {
        self.0.exports.end(volume_id, attachment_id).boxed()
    }

    fn snapshot<'a>(&'a self, volume_id: &'a str, snapshot_id: &'a str) -> BoxFuture<'a, Result<()>> {
        let keep = async move { self.pool().snapshot(&self.existing(volume_id).await?, &names::snapshot(snapshot_id)?).await };
        keep.boxed()
    }

    fn delete_snapshot<'a>(&'a self, volume_id: &'a str, snapshot_id: &'a str) -> BoxFuture<'a, Result<()>> {
        let forget = async move {
            let disk = names::volume(volume_id)?;
            match self.pool().size(&disk).await? {
                Some(_) => self.pool().remove_snapshot(&disk, &names::snapshot(snapshot_id)?).await,
                None => Ok(()),
            }
        };
        forget.boxed()
    }

    fn revert<'a>(&'a self, volume_id: &'a str, snapshot_id: &'a str, size: u64) -> BoxFuture<'a, Result<()>> {
        self.go_back(volume_id, snapshot_id, size * GIB).boxed()
    }

    fn refill<'a>(&'a self, volume_id: &'a str, size: u64, origin: Origin) -> BoxFuture<'a, Result<()>> {
        self.refill_with(volume_id, size * GIB, origin).boxed()
    }

    fn image_file<'a>(&'a self, volume_id: &'a str, image_id: &'a str, disk_format: &'a str) -> BoxFuture<'a, Result<ImageFile>> {
        self.convert_for_image(volume_id, image_id, disk_format).boxed()
    }

    fn copy_to<'a>(&'a self, volume_id: &'a str, connection: &'a Value) -> BoxFuture<'a, Result<()>> {
        self.write_to(volume_id, connection).boxed()
    }

    fn back_up<'a>(&'a self, backup_id: &'a str, original: Original) -> BoxFuture<'a, Result<BackedUp>> {
        self.keep_backup(backup_id, original).boxed()
    }

    fn delete_backup<'a>(&'a self, backup_id: &'a str) -> BoxFuture<'a, Result<()>> {
        self.0.backups.remove(backup_id).boxed()
    }

    fn has_backup<'a>(&'a self, backup_id: &'a str) -> BoxFuture<'a, Result<bool>> {
        self.0.backups.has(backup_id).boxed()
    }

    fn manageable(&self) -> BoxFuture<'_, Result<Vec<Manageable>>> {
        self.strays().boxed()
    }

    fn manage<'a>(&'a self, volume_id: &'a str, name: &'a str) -> BoxFuture<'a, Result<u64>> {
        self.take_over(volume_id, name).boxed()
    }

    fn unmanage<'a>(&'a self, volume_id: &'a str) -> BoxFuture<'a, Result<()>> {
        self.let_go(volume_id).boxed()
    }

    fn manageable_snapshots(&self) -> BoxFuture<'_, Result<Vec<ManageableSnapshot>>> {
        self.stray_snapshots().boxed()
    }

    fn manage_snapshot<'a>(&'a self, volume_id: &'a str, snapshot_id: &'a str, name: &'a str) -> BoxFuture<'a, Result<u64>> {
        self.take_over_snapshot(volume_id, snapshot_id, name).boxed()
    }

    fn unmanage_snapshot<'a>(&'a self, volume_id: &'a str, snapshot_id: &'a str) -> BoxFuture<'a, Result<()>> {
        self.let_go_snapshot(volume_id, snapshot_id).boxed()
    }

    fn restore<'a>(&'a self, volumes: &'a [String], exports: &'a [(String, Export)]) -> BoxFuture<'a, Result<()>> {
        self.take_on(volumes, exports).boxed()
    }

    fn capacity(&self) -> BoxFuture<'_, Result<Capacity>> {
        self.pool().capacity().boxed()
    }
}
