//! Security groups and address groups, as hosts know them.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroup {
    pub id: String,
    /// A stateless group's rules say nothing of answers, and no connection of its ports is tracked for them.
    pub stateful: bool,
    pub rules: Vec<SecurityGroupRule>,
    /// Addresses of all ports in the group and those they may take over, cloud-wide: what a rule with this remote group lets in.
    pub members: Vec<IpAddr>,
    /// Prefixes that ports in the group may take addresses of: members as well.
    #[serde(default)]
    pub member_prefixes: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroupRule {
    pub id: String,
    /// `ingress` or `egress`
    pub direction: String,
    /// `IPv4` or `IPv6`
    pub ethertype: String,
    /// A name (`tcp`, `udp`, `icmp`, `ipv6-icmp`, ...), a number as text, or any.
    pub protocol: Option<String>,
    /// Ports, or ICMP type (min) and code (max).
    pub port_range_min: Option<u16>,
    pub port_range_max: Option<u16>,
    pub remote_ip_prefix: Option<String>,
    pub remote_group_id: Option<String>,
    #[serde(default)]
    pub remote_address_group_id: Option<String>,
}

/// Prefixes that rules name together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressGroup {
    pub id: String,
    /// `10.0.0.0/8`, `fd00::/8`
    pub addresses: Vec<String>,
}
