//! What is done with instances on this host, one file each, and which message asks for it.
//!
//! Operations on one instance take turns. What takes its time runs beside the queue, so that the events it waits for get through.

mod action;
mod adopt;
mod attach;
mod build;
mod ceph;
mod console;
mod disk_changes;
mod disks;
mod events;
mod fence;
mod image_cache;
mod images;
mod inspect;
mod landing;
mod live_migration;
mod nbd;
pub mod network;
mod placing;
mod power;
mod rebuild;
mod record;
mod rescue;
mod resize;
mod shelve;
mod snapshot;
mod swap;
mod terminate;
mod uptime;
mod volumes;

use std::future::Future;
use std::sync::Arc;

use kit::bus::Handlers;
use kit::{Error, Result};
use rpc::compute::ExternalEvent;
use tokio::sync::Semaphore;

pub use self::adopt::adopt;
pub use self::fence::end_evacuated;
pub use self::record::recorded_taps;
use crate::host::Host;

/// Builds and power actions under way at once; further ones are refused.
const UNDER_WAY: usize = 1024;

/// Every message a host answers.
pub fn handlers(host: &Host) -> Handlers {
    let room = Arc::new(Semaphore::new(UNDER_WAY));
    Handlers::new()
        .on(beside(host, &room, build::build))
        .on(beside(host, &room, power::power))
        .on(beside(host, &room, image_cache::cache))
        .on(with(host, external_event))
        .on(with(host, terminate::terminate))
        .on(with(host, console::output))
        .on(with(host, console::access))
        .on(with(host, uptime::uptime))
        .on(with(host, attach::volume))
        .on(with(host, attach::detach_volume))
        .on(with(host, attach::interface))
        .on(with(host, attach::detach_interface))
        .on(beside(host, &room, rescue::rescue))
        .on(beside(host, &room, rescue::unrescue))
        .on(beside(host, &room, rebuild::rebuild))
        .on(with(host, snapshot::snapshot))
        .on(with(host, shelve::shelve))
        .on(with(host, shelve::offload))
        .on(with(host, shelve::unshelve))
        .on(with(host, resize::prep))
        .on(with(host, resize::resize))
        .on(with(host, resize::finish))
        .on(with(host, resize::confirm))
        .on(with(host, resize::revert))
        .on(with(host, resize::finish_revert))
        .on(with(host, live_migration::describe))
        .on(with(host, live_migration::pre))
        .on(with(host, live_migration::live))
        .on(with(host, live_migration::land))
        .on(with(host, live_migration::post))
        .on(with(host, live_migration::forget))
        .on(with(host, live_migration::rollback))
        .on(with(host, live_migration::urge))
        .on(with(host, swap::swap))
        .on(with(host, swap::extend))
        .on(with(host, inspect::diagnostics))
        .on(with(host, inspect::nmi))
        .on(with(host, inspect::set_password))
}

/// Nobody waits for it, and those who do wait for what it tells must be told at once.
async fn external_event(host: Host, event: ExternalEvent) -> Result<()> {
    host.external_event(&event);
    Ok(())
}

/// An operation of this host.
fn with<M, Fut>(host: &Host, operation: fn(Host, M) -> Fut) -> impl Fn(M) -> Fut + use<M, Fut> {
    let host = host.clone();
    move |message| operation(host.clone(), message)
}

/// An operation that takes its time, beside the queue, in a bounded number.
fn beside<M, Fut>(
    host: &Host,
    room: &Arc<Semaphore>,
    operation: fn(Host, M) -> Fut,
) -> impl Fn(M) -> std::future::Ready<Result<()>> + use<M, Fut>
where
    Fut: Future<Output = ()> + Send + 'static,
{
    let (host, room) = (host.clone(), room.clone());
    move |message| {
        let begun = room.clone().try_acquire_owned().map(|permit| {
            let work = operation(host.clone(), message);
            tokio::spawn(async move {
                work.await;
                drop(permit);
            });
        });
        std::future::ready(begun.map_err(|_| Error::unavailable("This host has too much to do.")))
    }
}
