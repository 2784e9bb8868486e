//! The metadata agent: in each DHCP namespace listeners on 169.254.169.254 and, with IPv6, on fe80::a9fe:a9fe, that know whose address asks,
//! and tell nova so, signed.

mod proxy;

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::{Arc, PoisonError, RwLock};

use nix::net::if_::if_nametoindex;
use rpc::network::Port;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::host::mac::Mac;
use crate::host::netns::Netns;
use crate::{Error, Result};
pub use proxy::Upstream;

pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
pub const ADDRESS_6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe);
const PORT: u16 = 80;

/// Whose address is it?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The server, which nova knows as instance.
    pub instance_id: String,
    pub project_id: String,
}

/// The addresses of one network.
pub type Directory = Arc<RwLock<HashMap<IpAddr, Identity>>>;

/// The listeners of this host, by network.
pub struct Metadata {
    upstream: Arc<Upstream>,
    listeners: BTreeMap<String, Listener>,
}

struct Listener {
    tasks: Vec<AbortOnDropHandle<()>>,
    directory: Directory,
}

impl Listener {
    /// Does it listen on all the network's addresses of the service?
    fn serves(&self, interface: &Interface) -> bool {
        self.tasks.len() == addresses(interface).len() && self.tasks.iter().all(|task| !task.is_finished())
    }
}

/// Our port in the network, and whether it has IPv6.
#[derive(Clone, Debug)]
pub struct Interface {
    pub name: String,
    pub ipv6: bool,
}

impl Metadata {
    pub fn new(upstream: Upstream) -> Metadata {
        Metadata { upstream: Arc::new(upstream), listeners: BTreeMap::new() }
    }

    /// Listen for this network's ports. The namespace must have our address already.
    pub async fn ensure(&mut self, netns: &Netns, network_id: &str, interface: Interface, ports: &[&Port]) -> Result<()> {
        let identities = identities(ports);
        if let Some(listener) = self.listeners.get(network_id).filter(|listener| listener.serves(&interface)) {
            *listener.directory.write().unwrap_or_else(PoisonError::into_inner) = identities;
            return Ok(());
        }
        // What listened until now must let go of the address.
        if let Some(old) = self.listeners.remove(network_id) {
            for task in old.tasks {
                task.abort();
                let _ = task.await;
            }
        }
        let sockets = netns.run(move || listen(&interface)).await?;
        let directory = Directory::new(RwLock::new(identities));
        let serve = |socket| AbortOnDropHandle::new(tokio::spawn(proxy::serve(socket, directory.clone(), self.upstream.clone())));
        let tasks = sockets.into_iter().map(serve).collect();
        self.listeners.insert(network_id.to_owned(), Listener { tasks, directory });
        Ok(())
    }

    pub fn remove(&mut self, network_id: &str) {
        self.listeners.remove(network_id);
    }
}

/// A socket belongs to the namespace it was made in, whoever serves it.
fn listen(interface: &Interface) -> Result<Vec<TcpListener>> {
    // Of a link-local address the link must be said, too.
    let index = if_nametoindex(interface.name.as_str()).map_err(Error::internal)?;
    let bind = |address: &IpAddr| {
        let address = match address {
            IpAddr::V4(ip) => SocketAddr::from((*ip, PORT)),
            IpAddr::V6(ip) => SocketAddrV6::new(*ip, PORT, 0, index).into(),
        };
        let socket = std::net::TcpListener::bind(address)?;
        socket.set_nonblocking(true)?;
        Ok(TcpListener::from_std(socket)?)
    };
    addresses(interface).iter().map(bind).collect()
}

fn addresses(interface: &Interface) -> Vec<IpAddr> {
    let ipv6 = interface.ipv6.then_some(ADDRESS_6.into());
    [ADDRESS.into()].into_iter().chain(ipv6).collect()
}

fn identities(ports: &[&Port]) -> HashMap<IpAddr, Identity> {
    let used = ports.iter().filter(|port| !port.device_id.is_empty());
    used.flat_map(|port| {
        let identity = Identity { instance_id: port.device_id.clone(), project_id: port.project_id.clone() };
        // IPv6 guests ask from their link-local address, which port security ties to the MAC.
        let link_local = port.mac_address.parse().ok().map(|mac: Mac| IpAddr::from(mac.link_local()));
        port.fixed_ips.iter().map(|ip| ip.ip_address).chain(link_local).map(move |ip| (ip, identity.clone()))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn an_address_is_its_server_and_a_port_without_one_is_nobody() {
        let (a, mut b) = (fixtures::port(fixtures::PORT_A, 11), fixtures::port(fixtures::PORT_B, 12));
        b.device_id.clear();
        let identities = identities(&[&a, &b]);
        assert_eq!(identities.len(), 2);
        for address in ["10.1.0.11", "fe80::f816:3eff:fe00:111"] {
            assert_eq!(identities[&address.parse::<IpAddr>().unwrap()].instance_id, "server-11");
        }
    }
}
