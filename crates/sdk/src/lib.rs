//! Typed client of the public OpenStack APIs, as Cumulo's own parts use them: services among themselves, the command line, the tests.
//!
//! An [`Endpoint`] is where an API answers: over HTTP, or in process straight into another service's router. On top of it each service has
//! a module with the calls somebody here makes. Nothing in here knows how a service is built.

pub mod compute;
pub mod identity;
pub mod image;
pub mod network;
pub mod placement;
mod query;
pub mod standard;
mod transport;
pub mod volume;
mod wire;

pub use query::{encode, query};
pub use transport::{Answer, Auth, Body, Endpoint, Error, LocalService, Result, found};

/// All APIs a part may call.
#[derive(Clone)]
pub struct Cloud {
    pub identity: identity::Identity,
    pub image: image::Image,
    pub network: network::Network,
    pub volume: volume::Volume,
    pub compute: compute::Compute,
    pub placement: placement::Placement,
}
