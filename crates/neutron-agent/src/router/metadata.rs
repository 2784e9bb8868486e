//! Metadata by way of a router: guests of networks without a DHCP server send what is for 169.254.169.254 to their gateway. Each leg has
//! listeners of its own, which know the guests of its network by the addresses that the leg routes; so it does not matter that other
//! networks have the same.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use rpc::network::{Network, Router, RouterInterface, RouterRole};

use super::parse_addresses;
use crate::desired::Desired;
use crate::host::netlink::Netlink;
use crate::host::sysctl;
use crate::metadata::{ADDRESS, ADDRESS_6, Place, identities};
use crate::{Error, Result, names};

/// Where the service listens in the namespace of a router.
pub fn places(desired: &Desired, router: &Router) -> Vec<Place> {
    let place = |leg: &RouterInterface| Some(self::place(desired, leg, desired.networks.get(&leg.network_id)?));
    let works = router.admin_state_up && router.role == RouterRole::Active;
    let places = router.interfaces.iter().filter(|_| works).filter_map(place);
    places.filter(|place| !place.addresses.is_empty()).collect()
}

fn place(desired: &Desired, leg: &RouterInterface, network: &Network) -> Place {
    let routed = parse_addresses(&leg.addresses);
    let ipv4 = routed.iter().any(|net| net.addr().is_ipv4()).then_some(IpAddr::from(ADDRESS));
    let here = desired.ports_of(&network.id).map(Into::into);
    let mut identities = identities(here.chain(network.peers.iter().map(Into::into)));
    identities.retain(|ip, _| is_link_local(*ip) || routed.iter().any(|net| net.contains(ip)));
    Place {
        link: names::router_inner(&leg.port_id),
        addresses: ipv4.into_iter().chain(address_6(leg, network).map(|net| net.addr())).collect(),
        identities,
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

/// The service's IPv6 address is one of the link; a leg has it where no DHCP server has.
pub fn address_6(leg: &RouterInterface, network: &Network) -> Option<IpNet> {
    let served = network.subnets.iter().any(|subnet| subnet.enable_dhcp && subnet.cidr.contains(':'));
    let ipv6 = parse_addresses(&leg.addresses).iter().any(|net| net.addr().is_ipv6());
    (ipv6 && !served).then(|| Ipv6Net::new_assert(ADDRESS_6, 64).into())
}

/// The IPv4 address is the router's own, whichever leg is asked; nobody hears of it by ARP, least of all outside.
pub async fn take_address(inside: &Netlink) -> Result<()> {
    let address = IpNet::from(Ipv4Net::from(ADDRESS));
    let loopback = inside.link("lo").await?.ok_or_else(|| Error::internal("a namespace without a loopback"))?;
    if !inside.addresses(loopback.index).await?.contains(&address) {
        inside.add_address(loopback.index, address).await?;
    }
    Ok(())
}

/// ARP is answered for addresses of the leg alone.
pub fn answer_for_itself(leg: &str) -> Result<()> {
    sysctl::set(&format!("net/ipv4/conf/{leg}/arp_ignore"), "1")
}

#[cfg(test)]
mod tests {
    use rpc::network::Peer;

    use super::*;
    use crate::fixtures;

    #[test]
    fn a_leg_knows_the_guests_of_all_hosts_by_the_addresses_it_routes() {
        let mut state = fixtures::state();
        state.networks[0].peers = vec![Peer {
            mac_address: "fa:16:3e:00:01:99".into(),
            addresses: vec!["10.1.0.99".parse().unwrap(), "10.9.0.99".parse().unwrap()],
            device_id: "far".into(),
            project_id: "tenant".into(),
            ..Peer::default()
        }];
        let desired = Desired::from_state(state);
        let places = places(&desired, &fixtures::router());
        assert_eq!((places.len(), places[0].link.as_str()), (1, "qr-44444444-44"));
        assert_eq!(places[0].addresses, [IpAddr::from(ADDRESS)]);
        let known = |text: &str| places[0].identities.get(&text.parse::<IpAddr>().unwrap()).map(|who| who.instance_id.as_str());
        assert_eq!((known("10.1.0.99"), known("10.9.0.99")), (Some("far"), None));
        assert_eq!((known("10.1.0.11"), known("fe80::f816:3eff:fe00:199")), (Some("server-11"), Some("far")));
    }

    #[test]
    fn the_ipv6_address_is_a_legs_where_it_is_no_dhcp_servers() {
        let mut leg = fixtures::router().interfaces[0].clone();
        let mut network = fixtures::network_6();
        assert_eq!(address_6(&leg, &network), None);
        leg.addresses.push("fd00:1::1/64".into());
        assert_eq!(address_6(&leg, &network), None);
        network.subnets[1].enable_dhcp = false;
        assert_eq!(address_6(&leg, &network).unwrap().to_string(), "fe80::a9fe:a9fe/64");
    }

    #[test]
    fn a_router_that_stands_by_or_is_switched_off_answers_nobody() {
        let desired = Desired::from_state(fixtures::state());
        for router in [Router { role: RouterRole::Standby, ..fixtures::router() }, Router { admin_state_up: false, ..fixtures::router() }] {
            assert_eq!(places(&desired, &router), []);
        }
    }
}
