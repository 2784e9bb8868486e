//! What to do to the links of the host so that every wanted one is in its bridge: a comparison of what should be with what is, without side
//! effects.

use std::collections::{BTreeMap, BTreeSet};

use rpc::compute::tap_name;

use crate::config::Config;
use crate::desired::Desired;
use crate::dhcp;
use crate::host::netlink::Link;
use crate::names;

/// Where a link belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub bridge: String,
    pub mtu: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Out of its bridge and down: before its rules go.
    Release(String),
    Delete(String),
    AddBridge(String, u32),
    /// Let the inet family see its packets again.
    FilterBridge(String),
    /// MTU and up.
    SetBridge(String, u32),
    Attach(String, Place),
}

/// All links that should be in bridges of this host, by name.
pub fn places(desired: &Desired, config: &Config) -> BTreeMap<String, Place> {
    let mut out = BTreeMap::new();
    let mut put = |name: String, network_id: &str| {
        if let Some(network) = desired.networks.get(network_id) {
            out.insert(name, Place { bridge: names::bridge(network_id), mtu: network.mtu });
        }
    };
    for port in desired.ports.values().filter(|port| port.admin_state_up) {
        put(tap_name(&port.id), &port.network_id);
    }
    for network in desired.networks.values() {
        if dhcp::files::is_served(network) {
            put(names::dhcp_host_end(&network.id), &network.id);
        }
        if config.external(network).is_some() {
            put(names::external_bridge_end(&network.id), &network.id);
        }
    }
    for router in desired.routers.values().filter(|router| router.admin_state_up) {
        for interface in &router.interfaces {
            put(names::router_host_end(&interface.port_id), &interface.network_id);
        }
        if let Some(gateway) = &router.gateway {
            put(names::gateway_host_end(&gateway.port_id), &gateway.network_id);
        }
    }
    out
}

/// Taps that must leave their bridge, because nobody wants them there or their rules are about to go.
pub fn releases(places: &BTreeMap<String, Place>, links: &BTreeMap<String, Link>) -> Vec<Step> {
    let of_ours: BTreeSet<u32> = links.values().filter(|l| names::is_bridge(&l.name)).map(|l| l.index).collect();
    let strays = links.values().filter(|link| {
        let right = places.get(&link.name).and_then(|place| links.get(&place.bridge)).map(|bridge| bridge.index);
        names::is_tap(&link.name) && of_ours.contains(&link.master) && right != Some(link.master)
    });
    strays.map(|link| Step::Release(link.name.clone())).collect()
}

/// Bridges made and repaired, links put where they belong. What does not exist yet is left to whoever makes it.
pub fn wiring(desired: &Desired, places: &BTreeMap<String, Place>, links: &BTreeMap<String, Link>) -> Vec<Step> {
    let mut steps = vec![];
    let mut bridges = BTreeSet::new();
    for network in desired.networks.values() {
        let name = names::bridge(&network.id);
        match links.get(&name) {
            None => steps.extend([Step::AddBridge(name.clone(), network.mtu), Step::SetBridge(name.clone(), network.mtu)]),
            Some(link) => {
                if !link.filtered {
                    steps.push(Step::FilterBridge(name.clone()));
                }
                if !link.up || link.mtu != network.mtu {
                    steps.push(Step::SetBridge(name.clone(), network.mtu));
                }
            }
        }
        bridges.insert(name);
    }
    for (name, place) in places {
        let Some(link) = links.get(name) else { continue };
        let bridge = links.get(&place.bridge).map(|bridge| bridge.index);
        if bridge != Some(link.master) || !link.up || link.mtu != place.mtu {
            steps.push(Step::Attach(name.clone(), place.clone()));
        }
    }
    let gone = links.keys().filter(|name| names::is_bridge(name) && !bridges.contains(*name));
    steps.extend(gone.map(|name| Step::Delete(name.clone())));
    steps
}

/// Links of ours that nobody wants: left over from a crash, or from a change we did not live to finish. Taps are nova-compute's.
pub fn leftovers(places: &BTreeMap<String, Place>, desired: &Desired, links: &BTreeMap<String, Link>) -> Vec<Step> {
    let mut wanted: BTreeSet<String> = places.keys().cloned().collect();
    wanted.extend(desired.networks.keys().flat_map(|id| [names::bridge(id), names::vxlan(id)]));
    for network in desired.networks.keys() {
        if places.contains_key(&names::external_bridge_end(network)) {
            wanted.insert(names::external(network));
        }
    }
    let unwanted = |name: &&String| names::is_ours(name) && !names::is_tap(name) && !wanted.contains(*name);
    links.keys().filter(unwanted).map(|name| Step::Delete(name.clone())).collect()
}

/// Ports whose tap is where it belongs.
pub fn wired<'a>(desired: &'a Desired, places: &BTreeMap<String, Place>, links: &BTreeMap<String, Link>) -> Vec<&'a str> {
    let is_wired = |id: &str| {
        let name = tap_name(id);
        let (Some(place), Some(link)) = (places.get(&name), links.get(&name)) else {
            return false;
        };
        link.up && links.get(&place.bridge).is_some_and(|bridge| bridge.up && bridge.index == link.master)
    };
    desired.ports.keys().map(String::as_str).filter(|id| is_wired(id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    fn link(name: &str, index: u32, master: u32) -> (String, Link) {
        let link = Link { index, name: name.into(), master, mtu: 1450, up: true, filtered: true, ..Link::default() };
        (name.to_owned(), link)
    }

    fn setup() -> (Desired, BTreeMap<String, Place>) {
        let mut desired = Desired::from_state(fixtures::state());
        desired.networks.remove(fixtures::EXTERNAL);
        let places = places(&desired, &Config::for_tests());
        (desired, places)
    }

    #[test]
    fn everything_has_a_place() {
        let desired = Desired::from_state(fixtures::state());
        let places = places(&desired, &Config::for_tests());
        let names: Vec<&str> = places.keys().map(|name| &name[..3]).collect();
        assert_eq!(names, ["cud", "cug", "cuq", "cut", "cut", "cuy"]);
    }

    #[test]
    fn a_right_host_needs_nothing() {
        let (desired, places) = setup();
        let bridge = names::bridge(fixtures::NET);
        let tap = tap_name(fixtures::PORT_A);
        let links = BTreeMap::from([link(&bridge, 5, 0), link(&tap, 6, 5), link("eth0", 2, 0)]);
        assert!(wiring(&desired, &places, &links).is_empty());
        assert!(releases(&places, &links).is_empty());
        assert_eq!(wired(&desired, &places, &links), [fixtures::PORT_A]);
    }

    #[test]
    fn a_new_tap_and_a_lost_bridge_are_seen() {
        let (desired, places) = setup();
        let bridge = names::bridge(fixtures::NET);
        let tap = tap_name(fixtures::PORT_A);
        let links = BTreeMap::from([link(&tap, 6, 0)]);
        let steps = wiring(&desired, &places, &links);
        let attach = Step::Attach(tap, Place { bridge: bridge.clone(), mtu: 1450 });
        assert_eq!(steps, [Step::AddBridge(bridge.clone(), 1450), Step::SetBridge(bridge, 1450), attach]);
    }

    #[test]
    fn only_ours_is_removed_and_a_tap_only_released() {
        let (mut desired, _) = setup();
        desired.ports.clear();
        desired.routers.clear();
        let places = places(&desired, &Config::for_tests());
        let bridge = names::bridge(fixtures::NET);
        let tap = tap_name(fixtures::PORT_A);
        let links = BTreeMap::from([
            link(&bridge, 5, 0),
            link(&tap, 6, 5),
            link("cuq44444444-44", 7, 5),
            link("docker0", 8, 0),
            link("cub99999999-99", 9, 0),
        ]);
        assert_eq!(releases(&places, &links), [Step::Release(tap)]);
        assert_eq!(wiring(&desired, &places, &links), [Step::Delete("cub99999999-99".into())]);
        let deleted = leftovers(&places, &desired, &links);
        assert_eq!(deleted, [Step::Delete("cub99999999-99".into()), Step::Delete("cuq44444444-44".into())]);
    }
}
