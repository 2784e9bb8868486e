//! What a router does to traffic beside passing it on: limits of floating IPs and of the gateway, and counters for metering labels. One nft
//! table inside its namespace, at a point where inner addresses are seen in both directions.

use std::net::IpAddr;

use ipnet::IpNet;
use rpc::network::{BandwidthLimit, MeteringRule, Qos, Router};
use serde_json::Value;

use crate::Result;
use crate::host::nft::Table;
use crate::linuxbridge::firewall::limits::limit;
use crate::names;

const FORWARD: &str = "type filter hook forward priority -10";

pub const TABLE: &str = "cumulo_traffic";

pub fn table(router: &Router) -> Table {
    let mut table = Table::new("inet", TABLE);
    let Some(gateway) = &router.gateway else {
        return table;
    };
    let outside = names::gateway_inner(&gateway.port_id);
    let mut forward = vec![];
    for (direction, link, peer) in [("ingress", "iifname", "daddr"), ("egress", "oifname", "saddr")] {
        let mut elements = vec![];
        for floating in &router.floating_ips {
            if let (Some(rule), IpAddr::V4(fixed)) = (limit_of(&floating.qos, direction), floating.fixed_ip_address) {
                let chain = format!("floating-{}-{direction}", floating.id);
                table.chain(&chain, vec![rule]);
                elements.push((fixed.to_string(), format!("goto {chain}")));
            }
        }
        let others = limit_of(&gateway.qos, direction);
        if elements.is_empty() && others.is_none() {
            continue;
        }
        // Floating IPs have limits of their own, or none.
        elements.extend(unlimited(router, direction));
        table.map(direction, "type ipv4_addr : verdict;", elements);
        let mut rules = vec![format!("ip {peer} vmap @{direction}")];
        rules.extend(others);
        table.chain(format!("limit-{direction}"), rules);
        forward.push(format!("{link} \"{outside}\" jump limit-{direction}"));
    }
    for label in &router.metering_labels {
        for (direction, link) in [("ingress", "iifname"), ("egress", "oifname")] {
            let counter = counter(&label.id);
            let rules = metering(label.rules.iter().filter(|rule| rule.direction == direction), &counter);
            if !rules.is_empty() {
                let chain = format!("{counter}-{direction}");
                table.counters.insert(counter);
                table.chain(&chain, rules);
                forward.push(format!("{link} \"{outside}\" jump {chain}"));
            }
        }
    }
    if !forward.is_empty() {
        table.hook("forward", FORWARD, forward);
    }
    table
}

fn limit_of(qos: &Qos, direction: &str) -> Option<String> {
    qos.bandwidth_limits.iter().find(|limit: &&BandwidthLimit| limit.direction == direction).map(limit)
}

fn unlimited<'a>(router: &'a Router, direction: &'a str) -> impl Iterator<Item = (String, String)> + 'a {
    let without = router.floating_ips.iter().filter(move |ip| limit_of(&ip.qos, direction).is_none() && ip.fixed_ip_address.is_ipv4());
    without.map(|ip| (ip.fixed_ip_address.to_string(), "return".to_owned()))
}

const COUNTER: &str = "label-";

/// Counts what a label's rules name, in both directions.
fn counter(label: &str) -> String {
    format!("{COUNTER}{label}")
}

/// The labels, packets and bytes of what `nft -j` prints of the counters.
pub fn counted(listing: &str) -> Result<Vec<(String, u64, u64)>> {
    let listing: Value = serde_json::from_str(listing)?;
    let counters = listing["nftables"].as_array().into_iter().flatten().filter_map(|object| object.get("counter"));
    let counted = counters.filter_map(|counter| {
        let label = counter["name"].as_str()?.strip_prefix(COUNTER)?;
        Some((label.to_owned(), counter["packets"].as_u64()?, counter["bytes"].as_u64()?))
    });
    Ok(counted.collect())
}

/// What is excluded is left before anything is counted, and nothing is counted twice.
fn metering<'a>(rules: impl Iterator<Item = &'a MeteringRule>, counter: &str) -> Vec<String> {
    let (excluded, counted): (Vec<_>, Vec<_>) = rules.partition(|rule| rule.excluded);
    let lines = |rules: Vec<&MeteringRule>, verdict: &str| -> Vec<String> {
        rules.into_iter().filter_map(|rule| Some(format!("{}{verdict}", matches(rule)?))).collect()
    };
    let counted = lines(counted, &format!("counter name \"{counter}\" return"));
    if counted.is_empty() { vec![] } else { lines(excluded, "return").into_iter().chain(counted).collect() }
}

fn matches(rule: &MeteringRule) -> Option<String> {
    let mut text = String::new();
    for (peer, prefix) in [("saddr", &rule.source_ip_prefix), ("daddr", &rule.destination_ip_prefix)] {
        let Some(prefix) = prefix else { continue };
        match prefix.parse::<IpNet>().ok()?.trunc() {
            IpNet::V4(net) => text.push_str(&format!("ip {peer} {net} ")),
            IpNet::V6(net) => text.push_str(&format!("ip6 {peer} {net} ")),
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use rpc::network::MeteringLabel;

    use super::*;
    use crate::fixtures;

    fn qos(direction: &str) -> Qos {
        Qos { bandwidth_limits: vec![BandwidthLimit { direction: direction.into(), max_kbps: 8000, max_burst_kbps: 0 }], ..Qos::default() }
    }

    #[test]
    fn a_plain_router_leaves_traffic_alone() {
        let table = table(&fixtures::router());
        assert!(table.chains.is_empty() && table.sets.is_empty());
    }

    #[test]
    fn floating_ips_and_the_gateway_have_limits() {
        let mut router = fixtures::router();
        router.gateway.as_mut().unwrap().qos = qos("egress");
        let text = table(&router).replace();
        assert!(text.contains("egress { 10.1.0.11 : return }"), "a floating IP is none of the gateway's: {text}");
        assert!(text.contains("limit-egress limit rate over 1000000 bytes/second"));
        router.floating_ips[0].qos = qos("ingress");
        let text = table(&router).replace();
        assert!(text.contains(&format!("ingress {{ 10.1.0.11 : goto floating-{}-ingress }}", router.floating_ips[0].id)), "{text}");
        assert!(text.contains("forward iifname \"qg-55555555-55\" jump limit-ingress"));
    }

    #[test]
    fn labels_count_what_is_not_excluded() {
        let mut router = fixtures::router();
        let rule = |excluded, prefix: &str| MeteringRule {
            direction: "egress".into(),
            excluded,
            destination_ip_prefix: Some(prefix.into()),
            ..MeteringRule::default()
        };
        router.metering_labels =
            vec![MeteringLabel { id: "label".into(), rules: vec![rule(false, "0.0.0.0/0"), rule(true, "192.0.2.0/24")] }];
        let text = table(&router).replace();
        let excluded = text.find("label-label-egress ip daddr 192.0.2.0/24 return").unwrap();
        assert!(excluded < text.find("label-label-egress ip daddr 0.0.0.0/0 counter name \"label-label\" return").unwrap());
        assert!(text.contains(" counter label-label { }"));
    }

    #[test]
    fn counters_are_read_as_nft_prints_them() {
        let listing = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}},
            {"counter": {"family": "inet", "name": "label-x", "table": "t", "handle": 3, "packets": 4, "bytes": 336}}]}"#;
        assert_eq!(counted(listing).unwrap(), [("x".to_owned(), 4, 336)]);
    }
}
