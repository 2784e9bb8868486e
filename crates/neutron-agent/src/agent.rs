//! The agent's loop: hear what is desired, make it so, say what is wired.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kit::bus::{Bus, Handlers};
use rpc::network::{Change, FetchState, Heartbeat, PortsWired, SERVER_TOPIC, Update, agent_topic};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use crate::config::Config;
use crate::dataplane::Dataplane;
use crate::desired::{Desired, Dirty, of_router, of_server};
use crate::metering::Meters;
use crate::{Error, Result};

const HEARTBEAT: Duration = Duration::from_secs(5);
/// How often the desired state is asked for anew though no update was missing.
const REFETCH: Duration = Duration::from_secs(300);
/// How late an update may come that was sent before a fetch.
const LATE: Duration = Duration::from_secs(10);
/// Between attempts at what failed.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_AT_MOST: Duration = Duration::from_secs(30);
/// How long neutron-server may take to answer.
const ANSWER: Duration = Duration::from_secs(30);
/// Updates that may wait here; more wait in the bus.
const QUEUE: usize = 256;

const AGENT_TYPES: [&str; 4] = ["Linux bridge agent", "DHCP agent", "L3 agent", "Metadata agent"];

/// Be the agent of a host, until dropped. Traffic goes on without it.
pub async fn run(config: Config, bus: Bus, dataplane: impl Dataplane) -> Result<()> {
    let (sender, updates) = mpsc::channel(QUEUE);
    // Before the state is fetched, so that nothing falls between; one at a time keeps them in order.
    let handlers = Handlers::new().on(move |update: Update| {
        let sender = sender.clone();
        async move { sender.send(update).await.map_err(|_| Error::unavailable("The agent is ending.")) }
    });
    let _updates = AbortOnDropHandle::new(bus.serve(&agent_topic(&config.host), handlers, 1));
    let _heartbeat = AbortOnDropHandle::new(tokio::spawn(heartbeat(config.clone(), bus.clone())));
    let meters = Meters::new(config.host.clone(), bus.clone(), config.report_every);
    let agent = Agent {
        host: config.host,
        bus,
        dataplane,
        desired: Desired::default(),
        sequence: None,
        fetched: None,
        dirty: Dirty::default(),
        wired: Arc::default(),
        reported: Arc::default(),
        retold: BTreeSet::new(),
        retry: Retry::default(),
        meters,
    };
    agent.live(updates, config.reconcile_every, config.measure_every).await
}

async fn heartbeat(config: Config, bus: Bus) {
    let mut ticks = interval(HEARTBEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let message = Heartbeat {
            host: config.host.clone(),
            agent_types: AGENT_TYPES.map(Into::into).into(),
            vtep: config.vtep,
            physical_networks: config.physical_networks.keys().cloned().collect(),
            interface_mappings: config.interface_mappings(),
            bandwidths: config.bandwidths.clone(),
            packet_rate: config.packet_rate,
        };
        if let Err(error) = bus.cast(SERVER_TOPIC, message).await {
            tracing::warn!(%error, "neutron-server did not hear our heartbeat");
        }
    }
}

struct Agent<D> {
    host: String,
    bus: Bus,
    dataplane: D,
    desired: Desired,
    /// Of the last update taken in; `None` when the whole state has to be fetched.
    sequence: Option<u64>,
    /// What the last fetch had, and when: updates on their way at that time are part of it.
    fetched: Option<(u64, Instant)>,
    dirty: Dirty,
    wired: Arc<BTreeSet<String>>,
    /// Ports that neutron-server knows to be wired.
    reported: Arc<BTreeSet<String>>,
    /// Those that it told of since, and may not have believed before: one that waits here for its guest is not this host's yet.
    retold: BTreeSet<String>,
    retry: Retry,
    meters: Meters,
}

impl<D: Dataplane> Agent<D> {
    async fn live(mut self, mut updates: mpsc::Receiver<Update>, reconcile_every: Duration, measure_every: Duration) -> Result<()> {
        let (mut reconcile, mut refetch, mut measure) = (interval(reconcile_every), interval(REFETCH), interval(measure_every));
        measure.set_missed_tick_behavior(MissedTickBehavior::Delay);
        reconcile.set_missed_tick_behavior(MissedTickBehavior::Delay);
        refetch.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first ticks come at once, and the beginning does all that anyway.
        tokio::join!(reconcile.tick(), refetch.tick(), measure.tick());
        loop {
            // boxed, as the agent waits far longer than it works
            Box::pin(self.make_it_so()).await;
            tokio::select! {
                update = updates.recv() => match update {
                    Some(update) => self.take_in(update, &mut updates),
                    None => return Ok(()),
                },
                _ = self.dataplane.changed() => {}
                _ = reconcile.tick() => self.dirty.everything = true,
                _ = refetch.tick() => {
                    self.sequence = None;
                    self.reported = Arc::default();
                }
                _ = measure.tick() => {
                    let counts = self.dataplane.counts(&self.desired).await;
                    self.meters.take(counts).await;
                }
                _ = self.retry.due() => {}
            }
        }
    }

    /// An update, and all that came while we were at work: they are made so together.
    fn take_in(&mut self, first: Update, updates: &mut mpsc::Receiver<Update>) {
        let mut next = Some(first);
        while let Some(update) = next {
            match self.sequence {
                Some(last) if update.sequence == last + 1 => {
                    self.sequence = Some(update.sequence);
                    for change in update.changes {
                        self.retold.extend(told_of(&change));
                        self.desired.apply(change, &mut self.dirty);
                    }
                }
                Some(_) if self.is_in_state(&update) => {}
                // A gap; or the server began to count anew.
                Some(last) => {
                    tracing::info!(last, got = update.sequence, "updates are missing; fetching the whole state");
                    self.sequence = None;
                }
                None => {}
            }
            next = updates.try_recv().ok();
        }
    }

    fn is_in_state(&self, update: &Update) -> bool {
        self.fetched.is_some_and(|(sequence, at)| update.sequence <= sequence && at.elapsed() < LATE)
    }

    async fn make_it_so(&mut self) {
        if self.sequence.is_none() && !self.fetch().await {
            return self.retry.failed();
        }
        let dirty = std::mem::take(&mut self.dirty);
        let complete = match self.dataplane.apply(&self.desired, &dirty).await {
            Ok(outcome) => {
                self.wired = outcome.wired;
                outcome.complete
            }
            Err(error) => {
                tracing::error!(%error, "the host could not be made as desired");
                false
            }
        };
        let told = self.report().await;
        if complete && told {
            self.retry = Retry::default();
        } else {
            // Whatever failed, comparing everything finds it.
            self.dirty.everything |= !complete;
            self.retry.failed();
        }
    }

    async fn fetch(&mut self) -> bool {
        match self.bus.call(SERVER_TOPIC, FetchState { host: self.host.clone() }, ANSWER).await {
            Ok(state) => {
                self.sequence = Some(state.sequence);
                self.fetched = Some((state.sequence, Instant::now()));
                self.desired = Desired::from_state(state);
                self.dirty = Dirty::everything();
                true
            }
            Err(error) => {
                tracing::warn!(%error, "neutron-server did not say what should be on this host");
                false
            }
        }
    }

    /// Tell neutron-server which ports and floating IPs came up or went down, all in one message.
    async fn report(&mut self) -> bool {
        if Arc::ptr_eq(&self.wired, &self.reported) && self.retold.is_empty() {
            return true;
        }
        let unheard = |id: &&String| !self.reported.contains(*id) || self.retold.contains(*id);
        let up: Vec<String> = self.wired.iter().filter(unheard).cloned().collect();
        let still_wanted = |id: &&String| self.desired.knows(id);
        let down: Vec<String> = self.reported.difference(&self.wired).filter(still_wanted).cloned().collect();
        if up.is_empty() && down.is_empty() {
            self.reported = self.wired.clone();
            self.retold.clear();
            return true;
        }
        tracing::info!(up = up.len(), down = down.len(), "ports wired");
        tracing::debug!(?up, ?down, "ports wired");
        let message = PortsWired { host: self.host.clone(), up, down };
        match self.bus.call(SERVER_TOPIC, message, ANSWER).await {
            Ok(()) => {
                self.reported = self.wired.clone();
                self.retold.clear();
                true
            }
            Err(error) => {
                tracing::warn!(%error, "neutron-server did not hear which ports are wired");
                false
            }
        }
    }
}

/// What a change says of that may be up here.
fn told_of(change: &Change) -> Vec<String> {
    match change {
        Change::Port(port) => vec![port.id.clone()],
        Change::Network(network) => of_server(network).cloned().into_iter().collect(),
        Change::Router(router) => of_router(router).into_iter().cloned().collect(),
        _ => vec![],
    }
}

/// When to try again what failed: sooner at first.
#[derive(Default)]
struct Retry {
    at: Option<Instant>,
    wait: Option<Duration>,
}

impl Retry {
    fn failed(&mut self) {
        let wait = self.wait.map_or(RETRY, |wait| (wait * 2).min(RETRY_AT_MOST));
        self.wait = Some(wait);
        self.at = Some(Instant::now() + wait);
    }

    async fn due(&self) {
        match self.at {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use rpc::network::HostState;

    use super::*;
    use crate::dataplane::Sim;
    use crate::fixtures;

    /// A neutron-server that has `state`, and remembers what it was told.
    fn server(bus: &Bus, state: Arc<Mutex<HostState>>) -> mpsc::UnboundedReceiver<PortsWired> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let handlers = Handlers::new()
            .on(move |_: FetchState| {
                let state = state.lock().unwrap().clone();
                async move { Ok(state) }
            })
            .on(|_: Heartbeat| async { Ok(()) })
            .on(move |wired: PortsWired| {
                sender.send(wired).unwrap();
                async { Ok(()) }
            });
        bus.serve(SERVER_TOPIC, handlers, 4);
        receiver
    }

    async fn next(wired: &mut mpsc::UnboundedReceiver<PortsWired>) -> PortsWired {
        tokio::time::timeout(Duration::from_secs(10), wired.recv()).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn ports_are_reported_once_and_a_gap_fetches_the_whole_state() {
        let bus = Bus::local();
        let state = Arc::new(Mutex::new(fixtures::state()));
        let mut wired = server(&bus, state.clone());
        let _agent = AbortOnDropHandle::new(tokio::spawn(run(Config::for_tests(), bus.clone(), Sim::default())));
        // guests' ports, the router's legs, its floating IP, and the DHCP server's port
        let all: BTreeSet<String> = next(&mut wired).await.up.into_iter().collect();
        assert!(all.len() == 6 && all.contains(fixtures::PORT_A) && all.contains(&fixtures::router().floating_ips[0].id), "{all:?}");

        let update = |sequence, id: &str| Update { sequence, changes: vec![Change::Port(fixtures::port(id, 20))] };
        bus.cast(&agent_topic("host"), update(2, "third")).await.unwrap();
        assert_eq!(next(&mut wired).await.up, ["third"]);

        // told of it again, the agent says it again: what it said before may have been too early
        bus.cast(&agent_topic("host"), update(3, "third")).await.unwrap();
        assert_eq!(next(&mut wired).await.up, ["third"]);

        state.lock().unwrap().sequence = 9;
        state.lock().unwrap().ports.push(fixtures::port("fourth", 21));
        bus.cast(&agent_topic("host"), update(9, "fourth")).await.unwrap();
        assert_eq!(next(&mut wired).await.up, ["fourth"]);
    }
}
