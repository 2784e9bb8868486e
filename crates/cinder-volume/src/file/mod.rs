//! Volumes as qcow2 files, each served over NBD by a qemu-storage-daemon of its own while it is attached.
//!
//! ```text
//! STATE_DIR/volumes/VOLUME/disk.qcow2   the volume; appears by rename, so it is whole or absent
//!                         /nbd.pid      the daemon that serves it
//!                         /qmp.sock     how we speak to that daemon
//! STATE_DIR/nbd/VOLUME.sock             what guests connect to; the only thing their user may open
//!              /gate-ATTACHMENT         how guests of other hosts get there
//! ```
//! [`layers`] are what [`snapshots`] and clones stand on, and volumes [`from_image`] too; [`backup`] and [`manage`] keep disks beside the
//! volumes, [`shelf`] in a bucket.
//! [`luks`] is how disks are encrypted, [`unlocked`] how they are read all the same; [`leave`] is how data leaves.
//! [`disk`] changes files that nobody serves, [`inspect`] decides which images are safe, [`daemon`] is one process, [`gate`] lets one
//! other host through to it, [`export`] keeps both alive, [`exports`] knows all that is served.

pub mod backup;
pub mod daemon;
pub mod disk;
pub mod export;
pub mod exports;
pub mod from_image;
pub mod gate;
pub mod inspect;
pub mod layers;
pub mod leave;
pub mod luks;
pub mod manage;
pub mod qmp;
pub mod shelf;
mod snapshots;
pub mod unlocked;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use kit::{Error, Result, daemons};
use rpc::volume::{BackedUp, Manageable, ManageableSnapshot, Secret};
use serde_json::Value;

use crate::backend::{Basics, Capacity, Export, ImageFile, Origin, Original, VolumeBackend};
use crate::connection::CephDir;
use crate::locks::Locks;
use backup::Backups;
use export::{Change, Exporter};
use exports::Exports;
use luks::Keys;

pub(crate) const GIB: u64 = 1 << 30;

/// The volumes of a directory.
#[derive(Clone)]
pub struct FileBackend(Arc<Inner>);

struct Inner {
    state_dir: PathBuf,
    keys: Keys,
    ceph: CephDir,
    exports: Exports,
    backups: Backups,
    /// Who brings an image here.
    images: Locks,
    /// Whoever makes, takes or sweeps layers does so alone.
    layers: tokio::sync::Mutex<()>,
}

/// The paths of one volume.
#[derive(Clone, Debug)]
pub struct Layout {
    pub dir: PathBuf,
    pub disk: PathBuf,
    pub pid: PathBuf,
    pub qmp: PathBuf,
    pub socket: PathBuf,
    /// A file for each snapshot, with the id of its layer.
    pub snapshots: PathBuf,
    /// How QEMU opens what is served in place of the disk.
    pub node: Option<Value>,
}

impl Layout {
    pub fn new(state_dir: &Path, volume_id: &str) -> Layout {
        Layout::beside(state_dir, "volumes", volume_id)
    }

    /// Of a disk in another home than the volumes'.
    pub fn beside(state_dir: &Path, home: &str, volume_id: &str) -> Layout {
        let dir = state_dir.join(home).join(volume_id);
        Layout {
            disk: dir.join("disk.qcow2"),
            pid: dir.join("nbd.pid"),
            qmp: dir.join("qmp.sock"),
            snapshots: dir.join("snapshots"),
            socket: state_dir.join("nbd").join(format!("{volume_id}.sock")),
            dir,
            node: None,
        }
    }
}

/// What a backup holds, into a new disk.
async fn fill_from_backup(backup: &backup::Opened, bytes: u64, part: &Path, key: Option<&Secret>) -> Result<()> {
    backup.content().convert(part, key).await?;
    disk::resize(part, bytes, key).await
}

/// A path in QEMU's option language, where a comma ends a value unless doubled.
pub(crate) fn escape(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

/// What this host lacks to serve volumes, one sentence each; `further` are programs with their packages.
pub fn preflight<'a>(further: impl IntoIterator<Item = &'a (&'a str, &'a str)>) -> Vec<String> {
    const PACKAGES: [(&str, &str); 3] =
        [("qemu-img", "qemu-utils"), ("qemu-nbd", "qemu-utils"), ("qemu-storage-daemon", "qemu-system-common")];
    let missing = PACKAGES.iter().chain(further).filter(|(program, _)| !daemons::is_installed(program));
    missing.map(|(program, package)| format!("The program {program} is missing: install the package {package}.")).collect()
}

/// Ends what serves volumes of `state_dir`, and removes the volumes.
pub fn cleanup(state_dir: &Path) -> std::io::Result<()> {
    gate::end_all(state_dir, |_| true);
    daemon::end_all(state_dir, |_| true);
    for dir in ["volumes", "layers", "backups", "desks", "unmanaged", "work", "nbd"] {
        match std::fs::remove_dir_all(state_dir.join(dir)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

impl FileBackend {
    /// Makes the directories. Blocks for a moment.
    pub fn open(config: Basics) -> Result<FileBackend> {
        let exports = Exports::open(config.state_dir.clone(), config.qemu_user.as_deref(), config.address)?;
        let backups = Backups::open(config.state_dir.clone(), config.keys.clone(), config.shelf)?;
        let layers = config.state_dir.join("layers");
        std::fs::create_dir_all(&layers)?;
        std::fs::set_permissions(&layers, std::fs::Permissions::from_mode(0o700))?;
        Ok(FileBackend(Arc::new(Inner {
            state_dir: config.state_dir,
            keys: config.keys,
            ceph: config.ceph,
            exports,
            backups,
            images: Locks::default(),
            layers: tokio::sync::Mutex::default(),
        })))
    }

    fn state_dir(&self) -> &Path {
        &self.0.state_dir
    }

    fn keys(&self) -> &Keys {
        &self.0.keys
    }

    fn backups(&self) -> &Backups {
        &self.0.backups
    }

    fn images(&self) -> &Locks {
        &self.0.images
    }

    fn layers(&self) -> &tokio::sync::Mutex<()> {
        &self.0.layers
    }

    fn layout(&self, volume_id: &str) -> Result<Layout> {
        // ids become paths; cinder's are UUIDs, and nothing else shall pass
        let id = kit::ids::parse_uuid(volume_id).ok_or_else(|| Error::bad_request(format!("{volume_id} is no volume id.")))?;
        Ok(Layout::new(&self.0.state_dir, &id))
    }

    /// The paths of a volume whose disk is there.
    async fn existing(&self, volume_id: &str) -> Result<Layout> {
        let layout = self.layout(volume_id)?;
        if tokio::fs::try_exists(&layout.disk).await? {
            return Ok(layout);
        }
        Err(Error::not_found(format!("Volume {volume_id} has no disk on this host.")))
    }

    fn exporter(&self, volume_id: &str) -> Option<Exporter> {
        self.0.exports.of(volume_id)
    }

    /// The key of a volume whose disk is encrypted.
    async fn key_of(&self, layout: &Layout) -> Result<Option<Secret>> {
        let id = layout.dir.file_name().unwrap_or_default().to_string_lossy();
        self.0.keys.of_disk(&layout.disk, &id).await
    }

    async fn make(&self, volume_id: &str, size: u64, origin: Origin) -> Result<()> {
        let layout = self.layout(volume_id)?;
        let key = self.0.keys.of(volume_id).await?;
        match origin {
            Origin::Blank => disk::create(&layout, size * GIB, key.as_ref()).await,
            Origin::Image(image) => self.make_from_image(&layout, &image, size * GIB, key.as_ref()).await,
            Origin::Volume(source) => {
                // frozen under the new volume's id, the source goes on as if nothing had been
                if !tokio::fs::try_exists(&layout.disk).await? {
                    self.freeze(&self.existing(&source).await?, volume_id, self.exporter(&source)).await?;
                }
                self.stand_on(&layout, volume_id, size * GIB, key.as_ref()).await
            }
            Origin::Snapshot { volume_id: source, snapshot_id } => {
                let layer = self.layer_of_snapshot(&self.existing(&source).await?, &snapshot_id).await?;
                self.stand_on(&layout, &layer, size * GIB, key.as_ref()).await
            }
            Origin::Backup(_) if tokio::fs::try_exists(&layout.disk).await? => Ok(()),
            Origin::Backup(backup) => {
                let backup = self.backups().read(volume_id, &backup, key.is_some()).await?;
                let made = disk::make(&layout, async |part| fill_from_backup(&backup, size * GIB, part, key.as_ref()).await).await;
                backup.close().await;
                made
            }
        }
    }

    /// A new content for a volume that nobody uses.
    async fn refill_with(&self, volume_id: &str, size: u64, origin: Origin) -> Result<()> {
        let layout = self.unserved(volume_id).await?;
        let key = self.key_of(&layout).await?;
        match origin {
            Origin::Image(image) => {
                disk::replace(&layout, async |part| disk::fill_from_image(&layout, &image, size * GIB, part, key.as_ref()).await).await?;
            }
            Origin::Backup(backup) => {
                let backup = self.backups().read(volume_id, &backup, key.is_some()).await?;
                let made = disk::replace(&layout, async |part| fill_from_backup(&backup, size * GIB, part, key.as_ref()).await).await;
                backup.close().await;
                made?;
            }
            Origin::Blank | Origin::Volume(_) | Origin::Snapshot { .. } => {
                return Err(Error::bad_request("A volume is refilled from images and backups only."));
            }
        }
        self.sweep().await
    }

    async fn unserved(&self, volume_id: &str) -> Result<Layout> {
        if self.exporter(volume_id).is_some() {
            return Err(Error::conflict(format!("Volume {volume_id} is still exported.")));
        }
        self.existing(volume_id).await
    }

    async fn remove(&self, volume_id: &str) -> Result<()> {
        if self.exporter(volume_id).is_some() {
            return Err(Error::conflict(format!("Volume {volume_id} is still exported.")));
        }
        disk::remove(&self.layout(volume_id)?).await?;
        self.sweep().await
    }

    async fn grow(&self, volume_id: &str, size: u64) -> Result<()> {
        let layout = self.existing(volume_id).await?;
        match self.exporter(volume_id) {
            Some(exporter) => exporter.apply(Change::Resize(size * GIB)).await,
            None => disk::resize(&layout.disk, size * GIB, self.key_of(&layout).await?.as_ref()).await,
        }
    }

    async fn start_export(&self, volume_id: &str, export: Export) -> Result<Value> {
        let layout = self.existing(volume_id).await?;
        let key = match self.exporter(volume_id) {
            Some(_) => None,
            None => self.key_of(&layout).await?,
        };
        self.0.exports.start(volume_id, &layout, key, export).await
    }

    /// Ends the daemons of volumes that nobody should reach, and takes on or starts the others.
    async fn take_on(&self, volumes: &[String], exports: &[(String, Export)]) -> Result<()> {
        self.0.exports.end_others(exports).await?;
        self.report_strangers(volumes).await?;
        if let Err(error) = self.sweep().await {
            // layers too many do no harm; guests without their volumes do
            tracing::error!(%error, "the layers were not swept");
        }
        for (volume_id, export) in exports {
            // one broken volume must not keep the others from their guests
            if let Err(error) = self.start_export(volume_id, export.clone()).await {
                tracing::error!(volume = volume_id, %error, "could not be exported again");
            }
        }
        Ok(())
    }

    /// Data that cinder does not know is left alone: deleting on hearsay is not ours to do.
    async fn report_strangers(&self, volumes: &[String]) -> Result<()> {
        let mut entries = tokio::fs::read_dir(self.0.state_dir.join("volumes")).await?;
        while let Some(entry) = entries.next_entry().await? {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !volumes.contains(&name) {
                tracing::warn!(volume = name, "is here, but cinder does not know it");
            }
        }
        Ok(())
    }
}

impl VolumeBackend for FileBackend {
    fn protocol(&self) -> &'static str {
        "nbd"
    }

    fn create<'a>(&'a self, volume_id: &'a str, size: u64, origin: Origin) -> BoxFuture<'a, Result<()>> {
        self.make(volume_id, size, origin).boxed()
    }

    fn delete<'a>(&'a self, volume_id: &'a str) -> BoxFuture<'a, Result<()>> {
        self.remove(volume_id).boxed()
    }

    fn extend<'a>(&'a self, volume_id: &'a str, size: u64) -> BoxFuture<'a, Result<()>> {
        self.grow(volume_id, size).boxed()
    }

    fn export<'a>(&'a self, volume_id: &'a str, export: Export) -> BoxFuture<'a, Result<Value>> {
        self.start_export(volume_id, export).boxed()
    }

    fn unexport<'a>(&'a self, volume_id: &'a str, attachment_id: &'a str) -> BoxFuture<'a, Result<()>> {
        async move { self.0.exports.end(volume_id, attachment_id).await }.boxed()
    }

    fn snapshot<'a>(&'a self, volume_id: &'a str, snapshot_id: &'a str) -> BoxFuture<'a, Result<()>> {
        self.keep_snapshot(volume_id, snapshot_id).boxed()
    }

    fn delete_snapshot<'a>(&'a self, volume_id: &'a str, snapshot_id: &'a str) -> BoxFuture<'a, Result<()>> {
        self.drop_snapshot(volume_id, snapshot_id).boxed()
    }

    fn revert<'a>(&'a self, volume_id: &'a str, snapshot_id: &'a str, size: u64) -> BoxFuture<'a, Result<()>> {
        self.go_back(volume_id, snapshot_id, size).boxed()
    }

    fn refill<'a>(&'a self, volume_id: &'a str, size: u64, origin: Origin) -> BoxFuture<'a, Result<()>> {
        self.refill_with(volume_id, size, origin).boxed()
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
        async move { self.0.backups.remove(backup_id).await }.boxed()
    }

    fn has_backup<'a>(&'a self, backup_id: &'a str) -> BoxFuture<'a, Result<bool>> {
        async move { self.0.backups.has(backup_id).await }.boxed()
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
        let dir = self.0.state_dir.clone();
        let ask = move || {
            let stat = nix::sys::statvfs::statvfs(&dir).map_err(Error::internal)?;
            let gib = |blocks: u64| blocks as f64 * stat.fragment_size() as f64 / GIB as f64;
            Ok(Capacity { total: gib(stat.blocks()), free: gib(stat.blocks_available()) })
        };
        async move { tokio::task::spawn_blocking(ask).await.map_err(Error::internal)? }.boxed()
    }
}
