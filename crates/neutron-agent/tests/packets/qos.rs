//! What policies do to the packets of floating IPs and gateways, how many packets a port's lets through, and ports that share a tap.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use rpc::network::{BandwidthLimit, PacketLimit, Qos, Router, TrunkMember};

use crate::cloud::Cloud;
use crate::guest::{Guest, connect, echo_server, knows_vlans, pings, root, shell};
use crate::sandbox::{eventually, sandboxed};
use crate::state::{PORT_A, PORT_B, PORT_C, ROUTER, rule};
use crate::{B, HOST};

/// How long it takes to send this much to a server and back.
fn transfer(from: &Guest, to: Ipv4Addr, bytes: usize) -> Duration {
    let mut stream = connect(from, to, 80).unwrap();
    let mut back = stream.try_clone().unwrap();
    let begin = Instant::now();
    let reader = std::thread::spawn(move || back.read_exact(&mut vec![0; bytes]).unwrap());
    stream.write_all(&vec![0; bytes]).unwrap();
    reader.join().unwrap();
    begin.elapsed()
}

#[test]
fn floating_ips_and_gateways_are_limited() {
    sandboxed("qos::floating_ips_and_gateways_are_limited", async {
        let mut cloud = Cloud::start().await;
        let [a, b] = cloud.guests([PORT_A, PORT_B]).await;
        echo_server(&root(), 80);
        let router = cloud.enter(&format!("cumulo-router-{ROUTER}"));
        let rules = || shell(&format!("{router} nft list table inet cumulo_traffic"));
        // A has a floating IP, B is behind the gateway's address.
        for (guest, floating) in [(&a, true), (&b, false)] {
            eventually("the host is reached", || pings(guest, HOST)).await;
            let free = transfer(guest, HOST, 1_000_000);
            for direction in ["egress", "ingress"] {
                let limit = BandwidthLimit { direction: direction.into(), max_kbps: 4000, max_burst_kbps: 0 };
                let qos = Qos { bandwidth_limits: vec![limit], ..Qos::default() };
                let change = |router: &mut Router, qos| match floating {
                    true => router.floating_ips[0].qos = qos,
                    false => router.gateway.as_mut().unwrap().qos = qos,
                };
                cloud.change_router(|router| change(router, qos)).await;
                eventually("the limit is there", || rules().contains(&format!("chain limit-{direction}"))).await;
                let limited = transfer(guest, HOST, 1_000_000);
                assert!(limited > Duration::from_millis(800) && limited > free * 2, "{floating} {direction}: {limited:?}, else {free:?}");
                cloud.change_router(|router| change(router, Qos::default())).await;
                eventually("the limit is gone", || !rules().contains(&format!("chain limit-{direction}"))).await;
            }
        }
    });
}

/// How many of so many datagrams come through, sent one after the other.
fn datagrams(from: &Guest, to: &Guest, count: usize) -> usize {
    let receiver = to.run(|| UdpSocket::bind(("0.0.0.0", 7777))).unwrap();
    receiver.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let counting = std::thread::spawn(move || std::iter::from_fn(|| receiver.recv(&mut [0; 64]).ok()).count());
    let sender = from.run(|| UdpSocket::bind(("0.0.0.0", 0))).unwrap();
    for n in 0..count {
        sender.send_to(b"packet", (B, 7777)).unwrap();
        // no faster than a receiver can take them
        if n % 50 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    counting.join().unwrap()
}

#[test]
fn packets_are_limited() {
    sandboxed("qos::packets_are_limited", async {
        let mut cloud = Cloud::start().await;
        let [a, b] = cloud.guests([PORT_A, PORT_B]).await;
        cloud.set_rules(vec![rule("egress", None, None), rule("ingress", None, None)]).await;
        eventually("all is open", || pings(&a, B)).await;
        assert!(datagrams(&a, &b, 5000) > 4500, "without a limit");
        for direction in ["egress", "ingress"] {
            let limit = PacketLimit { direction: direction.into(), max_kpps: 1, max_burst_kpps: 0 };
            let port = if direction == "egress" { PORT_A } else { PORT_B };
            cloud.change_port(port, |port| port.qos = Qos { packet_limits: vec![limit], ..Qos::default() }).await;
            let rules = || crate::guest::shell("nft list table bridge cumulo_limits");
            eventually("the limit is there", || rules().contains(&format!("chain {direction}-limits"))).await;
            let began = Instant::now();
            let through = datagrams(&a, &b, 5000) as f64;
            let most = 1000.0 * began.elapsed().as_secs_f64() + 200.0;
            assert!((100.0..most).contains(&through), "{direction}: {through} of 5000, at most {most}");
            cloud.change_port(port, |port| port.qos = Qos::default()).await;
            eventually("the limit is gone", || !rules().contains(&format!("chain {direction}-limits"))).await;
        }
    });
}

#[test]
fn a_trunk_carries_ports_of_other_networks() {
    sandboxed("qos::a_trunk_carries_ports_of_other_networks", async {
        if !knows_vlans() {
            return;
        }
        let mut cloud = Cloud::start().await;
        let a = Guest::plug(PORT_A);
        // C, of the second network, has no tap of its own.
        let trunk = TrunkMember { parent_port_id: PORT_A.into(), vlan: 7 };
        cloud.change_port(PORT_C, |port| port.trunk = Some(trunk)).await;
        cloud.wired(&[PORT_A, PORT_C]).await;
        a.dhcp();
        a.shell("ip link add link eth0 name eth0.7 address fa:16:3e:00:02:11 type vlan id 7; ip link set eth0.7 up");
        eventually("a lease in the other network", || {
            a.succeeds("busybox udhcpc -i eth0.7 -s /run/udhcpc.sh -O staticroutes -n -q -t 3 -T 1")
        })
        .await;
        assert!(a.shell("ip -4 address show eth0.7").contains("10.1.0.11/24"));
        a.shell("ip link set eth0.7 address fa:16:3e:66:66:66");
        assert!(!a.succeeds("busybox udhcpc -i eth0.7 -s /bin/true -n -q -t 2 -T 1"), "a spoofed MAC in the tag");
        cloud.change_port(PORT_C, |port| port.admin_state_up = false).await;
        eventually("the tag is gone", || !crate::guest::shell("ip -o link").contains("cut33333333-33")).await;
    });
}
