//! One security group rule as nft text. What comes in is parsed and printed again, never pasted, so that no rule can break the ruleset.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use rpc::network::SecurityGroupRule;

/// The rules of one direction of a group, as nft rules. Rules that differ only in their ports become one with a set of ports.
pub fn compile(rules: &[SecurityGroupRule], direction: &str) -> Vec<String> {
    let mut ports: BTreeMap<Subject, Option<Vec<(u16, u16)>>> = BTreeMap::new();
    let mut out = vec![];
    for rule in rules.iter().filter(|rule| rule.direction == direction) {
        let Some(subject) = Subject::parse(rule) else {
            tracing::warn!(rule = rule.id, "a security group rule that cannot be understood is left out");
            continue;
        };
        for subject in subject.in_sets() {
            match (rule.port_range_min, rule.port_range_max) {
                (Some(min), max) if subject.has_ports() => {
                    let range = (min, max.unwrap_or(min).max(min));
                    if let Some(ranges) = ports.entry(subject).or_insert_with(|| Some(vec![])) {
                        ranges.push(range);
                    }
                }
                (Some(kind), code) if subject.is_icmp() => out.push(subject.icmp(kind, code)),
                // all ports: whatever else names ports is included
                _ => {
                    ports.insert(subject, None);
                }
            }
        }
    }
    for (subject, ranges) in ports {
        out.push(match ranges {
            Some(ranges) => subject.with_ports(&merge(ranges)),
            None => subject.text(),
        });
    }
    out.sort();
    out.dedup();
    out
}

/// The name of the set of a group's addresses of one family.
pub fn members(group_id: &str, ipv6: bool) -> String {
    format!("members{}-{group_id}", if ipv6 { 6 } else { 4 })
}

/// The name of the set of the prefixes of one family among a group's members.
pub fn prefixes(group_id: &str, ipv6: bool) -> String {
    format!("prefixes{}-{group_id}", if ipv6 { 6 } else { 4 })
}

/// The name of the set of an address group's prefixes of one family.
pub fn addresses(address_group_id: &str, ipv6: bool) -> String {
    format!("addresses{}-{address_group_id}", if ipv6 { 6 } else { 4 })
}

/// An address or a prefix, if it is one.
pub fn network(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from)).map(|net| net.trunc())
}

/// All of a rule but its ports.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Subject {
    ipv6: bool,
    /// `saddr` of what comes in, `daddr` of what goes out
    peer: &'static str,
    remote: Remote,
    protocol: Option<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Remote {
    Anyone,
    Net(IpNet),
    Group(String),
    /// Prefixes among a group's members.
    Prefixes(String),
    AddressGroup(String),
}

const TCP: u8 = 6;
const UDP: u8 = 17;
const DCCP: u8 = 33;
const SCTP: u8 = 132;
const UDPLITE: u8 = 136;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

impl Subject {
    fn parse(rule: &SecurityGroupRule) -> Option<Subject> {
        let ipv6 = match rule.ethertype.as_str() {
            "IPv4" => false,
            "IPv6" => true,
            _ => return None,
        };
        let remote = match (&rule.remote_group_id, &rule.remote_address_group_id, &rule.remote_ip_prefix) {
            (Some(group), _, _) => Remote::Group(group.clone()),
            (None, Some(group), _) => Remote::AddressGroup(group.clone()),
            (None, None, Some(prefix)) => match network(prefix)? {
                net if matches!(net, IpNet::V6(_)) != ipv6 => return None,
                net if net.prefix_len() == 0 => Remote::Anyone,
                net => Remote::Net(net),
            },
            (None, None, None) => Remote::Anyone,
        };
        let protocol = match rule.protocol.as_deref() {
            None | Some("any" | "") => None,
            Some(name) => Some(protocol(name, ipv6)?),
        };
        let peer = match rule.direction.as_str() {
            "ingress" => "saddr",
            "egress" => "daddr",
            _ => return None,
        };
        Some(Subject { ipv6, peer, remote, protocol })
    }

    /// A remote group is two sets, so that its many addresses are in one that is quick to change.
    fn in_sets(self) -> Vec<Subject> {
        match &self.remote {
            Remote::Group(id) => vec![Subject { remote: Remote::Prefixes(id.clone()), ..self.clone() }, self],
            _ => vec![self],
        }
    }

    fn has_ports(&self) -> bool {
        matches!(self.protocol, Some(TCP | UDP | DCCP | SCTP | UDPLITE))
    }

    fn is_icmp(&self) -> bool {
        matches!(self.protocol, Some(ICMP | ICMPV6))
    }

    fn text(&self) -> String {
        format!("{} accept", self.matches())
    }

    fn with_ports(&self, ranges: &[(u16, u16)]) -> String {
        let ranges: Vec<String> = ranges.iter().map(|(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") }).collect();
        format!("{} th dport {{ {} }} accept", self.matches(), ranges.join(", "))
    }

    fn icmp(&self, kind: u16, code: Option<u16>) -> String {
        let name = if self.protocol == Some(ICMPV6) { "icmpv6" } else { "icmp" };
        let code = code.map(|code| format!(" {name} code {}", code.min(255))).unwrap_or_default();
        format!("{} {name} type {}{code} accept", self.matches(), kind.min(255))
    }

    fn matches(&self) -> String {
        let (ip, family) = if self.ipv6 { ("ip6", "ipv6") } else { ("ip", "ipv4") };
        let mut text = match &self.remote {
            Remote::Anyone => format!("meta nfproto {family}"),
            Remote::Net(net) => format!("{ip} {} {net}", self.peer),
            Remote::Group(id) => format!("{ip} {} @{}", self.peer, members(id, self.ipv6)),
            Remote::Prefixes(id) => format!("{ip} {} @{}", self.peer, prefixes(id, self.ipv6)),
            Remote::AddressGroup(id) => format!("{ip} {} @{}", self.peer, addresses(id, self.ipv6)),
        };
        if let Some(protocol) = self.protocol {
            text.push_str(&format!(" meta l4proto {protocol}"));
        }
        text
    }
}

/// Neutron's names of IP protocols. `icmp` of IPv6 is ICMPv6.
fn protocol(name: &str, ipv6: bool) -> Option<u8> {
    Some(match name.to_ascii_lowercase().as_str() {
        "icmp" if ipv6 => ICMPV6,
        "icmp" => ICMP,
        "icmpv6" | "ipv6-icmp" => ICMPV6,
        "tcp" => TCP,
        "udp" => UDP,
        "sctp" => SCTP,
        "dccp" => DCCP,
        "udplite" => UDPLITE,
        "hopopt" => 0,
        "igmp" => 2,
        "ipip" => 4,
        "egp" => 8,
        "ipv6-encap" => 41,
        "ipv6-route" => 43,
        "ipv6-frag" => 44,
        "rsvp" => 46,
        "gre" => 47,
        "esp" => 50,
        "ah" => 51,
        "ipv6-nonxt" => 59,
        "ipv6-opts" => 60,
        "ospf" => 89,
        "vrrp" => 112,
        "pgm" => 113,
        number => match number.parse().ok()? {
            ICMP if ipv6 => ICMPV6,
            number => number,
        },
    })
}

/// Overlapping and adjoining ranges made one, as nft wants the intervals of a set.
fn merge(mut ranges: Vec<(u16, u16)>) -> Vec<(u16, u16)> {
    ranges.sort_unstable();
    let mut out: Vec<(u16, u16)> = vec![];
    for (min, max) in ranges {
        match out.last_mut() {
            Some(last) if u32::from(min) <= u32::from(last.1) + 1 => last.1 = last.1.max(max),
            _ => out.push((min, max)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::rule;

    #[test]
    fn ports_of_like_rules_become_one_set() {
        let rules = [
            rule("ingress", Some("tcp"), Some((80, 90))),
            rule("ingress", Some("tcp"), Some((22, 22))),
            rule("ingress", Some("6"), Some((85, 100))),
            rule("egress", None, None),
        ];
        assert_eq!(compile(&rules, "ingress"), ["meta nfproto ipv4 meta l4proto 6 th dport { 22, 80-100 } accept"]);
        assert_eq!(compile(&rules, "egress"), ["meta nfproto ipv4 accept"]);
    }

    #[test]
    fn all_ports_swallow_single_ones_in_any_order() {
        let one = rule("ingress", Some("udp"), Some((53, 53)));
        let all = rule("ingress", Some("udp"), None);
        for rules in [[one.clone(), all.clone()], [all, one]] {
            assert_eq!(compile(&rules, "ingress"), ["meta nfproto ipv4 meta l4proto 17 accept"]);
        }
    }

    #[test]
    fn icmp_has_type_and_code() {
        let mut ping = rule("ingress", Some("icmp"), Some((8, 0)));
        assert_eq!(compile(&[ping.clone()], "ingress"), ["meta nfproto ipv4 meta l4proto 1 icmp type 8 icmp code 0 accept"]);
        ping.ethertype = "IPv6".into();
        ping.port_range_min = Some(128);
        ping.port_range_max = None;
        assert_eq!(compile(&[ping], "ingress"), ["meta nfproto ipv6 meta l4proto 58 icmpv6 type 128 accept"]);
    }

    #[test]
    fn remotes_are_prefixes_or_groups() {
        let mut remote = rule("ingress", None, None);
        remote.remote_ip_prefix = Some("10.1.2.3/8".into());
        assert_eq!(compile(&[remote.clone()], "ingress"), ["ip saddr 10.0.0.0/8 accept"]);
        remote.remote_ip_prefix = Some("0.0.0.0/0".into());
        assert_eq!(compile(&[remote.clone()], "ingress"), ["meta nfproto ipv4 accept"]);
        remote.remote_group_id = Some("g".into());
        remote.direction = "egress".into();
        assert_eq!(compile(&[remote.clone()], "egress"), ["ip daddr @members4-g accept", "ip daddr @prefixes4-g accept"]);
        remote.remote_group_id = None;
        remote.remote_address_group_id = Some("a".into());
        assert_eq!(compile(&[remote], "egress"), ["ip daddr @addresses4-a accept"]);
    }

    #[test]
    fn nonsense_opens_nothing() {
        let mut bad = rule("ingress", Some("tcp; accept"), None);
        assert!(compile(&[bad.clone()], "ingress").is_empty());
        bad.protocol = None;
        bad.remote_ip_prefix = Some("fe80::/10".into());
        assert!(compile(&[bad], "ingress").is_empty(), "an IPv4 rule with an IPv6 remote");
    }
}
