//! The network's ports on other hosts: where a VXLAN device sends which frames, and what the bridge answers in their stead, so that neither
//! unknown addresses nor ARP cross the wire when neutron-server knows better.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use rpc::network::{Network, Port};

use crate::Result;
use crate::host::mac::Mac;
use crate::host::netlink::{Forward, Hop, Link, Netlink};
use crate::host::sysctl;
use crate::names;

/// What should be known of the peers of one network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    pub forwards: BTreeSet<Forward>,
    pub neighbours: BTreeMap<IpAddr, Mac>,
}

impl Known {
    pub fn of(network: &Network) -> Known {
        let mut known = Known::default();
        for peer in &network.peers {
            let (Some(vtep), Ok(mac)) = (peer.vtep, peer.mac_address.parse::<Mac>()) else {
                continue;
            };
            let ways = [Forward::flood(vtep), Forward::to(mac.bytes(), Hop::Host(vtep)), Forward::to(mac.bytes(), Hop::Link)];
            known.forwards.extend(ways);
            known.neighbours.extend(peer.addresses.iter().map(|address| (*address, mac)));
            if peer.addresses.iter().any(IpAddr::is_ipv6) {
                known.neighbours.insert(mac.link_local().into(), mac);
            }
        }
        known
    }
}

/// May the bridge answer for peers? Not where a guest may take over addresses: what it announces must reach the other hosts.
pub fn may_be_answered_for<'a>(mut ports: impl Iterator<Item = &'a Port>) -> bool {
    ports.all(|port| port.port_security_enabled && port.allowed_address_pairs.is_empty())
}

/// What bridges and tunnels of the host know now; looked up once for many networks.
pub struct Found {
    forwards: BTreeMap<u32, BTreeSet<Forward>>,
    neighbours: BTreeMap<u32, BTreeMap<IpAddr, Vec<u8>>>,
}

impl Found {
    pub async fn on(host: &Netlink) -> Result<Found> {
        Ok(Found { forwards: host.forwarding().await?, neighbours: host.all_neighbours().await? })
    }

    /// Make the bridge and the tunnel of this network know its peers, and nothing else. Without a tunnel there is nothing to do.
    pub async fn ensure(&self, host: &Netlink, links: &BTreeMap<String, Link>, network: &Network) -> Result<()> {
        let (Some(tunnel), Some(bridge)) = (links.get(&names::vxlan(&network.id)), links.get(&names::bridge(&network.id))) else {
            return Ok(());
        };
        let mut want = Known::of(network);
        if want.neighbours.keys().any(IpAddr::is_ipv6) && !sysctl::mute_ipv6(&bridge.name) {
            // The bridge floods neighbour discovery then.
            want.neighbours.retain(|address, _| address.is_ipv4());
        }
        let none = BTreeSet::new();
        let have = self.forwards.get(&tunnel.index).unwrap_or(&none);
        for forward in want.forwards.difference(have) {
            host.add_forward(tunnel.index, forward).await?;
        }
        for forward in have.difference(&want.forwards).filter(|old| !want.forwards.iter().any(|new| old.is_replaced_by(new))) {
            host.delete_forward(tunnel.index, forward).await?;
        }
        let none = BTreeMap::new();
        let have = self.neighbours.get(&bridge.index).unwrap_or(&none);
        for (address, mac) in want.neighbours.iter().filter(|(address, mac)| have.get(address).is_none_or(|found| found[..] != mac.bytes()))
        {
            host.add_neighbour(bridge.index, *address, *mac).await?;
        }
        for address in have.keys().filter(|address| !want.neighbours.contains_key(address)) {
            host.delete_neighbour(bridge.index, *address).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rpc::network::Peer;

    use super::*;
    use crate::fixtures;

    fn peer(mac: &str, address: &str, vtep: Option<&str>) -> Peer {
        let addresses = vec![address.parse().unwrap()];
        Peer { mac_address: mac.into(), addresses, vtep: vtep.map(|ip| ip.parse().unwrap()), ..Peer::default() }
    }

    #[test]
    fn every_host_is_flooded_once_and_every_mac_has_its_way() {
        let mut network = fixtures::network();
        network.peers = vec![
            peer("fa:16:3e:00:01:21", "10.1.0.21", Some("192.0.2.2")),
            peer("fa:16:3e:00:01:22", "fd00::22", Some("192.0.2.2")),
            peer("fa:16:3e:00:01:23", "10.1.0.23", Some("192.0.2.3")),
            peer("fa:16:3e:00:01:24", "10.1.0.24", None),
        ];
        let known = Known::of(&network);
        assert_eq!(known.forwards.len(), 2 + 3 * 2);
        assert_eq!(known.neighbours.len(), 4, "an IPv6 guest has a link-local address, too");
        let moved = Forward::to([1; 6], Hop::Host("192.0.2.9".parse().unwrap()));
        assert!(Forward::to([1; 6], Hop::Host("192.0.2.8".parse().unwrap())).is_replaced_by(&moved));
        assert!(!Forward::to([1; 6], Hop::Link).is_replaced_by(&moved));
    }

    #[test]
    fn guests_that_share_addresses_are_not_answered_for() {
        let mut port = fixtures::port(fixtures::PORT_A, 11);
        assert!(may_be_answered_for([&port].into_iter()));
        port.allowed_address_pairs = vec![rpc::network::AddressPair { ip_address: "10.1.0.100".into(), mac_address: None }];
        assert!(!may_be_answered_for([&port].into_iter()));
    }
}
