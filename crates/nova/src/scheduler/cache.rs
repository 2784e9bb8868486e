//! What the scheduler believes about the hosts for a moment: who they are, and what placement says they have left.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kit::{Error, Result};
use rpc::conductor::BuildOutcome;
use sdk::placement::{AllocationRequest, Candidates, Resources, Wanted};
use tokio::sync::Semaphore;

use super::bandwidth;
use super::hosts::{self, Hosts};
use super::machines::Machines;
use crate::Nova;
use crate::hypervisors::node;

/// How long a belief lasts; what took long to find out is believed longer.
const BELIEF: Duration = Duration::from_secs(1);
const PRICE: u32 = 10;
/// Different questions remembered at once.
const QUESTIONS: usize = 256;
/// Questions put to placement at once. Of many boots that come together few ask, and the others believe what these were told.
const ASKING: usize = 4;

/// The beliefs.
pub struct Cache {
    /// Counts how often all was forgotten: what was being found out meanwhile is of before.
    forgotten: AtomicU64,
    hosts: Mutex<Option<Belief<Arc<Hosts>>>>,
    candidates: Mutex<HashMap<String, Belief<Answer>>>,
    /// Held by the one who reads the hosts.
    machines: tokio::sync::Mutex<Machines>,
    asking: Semaphore,
}

/// What was found out from one moment on, and is believed until another.
struct Belief<T> {
    since: Instant,
    until: Instant,
    what: T,
}

impl<T> Belief<T> {
    fn new(since: Instant, what: T) -> Belief<T> {
        Belief { since, until: Instant::now() + BELIEF.max(since.elapsed() * PRICE), what }
    }

    fn holds(&self) -> bool {
        Instant::now() < self.until
    }
}

/// Those who have what a question asks for, also after what was claimed since it was answered.
struct Answer {
    asked: Resources,
    candidates: Vec<Arc<Candidate>>,
}

/// A host that placement names: what it has left of each class, and how much it has in all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub provider: Arc<str>,
    pub free: Resources,
    /// By group of the question, who below the host gives what it asks for.
    pub givers: BTreeMap<String, String>,
}

impl Default for Cache {
    fn default() -> Cache {
        Cache {
            forgotten: AtomicU64::default(),
            hosts: Mutex::default(),
            candidates: Mutex::default(),
            machines: tokio::sync::Mutex::default(),
            asking: Semaphore::new(ASKING),
        }
    }
}

impl Cache {
    /// Everything may have changed.
    pub fn forget(&self) {
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        *self.hosts.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.candidates.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// All hosts with a hypervisor.
    pub async fn hosts(&self, app: &Nova) -> Result<Arc<Hosts>> {
        self.hosts_as(app, Belief::holds).await
    }

    /// The same, read since this was called.
    pub async fn fresh_hosts(&self, app: &Nova) -> Result<Arc<Hosts>> {
        let called = Instant::now();
        self.hosts_as(app, |belief| belief.since >= called).await
    }

    async fn hosts_as(&self, app: &Nova, good: impl Fn(&Belief<Arc<Hosts>>) -> bool) -> Result<Arc<Hosts>> {
        if let Some(hosts) = self.believed_hosts(&good) {
            return Ok(hosts);
        }
        let mut machines = self.machines.lock().await;
        // somebody may have read them meanwhile
        if let Some(hosts) = self.believed_hosts(&good) {
            return Ok(hosts);
        }
        let (since, forgotten) = (Instant::now(), self.forgotten.load(Ordering::SeqCst));
        let hosts = Arc::new(hosts::read(app, &mut machines).await?);
        let mut believed = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if self.forgotten.load(Ordering::SeqCst) == forgotten {
            *believed = Some(Belief::new(since, hosts.clone()));
        }
        Ok(hosts)
    }

    fn believed_hosts(&self, good: impl Fn(&Belief<Arc<Hosts>>) -> bool) -> Option<Arc<Hosts>> {
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.as_ref().filter(|belief| good(belief)).map(|belief| belief.what.clone())
    }

    /// The zone of a host.
    pub async fn zone_of(&self, app: &Nova, host: &str) -> Result<String> {
        let hosts = self.hosts(app).await?;
        Ok(hosts.named(host).map_or_else(|| app.config.default_zone.clone(), |host| host.zone.clone()))
    }

    /// A build ended on a host: those where builds fail come last until one does not. What cannot be written down is not.
    pub async fn built(&self, app: &Nova, host: &str, outcome: &BuildOutcome) {
        let failed = match outcome {
            BuildOutcome::Running => false,
            BuildOutcome::Refused(_) => true,
            // not the host's doing
            BuildOutcome::Failed(_) | BuildOutcome::Gone => return,
        };
        let known = self.hosts.lock().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(|belief| belief.what.named(host).cloned());
        if !failed && known.is_none_or(|known| known.failed_builds == 0) {
            return;
        }
        if let Err(error) = node::count_build(&app.db, host, failed).await {
            tracing::warn!(host, %error, "the end of a build was not counted");
        }
        *self.hosts.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Who could fulfil `wanted`, from memory unless `fresh`.
    pub async fn candidates(&self, app: &Nova, wanted: &Wanted, fresh: bool) -> Result<Vec<Arc<Candidate>>> {
        let (question, called) = (format!("{wanted:?}"), Instant::now());
        if let Some(known) = self.believed_candidates(&question, |belief| !fresh && belief.holds()) {
            return Ok(known);
        }
        let _turn = self.asking.acquire().await.map_err(Error::internal)?;
        // somebody may have asked meanwhile
        if let Some(known) = self.believed_candidates(&question, |belief| belief.since >= called) {
            return Ok(known);
        }
        let auth = app.session.auth("").await?;
        let (since, forgotten) = (Instant::now(), self.forgotten.load(Ordering::SeqCst));
        let found = Candidate::of(&app.cloud.placement.candidates(&auth, wanted).await?);
        let mut all = self.candidates.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= QUESTIONS {
            all.clear();
        }
        if self.forgotten.load(Ordering::SeqCst) == forgotten {
            let answer = Answer { asked: wanted.resources.clone(), candidates: found.clone() };
            all.insert(question, Belief::new(since, answer));
        }
        Ok(found)
    }

    fn believed_candidates(&self, question: &str, good: impl Fn(&Belief<Answer>) -> bool) -> Option<Vec<Arc<Candidate>>> {
        let all = self.candidates.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(question).filter(|belief| good(belief)).map(|belief| belief.what.candidates.clone())
    }

    /// A claim of ours: the provider has so much less in every answer that is remembered.
    pub fn claimed(&self, provider: &str, resources: &Resources) {
        let mut all = self.candidates.lock().unwrap_or_else(PoisonError::into_inner);
        for Answer { asked, candidates } in all.values_mut().map(|belief| &mut belief.what) {
            let Some(at) = candidates.iter().position(|candidate| &*candidate.provider == provider) else { continue };
            let Some(candidate) = candidates.get_mut(at).map(Arc::make_mut) else { continue };
            for (class, amount) in resources {
                if let Some(free) = candidate.free.get_mut(class) {
                    *free -= amount;
                }
            }
            if !candidate.has(asked) {
                candidates.remove(at);
            }
        }
    }
}

impl Candidate {
    fn has(&self, asked: &Resources) -> bool {
        asked.iter().all(|(class, amount)| self.free.get(class).is_some_and(|free| free >= amount))
    }

    /// The hosts in an answer of placement.
    fn of(answer: &Candidates) -> Vec<Arc<Candidate>> {
        let mut named = HashSet::new();
        let candidate = |request: &AllocationRequest| {
            let any = answer.provider_summaries.get(request.allocations.keys().next()?)?;
            let provider = any.root_provider_uuid.as_str();
            let summary = answer.provider_summaries.get(provider)?;
            // of several ways to be on one host the first will do
            if !named.insert(provider.to_owned()) {
                return None;
            }
            let free = summary.resources.iter().map(|(class, usage)| (class.clone(), usage.capacity - usage.used)).collect();
            Some(Arc::new(Candidate { provider: provider.into(), free, givers: bandwidth::givers(request) }))
        };
        answer.allocation_requests.iter().filter_map(candidate).collect()
    }
}
