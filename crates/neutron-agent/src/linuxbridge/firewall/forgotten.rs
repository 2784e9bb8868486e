//! Which connections have to be forgotten, as what is established stays accepted: all of a port for which a rule, a group or the port itself
//! went; but only those with whoever left, where a remote group or an address group lost some of its members.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use rpc::network::{Port, SecurityGroup};

use super::{addresses, rules};
use crate::desired::Desired;
use crate::host::conntrack::{Doomed, Which};
use crate::host::nft::Table;
use crate::linuxbridge::numbers::Numbers;

/// Connections that may no longer be allowed, by conntrack zone and address of a port.
pub fn forgotten(old: (&Desired, &Table), new: (&Desired, &Table), numbers: &Numbers) -> Which {
    // Many ports share a group, so each is judged once.
    let narrower = old.0.security_groups.values().filter_map(|group| Some((&group.id, lost_by_group(old, new, group)?)));
    let narrower: BTreeMap<&String, Doomed> = narrower.collect();
    let mut out = Which::new();
    for port in old.0.ports.values() {
        let (Some(zone), Some(lost)) = (numbers.network(&port.network_id), lost_by_port(port, new.0, &narrower, numbers)) else {
            continue;
        };
        for address in addresses(port) {
            let all = out.remove(&(zone, address)).into_iter().fold(lost.clone(), Doomed::and);
            out.insert((zone, address), all);
        }
    }
    out
}

/// What a port lost of what was allowed.
fn lost_by_port(port: &Port, new: &Desired, narrower: &BTreeMap<&String, Doomed>, numbers: &Numbers) -> Option<Doomed> {
    let Some(now) = new.ports.get(&port.id) else {
        return Some(Doomed::All);
    };
    if !port.port_security_enabled {
        return now.port_security_enabled.then_some(Doomed::All);
    }
    if !now.port_security_enabled {
        return None;
    }
    let left_a_group = port.security_groups.iter().any(|group| !now.security_groups.contains(group));
    if left_a_group || numbers.port(&port.id).is_none() || addresses(port).iter().any(|address| !addresses(now).contains(address)) {
        return Some(Doomed::All);
    }
    port.security_groups.iter().filter_map(|group| narrower.get(group)).cloned().reduce(Doomed::and)
}

/// What a group no longer lets in or out.
fn lost_by_group(old: (&Desired, &Table), new: (&Desired, &Table), group: &SecurityGroup) -> Option<Doomed> {
    let chains = ["in", "out"].map(|short| format!("group-{}-{short}", group.id));
    if !chains.iter().all(|chain| old.1.rules(chain).iter().all(|rule| new.1.rules(chain).contains(rule))) {
        return Some(Doomed::All);
    }
    let mut left = BTreeSet::new();
    for remote in group.rules.iter().filter_map(|rule| rule.remote_group_id.as_ref()) {
        left.extend(members(old.0, remote).difference(&members(new.0, remote)));
    }
    for named in group.rules.iter().filter_map(|rule| rule.remote_address_group_id.as_ref()) {
        left.extend(prefixes(old.0, named).difference(&prefixes(new.0, named)));
    }
    (!left.is_empty()).then_some(Doomed::With(left))
}

fn members(desired: &Desired, group: &str) -> BTreeSet<IpNet> {
    let group = desired.security_groups.get(group);
    let single = group.into_iter().flat_map(|group| group.members.iter().map(|address: &IpAddr| IpNet::from(*address)));
    let prefixes = group.into_iter().flat_map(|group| group.member_prefixes.iter().filter_map(|text| rules::network(text)));
    single.chain(prefixes).collect()
}

fn prefixes(desired: &Desired, address_group: &str) -> BTreeSet<IpNet> {
    let group = desired.address_groups.get(address_group);
    group.into_iter().flat_map(|group| group.addresses.iter().filter_map(|text| rules::network(text))).collect()
}

#[cfg(test)]
mod tests {
    use rpc::network::{AddressGroup, Change};

    use super::super::groups::table;
    use super::*;
    use crate::desired::Dirty;
    use crate::fixtures;

    fn start() -> (Desired, Numbers) {
        let desired = Desired::from_state(fixtures::state());
        let numbers = Numbers::of(&desired);
        (desired, numbers)
    }

    fn after(desired: &Desired, change: Change) -> Desired {
        let mut new = desired.clone();
        new.apply(change, &mut Dirty::default());
        new
    }

    fn lost(old: &Desired, new: &Desired, numbers: &Numbers) -> Vec<(String, Doomed)> {
        let lost = forgotten((old, &table(old, numbers)), (new, &table(new, numbers)), numbers);
        lost.into_iter().map(|((_, address), doomed)| (address.to_string(), doomed)).collect()
    }

    fn with(peers: &[&str]) -> Doomed {
        Doomed::With(peers.iter().map(|peer| peer.parse().unwrap()).collect())
    }

    #[test]
    fn only_what_lost_something_is_forgotten() {
        let (desired, numbers) = start();
        let all = |address: &str| (address.to_owned(), Doomed::All);
        let mut group = fixtures::group();
        group.rules.push(fixtures::rule("ingress", Some("udp"), None));
        assert!(lost(&desired, &after(&desired, Change::SecurityGroup(group.clone())), &numbers).is_empty());
        group.rules.remove(0);
        let narrower = after(&desired, Change::SecurityGroup(group));
        assert_eq!(lost(&desired, &narrower, &numbers), [all("10.1.0.11"), all("10.1.0.12")]);
        let gone = after(&desired, Change::PortGone(fixtures::PORT_A.into()));
        assert_eq!(lost(&desired, &gone, &numbers), [all("10.1.0.11")]);
    }

    #[test]
    fn a_member_that_leaves_loses_its_own_connections_only() {
        let (desired, numbers) = start();
        let mut group = fixtures::group();
        group.members.push("10.1.0.99".parse().unwrap());
        group.member_prefixes.push("10.9.0.0/24".into());
        let more = after(&desired, Change::SecurityGroup(group));
        let left = Change::Members { group_id: fixtures::GROUP.into(), added: vec![], removed: vec!["10.1.0.99".parse().unwrap()] };
        let each = |doomed: Doomed| [("10.1.0.11".to_owned(), doomed.clone()), ("10.1.0.12".to_owned(), doomed)];
        assert_eq!(lost(&more, &after(&more, left), &numbers), each(with(&["10.1.0.99/32"])));
        let less = after(&more, Change::SecurityGroup(fixtures::group()));
        assert_eq!(lost(&more, &less, &numbers), each(with(&["10.1.0.99/32", "10.9.0.0/24"])));
    }

    #[test]
    fn prefixes_that_leave_an_address_group_lose_theirs() {
        let (mut desired, numbers) = start();
        let group = desired.security_groups.get_mut(fixtures::GROUP).unwrap();
        group.rules[1].remote_group_id = None;
        group.rules[1].remote_address_group_id = Some("ag".into());
        let of = |addresses: &[&str]| AddressGroup { id: "ag".into(), addresses: addresses.iter().map(|a| (*a).to_owned()).collect() };
        let old = after(&desired, Change::AddressGroup(of(&["10.0.0.0/8", "fd00::/8"])));
        let new = after(&old, Change::AddressGroup(of(&["10.0.0.0/8", "192.0.2.1"])));
        assert_eq!(lost(&old, &new, &numbers)[0], ("10.1.0.11".to_owned(), with(&["fd00::/8"])));
        assert!(lost(&desired, &old, &numbers).is_empty());
    }
}
