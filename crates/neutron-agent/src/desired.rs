//! What should exist on this host, as neutron-server last said, and which parts of it changed since the host was last made so.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use rpc::network::{AddressGroup, Change, HostState, Network, Peer, Port, Router, RouterRole, SecurityGroup};

use crate::dhcp;

/// The desired state of the host, by id.
#[derive(Clone, Debug, Default)]
pub struct Desired {
    pub networks: BTreeMap<String, Network>,
    pub ports: BTreeMap<String, Port>,
    pub routers: BTreeMap<String, Router>,
    pub security_groups: BTreeMap<String, SecurityGroup>,
    pub address_groups: BTreeMap<String, AddressGroup>,
}

/// What has to be looked at. Bridges and taps are compared every time; what costs more is named here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dirty {
    /// Compare all that is on the host, also what we believe to be right.
    pub everything: bool,
    /// Something is desired that was not: the firewall may differ.
    pub rules: bool,
    /// Ports, also the cloud's own, came, changed or went.
    pub ports: bool,
    pub networks: BTreeSet<String>,
    pub routers: BTreeSet<String>,
}

impl Dirty {
    pub fn everything() -> Dirty {
        Dirty { everything: true, rules: true, ports: true, ..Dirty::default() }
    }

    pub fn network(&self, id: &str) -> bool {
        self.everything || self.networks.contains(id)
    }

    pub fn router(&self, id: &str) -> bool {
        self.everything || self.routers.contains(id)
    }
}

impl Desired {
    pub fn from_state(state: HostState) -> Desired {
        Desired {
            networks: state.networks.into_iter().map(|n| (n.id.clone(), in_order(n))).collect(),
            ports: state.ports.into_iter().map(|p| (p.id.clone(), p)).collect(),
            routers: state.routers.into_iter().map(|r| (r.id.clone(), r)).collect(),
            security_groups: state.security_groups.into_iter().map(|g| (g.id.clone(), g)).collect(),
            address_groups: state.address_groups.into_iter().map(|g| (g.id.clone(), g)).collect(),
        }
    }

    /// Take in one change, and note what it touches.
    pub fn apply(&mut self, change: Change, dirty: &mut Dirty) {
        // What is known of other hosts' ports is no part of the firewall.
        dirty.rules |= !matches!(change, Change::Peers { .. });
        dirty.ports |= !matches!(change, Change::Peers { .. } | Change::Members { .. });
        match change {
            Change::Network(network) => {
                dirty.networks.insert(network.id.clone());
                dirty.routers.extend(self.routers_of(&network.id));
                self.networks.insert(network.id.clone(), in_order(network));
            }
            Change::NetworkGone(id) => {
                self.networks.remove(&id);
                dirty.networks.insert(id);
            }
            Change::Port(port) => {
                dirty.networks.insert(port.network_id.clone());
                if let Some(old) = self.ports.insert(port.id.clone(), port) {
                    dirty.networks.insert(old.network_id);
                }
            }
            Change::PortGone(id) => {
                if let Some(old) = self.ports.remove(&id) {
                    dirty.networks.insert(old.network_id);
                }
            }
            Change::Router(router) => {
                dirty.routers.insert(router.id.clone());
                self.routers.insert(router.id.clone(), router);
            }
            Change::RouterGone(id) => {
                self.routers.remove(&id);
                dirty.routers.insert(id);
            }
            Change::SecurityGroup(group) => {
                self.security_groups.insert(group.id.clone(), group);
            }
            Change::SecurityGroupGone(id) => {
                self.security_groups.remove(&id);
            }
            Change::AddressGroup(group) => {
                self.address_groups.insert(group.id.clone(), group);
            }
            Change::AddressGroupGone(id) => {
                self.address_groups.remove(&id);
            }
            Change::Peers { network_id, now, gone } => {
                self.change_peers(&network_id, now, &gone);
                dirty.networks.insert(network_id);
            }
            Change::Members { group_id, added, removed } => self.change_members(&group_id, &added, &removed),
        }
    }

    /// The ports of a network that are on this host.
    pub fn ports_of<'a>(&'a self, network_id: &'a str) -> impl Iterator<Item = &'a Port> {
        self.ports.values().filter(move |port| port.network_id == network_id)
    }

    /// What neutron-server waits to hear of, if all goes well: ports, the cloud's own among them, and floating IPs.
    pub fn awaited(&self) -> BTreeSet<String> {
        let guests = self.ports.values().filter(|port| port.admin_state_up).map(|port| &port.id);
        let servers = self.networks.values().filter_map(of_server);
        let routers = self.routers.values().flat_map(of_router);
        guests.chain(servers).chain(routers).cloned().collect()
    }

    /// Whether neutron-server wants to hear of this port or floating IP, up or down.
    pub fn knows(&self, id: &String) -> bool {
        self.ports.contains_key(id)
            || self.networks.values().any(|network| of_server(network) == Some(id))
            || self.routers.values().any(|router| of_router(router).contains(&id))
    }

    /// The routers with a leg in a network.
    pub fn routers_of(&self, network_id: &str) -> Vec<String> {
        let touches = |router: &&Router| {
            router.interfaces.iter().any(|i| i.network_id == network_id)
                || router.gateway.as_ref().is_some_and(|g| g.network_id == network_id)
        };
        self.routers.values().filter(touches).map(|r| r.id.clone()).collect()
    }

    fn change_peers(&mut self, network_id: &str, now: Vec<Peer>, gone: &[String]) {
        let Some(network) = self.networks.get_mut(network_id) else {
            return;
        };
        if !gone.is_empty() {
            network.peers.retain(|peer| !gone.contains(&peer.port_id));
        }
        for peer in now {
            match network.peers.binary_search_by(|known| known.port_id.cmp(&peer.port_id)) {
                Ok(place) => network.peers[place] = peer,
                Err(place) => network.peers.insert(place, peer),
            }
        }
    }

    fn change_members(&mut self, group_id: &str, added: &[IpAddr], removed: &[IpAddr]) {
        let Some(group) = self.security_groups.get_mut(group_id) else {
            return;
        };
        // they are many and change often, a few at a time: kept in order, each finds its place
        if !group.members.is_sorted() {
            group.members.sort_unstable();
        }
        if !removed.is_empty() {
            group.members.retain(|address| !removed.contains(address));
        }
        for address in added {
            if let Err(place) = group.members.binary_search(address) {
                group.members.insert(place, *address);
            }
        }
    }
}

/// With its peers by their ids: they are many and change often, a few at a time, and so each finds its place.
fn in_order(mut network: Network) -> Network {
    network.peers.sort_unstable_by(|a, b| a.port_id.cmp(&b.port_id));
    network
}

/// The port of a network's DHCP server.
pub fn of_server(network: &Network) -> Option<&String> {
    network.dhcp.as_ref().filter(|_| dhcp::served::is_served(network)).map(|dhcp| &dhcp.port_id)
}

/// What works as soon as this host carries a router: its legs and the floating IPs on them; where it only stands by, that it does. A router
/// that is switched off is carried by doing nothing: its floating IPs are down, its ports, as with OVN, are not.
pub fn of_router(router: &Router) -> Vec<&String> {
    let mut all: Vec<&String> = router.ha_port_id.iter().collect();
    if router.role == RouterRole::Active {
        all.extend(router.interfaces.iter().map(|leg| &leg.port_id));
        all.extend(router.gateway.iter().map(|leg| &leg.port_id));
    }
    if router.role == RouterRole::Active && router.admin_state_up {
        all.extend(router.floating_ips.iter().map(|floating| &floating.id));
        all.extend(router.port_forwardings.iter().map(|forward| &forward.floatingip_id));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn a_port_touches_its_network_and_a_network_its_routers() {
        let mut desired = Desired::from_state(fixtures::state());
        let mut dirty = Dirty::default();
        desired.apply(Change::PortGone(fixtures::PORT_A.into()), &mut dirty);
        assert!(dirty.network(fixtures::NET) && !dirty.router(fixtures::ROUTER));
        let network = desired.networks[fixtures::NET].clone();
        desired.apply(Change::Network(network), &mut dirty);
        assert!(dirty.router(fixtures::ROUTER) && !dirty.everything);
    }

    #[test]
    fn ports_of_a_router_that_is_switched_off_are_up_and_its_floating_ips_down() {
        let mut desired = Desired::from_state(fixtures::state());
        let router = fixtures::router();
        let (leg, floating) = (&router.interfaces[0].port_id, &router.floating_ips[0].id);
        assert!(desired.awaited().is_superset(&BTreeSet::from([leg.clone(), floating.clone()])));
        let off = Router { admin_state_up: false, ..router.clone() };
        desired.apply(Change::Router(off), &mut Dirty::default());
        assert!(desired.awaited().contains(leg) && !desired.awaited().contains(floating));
    }

    #[test]
    fn peers_come_change_and_go() {
        let mut desired = Desired::from_state(fixtures::state());
        let peer = |id: &str, mac: &str| Peer { port_id: id.into(), mac_address: mac.into(), ..Peer::default() };
        let mut change = |now: Vec<Peer>, gone: &[&str]| {
            let gone = gone.iter().map(|id| (*id).to_owned()).collect();
            desired.apply(Change::Peers { network_id: fixtures::NET.into(), now, gone }, &mut Dirty::default());
            let peers = desired.networks[fixtures::NET].peers.iter();
            peers.filter(|peer| peer.port_id.len() == 2).map(|peer| peer.mac_address.clone()).collect::<Vec<_>>()
        };
        assert_eq!(change(vec![peer("p2", "2"), peer("p1", "1")], &[]), ["1", "2"]);
        assert_eq!(change(vec![peer("p3", "3"), peer("p1", "one")], &["p2"]), ["one", "3"]);
    }

    #[test]
    fn members_come_and_go() {
        let mut desired = Desired::from_state(fixtures::state());
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let change =
            Change::Members { group_id: fixtures::GROUP.into(), added: vec![address("10.1.0.99")], removed: vec![address("10.1.0.11")] };
        desired.apply(change, &mut Dirty::default());
        let members = &desired.security_groups[fixtures::GROUP].members;
        assert_eq!(members, &[address("10.1.0.12"), address("10.1.0.99")]);
    }
}
