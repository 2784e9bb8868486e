//! Router advertisements: on each leg with IPv6 a task that tells guests the prefixes, how to come by an address, name servers and MTU, now and
//! then and when asked. A message says so for hours, so that guests do not miss us while we start again.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use rpc::network::{Network, RouterInterface, Subnet};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use crate::Result;
use crate::dhcp::served;
use crate::host::icmpv6::{self, Socket};
use crate::host::mac::Mac;
use crate::host::netns::Netns;
use crate::names;

/// Seconds for which the router is one, and for which prefixes are valid and preferred.
const LIFETIME: u16 = 9000;
const VALID: u32 = 86400;
const PREFERRED: u32 = 14400;
/// Between advertisements: at first, then, and at least.
const SOON: Duration = Duration::from_secs(5);
const OFTEN: Duration = Duration::from_secs(200);
const LEAST: Duration = Duration::from_millis(500);
const AT_FIRST: u32 = 3;

/// The advertisements of one router, by leg.
#[derive(Default)]
pub struct Advertisements(BTreeMap<String, (Vec<u8>, AbortOnDropHandle<()>)>);

impl Advertisements {
    /// Have all these legs, named as inside, advertise what is said, and no others.
    pub async fn ensure(&mut self, netns: &Netns, want: BTreeMap<String, Vec<u8>>) -> Result<()> {
        self.0.retain(|leg, (message, task)| want.get(leg) == Some(message) && !task.is_finished());
        for (leg, message) in want {
            if let Entry::Vacant(place) = self.0.entry(leg) {
                let name = place.key().clone();
                let socket = netns.run(move || Socket::open(&name)).await?;
                let task = AbortOnDropHandle::new(tokio::spawn(advertise(socket, message.clone())));
                place.insert((message, task));
            }
        }
        Ok(())
    }
}

async fn advertise(socket: Socket, message: Vec<u8>) {
    let mut next = Instant::now();
    let mut count = 0;
    loop {
        sleep_until(next).await;
        // A leg that is down for a moment is heard later.
        let _ = socket.send_to_all(&message).await;
        count += 1;
        let last = Instant::now();
        next = last + if count < AT_FIRST { SOON } else { OFTEN };
        while let Ok(asked) = timeout_at(next, socket.solicited()).await {
            if asked.is_err() {
                return;
            }
            next = next.min(last + LEAST);
        }
    }
}

/// What the legs of a router in `networks` advertise, by their name inside.
pub fn messages<'a>(interfaces: &'a [RouterInterface], network: impl Fn(&str) -> Option<&'a Network>) -> BTreeMap<String, Vec<u8>> {
    let message = |interface: &'a RouterInterface| {
        let message = message(interface, network(&interface.network_id)?)?;
        Some((names::router_inner(&interface.port_id), message))
    };
    interfaces.iter().filter_map(message).collect()
}

fn message(interface: &RouterInterface, network: &Network) -> Option<Vec<u8>> {
    let mac: Mac = interface.mac_address.parse().ok()?;
    let own: Vec<IpAddr> = interface.addresses.iter().filter_map(|text| Some(text.parse::<ipnet::IpNet>().ok()?.addr())).collect();
    let told: Vec<(&Subnet, ipnet::Ipv6Net, &str)> = network
        .subnets
        .iter()
        .filter_map(|subnet| Some((subnet, subnet.cidr.parse::<ipnet::Ipv6Net>().ok()?, subnet.ipv6_ra_mode.as_deref()?)))
        .filter(|(_, net, _)| own.iter().any(|ip| served::ipv6(*ip).is_some_and(|ip| net.contains(&ip))))
        .collect();
    if told.is_empty() {
        return None;
    }
    let is_gateway = |subnet: &Subnet| subnet.gateway_ip.is_some_and(|ip| own.contains(&ip) || ip == IpAddr::from(mac.link_local()));
    let mode = |wanted: &str| told.iter().any(|(_, _, mode)| *mode == wanted);
    let mut message = icmpv6::advertisement(
        mode("dhcpv6-stateful"),
        mode("dhcpv6-stateful") || mode("dhcpv6-stateless"),
        if told.iter().any(|(subnet, ..)| is_gateway(subnet)) { LIFETIME } else { 0 },
    );
    icmpv6::add_source(&mut message, mac);
    icmpv6::add_mtu(&mut message, network.mtu);
    for (_, net, mode) in &told {
        icmpv6::add_prefix(&mut message, *net, *mode != "dhcpv6-stateful", (VALID, PREFERRED));
    }
    icmpv6::add_name_servers(&mut message, &name_servers(network, &told), VALID);
    Some(message)
}

/// Those of the subnets, or else our DNS where there is one.
fn name_servers(network: &Network, told: &[(&Subnet, ipnet::Ipv6Net, &str)]) -> Vec<Ipv6Addr> {
    let mut servers: Vec<Ipv6Addr> = vec![];
    for (subnet, ..) in told {
        let own: Vec<IpAddr> = match served::subnets(network).find(|served| served.subnet.id == subnet.id) {
            Some(served) => served.name_servers(),
            None => subnet.dns_nameservers.clone(),
        };
        servers.extend(own.into_iter().filter_map(served::ipv6));
    }
    servers.dedup();
    servers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    fn leg() -> RouterInterface {
        let mut leg = fixtures::router().interfaces[0].clone();
        leg.addresses.push("fd00:1::1/64".into());
        leg
    }

    #[test]
    fn managed_subnets_send_guests_to_the_dhcp_server() {
        let message = message(&leg(), &fixtures::network_6()).unwrap();
        // type, flags M and O, lifetime
        assert_eq!((message[0], message[5], u16::from_be_bytes([message[6], message[7]])), (134, 0xc0, LIFETIME));
        assert!(message.windows(4).any(|w| w == [3, 4, 64, 0x80]), "the prefix is on the link, not for addresses");
        assert!(message.ends_with(&"fd00:1::2".parse::<Ipv6Addr>().unwrap().octets()), "our DNS");
    }

    #[test]
    fn slaac_subnets_have_guests_make_addresses() {
        let mut network = fixtures::network_6();
        network.subnets[1].ipv6_ra_mode = Some("slaac".into());
        network.subnets[1].gateway_ip = None;
        network.subnets[1].dns_nameservers = vec!["2001:db8::53".parse().unwrap(), "192.0.2.53".parse().unwrap()];
        let message = message(&leg(), &network).unwrap();
        assert_eq!((message[5], &message[6..8]), (0, &[0, 0][..]), "no default router without a gateway");
        assert!(message.windows(4).any(|w| w == [3, 4, 64, 0xc0]));
        assert!(message.ends_with(&"2001:db8::53".parse::<Ipv6Addr>().unwrap().octets()));
    }

    #[test]
    fn other_legs_are_silent() {
        assert!(message(&fixtures::router().interfaces[0], &fixtures::network_6()).is_none());
        let mut network = fixtures::network_6();
        network.subnets[1].ipv6_ra_mode = None;
        assert!(message(&leg(), &network).is_none());
    }
}
