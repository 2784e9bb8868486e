//! Two hosts, each with an agent of its own, joined by a wire.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use rpc::network::*;

use crate::cloud::Cloud;
use crate::guest::{Guest, connect, connects, echo_server, echoes, knows_vlans, pings, root, shell};
use crate::sandbox::{eventually, sandboxed};
use crate::state::{self, NET_1, NET_2, PORT_A, PORT_B, PORT_C, rule};
use crate::{B, HOST};

pub const VTEP_1: &str = "192.0.2.1";
pub const VTEP_2: &str = "192.0.2.2";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub fn peer(port_id: &str, mac: &str, address: &str, vtep: &str) -> Peer {
    let addresses = vec![ip(address)];
    Peer { port_id: port_id.into(), mac_address: mac.into(), addresses, vtep: Some(ip(vtep)), ..Peer::default() }
}

/// What each host should have when `here` are the ports of the first and `there` those of the second.
pub fn states(here: &[&str], there: &[&str]) -> (HostState, HostState) {
    let only = |ports: &[&str]| {
        let mut state = state::state();
        state.ports.retain(|port| ports.contains(&port.id.as_str()));
        state.routers.clear();
        state
    };
    let (mut first, mut second) = (only(here), only(there));
    // The DHCP port is the first host's alone; its address is what these tests need of it there.
    for (state, peers, vtep) in [(&mut first, there, VTEP_2), (&mut second, here, VTEP_1)] {
        for network in &mut state.networks {
            let all = state::state().ports;
            let far = all.iter().filter(|port| port.network_id == network.id && peers.contains(&port.id.as_str()));
            network.peers = far.map(|port| peer(&port.id, &port.mac_address, &port.fixed_ips[0].ip_address.to_string(), vtep)).collect();
        }
    }
    (first, second)
}

pub async fn start(first: HostState, second: HostState) -> (Guest, Cloud, Cloud) {
    let other = Guest::host("host-2", "192.0.2.1/24", "192.0.2.2/24");
    let here = Cloud::start_as(None, first, |config| config.vtep = Some(ip(VTEP_1))).await;
    let there = Cloud::start_on(&other, ip(VTEP_2), second).await;
    (other, here, there)
}

#[test]
fn guests_on_two_hosts_are_in_one_network() {
    sandboxed("hosts::guests_on_two_hosts_are_in_one_network", async {
        let (first, second) = states(&[PORT_A], &[PORT_B, PORT_C]);
        let (other, mut here, mut there) = start(first, second).await;
        let (a, b, c) = (Guest::plug(PORT_A), Guest::plug_on(&other, PORT_B), Guest::plug_on(&other, PORT_C));
        here.wired(&[PORT_A]).await;
        there.wired(&[PORT_B, PORT_C]).await;
        for guest in [&a, &b, &c] {
            guest.dhcp();
        }
        let crossed = "tcpdump -i wire0 -nn -l 'udp port 4789'";
        shell(&format!("{crossed} > /run/crossed 2>/dev/null & echo $! > /run/tcpdump.pid"));
        eventually("B on the other host", || pings(&a, B)).await;
        assert!(!pings(&c, B), "another tenant's network is another world");
        echo_server(&b, 80);
        assert!(connects(&a, B, 80));
        // A full frame fits, and what does not is not silently lost.
        assert!(a.succeeds("ping -c 1 -W 1 -M do -s 1422 10.1.0.12"));
        assert!(!a.succeeds("ping -c 1 -W 1 -M do -s 1423 10.1.0.12"));
        // ARP is answered on the guest's own host.
        eventually("packets crossed the wire", || std::fs::read_to_string("/run/crossed").is_ok_and(|text| text.contains("ICMP"))).await;
        shell("kill $(cat /run/tcpdump.pid)");
        let crossed = std::fs::read_to_string("/run/crossed").unwrap();
        assert!(!crossed.contains("ARP, Request who-has 10.1.0.12"), "{crossed}");

        // Rules hold across hosts, and so does anti-spoofing.
        let ssh = vec![rule("egress", None, None), rule("ingress", Some("tcp"), Some((22, 22)))];
        there.set_rules(ssh).await;
        eventually("B lets in ssh only", || !connects(&a, B, 80)).await;
        a.shell("ip address add 10.1.0.99/24 dev eth0");
        assert!(!a.succeeds("ping -c 1 -W 1 -I 10.1.0.99 10.1.0.12"));

        // B moves to this host.
        there.update(vec![Change::PortGone(PORT_B.into())]).await;
        here.update(vec![Change::Peers { network_id: NET_1.into(), now: vec![], gone: vec![PORT_B.into()] }]).await;
        eventually("nobody is there to talk to", || {
            let tunnel = format!("cuv{}", &NET_1[..11]);
            !shell(&format!("bridge fdb show dev {tunnel}")).contains("fa:16:3e:00:01:12")
        })
        .await;
    });
}

/// Neighbours are asked for once and answered on the asker's host; what a network cannot be told of, others can.
#[test]
fn guests_with_ipv6_find_each_other_across_hosts() {
    sandboxed("hosts::guests_with_ipv6_find_each_other_across_hosts", async {
        let (a6, b6) = ("fd00:1::f816:3eff:fe00:111", "fd00:1::f816:3eff:fe00:112");
        let (mut first, mut second) = states(&[PORT_A], &[PORT_B, PORT_C]);
        for (state, peer) in [(&mut first, b6), (&mut second, a6)] {
            state.networks[0].peers[0].addresses.push(ip(peer));
            let any = |direction: &str| SecurityGroupRule { ethertype: "IPv6".into(), ..rule(direction, None, None) };
            state.security_groups[0].rules = vec![any("ingress"), any("egress")];
            for (port, address) in [(PORT_A, a6), (PORT_B, b6)] {
                let fixed = FixedIp { subnet_id: state::SUBNET_6.into(), ip_address: ip(address) };
                state.ports.iter_mut().filter(|known| known.id == port).for_each(|port| port.fixed_ips.push(fixed.clone()));
            }
        }
        // A neighbour that the kernel refuses: the first network in order cannot be told of its peers.
        let mut refused = state::tenant_network("00000000-aaaa-4000-8000-000000000009", 9);
        refused.dhcp = None;
        refused.peers = vec![peer(PORT_C, "fa:16:3e:00:09:09", "0.0.0.0", VTEP_2)];
        refused.peers[0].vtep = Some(ip("::2"));
        first.networks.push(refused);
        let (other, mut here, mut there) = start(first, second).await;
        let (a, b) = (Guest::plug(PORT_A), Guest::plug_on(&other, PORT_B));
        here.wired(&[PORT_A]).await;
        there.wired(&[PORT_B]).await;
        a.shell(&format!("ip -6 address add {a6}/64 dev eth0 nodad"));
        b.shell(&format!("ip -6 address add {b6}/64 dev eth0 nodad"));
        let bridge = state::bridge(NET_1);
        let neighbours = |host: &Guest| host.shell(&format!("ip -6 neigh show dev {bridge} nud permanent"));
        eventually("A's host knows B's address", || neighbours(&root()).contains(b6)).await;
        eventually("B's host knows A's address", || neighbours(&other).contains(a6)).await;
        assert!(neighbours(&root()).contains("fe80::f816:3eff:fe00:112"), "and its link-local one");

        let crossed = "tcpdump -i wire0 -nn -l 'udp port 4789'";
        shell(&format!("{crossed} > /run/crossed 2>/dev/null & echo $! > /run/tcpdump.pid"));
        let crossed = || std::fs::read_to_string("/run/crossed").unwrap();
        let pinged = || a.succeeds(&format!("ping -6 -c 1 -W 1 {b6}")) && crossed().contains("ICMP6, echo reply");
        eventually("B on the other host, over the wire", pinged).await;
        shell("kill $(cat /run/tcpdump.pid)");
        assert!(!crossed().contains(&format!("who has {b6}")), "{}", crossed());

        for host in [&root(), &other] {
            let links = format!("for link in {bridge} $(ls /sys/class/net/{bridge}/brif); do ip -6 address show dev $link; done");
            assert!(!host.shell(&links).contains("inet6"), "the host is not on tenants' networks: {}", host.shell(&links));
            let settings = format!("cd /proc/sys/net/ipv6/conf/{bridge}; cat accept_ra autoconf addr_gen_mode");
            assert_eq!(host.shell(&settings), "0\n0\n1\n");
        }
    });
}

#[test]
fn a_router_moves_to_a_host_that_stood_by() {
    sandboxed("hosts::a_router_moves_to_a_host_that_stood_by", async {
        let (mut first, mut second) = states(&[PORT_A], &[PORT_B]);
        let router = state::router();
        let leg = |vtep| peer(&router.interfaces[0].port_id, &router.interfaces[0].mac_address, "10.1.0.1", vtep);
        first.routers = vec![router.clone()];
        second.routers = vec![Router { role: RouterRole::Standby, ..router.clone() }];
        second.networks[0].peers.push(leg(VTEP_1));
        let (other, mut here, mut there) = start(first, second).await;
        let b = Guest::plug_on(&other, PORT_B);
        there.wired(&[PORT_B]).await;
        b.dhcp();
        eventually("the gateway on the other host", || pings(&b, HOST)).await;
        assert!(!other.shell("ip -o link").contains("cuq"), "a router that stands by has no legs");

        let role = |role| Change::Router(Router { role, ..router.clone() });
        here.update(vec![role(RouterRole::Standby), Change::Peers { network_id: NET_1.into(), now: vec![leg(VTEP_2)], gone: vec![] }])
            .await;
        let gone = vec![router.interfaces[0].port_id.clone()];
        there.update(vec![role(RouterRole::Active), Change::Peers { network_id: NET_1.into(), now: vec![], gone }]).await;
        eventually("the gateway is here now", || pings(&b, "10.1.0.1")).await;
        eventually("and no longer there", || !shell("ip -o link").contains("cuq")).await;
        // what answered first may have been the host that let go
        eventually("but on the other host", || other.shell("ip -o link").contains("cuq")).await;
        eventually("where it answers", || pings(&b, "10.1.0.1")).await;
    });
}

/// The first host, with the router and without a word, is gone; what a server then tells the second is told at once.
#[test]
fn a_second_host_takes_over_in_seconds() {
    sandboxed("hosts::a_second_host_takes_over_in_seconds", async {
        let (mut first, mut second) = states(&[PORT_A], &[PORT_B, PORT_C]);
        let mut router = state::router();
        router.gateway = None;
        router.floating_ips.clear();
        router.interfaces.push(RouterInterface {
            port_id: "45454545-4444-4000-8000-000000000004".into(),
            network_id: NET_2.into(),
            mac_address: "fa:16:3e:00:02:01".into(),
            addresses: vec!["10.2.0.1/24".into()],
            ..RouterInterface::default()
        });
        let legs: Vec<Peer> = router
            .interfaces
            .iter()
            .map(|leg| peer(&leg.port_id, &leg.mac_address, leg.addresses[0].trim_end_matches("/24"), VTEP_1))
            .collect();
        for state in [&mut first, &mut second] {
            let network = state.networks.iter_mut().find(|network| network.id == NET_2).unwrap();
            network.subnets[0].cidr = "10.2.0.0/24".into();
            network.subnets[0].gateway_ip = Some(ip("10.2.0.1"));
            network.dhcp.as_mut().unwrap().fixed_ips[0].ip_address = ip("10.2.0.2");
            state.security_groups.iter_mut().for_each(|group| group.rules = vec![rule("egress", None, None), rule("ingress", None, None)]);
        }
        second.ports.iter_mut().find(|port| port.id == PORT_C).unwrap().fixed_ips[0].ip_address = ip("10.2.0.11");
        first.networks[1].peers = vec![peer(PORT_C, state::mac(PORT_C), "10.2.0.11", VTEP_2)];
        first.routers = vec![router.clone()];
        second.routers = vec![Router { role: RouterRole::Standby, ..router.clone() }];
        second.networks[0].peers.push(legs[0].clone());
        second.networks[1].peers.push(legs[1].clone());

        let (other, mut here, mut there) = start(first, second).await;
        let (b, c) = (Guest::plug_on(&other, PORT_B), Guest::plug_on(&other, PORT_C));
        there.wired(&[PORT_B, PORT_C]).await;
        [&b, &c].into_iter().for_each(Guest::dhcp);
        eventually("C, by the router on the other host", || pings(&b, "10.2.0.11")).await;
        echo_server(&c, 80);
        let mut flow = connect(&b, "10.2.0.11".parse().unwrap(), 80).unwrap();
        assert!(echoes(&mut flow));

        here.stop_agent().await;
        shell("ip link set wire0 down");
        assert!(!pings(&b, "10.2.0.11"), "its host is gone");
        let began = Instant::now();
        let mut changes = vec![Change::Router(router.clone())];
        for (network, leg) in [NET_1, NET_2].into_iter().zip(&legs) {
            changes.push(Change::Peers { network_id: network.into(), now: vec![], gone: vec![leg.port_id.clone()] });
        }
        there.update(changes).await;
        while !b.succeeds("ping -c 1 -W 0.1 10.2.0.11") {
            assert!(began.elapsed() < Duration::from_secs(20), "nobody took over");
        }
        let took = began.elapsed();
        println!("the second host forwards after {took:?}");
        assert!(took < Duration::from_secs(5), "{took:?}");
        assert!(connects(&b, "10.2.0.11".parse().unwrap(), 80), "new connections");
        assert!(echoes(&mut flow), "and old ones, which no table of the lost host knew by address translation");
    });
}

#[test]
fn a_vlan_network_leaves_by_the_hosts_link() {
    sandboxed("hosts::a_vlan_network_leaves_by_the_hosts_link", async {
        if !knows_vlans() {
            return;
        }
        shell("ip netns add wire-end && ip link add up1 type veth peer name eth0 netns wire-end && ip link set up1 up");
        let mut first = state::state();
        let network = &mut first.networks[0];
        network.network_type = "vlan".into();
        network.physical_network = Some("physnet1".into());
        let uplink = neutron_agent::External { gateway: vec![], interface: Some("up1".into()) };
        let mut cloud = Cloud::start_as(None, first, |config| drop(config.physical_networks.insert("physnet1".into(), uplink))).await;
        let a = Guest::plug(PORT_A);
        cloud.wired(&[PORT_A]).await;
        a.dhcp();
        // A machine on the wire that knows the tag, 101.
        let machine =
            "ip link set eth0 up; ip link add link eth0 name v type vlan id 101; ip address add 10.1.0.200/24 dev v; ip link set v up";
        shell(&format!("ip netns exec wire-end sh -c '{machine}'"));
        eventually("the machine on the wire", || pings(&a, "10.1.0.200")).await;
        cloud.stop_agent().await;
        neutron_agent::cleanup(cloud.dir()).await.unwrap();
        assert!(shell("ip -o link").contains("up1@") && !shell("ip -o link").contains(": cul"), "the host's link is not ours to remove");
    });
}

#[test]
fn an_agent_that_comes_back_finds_its_peers() {
    sandboxed("hosts::an_agent_that_comes_back_finds_its_peers", async {
        let (first, second) = states(&[PORT_A], &[PORT_B]);
        let (other, mut here, mut there) = start(first, second).await;
        let (a, b) = (Guest::plug(PORT_A), Guest::plug_on(&other, PORT_B));
        here.wired(&[PORT_A]).await;
        there.wired(&[PORT_B]).await;
        a.dhcp();
        b.dhcp();
        echo_server(&b, 80);
        eventually("B on the other host", || connects(&a, B, 80)).await;
        let mut flow = connect(&a, B, 80).unwrap();
        assert!(echoes(&mut flow));
        // without what bridges learn from passing frames
        let state = || (shell("ip -o link | grep -o '^[0-9]*: cu[^:]*'"), shell("bridge fdb show | grep static"));
        here.stop_agent().await;
        let before = state();
        here.start_agent();
        here.wired(&[PORT_A]).await;
        assert!(echoes(&mut flow));
        assert_eq!(before, state());
        let tunnel = format!("cuv{}", &NET_1[..11]);
        shell(&format!("ip link del {tunnel}"));
        eventually("the tunnel is made again", || shell(&format!("bridge fdb show dev {tunnel}")).contains("00:00:00:00:00:00")).await;
        eventually("and leads to B", || echoes(&mut flow) || connects(&a, B, 80)).await;
    });
}
