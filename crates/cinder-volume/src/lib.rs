//! cinder-volume: the disks of one host. It has no database; cinder tells it what to do over the bus, and what should exist when it starts.
//!
//! - [`manager`]: the messages, one volume at a time; [`image`]: an image's file on its way into a volume.
//! - [`backend`]: what a storage must be able to do; [`file`](mod@file): qcow2 files served over NBD by one qemu-storage-daemon per attached
//!   volume, which outlives this process; [`sim`]: nothing but the words, for clouds without root.
//! - [`raw`]: volumes on a storage that has disks, snapshots and clones of its own: [`rbd`], which guests reach by themselves, and [`lvm`],
//!   served as files are. [`programs`] are what they are driven with; [`connection`] is a volume of any storage, to be written to.

pub mod backend;
pub mod connection;
pub mod file;
pub mod image;
mod locks;
pub mod lvm;
pub mod manager;
pub mod programs;
pub mod raw;
pub mod rbd;
pub mod sim;

use std::sync::Arc;

use kit::Result;
use kit::auth::ServiceSession;
use kit::bus::Bus;
use tokio_util::sync::CancellationToken;

pub use backend::{Basics, VolumeBackend};
pub use connection::CephDir;
pub use file::luks::Keys;
pub use file::shelf::Shelf;
pub use file::{FileBackend, cleanup, preflight};
pub use lvm::{Lvm, LvmConfig};
pub use raw::RawBackend;
pub use rbd::{Rbd, RbdConfig};
pub use sim::SimBackend;

/// Who this cinder-volume is.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `HOST@BACKEND`, as cinder knows it.
    pub host: String,
    /// The operator's words for cinder's scheduler: which volumes are for here, and how welcome each is.
    pub filter_function: Option<String>,
    pub goodness_function: Option<String>,
    /// How many times what it has the storage may promise, and how much of it, in percent, is for no volume.
    pub max_over_subscription_ratio: Option<f64>,
    pub reserved_percentage: Option<i64>,
    /// Where the storage is, if not in the cloud's own zone.
    pub availability_zone: Option<String>,
}

/// Serves the volumes of this host until `stop`. Exports stay as they are when it ends: guests go on.
pub async fn run(
    config: Config,
    bus: Bus,
    backend: Arc<dyn VolumeBackend>,
    images: sdk::image::Image,
    session: ServiceSession,
    stop: CancellationToken,
) -> Result<()> {
    let manager = manager::Manager::new(config, bus, backend, images, session);
    manager.run(stop).await
}
