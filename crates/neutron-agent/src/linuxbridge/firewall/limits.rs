//! Quality of service of ports, in the bridge family: what exceeds a limit of packets is dropped, and what a guest sends is marked; so is what
//! exceeds a limit of bandwidth where [`crate::linuxbridge::shaping`] cannot have it wait. A port costs one map element and a chain for each
//! direction, and others' packets one look-up.

use std::collections::BTreeMap;

use rpc::compute::tap_name;
use rpc::network::{BandwidthLimit, PacketLimit, Qos};

use crate::desired::Desired;
use crate::host::nft::Table;
use crate::linuxbridge::numbers::Numbers;

pub const LIMITS: &str = "cumulo_limits";

/// After port security, and before br_netfilter.
const EGRESS: &str = "type filter hook prerouting priority -300";
const INGRESS: &str = "type filter hook postrouting priority 0";

/// The kernel hands on segments of one connection together, so a smaller burst would let none of them through.
const LEAST_BURST: u64 = 2 * 65536;

pub fn table(desired: &Desired, numbers: &Numbers, shaped: bool) -> Table {
    let mut table = Table::new("bridge", LIMITS);
    let limited = desired.ports.values().filter(|port| !port.qos.is_empty());
    let limited: Vec<_> = limited.filter_map(|port| Some((numbers.port(&port.id)?, port))).collect();
    for (direction, hook, link) in [("egress", EGRESS, "iifname"), ("ingress", INGRESS, "oifname")] {
        let mut elements = BTreeMap::new();
        for (number, port) in &limited {
            let rules = rules(&port.qos, direction, shaped);
            if !rules.is_empty() {
                let chain = format!("port-{number}-{direction}");
                elements.insert(format!("\"{}\"", tap_name(&port.id)), format!("jump {chain}"));
                table.chain(chain, rules);
            }
        }
        let used = !elements.is_empty();
        table.map(direction, "type ifname : verdict;", elements);
        if used {
            table.hook(&format!("{direction}-limits"), hook, vec![format!("{link} vmap @{direction}")]);
        }
    }
    table
}

fn rules(qos: &Qos, direction: &str, shaped: bool) -> Vec<String> {
    let dropping = qos.bandwidth_limits.iter().filter(|limit| limit.direction == direction && !shaped);
    let mut rules: Vec<String> = dropping.map(limit).collect();
    rules.extend(qos.packet_limits.iter().filter(|limit| limit.direction == direction).map(packet_limit));
    if let Some(mark) = qos.dscp_mark.filter(|mark| direction == "egress" && *mark < 64) {
        rules.extend(["ip", "ip6"].map(|ip| format!("ether type {ip} {ip} dscp set {mark}")));
    }
    rules
}

/// What exceeds the limit is dropped.
pub fn limit(limit: &BandwidthLimit) -> String {
    let bytes = |kilobits: u32| u64::from(kilobits) * 1000 / 8;
    let rate = bytes(limit.max_kbps).max(1);
    let wanted = if limit.max_burst_kbps > 0 { bytes(limit.max_burst_kbps) } else { rate * 8 / 10 };
    // The kernel's bucket holds a second's worth already; what it calls burst comes on top.
    let burst = wanted.max(LEAST_BURST).saturating_sub(rate).max(1);
    format!("limit rate over {rate} bytes/second burst {burst} bytes drop")
}

/// The same of packets; segments of one connection that the kernel hands on together are one. Its bucket holds no more than the burst.
fn packet_limit(limit: &PacketLimit) -> String {
    let rate = u64::from(limit.max_kpps.max(1)) * 1000;
    let burst = if limit.max_burst_kpps > 0 { u64::from(limit.max_burst_kpps) * 1000 } else { rate / 10 };
    format!("limit rate over {rate}/second burst {burst} packets drop")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    fn with(qos: Qos) -> Table {
        let mut desired = Desired::from_state(fixtures::state());
        desired.ports.get_mut(fixtures::PORT_A).unwrap().qos = qos;
        table(&desired, &Numbers::of(&desired), false)
    }

    fn bandwidth(direction: &str, max_kbps: u32, max_burst_kbps: u32) -> BandwidthLimit {
        BandwidthLimit { direction: direction.into(), max_kbps, max_burst_kbps }
    }

    #[test]
    fn without_a_policy_there_is_no_hook() {
        let text = with(Qos::default()).replace();
        assert!(!text.contains("hook") && text.contains("map egress"), "{text}");
    }

    #[test]
    fn limits_are_of_bytes_and_leave_room_for_segments() {
        let limits = vec![bandwidth("egress", 8000, 0), bandwidth("ingress", 8000, 12_000)];
        let text = with(Qos { bandwidth_limits: limits, ..Qos::default() }).replace();
        assert!(text.contains("port-1-egress limit rate over 1000000 bytes/second burst 1 bytes drop\n"), "{text}");
        assert!(text.contains("port-1-ingress limit rate over 1000000 bytes/second burst 500000 bytes drop\n"), "{text}");
        assert!(text.contains("ingress { \"cut11111111-11\" : jump port-1-ingress }"));
        assert!(limit(&bandwidth("egress", 100, 0)).contains("burst 118572 bytes"));
    }

    #[test]
    fn what_is_shaped_is_not_dropped() {
        let mut desired = Desired::from_state(fixtures::state());
        let qos = Qos { bandwidth_limits: vec![bandwidth("egress", 8000, 0)], dscp_mark: Some(46), ..Qos::default() };
        desired.ports.get_mut(fixtures::PORT_A).unwrap().qos = qos;
        let text = table(&desired, &Numbers::of(&desired), true).replace();
        assert!(text.contains("dscp set 46") && !text.contains("limit rate"), "{text}");
    }

    #[test]
    fn packets_are_counted_beside_bytes() {
        let packets = vec![PacketLimit { direction: "ingress".into(), max_kpps: 2, max_burst_kpps: 0 }];
        let text = with(Qos { bandwidth_limits: vec![bandwidth("ingress", 8000, 0)], packet_limits: packets, ..Qos::default() }).replace();
        assert!(text.contains("port-1-ingress limit rate over 2000/second burst 200 packets drop\n"), "{text}");
        assert!(text.contains("bytes/second") && !text.contains("port-1-egress"));
    }

    #[test]
    fn what_a_guest_sends_is_marked() {
        let text = with(Qos { dscp_mark: Some(46), ..Qos::default() }).replace();
        assert!(text.contains("port-1-egress ether type ip6 ip6 dscp set 46"), "{text}");
        assert!(!text.contains("port-1-ingress"));
    }
}
