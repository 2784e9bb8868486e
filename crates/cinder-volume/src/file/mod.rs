//! Volumes as qcow2 files, each served over NBD by a qemu-storage-daemon of its own while it is attached.
//!
//! ```text
//! STATE_DIR/volumes/VOLUME/disk.qcow2   the volume; appears by rename, so it is whole or absent
//!                         /nbd.pid      the daemon that serves it
//!                         /qmp.sock     how we speak to that daemon
//! STATE_DIR/nbd/VOLUME.sock             what guests connect to; the only thing their user may open
//! ```
//! [`disk`] changes files that nobody serves, [`inspect`] decides which images are safe, [`daemon`] is one process, [`export`] keeps it alive.

pub mod daemon;
pub mod disk;
pub mod export;
pub mod inspect;
pub mod qmp;

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;
use kit::{Error, Result};
use serde_json::{Value, json};

use crate::backend::{Capacity, Export, Origin, VolumeBackend};
use export::{Change, Exporter};

const GIB: u64 = 1 << 30;

/// Where the volumes are, and who may open their sockets.
#[derive(Clone, Debug)]
pub struct FileConfig {
    pub state_dir: PathBuf,
    /// The user that QEMU runs as; its group may connect. Absent: only our own group.
    pub qemu_user: Option<String>,
}

/// The volumes of a directory.
#[derive(Clone)]
pub struct FileBackend(Arc<Inner>);

struct Inner {
    state_dir: PathBuf,
    qemu_gid: Option<u32>,
    exporters: Mutex<HashMap<String, Exporter>>,
}

/// The paths of one volume.
#[derive(Clone, Debug)]
pub struct Layout {
    pub dir: PathBuf,
    pub disk: PathBuf,
    pub pid: PathBuf,
    pub qmp: PathBuf,
    pub socket: PathBuf,
}

impl Layout {
    pub fn new(state_dir: &Path, volume_id: &str) -> Layout {
        let dir = state_dir.join("volumes").join(volume_id);
        Layout {
            disk: dir.join("disk.qcow2"),
            pid: dir.join("nbd.pid"),
            qmp: dir.join("qmp.sock"),
            socket: state_dir.join("nbd").join(format!("{volume_id}.sock")),
            dir,
        }
    }
}

/// What this host lacks to serve volumes, one sentence each.
pub fn preflight() -> Vec<String> {
    let packages = [("qemu-img", "qemu-utils"), ("qemu-storage-daemon", "qemu-system-common")];
    let missing = packages.iter().filter(|(program, _)| !daemon::installed(program));
    missing.map(|(program, package)| format!("The program {program} is missing: install the package {package}.")).collect()
}

/// Ends what serves volumes of `state_dir`, and removes the volumes.
pub fn cleanup(state_dir: &Path) -> std::io::Result<()> {
    daemon::end_all(state_dir, |_| true);
    for dir in ["volumes", "nbd"] {
        match std::fs::remove_dir_all(state_dir.join(dir)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

impl FileBackend {
    /// Makes the directories. Blocks for a moment.
    pub fn open(config: FileConfig) -> Result<FileBackend> {
        let user = config.qemu_user.as_deref().and_then(|name| nix::unistd::User::from_name(name).ok().flatten());
        let qemu_gid = user.map(|user| user.gid.as_raw());
        for (dir, mode) in [("volumes", 0o700), ("nbd", 0o750)] {
            let path = config.state_dir.join(dir);
            std::fs::create_dir_all(&path)?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))?;
        }
        std::os::unix::fs::chown(config.state_dir.join("nbd"), None, qemu_gid)?;
        Ok(FileBackend(Arc::new(Inner { state_dir: config.state_dir, qemu_gid, exporters: Mutex::default() })))
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
        self.0.exporters.lock().unwrap_or_else(PoisonError::into_inner).get(volume_id).cloned()
    }

    fn exporter_or_new(&self, volume_id: &str, layout: &Layout) -> Exporter {
        let mut exporters = self.0.exporters.lock().unwrap_or_else(PoisonError::into_inner);
        exporters.entry(volume_id.to_owned()).or_insert_with(|| Exporter::start(layout.clone(), self.0.qemu_gid)).clone()
    }

    async fn make(&self, volume_id: &str, size: u64, origin: Origin) -> Result<()> {
        let layout = self.layout(volume_id)?;
        match origin {
            Origin::Blank => disk::create(&layout, size * GIB).await,
            Origin::Image(image) => disk::from_image(&layout, &image, size * GIB).await,
            Origin::Volume(source) => {
                if self.exporter(&source).is_some() {
                    return Err(Error::conflict(format!("Volume {source} is attached and cannot be cloned.")));
                }
                disk::clone(&layout, &self.existing(&source).await?, None, size * GIB).await
            }
            Origin::Snapshot { volume_id: source, snapshot_id } => {
                disk::clone(&layout, &self.existing(&source).await?, Some(&snapshot_id), size * GIB).await
            }
        }
    }

    async fn remove(&self, volume_id: &str) -> Result<()> {
        if self.exporter(volume_id).is_some() {
            return Err(Error::conflict(format!("Volume {volume_id} is still exported.")));
        }
        disk::remove(&self.layout(volume_id)?).await
    }

    async fn grow(&self, volume_id: &str, size: u64) -> Result<()> {
        let layout = self.existing(volume_id).await?;
        match self.exporter(volume_id) {
            Some(exporter) => exporter.apply(Change::Resize(size * GIB)).await,
            None => disk::resize(&layout.disk, size * GIB).await,
        }
    }

    async fn start_export(&self, volume_id: &str, export: Export) -> Result<Value> {
        let layout = self.existing(volume_id).await?;
        let (name, readonly) = (export.attachment_id.clone(), export.readonly);
        let exporter = self.exporter_or_new(volume_id, &layout);
        if let Err(error) = exporter.apply(Change::Export(export)).await {
            // an export nobody knows of must not keep a daemon
            self.end_export(volume_id, &name).await?;
            return Err(error);
        }
        Ok(json!({"driver_volume_type": "nbd", "data": {
            "socket_path": layout.socket, "export": name, "readonly": readonly, "volume_id": volume_id,
            "access_mode": if readonly { "ro" } else { "rw" }, "qos_specs": null, "encrypted": false,
        }}))
    }

    async fn end_export(&self, volume_id: &str, attachment_id: &str) -> Result<()> {
        let Some(exporter) = self.exporter(volume_id) else { return Ok(()) };
        if exporter.withdraw(attachment_id).await? {
            self.0.exporters.lock().unwrap_or_else(PoisonError::into_inner).remove(volume_id);
        }
        Ok(())
    }

    async fn keep_snapshot(&self, volume_id: &str, snapshot_id: &str) -> Result<()> {
        let layout = self.existing(volume_id).await?;
        match self.exporter(volume_id) {
            Some(exporter) => exporter.apply(Change::Snapshot(snapshot_id.to_owned())).await,
            None => disk::snapshot(&layout.disk, snapshot_id).await,
        }
    }

    async fn drop_snapshot(&self, volume_id: &str, snapshot_id: &str) -> Result<()> {
        let layout = self.layout(volume_id)?;
        if !tokio::fs::try_exists(&layout.disk).await? {
            return Ok(());
        }
        match self.exporter(volume_id) {
            Some(exporter) => exporter.apply(Change::DropSnapshot(snapshot_id.to_owned())).await,
            None => disk::delete_snapshot(&layout.disk, snapshot_id).await,
        }
    }

    /// Ends the daemons of volumes that nobody should reach, and takes on or starts the others.
    async fn take_on(&self, volumes: &[String], exports: &[(String, Export)]) -> Result<()> {
        let (state_dir, wanted) = (self.0.state_dir.clone(), exports.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>());
        tokio::task::spawn_blocking(move || daemon::end_all(&state_dir, |volume_id| !wanted.iter().any(|id| id == volume_id)))
            .await
            .map_err(Error::internal)?;
        self.report_strangers(volumes).await?;
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
        self.end_export(volume_id, attachment_id).boxed()
    }

    fn snapshot<'a>(&'a self, volume_id: &'a str, snapshot_id: &'a str) -> BoxFuture<'a, Result<()>> {
        self.keep_snapshot(volume_id, snapshot_id).boxed()
    }

    fn delete_snapshot<'a>(&'a self, volume_id: &'a str, snapshot_id: &'a str) -> BoxFuture<'a, Result<()>> {
        self.drop_snapshot(volume_id, snapshot_id).boxed()
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
