//! Routers, as the host that carries them knows them.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Qos, Route};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Router {
    pub id: String,
    pub project_id: String,
    pub admin_state_up: bool,
    pub interfaces: Vec<RouterInterface>,
    pub gateway: Option<RouterGateway>,
    pub floating_ips: Vec<FloatingIp>,
    /// Extra routes.
    pub routes: Vec<Route>,
    #[serde(default)]
    pub port_forwardings: Vec<PortForwarding>,
    /// What this host is to a router that several hosts carry.
    #[serde(default)]
    pub role: RouterRole,
    #[serde(default)]
    pub metering_labels: Vec<MeteringLabel>,
    /// The port that says of this host whether it is ready for a router that several hosts carry.
    #[serde(default)]
    pub ha_port_id: Option<String>,
}

/// Neutron-server names the one host that forwards, and another as soon as that one is silent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RouterRole {
    /// It forwards, and answers for the router's addresses.
    #[default]
    Active,
    /// It has everything ready but no address on any wire.
    Standby,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterInterface {
    pub port_id: String,
    pub network_id: String,
    pub mac_address: String,
    /// `10.0.0.1/24`, one for each fixed address of the port. What the router advertises on an IPv6 subnet says the subnet.
    pub addresses: Vec<String>,
    #[serde(default)]
    pub address_scopes: AddressScopes,
}

/// The address scopes of a leg's subnets. Routers route within one, and hide what leaves it behind their address; subnets in none are as if in
/// one together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressScopes {
    pub ipv4: Option<String>,
    pub ipv6: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterGateway {
    pub port_id: String,
    pub network_id: String,
    pub mac_address: String,
    /// `172.24.4.10/24`
    pub addresses: Vec<String>,
    pub nexthops: Vec<IpAddr>,
    pub enable_snat: bool,
    #[serde(default)]
    pub address_scopes: AddressScopes,
    /// For all that leaves by the router's own address.
    #[serde(default)]
    pub qos: Qos,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FloatingIp {
    pub id: String,
    pub floating_ip_address: IpAddr,
    pub fixed_ip_address: IpAddr,
    pub port_id: String,
    #[serde(default)]
    pub qos: Qos,
}

/// Ports of a floating address that lead to ports of a fixed one. Both ranges are equally long, or the inner one is a single port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortForwarding {
    pub id: String,
    #[serde(default)]
    pub floatingip_id: String,
    pub floating_ip_address: IpAddr,
    /// `tcp`, `udp`, `sctp`, `dccp`, `icmp`
    pub protocol: String,
    /// First and last.
    pub external_ports: (u16, u16),
    pub internal_ip_address: IpAddr,
    pub internal_ports: (u16, u16),
}

/// What is counted under one label: everything that matches a rule and none that excludes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeteringLabel {
    pub id: String,
    pub rules: Vec<MeteringRule>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeteringRule {
    pub id: String,
    /// `ingress` or `egress`, as seen from the projects' networks.
    pub direction: String,
    pub excluded: bool,
    pub source_ip_prefix: Option<String>,
    pub destination_ip_prefix: Option<String>,
}
