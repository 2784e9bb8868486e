//! What the agent is told about its host.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use rpc::network::{Bandwidth, Network};

#[derive(Clone, Debug)]
pub struct Config {
    /// The name of this host, as neutron binds ports to it.
    pub host: String,
    /// Everything the agent keeps is in `neutron/` below it.
    pub state_dir: PathBuf,
    /// nova's metadata API.
    pub metadata_upstream: SocketAddr,
    /// Shared with nova: signs the instance ids the proxy passes on.
    pub metadata_secret: String,
    /// Whom our DNS servers ask for names that are no port's, by way of the gateways of their networks; nobody by default.
    pub dnsmasq_dns_servers: Vec<IpAddr>,
    /// Where other hosts send this host's VXLAN frames: an address of the host. Without one, its networks end at the host.
    pub vtep: Option<IpAddr>,
    /// Physical networks of this host, by name; a `flat` network is one of them, a `vlan` one a tag on it.
    pub physical_networks: BTreeMap<String, External>,
    /// How much of physical networks guests may be promised here, by their names.
    pub bandwidths: BTreeMap<String, Bandwidth>,
    /// Packets that guests may be promised, in thousands a second.
    pub packet_rate: Option<u32>,
    /// Hide external networks behind the host's own address, so that guests reach what the host reaches. Needs, and switches on, the host's IP
    /// forwarding; off by default.
    pub masquerade_external: bool,
    /// How often what routers counted under metering labels is read, and how often it is told.
    pub measure_every: Duration,
    pub report_every: Duration,
    /// How often the host is compared with what is desired though nothing happened.
    pub reconcile_every: Duration,
}

/// How the host stands in a physical network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct External {
    /// The host's own addresses there, `172.24.4.1/24`: the gateway of routers.
    pub gateway: Vec<IpNet>,
    /// The host's link to it, given to the cloud whole: it goes into the network's bridge, or carries its tags.
    pub interface: Option<String>,
}

impl Config {
    /// A host named `host` with no physical network.
    pub fn new(host: impl Into<String>, state_dir: impl Into<PathBuf>, metadata_secret: impl Into<String>) -> Config {
        Config {
            host: host.into(),
            state_dir: state_dir.into(),
            metadata_upstream: SocketAddr::from(([127, 0, 0, 1], 8775)),
            metadata_secret: metadata_secret.into(),
            dnsmasq_dns_servers: vec![],
            vtep: None,
            physical_networks: BTreeMap::new(),
            bandwidths: BTreeMap::new(),
            packet_rate: None,
            masquerade_external: false,
            measure_every: Duration::from_secs(30),
            report_every: Duration::from_secs(300),
            reconcile_every: Duration::from_secs(30),
        }
    }

    /// How the host stands in this network, if it is one of its physical networks.
    pub fn external(&self, network: &Network) -> Option<&External> {
        if network.network_type != "flat" {
            return None;
        }
        let external = self.physical_networks.get(network.physical_network.as_deref()?)?;
        (!external.gateway.is_empty()).then_some(external)
    }

    /// The host's links to its physical networks, by their names.
    pub fn interface_mappings(&self) -> BTreeMap<String, String> {
        let linked = self.physical_networks.iter().filter_map(|(name, external)| Some((name.clone(), external.interface.clone()?)));
        linked.collect()
    }

    /// The host's link to the physical network of this one.
    pub fn uplink(&self, network: &Network) -> Option<&str> {
        self.physical_networks.get(network.physical_network.as_deref()?)?.interface.as_deref()
    }

    #[cfg(test)]
    pub fn for_tests() -> Config {
        let mut config = Config::new("host", "/nowhere", "secret");
        let gateway = vec!["172.24.4.1/24".parse().unwrap_or_default()];
        config.physical_networks.insert("public".into(), External { gateway, interface: None });
        config
    }
}
