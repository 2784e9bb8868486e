//! The ports of networks that hosts were told of, and where they are: what every host of a network is told of the others. Kept here, since a
//! network of a thousand hosts would otherwise be read a thousand times, and remembered for each host.

use std::collections::{BTreeMap, HashMap, HashSet};

use kit::Result;
use rpc::network as wire;
use sea_orm::{ColumnTrait, DatabaseConnection, EntityTrait, QueryFilter};

use super::reach::Reach;
use super::state;
use crate::ports;

/// Networks of one query.
const CHUNK: usize = 1000;

/// All ports on hosts of some networks.
#[derive(Default)]
pub struct Peers {
    /// By network, and there by port.
    networks: HashMap<String, BTreeMap<String, Placed>>,
    /// The network of each port.
    of: HashMap<String, String>,
}

/// A port on a host.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    pub network_id: String,
    pub host: String,
    pub peer: wire::Peer,
}

impl Placed {
    fn of(port: &ports::Model, reach: &Reach) -> Option<Placed> {
        let peer = (!port.host_id.is_empty()).then(|| state::peer(port, reach))?;
        Some(Placed { network_id: port.network_id.clone(), host: port.host_id.clone(), peer })
    }
}

/// A port before and after a change, as far as hosts were told of its network.
#[derive(Default)]
pub struct Moved {
    before: Option<(String, String)>,
    now: Option<Placed>,
}

impl Moved {
    /// What a host that knows these networks has to hear: the network, and the port that came or is gone.
    pub fn seen_from(&self, host: &str, networks: &HashSet<String>) -> Option<(&str, Option<&wire::Peer>)> {
        let elsewhere = |network: &String, on: &String| on != host && networks.contains(network);
        match &self.now {
            Some(now) if elsewhere(&now.network_id, &now.host) => Some((&now.network_id, Some(&now.peer))),
            _ => self.before.as_ref().filter(|(network, on)| elsewhere(network, on)).map(|(network, _)| (&**network, None)),
        }
    }
}

impl Peers {
    /// Reads the networks of these that are not known yet.
    pub async fn learn(&mut self, db: &DatabaseConnection, networks: &[String]) -> Result<()> {
        let unknown: Vec<&str> = networks.iter().map(String::as_str).filter(|id| !self.networks.contains_key(*id)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let reach = Reach::read(db).await?;
        for some in unknown.chunks(CHUNK) {
            let placed =
                ports::Entity::find().filter(ports::Column::NetworkId.is_in(some.iter().copied())).filter(ports::Column::HostId.ne(""));
            let placed = placed.all(db).await?;
            self.networks.extend(some.iter().map(|id| ((*id).to_owned(), BTreeMap::new())));
            placed.iter().filter_map(|port| Placed::of(port, &reach)).for_each(|placed| self.put(placed));
        }
        Ok(())
    }

    /// The ports of a network on other hosts than this.
    pub fn of(&self, network: &str, host: &str) -> Vec<wire::Peer> {
        let ports = self.networks.get(network).into_iter().flat_map(BTreeMap::values);
        ports.filter(|placed| placed.host != host).map(|placed| placed.peer.clone()).collect()
    }

    /// A port is like this now, or is no more.
    pub fn change(&mut self, id: &str, now: Option<&ports::Model>, reach: Option<&Reach>) -> Moved {
        let before = self.of.remove(id).and_then(|network| {
            let placed = self.networks.get_mut(&network)?.remove(id)?;
            Some((network, placed.host))
        });
        let now = now.filter(|port| self.networks.contains_key(&port.network_id)).and_then(|port| Placed::of(port, reach?));
        now.iter().cloned().for_each(|placed| self.put(placed));
        Moved { before, now }
    }

    /// Forgets a network, to read it anew when it is told next.
    pub fn forget(&mut self, network: &str) {
        self.networks.remove(network);
    }

    /// Forgets the networks that no host knows any more.
    pub fn keep(&mut self, wanted: &HashSet<&String>) {
        self.networks.retain(|network, _| wanted.contains(network));
        self.of.retain(|_, network| wanted.contains(network));
    }

    fn put(&mut self, placed: Placed) {
        let (network, port) = (placed.network_id.clone(), placed.peer.port_id.clone());
        self.of.insert(port.clone(), network.clone());
        self.networks.entry(network).or_default().insert(port, placed);
    }
}
