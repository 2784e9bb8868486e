//! Networks of several segments: each host has the one that it reaches, and what joins them is no business of the cloud's. And networks that
//! let their guests' own tags through.

use std::os::fd::AsRawFd;

use nix::libc;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use rpc::network::*;

use crate::B;
use crate::cloud::Cloud;
use crate::guest::{Guest, connects, echo_server, pings, root, shell};
use crate::hosts::{self, VTEP_2};
use crate::sandbox::{eventually, sandboxed};
use crate::state::{self, NET_1, PORT_A, PORT_B, PORT_C, rule};

/// The first network as one host has it: on a link of the host's.
fn on_segment(state: &mut HostState, physical_network: &str) {
    let network = state.networks.iter_mut().find(|network| network.id == NET_1).unwrap();
    (network.network_type, network.physical_network) = ("flat".into(), Some(physical_network.into()));
    network.segmentation_id = None;
    // neutron names no tunnel to hosts that have the network on a segment that is none
    network.peers.iter_mut().for_each(|peer| peer.vtep = None);
}

#[test]
fn segments_on_two_hosts_are_joined_outside() {
    sandboxed("segments::segments_on_two_hosts_are_joined_outside", async {
        let (mut first, mut second) = hosts::states(&[PORT_A, PORT_C], &[PORT_B]);
        on_segment(&mut first, "physnet1");
        on_segment(&mut second, "physnet2");
        let other = Guest::host("host-2", "192.0.2.1/24", "192.0.2.2/24");
        // What joins them: a switch between the hosts' links.
        shell("ip netns add switch; ip link add up1 type veth peer name p1 netns switch; ip link set up1 up");
        other.shell("ip link add up2 type veth peer name p2 netns /run/netns/switch; ip link set up2 up");
        let switch = "ip link add s type bridge; for link in p1 p2; do ip link set $link master s up; done; ip link set s up";
        shell(&format!("ip netns exec switch sh -c '{switch}'"));
        let uplink = |name: &str| neutron_agent::External { gateway: vec![], interface: Some(name.into()) };
        let mut here = Cloud::start_as(None, first, |config| {
            config.vtep = Some(hosts::VTEP_1.parse().unwrap());
            config.physical_networks.insert("physnet1".into(), uplink("up1"));
        })
        .await;
        let mut there = Cloud::start_as(Some(other.runtime()), second, |config| {
            config.vtep = Some(VTEP_2.parse().unwrap());
            config.physical_networks = [("physnet2".to_owned(), uplink("up2"))].into();
        })
        .await;
        let (a, b, c) = (Guest::plug(PORT_A), Guest::plug_on(&other, PORT_B), Guest::plug(PORT_C));
        here.wired(&[PORT_A, PORT_C]).await;
        there.wired(&[PORT_B]).await;
        for guest in [&a, &b, &c] {
            guest.dhcp();
        }
        echo_server(&b, 80);
        eventually("B, on the other segment", || connects(&a, B, 80)).await;
        assert!(!pings(&c, B), "another project's network is on no segment of this one's");
        for host in [&root(), &other] {
            assert!(!host.shell("ip -o link").contains(&format!("cuv{}", &NET_1[..11])), "no tunnel");
        }
        there.set_rules(vec![rule("egress", None, None), rule("ingress", Some("tcp"), Some((22, 22)))]).await;
        eventually("rules hold across segments", || !connects(&a, B, 80)).await;
        shell("ip netns exec switch ip link set p2 down");
        assert!(!connects(&a, B, 22), "nothing but the switch joins them");
    });
}

/// A frame with a tag, from a guest to B.
fn tagged(from: &Guest, tag: u16, source: [u8; 6]) {
    from.run(move || {
        let index = if_nametoindex("eth0").unwrap();
        let mut frame = vec![0xfa, 0x16, 0x3e, 0, 1, 0x12];
        frame.extend(source);
        frame.extend([0x81, 0]);
        frame.extend(tag.to_be_bytes());
        // an experimental protocol
        frame.extend([0x88, 0xb5]);
        frame.extend([7; 50]);
        let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::empty(), SockProtocol::EthAll).unwrap();
        // SAFETY: all of its bytes may be zero.
        #[allow(unsafe_code)]
        let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        (to.sll_family, to.sll_ifindex, to.sll_halen) = (libc::AF_PACKET as u16, index as i32, 6);
        // SAFETY: `frame` and `to` outlive the call, and the lengths given are theirs.
        #[allow(unsafe_code)]
        let sent = unsafe {
            let length = size_of_val(&to) as libc::socklen_t;
            libc::sendto(socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0, (&raw const to).cast(), length)
        };
        assert_eq!(sent, frame.len() as isize);
    });
}

#[test]
fn a_transparent_network_lets_guests_tags_through() {
    sandboxed("segments::a_transparent_network_lets_guests_tags_through", async {
        let mut cloud = Cloud::start().await;
        let [a, b] = cloud.guests([PORT_A, PORT_B]).await;
        let (mine, anothers) = ([0xfa, 0x16, 0x3e, 0, 1, 0x11], [0xfa, 0x16, 0x3e, 0x66, 0x66, 0x66]);
        let heard = |tag: u16, source: [u8; 6]| {
            let listening = std::thread::spawn({
                let b = b.clone();
                move || b.shell("timeout 2 tcpdump -i eth0 -c 1 -enn 'vlan' 2>/dev/null")
            });
            while !listening.is_finished() {
                tagged(&a, tag, source);
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
            listening.join().unwrap().contains("vlan")
        };
        assert!(!heard(7, mine), "a network is not transparent unless it says so");
        let network = Network { vlan_transparent: true, ..cloud.network(NET_1) };
        cloud.update(vec![Change::Network(network)]).await;
        eventually("a tag passes", || heard(7, mine)).await;
        assert!(!heard(7, anothers), "a spoofed MAC in the tag");
        assert!(!heard(0, mine), "tag 0 would be the network itself");
        assert!(state::mac(PORT_A) == "fa:16:3e:00:01:11" && pings(&a, B));
    });
}
