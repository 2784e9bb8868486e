//! IPv6: advertised, leased, routed, filtered.

use std::net::{Ipv6Addr, SocketAddrV6, UdpSocket};
use std::time::Duration;

use crate::cloud::Cloud;
use crate::guest::Guest;
use crate::sandbox::{eventually, sandboxed};
use crate::state::{self, NET_2, PORT_A, PORT_B, PORT_C, SUBNET_6, rule};

#[test]
fn ipv6_is_filtered_and_checked_too() {
    sandboxed("ipv6::ipv6_is_filtered_and_checked_too", async {
        let mut cloud = Cloud::start().await;
        let (a, b) = (Guest::plug(PORT_A), Guest::plug(PORT_B));
        cloud.wired(&[PORT_A, PORT_B]).await;
        let ipv6 = |rule: rpc::network::SecurityGroupRule| rpc::network::SecurityGroupRule { ethertype: "IPv6".into(), ..rule };
        let ping = |from: &str| format!("ping -6 -c 1 -W 1 -I {from} fe80::f816:3eff:fe00:112%eth0");
        let out = ipv6(rule("egress", None, None));
        cloud.set_rules(vec![out.clone()]).await;
        eventually("addresses are there", || a.shell("ip -6 address show eth0").contains("inet6 fe80::f816:3eff:fe00:111")).await;
        assert!(!a.succeeds(&ping("eth0")), "default deny");
        cloud.set_rules(vec![out, ipv6(rule("ingress", Some("icmp"), None))]).await;
        eventually("link-local ping by rule", || a.succeeds(&ping("eth0"))).await;
        a.shell("ip -6 address add fd00::5/64 dev eth0 nodad");
        b.shell("ip -6 address add fd00::6/64 dev eth0 nodad");
        assert!(!a.succeeds("ping -6 -c 1 -W 2 fd00::6"), "addresses that are not the ports'");
        cloud.change_port(PORT_A, |port| port.fixed_ips.push(fixed("fd00::5"))).await;
        cloud.change_port(PORT_B, |port| port.fixed_ips.push(fixed("fd00::6"))).await;
        eventually("fixed IPv6 addresses", || a.succeeds("ping -6 -c 1 -W 1 fd00::6")).await;
    });
}

fn fixed(address: &str) -> rpc::network::FixedIp {
    rpc::network::FixedIp { subnet_id: "subnet-6".into(), ip_address: address.parse().unwrap() }
}

const A: &str = "fd00:1::f816:3eff:fe00:111";
const C: &str = "fd00:2::f816:3eff:fe00:211";

#[test]
fn guests_make_addresses_and_are_routed() {
    sandboxed("ipv6::guests_make_addresses_and_are_routed", async {
        let mut state = state::with_ipv6(state::state(), "slaac");
        // The second network has IPv6, too, and a leg of the same router.
        let network = state.networks.iter_mut().find(|n| n.id == NET_2).unwrap();
        network.subnets.push(rpc::network::Subnet {
            id: "subnet-7".into(),
            cidr: "fd00:2::/64".into(),
            gateway_ip: Some("fd00:2::1".parse().unwrap()),
            ipv6_ra_mode: Some("slaac".into()),
            ipv6_address_mode: Some("slaac".into()),
            ..Default::default()
        });
        let port = state.ports.iter_mut().find(|p| p.id == PORT_C).unwrap();
        port.fixed_ips.push(rpc::network::FixedIp { subnet_id: "subnet-7".into(), ip_address: C.parse().unwrap() });
        state.routers[0].interfaces.push(rpc::network::RouterInterface {
            port_id: "45454545-4444-4000-8000-000000000004".into(),
            network_id: NET_2.into(),
            mac_address: "fa:16:3e:00:02:01".into(),
            addresses: vec!["fd00:2::1/64".into()],
            ..rpc::network::RouterInterface::default()
        });
        let any = |direction: &str| rpc::network::SecurityGroupRule { ethertype: "IPv6".into(), ..rule(direction, None, None) };
        let ping = rpc::network::SecurityGroupRule { ethertype: "IPv6".into(), ..rule("ingress", Some("ipv6-icmp"), None) };
        state.security_groups[0].rules = vec![any("egress")];
        state.security_groups[1].rules = vec![any("egress"), ping];

        let mut cloud = Cloud::start_as(None, state, |_| {}).await;
        let (a, c) = (Guest::plug(PORT_A), Guest::plug(PORT_C));
        cloud.wired(&[PORT_A, PORT_C]).await;
        for (guest, address) in [(&a, A), (&c, C)] {
            eventually("an address by SLAAC", || guest.shell("ip -6 address show eth0 scope global").contains(address)).await;
            let routes = guest.shell("ip -6 route");
            assert!(routes.contains("default via fe80::") && guest.shell("cat /proc/sys/net/ipv6/conf/eth0/mtu") == "1450\n", "{routes}");
        }
        eventually("C by way of the router", || a.succeeds(&format!("ping -6 -c 1 -W 1 {C}"))).await;
        assert!(!c.succeeds(&format!("ping -6 -c 1 -W 1 {A}")), "A's group lets nothing in");
        // A guest cannot play the router.
        a.shell("ip -6 address add fd00:1::1/64 dev eth0 nodad");
        assert!(!a.succeeds(&format!("ping -6 -c 1 -W 1 -I fd00:1::1 {C}")), "a spoofed address");
    });
}

#[test]
fn addresses_are_leased_where_subnets_are_managed() {
    sandboxed("ipv6::addresses_are_leased_where_subnets_are_managed", async {
        let mut state = state::with_ipv6(state::state(), "dhcpv6-stateful");
        state.security_groups[0].rules = vec![rpc::network::SecurityGroupRule { ethertype: "IPv6".into(), ..rule("egress", None, None) }];
        let mut cloud = Cloud::start_as(None, state, |_| {}).await;
        cloud
            .change_port(PORT_A, |port| {
                let leased = port.fixed_ips.iter_mut().find(|ip| ip.subnet_id == SUBNET_6).unwrap();
                leased.ip_address = "fd00:1::11".parse().unwrap();
            })
            .await;
        let a = Guest::plug(PORT_A);
        cloud.wired(&[PORT_A]).await;
        let offered = || solicit(&a).is_some_and(|answer| contains(&answer, "fd00:1::11") && contains(&answer, "fd00:1::2"));
        eventually("an address and a name server by DHCPv6", offered).await;
        eventually("a default route", || a.shell("ip -6 route").contains("default via fe80::")).await;
        assert!(!a.shell("ip -6 address show eth0 scope global").contains("inet6"), "none without DHCP");
        a.shell("ip -6 address add fd00:1::11/64 dev eth0 nodad");
        assert!(a.succeeds("ping -6 -c 1 -W 2 fd00:1::1"));
        let answer = a.http("[fe80::a9fe:a9fe%2]:80", "GET / HTTP/1.0\r\n\r\n").to_lowercase();
        assert!(answer.contains("x-instance-id: server-a\r\n"), "{answer}");
    });
}

/// What a DHCPv6 server answers to SOLICIT.
fn solicit(guest: &Guest) -> Option<Vec<u8>> {
    // IA_NA; option request: DNS
    ask_dhcpv6(guest, 1, &[0, 3, 0, 12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 2, 0, 23])
}

/// What a DHCPv6 server answers to a message of this type with these options, from A.
pub fn ask_dhcpv6(guest: &Guest, message_type: u8, options: &'static [u8]) -> Option<Vec<u8>> {
    guest.run(move || {
        let index = nix::net::if_::if_nametoindex("eth0").unwrap();
        let socket = UdpSocket::bind("[::]:546").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        // transaction; client id (DUID-LL)
        let head = [message_type, 0, 0, 7, 0, 1, 0, 10, 0, 3, 0, 1, 0xfa, 0x16, 0x3e, 0, 1, 0x11];
        let servers = SocketAddrV6::new("ff02::1:2".parse().unwrap(), 547, 0, index);
        socket.send_to(&[&head, options].concat(), servers).ok()?;
        let mut answer = vec![0; 1500];
        let (length, _) = socket.recv_from(&mut answer).ok()?;
        answer.truncate(length);
        Some(answer)
    })
}

pub fn contains(message: &[u8], address: &str) -> bool {
    let address = address.parse::<Ipv6Addr>().unwrap().octets();
    message.windows(16).any(|window| window == address)
}
