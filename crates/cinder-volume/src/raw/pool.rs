//! What a storage does that has disks, snapshots and clones of its own. Names are the storage's; sizes are bytes. What is there already, or
//! is gone already, is no error.

use std::future::Future;

use kit::Result;
use serde_json::Value;

use crate::backend::{Capacity, Export};
use crate::file::disk::Environment;

pub trait Pool: Send + Sync + 'static {
    /// The word for how volumes are reached.
    fn protocol(&self) -> &'static str;

    /// Sees to it that there is a storage.
    fn prepare(&self) -> impl Future<Output = Result<()>> + Send;

    /// How QEMU opens a disk, or what it was at a snapshot, on this host.
    fn node(&self, disk: &str, snapshot: Option<&str>) -> Value;

    /// What QEMU's programs need for that.
    fn environment(&self) -> Environment;

    /// The `data` of a connection to a disk that hosts reach by themselves; nothing where this host serves it.
    fn connection(&self, disk: &str, export: &Export) -> impl Future<Output = Result<Option<Value>>> + Send;

    /// Whether somebody has the disk open whom this host does not know of.
    fn is_watched(&self, disk: &str) -> impl Future<Output = Result<bool>> + Send;

    fn names(&self) -> impl Future<Output = Result<Vec<String>>> + Send;

    fn size(&self, disk: &str) -> impl Future<Output = Result<Option<u64>>> + Send;

    /// A new disk of zeros.
    fn create(&self, disk: &str, bytes: u64) -> impl Future<Output = Result<()>> + Send;

    /// The disk goes, with its snapshots. Clones of it stay whole.
    fn remove(&self, disk: &str) -> impl Future<Output = Result<()>> + Send;

    fn rename(&self, disk: &str, to: &str) -> impl Future<Output = Result<()>> + Send;

    fn grow(&self, disk: &str, bytes: u64) -> impl Future<Output = Result<()>> + Send;

    /// The disk is all zeros then, and so large. Its snapshots stay.
    fn empty(&self, disk: &str, bytes: u64) -> impl Future<Output = Result<()>> + Send;

    /// The names and sizes of a disk's snapshots.
    fn snapshots(&self, disk: &str) -> impl Future<Output = Result<Vec<(String, u64)>>> + Send;

    fn snapshot(&self, disk: &str, snapshot: &str) -> impl Future<Output = Result<()>> + Send;

    fn remove_snapshot(&self, disk: &str, snapshot: &str) -> impl Future<Output = Result<()>> + Send;

    fn rename_snapshot(&self, disk: &str, snapshot: &str, to: &str) -> impl Future<Output = Result<()>> + Send;

    /// A new disk that holds what a snapshot holds, and copies nothing. `kept` is a snapshot that stays, as users make them.
    fn clone_of(&self, disk: &str, snapshot: &str, kept: bool, to: &str) -> impl Future<Output = Result<()>> + Send;

    /// The disk holds again what it held at the snapshot, which stays.
    fn roll_back(&self, disk: &str, snapshot: &str) -> impl Future<Output = Result<()>> + Send;

    fn capacity(&self) -> impl Future<Output = Result<Capacity>> + Send;
}
