//! Placement: who has how much of what, and who uses it.
//!
//! Hosts are resource providers with inventories; servers are consumers with allocations. The one promise is that claims never exceed a
//! capacity, however many come at once: every claim moves the `used` counters of the inventories it draws on, in the same transaction and
//! under a condition. Choosing among candidates is left to nova's scheduler.
//!
//! A tour: [`routes`] is the index of the API; a folder or file per resource follows: `providers`, `inventories`, `classes`, `traits`,
//! `aggregates`, `allocations`, `usages`, `candidates`, `reshaper`.

mod aggregates;
mod allocations;
mod answer;
mod candidates;
mod classes;
mod entity;
mod fault;
mod input;
mod inventories;
mod microversions;
mod policy;
mod providers;
mod reshaper;
mod root;
mod routes;
mod traits;
mod usages;

use kit::auth::Authenticator;
use kit::db::{Db, Location, Migration};
use kit::policy::Policy;
use kit::service::{Mount, Service, ServiceParts};

const MIGRATIONS: &[Migration] = &[Migration { version: 1, sql: include_str!("../migrations/0001_initial.sql") }];

/// The placement service. Cheap to clone.
#[derive(Clone)]
pub struct Placement {
    db: Db,
}

/// Opens placement's database.
pub async fn open(location: &Location) -> kit::Result<Placement> {
    Ok(Placement { db: Db::open(location, MIGRATIONS).await? })
}

impl Placement {
    /// The API, ready to be served.
    pub fn service(&self, authenticator: Authenticator<Placement>) -> kit::Result<Service> {
        Service::new(ServiceParts {
            name: "placement-api",
            app: self.clone(),
            root: routes::root(),
            routes: routes::api(),
            mounts: &[Mount { prefix: "/placement", strict: true }, Mount { prefix: "", strict: true }],
            project_segment: false,
            json_suffix: false,
            versions: Some(microversions::VERSIONS),
            policy: Policy::new(policy::RULES)?,
            db: None,
            authenticator: Some(authenticator),
            fault: fault::fault,
        })
    }
}
