//! Guests of two projects with the same addresses, on two hosts: who reaches whom is what their rules say, and nothing else.

use std::net::{Ipv4Addr, SocketAddrV4};

use rpc::network::*;
use socket2::{Domain, Protocol, Socket, Type};

use crate::B;
use crate::cloud::Cloud;
use crate::guest::{Guest, connect, echo_server, echoes, name_server, pings, who};
use crate::hosts::{VTEP_2, peer, start, states};
use crate::sandbox::{eventually, sandboxed};
use crate::state::{self, GROUP_1, GROUP_2, NET_2, PORT_A, PORT_B, PORT_C, PORT_D, rule};

const A: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 11);

/// The first project lets its own in on port 80; the second lets its subnet ping, and D on port 22.
fn groups() -> Vec<SecurityGroup> {
    let web = SecurityGroupRule { remote_group_id: Some(GROUP_1.into()), ..rule("ingress", Some("tcp"), Some((80, 80))) };
    let ping = SecurityGroupRule { remote_ip_prefix: Some("10.1.0.0/24".into()), ..rule("ingress", Some("icmp"), None) };
    let ssh = SecurityGroupRule { remote_ip_prefix: Some("10.1.0.12/32".into()), ..rule("ingress", Some("tcp"), Some((22, 22))) };
    let members = ["10.1.0.11", "10.1.0.12"];
    let with = |id: &str, mut rules: Vec<SecurityGroupRule>| {
        rules.push(rule("egress", None, None));
        SecurityGroup { rules, ..state::group(id, &members) }
    };
    vec![with(GROUP_1, vec![web]), with(GROUP_2, vec![ping, ssh])]
}

/// A and C on the first host, B and D on the second; A and B are one project, C and D the other.
fn two_projects() -> (HostState, HostState) {
    let (mut first, mut second) = states(&[PORT_A, PORT_C], &[PORT_B]);
    let d = state::port(PORT_D, NET_2, "server-d", "10.1.0.12");
    let of_second_project = |state: &mut HostState, known: Peer| {
        let network = state.networks.iter_mut().find(|network| network.id == NET_2).unwrap();
        network.peers.push(known);
    };
    of_second_project(&mut first, peer(PORT_D, &d.mac_address, "10.1.0.12", VTEP_2));
    second.ports.push(d);
    for state in [&mut first, &mut second] {
        state.security_groups = groups();
    }
    (first, second)
}

#[test]
fn who_reaches_whom_is_what_the_rules_say() {
    sandboxed("projects::who_reaches_whom_is_what_the_rules_say", async {
        let (first, second) = two_projects();
        let (other, mut here, mut there) = start(first, second).await;
        let [a, c] = [PORT_A, PORT_C].map(Guest::plug);
        let [b, d] = [PORT_B, PORT_D].map(|port| Guest::plug_on(&other, port));
        here.wired(&[PORT_A, PORT_C]).await;
        there.wired(&[PORT_B, PORT_D]).await;
        for (guest, name) in [(&a, "a"), (&b, "b"), (&c, "c"), (&d, "d")] {
            guest.dhcp();
            name_server(guest, 22, name);
            name_server(guest, 80, name);
        }
        // from, to, and who answers: at port 22, at port 80; and whether a ping is answered
        let matrix = [("a", &a, B, "", "b", false), ("b", &b, A, "", "a", false), ("c", &c, B, "", "", true), ("d", &d, A, "c", "", true)];
        for (from, guest, to, ssh, web, ping) in matrix {
            let expected = (ssh.to_owned(), web.to_owned(), ping);
            eventually(&format!("{from} reaches what it may at {to}"), || {
                (who(guest, to, 22), who(guest, to, 80), pings(guest, to)) == expected
            })
            .await;
        }
        one_projects_rules_are_not_the_others(&mut here, &mut there, [&a, &c, &d]).await;
    });
}

/// The first project closes: its flows end, the other's go on.
async fn one_projects_rules_are_not_the_others(here: &mut Cloud, there: &mut Cloud, [a, c, d]: [&Guest; 3]) {
    echo_server(c, 2222);
    let wider = SecurityGroupRule { remote_ip_prefix: Some("10.1.0.12/32".into()), ..rule("ingress", Some("tcp"), Some((22, 2222))) };
    let group = SecurityGroup { rules: vec![wider, rule("egress", None, None)], ..state::group(GROUP_2, &["10.1.0.11", "10.1.0.12"]) };
    for host in [&mut *here, &mut *there] {
        host.update(vec![Change::SecurityGroup(group.clone())]).await;
    }
    eventually("D at C's new port", || connect(d, A, 2222).is_some()).await;
    let mut flow = connect(d, A, 2222).unwrap();
    assert!(echoes(&mut flow));
    for host in [here, there] {
        host.set_rules(vec![rule("egress", None, None)]).await;
    }
    eventually("A no longer reaches B", || who(a, B, 80).is_empty()).await;
    assert!(echoes(&mut flow) && who(d, A, 22) == "c", "the second project notices nothing");
}

#[test]
fn guests_share_an_address_as_vrrp_does() {
    sandboxed("projects::guests_share_an_address_as_vrrp_does", async {
        const SHARED: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 100);
        let (first, second) = two_projects();
        let (other, mut here, mut there) = start(first, second).await;
        let (a, b) = (Guest::plug(PORT_A), Guest::plug_on(&other, PORT_B));
        let c = Guest::plug(PORT_C);
        here.wired(&[PORT_A, PORT_C]).await;
        there.wired(&[PORT_B]).await;
        [&a, &b].into_iter().for_each(Guest::dhcp);
        let open = vec![rule("egress", None, None), rule("ingress", None, None)];
        let pair = AddressPair { ip_address: SHARED.to_string(), mac_address: None };
        for (cloud, port) in [(&mut here, PORT_A), (&mut there, PORT_B)] {
            cloud.set_rules(open.clone()).await;
            cloud.change_port(port, |port| port.allowed_address_pairs = vec![pair.clone()]).await;
        }
        // VRRP itself is IP protocol 112, to a group of all routers
        let heard = std::thread::spawn({
            let b = b.clone();
            move || b.shell("timeout 20 tcpdump -i eth0 -c 1 -nn 'ip proto 112' 2>/dev/null")
        });
        eventually("advertisements reach the other router", || {
            advertise(&a);
            heard.is_finished()
        })
        .await;
        assert!(heard.join().unwrap().contains("10.1.0.11 > 224.0.0.18"));

        // the master has the address; when the other takes it over, it says so
        let take =
            |guest: &Guest| guest.shell("ip address add 10.1.0.100/32 dev eth0; busybox arping -U -c 2 -I eth0 -s 10.1.0.100 10.1.0.100");
        take(&a);
        eventually("B sees A have it", || pings(&b, SHARED)).await;
        assert!(b.shell("ip neigh show 10.1.0.100").contains("fa:16:3e:00:01:11"));
        a.shell("ip address del 10.1.0.100/32 dev eth0");
        b.shell("ip neigh flush dev eth0");
        take(&b);
        eventually("A sees B have it", || pings(&a, SHARED)).await;
        assert!(a.shell("ip neigh show 10.1.0.100").contains("fa:16:3e:00:01:12"));
        // who was not allowed does not get it
        c.shell("ip address add 10.1.0.100/32 dev eth0");
        assert!(!c.succeeds("ping -c 1 -W 1 -I 10.1.0.100 10.1.0.2"));
    });
}

/// One advertisement of VRRP: version 2, priority 100, one address.
fn advertise(from: &Guest) {
    from.run(|| {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(112))).unwrap();
        let group = SocketAddrV4::new(Ipv4Addr::new(224, 0, 0, 18), 0);
        let message = [0x21, 1, 100, 1, 0, 1, 0, 0, 10, 1, 0, 100, 0, 0, 0, 0, 0, 0, 0, 0];
        socket.bind_device(Some(b"eth0")).unwrap();
        socket.send_to(&message, &group.into()).unwrap();
    });
}
