//! The neutron-agent: what neutron wants on this host, made so.
//!
//! It has no database. [`agent`] holds the desired state of the host, as neutron-server tells it over the bus, and brings it to a
//! [`dataplane`] again and again: after each change, when something happens on the host, and now and then anyway. So it may end at any
//! moment, and what runs goes on without it.
//!
//! - [`linuxbridge`]: bridges, taps, and the firewall with port security and security groups.
//! - [`dhcp`]: a namespace with dnsmasq for each network. [`metadata`]: who asks 169.254.169.254.
//! - [`router`]: a namespace for each router, with NAT and floating IPs. [`metering`]: what goes through them.
//! - [`host`]: netlink, namespaces, nftables and processes, which know nothing of clouds.
//!
//! Everything it makes has a name that follows from an OpenStack id ([`names`]); whatever has another name is not touched. Guests' packets
//! never reach the host itself through a bridge.

pub mod agent;
mod cleanup;
mod config;
pub mod dataplane;
mod desired;
mod dhcp;
mod host;
mod linuxbridge;
mod metadata;
mod metering;
mod names;
mod preflight;
mod router;

#[cfg(test)]
mod fixtures;

pub use agent::run;
pub use cleanup::cleanup;
pub use config::{Config, External};
pub use dataplane::{Dataplane, Linux, Outcome, Sim};
pub use desired::{Desired, Dirty};
pub use kit::{Error, Result};
pub use metering::Count;
pub use preflight::preflight;
