//! ICMPv6 that the kernel does not speak by itself: router advertisements, and neighbour advertisements nobody asked for.

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::AsRawFd;

use ipnet::Ipv6Net;
use nix::libc;
use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, Type};
use tokio::net::UdpSocket;

use super::mac::Mac;
use crate::{Error, Result};

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// From `linux/icmpv6.h`.
const ICMPV6_FILTER: libc::c_int = 1;
/// Proof that no router was between.
const HOPS: u32 = 255;

/// A raw socket on one link, which hears router solicitations only.
pub struct Socket {
    /// Tokio has no raw sockets; receiving and sending datagrams is the same.
    socket: UdpSocket,
    index: u32,
}

impl Socket {
    /// On a link of the calling thread's namespace; inside a tokio runtime.
    pub fn open(link: &str) -> Result<Socket> {
        let index = if_nametoindex(link).map_err(|error| failed(link, error))?;
        let socket = raw(link, index).map_err(|error| failed(link, error))?;
        socket.set_nonblocking(true)?;
        Ok(Socket { socket: UdpSocket::from_std(socket.into())?, index })
    }

    pub async fn send_to_all(&self, message: &[u8]) -> Result<()> {
        self.socket.send_to(message, all_nodes(self.index)).await?;
        Ok(())
    }

    /// Waits until somebody asks for a router.
    pub async fn solicited(&self) -> Result<()> {
        let mut message = [0; 64];
        loop {
            let (length, _) = self.socket.recv_from(&mut message).await?;
            if message.get(..length).and_then(<[u8]>::first) == Some(&ROUTER_SOLICITATION) {
                return Ok(());
            }
        }
    }
}

/// Tell the neighbours where an address is now, on a link of the calling thread's namespace.
pub fn announce(link: &str, mac: Mac, address: Ipv6Addr) -> Result<()> {
    let index = if_nametoindex(link).map_err(|error| failed(link, error))?;
    // Router, override
    let mut message = vec![NEIGHBOUR_ADVERTISEMENT, 0, 0, 0, 0xa0, 0, 0, 0];
    message.extend(address.octets());
    message.extend([2, 1]);
    message.extend(mac.bytes());
    let to = SocketAddr::from(all_nodes(index));
    raw(link, index).and_then(|socket| socket.send_to(&message, &to.into())).map(|_| ()).map_err(|error| failed(link, error))
}

/// The beginning of a router advertisement. `managed`: addresses come by DHCPv6; `other`: the rest does. The kernel fills in the checksum.
pub fn advertisement(managed: bool, other: bool, lifetime: u16) -> Vec<u8> {
    let flags = if managed { 0x80 } else { 0 } | if other { 0x40 } else { 0 };
    let mut message = vec![ROUTER_ADVERTISEMENT, 0, 0, 0, 64, flags];
    message.extend(lifetime.to_be_bytes());
    message.extend([0; 8]);
    message
}

pub fn add_source(message: &mut Vec<u8>, mac: Mac) {
    message.extend([1, 1]);
    message.extend(mac.bytes());
}

pub fn add_mtu(message: &mut Vec<u8>, mtu: u32) {
    message.extend([5, 1, 0, 0]);
    message.extend(mtu.to_be_bytes());
}

/// A prefix on this link; `autonomous` ones are for addresses that guests make themselves. Lifetimes: valid, preferred.
pub fn add_prefix(message: &mut Vec<u8>, net: Ipv6Net, autonomous: bool, (valid, preferred): (u32, u32)) {
    message.extend([3, 4, net.prefix_len(), if autonomous { 0xc0 } else { 0x80 }]);
    message.extend(valid.to_be_bytes());
    message.extend(preferred.to_be_bytes());
    message.extend([0; 4]);
    message.extend(net.network().octets());
}

pub fn add_name_servers(message: &mut Vec<u8>, servers: &[Ipv6Addr], lifetime: u32) {
    // The length is a byte, of eight bytes each.
    let servers = servers.get(..servers.len().min(16)).unwrap_or_default();
    if servers.is_empty() {
        return;
    }
    message.extend([25, 1 + 2 * servers.len() as u8, 0, 0]);
    message.extend(lifetime.to_be_bytes());
    message.extend(servers.iter().flat_map(Ipv6Addr::octets));
}

fn all_nodes(index: u32) -> SocketAddrV6 {
    SocketAddrV6::new(ALL_NODES, 0, 0, index)
}

fn raw(link: &str, index: u32) -> std::io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
    hear_only(&socket, ROUTER_SOLICITATION)?;
    socket.bind_device(Some(link.as_bytes()))?;
    socket.set_multicast_if_v6(index)?;
    socket.set_multicast_hops_v6(HOPS)?;
    socket.set_multicast_loop_v6(false)?;
    Ok(socket)
}

/// Guests' pings and the like need not wake us.
fn hear_only(socket: &socket2::Socket, kind: u8) -> std::io::Result<()> {
    // Bits that are set block.
    let mut filter = [u32::MAX; 8];
    if let Some(word) = filter.get_mut(usize::from(kind / 32)) {
        *word &= !(1 << (kind % 32));
    }
    // No crate offers this option.
    #[allow(unsafe_code)]
    // SAFETY: `filter` outlives the call, and the length given is its.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_ICMPV6,
            ICMPV6_FILTER,
            filter.as_ptr().cast(),
            size_of_val(&filter) as libc::socklen_t,
        )
    };
    if set < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}

fn failed(link: &str, error: impl std::fmt::Display) -> Error {
    Error::internal(format!("ICMPv6 on {link}: {error}"))
}
