//! Tells each host what changed of what it should have, in order and no more than that.
//!
//! One task does it, for changes and for whole states alike, so that what a host was told is always known. A change only says what it
//! touched; what is sent is how that is now, so the order of notices does not matter. Sequences begin anew with the server: a host that
//! was told things by an earlier server sees a gap and asks for everything.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use kit::bus::Bus;
use kit::clock::Timestamp;
use kit::{Error, Result};
use rpc::network::{Change, HostState, Update, agent_topic};
use sea_orm::DatabaseConnection;
use tokio::sync::{mpsc, oneshot};

use super::{Touched, distinct, state};
use crate::resource::with;
use crate::{App, ports};

/// Notices that may wait; more make the writers wait.
const QUEUE: usize = 8192;
/// Notices taken together.
const BATCH: usize = 512;

#[derive(Clone)]
pub struct Publisher(mpsc::Sender<Command>);

pub type Inbox = mpsc::Receiver<Command>;

pub enum Command {
    Touched(Touched),
    Fetch { host: String, answer: oneshot::Sender<Result<HostState>> },
    Heard { host: String },
}

pub fn channel() -> (Publisher, Inbox) {
    let (sender, inbox) = mpsc::channel(QUEUE);
    (Publisher(sender), inbox)
}

impl Publisher {
    /// Something is not as hosts were told.
    pub async fn touched(&self, touched: Touched) {
        // without a publisher (bootstrap before the start, or the end) hosts fetch everything anyway
        if self.0.try_send(Command::Touched(touched.clone())).is_err() && !self.0.is_closed() {
            let waited = tokio::time::timeout(std::time::Duration::from_secs(10), self.0.send(Command::Touched(touched))).await;
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

    /// A host's agent is alive.
    pub async fn heard(&self, host: String) {
        let _ = self.0.send(Command::Heard { host }).await;
    }
}

/// What a host was told.
struct Told {
    sequence: u64,
    heard: Instant,
    /// Ports with their network and groups.
    ports: HashMap<String, (String, Vec<String>)>,
    /// Routers with their networks.
    routers: HashMap<String, Vec<String>>,
    networks: HashSet<String>,
    /// Groups with those their rules name.
    groups: HashMap<String, Vec<String>>,
}

impl Told {
    fn from_state(state: &HostState) -> Told {
        Told {
            sequence: state.sequence,
            heard: Instant::now(),
            ports: state.ports.iter().map(|p| (p.id.clone(), (p.network_id.clone(), p.security_groups.clone()))).collect(),
            routers: state.routers.iter().map(|r| (r.id.clone(), state::networks_of(r))).collect(),
            networks: state.networks.iter().map(|n| n.id.clone()).collect(),
            groups: state.security_groups.iter().map(|g| (g.id.clone(), state::remotes(g))).collect(),
        }
    }

    fn needs_network(&self, id: &String) -> bool {
        self.ports.values().any(|(network, _)| network == id) || self.routers.values().any(|networks| networks.contains(id))
    }

    fn needed_groups(&self) -> HashSet<String> {
        let used: HashSet<&String> = self.ports.values().flat_map(|(_, groups)| groups).collect();
        let remote = used.iter().filter_map(|id| self.groups.get(*id)).flatten();
        used.iter().copied().chain(remote).cloned().collect()
    }
}

struct Hosts {
    app: App,
    bus: Bus,
    told: HashMap<String, Told>,
    /// The next sequence of a host that fetches: above all that an earlier server can have given.
    next: u64,
}

/// Publishes until the inbox closes.
pub async fn publish(app: App, bus: Bus, mut inbox: Inbox) {
    let next = u64::try_from(Timestamp::now().0).unwrap_or_default();
    let mut hosts = Hosts { app, bus, told: HashMap::new(), next };
    let mut commands = Vec::with_capacity(BATCH);
    while inbox.recv_many(&mut commands, BATCH).await > 0 {
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
            hosts.told.clear();
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
            Command::Heard { host } => match self.told.get_mut(&host) {
                Some(told) => told.heard = Instant::now(),
                // it was told things by an earlier server: an update it cannot place makes it fetch
                None => {
                    self.next += 1;
                    let nudge = Update { sequence: self.next, changes: Vec::new() };
                    let _ = self.bus.cast(&agent_topic(&host), nudge).await;
                    self.next += 1;
                }
            },
        }
    }

    async fn fetch(&mut self, host: &str) -> Result<HostState> {
        let mut state = state::host(self.app.db().read(), host).await?;
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
        let now = Now::read(&db, &touched).await?;
        let mut lost = Vec::new();
        for (host, told) in &mut self.told {
            let changes = changes(&db, host, told, &touched, &now).await?;
            if changes.is_empty() {
                continue;
            }
            told.sequence += 1;
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
    routers: HashMap<String, (String, rpc::network::Router)>,
}

impl Now {
    async fn read(db: &DatabaseConnection, touched: &[Touched]) -> Result<Now> {
        let ids = |pick: fn(&Touched) -> Option<&String>| touched.iter().filter_map(pick).cloned().collect::<Vec<_>>();
        let ports = ids(|t| if let Touched::Port(id) = t { Some(id) } else { None });
        let routers = ids(|t| if let Touched::Router(id) = t { Some(id) } else { None });
        Ok(Now {
            ports: with(db, "id", &ports).await?.into_iter().map(|port: ports::Model| (port.id.clone(), port)).collect(),
            routers: state::routers(db, &routers).await?.into_iter().map(|(host, router)| (router.id.clone(), (host, router))).collect(),
        })
    }
}

/// What one host has to hear, and notes it as told.
async fn changes(db: &DatabaseConnection, host: &str, told: &mut Told, touched: &[Touched], now: &Now) -> Result<Vec<Change>> {
    let mut changes = Changes::default();
    for what in touched {
        match what {
            Touched::Port(id) => {
                port(told, &mut changes, id, now.ports.get(id).filter(|port| port.is_bound_guest() && port.host_id == host))
            }
            Touched::Router(id) => {
                router(told, &mut changes, id, now.routers.get(id).filter(|(on, _)| on == host).map(|(_, router)| router))
            }
            Touched::Network(id) => {
                if told.networks.contains(id) {
                    changes.networks.push(id.clone());
                }
            }
            Touched::Group(id) => {
                if told.groups.contains_key(id) {
                    changes.groups.push(id.clone());
                }
            }
            Touched::Member { group_id, address } => {
                if told.groups.contains_key(group_id) {
                    let member = state::is_member(db, group_id, *address).await?;
                    changes.member(group_id, *address, member);
                }
            }
        }
    }
    complete(db, host, told, changes).await
}

#[derive(Default)]
struct Changes {
    /// To be sent whole.
    networks: Vec<String>,
    groups: Vec<String>,
    ports: Vec<Change>,
    routers: Vec<Change>,
    members: Vec<(String, Change)>,
    /// Something left, so that what it needed may be needed no more.
    left: bool,
}

impl Changes {
    fn member(&mut self, group: &str, address: std::net::IpAddr, member: bool) {
        let index = self.members.iter().position(|(id, _)| id == group).unwrap_or_else(|| {
            let empty = Change::Members { group_id: group.to_owned(), added: Vec::new(), removed: Vec::new() };
            self.members.push((group.to_owned(), empty));
            self.members.len() - 1
        });
        if let Some((_, Change::Members { added, removed, .. })) = self.members.get_mut(index) {
            if member { added.push(address) } else { removed.push(address) }
        }
    }
}

fn port(told: &mut Told, changes: &mut Changes, id: &str, now: Option<&ports::Model>) {
    match now {
        Some(port) => {
            let needs = (port.network_id.clone(), port.security_groups.0.clone());
            let before = told.ports.insert(id.to_owned(), needs.clone());
            changes.left |= before.is_some_and(|before| before != needs);
            changes.ports.push(Change::Port(state::port(port)));
        }
        None => {
            if told.ports.remove(id).is_some() {
                changes.left = true;
                changes.ports.push(Change::PortGone(id.to_owned()));
            }
        }
    }
}

fn router(told: &mut Told, changes: &mut Changes, id: &str, now: Option<&rpc::network::Router>) {
    match now {
        Some(router) => {
            let needs = state::networks_of(router);
            let before = told.routers.insert(id.to_owned(), needs.clone());
            changes.left |= before.is_some_and(|before| before != needs);
            changes.routers.push(Change::Router(router.clone()));
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
async fn complete(db: &DatabaseConnection, host: &str, told: &mut Told, mut changes: Changes) -> Result<Vec<Change>> {
    let mut all = Vec::new();
    let needed = told.ports.values().map(|(network, _)| network).chain(told.routers.values().flatten());
    if !changes.ports.is_empty() || !changes.routers.is_empty() {
        let missing: HashSet<String> = needed.filter(|id| !told.networks.contains(*id)).cloned().collect();
        changes.networks.extend(missing);
    }
    changes.networks.sort_unstable();
    changes.networks.dedup();
    let networks = if changes.networks.is_empty() { Vec::new() } else { state::networks(db, &changes.networks, host).await? };
    let found: HashSet<String> = networks.iter().map(|network| network.id.clone()).collect();
    told.networks.extend(found.iter().cloned());
    all.extend(networks.into_iter().map(Change::Network));
    groups(db, told, &mut changes, &mut all).await?;
    all.append(&mut changes.ports);
    all.append(&mut changes.routers);
    all.extend(changes.members.into_iter().map(|(_, change)| change));
    for gone in changes.networks.iter().filter(|id| !found.contains(*id)) {
        if told.networks.remove(gone) {
            all.push(Change::NetworkGone(gone.clone()));
        }
    }
    if changes.left {
        prune(told, &mut all);
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
            let remotes = state::remotes(&group);
            // a group that is only named needs not what it names itself
            if used.contains(&group.id) {
                wanted.extend(remotes.iter().filter(|id| !told.groups.contains_key(*id) && **id != group.id).cloned());
            }
            changes.members.retain(|(id, _)| *id != group.id);
            changes.left |= told.groups.insert(group.id.clone(), remotes).is_some();
            all.push(Change::SecurityGroup(group));
        }
    }
    Ok(())
}

fn prune(told: &mut Told, all: &mut Vec<Change>) {
    let networks: Vec<String> = told.networks.iter().filter(|id| !told.needs_network(id)).cloned().collect();
    for id in networks {
        told.networks.remove(&id);
        all.push(Change::NetworkGone(id));
    }
    let needed = told.needed_groups();
    let groups: Vec<String> = told.groups.keys().filter(|id| !needed.contains(*id)).cloned().collect();
    for id in groups {
        told.groups.remove(&id);
        all.push(Change::SecurityGroupGone(id));
    }
}
