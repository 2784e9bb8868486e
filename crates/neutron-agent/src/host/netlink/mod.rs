//! Links, addresses, routes and neighbours of one network namespace, over netlink in this process.

mod addresses;
mod link;
mod neighbours;
mod traffic;

use std::collections::BTreeMap;
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::os::fd::RawFd;

use futures::{Stream, StreamExt, TryStreamExt};
use rtnetlink::packet_route::link::{InfoData, InfoKind, InfoVeth};
use rtnetlink::{Handle, LinkBridge, LinkBridgePort, LinkMessageBuilder, LinkUnspec, LinkVeth, LinkVlan, LinkVxlan};

use super::netns::Netns;
use crate::{Error, Result};

pub use addresses::everywhere;
pub use link::{Device, Link, name_of};
pub use neighbours::{Forward, Hop};
pub use traffic::{Rate, Shapes};

/// Where VXLAN frames are sent to, as IANA has it.
const VXLAN_PORT: u16 = 4789;

/// A netlink socket in one namespace. It keeps the namespace alive: do not hold it for long.
pub struct Netlink {
    handle: Handle,
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
        Ok(links.into_iter().map(link::parse).map(|link| (link.name.clone(), link)).collect())
    }

    /// One link; `None` when there is none of that name.
    pub async fn link(&self, name: &str) -> Result<Option<Link>> {
        let mut stream = Box::pin(self.handle.link().get().match_name(name).execute());
        match stream.next().await {
            Some(Ok(message)) => Ok(Some(link::parse(message))),
            Some(Err(error)) if is_missing(&error) => Ok(None),
            Some(Err(error)) => Err(failed(&format!("look for {name}"), error)),
            None => Ok(None),
        }
    }

    /// A bridge that shows its packets to the inet family and leaves multicast alone; down. Its MTU is set afterwards: br_netfilter hears only
    /// of a change, and takes datagrams apart again for the MTU it knows of.
    pub async fn add_bridge(&self, name: &str) -> Result<()> {
        let message = LinkBridge::new(name).nf_call_iptables(true).nf_call_ip6tables(true).mcast_snooping(false);
        let message = message.address(own_mac(name));
        self.done(&format!("add bridge {name}"), self.handle.link().add(message.build()).execute()).await
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

    /// A tunnel knows only what it is told ([`Netlink::add_forward`]), a tag only its parent.
    pub async fn add_device(&self, name: &str, device: &Device, mtu: u32) -> Result<()> {
        let message = match device {
            Device::Vxlan { vni, local } => {
                let tunnel = LinkVxlan::new(name, *vni).port(VXLAN_PORT).learning(false).mtu(mtu);
                match local {
                    IpAddr::V4(ip) => tunnel.local(*ip).build(),
                    IpAddr::V6(ip) => tunnel.local6(*ip).build(),
                }
            }
            Device::Vlan { parent, tag } => LinkVlan::new(name, *parent, *tag).mtu(mtu).build(),
        };
        self.done(&format!("add {name}"), self.handle.link().add(message).execute()).await
    }

    /// Whether the bridge answers neighbour discovery for what it knows to be behind this link of its.
    pub async fn suppress(&self, link: &Link, on: bool) -> Result<()> {
        let message = LinkBridgePort::new(link.index).neigh_suppress(on).build();
        self.done(&format!("set {}", link.name), self.handle.link().set_port(message).execute()).await
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

    async fn done(&self, what: &str, request: impl Future<Output = std::result::Result<(), rtnetlink::Error>>) -> Result<()> {
        request.await.map_err(|error| failed(what, error))
    }
}

async fn all<T>(what: &str, stream: impl Stream<Item = std::result::Result<T, rtnetlink::Error>>) -> Result<Vec<T>> {
    stream.try_collect().await.map_err(|error| failed(what, error))
}

/// A bridge without a MAC of its own takes one of its links', and forgets its neighbours whenever that changes.
fn own_mac(bridge: &str) -> Vec<u8> {
    let mut hasher = DefaultHasher::new();
    bridge.hash(&mut hasher);
    let [a, b, c, d, e, ..] = hasher.finish().to_be_bytes();
    vec![0x02, a, b, c, d, e]
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
