//! Security groups, in the inet family, on the packets that br_netfilter shows: stateful, and what no rule lets in is dropped.
//!
//! A group is two chains, two sets of its members' addresses and two of the prefixes among them, an address group two sets of prefixes; a port
//! is two chains that jump to its groups. So a changed rule rewrites one chain however many ports use the group, and a new member is one set
//! element.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use rpc::network::Port;

use super::rules;
use crate::desired::Desired;
use crate::host::nft::Table;
use crate::linuxbridge::numbers::Numbers;
use crate::names;

pub const GROUPS: &str = "cumulo_groups";

pub fn table(desired: &Desired, numbers: &Numbers) -> Table {
    let mut table = Table::new("inet", GROUPS);
    let zones: BTreeMap<String, String> =
        desired.networks.keys().filter_map(|id| Some((format!("\"{}\"", names::bridge(id)), numbers.network(id)?.to_string()))).collect();
    table.set("bridges", "type ifname;", zones.keys().cloned());
    table.map("zones", "typeof iifname : ct zone;", zones);
    let ports: Vec<(u16, &Port)> =
        desired.ports.values().filter(|port| port.port_security_enabled).filter_map(|port| Some((numbers.port(&port.id)?, port))).collect();
    let stateless = ports.iter().filter(|(_, port)| is_stateless(desired, port));
    table.set("stateless", "type mark;", stateless.map(|(number, _)| number.to_string()));
    for (direction, short) in [("ingress", "in"), ("egress", "out")] {
        let jumps = ports.iter().map(|(number, _)| (number.to_string(), format!("jump port-{number}-{short}")));
        table.map(direction_map(direction), "type mark : verdict;", jumps);
        for (number, port) in &ports {
            let groups: BTreeSet<&String> = port.security_groups.iter().filter(|id| desired.security_groups.contains_key(*id)).collect();
            let jumps = groups.iter().map(|id| format!("jump group-{id}-{short}"));
            table.chain(format!("port-{number}-{short}"), jumps.collect());
        }
        for group in desired.security_groups.values() {
            table.chain(format!("group-{}-{short}", group.id), rules::compile(&group.rules, direction));
        }
    }
    add_members(&mut table, desired);
    add_address_groups(&mut table, desired);
    add_hooks(&mut table);
    table
}

fn is_stateless(desired: &Desired, port: &Port) -> bool {
    let mut groups = port.security_groups.iter().filter_map(|id| desired.security_groups.get(id)).peekable();
    groups.peek().is_some() && groups.all(|group| !group.stateful)
}

fn direction_map(direction: &str) -> String {
    format!("{direction}-ports")
}

/// Also of groups that are only named as remote: the rules need the sets, empty or not.
fn add_members(table: &mut Table, desired: &Desired) {
    let named = desired.security_groups.values().flat_map(|g| g.rules.iter().filter_map(|r| r.remote_group_id.as_ref()));
    let all: BTreeSet<&String> = desired.security_groups.keys().chain(named).collect();
    for id in all {
        let members = desired.security_groups.get(id).map(|g| g.members.as_slice()).unwrap_or_default();
        for (ipv6, spec) in [(false, "type ipv4_addr;"), (true, "type ipv6_addr;")] {
            let own = members.iter().filter(|address| address.is_ipv6() == ipv6).map(IpAddr::to_string);
            table.set(rules::members(id, ipv6), spec, own);
        }
        let prefixes = desired.security_groups.get(id).map(|g| g.member_prefixes.as_slice()).unwrap_or_default();
        add_prefixes(table, prefixes, |ipv6| rules::prefixes(id, ipv6));
    }
}

/// Also of groups that we were not told of.
fn add_address_groups(table: &mut Table, desired: &Desired) {
    let named = desired.security_groups.values().flat_map(|g| g.rules.iter().filter_map(|r| r.remote_address_group_id.as_ref()));
    let all: BTreeSet<&String> = desired.address_groups.keys().chain(named).collect();
    for id in all {
        let addresses = desired.address_groups.get(id).map(|g| g.addresses.as_slice()).unwrap_or_default();
        add_prefixes(table, addresses, |ipv6| rules::addresses(id, ipv6));
    }
}

/// A set of prefixes for each family.
fn add_prefixes(table: &mut Table, prefixes: &[String], name: impl Fn(bool) -> String) {
    let nets: Vec<IpNet> = prefixes.iter().filter_map(|text| rules::network(text)).collect();
    // An interval set has no room for two that overlap.
    let nets = IpNet::aggregate(&nets);
    for (ipv6, spec) in [(false, "type ipv4_addr; flags interval;"), (true, "type ipv6_addr; flags interval;")] {
        let own = nets.iter().filter(|net| net.addr().is_ipv6() == ipv6).map(IpNet::to_string);
        table.set(name(ipv6), spec, own);
    }
}

fn add_hooks(table: &mut Table) {
    let lines = |rules: &[&str]| rules.iter().map(|rule| (*rule).to_owned()).collect::<Vec<_>>();
    table.hook("zones", "type filter hook prerouting priority raw", lines(&["ct zone set iifname map @zones"]));
    table.hook(
        "egress",
        "type filter hook prerouting priority -100",
        lines(&[
            "iifname != @bridges accept",
            "meta mark 0 accept",
            "meta mark != @stateless ct state established,related accept",
            "meta mark != @stateless ct state invalid counter drop",
            "meta nfproto ipv4 udp sport 68 udp dport 67 accept",
            "meta nfproto ipv6 udp sport 546 udp dport 547 accept",
            "icmpv6 type { 130, 131, 132, 133, 135, 136, 143 } accept",
            "meta mark vmap @egress-ports",
            "counter drop",
        ]),
    );
    table.hook(
        "ingress",
        "type filter hook forward priority 0",
        lines(&[
            "iifname != @bridges accept",
            "meta mark 0 accept",
            "meta mark != @stateless ct state established,related accept",
            "meta mark != @stateless ct state invalid counter drop",
            "meta nfproto ipv4 udp sport 67 udp dport 68 accept",
            "meta nfproto ipv6 udp sport 547 udp dport 546 accept",
            "icmpv6 type { 130, 134, 135, 136 } accept",
            "meta mark vmap @ingress-ports",
            "counter drop",
        ]),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::Dirty;
    use crate::fixtures;
    use rpc::network::{AddressGroup, Change};

    fn start() -> (Desired, Numbers, Table) {
        let desired = Desired::from_state(fixtures::state());
        let numbers = Numbers::of(&desired);
        let table = table(&desired, &numbers);
        (desired, numbers, table)
    }

    fn after(desired: &Desired, change: Change) -> Desired {
        let mut new = desired.clone();
        new.apply(change, &mut Dirty::default());
        new
    }

    #[test]
    fn a_port_jumps_to_its_groups() {
        let text = start().2.replace();
        assert!(text.contains("ingress-ports { 1 : jump port-1-in, 2 : jump port-2-in }"), "{text}");
        assert!(text.contains(&format!("port-1-in jump group-{}-in", fixtures::GROUP)));
        assert!(text.contains(&format!("zones {{ \"{}\" : 1", names::bridge(fixtures::NET))), "{text}");
        assert!(text.contains(&format!("ip saddr @members4-{} accept", fixtures::GROUP)));
    }

    #[test]
    fn a_member_is_a_set_element() {
        let (desired, numbers, old) = start();
        let added = vec!["10.1.0.99".parse().unwrap()];
        let new = after(&desired, Change::Members { group_id: fixtures::GROUP.into(), added, removed: vec![] });
        let script = old.diff(&table(&new, &numbers));
        let set = rules::members(fixtures::GROUP, false);
        assert_eq!(script, format!("add element inet {GROUPS} {set} {{ 10.1.0.99 }}\n"));
    }

    #[test]
    fn a_rule_rewrites_one_chain() {
        let (desired, numbers, old) = start();
        let mut group = fixtures::group();
        group.rules.push(fixtures::rule("ingress", Some("tcp"), Some((80, 80))));
        let new = after(&desired, Change::SecurityGroup(group));
        let script = old.diff(&table(&new, &numbers));
        assert_eq!(script.lines().filter(|line| line.starts_with("flush")).count(), 1, "{script}");
        assert!(!script.contains("port-1"));
    }

    #[test]
    fn an_address_group_is_a_set_of_prefixes() {
        let (mut desired, numbers, _) = start();
        let group = desired.security_groups.get_mut(fixtures::GROUP).unwrap();
        group.rules[1].remote_group_id = None;
        group.rules[1].remote_address_group_id = Some("ag".into());
        let with = |addresses: &[&str]| AddressGroup { id: "ag".into(), addresses: addresses.iter().map(|a| (*a).to_owned()).collect() };
        let old = after(&desired, Change::AddressGroup(with(&["10.0.0.0/8", "10.1.0.0/16", "fd00::/8"])));
        let before = table(&old, &numbers);
        assert!(before.replace().contains("addresses4-ag { 10.0.0.0/8 }"), "{}", before.replace());
        let new = after(&old, Change::AddressGroup(with(&["10.0.0.0/8", "192.0.2.1", "fd00::/8"])));
        let script = before.diff(&table(&new, &numbers));
        assert_eq!(script, format!("add element inet {GROUPS} addresses4-ag {{ 192.0.2.1/32 }}\n"));
    }

    #[test]
    fn prefixes_among_the_members_are_in_sets_of_their_own() {
        let (desired, numbers, old) = start();
        let group = rpc::network::SecurityGroup { member_prefixes: vec!["10.9.0.0/24".into()], ..fixtures::group() };
        let script = old.diff(&table(&after(&desired, Change::SecurityGroup(group)), &numbers));
        let set = rules::prefixes(fixtures::GROUP, false);
        assert_eq!(script, format!("add element inet {GROUPS} {set} {{ 10.9.0.0/24 }}\n"));
    }
}
