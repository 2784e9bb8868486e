//! The metadata agent: in each DHCP namespace a listener on 169.254.169.254 that knows whose address asks, and tells nova so, signed.

mod proxy;

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

use rpc::network::Port;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::Result;
use crate::host::netns::Netns;
pub use proxy::Upstream;

pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
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
    task: JoinHandle<()>,
    directory: Directory,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Metadata {
    pub fn new(upstream: Upstream) -> Metadata {
        Metadata { upstream: Arc::new(upstream), listeners: BTreeMap::new() }
    }

    /// Listen for this network's ports. The namespace must have our address already.
    pub async fn ensure(&mut self, netns: &Netns, network_id: &str, ports: &[&Port]) -> Result<()> {
        let identities = identities(ports);
        if let Some(listener) = self.listeners.get(network_id).filter(|listener| !listener.task.is_finished()) {
            *listener.directory.write().unwrap_or_else(PoisonError::into_inner) = identities;
            return Ok(());
        }
        let socket = netns.run(listen).await?;
        let directory = Directory::new(RwLock::new(identities));
        let task = tokio::spawn(proxy::serve(socket, directory.clone(), self.upstream.clone()));
        self.listeners.insert(network_id.to_owned(), Listener { task, directory });
        Ok(())
    }

    pub fn remove(&mut self, network_id: &str) {
        self.listeners.remove(network_id);
    }
}

/// A socket belongs to the namespace it was made in, whoever serves it.
fn listen() -> Result<TcpListener> {
    let socket = std::net::TcpListener::bind(SocketAddr::from((ADDRESS, PORT)))?;
    socket.set_nonblocking(true)?;
    Ok(TcpListener::from_std(socket)?)
}

fn identities(ports: &[&Port]) -> HashMap<IpAddr, Identity> {
    let used = ports.iter().filter(|port| !port.device_id.is_empty());
    used.flat_map(|port| {
        let identity = Identity { instance_id: port.device_id.clone(), project_id: port.project_id.clone() };
        port.fixed_ips.iter().map(move |ip| (ip.ip_address, identity.clone()))
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
        assert_eq!(identities.len(), 1);
        assert_eq!(identities[&"10.1.0.11".parse::<IpAddr>().unwrap()].instance_id, "server-11");
    }
}
