//! Between neutron-server and the neutron-agent of a host.
//!
//! The server tells a host what should exist there; the agent makes it so and reports. [`FetchState`] is the whole desired
//! state of a host, asked at start and whenever the agent saw a gap in `sequence`; [`Update`] carries what changed since.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::message;

mod qos;
mod router;
mod security;

pub use qos::{BandwidthLimit, MinimumBandwidth, PacketLimit, Qos};
pub use router::{
    AddressScopes, FloatingIp, MeteringLabel, MeteringRule, PortForwarding, Router, RouterGateway, RouterInterface, RouterRole,
};
pub use security::{AddressGroup, SecurityGroup, SecurityGroupRule};

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
message!(FetchState => HostState, "fetch_state", of host);

/// agent -> server: alive, and what it is able to do. Sent every few seconds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Heartbeat {
    pub host: String,
    /// `DHCP agent`, `L3 agent`, `Metadata agent`, `Linux bridge agent`.
    pub agent_types: Vec<String>,
    /// Where other hosts send this host's VXLAN frames; a host without one has no tunnels.
    #[serde(default)]
    pub vtep: Option<IpAddr>,
    /// Provider networks (`physical_network`) the host is joined to.
    #[serde(default)]
    pub physical_networks: Vec<String>,
    /// The host's links to those of them that it has one to.
    #[serde(default)]
    pub interface_mappings: BTreeMap<String, String>,
    /// Those of them of which a share can be promised, and how much there is of each.
    #[serde(default)]
    pub bandwidths: BTreeMap<String, Bandwidth>,
    /// Packets that can be promised to guests, in thousands a second.
    #[serde(default)]
    pub packet_rate: Option<u32>,
}
message!(Heartbeat => (), "heartbeat", of host);

/// What a host's link to a physical network carries, in kbit/s as guests see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bandwidth {
    pub egress_kbps: u32,
    pub ingress_kbps: u32,
}

/// agent -> server: these ports are wired, the cloud's own among them, and these floating IPs lead to theirs (or no longer do). Only then are
/// they ACTIVE.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PortsWired {
    pub host: String,
    pub up: Vec<String>,
    pub down: Vec<String>,
}
message!(PortsWired => (), "ports_wired", of host);

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
    AddressGroup(AddressGroup),
    AddressGroupGone(String),
    /// Ports of a network on other hosts that came, changed or (by id) went; see [`Network::peers`].
    Peers {
        network_id: String,
        now: Vec<Peer>,
        gone: Vec<String>,
    },
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
    /// Address groups that those groups' rules name.
    #[serde(default)]
    pub address_groups: Vec<AddressGroup>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    pub id: String,
    pub project_id: String,
    /// `flat`, `vlan`, `vxlan` or `local`; a `flat` one is the provider network of its `physical_network`, a `vlan` one a tag on it.
    pub network_type: String,
    pub physical_network: Option<String>,
    /// VXLAN id, unique in the cloud, also the number from which the host derives names and conntrack zones; or VLAN tag.
    pub segmentation_id: Option<u32>,
    pub mtu: u32,
    pub external: bool,
    /// Guests may tag their frames: what has a tag is none of the network's own.
    #[serde(default)]
    pub vlan_transparent: bool,
    pub subnets: Vec<Subnet>,
    /// The addresses of the network's DHCP and metadata port on this host, one for each subnet with DHCP.
    pub dhcp: Option<DhcpPort>,
    /// The search domain of its guests, and the domain of their names.
    pub dns_domain: String,
    /// The network's ports on other hosts: where its frames are to be flooded (every VTEP once), which MAC is behind which VTEP, what
    /// ARP and ND may be answered with here, and which names its DNS knows beside those of the local ports.
    #[serde(default)]
    pub peers: Vec<Peer>,
}

/// A port of a network on another host: a guest, a DHCP server, a router's leg.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    pub port_id: String,
    pub mac_address: String,
    pub addresses: Vec<IpAddr>,
    /// Its host's; none when that host has no tunnels or the network needs none.
    pub vtep: Option<IpAddr>,
    /// As [`Port::dns_name`]; empty for parts of the cloud.
    pub dns_name: String,
    /// As [`Port::device_id`], for a router of this host that is asked for metadata; empty for parts of the cloud.
    #[serde(default)]
    pub device_id: String,
    #[serde(default)]
    pub project_id: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhcpPort {
    pub port_id: String,
    pub mac_address: String,
    pub fixed_ips: Vec<FixedIp>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    pub id: String,
    /// `10.0.0.0/24`
    pub cidr: String,
    pub gateway_ip: Option<IpAddr>,
    pub enable_dhcp: bool,
    pub dns_nameservers: Vec<IpAddr>,
    pub host_routes: Vec<Route>,
    /// What the cloud's router advertises: `slaac` (prefix, autonomous), `dhcpv6-stateless` (the same and "other configuration"),
    /// `dhcpv6-stateful` (prefix not autonomous, "managed"); none when another router of the users' does, or nobody.
    #[serde(default)]
    pub ipv6_ra_mode: Option<String>,
    /// How guests come by their addresses: `slaac` and `dhcpv6-stateless` from their MAC, `dhcpv6-stateful` from the cloud's DHCPv6 server,
    /// which in stateless mode gives options only; none: not by the cloud.
    #[serde(default)]
    pub ipv6_address_mode: Option<String>,
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The domain of its name; its network's when empty.
    #[serde(default)]
    pub dns_domain: String,
    /// Options beside those of the subnet, or instead of them.
    #[serde(default)]
    pub extra_dhcp_opts: Vec<DhcpOption>,
    #[serde(default)]
    pub qos: Qos,
    /// The port has no tap of its own: its frames are tagged ones on the tap of a trunk's parent port.
    #[serde(default)]
    pub trunk: Option<TrunkMember>,
}

/// An option for one port's guest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhcpOption {
    /// dnsmasq's name of it, or its number: `tftp-server`, `150`, `mtu`.
    pub name: String,
    pub value: String,
    /// 4 or 6.
    pub ip_version: u8,
}

/// Where a subport's frames come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrunkMember {
    pub parent_port_id: String,
    /// The tag on the parent's tap.
    pub vlan: u16,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressPair {
    /// An address or a prefix.
    pub ip_address: String,
    pub mac_address: Option<String>,
}
