//! Nova: servers and what belongs to them.
//!
//! Three processes' worth of code stand here, each talking to the others over the bus only, so that they can run apart:
//! - the API: [`routes`] is its index; a folder or file for each resource, named as its URL segment. `servers/create.rs` is what happens
//!   before `POST /servers` is answered, `servers/states.rs` the state machine.
//! - [`conductor`]: the long actions as durable flows (`boot.rs`, `delete.rs`), the database for hosts that have none, the reconcilers.
//! - [`scheduler`]: which host; filters and weighers are pure functions, the claim is placement's.
//!
//! Hosts (nova-compute) are elsewhere; so are images, networks, volumes and inventories, which are asked through their APIs.

mod app;
mod archive;
mod assisted_volume_snapshots;
mod availability_zones;
pub mod conductor;
mod config;
mod discovery;
mod extensions;
mod external_events;
mod fault;
mod flavors;
mod hypervisors;
mod instance_actions;
mod keypairs;
mod limits;
mod microversions;
mod migrations;
mod notifications;
mod numa;
mod os_aggregates;
mod os_hosts;
mod os_services;
mod policy;
mod proxies;
mod quotas;
mod removed;
mod routes;
pub mod scheduler;
mod server_groups;
mod servers;
mod tenant_usage;
mod usage_audit_log;
mod validate;

use kit::Result;
use kit::auth::Authenticator;
use kit::clock::Timestamp;
use kit::service::{Mount, Service, ServiceParts};
use tokio_util::sync::CancellationToken;

pub use app::{Nova, archive_deleted, open, purge_archived};
pub use config::Config;
pub use scheduler::FilterScheduler;
pub use usage_audit_log::period::AuditPeriod;

/// Where the API is found: the current one, and the older generation that ignores what it does not know.
const MOUNTS: &[Mount] = &[Mount { prefix: "/v2.1", strict: true }, Mount { prefix: "/v2", strict: false }];

/// What of nova works in a process, beside its API.
#[derive(Clone, Copy, Debug)]
pub struct Parts {
    pub conductor: bool,
    pub scheduler: bool,
}

impl Nova {
    /// The hosts that said since a moment what they have, and that servers can therefore be sent to.
    pub async fn hosts_heard(&self, since: Timestamp) -> Result<Vec<String>> {
        let computes = os_services::compute_hosts(self).await?;
        Ok(computes.into_iter().filter(|service| service.reported_at >= since).map(|service| service.host).collect())
    }

    /// The API.
    pub fn service(&self, authenticator: Authenticator<Nova>) -> Result<Service> {
        Service::new(ServiceParts {
            name: "nova-api",
            app: self.clone(),
            root: routes::discovery(),
            routes: routes::routes(),
            mounts: MOUNTS,
            project_segment: true,
            json_suffix: false,
            versions: Some(microversions::VERSIONS),
            policy: policy::policy()?,
            db: Some(self.db.clone()),
            authenticator: Some(authenticator),
            fault: fault::fault,
        })
    }

    /// Conductor, scheduler and reconcilers, until `stop`. `alone` says that no other process works on this database, so that everything
    /// left behind can be taken up at once.
    pub async fn run(&self, stop: CancellationToken, alone: bool) -> Result<()> {
        self.run_parts(stop, alone, Parts { conductor: true, scheduler: true }).await
    }

    /// The same, for a process that is not all of them.
    pub async fn run_parts(&self, stop: CancellationToken, alone: bool, parts: Parts) -> Result<()> {
        let mut serving = vec![notifications::serve(self)];
        if parts.scheduler {
            serving.push(scheduler::serve(self));
        }
        if parts.conductor {
            serving.extend(conductor::serve(self)?);
            self.flows()?.take_over(alone).await?;
        }
        let tasks = conductor::reconcile::start(self, parts, &stop);
        stop.cancelled().await;
        self.feed.end().await;
        serving.iter().for_each(tokio::task::JoinHandle::abort);
        for task in tasks {
            let _ = task.await;
        }
        self.flows()?.halt();
        self.events.flush(&self.db).await
    }

    /// What a new cloud has: the flavors. Does nothing the second time.
    pub async fn bootstrap(&self) -> Result<()> {
        flavors::bootstrap(&self.db).await
    }
}
