//! The metadata agent: listeners on 169.254.169.254 and, with IPv6, on fe80::a9fe:a9fe, in the DHCP namespace of each network and on each leg of
//! each router, that know whose address asks, and tell nova so, signed.

mod proxy;

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::{Arc, PoisonError, RwLock};

use nix::net::if_::if_nametoindex;
use rpc::network::{Peer, Port};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::host::mac::Mac;
use crate::host::netns::Netns;
use crate::{Error, Result};
pub use proxy::Upstream;

pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
pub const ADDRESS_6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe);
const PORT: u16 = 80;
/// Connections that wait to be taken.
const BACKLOG: i32 = 128;

/// Whose address is it?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The server, which nova knows as instance.
    pub instance_id: String,
    pub project_id: String,
}

/// Whose the addresses of one network are.
pub type Identities = HashMap<IpAddr, Identity>;
pub type Directory = Arc<RwLock<Identities>>;

/// The listeners of this host, by who has the namespace, network or router, and there by link.
pub struct Metadata {
    upstream: Arc<Upstream>,
    listeners: BTreeMap<String, BTreeMap<String, Listener>>,
}

struct Listener {
    socket: Where,
    tasks: Vec<AbortOnDropHandle<()>>,
    directory: Directory,
}

/// What a socket is bound to; a link made anew has another index, a namespace made anew another inode.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Where {
    namespace: u64,
    link: u32,
    addresses: Vec<IpAddr>,
}

/// A link of ours by which guests come, the addresses of the service that it has, and who they may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub link: String,
    pub addresses: Vec<IpAddr>,
    pub identities: Identities,
}

impl Metadata {
    pub fn new(upstream: Upstream) -> Metadata {
        Metadata { upstream: Arc::new(upstream), listeners: BTreeMap::new() }
    }

    /// Listen at these places in a namespace, and at no others. They must have their addresses already.
    pub async fn ensure(&mut self, netns: &Netns, owner: &str, places: Vec<Place>) -> Result<()> {
        let namespace = netns.inode()?;
        let links: Vec<String> = places.iter().map(|place| place.link.clone()).collect();
        let indexes = netns.run(move || links.iter().map(|link| if_nametoindex(link.as_str()).map_err(Error::internal)).collect());
        let indexes: Vec<u32> = indexes.await?;
        let listeners = self.listeners.entry(owner.to_owned()).or_default();
        listeners.retain(|link, _| places.iter().any(|place| place.link == *link));
        for (place, link) in places.into_iter().zip(indexes) {
            let socket = Where { namespace, link, addresses: place.addresses };
            match listeners.get(&place.link).filter(|listener| listener.serves(&socket)) {
                Some(listener) => *listener.directory.write().unwrap_or_else(PoisonError::into_inner) = place.identities,
                None => {
                    // What listened until now must let go of the address.
                    if let Some(old) = listeners.remove(&place.link) {
                        old.end().await;
                    }
                    let listener = Listener::start(netns, place.link.clone(), socket, place.identities, &self.upstream).await?;
                    listeners.insert(place.link, listener);
                }
            }
        }
        Ok(())
    }

    pub fn remove(&mut self, owner: &str) {
        self.listeners.remove(owner);
    }
}

impl Listener {
    async fn start(netns: &Netns, link: String, socket: Where, who: Identities, upstream: &Arc<Upstream>) -> Result<Listener> {
        let bound = socket.clone();
        let sockets =
            netns.run(move || bound.addresses.iter().map(|address| listen(&link, bound.link, *address)).collect::<Result<Vec<_>>>());
        let sockets = sockets.await?;
        let directory = Directory::new(RwLock::new(who));
        let serve = |socket| AbortOnDropHandle::new(tokio::spawn(proxy::serve(socket, directory.clone(), upstream.clone())));
        Ok(Listener { socket, tasks: sockets.into_iter().map(serve).collect(), directory })
    }

    fn serves(&self, socket: &Where) -> bool {
        self.socket == *socket && self.tasks.iter().all(|task| !task.is_finished())
    }

    async fn end(self) {
        for task in self.tasks {
            task.abort();
            let _ = task.await;
        }
    }
}

/// A socket belongs to the namespace it was made in, whoever serves it, and hears only who comes by its link.
fn listen(link: &str, index: u32, address: IpAddr) -> Result<TcpListener> {
    let address = match address {
        IpAddr::V4(ip) => SocketAddr::from((ip, PORT)),
        IpAddr::V6(ip) => SocketAddrV6::new(ip, PORT, 0, index).into(),
    };
    let open = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.bind_device(Some(link.as_bytes()))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    open().map_err(|error| Error::internal(format!("metadata on {link}, {address}: {error}")))
}

/// The guests among these ports, by their addresses.
pub fn identities<'a>(ports: impl Iterator<Item = Asking<'a>>) -> Identities {
    let used = ports.filter(|port| !port.device_id.is_empty());
    used.flat_map(|port| {
        let identity = Identity { instance_id: port.device_id.to_owned(), project_id: port.project_id.to_owned() };
        // IPv6 guests ask from their link-local address, which port security ties to the MAC.
        let link_local = port.mac_address.parse().ok().map(|mac: Mac| IpAddr::from(mac.link_local()));
        port.addresses.into_iter().chain(link_local).map(move |ip| (ip, identity.clone()))
    })
    .collect()
}

/// What is to be known of a port, here or on another host.
pub struct Asking<'a> {
    device_id: &'a str,
    project_id: &'a str,
    mac_address: &'a str,
    addresses: Vec<IpAddr>,
}

impl<'a> From<&'a Port> for Asking<'a> {
    fn from(port: &'a Port) -> Asking<'a> {
        let addresses = port.fixed_ips.iter().map(|ip| ip.ip_address).collect();
        Asking { device_id: &port.device_id, project_id: &port.project_id, mac_address: &port.mac_address, addresses }
    }
}

impl<'a> From<&'a Peer> for Asking<'a> {
    fn from(peer: &'a Peer) -> Asking<'a> {
        Asking {
            device_id: &peer.device_id,
            project_id: &peer.project_id,
            mac_address: &peer.mac_address,
            addresses: peer.addresses.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn an_address_is_its_server_and_a_port_without_one_is_nobody() {
        let (a, mut b) = (fixtures::port(fixtures::PORT_A, 11), fixtures::port(fixtures::PORT_B, 12));
        b.device_id.clear();
        let identities = identities([&a, &b].into_iter().map(Asking::from));
        assert_eq!(identities.len(), 2);
        for address in ["10.1.0.11", "fe80::f816:3eff:fe00:111"] {
            assert_eq!(identities[&address.parse::<IpAddr>().unwrap()].instance_id, "server-11");
        }
    }
}
