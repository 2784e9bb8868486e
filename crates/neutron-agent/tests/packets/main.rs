//! Packets of two tenants with the same addresses, through everything the agent makes. Needs root, and runs inside namespaces of its own, so
//! that nothing leaks: see `sandbox`.

// clippy takes helpers outside of test functions for product code.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod cloud;
mod guest;
mod sandbox;

use std::net::Ipv4Addr;
use std::time::Duration;

use cloud::{Cloud, NET_1, NET_2, PORT_A, PORT_B, PORT_C, ROUTER, rule};
use guest::{Guest, connects, echo_server, echoes, pings, root, shell};
use rpc::network::Change;
use sandbox::{eventually, sandboxed};

const FLOATING: Ipv4Addr = Ipv4Addr::new(172, 24, 4, 50);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(172, 24, 4, 10);
const HOST: Ipv4Addr = Ipv4Addr::new(172, 24, 4, 1);
const B: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 12);

#[test]
fn dhcp_and_metadata_know_each_guest() {
    sandboxed("dhcp_and_metadata_know_each_guest", async {
        let mut cloud = Cloud::start().await;
        let (a, c) = (Guest::plug(PORT_A), Guest::plug(PORT_C));
        cloud.wired(&[PORT_A, PORT_C]).await;
        a.dhcp();
        c.dhcp();
        assert!(a.shell("ip -4 address show eth0").contains("10.1.0.11/24"));
        assert!(a.shell("ip route").contains("default via 10.1.0.1"));
        assert!(a.shell("ip link show eth0").contains("mtu 1450"));
        let claim =
            "GET /latest/meta-data/ HTTP/1.0\r\nX-Instance-ID: server-b\r\nX-Tenant-ID: other\r\nX-Forwarded-For: 10.1.0.12\r\n\r\n";
        for (guest, server, project) in [(&a, "server-a", "tenant-1"), (&c, "server-c", "tenant-2")] {
            let answer = guest.http("169.254.169.254:80", claim).to_lowercase();
            assert!(answer.starts_with("http/1.0 200") || answer.starts_with("http/1.1 200"), "{answer}");
            assert!(answer.contains(&format!("x-instance-id: {server}\r\n")), "{answer}");
            assert!(answer.contains(&format!("x-tenant-id: {project}\r\n")) && answer.contains("x-forwarded-for: 10.1.0.11\r\n"));
            assert!(!answer.contains("server-b") && !answer.contains(": other"), "{answer}");
        }
    });
}

#[test]
fn an_address_that_changes_hands_is_leased_to_the_new_mac() {
    sandboxed("an_address_that_changes_hands_is_leased_to_the_new_mac", async {
        let mut cloud = Cloud::start().await;
        let a = Guest::plug(PORT_A);
        cloud.wired(&[PORT_A]).await;
        a.dhcp();
        let mut port = cloud.port(PORT_A);
        cloud.update(vec![Change::PortGone(PORT_A.into())]).await;
        port.mac_address = "fa:16:3e:00:01:77".into();
        cloud.update(vec![Change::Port(port)]).await;
        a.shell("ip address flush dev eth0; ip link set eth0 address fa:16:3e:00:01:77");
        eventually("a lease for the new MAC", || a.try_dhcp()).await;
        assert!(a.shell("ip -4 address show eth0").contains("10.1.0.11/24"));
    });
}

#[test]
fn groups_let_in_what_they_say_and_nothing_else() {
    sandboxed("groups_let_in_what_they_say_and_nothing_else", async {
        let mut cloud = Cloud::start().await;
        let (a, b, c) = (Guest::plug(PORT_A), Guest::plug(PORT_B), Guest::plug(PORT_C));
        cloud.wired(&[PORT_A, PORT_B, PORT_C]).await;
        for guest in [&a, &b, &c] {
            guest.dhcp();
        }
        assert!(pings(&a, B), "the members of a group reach each other");
        assert!(!pings(&c, B), "another tenant's network is another world");
        echo_server(&b, 80);
        assert!(connects(&a, B, 80));

        // Nothing but ssh, from anywhere: connections that were established end, too.
        let mut flow = guest::connect(&a, B, 80).unwrap();
        assert!(echoes(&mut flow));
        cloud.set_rules(vec![rule("egress", None, None), rule("ingress", Some("tcp"), Some((22, 22)))]).await;
        eventually("port 80 is closed", || !connects(&a, B, 80)).await;
        assert!(!echoes(&mut flow), "an established flow has lost its right");
        assert!(!pings(&a, B));
        echo_server(&b, 22);
        assert!(connects(&a, B, 22));
        cloud.set_rules(vec![rule("egress", None, None), rule("ingress", Some("tcp"), Some((79, 81)))]).await;
        eventually("port 80 is open again", || connects(&a, B, 80)).await;
        assert!(!connects(&a, B, 22));

        // No rules at all: deny both ways.
        cloud.set_rules(vec![]).await;
        eventually("nothing goes", || !connects(&a, B, 80)).await;
        // Without port security everything does.
        cloud.change_port(PORT_B, |port| port.port_security_enabled = false).await;
        cloud.change_port(PORT_A, |port| port.port_security_enabled = false).await;
        eventually("everything goes", || pings(&a, B)).await;
    });
}

#[test]
fn spoofed_addresses_are_dropped() {
    sandboxed("spoofed_addresses_are_dropped", async {
        let mut cloud = Cloud::start().await;
        let (a, b) = (Guest::plug(PORT_A), Guest::plug(PORT_B));
        cloud.wired(&[PORT_A, PORT_B]).await;
        a.dhcp();
        b.dhcp();
        cloud.set_rules(vec![rule("egress", None, None), rule("ingress", None, None)]).await;
        eventually("all is open", || pings(&a, B)).await;

        a.shell("ip address add 10.1.0.99/24 dev eth0");
        assert!(!a.succeeds("ping -c 2 -i 0.2 -W 1 -I 10.1.0.99 10.1.0.12"), "a spoofed IP");
        // a claims to be the gateway: b must not believe it
        a.shell("ip address add 10.1.0.1/32 dev eth0; busybox arping -U -c 2 -I eth0 -s 10.1.0.1 10.1.0.1 || true");
        b.shell("ip neigh flush dev eth0; ping -c 1 -W 2 10.1.0.1");
        assert!(b.shell("ip neigh show 10.1.0.1").contains("fa:16:3e:00:01:01"), "a spoofed gateway");
        a.shell("ip address del 10.1.0.1/32 dev eth0");

        cloud
            .change_port(PORT_A, |port| {
                port.allowed_address_pairs = vec![rpc::network::AddressPair { ip_address: "10.1.0.96/28".into(), mac_address: None }];
            })
            .await;
        eventually("an allowed address pair", || a.succeeds("ping -c 1 -W 1 -I 10.1.0.99 10.1.0.12")).await;

        a.shell("ip link set eth0 address fa:16:3e:66:66:66");
        assert!(!pings(&a, B), "a spoofed MAC");
    });
}

#[test]
fn ipv6_is_filtered_and_checked_too() {
    sandboxed("ipv6_is_filtered_and_checked_too", async {
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

#[test]
fn routers_hide_guests_and_floating_ips_lead_to_them() {
    sandboxed("routers_hide_guests_and_floating_ips_lead_to_them", async {
        let mut cloud = Cloud::start().await;
        let (a, b) = (Guest::plug(PORT_A), Guest::plug(PORT_B));
        cloud.wired(&[PORT_A, PORT_B]).await;
        a.dhcp();
        b.dhcp();
        cloud.set_rules(vec![rule("egress", None, None), rule("ingress", Some("tcp"), Some((22, 22)))]).await;
        echo_server(&a, 22);
        echo_server(&a, 80);
        let outside = root();
        eventually("ssh by floating IP", || connects(&outside, FLOATING, 22)).await;
        assert!(!connects(&outside, FLOATING, 80), "not by rule");
        assert!(connects(&b, FLOATING, 22), "from inside, too");
        let seen = guest::peer_server(&outside, 9000);
        assert_eq!(guest::seen_as(&b, HOST, 9000, &seen), Some(GATEWAY));
        assert_eq!(guest::seen_as(&a, HOST, 9000, &seen), Some(FLOATING));

        let mut flow = guest::connect(&outside, FLOATING, 22).unwrap();
        assert!(echoes(&mut flow));
        let mut router = cloud.router();
        router.floating_ips.clear();
        cloud.update(vec![Change::Router(router)]).await;
        eventually("the floating IP is gone", || !connects(&outside, FLOATING, 22)).await;
        assert!(!echoes(&mut flow));
        assert_eq!(guest::seen_as(&a, HOST, 9000, &seen), Some(GATEWAY));
    });
}

#[test]
fn guests_reach_the_world_when_the_host_may_masquerade() {
    sandboxed("guests_reach_the_world_when_the_host_may_masquerade", async {
        let forwarding = || shell("cat /proc/sys/net/ipv4/ip_forward");
        assert_eq!(forwarding(), "0\n");
        let world = Guest::world("192.0.2.1/24", "192.0.2.2/24");
        let mut cloud = Cloud::start_with(|config| config.masquerade_external = true).await;
        let b = Guest::plug(PORT_B);
        cloud.wired(&[PORT_B]).await;
        b.dhcp();
        let seen = guest::peer_server(&world, 9000);
        let (uplink, server) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));
        eventually("the world is reached", || guest::seen_as(&b, server, 9000, &seen) == Some(uplink)).await;
        cloud.stop_agent().await;
        neutron_agent::cleanup(cloud.dir()).await.unwrap();
        assert_eq!(forwarding(), "0\n");
    });
}

#[test]
fn a_restart_keeps_flows_and_a_wrecked_host_is_repaired() {
    sandboxed("a_restart_keeps_flows_and_a_wrecked_host_is_repaired", async {
        let mut cloud = Cloud::start().await;
        let (a, b) = (Guest::plug(PORT_A), Guest::plug(PORT_B));
        cloud.wired(&[PORT_A, PORT_B]).await;
        a.dhcp();
        b.dhcp();
        cloud.set_rules(vec![rule("egress", None, None), rule("ingress", Some("tcp"), Some((22, 22)))]).await;
        echo_server(&a, 22);
        let outside = root();
        eventually("ssh by floating IP", || connects(&outside, FLOATING, 22)).await;
        let mut flow = guest::connect(&outside, FLOATING, 22).unwrap();
        assert!(echoes(&mut flow));

        let state =
            || (shell("ip -o link | grep -o '^[0-9]*: cu[^:]*'"), shell("pidof dnsmasq"), shell("nft -a list ruleset | grep handle"));
        let before = state();
        cloud.stop_agent().await;
        assert!(echoes(&mut flow), "without an agent");
        cloud.start_agent();
        cloud.wired(&[PORT_A, PORT_B]).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(echoes(&mut flow), "with the next agent");
        assert_eq!(before, state(), "nothing was made anew");

        shell(&format!("ip link del {}", cloud::bridge(NET_1)));
        eventually("a bridge is made again", || connects(&outside, FLOATING, 22)).await;
        shell("nft delete table bridge cumulo_ports");
        eventually("rules are made again", || shell("nft list table bridge cumulo_ports").contains("fa:16:3e:00:01:11")).await;
        shell("nft flush chain inet cumulo_groups ingress");
        eventually("a chain is filled again", || shell("nft list chain inet cumulo_groups ingress").contains("vmap")).await;
        let router = cloud.enter(&format!("cumulo-router-{ROUTER}"));
        shell(&format!("{router} nft flush ruleset"));
        shell(&format!("{router} ip link del qr-44444444-44"));
        eventually("a router is made again", || connects(&outside, FLOATING, 22)).await;
        let pid: i32 = shell("pidof dnsmasq").split_whitespace().next().unwrap().parse().unwrap();
        shell(&format!("kill -9 {pid}"));
        eventually("dnsmasq is started again", || shell("pidof dnsmasq").split_whitespace().count() == 2).await;
        a.dhcp();
    });
}

#[test]
fn what_goes_is_removed_and_cleanup_leaves_nothing() {
    sandboxed("what_goes_is_removed_and_cleanup_leaves_nothing", async {
        shell("ip link add foreign0 type bridge; ip link set foreign0 up; nft add table inet foreign; nft add chain inet foreign x");
        let untouched = || (shell("ip -o link show foreign0"), shell("nft list table inet foreign"));
        let (foreign, tables) = (untouched(), shell("nft list tables"));
        let mut cloud = Cloud::start().await;
        let _guests = (Guest::plug(PORT_A), Guest::plug(PORT_C));
        cloud.wired(&[PORT_A, PORT_C]).await;
        cloud.update(vec![Change::PortGone(PORT_C.into()), Change::NetworkGone(NET_2.into())]).await;
        eventually("the second network is gone", || {
            !shell("ip -o link").contains(&cloud::bridge(NET_2)) && shell("pidof dnsmasq").split_whitespace().count() == 1
        })
        .await;
        assert!(shell("ip -o link").contains("cut33333333-33"), "the tap is nova-compute's");
        assert!(!cloud.dir().join(format!("neutron/netns/cumulo-dhcp-{NET_2}")).exists());

        cloud.stop_agent().await;
        neutron_agent::cleanup(cloud.dir()).await.unwrap();
        assert_eq!(foreign, untouched());
        assert_eq!(tables, shell("nft list tables"));
        assert!(!shell("ip -o link").contains(": cu"), "{}", shell("ip -o link"));
        assert_eq!(shell("pidof dnsmasq"), "");
        assert!(!shell("cat /proc/self/mountinfo").contains("cumulo-"));
        assert!(!cloud.dir().join("neutron").exists());
        neutron_agent::cleanup(cloud.dir()).await.unwrap();
    });
}
