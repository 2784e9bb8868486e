//! Anti-spoofing, in the bridge family: a frame leaves a port only with the port's MAC and addresses, in ARP and neighbour discovery too; no
//! guest plays DHCP server or router. The frame is marked with the port's number, for [`super::groups`].

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use rpc::compute::tap_name;
use rpc::network::Port;

use crate::desired::Desired;
use crate::host::mac::Mac;
use crate::host::nft::Table;
use crate::linuxbridge::numbers::Numbers;

pub const IDENTITY: &str = "cumulo_ports";

/// Before br_netfilter (priority 0), which would show the packet to the inet family without its port.
const PREROUTING: &str = "type filter hook prerouting priority -350";
const FORWARD: &str = "type filter hook forward priority -200";
const INPUT: &str = "type filter hook input priority -200";

/// `links`: all links in bridges of ours, taps included.
pub fn table(desired: &Desired, numbers: &Numbers, links: &BTreeSet<String>) -> Table {
    let mut table = Table::new("bridge", IDENTITY);
    let tags = |port: &Port| desired.networks.get(&port.network_id).is_some_and(|network| network.vlan_transparent);
    let secured: Vec<Secured> = desired.ports.values().filter_map(|port| Secured::new(port, numbers, tags(port))).collect();
    let each = |rows: fn(&Secured) -> Vec<String>| secured.iter().flat_map(rows).collect::<Vec<_>>();

    table.set("links", "type ifname;", links.iter().map(|link| format!("\"{link}\"")));
    table.set("taps", "type ifname;", secured.iter().map(|port| port.tap.clone()));
    let transparent = secured.iter().filter(|port| port.transparent);
    let tagged = transparent.clone().next().map(|_| TAGGED);
    table.set("transparent", "type ifname;", transparent.map(|port| port.tap.clone()));
    table.map("numbers", "type ifname : mark;", secured.iter().map(|p| (p.tap.clone(), p.number.to_string())));
    table.set("macs", "type ifname . ether_addr;", each(Secured::macs));
    table.set("ipv4", "type ifname . ether_addr . ipv4_addr;", each(Secured::ipv4));
    table.set("ipv6", "type ifname . ether_addr . ipv6_addr;", each(Secured::ipv6));
    table.set("targets", "typeof iifname . @th,64,128;", each(Secured::targets));
    let prefixed = secured.iter().filter(|port| !port.prefixes.is_empty());
    table.map("pairs", "type ifname : verdict;", prefixed.clone().map(|p| (p.tap.clone(), format!("jump {}", p.chain()))));
    for port in prefixed {
        table.chain(port.chain(), port.pair_rules());
    }

    let lines = |rules: &[&str]| rules.iter().map(|rule| (*rule).to_owned()).collect::<Vec<_>>();
    table.hook("prerouting", PREROUTING, lines(&["iifname @taps jump from-port", "iifname @links meta mark set 0"]));
    table.hook("forward", FORWARD, lines(&["oifname @taps meta mark set oifname map @numbers accept", "oifname @links meta mark set 0"]));
    // The host itself is not on tenants' networks: nothing of theirs may reach it through a bridge.
    table.hook("input", INPUT, lines(&["iifname @links counter drop"]));
    table.chain("from-port", lines(&[MAC].into_iter().chain(tagged).chain(FROM_PORT).collect::<Vec<_>>()));
    table.chain("advertisement", lines(&ADVERTISEMENT));
    table.chain("mine", lines(&["meta mark set iifname map @numbers", "accept"]));
    table
}

const MAC: &str = "iifname . ether saddr != @macs counter drop";

/// A network of the guests' own, but for tag 0, which is none. Asked only where there are such ports.
const TAGGED: &str = "iifname @transparent vlan id != 0 goto mine";

const FROM_PORT: [&str; 12] = [
    "ether type arp iifname . arp saddr ether . arp saddr ip @ipv4 goto mine",
    // an address probe
    "ether type arp arp saddr ip 0.0.0.0 iifname . arp saddr ether @macs goto mine",
    "ether type ip ip saddr 0.0.0.0 udp sport 68 udp dport 67 goto mine",
    "ether type ip udp sport 67 udp dport 68 counter drop",
    "ether type ip iifname . ether saddr . ip saddr @ipv4 goto mine",
    "ether type ip6 icmpv6 type nd-router-advert counter drop",
    "ether type ip6 udp sport 547 udp dport 546 counter drop",
    "ether type ip6 icmpv6 type nd-neighbor-advert jump advertisement",
    // before an IPv6 guest has an address: duplicate address detection, router solicitation, multicast reports
    "ether type ip6 ip6 saddr :: icmpv6 type { 131, 132, 133, 135, 143 } goto mine",
    "ether type ip6 iifname . ether saddr . ip6 saddr @ipv6 goto mine",
    "iifname vmap @pairs",
    "counter drop",
];

/// A neighbour advertisement speaks for its target, not for its source.
const ADVERTISEMENT: [&str; 3] = ["iifname . @th,64,128 @targets goto mine", "iifname vmap @pairs", "counter drop"];

/// A port with port security: what may come out of its tap.
struct Secured {
    tap: String,
    number: u16,
    mac: Mac,
    /// Do frames pass that have tags of the guest's own?
    transparent: bool,
    /// (MAC, address)
    exact: Vec<(Mac, IpAddr)>,
    /// Allowed address pairs that are more than one address; these are rules, the rest are set elements.
    prefixes: Vec<(Mac, IpNet)>,
}

impl Secured {
    fn new(port: &Port, numbers: &Numbers, transparent: bool) -> Option<Secured> {
        if !port.port_security_enabled {
            return None;
        }
        let number = numbers.port(&port.id)?;
        let mac: Mac = port.mac_address.parse().ok()?;
        let mut exact: Vec<(Mac, IpAddr)> = port.fixed_ips.iter().map(|ip| (mac, ip.ip_address)).collect();
        let mut prefixes = vec![];
        for pair in &port.allowed_address_pairs {
            let mac = pair.mac_address.as_deref().and_then(|text| text.parse().ok()).unwrap_or(mac);
            match super::rules::network(&pair.ip_address) {
                Some(net) if net.prefix_len() == net.max_prefix_len() => exact.push((mac, net.addr())),
                Some(net) => prefixes.push((mac, net)),
                None => tracing::warn!(port = port.id, pair = pair.ip_address, "an address pair that is no address"),
            }
        }
        exact.push((mac, mac.link_local().into()));
        Some(Secured { tap: format!("\"{}\"", tap_name(&port.id)), number, mac, transparent, exact, prefixes })
    }

    fn chain(&self) -> String {
        format!("pairs-{}", self.number)
    }

    fn macs(&self) -> Vec<String> {
        let pairs = self.exact.iter().map(|(mac, _)| mac).chain(self.prefixes.iter().map(|(mac, _)| mac));
        let macs: BTreeSet<&Mac> = pairs.chain([&self.mac]).collect();
        macs.into_iter().map(|mac| format!("{} . {mac}", self.tap)).collect()
    }

    fn ipv4(&self) -> Vec<String> {
        let own = self.exact.iter().filter(|(_, ip)| ip.is_ipv4());
        own.map(|(mac, ip)| format!("{} . {mac} . {ip}", self.tap)).collect()
    }

    fn ipv6(&self) -> Vec<String> {
        let own = self.exact.iter().filter(|(_, ip)| ip.is_ipv6());
        own.map(|(mac, ip)| format!("{} . {mac} . {ip}", self.tap)).collect()
    }

    fn targets(&self) -> Vec<String> {
        let own = self.exact.iter().filter_map(|(_, ip)| match ip {
            IpAddr::V6(ip) => Some(u128::from(*ip)),
            IpAddr::V4(_) => None,
        });
        own.map(|ip| format!("{} . {ip:#034x}", self.tap)).collect()
    }

    fn pair_rules(&self) -> Vec<String> {
        let rules = self.prefixes.iter().map(|(mac, net)| match net {
            IpNet::V4(net) => vec![
                format!("ether type arp arp saddr ether {mac} arp saddr ip {net} goto mine"),
                format!("ether type ip ether saddr {mac} ip saddr {net} goto mine"),
            ],
            IpNet::V6(net) => vec![format!("ether type ip6 ether saddr {mac} ip6 saddr {net} goto mine")],
        });
        rules.flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;
    use rpc::network::AddressPair;

    fn compiled(change: impl FnOnce(&mut Port)) -> String {
        let mut desired = Desired::from_state(fixtures::state());
        change(desired.ports.get_mut(fixtures::PORT_A).unwrap());
        let numbers = Numbers::of(&desired);
        table(&desired, &numbers, &BTreeSet::from(["cut11111111-11".to_owned()])).replace()
    }

    #[test]
    fn a_port_has_its_mac_addresses_and_number() {
        let text = compiled(|_| {});
        assert!(text.contains("numbers { \"cut11111111-11\" : 1, \"cut22222222-22\" : 2 }"), "{text}");
        assert!(text.contains("\"cut11111111-11\" . fa:16:3e:00:01:11 . 10.1.0.11"));
        assert!(text.contains("\"cut11111111-11\" . fa:16:3e:00:01:11 . fe80::f816:3eff:fe00:111"));
        assert!(text.contains("\"cut11111111-11\" . 0xfe80000000000000f8163efffe000111"));
    }

    #[test]
    fn without_port_security_there_is_nothing_to_check() {
        let text = compiled(|port| port.port_security_enabled = false);
        assert!(text.contains("taps { \"cut22222222-22\" }"), "{text}");
        assert!(!text.contains("fa:16:3e:00:01:11"));
    }

    #[test]
    fn tags_pass_where_a_network_is_transparent() {
        let mut state = fixtures::state();
        let text = |state: rpc::network::HostState| {
            let desired = Desired::from_state(state);
            table(&desired, &Numbers::of(&desired), &BTreeSet::new()).replace()
        };
        assert!(!text(state.clone()).contains("vlan id"));
        state.networks[0].vlan_transparent = true;
        let text = text(state);
        assert!(
            text.contains("transparent { \"cut11111111-11\", \"cut22222222-22\" }") && text.contains("vlan id != 0 goto mine"),
            "{text}"
        );
    }

    #[test]
    fn pairs_of_one_address_are_elements_and_prefixes_are_rules() {
        let pair = |ip: &str, mac: Option<&str>| AddressPair { ip_address: ip.into(), mac_address: mac.map(Into::into) };
        let text = compiled(|port| {
            port.allowed_address_pairs = vec![pair("10.1.0.77", None), pair("10.9.0.0/16", Some("fa:16:3e:00:00:99"))];
        });
        assert!(text.contains("\"cut11111111-11\" . fa:16:3e:00:01:11 . 10.1.0.77"));
        assert!(text.contains("pairs { \"cut11111111-11\" : jump pairs-1 }"));
        assert!(text.contains("pairs-1 ether type ip ether saddr fa:16:3e:00:00:99 ip saddr 10.9.0.0/16 goto mine"));
    }

    #[test]
    fn text_that_is_no_mac_never_reaches_nft() {
        let text = compiled(|port| port.mac_address = "x } delete table".into());
        assert!(!text.contains("delete table }") && text.contains("taps { \"cut22222222-22\" }"));
    }
}
