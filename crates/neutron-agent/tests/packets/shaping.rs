//! Limits of bandwidth of ports: what comes through, both ways, how much at once, and that limits come, stay and go.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use rpc::compute::tap_name;
use rpc::network::{BandwidthLimit, Qos};

use crate::B;
use crate::cloud::Cloud;
use crate::guest::{Guest, connect, echo_server, pings, shell};
use crate::sandbox::{eventually, sandboxed};
use crate::state::{PORT_A, PORT_B, rule};

/// After what may pass at once has passed.
const AFTER: Duration = Duration::from_secs(2);
const MEASURED: Duration = Duration::from_secs(4);

fn limits(directions: &[&str], max_kbps: u32, max_burst_kbps: u32) -> Qos {
    let limit = |direction: &&str| BandwidthLimit { direction: (*direction).into(), max_kbps, max_burst_kbps };
    Qos { bandwidth_limits: directions.iter().map(limit).collect(), dscp_mark: Some(46), ..Qos::default() }
}

/// The kbit/s that one connection has, once it has run for a while.
fn speed(from: &Guest, to: &Guest, port: u16) -> f64 {
    let listener = to.run(move || TcpListener::bind(("0.0.0.0", port))).unwrap();
    let mut sender = connect(from, B, port).unwrap();
    let mut receiver = listener.accept().unwrap().0;
    std::thread::spawn(move || {
        let block = vec![7; 1 << 14];
        while sender.write_all(&block).is_ok() {}
    });
    let (began, mut block, mut bytes, mut first) = (Instant::now(), vec![0; 1 << 16], 0, None);
    loop {
        let length = receiver.read(&mut block).unwrap();
        let now = began.elapsed();
        match first {
            None if now > AFTER => first = Some(now),
            None => {}
            Some(first) => {
                bytes += length;
                if now > first + MEASURED {
                    return bytes as f64 * 8.0 / 1000.0 / (now - first).as_secs_f64();
                }
            }
        }
    }
}

/// How long so much takes there and back.
fn transfer(from: &Guest, bytes: usize) -> Duration {
    let mut stream = connect(from, B, 80).unwrap();
    let mut back = stream.try_clone().unwrap();
    let begin = Instant::now();
    let reader = std::thread::spawn(move || back.read_exact(&mut vec![0; bytes]).unwrap());
    stream.write_all(&vec![0; bytes]).unwrap();
    reader.join().unwrap();
    begin.elapsed()
}

/// Does the agent shape here, or has the kernel nothing to do it with?
fn shapes() -> bool {
    let known = shell(
        "ip link add probe9 type ifb && tc qdisc add dev probe9 root tbf rate 1mbit burst 10k limit 10k && echo yes; ip link del probe9",
    );
    if known != "yes\n" {
        println!("this kernel has no token buckets: only what exceeds is dropped");
    }
    known == "yes\n"
}

fn qdiscs() -> String {
    shell(&format!("tc qdisc show dev {}; tc qdisc show dev cui11111111-11 2>&1", tap_name(PORT_A)))
}

#[test]
fn bandwidth_is_what_the_policy_says() {
    sandboxed("shaping::bandwidth_is_what_the_policy_says", async {
        let mut cloud = Cloud::start().await;
        let [a, b] = cloud.guests([PORT_A, PORT_B]).await;
        cloud.set_rules(vec![rule("egress", None, None), rule("ingress", None, None)]).await;
        eventually("all is open", || pings(&a, B)).await;
        let shapes = shapes();
        // B hears from A: what A may send and what B may get are two ways to say the same.
        for (port, direction, service) in [(PORT_A, "egress", 5001), (PORT_B, "ingress", 5002)] {
            cloud.change_port(port, |port| port.qos = limits(&[direction], 20_000, 0)).await;
            cloud.wired(&[port]).await;
            let reached = speed(&a, &b, service);
            println!("{direction}: {reached:.0} of 20000 kbit/s");
            // what is counted is what the connection carries, without its headers; without shaping it also loses what it sends too fast
            let least = if shapes { 18_000.0 } else { 5_000.0 };
            assert!((least..22_000.0).contains(&reached), "{direction}: {reached}\n{}", qdiscs());
            cloud.change_port(port, |port| port.qos = Qos::default()).await;
            cloud.wired(&[port]).await;
            let free = speed(&a, &b, service + 10);
            assert!(free > 40_000.0, "no limit any more: {free}");
        }
        // Half a megabyte at once, and then half a megabyte a second.
        echo_server(&b, 80);
        cloud.change_port(PORT_A, |port| port.qos = limits(&["egress", "ingress"], 4000, 4000)).await;
        cloud.wired(&[PORT_A]).await;
        let (small, large) = (transfer(&a, 400_000), transfer(&a, 1_400_000));
        println!("400 kB after {small:?}, 1400 kB after {large:?}");
        assert!(small < Duration::from_millis(700) && large > Duration::from_millis(1600), "{small:?} {large:?}");
        // Expedited forwarding, 46, is 0xb8 in the second byte.
        let capture = std::thread::spawn(move || b.shell("timeout 5 tcpdump -i eth0 -c 1 -nn 'icmp and ip[1] == 0xb8' 2>/dev/null"));
        std::thread::sleep(Duration::from_millis(500));
        a.shell("ping -c 8 -i 0.3 -W 1 10.1.0.12");
        assert!(capture.join().unwrap().contains("10.1.0.11 > 10.1.0.12"), "what waited is still marked");
    });
}

#[test]
fn limits_stay_are_repaired_and_go() {
    sandboxed("shaping::limits_stay_are_repaired_and_go", async {
        if !shapes() {
            return;
        }
        let mut cloud = Cloud::start().await;
        let [a, _b] = cloud.guests([PORT_A, PORT_B]).await;
        cloud.set_rules(vec![rule("egress", None, None), rule("ingress", None, None)]).await;
        cloud.change_port(PORT_A, |port| port.qos = limits(&["egress", "ingress"], 8000, 800)).await;
        let both =
            || qdiscs().matches("qdisc tbf").count() == 2 && qdiscs().matches("rate 8Mbit").count() == 2 && qdiscs().contains("ingress");
        eventually("limits both ways", both).await;
        let made = qdiscs();
        cloud.stop_agent().await;
        cloud.start_agent();
        cloud.wired(&[PORT_A]).await;
        assert_eq!(made, qdiscs(), "the next agent leaves them alone");

        cloud.change_port(PORT_A, |port| port.qos = limits(&["egress", "ingress"], 9000, 800)).await;
        eventually("another rate", || qdiscs().matches("rate 9Mbit").count() == 2).await;
        shell("ip link del cui11111111-11");
        eventually("the detour is there again", || qdiscs().matches("rate 9Mbit").count() == 2 && pings(&a, B)).await;
        shell(&format!("tc qdisc del dev {} ingress", tap_name(PORT_A)));
        eventually("and leads to it again", || qdiscs().contains("ingress")).await;
        shell(&format!("tc qdisc del dev {} root", tap_name(PORT_A)));
        eventually("what goes to the guest waits again", || qdiscs().matches("rate 9Mbit").count() == 2).await;

        cloud.change_port(PORT_A, |port| port.qos = Qos::default()).await;
        let none = || !qdiscs().contains("tbf") && !qdiscs().contains("ingress") && !shell("ip -o link").contains(": cui");
        eventually("no limits", none).await;
        assert!(pings(&a, B));
        // An agent that did not see them go removes what an earlier one left.
        cloud.change_port(PORT_A, |port| port.qos = limits(&["egress"], 8000, 0)).await;
        eventually("a limit", || shell("ip -o link").contains(": cui")).await;
        cloud.stop_agent().await;
        cloud.change_port(PORT_A, |port| port.qos = Qos::default()).await;
        cloud.start_agent();
        eventually("nothing is left", none).await;
        assert!(pings(&a, B));
    });
}
