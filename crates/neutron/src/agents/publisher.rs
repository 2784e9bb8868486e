//! Tells each host what changed of what it should have, in order and no more than that.
//!
//! One task does it, for changes and for whole states alike, so that what a host was told is always known. A change only says what it
//! touched; what is sent is how that is now, so the order of notices does not matter. Sequences begin anew with the server: a host that
//! was told things by an earlier server sees a gap and asks for everything.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kit::bus::Bus;
use kit::clock::Timestamp;
use kit::{Error, Result};
use rpc::network::{self as wire, Change, HostState, Update, agent_topic};
use sea_orm::DatabaseConnection;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use super::peers::{Moved, Peers};
use super::reach::Reach;
use super::router_state::{self, Carried};
use super::told::{Named, Told};
use super::{Touched, distinct, state};
use crate::resource::with;
use crate::{App, ports};

/// Notices that may wait; more make the writers wait.
const QUEUE: usize = 8192;
/// Notices taken together.
const BATCH: usize = 512;
/// How often what nobody needs to hear of any more is forgotten.
const TIDY: Duration = Duration::from_secs(60);
/// The least time between two rounds. A lone change is told at once; of many that come together, each host hears in one message.
const ROUND: Duration = Duration::from_millis(10);

#[derive(Clone)]
pub struct Publisher(mpsc::Sender<Command>);

/// Read by one task at a time.
pub type Inbox = Arc<Mutex<mpsc::Receiver<Command>>>;

pub enum Command {
    Touched(Touched),
    Fetch { host: String, answer: oneshot::Sender<Result<HostState>> },
    Heard { host: String },
    Moved,
}

pub fn channel() -> (Publisher, Inbox) {
    let (sender, inbox) = mpsc::channel(QUEUE);
    (Publisher(sender), Arc::new(Mutex::new(inbox)))
}

impl Publisher {
    /// Something is not as hosts were told.
    pub async fn touched(&self, touched: Touched) {
        // without a publisher (bootstrap before the start, or the end) hosts fetch everything anyway
        if self.0.try_send(Command::Touched(touched.clone())).is_err() && !self.0.is_closed() {
            let waited = tokio::time::timeout(Duration::from_secs(10), self.0.send(Command::Touched(touched))).await;
            if waited.is_err() {
                tracing::error!("the publisher does not keep up; hosts will be told later");
            }
        }
    }

    /// Everything that should be on a host.
    pub async fn fetch(&self, host: String) -> Result<HostState> {
        let (answer, wait) = oneshot::channel();
        let gone = || Error::unavailable("neutron-server is stopping.");
        self.0.send(Command::Fetch { host, answer }).await.map_err(|_| gone())?;
        wait.await.map_err(|_| gone())?
    }

    /// Hosts are reached in another way than they were: what was told of them is to be told anew.
    pub async fn moved(&self) {
        let _ = self.0.send(Command::Moved).await;
    }

    /// A host's agent is alive.
    pub async fn heard(&self, host: String) {
        let _ = self.0.send(Command::Heard { host }).await;
    }
}

struct Hosts {
    app: App,
    bus: Bus,
    told: HashMap<String, Told>,
    /// Of all networks that were told.
    peers: Peers,
    tidied: Instant,
    /// The last sequence given to any host: above all that an earlier server can have given.
    next: u64,
}

/// Publishes until the inbox closes.
pub async fn publish(app: App, bus: Bus, inbox: Inbox) {
    let next = u64::try_from(Timestamp::now().0).unwrap_or_default();
    let mut hosts = Hosts { app, bus, told: HashMap::new(), peers: Peers::default(), tidied: Instant::now(), next };
    let mut commands = Vec::with_capacity(BATCH);
    let mut inbox = inbox.lock().await;
    let mut rounds = tokio::time::interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while inbox.recv_many(&mut commands, 1).await > 0 {
        rounds.tick().await;
        while commands.len() < BATCH
            && let Ok(command) = inbox.try_recv()
        {
            commands.push(command);
        }
        let mut touched = Vec::new();
        let mut others = Vec::new();
        for command in commands.drain(..) {
            match command {
                Command::Touched(what) => touched.push(what),
                other => others.push(other),
            }
        }
        if !touched.is_empty()
            && let Err(error) = hosts.publish(distinct(touched)).await
        {
            tracing::error!(%error, "what changed could not be read; hosts will fetch everything");
            hosts.forget();
        }
        for command in others {
            hosts.handle(command).await;
        }
    }
}

impl Hosts {
    async fn handle(&mut self, command: Command) {
        match command {
            Command::Touched(_) => {}
            Command::Fetch { host, answer } => {
                let state = self.fetch(&host).await;
                let _ = answer.send(state);
            }
            Command::Moved => {
                for host in self.forget() {
                    self.nudge(&host).await;
                }
            }
            Command::Heard { host } => match self.told.get_mut(&host) {
                Some(told) => told.heard = Instant::now(),
                // it was told things by an earlier server
                None => self.nudge(&host).await,
            },
        }
    }

    /// Nothing is known any more of what hosts were told; these were told something.
    fn forget(&mut self) -> Vec<String> {
        self.peers = Peers::default();
        self.told.drain().map(|(host, _)| host).collect()
    }

    /// An update that a host cannot place makes it fetch.
    async fn nudge(&mut self, host: &str) {
        self.next += 2;
        let nudge = Update { sequence: self.next, changes: Vec::new() };
        if let Err(error) = self.bus.cast(&agent_topic(host), nudge).await {
            tracing::warn!(host, %error, "the host was not told to fetch; it will be when it is heard again");
        }
    }

    async fn fetch(&mut self, host: &str) -> Result<HostState> {
        let mut state = state::host(self.app.db().read(), &mut self.peers, host).await?;
        self.next += 1;
        state.sequence = self.told.get(host).map_or(self.next, |told| told.sequence);
        self.told.insert(host.to_owned(), Told::from_state(&state));
        Ok(state)
    }

    /// Sends every host what of this concerns it.
    async fn publish(&mut self, touched: Vec<Touched>) -> Result<()> {
        let silent = self.app.config().agent_down_time;
        self.told.retain(|_, told| told.heard.elapsed() < silent);
        if self.told.is_empty() {
            return Ok(());
        }
        let db = self.app.db().read().clone();
        if self.tidied.elapsed() > TIDY {
            self.peers.keep(&self.told.values().flat_map(|told| &told.networks).collect());
            self.tidied = Instant::now();
        }
        let now = Now::read(&db, &mut self.peers, &touched).await?;
        let mut lost = Vec::new();
        for (host, told) in &mut self.told {
            let changes = changes(&db, &mut self.peers, host, told, &touched, &now).await?;
            if changes.is_empty() {
                continue;
            }
            told.sequence += 1;
            self.next = self.next.max(told.sequence);
            let update = Update { sequence: told.sequence, changes };
            if let Err(error) = self.bus.cast(&agent_topic(host), update).await {
                tracing::warn!(host, %error, "the host was not told of a change; it will fetch everything");
                lost.push(host.clone());
            }
        }
        for host in lost {
            self.told.remove(&host);
        }
        Ok(())
    }
}

/// How the things that were touched are now, read once for all hosts.
struct Now {
    ports: HashMap<String, ports::Model>,
    /// Those of them that are guests on some host, as that host knows them.
    guests: HashMap<String, wire::Port>,
    /// Hosts that wait for those guests, by port.
    awaited: HashMap<String, HashSet<String>>,
    routers: HashMap<String, Carried>,
    /// Where those ports are and were.
    moved: HashMap<String, Moved>,
    /// By group, the touched addresses and whether each is a member.
    members: HashMap<String, Vec<(IpAddr, bool)>>,
}

impl Now {
    async fn read(db: &DatabaseConnection, peers: &mut Peers, touched: &[Touched]) -> Result<Now> {
        let ids = |pick: fn(&Touched) -> Option<&String>| touched.iter().filter_map(pick).cloned().collect::<Vec<_>>();
        let ports = ids(|t| if let Touched::Port(id) = t { Some(id) } else { None });
        let routers = ids(|t| if let Touched::Router(id) = t { Some(id) } else { None });
        let rows: Vec<ports::Model> = with(db, "id", &ports).await?;
        let guests: Vec<ports::Model> = rows.iter().filter(|port| port.is_bound_guest()).cloned().collect();
        let mut members: HashMap<String, Vec<(IpAddr, bool)>> = HashMap::new();
        for what in touched {
            if let Touched::Segments(network) = what {
                peers.forget(network);
            }
            if let Touched::Member { group_id, address } = what {
                let member = state::is_member(db, group_id, *address).await?;
                members.entry(group_id.clone()).or_default().push((*address, member));
            }
        }
        let bound: Vec<String> = guests.iter().map(|port| port.id.clone()).collect();
        let reach = if rows.is_empty() { None } else { Some(Reach::read(db).await?) };
        let rows: HashMap<String, ports::Model> = rows.into_iter().map(|port| (port.id.clone(), port)).collect();
        let moved = ports.into_iter().map(|id| {
            let moved = peers.change(&id, rows.get(&id), reach.as_ref());
            (id, moved)
        });
        Ok(Now {
            members,
            awaited: state::awaited(db, &bound).await?,
            guests: state::ports(db, &guests).await?.into_iter().map(|port| (port.id.clone(), port)).collect(),
            routers: router_state::read(db, &routers).await?.into_iter().map(|carried| (carried.router.id.clone(), carried)).collect(),
            moved: moved.collect(),
            ports: rows,
        })
    }
}

/// What one host has to hear, and notes it as told.
async fn changes(
    db: &DatabaseConnection,
    peers: &mut Peers,
    host: &str,
    told: &mut Told,
    touched: &[Touched],
    now: &Now,
) -> Result<Vec<Change>> {
    let mut changes = Changes::default();
    for what in touched {
        match what {
            Touched::Port(id) => {
                let here = now.ports.get(id).is_some_and(|port| port.host_id == host)
                    || now.awaited.get(id).is_some_and(|hosts| hosts.contains(host));
                port(told, &mut changes, id, now.guests.get(id).filter(|_| here));
                // a port on another host came to a network that this host knows, changed there, or left
                if let Some((network, came)) = now.moved.get(id).and_then(|moved| moved.seen_from(host, &told.networks)) {
                    changes.peer(network, id, came);
                }
                served(told, &mut changes, id, host, now);
            }
            Touched::Router(id) => router(told, &mut changes, id, now.routers.get(id).and_then(|carried| carried.on(host))),
            Touched::Network(id) | Touched::Segments(id) => {
                if told.networks.contains(id) {
                    changes.networks.push(id.clone());
                }
            }
            Touched::Group(id) => {
                if told.groups.contains_key(id) {
                    changes.groups.push(id.clone());
                }
            }
            Touched::AddressGroup(id) => {
                if told.address_groups.contains(id) {
                    changes.address_groups.push(id.clone());
                }
            }
            // all of a group's are told together, below
            Touched::Member { .. } => {}
        }
    }
    for (group, members) in now.members.iter().filter(|(group, _)| told.groups.contains_key(*group)) {
        changes.members.push((group.clone(), members_changed(group, members)));
    }
    complete(db, peers, host, told, changes).await
}

#[derive(Default)]
struct Changes {
    /// To be sent whole.
    networks: Vec<String>,
    groups: Vec<String>,
    address_groups: Vec<String>,
    ports: Vec<Change>,
    routers: Vec<Change>,
    members: Vec<(String, Change)>,
    /// By network.
    peers: Vec<(String, Change)>,
    /// Something left, so that what it needed may be needed no more.
    left: bool,
}

impl Changes {
    fn peer(&mut self, network: &str, id: &str, came: Option<&wire::Peer>) {
        let index = self.peers.iter().position(|(id, _)| id == network).unwrap_or_else(|| {
            self.peers.push((network.to_owned(), Change::Peers { network_id: network.to_owned(), now: Vec::new(), gone: Vec::new() }));
            self.peers.len() - 1
        });
        if let Some((_, Change::Peers { now, gone, .. })) = self.peers.get_mut(index) {
            match came {
                Some(peer) => now.push(peer.clone()),
                None => gone.push(id.to_owned()),
            }
        }
    }
}

/// Which of the addresses came to a group and which left it.
fn members_changed(group: &str, members: &[(IpAddr, bool)]) -> Change {
    let those = |wanted: bool| members.iter().filter(|(_, member)| *member == wanted).map(|(address, _)| *address).collect();
    Change::Members { group_id: group.to_owned(), added: those(true), removed: those(false) }
}

/// A DHCP server came to the host, or left it: its network is told anew.
fn served(told: &mut Told, changes: &mut Changes, id: &str, host: &str, now: &Now) {
    let here = |port: &&ports::Model| port.host_id == host && port.device_owner == ports::DHCP;
    match now.ports.get(id).filter(here) {
        Some(port) => {
            told.served.insert(id.to_owned(), port.network_id.clone());
            changes.networks.push(port.network_id.clone());
        }
        None => {
            if let Some(network) = told.served.remove(id) {
                changes.left = true;
                changes.networks.push(network);
            }
        }
    }
}

fn port(told: &mut Told, changes: &mut Changes, id: &str, now: Option<&wire::Port>) {
    match now {
        Some(port) => {
            let needs = (port.network_id.clone(), port.security_groups.clone());
            let before = told.ports.insert(id.to_owned(), needs.clone());
            changes.left |= before.is_some_and(|before| before != needs);
            changes.ports.push(Change::Port(port.clone()));
        }
        None => {
            if told.ports.remove(id).is_some() {
                changes.left = true;
                changes.ports.push(Change::PortGone(id.to_owned()));
            }
        }
    }
}

fn router(told: &mut Told, changes: &mut Changes, id: &str, now: Option<wire::Router>) {
    match now {
        Some(router) => {
            let needs = state::networks_of(&router);
            let before = told.routers.insert(id.to_owned(), needs.clone());
            changes.left |= before.is_some_and(|before| before != needs);
            changes.routers.push(Change::Router(router));
        }
        None => {
            if told.routers.remove(id).is_some() {
                changes.left = true;
                changes.routers.push(Change::RouterGone(id.to_owned()));
            }
        }
    }
}

/// Adds what the host needs for it and has not, in front; and what it has and no longer needs, behind.
async fn complete(db: &DatabaseConnection, peers: &mut Peers, host: &str, told: &mut Told, mut changes: Changes) -> Result<Vec<Change>> {
    let mut all = Vec::new();
    let needed = told.ports.values().map(|(network, _)| network).chain(told.routers.values().flatten());
    if !changes.ports.is_empty() || !changes.routers.is_empty() {
        let missing: HashSet<String> = needed.filter(|id| !told.networks.contains(*id)).cloned().collect();
        changes.networks.extend(missing);
    }
    changes.networks.sort_unstable();
    changes.networks.dedup();
    let networks = if changes.networks.is_empty() { Vec::new() } else { state::networks(db, peers, &changes.networks, host).await? };
    let found: HashSet<String> = networks.iter().map(|network| network.id.clone()).collect();
    told.networks.extend(found.iter().cloned());
    changes.peers.retain(|(id, _)| !found.contains(id));
    all.extend(networks.into_iter().map(Change::Network));
    all.extend(changes.peers.drain(..).map(|(_, change)| change));
    groups(db, told, &mut changes, &mut all).await?;
    address_groups(db, told, &mut changes, &mut all).await?;
    all.append(&mut changes.ports);
    all.append(&mut changes.routers);
    all.extend(changes.members.into_iter().map(|(_, change)| change));
    for gone in changes.networks.iter().filter(|id| !found.contains(*id)) {
        if told.networks.remove(gone) {
            all.push(Change::NetworkGone(gone.clone()));
        }
    }
    if changes.left {
        told.prune(&mut all);
    }
    Ok(all)
}

/// Groups that changed, and those that ports now need, with those that these name. Their members come with them.
async fn groups(db: &DatabaseConnection, told: &mut Told, changes: &mut Changes, all: &mut Vec<Change>) -> Result<()> {
    let changed: HashSet<String> = changes.groups.drain(..).collect();
    let mut wanted = changed.clone();
    if !changes.ports.is_empty() {
        wanted.extend(told.ports.values().flat_map(|(_, groups)| groups).filter(|id| !told.groups.contains_key(*id)).cloned());
    }
    while !wanted.is_empty() {
        let ids: Vec<String> = wanted.drain().collect();
        let found = state::groups(db, &ids).await?;
        for id in ids.iter().filter(|id| !found.iter().any(|group| group.id == **id)) {
            if told.groups.remove(id).is_some() {
                all.push(Change::SecurityGroupGone(id.clone()));
            }
        }
        let used: HashSet<String> = told.ports.values().flat_map(|(_, groups)| groups.clone()).collect();
        for group in found {
            let named = Named::by(&group);
            // a group that is only named needs not what it names itself
            if used.contains(&group.id) {
                wanted.extend(named.groups.iter().filter(|id| !told.groups.contains_key(*id) && **id != group.id).cloned());
            }
            changes.members.retain(|(id, _)| *id != group.id);
            changes.left |= told.groups.insert(group.id.clone(), named).is_some();
            all.push(Change::SecurityGroup(group));
        }
    }
    Ok(())
}

/// Address groups that changed, and those that groups now name.
async fn address_groups(db: &DatabaseConnection, told: &mut Told, changes: &mut Changes, all: &mut Vec<Change>) -> Result<()> {
    let mut wanted: HashSet<String> = changes.address_groups.drain(..).collect();
    wanted.extend(told.needed_addresses().into_iter().filter(|id| !told.address_groups.contains(id)));
    if wanted.is_empty() {
        return Ok(());
    }
    for group in state::address_groups(db, &wanted.into_iter().collect::<Vec<_>>()).await? {
        told.address_groups.insert(group.id.clone());
        all.push(Change::AddressGroup(group));
    }
    Ok(())
}
