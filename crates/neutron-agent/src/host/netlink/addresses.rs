//! Addresses and routes.

use std::net::IpAddr;

use ipnet::IpNet;
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage, CacheInfo};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteType};

use super::{Netlink, all};
use crate::{Error, Result};

/// The destination of a route for all that no other route is for, by way of this hop.
pub fn everywhere(hop: IpAddr) -> IpNet {
    match hop {
        IpAddr::V4(_) => IpNet::V4(ipnet::Ipv4Net::default()),
        IpAddr::V6(_) => IpNet::V6(ipnet::Ipv6Net::default()),
    }
}

impl Netlink {
    /// Addresses of a link, without link-local ones that the kernel makes itself.
    pub async fn addresses(&self, index: u32) -> Result<Vec<IpNet>> {
        let messages = all("list addresses", self.handle.address().get().set_link_index_filter(index).execute()).await?;
        let addresses = messages.iter().filter(|m| m.header.index == index).filter_map(parse_address);
        Ok(addresses.filter(|address| !is_made_from_a_mac(address.addr())).collect())
    }

    pub async fn add_address(&self, index: u32, address: IpNet) -> Result<()> {
        let request = self.handle.address().add(index, address.addr(), address.prefix_len());
        self.done(&format!("add address {address}"), request.execute()).await
    }

    /// One that is answered to, and that nothing is said from unasked.
    pub async fn add_silent_address(&self, index: u32, address: IpNet) -> Result<()> {
        let mut request = self.handle.address().add(index, address.addr(), address.prefix_len());
        let mut lifetimes = CacheInfo::default();
        (lifetimes.ifa_preferred, lifetimes.ifa_valid) = (0, u32::MAX);
        request.message_mut().attributes.push(AddressAttribute::CacheInfo(lifetimes));
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
}

/// The kernel's link-local addresses are (EUI-64), those that are given are not.
fn is_made_from_a_mac(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(ip) => ip.is_unicast_link_local() && ip.octets().get(11..13) == Some(&[0xff, 0xfe]),
    }
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
