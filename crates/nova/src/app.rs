//! Nova as its handlers, flows and reconcilers see it: the database, the bus, the neighbours and what is remembered between requests.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use kit::auth::ServiceSession;
use kit::bus::Bus;
use kit::clock::Timestamp;
use kit::db::{Db, Location, Migration};
use kit::flow::Flows;
use kit::gather::Gather;
use kit::{Error, Result};
use sdk::Cloud;

use crate::Config;
use crate::archive;
use crate::conductor::builds::Builds;
use crate::conductor::heal::Rounds;
use crate::conductor::hosts::Reported;
use crate::instance_actions::record::EventLog;
use crate::notifications::feed::Feed;
use crate::notifications::relay::Relay;
use crate::notifications::updates::Updates;
use crate::scheduler::cache::Cache;

/// Nova. Cheap to clone.
#[derive(Clone)]
pub struct Nova(Arc<Inner>);

pub struct Inner {
    pub db: Db,
    pub config: Config,
    pub bus: Bus,
    pub cloud: Cloud,
    pub session: ServiceSession,
    /// Events on their way into the database.
    pub events: EventLog,
    /// Changes of servers that are to be told.
    pub updates: Updates,
    pub relay: Relay,
    /// Those who follow what is told.
    pub feed: Feed,
    /// Builds that somebody here waits for.
    pub builds: Builds,
    /// Hosts that say they live.
    pub beats: Gather<String, bool>,
    /// What hosts said of their guests.
    pub reported: Reported,
    /// The hosts whose allocations were looked at.
    pub healed: Rounds,
    /// What the scheduler believes about the hosts.
    pub hosts: Cache,
    flows: OnceLock<Flows<Nova>>,
}

impl Deref for Nova {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Inner {
    /// The long actions.
    pub fn flows(&self) -> Result<&Flows<Nova>> {
        self.flows.get().ok_or_else(|| Error::internal("nova's flows are not built yet"))
    }
}

/// The schema.
const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, sql: include_str!("../migrations/0001_init.sql") },
    kit::flow::migration(2),
    Migration { version: 3, sql: include_str!("../migrations/0003_aggregates.sql") },
    Migration { version: 10, sql: include_str!("../migrations/0010_actions_on_servers.sql") },
    Migration { version: 11, sql: include_str!("../migrations/0011_archive.sql") },
    Migration { version: 12, sql: include_str!("../migrations/0012_notifications.sql") },
    Migration { version: 13, sql: include_str!("../migrations/0013_shadows.sql") },
    Migration { version: 14, sql: include_str!("../migrations/0014_scheduler.sql") },
    Migration { version: 15, sql: include_str!("../migrations/0015_audits.sql") },
    Migration { version: 16, sql: include_str!("../migrations/0016_node_versions.sql") },
    Migration { version: 17, sql: include_str!("../migrations/0017_numa.sql") },
];

/// Moves servers that were deleted before this time into the shadow tables, at most `max` of them; tells the rows by table.
pub async fn archive_deleted(location: &Location, before: Timestamp, max: u64) -> Result<archive::Rows> {
    archive::archive(&Db::open(location, MIGRATIONS).await?, before, max).await
}

/// Removes what was archived, for good: what was deleted before this time, or all of it.
pub async fn purge_archived(location: &Location, before: Option<Timestamp>) -> Result<archive::Rows> {
    archive::purge(&Db::open(location, MIGRATIONS).await?, before, u64::MAX).await
}

/// Opens nova's database and makes nova ready to serve and to run.
pub async fn open(location: &Location, config: Config, bus: Bus, cloud: Cloud, session: ServiceSession) -> Result<Nova> {
    let db = Db::open(location, MIGRATIONS).await?;
    let inner = Inner {
        events: EventLog::default(),
        updates: Updates::default(),
        relay: Relay::default(),
        feed: Feed::default(),
        builds: Builds::default(),
        beats: Gather::default(),
        reported: Reported::default(),
        healed: Rounds::default(),
        hosts: Cache::default(),
        flows: OnceLock::new(),
        db: db.clone(),
        config,
        bus,
        cloud,
        session,
    };
    let nova = Nova(Arc::new(inner));
    let flows = crate::conductor::flows(db, nova.clone());
    nova.0.flows.set(flows).map_err(|_| Error::internal("nova was opened twice"))?;
    Ok(nova)
}
