//! What a host was told, as far as it decides what the host has to hear next.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use rpc::network::{Change, HostState, SecurityGroup};

use super::state;

pub struct Told {
    pub sequence: u64,
    pub heard: Instant,
    /// Ports with their network and groups.
    pub ports: HashMap<String, (String, Vec<String>)>,
    /// Routers with their networks.
    pub routers: HashMap<String, Vec<String>>,
    pub networks: HashSet<String>,
    /// Ports of DHCP servers, with their networks.
    pub served: HashMap<String, String>,
    /// Groups with what their rules name.
    pub groups: HashMap<String, Named>,
    pub address_groups: HashSet<String>,
}

/// Groups and address groups that a group's rules name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    pub groups: Vec<String>,
    pub addresses: Vec<String>,
}

impl Named {
    pub fn by(group: &SecurityGroup) -> Named {
        Named { groups: state::remotes(group), addresses: state::addresses_named(group) }
    }
}

impl Told {
    pub fn from_state(state: &HostState) -> Told {
        Told {
            sequence: state.sequence,
            heard: Instant::now(),
            ports: state.ports.iter().map(|p| (p.id.clone(), (p.network_id.clone(), p.security_groups.clone()))).collect(),
            routers: state.routers.iter().map(|r| (r.id.clone(), state::networks_of(r))).collect(),
            networks: state.networks.iter().map(|network| network.id.clone()).collect(),
            served: state.networks.iter().filter_map(|n| Some((n.dhcp.as_ref()?.port_id.clone(), n.id.clone()))).collect(),
            groups: state.security_groups.iter().map(|g| (g.id.clone(), Named::by(g))).collect(),
            address_groups: state.address_groups.iter().map(|g| g.id.clone()).collect(),
        }
    }

    fn needs_network(&self, id: &String) -> bool {
        self.ports.values().any(|(network, _)| network == id)
            || self.routers.values().any(|networks| networks.contains(id))
            || self.served.values().any(|network| network == id)
    }

    fn needed_groups(&self) -> HashSet<String> {
        let used: HashSet<&String> = self.ports.values().flat_map(|(_, groups)| groups).collect();
        let remote = used.iter().filter_map(|id| self.groups.get(*id)).flat_map(|named| &named.groups);
        used.iter().copied().chain(remote).cloned().collect()
    }

    /// Address groups that the told groups name.
    pub fn needed_addresses(&self) -> HashSet<String> {
        self.groups.values().flat_map(|named| named.addresses.clone()).collect()
    }

    /// Something left: takes back what nothing needs any more.
    pub fn prune(&mut self, all: &mut Vec<Change>) {
        let networks: Vec<String> = self.networks.iter().filter(|id| !self.needs_network(id)).cloned().collect();
        for id in networks {
            self.networks.remove(&id);
            all.push(Change::NetworkGone(id));
        }
        let needed = self.needed_groups();
        let groups: Vec<String> = self.groups.keys().filter(|id| !needed.contains(*id)).cloned().collect();
        for id in groups {
            self.groups.remove(&id);
            all.push(Change::SecurityGroupGone(id));
        }
        let needed = self.needed_addresses();
        let addresses: Vec<String> = self.address_groups.iter().filter(|id| !needed.contains(*id)).cloned().collect();
        for id in addresses {
            self.address_groups.remove(&id);
            all.push(Change::AddressGroupGone(id));
        }
    }
}
