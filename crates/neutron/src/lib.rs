//! Neutron: networks, subnets, ports, routers, floating IPs and security groups, and what the hosts are told of them.
//!
//! A tour:
//! - [`routes`] is the index of the API, [`policy`] who may do what, [`extensions`] what clients may count on.
//! - [`attributes`], [`values`], [`resource`], [`listing`] are what every resource shares: bodies, rows, lists. [`fault`]: errors.
//! - One room per resource: [`networks`], [`segments`], [`subnets`], [`ports`], [`routers`], [`floatingips`], [`security_groups`], [`quotas`] and the
//!   rest of the API, where [`plain`] does what is the same for all that are hardly more than a row. [`rbac`]: with whom they are shared.
//! - [`ipam`] gives out addresses. [`agents`] knows the hosts and tells them what changed; [`nova`] tells nova what became of its ports,
//!   [`placement`] tells placement what bandwidth hosts have to promise.
//!
//! A change is one transaction ([`App::write`]); it notes what it touched, and after the commit the hosts concerned hear of it.

mod address_groups;
mod address_scopes;
mod agents;
mod attributes;
mod auto_topology;
mod availability;
mod bootstrap;
mod discovery;
mod extensions;
mod fault;
mod flavors;
mod floatingips;
mod ipam;
mod listing;
mod metering;
mod networks;
mod nova;
mod placement;
mod plain;
mod policy;
mod ports;
mod qos;
mod quotas;
mod rbac;
mod resource;
mod routers;
mod routes;
mod security_groups;
mod segments;
mod sql;
mod subnetpools;
mod subnets;
mod tags;
mod trunks;
mod values;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use kit::auth::{Authenticator, ServiceSession};
use kit::bus::Bus;
use kit::clock::Timestamp;
use kit::db::{Db, Location, Migration};
use kit::gather::Gather;
use kit::lease::Lease;
use kit::service::{Mount, Service, ServiceParts};
use kit::{Error, Result};
use rpc::network::Heartbeat;
use sea_orm::DatabaseTransaction;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use bootstrap::Bootstrap;
pub use segments::VlanRange;

const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, sql: include_str!("../migrations/0001_initial.sql") },
    Migration { version: 2, sql: include_str!("../migrations/0002_sharing_pools_qos.sql") },
    Migration { version: 3, sql: include_str!("../migrations/0003_schedulers_ranges.sql") },
    Migration { version: 4, sql: include_str!("../migrations/0004_found_by_address.sql") },
    Migration { version: 5, sql: include_str!("../migrations/0005_packet_rates.sql") },
    Migration { version: 6, sql: include_str!("../migrations/0006_flavors.sql") },
    Migration { version: 7, sql: include_str!("../migrations/0007_default_statefulness.sql") },
    Migration { version: 8, sql: include_str!("../migrations/0008_segments.sql") },
    Migration { version: 9, sql: include_str!("../migrations/0009_paired_members.sql") },
    Migration { version: 10, sql: include_str!("../migrations/0010_hints_transparency.sql") },
    kit::lease::migration(20),
];

/// What an operator may choose.
#[derive(Clone, Debug)]
pub struct Config {
    /// MTU of the network that carries tenants' networks; VXLAN takes 50 bytes of it.
    pub physical_mtu: u32,
    /// Provider networks that flat and VLAN networks may use.
    pub physical_networks: Vec<String>,
    /// Their VLAN tags that are given out when none is asked for.
    pub vlan_ranges: Vec<VlanRange>,
    /// An agent that is silent for longer is taken for dead.
    pub agent_down_time: Duration,
    /// A host that is silent for longer no longer forwards for routers with `ha`: another takes over. Agents speak every five seconds.
    pub ha_takeover_time: Duration,
    /// No other neutron-server works on this database, so that this one speaks with the hosts at once.
    pub alone: bool,
    /// Name servers of the subnet that bootstrap makes.
    pub dns_nameservers: Vec<IpAddr>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            physical_mtu: 1500,
            physical_networks: vec!["public".into()],
            vlan_ranges: vec![VlanRange { physical_network: "public".into(), first: 1, last: 4094 }],
            agent_down_time: Duration::from_secs(75),
            ha_takeover_time: Duration::from_secs(12),
            alone: true,
            dns_nameservers: Vec::new(),
        }
    }
}

/// What handlers work with. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Inner>);

struct Inner {
    db: Db,
    config: Config,
    hosts: agents::Publisher,
    beats: Gather<Heartbeat, ()>,
    listening: agents::Listening,
    nova: nova::Notifier,
    placement: placement::Reporter,
    claims: qos::claims::Claims,
}

impl App {
    pub(crate) fn db(&self) -> &Db {
        &self.0.db
    }

    pub(crate) fn config(&self) -> &Config {
        &self.0.config
    }

    pub(crate) fn listening(&self) -> &agents::Listening {
        &self.0.listening
    }

    pub(crate) fn claims(&self) -> &qos::claims::Claims {
        &self.0.claims
    }

    /// Runs a change as one transaction, then tells hosts and nova what it touched; also when the caller goes away meanwhile.
    pub(crate) async fn write<T, F>(&self, change: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(Tx<'t>) -> BoxFuture<'t, Result<T>> + Send + 'static,
    {
        let app = self.clone();
        let task = tokio::spawn(async move {
            let notices = Notices::default();
            let inside = notices.clone();
            let config = app.clone();
            let value = app.db().write(move |db| change(Tx { db, app: config, notices: inside })).await.map_err(fault::overtaken)?;
            for notice in notices.take() {
                match notice {
                    Notice::Host(touched) => app.0.hosts.touched(touched).await,
                    Notice::Nova(event) => app.0.nova.tell(event),
                }
            }
            Ok(value)
        });
        task.await.map_err(Error::internal)?
    }
}

/// A change under way.
pub(crate) struct Tx<'t> {
    pub db: &'t DatabaseTransaction,
    app: App,
    notices: Notices,
}

impl Tx<'_> {
    pub fn config(&self) -> &Config {
        self.app.config()
    }

    /// The hosts concerned shall hear of it.
    pub fn touch(&self, touched: agents::Touched) {
        self.notices.push(Notice::Host(touched));
    }

    pub fn tell_nova(&self, event: sdk::compute::ExternalEvent) {
        self.notices.push(Notice::Nova(event));
    }
}

enum Notice {
    Host(agents::Touched),
    Nova(sdk::compute::ExternalEvent),
}

#[derive(Clone, Default)]
struct Notices(Arc<Mutex<Vec<Notice>>>);

impl Notices {
    fn push(&self, notice: Notice) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(notice);
    }

    fn take(&self) -> Vec<Notice> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// neutron-server.
pub struct Neutron {
    app: App,
    bus: Bus,
    hosts: Mutex<Option<agents::Inbox>>,
    nova: Mutex<Option<nova::Inbox>>,
    bandwidths: Mutex<Option<placement::Inbox>>,
    compute: sdk::compute::Compute,
    placement: sdk::placement::Placement,
    session: ServiceSession,
}

/// Opens the database and stands ready. `session` is the login of neutron's own user.
pub async fn open(db: &Location, config: Config, bus: Bus, cloud: &sdk::Cloud, session: ServiceSession) -> Result<Neutron> {
    let db = Db::open(db, MIGRATIONS).await?;
    segments::ranges::remember(&db, &config).await?;
    let (hosts, hosts_inbox) = agents::channel();
    let (nova, nova_inbox) = nova::channel();
    let (placement, bandwidths) = placement::channel();
    let claims = qos::claims::Claims::new(cloud.placement.clone(), session.clone());
    Ok(Neutron {
        app: App(Arc::new(Inner {
            db,
            config,
            hosts,
            beats: Gather::default(),
            listening: agents::Listening::default(),
            nova,
            placement,
            claims,
        })),
        bus,
        hosts: Mutex::new(Some(hosts_inbox)),
        nova: Mutex::new(Some(nova_inbox)),
        bandwidths: Mutex::new(Some(bandwidths)),
        compute: cloud.compute.clone(),
        placement: cloud.placement.clone(),
        session,
    })
}

impl Neutron {
    /// The hosts whose agents said since a moment that they live.
    pub async fn hosts_heard(&self, since: Timestamp) -> Result<Vec<String>> {
        sql::texts(self.app.db().read(), "SELECT DISTINCT host FROM agents WHERE heartbeat_at >= $1", [since.0.into()]).await
    }

    /// The API.
    pub fn service(&self, authenticator: Authenticator<App>) -> Result<Service> {
        Service::new(ServiceParts {
            name: "neutron-server",
            app: self.app.clone(),
            root: routes::root(),
            routes: routes::api(),
            mounts: &[Mount { prefix: "/v2.0", strict: true }],
            project_segment: false,
            json_suffix: true,
            versions: None,
            policy: policy::defaults()?,
            db: Some(self.app.db().clone()),
            authenticator: Some(authenticator),
            fault: fault::envelope,
        })
    }

    /// Serves the agents until `stop`: hears them, tells them what changed, gives routers a host, tells nova of plugged ports and placement
    /// of bandwidth.
    pub async fn run(&self, stop: CancellationToken) {
        let take = |_| Error::internal("neutron runs already");
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or(()).map_err(take);
        let nova = self.nova.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or(()).map_err(take);
        let bandwidths = self.bandwidths.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or(()).map_err(take);
        let (Ok(hosts), Ok(nova), Ok(bandwidths)) = (hosts, nova, bandwidths) else { return };
        let telling = tokio::spawn(nova::deliver(self.compute.clone(), self.session.clone(), nova));
        let reporting = tokio::spawn(placement::report(self.placement.clone(), self.session.clone(), bandwidths));
        let relayed = hosts.clone();
        let speaking = || {
            vec![
                tokio::spawn(agents::publish(self.app.clone(), self.bus.clone(), hosts.clone())),
                agents::serve(&self.app, &self.bus),
                agents::schedule(self.app.clone(), stop.clone()),
            ]
        };
        if self.app.config().alone {
            let tasks = speaking();
            stop.cancelled().await;
            tasks.iter().for_each(JoinHandle::abort);
        } else {
            let lease = Lease::new(self.app.db().clone(), "speaking with hosts");
            let relaying = || vec![tokio::spawn(agents::relay(self.bus.clone(), relayed.clone()))];
            kit::lease::alternate(lease, stop.clone(), speaking, relaying).await;
        }
        telling.abort();
        reporting.abort();
    }

    /// Makes what a new cloud begins with; what is there stays as it is.
    pub async fn bootstrap(&self, bootstrap: &Bootstrap) -> Result<()> {
        bootstrap::run(&self.app, bootstrap).await
    }
}
