//! What to do to the links of the host so that every wanted one is in its bridge: a comparison of what should be with what is, without side
//! effects.

use std::collections::{BTreeMap, BTreeSet};

use rpc::compute::tap_name;
use rpc::network::{Network, Router, RouterRole, TrunkMember};

use super::{peers, shaping};
use crate::config::Config;
use crate::desired::Desired;
use crate::dhcp;
use crate::host::netlink::{Device, Link};
use crate::names;

/// Where a link belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub bridge: String,
    pub mtu: u32,
    /// How to make it, if that is up to layer 2.
    pub made: Option<Made>,
    /// Does the bridge answer neighbour discovery for what is behind it?
    pub suppressed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Made {
    Tunnel(Device),
    /// A tag of another link.
    Tag {
        of: String,
        tag: u16,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Out of its bridge and down: before its rules go.
    Release(String),
    Delete(String),
    AddBridge(String),
    /// Let the inet family see its packets again.
    FilterBridge(String),
    /// MTU and up.
    SetBridge(String, u32),
    AddDevice(String, Device, u32),
    Attach(String, Place),
    Suppress(String, bool),
}

/// All links that should be in bridges of this host, by name.
pub fn places(desired: &Desired, config: &Config) -> BTreeMap<String, Place> {
    let mut out = BTreeMap::new();
    let mut put = |name: String, network_id: &str, made: Option<Made>| {
        if let Some(network) = desired.networks.get(network_id) {
            out.insert(name, Place { bridge: names::bridge(network_id), mtu: network.mtu, made, suppressed: false });
        }
    };
    for port in desired.ports.values().filter(|port| port.admin_state_up) {
        put(tap_name(&port.id), &port.network_id, port.trunk.as_ref().map(tag));
    }
    for network in desired.networks.values() {
        if dhcp::served::is_served(network) {
            put(names::dhcp_host_end(&network.id), &network.id, None);
        }
        if config.external(network).is_some() {
            put(names::external_bridge_end(&network.id), &network.id, None);
        }
        if let Some((name, made)) = uplink(network, config) {
            put(name, &network.id, made);
        }
    }
    for router in desired.routers.values().filter(|router| router.admin_state_up && router.role == RouterRole::Active) {
        for interface in &router.interfaces {
            put(names::router_host_end(&interface.port_id), &interface.network_id, None);
        }
        if let Some(gateway) = &router.gateway {
            put(names::gateway_host_end(&gateway.port_id), &gateway.network_id, None);
        }
    }
    for (id, network) in &desired.networks {
        if let Some(tunnel) = out.get_mut(&names::vxlan(id)) {
            tunnel.suppressed = peers::may_be_answered_for(desired.ports_of(id));
            tunnel.mtu = network.mtu;
        }
    }
    out
}

/// A subport's frames are tagged ones on the tap of the trunk's parent.
fn tag(trunk: &TrunkMember) -> Made {
    Made::Tag { of: tap_name(&trunk.parent_port_id), tag: trunk.vlan }
}

/// How a network leaves the host, if it does.
fn uplink(network: &Network, config: &Config) -> Option<(String, Option<Made>)> {
    match network.network_type.as_str() {
        "vxlan" => {
            let device = Device::Vxlan { vni: network.segmentation_id?, local: config.vtep? };
            Some((names::vxlan(&network.id), Some(Made::Tunnel(device))))
        }
        "vlan" => {
            let tag = Made::Tag { of: config.uplink(network)?.to_owned(), tag: u16::try_from(network.segmentation_id?).ok()? };
            Some((names::vlan(&network.id), Some(tag)))
        }
        "flat" => Some((config.uplink(network)?.to_owned(), None)),
        _ => None,
    }
}

impl Made {
    /// What it comes to on this host; `None` while the link that it is a tag of is not there.
    fn device(&self, links: &BTreeMap<String, Link>) -> Option<Device> {
        match self {
            Made::Tunnel(device) => Some(device.clone()),
            Made::Tag { of, tag } => Some(Device::Vlan { parent: links.get(of)?.index, tag: *tag }),
        }
    }
}

/// Taps that must leave their bridge, because nobody wants them there or their rules are about to go.
pub fn releases(places: &BTreeMap<String, Place>, links: &BTreeMap<String, Link>) -> Vec<Step> {
    let of_ours: BTreeSet<u32> = links.values().filter(|l| names::is_bridge(&l.name)).map(|l| l.index).collect();
    let strays = links.values().filter(|link| {
        let right = places.get(&link.name).and_then(|place| links.get(&place.bridge)).map(|bridge| bridge.index);
        names::is_tap(&link.name) && of_ours.contains(&link.master) && right != Some(link.master)
    });
    // A tag may be wanted for another port at once.
    let step = |link: &Link| if link.device.is_some() { Step::Delete(link.name.clone()) } else { Step::Release(link.name.clone()) };
    strays.map(step).collect()
}

/// Bridges made and repaired, links put where they belong. What does not exist yet is left to whoever makes it.
pub fn wiring(desired: &Desired, places: &BTreeMap<String, Place>, links: &BTreeMap<String, Link>) -> Vec<Step> {
    let mut steps = vec![];
    let mut bridges = BTreeSet::new();
    for network in desired.networks.values() {
        let name = names::bridge(&network.id);
        match links.get(&name) {
            None => steps.extend([Step::AddBridge(name.clone()), Step::SetBridge(name.clone(), network.mtu)]),
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
        place_link(&mut steps, name, place, links);
    }
    let gone = links.keys().filter(|name| names::is_bridge(name) && !bridges.contains(*name));
    steps.extend(gone.map(|name| Step::Delete(name.clone())));
    steps
}

fn place_link(steps: &mut Vec<Step>, name: &str, place: &Place, links: &BTreeMap<String, Link>) {
    let mut link = links.get(name);
    if let Some(made) = &place.made {
        let Some(device) = made.device(links) else { return };
        if link.is_some_and(|link| link.device.as_ref() != Some(&device)) {
            steps.push(Step::Delete(name.to_owned()));
            link = None;
        }
        if link.is_none() {
            steps.push(Step::AddDevice(name.to_owned(), device, place.mtu));
        }
    } else if link.is_none() {
        return;
    }
    let bridge = links.get(&place.bridge).map(|bridge| bridge.index);
    if link.is_none_or(|link| bridge != Some(link.master) || !link.up || link.mtu != place.mtu) {
        steps.push(Step::Attach(name.to_owned(), place.clone()));
    }
    if link.map_or(place.suppressed, |link| link.suppressed != place.suppressed) {
        steps.push(Step::Suppress(name.to_owned(), place.suppressed));
    }
}

/// Links of ours that nobody wants: left over from a crash, or from a change we did not live to finish. Taps are nova-compute's,
/// but for those of subports, which are tags.
pub fn leftovers(places: &BTreeMap<String, Place>, desired: &Desired, links: &BTreeMap<String, Link>) -> Vec<Step> {
    let mut wanted: BTreeSet<String> = places.keys().cloned().collect();
    wanted.extend(desired.networks.keys().map(|id| names::bridge(id)));
    wanted.extend(desired.ports.values().filter(|port| shaping::has_detour(port)).map(|port| names::shaper(&port.id)));
    for network in desired.networks.keys() {
        if places.contains_key(&names::external_bridge_end(network)) {
            wanted.insert(names::external(network));
        }
    }
    let is_nova_computes = |link: &Link| names::is_tap(&link.name) && link.device.is_none();
    let unwanted = |link: &&Link| names::is_ours(&link.name) && !is_nova_computes(link) && !wanted.contains(&link.name);
    links.values().filter(unwanted).map(|link| Step::Delete(link.name.clone())).collect()
}

/// Ports whose tap is where it belongs.
pub fn wired<'a>(desired: &'a Desired, places: &BTreeMap<String, Place>, links: &BTreeMap<String, Link>) -> Vec<&'a str> {
    desired.ports.keys().map(String::as_str).filter(|id| is_in_place(&tap_name(id), places, links)).collect()
}

/// Is a link where it belongs?
pub fn is_in_place(name: &str, places: &BTreeMap<String, Place>, links: &BTreeMap<String, Link>) -> bool {
    let (Some(place), Some(link)) = (places.get(name), links.get(name)) else {
        return false;
    };
    link.up && links.get(&place.bridge).is_some_and(|bridge| bridge.up && bridge.index == link.master)
}

/// Whether all legs of a router are where they belong; one that is switched off has none.
pub fn is_carried(router: &Router, places: &BTreeMap<String, Place>, links: &BTreeMap<String, Link>) -> bool {
    let inner = router.interfaces.iter().map(|leg| names::router_host_end(&leg.port_id));
    let outer = router.gateway.iter().map(|leg| names::gateway_host_end(&leg.port_id));
    let legless = router.role == RouterRole::Standby || !router.admin_state_up;
    legless || inner.chain(outer).all(|name| is_in_place(&name, places, links))
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
    fn a_router_is_carried_when_its_legs_are_in_place_or_none_are_wanted() {
        let (desired, places) = setup();
        let mut router = fixtures::router();
        router.gateway = None;
        let (bridge, leg) = (names::bridge(fixtures::NET), names::router_host_end(&router.interfaces[0].port_id));
        let mut links = BTreeMap::from([link(&bridge, 5, 0), link(&leg, 6, 0)]);
        assert!(desired.routers.contains_key(&router.id) && !is_carried(&router, &places, &links));
        links.extend([link(&leg, 6, 5)]);
        assert!(is_carried(&router, &places, &links));
        links.clear();
        router.admin_state_up = false;
        assert!(is_carried(&router, &places, &links));
    }

    #[test]
    fn a_new_tap_and_a_lost_bridge_are_seen() {
        let (desired, places) = setup();
        let bridge = names::bridge(fixtures::NET);
        let tap = tap_name(fixtures::PORT_A);
        let links = BTreeMap::from([link(&tap, 6, 0)]);
        let steps = wiring(&desired, &places, &links);
        let attach = Step::Attach(tap, Place { bridge: bridge.clone(), mtu: 1450, made: None, suppressed: false });
        assert_eq!(steps, [Step::AddBridge(bridge.clone()), Step::SetBridge(bridge, 1450), attach]);
    }

    #[test]
    fn a_tunnel_is_made_and_made_again_when_it_is_another() {
        let (desired, _) = setup();
        let config = Config { vtep: Some("192.0.2.1".parse().unwrap()), ..Config::for_tests() };
        let places = places(&desired, &config);
        let (bridge, tunnel) = (names::bridge(fixtures::NET), names::vxlan(fixtures::NET));
        assert!(places[&tunnel].suppressed);
        let right = Device::Vxlan { vni: 101, local: "192.0.2.1".parse().unwrap() };
        let mut links = BTreeMap::from([link(&bridge, 5, 0), link("cuv99999999-99", 7, 0)]);
        let mut made = vec![
            Step::AddDevice(tunnel.clone(), right.clone(), 1450),
            Step::Attach(tunnel.clone(), places[&tunnel].clone()),
            Step::Suppress(tunnel.clone(), true),
        ];
        assert_eq!(wiring(&desired, &places, &links), made);
        let mut other = link(&tunnel, 6, 5).1;
        other.device = Some(Device::Vxlan { vni: 102, local: "192.0.2.1".parse().unwrap() });
        links.insert(tunnel.clone(), other.clone());
        made.insert(0, Step::Delete(tunnel.clone()));
        assert_eq!(wiring(&desired, &places, &links), made);
        links.insert(tunnel, Link { device: Some(right), suppressed: true, ..other });
        assert!(wiring(&desired, &places, &links).is_empty());
        assert_eq!(leftovers(&places, &desired, &links), [Step::Delete("cuv99999999-99".into())]);
    }

    #[test]
    fn a_subport_is_a_tag_on_its_parents_tap() {
        let (mut desired, _) = setup();
        let (tap, parent) = (tap_name(fixtures::PORT_A), tap_name(fixtures::PORT_B));
        let port = desired.ports.get_mut(fixtures::PORT_A).unwrap();
        port.trunk = Some(TrunkMember { parent_port_id: fixtures::PORT_B.into(), vlan: 7 });
        let places = places(&desired, &Config::for_tests());
        let bridge = names::bridge(fixtures::NET);
        let mut links = BTreeMap::from([link(&bridge, 5, 0)]);
        assert!(wiring(&desired, &places, &links).is_empty(), "without the parent's tap there is none");
        links.extend([link(&parent, 6, 5)]);
        let device = Device::Vlan { parent: 6, tag: 7 };
        let made = [Step::AddDevice(tap.clone(), device.clone(), 1450), Step::Attach(tap.clone(), places[&tap].clone())];
        assert_eq!(wiring(&desired, &places, &links), made);
        links.insert(tap.clone(), Link { device: Some(device), ..link(&tap, 7, 5).1 });
        assert!(wiring(&desired, &places, &links).is_empty());
        desired.ports.remove(fixtures::PORT_A);
        let places = super::places(&desired, &Config::for_tests());
        assert_eq!(leftovers(&places, &desired, &links), [Step::Delete(tap)]);
    }

    #[test]
    fn a_vlan_network_is_a_tag_on_the_hosts_link() {
        let (mut desired, _) = setup();
        let network = desired.networks.get_mut(fixtures::NET).unwrap();
        network.network_type = "vlan".into();
        network.physical_network = Some("public".into());
        let mut config = Config::for_tests();
        config.physical_networks.get_mut("public").unwrap().interface = Some("eth1".into());
        let places = places(&desired, &config);
        let made = places[&names::vlan(fixtures::NET)].made.clone();
        assert_eq!(made, Some(Made::Tag { of: "eth1".into(), tag: 101 }));
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
