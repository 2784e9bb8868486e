//! What must not get through, and what must never be interrupted: guests that play servers, frames of every size, agents that come back.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::cloud::Cloud;
use crate::guest::{Guest, connect, pings, shell};
use crate::hosts;
use crate::ipv6::{ask_dhcpv6, contains};
use crate::sandbox::{eventually, sandboxed};
use crate::state::{self, PORT_A, PORT_B, PORT_C, rule};
use crate::{B, FLOATING};

/// DHCP and router advertisements for whoever listens.
const ROGUE: &str = "dnsmasq --keep-in-foreground --port=0 --interface=eth0 --bind-dynamic --dhcp-authoritative --no-ping \
    --dhcp-leasefile=/run/rogue.leases --pid-file=/run/rogue.pid --user=root \
    --dhcp-range=10.1.0.200,10.1.0.250,255.255.255.0 --dhcp-range=fd00:bad::,ra-only --enable-ra --ra-param=eth0,high,4,1800";

const TENTH: Duration = Duration::from_millis(100);

/// Ends with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A command that goes on in the guest.
fn keep(guest: &Guest, command: &str) -> Running {
    let mut command = guest.command(&format!("exec {command}"));
    Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

/// Frames a guest sees, as tcpdump writes them into a file.
fn capture(guest: &Guest, file: &str, filter: &str) -> Running {
    let running = keep(guest, &format!("tcpdump -i eth0 -nn -U -w {file} '{filter}'"));
    while !std::path::Path::new(file).exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    running
}

fn captured(file: &str) -> usize {
    shell(&format!("tcpdump -nn -r {file} 2>/dev/null")).lines().count()
}

#[test]
fn a_guest_serves_neither_addresses_nor_routes() {
    sandboxed("matrix::a_guest_serves_neither_addresses_nor_routes", async {
        let mut state = state::with_ipv6(state::state(), "slaac");
        let any =
            |ethertype: &str, direction| rpc::network::SecurityGroupRule { ethertype: ethertype.into(), ..rule(direction, None, None) };
        let all = [any("IPv4", "egress"), any("IPv4", "ingress"), any("IPv6", "egress"), any("IPv6", "ingress")];
        state.security_groups[0].rules = all.into();
        let mut cloud = Cloud::start_as(None, state, |_| {}).await;
        let (a, b) = (Guest::plug(PORT_A), Guest::plug(PORT_B));
        cloud.wired(&[PORT_A, PORT_B]).await;
        a.dhcp();
        eventually("both are there", || {
            a.shell("ip -6 address show eth0 scope global").contains("fd00:1:") && pings(&b, "fe80::f816:3eff:fe00:111%eth0")
        })
        .await;
        let bad = "(udp src port 67 or (icmp6 and ip6[40] == 134)) and ether src fa:16:3e:00:01:11";
        let _captures = (capture(&a, "/run/sent", bad), capture(&b, "/run/got", bad));
        a.shell("ip -6 address add fd00:bad::1/64 dev eth0 nodad");
        let _rogue = keep(&a, ROGUE);
        eventually("a lease, of the cloud", || b.try_dhcp()).await;
        assert!(b.shell("ip -4 address show eth0").contains("10.1.0.12/24"));
        eventually("the rogue advertises itself", || captured("/run/sent") > 0).await;
        b.shell("busybox udhcpc -i eth0 -s /bin/true -r 10.1.0.222 -n -q -t 2 -T 1");
        assert_eq!(captured("/run/got"), 0, "what A serves stays with A");
        assert!(!b.shell("ip -6 route").contains("fd00:bad::"));

        // The other guest's address, and the gateway's, say whose they are.
        a.shell("ip -6 address add fd00:1::1/64 dev eth0 nodad; sysctl -w net.ipv6.conf.eth0.ndisc_notify=1");
        b.shell("ip -6 neigh flush dev eth0");
        eventually("the gateway", || pings(&b, "fd00:1::1")).await;
        assert!(b.shell("ip -6 neigh show fd00:1::1").contains("fa:16:3e:00:01:01"), "{}", b.shell("ip -6 neigh"));
    });
}

#[test]
fn metadata_is_for_whom_the_address_belongs_to() {
    sandboxed("matrix::metadata_is_for_whom_the_address_belongs_to", async {
        let mut cloud = Cloud::start().await;
        let [a, b, c] = cloud.guests([PORT_A, PORT_B, PORT_C]).await;
        let ask = |guest: &Guest, from: &str| guest.shell(&format!("curl -s --max-time 3 --interface {from} http://169.254.169.254/"));
        assert!(ask(&a, "10.1.0.11").to_lowercase().contains("x-instance-id: server-a"));
        assert!(ask(&b, "10.1.0.12").to_lowercase().contains("x-instance-id: server-b"));
        // the same address in the other tenant's network is somebody else
        assert!(ask(&c, "10.1.0.11").to_lowercase().contains("x-instance-id: server-c"));
        a.shell("ip address add 10.1.0.12/24 dev eth0");
        assert_eq!(ask(&a, "10.1.0.12"), "", "B's address gets A nothing");
        // an address that the port may use, but that is no port's
        cloud
            .change_port(PORT_A, |port| {
                port.allowed_address_pairs = vec![rpc::network::AddressPair { ip_address: "10.1.0.77".into(), mac_address: None }];
            })
            .await;
        a.shell("ip address add 10.1.0.77/24 dev eth0");
        eventually("the pair", || a.succeeds("ping -c 1 -W 1 -I 10.1.0.77 10.1.0.2")).await;
        assert!(!ask(&a, "10.1.0.77").to_lowercase().contains("x-instance-id: server-b"));
    });
}

#[test]
fn stateless_dhcpv6_tells_what_advertisements_do_not() {
    sandboxed("matrix::stateless_dhcpv6_tells_what_advertisements_do_not", async {
        let mut state = state::with_ipv6(state::state(), "dhcpv6-stateless");
        state.security_groups[0].rules = vec![rpc::network::SecurityGroupRule { ethertype: "IPv6".into(), ..rule("egress", None, None) }];
        let mut cloud = Cloud::start_as(None, state, |_| {}).await;
        let a = Guest::plug(PORT_A);
        cloud.wired(&[PORT_A]).await;
        eventually("an address of A's own making", || {
            a.shell("ip -6 address show eth0 scope global").contains("fd00:1::f816:3eff:fe00:111")
        })
        .await;
        let told = || information(&a).is_some_and(|answer| contains(&answer, "fd00:1::2"));
        eventually("a name server by DHCPv6", told).await;
    });
}

/// What a DHCPv6 server answers to INFORMATION-REQUEST, if that is a REPLY.
fn information(guest: &Guest) -> Option<Vec<u8>> {
    // elapsed time; option request: DNS
    let answer = ask_dhcpv6(guest, 11, &[0, 8, 0, 2, 0, 0, 0, 6, 0, 2, 0, 23])?;
    (answer.first() == Some(&7)).then_some(answer)
}

#[test]
fn large_frames_cross_hosts_whole() {
    sandboxed("matrix::large_frames_cross_hosts_whole", async {
        let (mut first, mut second) = hosts::states(&[PORT_A], &[PORT_B]);
        for state in [&mut first, &mut second] {
            state.networks.iter_mut().for_each(|network| network.mtu = 8950);
        }
        let (other, mut here, mut there) = hosts::start(first, second).await;
        shell("ip link set wire0 mtu 9000");
        other.shell("ip link set eth0 mtu 9000");
        let (a, b) = (Guest::plug(PORT_A), Guest::plug_on(&other, PORT_B));
        for (guest, cloud, port) in [(&a, &mut here, PORT_A), (&b, &mut there, PORT_B)] {
            cloud.wired(&[port]).await;
            guest.dhcp();
            assert!(guest.shell("ip link show eth0").contains("mtu 8950"));
        }
        // 8950 is 28 more than what is in it
        eventually("a large frame, whole", || a.succeeds("ping -c 1 -W 1 -M do -s 8922 10.1.0.12")).await;
        assert!(!a.succeeds("ping -c 1 -W 1 -M do -s 8923 10.1.0.12"));
        eventually("in parts", || a.succeeds("ping -c 1 -W 2 -s 20000 10.1.0.12")).await;
    });
}

#[test]
fn no_packet_is_lost_while_an_agent_comes_back() {
    sandboxed("matrix::no_packet_is_lost_while_an_agent_comes_back", async {
        let mut cloud = Cloud::start().await;
        let [a, _b] = cloud.guests([PORT_A, PORT_B]).await;
        cloud.set_rules(vec![rule("egress", None, None), rule("ingress", Some("icmp"), None)]).await;
        eventually("A by its floating IP", || pings(&crate::guest::root(), FLOATING)).await;
        eventually("B", || pings(&a, B)).await;
        // a packet every five milliseconds, for as long as three restarts take; through the bridge and through the router
        let count = 3000;
        let ping = |to: String| format!("ping -q -i 0.005 -c {count} -W 5 {to} > /run/ping-{to} 2>&1");
        let mut inner = Running(a.command(&ping(B.to_string())).spawn().unwrap());
        let mut outer = Running(Command::new("sh").args(["-c", &ping(FLOATING.to_string())]).spawn().unwrap());
        for _ in 0..3 {
            cloud.stop_agent().await;
            cloud.start_agent();
            cloud.wired(&[PORT_A, PORT_B]).await;
        }
        // and changes that have nothing to do with it
        for last in 90..95 {
            cloud
                .update(vec![rpc::network::Change::Port(state::port(
                    "99999999-9999-4000-8000-000000000009",
                    state::NET_2,
                    "s",
                    &format!("10.1.0.{last}"),
                ))])
                .await;
        }
        for (pinging, to) in [(&mut inner, B), (&mut outer, FLOATING)] {
            pinging.0.wait().unwrap();
            let summary = std::fs::read_to_string(format!("/run/ping-{to}")).unwrap();
            assert!(summary.contains(&format!("{count} packets transmitted, {count} received, 0% packet loss")), "{summary}");
        }
    });
}

/// Sends as fast as it can through a connection to this listener until told to stop; answers how many bytes came in each tenth of a second.
fn stream(listener: TcpListener, mut sender: TcpStream, stop: Arc<AtomicBool>) -> JoinHandle<Vec<usize>> {
    let from = sender.local_addr().unwrap();
    let receiver = std::thread::spawn(move || {
        // others may have been tried before
        let mut accepted = listener.incoming().map(Result::unwrap);
        let mut stream = accepted.find(|stream| stream.peer_addr().is_ok_and(|peer| peer == from)).unwrap();
        let (mut tenths, mut began, mut block) = (vec![0], Instant::now(), vec![0; 1 << 16]);
        while let Ok(length @ 1..) = stream.read(&mut block) {
            while began.elapsed() >= TENTH {
                began += TENTH;
                tenths.push(0);
            }
            *tenths.last_mut().unwrap() += length;
        }
        tenths
    });
    std::thread::spawn(move || {
        let block = vec![7; 1 << 16];
        while !stop.load(Ordering::Relaxed) && sender.write_all(&block).is_ok() {}
    });
    receiver
}

#[test]
fn a_transfer_at_full_speed_does_not_stall_while_agents_come_back() {
    sandboxed("matrix::a_transfer_at_full_speed_does_not_stall_while_agents_come_back", async {
        let mut cloud = Cloud::start().await;
        let [a, b] = cloud.guests([PORT_A, PORT_B]).await;
        cloud.set_rules(vec![rule("egress", None, None), rule("ingress", Some("tcp"), Some((5201, 5201)))]).await;
        let listener = b.run(|| TcpListener::bind(("0.0.0.0", 5201))).unwrap();
        let mut sender = None;
        eventually("the port is open", || {
            sender = connect(&a, B, 5201);
            sender.is_some()
        })
        .await;
        let stop = Arc::new(AtomicBool::new(false));
        let receiver = stream(listener, sender.unwrap(), stop.clone());
        for _ in 0..3 {
            cloud.stop_agent().await;
            tokio::time::sleep(Duration::from_millis(300)).await;
            cloud.start_agent();
            cloud.wired(&[PORT_A, PORT_B]).await;
        }
        stop.store(true, Ordering::Relaxed);
        let tenths = receiver.join().unwrap();
        // a lost packet costs at least the 200 ms after which TCP sends it again; machines that test are busy
        let longest = tenths.split(|bytes| *bytes > 0).map(<[usize]>::len).max().unwrap_or_default();
        println!("{} tenths of a second, {} MB, the longest stall {longest} tenths", tenths.len(), tenths.iter().sum::<usize>() >> 20);
        assert!(tenths.len() > 9 && longest <= 5, "{tenths:?}");
    });
}
