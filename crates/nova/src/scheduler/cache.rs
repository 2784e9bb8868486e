//! What the scheduler believes about the hosts for a moment: who they are, and what placement says they have left.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kit::Result;
use rpc::conductor::BuildOutcome;
use sdk::placement::{Resources, Wanted};

use super::hosts::{self, Hosts};
use crate::Nova;
use crate::hypervisors::node;

/// How long a belief lasts; what took long to find out is believed longer.
const BELIEF: Duration = Duration::from_secs(1);
const PRICE: u32 = 10;
/// Different questions remembered at once.
const QUESTIONS: usize = 256;

/// The beliefs.
#[derive(Default)]
pub struct Cache {
    /// Counts how often all was forgotten: what was being found out meanwhile is of before.
    forgotten: AtomicU64,
    /// Each until when.
    hosts: Mutex<Option<(Instant, Arc<Hosts>)>>,
    candidates: Mutex<HashMap<String, (Instant, Vec<Candidate>)>>,
}

/// A host that placement names: what it has left of each class, and how much it has in all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub provider: Arc<str>,
    pub free: Resources,
    /// By group of the question, who below the host gives what it asks for.
    pub givers: BTreeMap<String, String>,
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
        if let Some((until, hosts)) = self.hosts.lock().unwrap_or_else(PoisonError::into_inner).as_ref()
            && Instant::now() < *until
        {
            return Ok(hosts.clone());
        }
        let (began, forgotten) = (Instant::now(), self.forgotten.load(Ordering::SeqCst));
        let hosts = Arc::new(hosts::read(app).await?);
        let mut believed = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if self.forgotten.load(Ordering::SeqCst) == forgotten {
            *believed = Some((until(began), hosts.clone()));
        }
        Ok(hosts)
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
        let known = self.hosts.lock().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(|(_, hosts)| hosts.named(host).cloned());
        if !failed && known.is_none_or(|known| known.failed_builds == 0) {
            return;
        }
        if let Err(error) = node::count_build(&app.db, host, failed).await {
            tracing::warn!(host, %error, "the end of a build was not counted");
        }
        *self.hosts.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Who could fulfil `wanted`, from memory unless `fresh`; true when placement was asked just now.
    pub async fn candidates(&self, app: &Nova, wanted: &Wanted, fresh: bool) -> Result<(Vec<Candidate>, bool)> {
        let key = format!("{wanted:?}");
        if !fresh
            && let Some((until, known)) = self.candidates.lock().unwrap_or_else(PoisonError::into_inner).get(&key)
            && Instant::now() < *until
        {
            let fits = |c: &&Candidate| wanted.resources.iter().all(|(class, n)| c.free.get(class).is_some_and(|free| free >= n));
            return Ok((known.iter().filter(fits).cloned().collect(), false));
        }
        let auth = app.session.auth("").await?;
        let (began, forgotten) = (Instant::now(), self.forgotten.load(Ordering::SeqCst));
        let answer = app.cloud.placement.candidates(&auth, wanted).await?;
        let mut named = HashSet::new();
        let found: Vec<Candidate> = answer
            .allocation_requests
            .iter()
            .filter_map(|request| {
                let any = answer.provider_summaries.get(request.allocations.keys().next()?)?;
                let provider = any.root_provider_uuid.clone();
                let summary = answer.provider_summaries.get(&provider)?;
                let free = summary.resources.iter().map(|(class, usage)| (class.clone(), usage.capacity - usage.used)).collect();
                let giver = |(group, providers): (&String, &Vec<String>)| Some((group.clone(), providers.first()?.clone()));
                let givers = request.mappings.iter().filter_map(giver).collect();
                // of several ways to be on one host the first will do
                named.insert(provider.clone()).then(|| Candidate { provider: provider.as_str().into(), free, givers })
            })
            .collect();
        let mut all = self.candidates.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= QUESTIONS {
            all.clear();
        }
        if self.forgotten.load(Ordering::SeqCst) == forgotten {
            all.insert(key, (until(began), found.clone()));
        }
        Ok((found, true))
    }

    /// A claim of ours: the provider has so much less in every answer that is remembered.
    pub fn claimed(&self, provider: &str, resources: &Resources) {
        let mut all = self.candidates.lock().unwrap_or_else(PoisonError::into_inner);
        for candidate in all.values_mut().flat_map(|(_, known)| known).filter(|c| &*c.provider == provider) {
            for (class, amount) in resources {
                if let Some(free) = candidate.free.get_mut(class) {
                    *free -= amount;
                }
            }
        }
    }
}

/// Until when something is believed that one began to find out then.
fn until(began: Instant) -> Instant {
    Instant::now() + BELIEF.max(began.elapsed() * PRICE)
}
