//! A port of ours inside a namespace: a veth whose one end is in a bridge of the host and whose other end has the port's MAC and addresses.

use std::net::IpAddr;

use ipnet::IpNet;

use super::mac::Mac;
use super::netlink::{Link, LinkChange, Netlink, Peer};
use super::netns::Netns;
use super::{arp, icmpv6, sysctl};
use crate::{Error, Result};

/// What such a port should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    pub host_end: String,
    pub inner: String,
    pub bridge: String,
    pub mac: String,
    pub mtu: u32,
    pub addresses: Vec<IpNet>,
}

/// Make it so; what is right stays untouched. New addresses are announced to the neighbours.
pub async fn ensure(host: &Netlink, netns: &Netns, want: &Interface) -> Result<Link> {
    let mac: Mac = want.mac.parse()?;
    let inside = netns.netlink().await?;
    let inner = match (host.link(&want.host_end).await?, inside.link(&want.inner).await?) {
        (Some(_), Some(inner)) => inner,
        _ => make(host, &inside, netns, want, mac).await?,
    };
    let change = LinkChange {
        mac: (inner.mac != mac.bytes()).then(|| mac.bytes().to_vec()),
        mtu: (inner.mtu != want.mtu).then_some(want.mtu),
        ..LinkChange::default()
    };
    if change.mac.is_some() || change.mtu.is_some() {
        inside.change(&inner, change).await?;
    }
    let new = set_addresses(&inside, &inner, &want.addresses).await?;
    inside.set_up(&want.inner).await?;
    let moved = attach(host, &want.host_end, &want.bridge, want.mtu).await?;
    announce(netns, &want.inner, mac, if moved { want.addresses.clone() } else { new }).await;
    Ok(inner)
}

/// Put a link into a bridge, up, with this MTU; was it elsewhere?
pub async fn attach(host: &Netlink, name: &str, bridge: &str, mtu: u32) -> Result<bool> {
    let link = host.link(name).await?.ok_or_else(|| Error::internal(format!("there is no link {name}")))?;
    let bridge = host.link(bridge).await?.ok_or_else(|| Error::internal(format!("there is no bridge {bridge}")))?;
    put(host, &link, &bridge, mtu).await
}

/// The same with links that were looked up already.
pub async fn put(host: &Netlink, link: &Link, bridge: &Link, mtu: u32) -> Result<bool> {
    if link.master == bridge.index && link.up && link.mtu == mtu {
        return Ok(false);
    }
    sysctl::no_ipv6(&link.name);
    let change = LinkChange {
        master: (link.master != bridge.index).then_some(bridge.index),
        mtu: (link.mtu != mtu).then_some(mtu),
        up: Some(true),
        mac: None,
    };
    host.change(link, change).await?;
    Ok(link.master != bridge.index)
}

async fn make(host: &Netlink, inside: &Netlink, netns: &Netns, want: &Interface, mac: Mac) -> Result<Link> {
    // Half a pair is of no use.
    host.delete(&want.host_end).await?;
    inside.delete(&want.inner).await?;
    let peer = Peer { name: &want.inner, netns: Some(netns.fd()), mac: Some(mac.bytes().to_vec()) };
    host.add_veth(&want.host_end, want.mtu, peer).await?;
    inside.link(&want.inner).await?.ok_or_else(|| Error::internal(format!("{} did not appear", want.inner)))
}

/// The addresses that are new.
async fn set_addresses(inside: &Netlink, inner: &Link, want: &[IpNet]) -> Result<Vec<IpNet>> {
    let have = inside.addresses(inner.index).await?;
    for address in have.iter().filter(|address| !want.contains(address)) {
        inside.delete_address(inner.index, *address).await?;
    }
    let new: Vec<IpNet> = want.iter().filter(|address| !have.contains(address)).copied().collect();
    for address in &new {
        match address.addr() {
            // Another link-local one beside the kernel's own: routers and the like do not speak as this.
            IpAddr::V6(ip) if ip.is_unicast_link_local() => inside.add_silent_address(inner.index, *address).await?,
            _ => inside.add_address(inner.index, *address).await?,
        }
    }
    Ok(new)
}

/// Gratuitous ARP and its like, for an address may have been elsewhere until now.
async fn announce(netns: &Netns, interface: &str, mac: Mac, new: Vec<IpNet>) {
    let interface = interface.to_owned();
    if new.is_empty() {
        return;
    }
    let announce = move |net: &IpNet| match net.addr() {
        IpAddr::V4(ip) => arp::announce(&interface, mac, ip),
        IpAddr::V6(ip) => icmpv6::announce(&interface, mac, ip),
    };
    let announced = netns.run(move || new.iter().try_for_each(announce)).await;
    if let Err(error) = announced {
        tracing::warn!(%error, "addresses were not announced");
    }
}
