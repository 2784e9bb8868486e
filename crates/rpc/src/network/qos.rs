//! Quality of service: what a port's or an address's policy comes to.

use serde::{Deserialize, Serialize};

/// The rules of the policy in force; none when there is no policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Qos {
    /// At most one for each direction.
    pub bandwidth_limits: Vec<BandwidthLimit>,
    pub minimum_bandwidths: Vec<MinimumBandwidth>,
    /// At most one for each direction.
    #[serde(default)]
    pub packet_limits: Vec<PacketLimit>,
    /// Marks what the guest sends.
    pub dscp_mark: Option<u8>,
}

impl Qos {
    pub fn is_empty(&self) -> bool {
        *self == Qos::default()
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BandwidthLimit {
    /// As the guest sees it: `egress` is what it sends, `ingress` what it gets.
    pub direction: String,
    pub max_kbps: u32,
    /// 0 leaves it to the host: 80 % of a second's worth.
    pub max_burst_kbps: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MinimumBandwidth {
    pub direction: String,
    pub min_kbps: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketLimit {
    pub direction: String,
    /// Thousands of packets a second.
    pub max_kpps: u32,
    /// 0 leaves it to the host.
    pub max_burst_kpps: u32,
}
