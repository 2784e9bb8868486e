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
use super::filters::Choice;
use super::hosts::{self, Host, Hosts};
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
    candidates: Vec<Known>,
    /// Among which the candidates' hosts were looked up last.
    hosts: Arc<Hosts>,
}

/// A candidate and the host it is, if nova knows it: looked up once for all decisions that believe the same.
struct Known {
    candidate: Arc<Candidate>,
    host: Option<Arc<Host>>,
}

/// A host that placement names.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    pub provider: Arc<str>,
    /// What it has left of each class.
    pub free: Resources,
    pub room: Room,
    /// By group of the question, who below the host gives what it asks for.
    pub givers: BTreeMap<String, String>,
}

/// What is left of what every decision weighs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Room {
    pub vcpu: f64,
    pub memory_mb: f64,
    pub disk_gb: f64,
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

    /// Who of these hosts could fulfil `wanted`, from memory unless `fresh`.
    pub async fn choices(&self, app: &Nova, wanted: &Wanted, hosts: &Arc<Hosts>, fresh: bool) -> Result<Vec<Choice>> {
        let (question, called) = (format!("{wanted:?}"), Instant::now());
        if let Some(known) = self.believed_choices(&question, hosts, |belief| !fresh && belief.holds()) {
            return Ok(known);
        }
        let _turn = self.asking.acquire().await.map_err(Error::internal)?;
        // somebody may have asked meanwhile
        if let Some(known) = self.believed_choices(&question, hosts, |belief| belief.since >= called) {
            return Ok(known);
        }
        let auth = app.session.auth("").await?;
        let (since, forgotten) = (Instant::now(), self.forgotten.load(Ordering::SeqCst));
        let found = Candidate::of(&app.cloud.placement.candidates(&auth, wanted).await?);
        let mut answer = Answer::new(wanted.resources.clone(), found, hosts.clone());
        let choices = answer.choices(hosts);
        let mut all = self.candidates.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= QUESTIONS {
            all.clear();
        }
        if self.forgotten.load(Ordering::SeqCst) == forgotten {
            all.insert(question, Belief::new(since, answer));
        }
        Ok(choices)
    }

    fn believed_choices(&self, question: &str, hosts: &Arc<Hosts>, good: impl Fn(&Belief<Answer>) -> bool) -> Option<Vec<Choice>> {
        let mut all = self.candidates.lock().unwrap_or_else(PoisonError::into_inner);
        all.get_mut(question).filter(|belief| good(belief)).map(|belief| belief.what.choices(hosts))
    }

    /// A claim of ours: the provider has so much less in every answer that is remembered.
    pub fn claimed(&self, provider: &str, resources: &Resources) {
        let mut all = self.candidates.lock().unwrap_or_else(PoisonError::into_inner);
        all.values_mut().for_each(|belief| belief.what.claimed(provider, resources));
    }
}

impl Answer {
    fn new(asked: Resources, candidates: Vec<Candidate>, hosts: Arc<Hosts>) -> Answer {
        let known = |candidate: Candidate| Known { host: hosts.of_provider(&candidate.provider).cloned(), candidate: Arc::new(candidate) };
        Answer { asked, candidates: candidates.into_iter().map(known).collect(), hosts }
    }

    /// The candidates that are among these hosts.
    fn choices(&mut self, hosts: &Arc<Hosts>) -> Vec<Choice> {
        if !Arc::ptr_eq(&self.hosts, hosts) {
            self.hosts = hosts.clone();
            self.candidates.iter_mut().for_each(|known| known.host = hosts.of_provider(&known.candidate.provider).cloned());
        }
        let choice = |known: &Known| Some(Choice { host: known.host.clone()?, candidate: known.candidate.clone() });
        self.candidates.iter().filter_map(choice).collect()
    }

    fn claimed(&mut self, provider: &str, resources: &Resources) {
        let Some(at) = self.candidates.iter().position(|known| &*known.candidate.provider == provider) else { return };
        let Some(candidate) = self.candidates.get_mut(at).map(|known| Arc::make_mut(&mut known.candidate)) else { return };
        candidate.take(resources);
        if !candidate.has(&self.asked) {
            self.candidates.remove(at);
        }
    }
}

impl Room {
    fn of(free: &Resources) -> Room {
        let left = |class: &str| free.get(class).map_or(0.0, |free| *free as f64);
        Room { vcpu: left("VCPU"), memory_mb: left("MEMORY_MB"), disk_gb: left("DISK_GB") }
    }
}

impl Candidate {
    pub fn new(provider: &str, free: Resources, givers: BTreeMap<String, String>) -> Candidate {
        Candidate { provider: provider.into(), room: Room::of(&free), free, givers }
    }

    fn take(&mut self, resources: &Resources) {
        for (class, amount) in resources {
            if let Some(free) = self.free.get_mut(class) {
                *free -= amount;
            }
        }
        self.room = Room::of(&self.free);
    }

    fn has(&self, asked: &Resources) -> bool {
        asked.iter().all(|(class, amount)| self.free.get(class).is_some_and(|free| free >= amount))
    }

    /// The hosts in an answer of placement.
    fn of(answer: &Candidates) -> Vec<Candidate> {
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
            Some(Candidate::new(provider, free, bandwidth::givers(request)))
        };
        answer.allocation_requests.iter().filter_map(candidate).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::filters::tests::choice;
    use super::*;

    fn hosts(of: &[&Choice]) -> Arc<Hosts> {
        Arc::new(Hosts::new(of.iter().map(|choice| Host::clone(&choice.host)).collect(), BTreeMap::new()))
    }

    #[test]
    fn an_answer_knows_what_was_claimed_and_who_came_since() {
        let (a, b) = (choice("a", 1000), choice("b", 1000));
        let asked = Resources::from([("MEMORY_MB".to_owned(), 600)]);
        let candidates = [&a, &b].map(|choice| Candidate::clone(&choice.candidate)).into();
        let (one, both) = (hosts(&[&a]), hosts(&[&a, &b]));
        let mut answer = Answer::new(asked, candidates, one.clone());
        let names = |answer: &mut Answer, hosts| -> Vec<String> {
            answer.choices(hosts).iter().map(|choice| format!("{} {}", choice.host.host, choice.candidate.room.memory_mb)).collect()
        };
        assert_eq!(names(&mut answer, &one), ["a 1000"]);
        assert_eq!(names(&mut answer, &both), ["a 1000", "b 1000"]);
        answer.claimed("p-a", &Resources::from([("MEMORY_MB".to_owned(), 300)]));
        assert_eq!(names(&mut answer, &both), ["a 700", "b 1000"]);
        answer.claimed("p-a", &Resources::from([("MEMORY_MB".to_owned(), 300)]));
        assert_eq!(names(&mut answer, &both), ["b 1000"], "600 are not left");
    }
}
