//! What a storage must be able to do. Every call may be repeated, and finds then what is already there; what it answered `Ok` to is on
//! disk. Calls for one volume never overlap: the manager sees to that.

use std::net::IpAddr;
use std::path::PathBuf;

use futures::future::BoxFuture;
use kit::Result;
use rpc::volume::{BackedUp, Manageable, ManageableSnapshot};
use serde_json::Value;

use crate::connection::CephDir;
use crate::file::luks::Keys;
use crate::file::shelf::Shelf;
use crate::image::Image;

/// What every backend with bytes is told.
#[derive(Clone)]
pub struct Basics {
    /// What it has on this host: the volumes themselves, or what of them passes through.
    pub state_dir: PathBuf,
    /// Who knows the keys of encrypted volumes.
    pub keys: Keys,
    /// Where backups are kept; in the state directory if absent.
    pub shelf: Option<Shelf>,
    /// The user that QEMU runs as; its group may connect. Absent: only our own group.
    pub qemu_user: Option<String>,
    /// Where other hosts reach this one. Without one, what this host serves is for its own guests only.
    pub address: Option<IpAddr>,
    /// Of clusters that volumes are in, or move to.
    pub ceph: CephDir,
}

/// What a new volume holds.
#[derive(Clone)]
pub enum Origin {
    Blank,
    Image(Box<Image>),
    Volume(String),
    Snapshot { volume_id: String, snapshot_id: String },
    Backup(String),
}

/// What is to be backed up.
#[derive(Clone, Debug)]
pub struct Original {
    pub volume_id: String,
    /// As it was then; as it is now if absent.
    pub snapshot_id: Option<String>,
    /// The backup that the new one builds on.
    pub parent_id: Option<String>,
}

/// What an image is to be uploaded from.
#[derive(Debug)]
pub enum ImageFile {
    /// A file that whoever reads it removes.
    Path(PathBuf),
    Bytes(Vec<u8>),
}

/// GiB
#[derive(Clone, Copy, Debug, Default)]
pub struct Capacity {
    pub total: f64,
    pub free: f64,
}

/// One use of a volume by a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    pub attachment_id: String,
    pub readonly: bool,
    /// By another host than the one that keeps the volume.
    pub remote: bool,
}

/// A storage. Sizes are GiB.
pub trait VolumeBackend: Send + Sync + 'static {
    /// The word for how volumes are reached: `nbd`, `rbd`.
    fn protocol(&self) -> &'static str;
    fn create<'a>(&'a self, volume_id: &'a str, size: u64, origin: Origin) -> BoxFuture<'a, Result<()>>;
    fn delete<'a>(&'a self, volume_id: &'a str) -> BoxFuture<'a, Result<()>>;
    fn extend<'a>(&'a self, volume_id: &'a str, size: u64) -> BoxFuture<'a, Result<()>>;
    /// Makes the volume reachable for one attachment; answers `connection_info`.
    fn export<'a>(&'a self, volume_id: &'a str, export: Export) -> BoxFuture<'a, Result<Value>>;
    fn unexport<'a>(&'a self, volume_id: &'a str, attachment_id: &'a str) -> BoxFuture<'a, Result<()>>;
    fn snapshot<'a>(&'a self, volume_id: &'a str, snapshot_id: &'a str) -> BoxFuture<'a, Result<()>>;
    fn delete_snapshot<'a>(&'a self, volume_id: &'a str, snapshot_id: &'a str) -> BoxFuture<'a, Result<()>>;
    /// The volume holds again what it held at the snapshot.
    fn revert<'a>(&'a self, volume_id: &'a str, snapshot_id: &'a str, size: u64) -> BoxFuture<'a, Result<()>>;
    /// The volume holds an image, or a backup, instead of what it held.
    fn refill<'a>(&'a self, volume_id: &'a str, size: u64, origin: Origin) -> BoxFuture<'a, Result<()>>;
    /// What the volume holds now, in a glance disk format.
    fn image_file<'a>(&'a self, volume_id: &'a str, image_id: &'a str, disk_format: &'a str) -> BoxFuture<'a, Result<ImageFile>>;
    /// Writes what the volume holds to another that is exported as `connection` tells.
    fn copy_to<'a>(&'a self, volume_id: &'a str, connection: &'a Value) -> BoxFuture<'a, Result<()>>;
    fn back_up<'a>(&'a self, backup_id: &'a str, original: Original) -> BoxFuture<'a, Result<BackedUp>>;
    fn delete_backup<'a>(&'a self, backup_id: &'a str) -> BoxFuture<'a, Result<()>>;
    fn has_backup<'a>(&'a self, backup_id: &'a str) -> BoxFuture<'a, Result<bool>>;
    /// What is here and could become a volume.
    fn manageable(&self) -> BoxFuture<'_, Result<Vec<Manageable>>>;
    /// Makes it a volume; answers GiB.
    fn manage<'a>(&'a self, volume_id: &'a str, name: &'a str) -> BoxFuture<'a, Result<u64>>;
    fn unmanage<'a>(&'a self, volume_id: &'a str) -> BoxFuture<'a, Result<()>>;
    fn manageable_snapshots(&self) -> BoxFuture<'_, Result<Vec<ManageableSnapshot>>>;
    /// Makes what is called `name` a snapshot of the volume; answers GiB.
    fn manage_snapshot<'a>(&'a self, volume_id: &'a str, snapshot_id: &'a str, name: &'a str) -> BoxFuture<'a, Result<u64>>;
    fn unmanage_snapshot<'a>(&'a self, volume_id: &'a str, snapshot_id: &'a str) -> BoxFuture<'a, Result<()>>;
    /// At start: `exports` are all that shall be reachable, of `volumes`, which are all there are. Other exports of ours end.
    fn restore<'a>(&'a self, volumes: &'a [String], exports: &'a [(String, Export)]) -> BoxFuture<'a, Result<()>>;
    fn capacity(&self) -> BoxFuture<'_, Result<Capacity>>;
}
