//! Which host? Placement says who has the resources, filters say who may, weighers say who is best, and the claim is placement's again.
//!
//! What placement and the database said about hosts is believed for a moment and corrected by our own claims, so that a burst of boots
//! does not ask the same question hundreds of times; the claim itself is always checked by placement, so a stale belief costs a retry and
//! never an overcommitment.

pub mod bandwidth;
pub mod cache;
mod filters;
pub mod granular;
mod hosts;
mod machines;
pub mod request_filter;
mod select;
mod settings;
mod weighers;

use kit::bus::Handlers;
use rpc::scheduler::{SelectDestinations, TOPIC};
use tokio::task::JoinHandle;

use crate::Nova;

pub use select::on_rebuild;
pub use settings::FilterScheduler;

/// Decisions at once.
const CONCURRENCY: usize = 16;

/// Answers the scheduler's topic.
pub fn serve(app: &Nova) -> JoinHandle<()> {
    let nova = app.clone();
    let select = move |message: SelectDestinations| {
        let nova = nova.clone();
        async move { select::select(&nova, message).await }
    };
    app.bus.serve(TOPIC, Handlers::new().on(select), CONCURRENCY)
}
