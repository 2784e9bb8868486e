//! Packets of two tenants with the same addresses, through everything the agent makes. Needs root, and runs inside namespaces of its own, so
//! that nothing leaks: see `sandbox`.

// clippy takes helpers outside of test functions for product code.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod cloud;
mod dhcp;
mod guest;
mod hosts;
mod ipv6;
mod kinds;
mod matrix;
mod metadata;
mod projects;
mod qos;
mod routers;
mod sandbox;
mod scale;
mod segments;
mod shaping;
mod state;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use cloud::Cloud;
use guest::{Guest, connects, echo_server, echoes, pings, root, shell};
use rpc::network::{AddressGroup, Change, SecurityGroup, SecurityGroupRule};
use sandbox::{eventually, sandboxed};
use state::{GROUP_1, NET_1, NET_2, PORT_A, PORT_B, PORT_C, ROUTER, rule};

const FLOATING: Ipv4Addr = Ipv4Addr::new(172, 24, 4, 50);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(172, 24, 4, 10);
const HOST: Ipv4Addr = Ipv4Addr::new(172, 24, 4, 1);
const A: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 11);
const B: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 12);

#[test]
fn groups_let_in_what_they_say_and_nothing_else() {
    sandboxed("groups_let_in_what_they_say_and_nothing_else", async {
        let mut cloud = Cloud::start().await;
        let [a, b, c] = cloud.guests([PORT_A, PORT_B, PORT_C]).await;
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
fn whoever_leaves_a_group_takes_only_its_own_connections_along() {
    sandboxed("whoever_leaves_a_group_takes_only_its_own_connections_along", async {
        let mut cloud = Cloud::start().await;
        let [a, b] = cloud.guests([PORT_A, PORT_B]).await;
        // A is no member, so that what it says to B passes as an answer only.
        let members = |members: &[&str]| Change::SecurityGroup(state::group(GROUP_1, members));
        cloud.update(vec![members(&["10.1.0.12", "10.1.0.99"])]).await;
        cloud.settled().await;
        let server = a.run(|| TcpListener::bind(("0.0.0.0", 80))).unwrap();
        let mut flow = guest::connect(&b, A, 80).unwrap();
        let mut answers = server.accept().unwrap().0;
        flow.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let mut says = |what: &[u8]| answers.write_all(what).is_ok() && flow.read_exact(&mut vec![0; what.len()]).is_ok();
        assert!(says(b"hello"));
        cloud.update(vec![members(&["10.1.0.12"])]).await;
        cloud.settled().await;
        assert!(says(b"still there"), "another left, not B");
        cloud.update(vec![members(&[])]).await;
        cloud.settled().await;
        assert!(!says(b"gone"), "B left");
    });
}

#[test]
fn spoofed_addresses_are_dropped() {
    sandboxed("spoofed_addresses_are_dropped", async {
        let mut cloud = Cloud::start().await;
        let [a, b] = cloud.guests([PORT_A, PORT_B]).await;
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
fn address_groups_are_let_in_and_stateless_groups_say_nothing_of_answers() {
    sandboxed("address_groups_are_let_in_and_stateless_groups_say_nothing_of_answers", async {
        let mut cloud = Cloud::start().await;
        let [a, b] = cloud.guests([PORT_A, PORT_B]).await;
        let group = |addresses: &[&str]| {
            let addresses = addresses.iter().map(|address| (*address).to_owned()).collect();
            Change::AddressGroup(AddressGroup { id: "ag".into(), addresses })
        };
        let from_group = SecurityGroupRule { remote_address_group_id: Some("ag".into()), ..rule("ingress", Some("tcp"), Some((80, 80))) };
        cloud.update(vec![group(&["192.0.2.0/24"])]).await;
        cloud.set_rules(vec![rule("egress", None, None), from_group]).await;
        echo_server(&b, 80);
        eventually("not in the group", || !connects(&a, B, 80)).await;
        cloud.update(vec![group(&["192.0.2.0/24", "10.1.0.0/28"])]).await;
        eventually("in the group", || connects(&a, B, 80)).await;

        let stateless = |rules| SecurityGroup { stateful: false, rules, ..state::group(GROUP_1, &[]) };
        let mut rules = vec![rule("egress", None, None), rule("ingress", Some("tcp"), Some((80, 80)))];
        cloud.update(vec![Change::SecurityGroup(stateless(rules.clone()))]).await;
        eventually("answers are not let in", || !connects(&a, B, 80)).await;
        rules.push(rule("ingress", Some("tcp"), Some((1024, 65535))));
        cloud.update(vec![Change::SecurityGroup(stateless(rules))]).await;
        eventually("until a rule says so", || connects(&a, B, 80)).await;
    });
}

#[test]
fn many_changes_leave_nothing_open() {
    sandboxed("many_changes_leave_nothing_open", async {
        let mut cloud = Cloud::start().await;
        let _guests = (Guest::plug(PORT_A), Guest::plug(PORT_C));
        cloud.wired(&[PORT_A, PORT_C]).await;
        let open = || {
            let count = |dir: &str| std::fs::read_dir(dir).unwrap().count();
            (count("/proc/self/fd"), count("/proc/self/task"), shell("cat /proc/self/mountinfo").lines().count())
        };
        let (port, network) = (cloud.port(PORT_C), cloud.network(NET_2));
        let mut before = None;
        for round in 0..12 {
            cloud.update(vec![Change::PortGone(PORT_C.into()), Change::NetworkGone(NET_2.into())]).await;
            eventually("the network is gone", || !shell("ip -o link").contains(&state::bridge(NET_2))).await;
            cloud.update(vec![Change::Network(network.clone()), Change::Port(port.clone())]).await;
            cloud.wired(&[PORT_C]).await;
            // The first rounds open what stays open.
            if round == 2 {
                before = Some(open());
            }
        }
        let before = before.unwrap();
        eventually(&format!("as before: {before:?}"), || open().0 <= before.0 + 2 && open().2 == before.2).await;
    });
}

#[test]
fn a_restart_keeps_flows_and_a_wrecked_host_is_repaired() {
    sandboxed("a_restart_keeps_flows_and_a_wrecked_host_is_repaired", async {
        let mut cloud = Cloud::start().await;
        let [a, _b] = cloud.guests([PORT_A, PORT_B]).await;
        cloud.set_rules(vec![rule("egress", None, None), rule("ingress", Some("tcp"), Some((22, 22)))]).await;
        echo_server(&a, 22);
        let outside = root();
        eventually("ssh by floating IP", || connects(&outside, FLOATING, 22)).await;
        let mut flow = guest::connect(&outside, FLOATING, 22).unwrap();
        assert!(echoes(&mut flow));

        let state =
            || (shell("ip -o link | grep -o '^[0-9]*: cu[^:]*'"), shell("pidof dnsmasq"), shell("nft -s -a list ruleset | grep handle"));
        let before = state();
        cloud.stop_agent().await;
        assert!(echoes(&mut flow), "without an agent");
        cloud.start_agent();
        cloud.wired(&[PORT_A, PORT_B]).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(echoes(&mut flow), "with the next agent");
        assert_eq!(before, state(), "nothing was made anew");

        shell(&format!("ip link del {}", state::bridge(NET_1)));
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
            let namespace = cloud.dir().join(format!("neutron/netns/cumulo-dhcp-{NET_2}"));
            let gone = !shell("ip -o link").contains(&state::bridge(NET_2)) && !namespace.exists();
            gone && shell("pidof dnsmasq").split_whitespace().count() == 1
        })
        .await;
        assert!(shell("ip -o link").contains("cut33333333-33"), "the tap is nova-compute's");

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
