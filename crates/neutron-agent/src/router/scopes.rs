//! Address scopes as one nft table inside a router's namespace: what is in one is not routed into another. What is hidden behind the
//! gateway's address, and what goes by a floating one, passes between them, as it has another address on the other side.

use std::collections::BTreeMap;

use rpc::network::{AddressScopes, Router};

use crate::host::nft::Table;
use crate::names;

const FORWARD: &str = "type filter hook forward priority -5";

pub fn table(router: &Router) -> Table {
    let mut table = Table::new("inet", "cumulo_scopes");
    let mut barriers = barriers("ipv4", legs(router, false, |scopes| &scopes.ipv4));
    barriers.extend(self::barriers("ipv6", legs(router, true, |scopes| &scopes.ipv6)));
    if !barriers.is_empty() {
        table.hook("forward", FORWARD, passages(router).into_iter().chain(barriers).collect());
    }
    table
}

/// The legs that a router has in each scope, by their links' names.
fn legs(router: &Router, ipv6: bool, scope: fn(&AddressScopes) -> &Option<String>) -> BTreeMap<&Option<String>, Vec<String>> {
    let inner = router.interfaces.iter().map(|leg| (names::router_inner(&leg.port_id), &leg.addresses, &leg.address_scopes));
    let outer = router.gateway.iter().map(|leg| (names::gateway_inner(&leg.port_id), &leg.addresses, &leg.address_scopes));
    let mut legs: BTreeMap<&Option<String>, Vec<String>> = BTreeMap::new();
    for (link, addresses, scopes) in inner.chain(outer) {
        if addresses.iter().any(|address| address.contains(':') == ipv6) {
            legs.entry(scope(scopes)).or_default().push(format!("\"{link}\""));
        }
    }
    legs
}

/// None where all legs are in one scope, or all in none.
fn barriers(family: &str, legs: BTreeMap<&Option<String>, Vec<String>>) -> Vec<String> {
    if legs.len() < 2 {
        return vec![];
    }
    let each = legs.into_values().map(|links| links.join(", "));
    each.map(|links| format!("meta nfproto {family} iifname {{ {links} }} oifname != {{ {links} }} counter drop")).collect()
}

fn passages(router: &Router) -> Vec<String> {
    let mut rules = vec!["ct state established,related accept".to_owned(), "ct status dnat accept".to_owned()];
    if let Some(gateway) = &router.gateway {
        let outside = names::gateway_inner(&gateway.port_id);
        let floating: Vec<String> =
            router.floating_ips.iter().map(|ip| ip.fixed_ip_address).filter(|ip| ip.is_ipv4()).map(|ip| ip.to_string()).collect();
        if gateway.enable_snat {
            rules.push(format!("meta nfproto ipv4 oifname \"{outside}\" accept"));
        } else if !floating.is_empty() {
            rules.push(format!("oifname \"{outside}\" ip saddr {{ {} }} accept", floating.join(", ")));
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    fn scope(id: &str) -> AddressScopes {
        AddressScopes { ipv4: Some(id.into()), ipv6: None }
    }

    #[test]
    fn in_one_scope_or_in_none_everything_is_routed() {
        let mut router = fixtures::router();
        assert!(table(&router).chains.is_empty());
        router.interfaces[0].address_scopes = scope("s");
        router.gateway.as_mut().unwrap().address_scopes = scope("s");
        assert!(table(&router).chains.is_empty());
    }

    #[test]
    fn between_scopes_only_what_is_hidden_or_floats_passes() {
        let mut router = fixtures::router();
        router.interfaces[0].address_scopes = scope("s");
        let text = table(&router).replace();
        assert!(text.contains("iifname { \"qr-44444444-44\" } oifname != { \"qr-44444444-44\" } counter drop"), "{text}");
        assert!(text.contains("meta nfproto ipv4 oifname \"qg-55555555-55\" accept"), "{text}");
        router.gateway.as_mut().unwrap().enable_snat = false;
        let text = table(&router).replace();
        assert!(text.contains("oifname \"qg-55555555-55\" ip saddr { 10.1.0.11 } accept"), "{text}");
        assert!(!text.contains("ipv6"), "{text}");
    }
}
