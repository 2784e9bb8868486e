//! Between neutron-server and the neutron-agent of a host.
//!
//! The server tells a host what should exist there; the agent makes it so and reports. [`FetchState`] is the whole desired
//! state of a host, asked at start and whenever the agent saw a gap in `sequence`; [`Update`] carries what changed since.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::message;

/// Read by neutron-server.
pub const SERVER_TOPIC: &str = "neutron";

/// Read by the agent of one host.
pub fn agent_topic(host: &str) -> String {
    format!("l2.{host}")
}

/// agent -> server: everything that should exist on this host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FetchState {
    pub host: String,
}
message!(FetchState => HostState, "fetch_state");

/// agent -> server: alive, and what it is able to do. Sent every few seconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Heartbeat {
    pub host: String,
    /// `DHCP agent`, `L3 agent`, `Metadata agent`, `Linux bridge agent`.
    pub agent_types: Vec<String>,
}
message!(Heartbeat => (), "heartbeat");

/// agent -> server: these ports are wired (or no longer are). Only then is a port ACTIVE.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PortsWired {
    pub host: String,
    pub up: Vec<String>,
    pub down: Vec<String>,
}
message!(PortsWired => (), "ports_wired");

/// server -> agent: what changed. `sequence` grows by one with each update to a host; a gap means "fetch the whole state".
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Update {
    pub sequence: u64,
    pub changes: Vec<Change>,
}
message!(Update => (), "update");

/// One difference in what a host should have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    Network(Network),
    NetworkGone(String),
    Port(Port),
    PortGone(String),
    Router(Router),
    RouterGone(String),
    SecurityGroup(SecurityGroup),
    SecurityGroupGone(String),
    /// Addresses that came to or left a group, for the rules that name it as a remote group.
    Members {
        group_id: String,
        added: Vec<IpAddr>,
        removed: Vec<IpAddr>,
    },
}

/// The desired state of one host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostState {
    pub sequence: u64,
    /// Networks with a port or router on this host.
    pub networks: Vec<Network>,
    pub ports: Vec<Port>,
    pub routers: Vec<Router>,
    /// Groups that the ports use, and groups that those name as remote.
    pub security_groups: Vec<SecurityGroup>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    pub id: String,
    pub project_id: String,
    /// `flat`, `vxlan` or `local`; a `flat` one is the provider network of its `physical_network`.
    pub network_type: String,
    pub physical_network: Option<String>,
    /// VXLAN id; unique in the cloud, also the number from which the host derives names and conntrack zones.
    pub segmentation_id: Option<u32>,
    pub mtu: u32,
    pub external: bool,
    pub subnets: Vec<Subnet>,
    /// The addresses of the network's DHCP and metadata port on this host, one for each subnet with DHCP.
    pub dhcp: Option<DhcpPort>,
    /// Addresses and names of **all** ports of the network that the DHCP server may be asked about.
    pub dns_domain: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhcpPort {
    pub port_id: String,
    pub mac_address: String,
    pub fixed_ips: Vec<FixedIp>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    pub id: String,
    /// `10.0.0.0/24`
    pub cidr: String,
    pub gateway_ip: Option<IpAddr>,
    pub enable_dhcp: bool,
    pub dns_nameservers: Vec<IpAddr>,
    pub host_routes: Vec<Route>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    pub destination: String,
    pub nexthop: IpAddr,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FixedIp {
    pub subnet_id: String,
    pub ip_address: IpAddr,
}

/// A port bound to this host: a tap of a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    pub id: String,
    pub network_id: String,
    pub project_id: String,
    /// The server that uses it; what the metadata proxy tells nova.
    pub device_id: String,
    pub mac_address: String,
    pub fixed_ips: Vec<FixedIp>,
    pub security_groups: Vec<String>,
    pub port_security_enabled: bool,
    pub allowed_address_pairs: Vec<AddressPair>,
    pub admin_state_up: bool,
    /// DHCP host name.
    pub dns_name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressPair {
    /// An address or a prefix.
    pub ip_address: String,
    pub mac_address: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Router {
    pub id: String,
    pub project_id: String,
    pub admin_state_up: bool,
    pub interfaces: Vec<RouterInterface>,
    pub gateway: Option<RouterGateway>,
    pub floating_ips: Vec<FloatingIp>,
    pub routes: Vec<Route>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterInterface {
    pub port_id: String,
    pub network_id: String,
    pub mac_address: String,
    /// `10.0.0.1/24`, one for each fixed address of the port.
    pub addresses: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterGateway {
    pub port_id: String,
    pub network_id: String,
    pub mac_address: String,
    /// `172.24.4.10/24`
    pub addresses: Vec<String>,
    pub nexthops: Vec<IpAddr>,
    pub enable_snat: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FloatingIp {
    pub id: String,
    pub floating_ip_address: IpAddr,
    pub fixed_ip_address: IpAddr,
    pub port_id: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroup {
    pub id: String,
    pub stateful: bool,
    pub rules: Vec<SecurityGroupRule>,
    /// Addresses of all ports in the group, cloud-wide: what a rule with this remote group lets in.
    pub members: Vec<IpAddr>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
}
