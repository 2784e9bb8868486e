//! nova-compute: the guests of one host.
//!
//! It has no database: what it needs to know of an instance it asks of conductor, and tells conductor what it did. It may end at any moment;
//! guests go on, and the next process finds them.
//!
//! - [`run`]: takes commands from the bus. `instances` carries them out: `build.rs` is the host's half of the boot flow, top to bottom.
//! - [`hypervisor`]: the driver seam, with QEMU behind it, and a simulation for everything that needs no real guests.
//! - [`numa`]: which of the host's NUMA nodes, processors and pages each guest has.
//! - [`image`]: images, brought here and looked into.
//! - [`metadata`]: what guests are told of themselves, by the metadata service and on a [`config_drive`].
//! - [`consoles`]: screens and serial lines, for people elsewhere.
//! - [`preflight`], [`cleanup_guests`], [`cleanup`]: before and after.

mod config;
pub mod config_drive;
pub mod consoles;
mod host;
pub mod hypervisor;
pub mod image;
mod instances;
pub mod metadata;
pub mod numa;
mod report;
mod upkeep;

use std::sync::Arc;

use kit::Result;
use kit::auth::ServiceSession;
use kit::bus::Bus;
use rpc::compute::compute_topic;
use sdk::Cloud;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

pub use self::config::Config;
use self::host::{Host, Store};
use self::hypervisor::Hypervisor;
use self::numa::Numa;
pub use self::upkeep::{cleanup, cleanup_guests, preflight};

/// Messages a host works on at once; builds and power actions are not among them.
const CONCURRENCY: usize = 64;

/// Serves a host until `stop`. Guests keep running; a build under way is gone on with at the next start.
pub async fn run(
    config: Config,
    bus: Bus,
    hypervisor: Arc<dyn Hypervisor>,
    cloud: Cloud,
    session: ServiceSession,
    stop: CancellationToken,
) -> Result<()> {
    let open = |account| Store::open(config.instances_dir(), account, config.config_drive_format);
    let store = hypervisor.disk_owner().map(open).transpose()?;
    let numa = Numa::open(&config, hypervisor.disk_owner().is_some())?;
    let host = Host::new(config, bus.clone(), cloud, session, hypervisor, store, numa);
    let work = async {
        // first, so that no command meets a guest that is not known yet
        Box::pin(instances::adopt(&host)).await?;
        let handlers = instances::handlers(&host);
        let _commands = AbortOnDropHandle::new(bus.serve(&compute_topic(host.name()), handlers, CONCURRENCY));
        report::run(host.clone()).await;
        Ok(())
    };
    tokio::select! {
        done = work => done,
        _ = stop.cancelled() => Ok(()),
    }
}
