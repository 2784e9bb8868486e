//! What an operator sets about the choice of hosts, under the names of nova's section `filter_scheduler`. By default none of it but the version
//! of hypervisors makes a difference.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The settings of filters and weighers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FilterScheduler {
    /// Hosts for servers of the isolated images.
    pub isolated_hosts: Vec<String>,
    /// Ids of images whose servers go to the isolated hosts only.
    pub isolated_images: Vec<String>,
    /// Whether the isolated hosts take no other images.
    pub restrict_isolated_hosts_to_isolated_images: bool,
    /// Prefers hosts with many servers when above zero, with few when below.
    pub num_instances_weight_multiplier: f64,
    /// Prefers newer hypervisors when above zero, older ones when below.
    pub hypervisor_version_weight_multiplier: f64,
    /// Prefers hosts with servers of like images when above zero, without them when below.
    pub image_props_weight_multiplier: f64,
    /// How much each property makes images alike; all the same when empty.
    pub image_props_weight_setting: BTreeMap<String, f64>,
}

impl Default for FilterScheduler {
    fn default() -> FilterScheduler {
        FilterScheduler {
            isolated_hosts: Vec::new(),
            isolated_images: Vec::new(),
            restrict_isolated_hosts_to_isolated_images: true,
            num_instances_weight_multiplier: 0.0,
            hypervisor_version_weight_multiplier: 1.0,
            image_props_weight_multiplier: 0.0,
            image_props_weight_setting: BTreeMap::new(),
        }
    }
}
