//! NAT, floating IPs, forwarded ports, extra routes, metering.

use std::net::Ipv4Addr;
use std::time::Duration;

use rpc::network::{
    AddressPair, AddressScopes, Change, HostState, MeteringLabel, MeteringRule, PortForwarding, Route, RouterInterface, SecurityGroupRule,
};

use crate::cloud::Cloud;
use crate::guest::{self, Guest, connects, echo_server, echoes, pings, root, shell};
use crate::sandbox::{eventually, sandboxed};
use crate::state::{self, NET_2, PORT_A, PORT_B, PORT_C, ROUTER, rule};
use crate::{B, FLOATING, GATEWAY, HOST};

#[test]
fn routers_hide_guests_and_floating_ips_lead_to_them() {
    sandboxed("routers::routers_hide_guests_and_floating_ips_lead_to_them", async {
        let mut cloud = Cloud::start().await;
        let [a, b] = cloud.guests([PORT_A, PORT_B]).await;
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
fn addresses_are_kept_within_a_scope_and_hidden_beyond_it() {
    sandboxed("routers::addresses_are_kept_within_a_scope_and_hidden_beyond_it", async {
        let mut cloud = Cloud::start().await;
        let [a, b] = cloud.guests([PORT_A, PORT_B]).await;
        cloud.set_rules(vec![rule("egress", None, None), rule("ingress", Some("tcp"), Some((22, 22)))]).await;
        let outside = root();
        let seen = guest::peer_server(&outside, 9000);
        let scope = |id: &str| AddressScopes { ipv4: Some(id.into()), ipv6: None };
        shell("ip route add 10.1.0.0/24 via 172.24.4.10");
        eventually("B is hidden", || guest::seen_as(&b, HOST, 9000, &seen) == Some(GATEWAY)).await;
        echo_server(&b, 22);
        eventually("without scopes, what has a route gets in", || connects(&outside, B, 22)).await;
        cloud.change_router(|router| router.interfaces[0].address_scopes = scope("inside")).await;
        eventually("nothing gets into another scope", || !connects(&outside, B, 22)).await;
        assert_eq!(guest::seen_as(&b, HOST, 9000, &seen), Some(GATEWAY));
        assert_eq!(guest::seen_as(&a, HOST, 9000, &seen), Some(FLOATING));
        echo_server(&a, 22);
        assert!(connects(&outside, FLOATING, 22), "but by a floating IP");

        cloud.change_router(|router| router.gateway.as_mut().unwrap().address_scopes = scope("inside")).await;
        eventually("B is seen as it is", || guest::seen_as(&b, HOST, 9000, &seen) == Some(B)).await;
        assert_eq!(guest::seen_as(&a, HOST, 9000, &seen), Some(FLOATING));
        assert!(connects(&outside, B, 22), "and is reached within its scope");
    });
}

#[test]
fn guests_reach_the_world_when_the_host_may_masquerade() {
    sandboxed("routers::guests_reach_the_world_when_the_host_may_masquerade", async {
        let forwarding = || shell("cat /proc/sys/net/ipv4/ip_forward");
        assert_eq!(forwarding(), "0\n");
        let world = Guest::world("192.0.2.1/24", "192.0.2.2/24");
        let mut cloud = Cloud::start_with(|config| config.masquerade_external = true).await;
        let [b] = cloud.guests([PORT_B]).await;
        let seen = guest::peer_server(&world, 9000);
        let (uplink, server) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));
        eventually("the world is reached", || guest::seen_as(&b, server, 9000, &seen) == Some(uplink)).await;
        cloud.stop_agent().await;
        neutron_agent::cleanup(cloud.dir()).await.unwrap();
        assert_eq!(forwarding(), "0\n");
    });
}

#[test]
fn ports_of_a_floating_ip_are_forwarded() {
    sandboxed("routers::ports_of_a_floating_ip_are_forwarded", async {
        const SHARED: Ipv4Addr = Ipv4Addr::new(172, 24, 4, 60);
        let mut cloud = Cloud::start().await;
        let [a, b] = cloud.guests([PORT_A, PORT_B]).await;
        cloud.set_rules(vec![rule("egress", None, None), rule("ingress", Some("tcp"), Some((22, 90)))]).await;
        echo_server(&a, 22);
        echo_server(&b, 81);
        let forward = |id: &str, external, inner: &str, internal| PortForwarding {
            id: id.into(),
            floatingip_id: "floating".into(),
            floating_ip_address: SHARED.into(),
            protocol: "tcp".into(),
            external_ports: external,
            internal_ip_address: inner.parse().unwrap(),
            internal_ports: internal,
        };
        cloud
            .change_router(|router| {
                router.port_forwardings =
                    vec![forward("1", (2222, 2222), "10.1.0.11", (22, 22)), forward("2", (8080, 8082), "10.1.0.12", (80, 82))];
            })
            .await;
        let outside = root();
        eventually("a forwarded port", || connects(&outside, SHARED, 2222)).await;
        assert!(connects(&outside, SHARED, 8081) && !connects(&outside, SHARED, 22));
        assert!(connects(&b, SHARED, 2222), "from inside, too");
        let mut flow = guest::connect(&outside, SHARED, 2222).unwrap();
        assert!(echoes(&mut flow));
        cloud.change_router(|router| router.port_forwardings.clear()).await;
        eventually("nothing is forwarded", || !connects(&outside, SHARED, 2222)).await;
        assert!(!echoes(&mut flow), "an established flow ends, too");
    });
}

#[test]
fn extra_routes_lead_to_what_is_behind_a_guest() {
    sandboxed("routers::extra_routes_lead_to_what_is_behind_a_guest", async {
        let mut cloud = Cloud::start().await;
        let [a, b] = cloud.guests([PORT_A, PORT_B]).await;
        cloud.set_rules(vec![rule("egress", None, None), rule("ingress", None, None)]).await;
        b.shell("ip address add 10.9.0.1/32 dev lo");
        cloud
            .change_port(PORT_B, |port| {
                port.allowed_address_pairs = vec![AddressPair { ip_address: "10.9.0.0/24".into(), mac_address: None }]
            })
            .await;
        let route = Route { destination: "10.9.0.0/24".into(), nexthop: B.into() };
        cloud.change_router(|router| router.routes = vec![route]).await;
        eventually("what is behind B", || pings(&a, "10.9.0.1")).await;
        cloud.change_router(|router| router.routes.clear()).await;
        eventually("the route is gone", || !pings(&a, "10.9.0.1")).await;
    });
}

#[test]
fn the_next_guest_of_an_address_is_found_before_it_speaks() {
    sandboxed("routers::the_next_guest_of_an_address_is_found_before_it_speaks", async {
        let mut cloud = Cloud::start().await;
        let [a] = cloud.guests([PORT_A]).await;
        cloud.set_rules(vec![rule("ingress", Some("tcp"), Some((22, 22)))]).await;
        echo_server(&a, 22);
        let outside = root();
        eventually("ssh by floating IP", || connects(&outside, FLOATING, 22)).await;
        // what is left of the guest that had the address before
        let router = cloud.enter(&format!("cumulo-router-{ROUTER}"));
        shell(&format!("{router} ip neigh replace 10.1.0.11 lladdr fa:16:3e:99:99:99 dev qr-44444444-44 nud stale"));
        // two tries are half of what an unmoved kernel would need
        assert!(connects(&outside, FLOATING, 22) || connects(&outside, FLOATING, 22));
    });
}

#[test]
fn labels_count_what_leaves() {
    sandboxed("routers::labels_count_what_leaves", async {
        let often = |config: &mut neutron_agent::Config| {
            (config.measure_every, config.report_every) = (Duration::from_millis(500), Duration::from_secs(1));
        };
        let mut cloud = Cloud::start_with(often).await;
        let [a] = cloud.guests([PORT_A]).await;
        let rule = MeteringRule { direction: "egress".into(), ..MeteringRule::default() };
        cloud.change_router(|router| router.metering_labels = vec![MeteringLabel { id: "label".into(), rules: vec![rule] }]).await;
        let router = cloud.enter(&format!("cumulo-router-{ROUTER}"));
        let counters = || shell(&format!("{router} nft list counters table inet cumulo_traffic"));
        eventually("there is a counter", || counters().contains("counter label-label")).await;
        assert!(a.succeeds("ping -c 3 -i 0.2 -W 1 172.24.4.1"));
        let told = cloud.metered().await;
        assert_eq!((told["label_id"].as_str(), told["pkts"].as_u64(), told["bytes"].as_u64()), (Some("label"), Some(3), Some(3 * 84)));
        assert_eq!((told["project_id"].as_str(), told["host"].as_str()), (Some("tenant-1"), Some("host-1")));
    });
}

const C: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 11);

/// The second network is another subnet of the same router, and its frames are smaller.
fn routed() -> HostState {
    let mut state = state::state();
    let network = state.networks.iter_mut().find(|network| network.id == NET_2).unwrap();
    network.mtu = 1300;
    network.subnets[0].cidr = "10.2.0.0/24".into();
    network.subnets[0].gateway_ip = Some("10.2.0.1".parse().unwrap());
    network.dhcp.as_mut().unwrap().fixed_ips[0].ip_address = "10.2.0.2".parse().unwrap();
    state.ports.iter_mut().find(|port| port.id == PORT_C).unwrap().fixed_ips[0].ip_address = C.into();
    state.routers[0].interfaces.push(RouterInterface {
        port_id: "45454545-4444-4000-8000-000000000004".into(),
        network_id: NET_2.into(),
        mac_address: "fa:16:3e:00:02:01".into(),
        addresses: vec!["10.2.0.1/24".into()],
        ..RouterInterface::default()
    });
    state
}

#[test]
fn subnets_of_a_router_reach_each_other_as_rules_say() {
    sandboxed("routers::subnets_of_a_router_reach_each_other_as_rules_say", async {
        let mut state = routed();
        let from_a = SecurityGroupRule { remote_ip_prefix: Some("10.1.0.11/32".into()), ..rule("ingress", None, None) };
        state.security_groups[1].rules = vec![rule("egress", None, None), from_a];
        let mut cloud = Cloud::start_as(None, state, |_| {}).await;
        let [a, b, c] = cloud.guests([PORT_A, PORT_B, PORT_C]).await;
        echo_server(&c, 80);
        let seen = guest::peer_server(&c, 9000);
        eventually("C by way of the router", || connects(&a, C, 80)).await;
        assert_eq!(guest::seen_as(&a, C, 9000, &seen), Some(Ipv4Addr::new(10, 1, 0, 11)), "nothing is hidden inside");
        assert!(a.shell(&format!("ping -c 1 -W 1 {C}")).contains("ttl=63"), "one hop");
        assert!(!pings(&b, C), "B is not let in");

        // What is too large for the next network is refused, or cut, by the router; neither is lost in silence.
        let refused = a.shell(&format!("ping -c 1 -W 1 -M do -s 1400 {C} 2>&1"));
        assert!(refused.contains("mtu = 1300") || refused.contains("mtu=1300"), "{refused}");
        a.shell("ip route flush cache");
        eventually("in parts", || a.succeeds(&format!("ping -c 1 -W 2 -M dont -s 1400 {C}"))).await;
        let mut flow = guest::connect(&a, C, 80).unwrap();
        assert!(echoes(&mut flow));

        cloud.change_router(|router| router.interfaces.truncate(1)).await;
        eventually("the leg is gone", || !pings(&a, C)).await;
    });
}
