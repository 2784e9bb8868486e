//! conductor -> nova-scheduler: which host has the resources?

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Caller, compute::Instance, message};

pub const TOPIC: &str = "scheduler";

/// Choose a host, claim it in placement, and answer it with alternates.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SelectDestinations {
    pub caller: Caller,
    pub instance: Instance,
    /// Hosts that already refused this request.
    pub ignore_hosts: Vec<String>,
}
message!(SelectDestinations => Selection, "select_destinations");

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Selection {
    /// The claimed host, or none with the reason in `rejected`.
    pub selected: Option<Destination>,
    /// Next best hosts, best first; not claimed.
    pub alternates: Vec<Destination>,
    /// What each filter left: `("PlacementClaim", 3)`, in the order they ran; for the fault and for `cumulo server explain`.
    pub filters: Vec<FilterResult>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    pub host: String,
    pub node: String,
    pub resource_provider_id: String,
    /// What the server's ports, and groups of its flavor, take there of other providers.
    #[serde(default)]
    pub ports: Vec<PortShare>,
}

/// What a port takes of a provider, or a group of the flavor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortShare {
    /// Empty for a group of the flavor.
    pub port_id: String,
    /// The group of the request that this answers.
    pub group_id: String,
    pub provider_id: String,
    pub resources: BTreeMap<String, i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterResult {
    pub filter: String,
    pub start: usize,
    pub end: usize,
}
