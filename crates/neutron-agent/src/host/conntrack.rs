//! Forgetting connections over netlink: what was established stays accepted, so entries of what is no longer allowed must go.
//!
//! Kernels differ in which filters they take, so the table is read and the entries that match are deleted one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

use crate::{Error, Result};

const NEW_OR_GET: u16 = 1 << 8;
const CTNETLINK_GET: u16 = NEW_OR_GET | 1;
const CTNETLINK_DELETE: u16 = NEW_OR_GET | 2;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
const CTA_TUPLE_IP: u16 = 1;
/// Attribute types carry flags in their two highest bits.
const TYPE: u16 = 0x3fff;
/// Of `struct nlmsghdr` and `struct nfgenmsg`.
const NLMSG_HEADER: usize = 16;
const HEADERS: usize = NLMSG_HEADER + 4;

/// Which connections of an address are to be forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doomed {
    All,
    /// Those with these peers.
    With(BTreeSet<IpNet>),
}

impl Doomed {
    pub fn and(self, other: Doomed) -> Doomed {
        match (self, other) {
            (Doomed::With(some), Doomed::With(others)) => Doomed::With(some.union(&others).copied().collect()),
            _ => Doomed::All,
        }
    }
}

/// By zone and address.
pub type Which = BTreeMap<(u16, IpAddr), Doomed>;

/// Forget these connections in the calling thread's namespace. Answers how many there were.
pub fn forget(which: &Which) -> Result<usize> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut entries = vec![];
    for family in [nix::libc::AF_INET as u8, nix::libc::AF_INET6 as u8] {
        entries.extend(dump(&socket, family)?);
    }
    let mut count = 0;
    for entry in entries.iter().filter(|entry| entry.is_doomed(which)) {
        delete(&socket, entry)?;
        count += 1;
    }
    Ok(count)
}

/// One connection: where it belongs, and its attributes as the kernel wrote them, to name it by.
#[derive(Debug)]
struct Entry {
    family: u8,
    zone: u16,
    addresses: Vec<IpAddr>,
    identity: Vec<u8>,
}

impl Entry {
    fn is_doomed(&self, which: &Which) -> bool {
        self.addresses.iter().any(|address| match which.get(&(self.zone, *address)) {
            None => false,
            Some(Doomed::All) => true,
            Some(Doomed::With(peers)) => {
                self.addresses.iter().any(|other| other != address && peers.iter().any(|peer| peer.contains(other)))
            }
        })
    }
}

fn dump(socket: &Socket, family: u8) -> Result<Vec<Entry>> {
    send(socket, CTNETLINK_GET, REQUEST | DUMP, family, &[])?;
    let mut entries = vec![];
    loop {
        let (bytes, _) = socket.recv_from_full()?;
        for (kind, message) in messages(&bytes) {
            match kind {
                NLMSG_DONE => return Ok(entries),
                NLMSG_ERROR => return Err(failed(message)),
                _ => entries.push(parse(family, message)),
            }
        }
    }
}

fn delete(socket: &Socket, entry: &Entry) -> Result<()> {
    send(socket, CTNETLINK_DELETE, REQUEST | ACK, entry.family, &entry.identity)?;
    let (bytes, _) = socket.recv_from_full()?;
    for (kind, message) in messages(&bytes) {
        // One that ended meanwhile is as good.
        if kind == NLMSG_ERROR && !matches!(errno(message), 0 | nix::libc::ENOENT) {
            return Err(failed(message));
        }
    }
    Ok(())
}

fn send(socket: &Socket, kind: u16, flags: u16, family: u8, attributes: &[u8]) -> Result<()> {
    let length = (HEADERS + attributes.len()) as u32;
    let mut message = Vec::with_capacity(length as usize);
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]);
    message.extend([family, 0, 0, 0]);
    message.extend(attributes);
    socket.send(&message, 0)?;
    Ok(())
}

/// The messages in a datagram: type, and what follows the netlink header.
fn messages(bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut out = vec![];
    let mut rest = bytes;
    while let (Some(length), Some(kind)) = (rest.get(..4), rest.get(4..6)) {
        let length = u32::from_ne_bytes(length.try_into().unwrap_or_default()) as usize;
        let Some(body) = rest.get(NLMSG_HEADER..length) else {
            break;
        };
        out.push((u16::from_ne_bytes(kind.try_into().unwrap_or_default()), body));
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    out
}

fn parse(family: u8, message: &[u8]) -> Entry {
    let mut entry = Entry { family, zone: 0, addresses: vec![], identity: vec![] };
    for (kind, value, whole) in attributes(message.get(4..).unwrap_or_default()) {
        match kind {
            CTA_TUPLE_ORIG | CTA_TUPLE_REPLY => {
                let ips = attributes(value).into_iter().filter(|(kind, ..)| *kind == CTA_TUPLE_IP);
                entry.addresses.extend(ips.flat_map(|(_, ips, _)| attributes(ips)).filter_map(|(_, ip, _)| address(ip)));
            }
            CTA_ZONE => entry.zone = u16::from_be_bytes(value.try_into().unwrap_or_default()),
            _ => {}
        }
        if matches!(kind, CTA_TUPLE_ORIG | CTA_ZONE | CTA_ID) {
            entry.identity.extend(whole);
            entry.identity.resize(entry.identity.len().next_multiple_of(4), 0);
        }
    }
    entry
}

/// Attributes: type, value, and the whole with its header.
fn attributes(bytes: &[u8]) -> Vec<(u16, &[u8], &[u8])> {
    let mut out = vec![];
    let mut rest = bytes;
    while let (Some(length), Some(kind)) = (rest.get(..2), rest.get(2..4)) {
        let length = usize::from(u16::from_ne_bytes(length.try_into().unwrap_or_default()));
        let (Some(whole), Some(value)) = (rest.get(..length), rest.get(4..length)) else {
            break;
        };
        out.push((u16::from_ne_bytes(kind.try_into().unwrap_or_default()) & TYPE, value, whole));
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    out
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
        _ => None,
    }
}

fn errno(message: &[u8]) -> i32 {
    message.get(..4).and_then(|code| code.try_into().ok()).map(|code| -i32::from_ne_bytes(code)).unwrap_or_default()
}

fn failed(message: &[u8]) -> Error {
    Error::internal(format!("conntrack: {}", std::io::Error::from_raw_os_error(errno(message))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut out = ((value.len() + 4) as u16).to_ne_bytes().to_vec();
        out.extend(kind.to_ne_bytes());
        out.extend(value);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    #[test]
    fn an_entry_has_addresses_a_zone_and_what_names_it() {
        let ips = [attribute(1, &[10, 0, 0, 1]), attribute(2, &[10, 0, 0, 2])].concat();
        let tuple = attribute(CTA_TUPLE_ORIG | 0x8000, &attribute(CTA_TUPLE_IP | 0x8000, &ips));
        let zone = attribute(CTA_ZONE, &7u16.to_be_bytes());
        let message = [vec![2, 0, 0, 0], tuple.clone(), attribute(9, &[1]), zone.clone()].concat();
        let entry = parse(2, &message);
        assert_eq!(entry.zone, 7);
        assert_eq!(entry.addresses, ["10.0.0.1", "10.0.0.2"].map(|ip| ip.parse::<IpAddr>().unwrap()));
        assert_eq!(entry.identity, [tuple, zone].concat());
    }
    #[test]
    fn an_entry_goes_with_its_address_or_with_both_ends() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let entry = Entry { family: 2, zone: 7, addresses: vec![ip("10.0.0.1"), ip("10.0.0.2")], identity: vec![] };
        let doomed = |zone, address: &str, doomed: Doomed| entry.is_doomed(&Which::from([((zone, ip(address)), doomed)]));
        assert!(doomed(7, "10.0.0.2", Doomed::All) && !doomed(8, "10.0.0.2", Doomed::All));
        let with = |peer: &str| Doomed::With(BTreeSet::from([peer.parse().unwrap()]));
        assert!(doomed(7, "10.0.0.1", with("10.0.0.2/32")) && doomed(7, "10.0.0.1", with("10.0.0.0/24")));
        assert!(!doomed(7, "10.0.0.1", with("10.0.0.3/32")) && !doomed(7, "10.0.0.1", with("10.0.0.1/32")));
    }
}
