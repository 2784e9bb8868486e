//! Gratuitous ARP: tell the neighbours where an address is now.

use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;

use nix::libc;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

use super::mac::Mac;
use crate::{Error, Result};

const BROADCAST: [u8; 6] = [0xff; 6];

/// Announce on an interface of the calling thread's namespace.
pub fn announce(interface: &str, mac: Mac, address: Ipv4Addr) -> Result<()> {
    let index = if_nametoindex(interface).map_err(|e| failed(interface, e))?;
    let frame = frame(mac, address);
    let socket =
        socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll).map_err(|e| failed(interface, e))?;
    let mut to = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: (libc::ETH_P_ARP as u16).to_be(),
        sll_ifindex: index as i32,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: [0; 8],
    };
    to.sll_addr[..6].copy_from_slice(&BROADCAST);
    // nix offers no way to name a link as the destination of a raw frame.
    #[allow(unsafe_code)]
    // SAFETY: `frame` and `to` outlive the call, and the lengths given are theirs.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            0,
            (&raw const to).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    if sent < 0 { Err(failed(interface, std::io::Error::last_os_error())) } else { Ok(()) }
}

/// An ARP request for one's own address.
fn frame(mac: Mac, address: Ipv4Addr) -> Vec<u8> {
    let mut frame = Vec::with_capacity(42);
    frame.extend(BROADCAST);
    frame.extend(mac.bytes());
    // ARP; Ethernet and IPv4, 6 and 4 bytes long; request
    frame.extend([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1]);
    frame.extend(mac.bytes());
    frame.extend(address.octets());
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame
}

fn failed(interface: &str, error: impl std::fmt::Display) -> Error {
    Error::internal(format!("gratuitous ARP on {interface}: {error}"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_frame_asks_for_its_own_address() {
        let frame = super::frame("01:02:03:04:05:06".parse().unwrap(), "10.0.0.9".parse().unwrap());
        assert_eq!(frame.len(), 42);
        assert_eq!(frame[28..32], frame[38..42]);
    }
}
