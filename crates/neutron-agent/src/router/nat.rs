//! The NAT of a router as one nft table inside its namespace: floating IPs and forwarded ports by maps, everything else behind the gateway's
//! address, but for what is in the address scope of the external network.

use std::collections::BTreeSet;
use std::net::IpAddr;

use rpc::network::{PortForwarding, Router, RouterGateway};

use crate::host::nft::Table;
use crate::names;

/// Came in from the external network; ours within the router's namespace only.
const FROM_OUTSIDE: &str = "0x1";
/// Came from a leg whose addresses are known outside.
const KNOWN_OUTSIDE: &str = "0x2";

/// Protocols with ports.
const PROTOCOLS: [&str; 4] = ["tcp", "udp", "sctp", "dccp"];

pub fn table(router: &Router) -> Table {
    let mut table = Table::new("ip", "cumulo_nat");
    let pairs: Vec<(String, String)> = router
        .floating_ips
        .iter()
        .filter(|ip| ip.floating_ip_address.is_ipv4() && ip.fixed_ip_address.is_ipv4())
        .map(|ip| (ip.floating_ip_address.to_string(), ip.fixed_ip_address.to_string()))
        .collect();
    table.map("floating-in", "type ipv4_addr : ipv4_addr;", pairs.iter().cloned());
    table.map("floating-out", "type ipv4_addr : ipv4_addr;", pairs.into_iter().map(|(floating, fixed)| (fixed, floating)));
    let (mut mark, mut out) = (vec![], vec![]);
    if let Some(gateway) = &router.gateway {
        let outside = names::gateway_inner(&gateway.port_id);
        mark.push(format!("iifname \"{outside}\" meta mark set {FROM_OUTSIDE}"));
        out.push(format!("oifname \"{outside}\" meta mark != {FROM_OUTSIDE} snat to ip saddr map @floating-out"));
        // Inside to a floating IP of this router: the answer has to come back this way too.
        out.push(format!("ct status dnat meta mark != {FROM_OUTSIDE} snat to ip saddr map @floating-out"));
        if let Some(address) = gateway_address(&gateway.addresses) {
            out.push(format!("ct status dnat meta mark != {FROM_OUTSIDE} snat to {address}"));
            let known = known_outside(router, gateway);
            if gateway.enable_snat && known.is_empty() {
                out.push(format!("oifname \"{outside}\" meta mark != {FROM_OUTSIDE} snat to {address}"));
            } else if gateway.enable_snat {
                mark.push(format!("iifname {{ {} }} meta mark set {KNOWN_OUTSIDE}", known.join(", ")));
                out.push(format!("oifname \"{outside}\" meta mark != {{ {FROM_OUTSIDE}, {KNOWN_OUTSIDE} }} snat to {address}"));
            }
        }
    }
    table.hook("outside", "type filter hook prerouting priority mangle", mark);
    let mut to_inside = vec!["dnat to ip daddr map @floating-in".to_owned()];
    for protocol in PROTOCOLS {
        let forwards = router.port_forwardings.iter().filter(|forward| forward.protocol.eq_ignore_ascii_case(protocol)).flat_map(elements);
        table.map(format!("forwards-{protocol}"), "type ipv4_addr . inet_service : ipv4_addr . inet_service;", forwards);
        to_inside.push(format!("dnat ip to ip daddr . {protocol} dport map @forwards-{protocol}"));
    }
    table.hook("prerouting", "type nat hook prerouting priority dstnat", to_inside);
    table.hook("postrouting", "type nat hook postrouting priority srcnat", out);
    table
}

/// Addresses of the outer leg beside its own, so that the kernel answers ARP for them.
pub fn outer_addresses(router: &Router) -> BTreeSet<IpAddr> {
    let floating = router.floating_ips.iter().map(|ip| ip.floating_ip_address);
    floating.chain(router.port_forwardings.iter().map(|forward| forward.floating_ip_address)).filter(IpAddr::is_ipv4).collect()
}

/// Legs in the address scope of the external network: what comes from there keeps its address.
fn known_outside(router: &Router, gateway: &RouterGateway) -> Vec<String> {
    let scope = gateway.address_scopes.ipv4.as_ref();
    let known = router.interfaces.iter().filter(|leg| scope.is_some() && leg.address_scopes.ipv4.as_ref() == scope);
    known.map(|leg| format!("\"{}\"", names::router_inner(&leg.port_id))).collect()
}

/// One element for each port of the range.
fn elements(forward: &PortForwarding) -> Vec<(String, String)> {
    let (IpAddr::V4(outer), IpAddr::V4(inner)) = (forward.floating_ip_address, forward.internal_ip_address) else {
        return vec![];
    };
    let ((from, until), (first, last)) = (forward.external_ports, forward.internal_ports);
    let single = first == last;
    let ports = (from..=until).zip(0u16..).filter_map(|(port, i)| Some((port, if single { first } else { first.checked_add(i)? })));
    ports.map(|(port, to)| (format!("{outer} . {port}"), format!("{inner} . {to}"))).collect()
}

fn gateway_address(addresses: &[String]) -> Option<std::net::Ipv4Addr> {
    addresses.iter().find_map(|address| address.parse::<ipnet::Ipv4Net>().ok()).map(|net| net.addr())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn floating_ips_go_both_ways_and_the_rest_is_hidden() {
        let text = table(&fixtures::router()).replace();
        assert!(text.contains("floating-in { 172.24.4.50 : 10.1.0.11 }"), "{text}");
        assert!(text.contains("floating-out { 10.1.0.11 : 172.24.4.50 }"));
        assert!(text.contains("oifname \"qg-55555555-55\" meta mark != 0x1 snat to 172.24.4.10"));
    }

    #[test]
    fn no_snat_leaves_floating_ips() {
        let mut router = fixtures::router();
        router.gateway.as_mut().unwrap().enable_snat = false;
        let text = table(&router).replace();
        assert!(!text.contains("oifname \"qg-55555555-55\" meta mark != 0x1 snat to 172.24.4.10"));
        assert!(text.contains("snat to ip saddr map @floating-out"));
    }

    #[test]
    fn addresses_of_the_external_networks_scope_are_not_hidden() {
        let mut router = fixtures::router();
        router.gateway.as_mut().unwrap().address_scopes.ipv4 = Some("scope".into());
        assert!(table(&router).replace().contains("oifname \"qg-55555555-55\" meta mark != 0x1 snat to 172.24.4.10"));
        router.interfaces[0].address_scopes.ipv4 = Some("scope".into());
        let text = table(&router).replace();
        assert!(text.contains("outside iifname { \"qr-44444444-44\" } meta mark set 0x2"), "{text}");
        assert!(text.contains("oifname \"qg-55555555-55\" meta mark != { 0x1, 0x2 } snat to 172.24.4.10"), "{text}");
    }

    #[test]
    fn ports_are_forwarded_one_by_one() {
        let mut router = fixtures::router();
        let forward = |protocol: &str, external_ports, internal_ports| PortForwarding {
            id: "forward".into(),
            floatingip_id: "floating".into(),
            floating_ip_address: "172.24.4.60".parse().unwrap(),
            protocol: protocol.into(),
            external_ports,
            internal_ip_address: "10.1.0.12".parse().unwrap(),
            internal_ports,
        };
        router.port_forwardings = vec![forward("tcp", (2222, 2222), (22, 22)), forward("udp", (500, 501), (600, 601))];
        let text = table(&router).replace();
        assert!(text.contains("forwards-tcp { 172.24.4.60 . 2222 : 10.1.0.12 . 22 }"), "{text}");
        assert!(text.contains("forwards-udp { 172.24.4.60 . 500 : 10.1.0.12 . 600, 172.24.4.60 . 501 : 10.1.0.12 . 601 }"), "{text}");
        let addresses: Vec<String> = outer_addresses(&router).iter().map(IpAddr::to_string).collect();
        assert_eq!(addresses, ["172.24.4.50", "172.24.4.60"]);
    }

    #[test]
    fn a_new_floating_ip_is_two_elements() {
        let (old, mut router) = (table(&fixtures::router()), fixtures::router());
        let mut second = router.floating_ips[0].clone();
        second.floating_ip_address = "172.24.4.51".parse().unwrap();
        second.fixed_ip_address = "10.1.0.12".parse().unwrap();
        router.floating_ips.push(second);
        assert_eq!(old.diff(&table(&router)).lines().count(), 2);
    }
}
