//! Metadata where no DHCP server is: asked of the router, by guests here and on other hosts.

use std::net::Ipv4Addr;

use rpc::network::*;

use crate::cloud::Cloud;
use crate::guest::{Guest, connects, root, shell};
use crate::hosts;
use crate::sandbox::{eventually, sandboxed};
use crate::state::{self, NET_1, NET_2, PORT_A, PORT_B, PORT_C, rule};
use crate::{GATEWAY, HOST};

const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// Nobody is told an address, and no namespace of a network stands.
fn without_dhcp(mut state: HostState) -> HostState {
    for network in &mut state.networks {
        network.dhcp = None;
        network.subnets.iter_mut().for_each(|subnet| subnet.enable_dhcp = false);
    }
    state
}

/// As a configuration drive would have it done.
fn configure(guest: &Guest, address: &str) {
    guest.shell(&format!("ip address add {address}/24 dev eth0; ip link set eth0 mtu 1450; ip route add default via 10.1.0.1"));
}

/// Who nova's metadata API would take the guest for; or what it is told instead, nothing when nobody answers.
fn asks(guest: &Guest, address: &str) -> String {
    let get = format!("curl -s -i -g --max-time 5 -H 'X-Instance-ID: somebody-else' 'http://{address}/openstack/latest/meta_data.json'");
    let answer = guest.shell(&get).to_lowercase();
    let who = answer.lines().find_map(|line| line.strip_prefix("x-instance-id: "));
    who.map_or_else(|| answer.lines().next().unwrap_or_default().to_owned(), str::to_owned)
}

#[test]
fn a_router_tells_guests_without_dhcp_who_they_are() {
    sandboxed("metadata::a_router_tells_guests_without_dhcp_who_they_are", async {
        let mut state = without_dhcp(state::with_ipv6(state::state(), "slaac"));
        // The second project has a router of its own, for the same addresses.
        let mut second = state::router();
        second.id = "cccccccc-cccc-4000-8000-000000000002".into();
        (second.gateway, second.project_id) = (None, "tenant-2".into());
        second.floating_ips.clear();
        let leg = &mut second.interfaces[0];
        (leg.port_id, leg.network_id) = ("45454545-4444-4000-8000-000000000004".into(), NET_2.into());
        leg.addresses.truncate(1);
        state.routers.push(second);
        let out = SecurityGroupRule { ethertype: "IPv6".into(), ..rule("egress", None, None) };
        state.security_groups[0].rules.push(out);

        let mut cloud = Cloud::start_as(None, state, |_| {}).await;
        let [a, b, c] = [PORT_A, PORT_B, PORT_C].map(Guest::plug);
        cloud.wired(&[PORT_A, PORT_B, PORT_C]).await;
        assert_eq!(shell("pidof dnsmasq"), "");
        for (guest, address) in [(&a, "10.1.0.11"), (&b, "10.1.0.12"), (&c, "10.1.0.11")] {
            configure(guest, address);
        }
        eventually("metadata by way of the router", || connects_to_service(&a)).await;
        for (guest, server) in [(&a, "server-a"), (&b, "server-b"), (&c, "server-c")] {
            assert_eq!(asks(guest, "169.254.169.254"), server);
        }
        let addresses = || a.shell("ip -6 address show eth0");
        eventually("an address by SLAAC", || addresses().contains("fd00:1:") && !addresses().contains("tentative")).await;
        assert!(a.shell("ip -6 route").contains("default via fe80::f816:3eff:fe00:101"), "the router is known by its own address");
        assert_eq!(asks(&a, "[fe80::a9fe:a9fe%25eth0]"), "server-a");

        // Nowhere else does it listen, and nobody outside is told.
        assert!(!connects(&a, Ipv4Addr::new(10, 1, 0, 1), 80) && !connects(&root(), GATEWAY, 80));
        shell(&format!("ip route add {METADATA}/32 via {GATEWAY}"));
        assert!(!root().run(|| std::net::TcpStream::connect((METADATA, 80)).is_ok()), "{HOST} is no guest");
        shell(&format!("ip route del {METADATA}/32; ip neigh flush to {METADATA}"));
        assert!(!root().succeeds(&format!("busybox arping -c 1 -w 1 -I cuxeeeeeeee-ee {METADATA}")), "no ARP for it");

        // A leg that is made again, an agent that comes back, a server that has another port.
        let router = cloud.enter(&format!("cumulo-router-{}", state::ROUTER));
        shell(&format!("{router} ip link del qr-44444444-44"));
        eventually("the leg is there again", || asks(&a, "169.254.169.254") == "server-a").await;
        cloud.stop_agent().await;
        cloud.start_agent();
        eventually("the next agent listens", || asks(&a, "169.254.169.254") == "server-a").await;
        cloud.change_port(PORT_A, |port| port.device_id = "server-z".into()).await;
        eventually("another server", || asks(&a, "169.254.169.254") == "server-z").await;
    });
}

fn connects_to_service(guest: &Guest) -> bool {
    crate::guest::connect(guest, METADATA, 80).is_some()
}

#[test]
fn a_router_knows_the_guests_of_other_hosts() {
    sandboxed("metadata::a_router_knows_the_guests_of_other_hosts", async {
        let (first, second) = hosts::states(&[PORT_A], &[PORT_B]);
        let (mut first, mut second) = (without_dhcp(first), without_dhcp(second));
        let router = state::router();
        let leg = &router.interfaces[0];
        second.networks[0].peers.push(hosts::peer(&leg.port_id, &leg.mac_address, "10.1.0.1", hosts::VTEP_1));
        first.routers = vec![router];
        let mut far = first.networks[0].peers[0].clone();
        (far.device_id, far.project_id) = ("server-b".into(), "tenant-1".into());
        first.networks[0].peers = vec![far.clone()];
        let (other, mut here, mut there) = hosts::start(first, second).await;
        let (a, b) = (Guest::plug(PORT_A), Guest::plug_on(&other, PORT_B));
        here.wired(&[PORT_A]).await;
        there.wired(&[PORT_B]).await;
        configure(&a, "10.1.0.11");
        configure(&b, "10.1.0.12");
        eventually("metadata across hosts", || connects_to_service(&b)).await;
        assert_eq!((asks(&a, "169.254.169.254"), asks(&b, "169.254.169.254")), ("server-a".into(), "server-b".into()));
        far.device_id.clear();
        here.update(vec![Change::Peers { network_id: NET_1.into(), now: vec![far], gone: vec![] }]).await;
        eventually("a port without a server is nobody", || asks(&b, "169.254.169.254").ends_with("404 not found")).await;
    });
}
