//! The DHCP agent: for each network with DHCP a namespace with our port in it, a dnsmasq that knows our ports and nobody else, and fixed
//! neighbours, so that no guest can draw another's answers to itself by ARP.
//!
//! dnsmasq lives on when we end, and is taken over when we start again.

mod dnsmasq;
mod files;
mod options;
pub mod served;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use futures::{StreamExt, TryStreamExt, stream};
use ipnet::IpNet;
use rpc::network::{DhcpPort, Network, Port};

use crate::host::link::{self, Interface};
use crate::host::mac::Mac;
use crate::host::netlink::{Link, Netlink, everywhere};
use crate::host::netns::{Namespaces, Netns};
use crate::{Error, Result};
use crate::{metadata, names};
use files::Paths;

/// Neighbours that are set at once.
const AT_ONCE: usize = 32;

/// The DHCP servers of this host.
pub struct Dhcp {
    state_dir: PathBuf,
    /// Whom to ask for names that are no port's.
    dns_servers: Vec<IpAddr>,
    namespaces: Namespaces,
}

impl Dhcp {
    pub fn new(state_dir: PathBuf, dns_servers: Vec<IpAddr>, namespaces: Namespaces) -> Dhcp {
        Dhcp { state_dir, dns_servers, namespaces }
    }

    /// Serve this network's ports; answers the namespace.
    pub async fn ensure(&self, host: &Netlink, network: &Network, ports: &[&Port]) -> Result<Netns> {
        let dhcp = port(network)?;
        let netns = self.namespaces.ensure(&names::dhcp_namespace(&network.id)).await?;
        let interface = Interface {
            host_end: names::dhcp_host_end(&network.id),
            inner: names::dhcp_inner(&dhcp.port_id),
            bridge: names::bridge(&network.id),
            mac: dhcp.mac_address.clone(),
            mtu: network.mtu,
            addresses: served::server_addresses(network),
        };
        let inner = link::ensure(host, &netns, &interface).await?;
        set_neighbours(&netns, &inner, network, ports).await?;
        let gateways = if self.dns_servers.is_empty() { vec![] } else { served::gateways(network) };
        set_gateways(&netns, gateways).await?;
        let paths = Paths::new(&self.state_dir, &network.id);
        let told = dnsmasq::Told::new(network, ports, &interface.inner, &paths, &self.dns_servers);
        netns.run(move || told.ensure(&paths)).await?;
        Ok(netns)
    }

    /// End the server of a network and remove what was made for it; succeeds when there is nothing.
    pub async fn remove(&self, host: &Netlink, network_id: &str) -> Result<()> {
        let paths = Paths::new(&self.state_dir, network_id);
        crate::host::ruleset::blocking(move || dnsmasq::end(&paths)).await?;
        host.delete(&names::dhcp_host_end(network_id)).await?;
        self.namespaces.remove(&names::dhcp_namespace(network_id))
    }
}

/// Where the metadata service listens in the namespace of a network.
pub fn metadata_place(network: &Network, ports: &[&Port]) -> Result<metadata::Place> {
    let ipv6 = served::has_ipv6(network).then_some(metadata::ADDRESS_6.into());
    Ok(metadata::Place {
        link: names::dhcp_inner(&port(network)?.port_id),
        addresses: [metadata::ADDRESS.into()].into_iter().chain(ipv6).collect(),
        identities: metadata::identities(ports.iter().map(|port| (*port).into())),
    })
}

fn port(network: &Network) -> Result<&DhcpPort> {
    network.dhcp.as_ref().ok_or_else(|| Error::internal("a network without a DHCP port"))
}

/// The ways out of the namespace, and no others.
async fn set_gateways(netns: &Netns, gateways: Vec<IpAddr>) -> Result<()> {
    let inside = netns.netlink().await?;
    let want: Vec<(IpNet, IpAddr)> = gateways.into_iter().map(|gateway| (everywhere(gateway), gateway)).collect();
    let have = inside.routes().await?;
    for (net, hop) in have.iter().filter(|route| !want.contains(route)) {
        inside.delete_route(*net, *hop).await?;
    }
    for (net, hop) in want.iter().filter(|route| !have.contains(route)) {
        inside.add_route(*net, *hop).await?;
    }
    Ok(())
}

/// Each port's address belongs to its MAC, whatever ARP and neighbour discovery say.
async fn set_neighbours(netns: &Netns, inner: &Link, network: &Network, ports: &[&Port]) -> Result<()> {
    let inside = netns.netlink().await?;
    let ipv6 = served::has_ipv6(network);
    let mut want: BTreeMap<IpAddr, Mac> = BTreeMap::new();
    for port in ports {
        if let Ok(mac) = port.mac_address.parse::<Mac>() {
            want.extend(port.fixed_ips.iter().map(|ip| (ip.ip_address, mac)).filter(|(ip, _)| ip.is_ipv4() || ipv6));
            // What DHCPv6 and metadata are asked from; dnsmasq learns the MAC of a guest from it.
            want.extend(ipv6.then(|| (mac.link_local().into(), mac)));
        }
    }
    let have = inside.neighbours(inner.index).await?;
    for address in have.keys().filter(|address| !want.contains_key(address)) {
        inside.delete_neighbour(inner.index, *address).await?;
    }
    let new = want.into_iter().filter(|(address, mac)| have.get(address).is_none_or(|found| found[..] != mac.bytes()));
    let add = |(address, mac): (IpAddr, Mac)| inside.add_neighbour(inner.index, address, mac);
    stream::iter(new).map(Ok).try_for_each_concurrent(AT_ONCE, add).await
}
