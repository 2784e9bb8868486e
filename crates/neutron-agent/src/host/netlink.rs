//! Links, addresses, routes and neighbours of one network namespace, over netlink in this process.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::IpAddr;
use std::os::fd::RawFd;

use futures::{Stream, StreamExt, TryStreamExt};
use ipnet::IpNet;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use rtnetlink::packet_route::link::{InfoBridge, InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use rtnetlink::packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteType};
use rtnetlink::{Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};

use super::netns::Netns;
use crate::{Error, Result};

/// A netlink socket in one namespace. It keeps the namespace alive: do not hold it for long.
pub struct Netlink {
    handle: Handle,
}

/// A link as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub name: String,
    /// Index of the bridge it is in; 0 when in none.
    pub master: u32,
    pub mtu: u32,
    pub up: bool,
    pub mac: Vec<u8>,
    /// Of a bridge: does it show packets to the inet family?
    pub filtered: bool,
}

/// What to change on a link.
#[derive(Clone, Debug, Default)]
pub struct LinkChange {
    /// 0 takes it out of its bridge.
    pub master: Option<u32>,
    pub mtu: Option<u32>,
    pub mac: Option<Vec<u8>>,
    pub up: Option<bool>,
}

/// Where and as what the other end of a veth appears.
pub struct Peer<'a> {
    pub name: &'a str,
    pub netns: Option<RawFd>,
    pub mac: Option<Vec<u8>>,
}

impl Netns {
    /// A netlink socket inside the namespace.
    pub async fn netlink(&self) -> Result<Netlink> {
        self.run(Netlink::here).await
    }
}

impl Netlink {
    /// A netlink socket in the namespace of the calling thread, which must be in a tokio runtime.
    pub fn here() -> Result<Netlink> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        Ok(Netlink { handle })
    }

    pub async fn links(&self) -> Result<BTreeMap<String, Link>> {
        let links = all("list links", self.handle.link().get().execute()).await?;
        Ok(links.into_iter().map(parse_link).map(|link| (link.name.clone(), link)).collect())
    }

    /// One link; `None` when there is none of that name.
    pub async fn link(&self, name: &str) -> Result<Option<Link>> {
        let mut stream = Box::pin(self.handle.link().get().match_name(name).execute());
        match stream.next().await {
            Some(Ok(message)) => Ok(Some(parse_link(message))),
            Some(Err(error)) if is_missing(&error) => Ok(None),
            Some(Err(error)) => Err(failed(&format!("look for {name}"), error)),
            None => Ok(None),
        }
    }

    /// A bridge that shows its packets to the inet family and leaves multicast alone; down.
    pub async fn add_bridge(&self, name: &str, mtu: u32) -> Result<()> {
        let message = LinkBridge::new(name).nf_call_iptables(true).nf_call_ip6tables(true).mcast_snooping(false);
        self.done(&format!("add bridge {name}"), self.handle.link().add(message.mtu(mtu).build()).execute()).await
    }

    /// Repairs a bridge whose packets no longer reach the inet family.
    pub async fn filter_bridge(&self, link: &Link) -> Result<()> {
        let message = LinkBridge::new(&link.name).nf_call_iptables(true).nf_call_ip6tables(true).index(link.index);
        self.done(&format!("set bridge {}", link.name), self.handle.link().change(message.build()).execute()).await
    }

    pub async fn add_veth(&self, name: &str, mtu: u32, peer: Peer<'_>) -> Result<()> {
        let mut other = LinkUnspec::new_with_name(peer.name).mtu(mtu);
        if let Some(fd) = peer.netns {
            other = other.setns_by_fd(fd);
        }
        if let Some(mac) = peer.mac {
            other = other.address(mac);
        }
        let message = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
            .name(name)
            .mtu(mtu)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(other.build())));
        self.done(&format!("add veth {name}"), self.handle.link().add(message.build()).execute()).await
    }

    /// Succeeds when it is already gone.
    pub async fn delete(&self, name: &str) -> Result<()> {
        match self.link(name).await? {
            Some(link) => match self.handle.link().del(link.index).execute().await {
                Err(error) if !is_missing(&error) => Err(failed(&format!("delete {name}"), error)),
                _ => Ok(()),
            },
            None => Ok(()),
        }
    }

    pub async fn change(&self, link: &Link, change: LinkChange) -> Result<()> {
        let mut message = LinkUnspec::new_with_index(link.index);
        if let Some(master) = change.master {
            message = message.controller(master);
        }
        if let Some(mtu) = change.mtu {
            message = message.mtu(mtu);
        }
        if let Some(mac) = change.mac {
            message = message.address(mac);
        }
        if let Some(up) = change.up {
            message = if up { message.up() } else { message.down() };
        }
        self.done(&format!("set {}", link.name), self.handle.link().set(message.build()).execute()).await
    }

    pub async fn set_up(&self, name: &str) -> Result<()> {
        let link = self.link(name).await?.ok_or_else(|| Error::internal(format!("there is no link {name}")))?;
        if link.up { Ok(()) } else { self.change(&link, LinkChange { up: Some(true), ..LinkChange::default() }).await }
    }

    /// Addresses of a link, without link-local ones that the kernel makes itself.
    pub async fn addresses(&self, index: u32) -> Result<Vec<IpNet>> {
        let messages = all("list addresses", self.handle.address().get().set_link_index_filter(index).execute()).await?;
        let made_by_us =
            |m: &AddressMessage| m.header.scope != AddressScope::Link || m.header.family == rtnetlink::packet_route::AddressFamily::Inet;
        Ok(messages.iter().filter(|m| m.header.index == index && made_by_us(m)).filter_map(parse_address).collect())
    }

    pub async fn add_address(&self, index: u32, address: IpNet) -> Result<()> {
        let request = self.handle.address().add(index, address.addr(), address.prefix_len());
        self.done(&format!("add address {address}"), request.execute()).await
    }

    pub async fn delete_address(&self, index: u32, address: IpNet) -> Result<()> {
        let messages = all("list addresses", self.handle.address().get().set_link_index_filter(index).execute()).await?;
        for message in messages.into_iter().filter(|m| m.header.index == index && parse_address(m) == Some(address)) {
            self.done(&format!("delete address {address}"), self.handle.address().del(message).execute()).await?;
        }
        Ok(())
    }

    /// Routes that were put there, not those that follow from addresses: destination, next hop.
    pub async fn routes(&self) -> Result<Vec<(IpNet, IpAddr)>> {
        let mut out = vec![];
        for message in self.static_routes().await? {
            out.extend(parse_route(&message));
        }
        Ok(out)
    }

    pub async fn add_route(&self, destination: IpNet, hop: IpAddr) -> Result<()> {
        let message = match (destination, hop) {
            (IpNet::V4(net), IpAddr::V4(hop)) => {
                RouteMessageBuilder::<std::net::Ipv4Addr>::new().destination_prefix(net.addr(), net.prefix_len()).gateway(hop).build()
            }
            (IpNet::V6(net), IpAddr::V6(hop)) => {
                RouteMessageBuilder::<std::net::Ipv6Addr>::new().destination_prefix(net.addr(), net.prefix_len()).gateway(hop).build()
            }
            _ => return Err(Error::internal(format!("a route to {destination} by way of {hop} of the other family"))),
        };
        self.done(&format!("add route {destination} via {hop}"), self.handle.route().add(message).execute()).await
    }

    pub async fn delete_route(&self, destination: IpNet, hop: IpAddr) -> Result<()> {
        for message in self.static_routes().await? {
            if parse_route(&message) == Some((destination, hop)) {
                self.done(&format!("delete route {destination}"), self.handle.route().del(message).execute()).await?;
            }
        }
        Ok(())
    }

    async fn static_routes(&self) -> Result<Vec<RouteMessage>> {
        let mut out = vec![];
        for empty in [RouteMessageBuilder::<std::net::Ipv4Addr>::new().build(), RouteMessageBuilder::<std::net::Ipv6Addr>::new().build()] {
            let messages = all("list routes", self.handle.route().get(empty).execute()).await?;
            out.extend(messages.into_iter().filter(|m| m.header.protocol == RouteProtocol::Static && m.header.kind == RouteType::Unicast));
        }
        Ok(out)
    }

    /// Permanent neighbours of a link: address to MAC.
    pub async fn neighbours(&self, index: u32) -> Result<BTreeMap<IpAddr, Vec<u8>>> {
        let messages = all("list neighbours", self.handle.neighbours().get().execute()).await?;
        let permanent = |m: &&NeighbourMessage| m.header.ifindex == index && m.header.state == NeighbourState::Permanent;
        Ok(messages.iter().filter(permanent).filter_map(parse_neighbour).collect())
    }

    pub async fn add_neighbour(&self, index: u32, address: IpAddr, mac: &[u8]) -> Result<()> {
        let request = self.handle.neighbours().add(index, address).link_layer_address(mac).replace();
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

    async fn done(&self, what: &str, request: impl Future<Output = std::result::Result<(), rtnetlink::Error>>) -> Result<()> {
        request.await.map_err(|error| failed(what, error))
    }
}

async fn all<T>(what: &str, stream: impl Stream<Item = std::result::Result<T, rtnetlink::Error>>) -> Result<Vec<T>> {
    stream.try_collect().await.map_err(|error| failed(what, error))
}

/// The name of a link in an event.
pub fn name_of(message: &LinkMessage) -> Option<&str> {
    message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    })
}

fn parse_link(message: LinkMessage) -> Link {
    let up = message.header.flags.contains(LinkFlags::Up);
    let mut link = Link { index: message.header.index, up, ..Link::default() };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::Controller(index) => link.master = index,
            LinkAttribute::Address(mac) => link.mac = mac,
            LinkAttribute::LinkInfo(infos) => link.filtered = infos.iter().any(is_filtered),
            _ => {}
        }
    }
    link
}

fn is_filtered(info: &LinkInfo) -> bool {
    let LinkInfo::Data(InfoData::Bridge(bridge)) = info else {
        return false;
    };
    bridge.contains(&InfoBridge::NfCallIpTables(true)) && bridge.contains(&InfoBridge::NfCallIp6Tables(true))
}

fn parse_address(message: &AddressMessage) -> Option<IpNet> {
    let pick = |local: bool| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Local(ip) if local => Some(*ip),
            AddressAttribute::Address(ip) if !local => Some(*ip),
            _ => None,
        })
    };
    IpNet::new(pick(true).or_else(|| pick(false))?, message.header.prefix_len).ok()
}

fn parse_route(message: &RouteMessage) -> Option<(IpNet, IpAddr)> {
    let (mut destination, mut hop) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(ip)) => destination = Some(IpAddr::V4(*ip)),
            RouteAttribute::Destination(RouteAddress::Inet6(ip)) => destination = Some(IpAddr::V6(*ip)),
            RouteAttribute::Gateway(RouteAddress::Inet(ip)) => hop = Some(IpAddr::V4(*ip)),
            RouteAttribute::Gateway(RouteAddress::Inet6(ip)) => hop = Some(IpAddr::V6(*ip)),
            _ => {}
        }
    }
    let hop = hop?;
    let default = match hop {
        IpAddr::V4(_) => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
    };
    Some((IpNet::new(destination.unwrap_or(default), message.header.destination_prefix_length).ok()?, hop))
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

fn is_missing(error: &rtnetlink::Error) -> bool {
    let rtnetlink::Error::NetlinkError(message) = error else {
        return false;
    };
    matches!(message.to_io().raw_os_error(), Some(nix::libc::ENODEV | nix::libc::ENOENT))
}

fn failed(what: &str, error: rtnetlink::Error) -> Error {
    match error {
        rtnetlink::Error::NetlinkError(message) => Error::internal(format!("{what}: {}", message.to_io())),
        other => Error::internal(format!("{what}: {other}")),
    }
}
