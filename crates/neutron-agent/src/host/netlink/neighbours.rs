//! Permanent neighbours, and the forwarding of bridges and VXLAN devices.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use futures::StreamExt;
use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{Netlink, all, is_missing};
use crate::Result;
use crate::host::mac::Mac;

/// Where frames for no MAC in particular, and for unknown ones, are sent.
const EVERYBODY: [u8; 6] = [0; 6];

/// Frames for this MAC go this way; [`Forward::flood`] is for those that nothing is known of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Forward {
    mac: [u8; 6],
    hop: Hop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hop {
    /// Of a VXLAN device: to this host.
    Host(IpAddr),
    /// Of a bridge: to the link that the entry is of.
    Link,
}

impl Forward {
    pub fn to(mac: [u8; 6], hop: Hop) -> Forward {
        Forward { mac, hop }
    }

    pub fn flood(host: IpAddr) -> Forward {
        Forward { mac: EVERYBODY, hop: Hop::Host(host) }
    }

    /// Is this what `other` makes of the same MAC? Then setting `other` replaces it.
    pub fn is_replaced_by(&self, other: &Forward) -> bool {
        self.mac != EVERYBODY && self.mac == other.mac && std::mem::discriminant(&self.hop) == std::mem::discriminant(&other.hop)
    }
}

impl Netlink {
    /// Permanent neighbours of a link: address to MAC.
    pub async fn neighbours(&self, index: u32) -> Result<BTreeMap<IpAddr, Vec<u8>>> {
        Ok(self.all_neighbours().await?.remove(&index).unwrap_or_default())
    }

    /// Permanent neighbours of all links, by their index.
    pub async fn all_neighbours(&self) -> Result<BTreeMap<u32, BTreeMap<IpAddr, Vec<u8>>>> {
        let mut out: BTreeMap<u32, BTreeMap<IpAddr, Vec<u8>>> = BTreeMap::new();
        let messages = all("list neighbours", self.handle.neighbours().get().execute()).await?;
        for message in messages.iter().filter(|m| m.header.state == NeighbourState::Permanent) {
            if let Some((address, mac)) = parse_neighbour(message) {
                out.entry(message.header.ifindex).or_default().insert(address, mac);
            }
        }
        Ok(out)
    }

    /// What bridges and VXLAN devices were told of forwarding, by the index of the link.
    pub async fn forwarding(&self) -> Result<BTreeMap<u32, BTreeSet<Forward>>> {
        let mut out: BTreeMap<u32, BTreeSet<Forward>> = BTreeMap::new();
        let request = self.handle.neighbours().get().set_address_family(AddressFamily::Bridge);
        for message in all("list forwarding", request.execute()).await? {
            if let Some(forward) = parse_forward(&message) {
                out.entry(message.header.ifindex).or_default().insert(forward);
            }
        }
        Ok(out)
    }

    pub async fn add_forward(&self, index: u32, forward: &Forward) -> Result<()> {
        let mut request = NetlinkMessage::from(RouteNetlinkMessage::NewNeighbour(forward_message(index, forward)));
        // There are many ways to everybody, but one to a MAC.
        let how = if forward.mac == EVERYBODY { NLM_F_APPEND } else { NLM_F_REPLACE };
        request.header.flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | how;
        let answers = self.handle.clone().request(request).map_err(|error| super::failed("add forwarding", error))?;
        let mut answers = std::pin::pin!(answers);
        while let Some(answer) = answers.next().await {
            if let NetlinkPayload::Error(error) = answer.payload {
                return Err(super::failed("add forwarding", rtnetlink::Error::NetlinkError(error)));
            }
        }
        Ok(())
    }

    /// Succeeds when it is already gone.
    pub async fn delete_forward(&self, index: u32, forward: &Forward) -> Result<()> {
        match self.handle.neighbours().del(forward_message(index, forward)).execute().await {
            Err(error) if !is_missing(&error) => Err(super::failed("delete forwarding", error)),
            _ => Ok(()),
        }
    }

    pub async fn add_neighbour(&self, index: u32, address: IpAddr, mac: Mac) -> Result<()> {
        let request = self.handle.neighbours().add(index, address).link_layer_address(&mac.bytes()).replace();
        self.done(&format!("add neighbour {address}"), request.execute()).await
    }

    pub async fn delete_neighbour(&self, index: u32, address: IpAddr) -> Result<()> {
        let messages = all("list neighbours", self.handle.neighbours().get().execute()).await?;
        for message in messages {
            let is_it = parse_neighbour(&message).is_some_and(|(ip, _)| ip == address);
            if is_it && message.header.ifindex == index {
                self.done(&format!("delete neighbour {address}"), self.handle.neighbours().del(message).execute()).await?;
            }
        }
        Ok(())
    }
}

fn parse_neighbour(message: &NeighbourMessage) -> Option<(IpAddr, Vec<u8>)> {
    let (mut address, mut mac) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => address = Some(IpAddr::V4(*ip)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => address = Some(IpAddr::V6(*ip)),
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = Some(bytes.clone()),
            _ => {}
        }
    }
    Some((address?, mac?))
}

fn forward_message(index: u32, forward: &Forward) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = index;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(forward.mac.to_vec()));
    match forward.hop {
        Hop::Host(host) => {
            message.header.flags = NeighbourFlags::Own;
            message.header.state = NeighbourState::Permanent;
            message.attributes.push(NeighbourAttribute::Destination(match host {
                IpAddr::V4(ip) => NeighbourAddress::Inet(ip),
                IpAddr::V6(ip) => NeighbourAddress::Inet6(ip),
            }));
        }
        // Permanent would mean the bridge itself.
        Hop::Link => {
            message.header.flags = NeighbourFlags::Controller;
            message.header.state = NeighbourState::Noarp;
        }
    }
    message
}

/// Only what was put there: no MACs of links, none that were learned.
fn parse_forward(message: &NeighbourMessage) -> Option<Forward> {
    let mac = message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(bytes) => bytes.as_slice().try_into().ok(),
        _ => None,
    })?;
    let host = message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => Some(IpAddr::V4(*ip)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => Some(IpAddr::V6(*ip)),
        NeighbourAttribute::Destination(NeighbourAddress::Other(bytes)) => address(bytes),
        _ => None,
    });
    match (host, message.header.state) {
        (Some(host), _) => Some(Forward { mac, hop: Hop::Host(host) }),
        (None, NeighbourState::Noarp) => Some(Forward { mac, hop: Hop::Link }),
        (None, _) => None,
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(<[u8; 4]>::try_from(bytes).ok()?.into()),
        16 => Some(<[u8; 16]>::try_from(bytes).ok()?.into()),
        _ => None,
    }
}
