//! The service as a whole: what handlers and flows work with, how it opens, serves and runs.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kit::auth::{Authenticator, ServiceSession};
use kit::bus::Bus;
use kit::clock::Timestamp;
use kit::db::{Db, Location, Migration};
use kit::flow::{self, Flows, ProbeFn};
use kit::policy::Policy;
use kit::service::{Mount, Service, ServiceParts};
use kit::{Error, Result, reconcile};
use rpc::volume::SERVER_TOPIC;
use tokio_util::sync::CancellationToken;

use crate::backups::flows::{CreateBackup, DeleteBackup};
use crate::backups::restore::RestoreBackup;
use crate::group_snapshots::flows::{DeleteGroupSnapshot, MakeGroupSnapshot};
use crate::groups::flows::{DeleteGroup, MakeGroup};
use crate::keys::MasterKey;
use crate::manageable::flows::{ManageVolume, UnmanageVolume};
use crate::manageable::snapshot_flows::{ManageSnapshot, UnmanageSnapshot};
use crate::snapshots::flows::{CreateSnapshot, DeleteSnapshot};
use crate::volumes::build::CreateVolume;
use crate::volumes::delete::DeleteVolume;
use crate::volumes::extend::ExtendVolume;
use crate::volumes::migrate::flow::MigrateVolume;
use crate::volumes::reimage::ReimageVolume;
use crate::volumes::revert::RevertVolume;
use crate::volumes::upload::UploadVolume;
use crate::{consistencygroups, discovery, fault, hosts, microversions, policies, reconcile as repairs, routes, services, types};

pub(crate) const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, sql: include_str!("../migrations/0001_initial.sql") },
    flow::migration(2),
    Migration { version: 3, sql: include_str!("../migrations/0003_types.sql") },
    Migration { version: 4, sql: include_str!("../migrations/0004_backups.sql") },
    Migration { version: 5, sql: include_str!("../migrations/0005_groups.sql") },
    Migration { version: 6, sql: include_str!("../migrations/0006_type_encryption.sql") },
    Migration { version: 7, sql: include_str!("../migrations/0007_snapshots_and_backups.sql") },
    Migration { version: 8, sql: include_str!("../migrations/0008_keys_and_scheduling.sql") },
    Migration { version: 9, sql: include_str!("../migrations/0009_backups_in_buckets.sql") },
    Migration { version: 10, sql: include_str!("../migrations/0010_capacity_and_migration.sql") },
];
const MOUNTS: &[Mount] = &[Mount { prefix: "/v3", strict: true }];
/// How often this process says that its flows are still its own.
const LEASE: Duration = Duration::from_secs(10);

/// What distinguishes this cinder.
#[derive(Clone)]
pub struct Config {
    pub location: Location,
    /// The file of the key that seals the keys of encrypted volumes; made when absent.
    pub master_key: PathBuf,
    /// Of hosts and volumes.
    pub availability_zone: String,
    /// The database is this process's alone: at start it takes up every flow there is.
    pub alone: bool,
    /// For tests that fail or crash flows.
    pub probe: Option<ProbeFn>,
}

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct Cinder(Arc<Inner>);

struct Inner {
    db: Db,
    master_key: MasterKey,
    bus: Bus,
    config: Config,
    images: sdk::image::Image,
    compute: sdk::compute::Compute,
    session: ServiceSession,
    flows: OnceLock<Flows<Cinder>>,
}

/// Opens the database and makes ready to serve.
pub async fn open(
    config: Config,
    bus: Bus,
    images: sdk::image::Image,
    compute: sdk::compute::Compute,
    session: ServiceSession,
) -> Result<Cinder> {
    let db = Db::open(&config.location, MIGRATIONS).await?;
    let probe = config.probe.clone();
    let master_key = MasterKey::open(&config.master_key)?;
    let app = Cinder(Arc::new(Inner { db: db.clone(), master_key, bus, config, images, compute, session, flows: OnceLock::new() }));
    let flows = flow::Builder::new(db, app.clone())
        .with::<CreateVolume>()
        .with::<DeleteVolume>()
        .with::<ExtendVolume>()
        .with::<CreateSnapshot>()
        .with::<DeleteSnapshot>()
        .with::<UploadVolume>()
        .with::<RevertVolume>()
        .with::<ReimageVolume>()
        .with::<MigrateVolume>()
        .with::<ManageVolume>()
        .with::<UnmanageVolume>()
        .with::<ManageSnapshot>()
        .with::<UnmanageSnapshot>()
        .with::<CreateBackup>()
        .with::<DeleteBackup>()
        .with::<RestoreBackup>()
        .with::<MakeGroup>()
        .with::<DeleteGroup>()
        .with::<MakeGroupSnapshot>()
        .with::<DeleteGroupSnapshot>()
        .probe(probe)
        .build();
    // set once, here
    let _ = app.0.flows.set(flows);
    types::store::ensure_default(&app).await?;
    consistencygroups::ensure_type(&app).await?;
    Ok(app)
}

impl Cinder {
    /// The backends, as `HOST@BACKEND`, that said since a moment that they live.
    pub async fn hosts_heard(&self, since: Timestamp) -> Result<Vec<String>> {
        let services = services::store::volume_hosts(self.db().read()).await?;
        Ok(services.into_iter().filter(|service| service.seen_at >= since).map(|service| service.host).collect())
    }

    /// The API.
    pub fn service(&self, authenticator: Authenticator<Cinder>) -> Result<Service> {
        Service::new(ServiceParts {
            name: "cinder-api",
            app: self.clone(),
            root: discovery::routes(),
            routes: routes::routes(),
            mounts: MOUNTS,
            project_segment: true,
            json_suffix: false,
            versions: Some(microversions::VERSIONS),
            policy: Policy::new(policies::DEFAULTS)?,
            db: Some(self.db().clone()),
            authenticator: Some(authenticator),
            fault: fault::render,
        })
    }

    /// Answers cinder-volume processes and carries flows on, until `stop`.
    pub async fn run(&self, stop: CancellationToken) -> Result<()> {
        let serving = self.bus().serve(SERVER_TOPIC, hosts::handlers(self), 32);
        let flows = self.flows()?.clone();
        flows.take_over(self.0.config.alone).await?;
        let app = self.clone();
        let leases = reconcile::every("flow leases", LEASE, stop.clone(), move || {
            let (flows, app) = (flows.clone(), app.clone());
            async move {
                hosts::scheduler_is_up(&app).await?;
                flows.keep_alive().await?;
                flows.take_over(false).await
            }
        });
        let app = self.clone();
        let repairs = reconcile::every("stuck resources", repairs::PERIOD, stop.clone(), move || {
            let app = app.clone();
            async move { repairs::run(&app).await }
        });
        stop.cancelled().await;
        serving.abort();
        // they stop by themselves at `stop`
        let _ = tokio::join!(leases, repairs);
        Ok(())
    }

    pub fn db(&self) -> &Db {
        &self.0.db
    }

    pub fn master_key(&self) -> &MasterKey {
        &self.0.master_key
    }

    pub fn bus(&self) -> &Bus {
        &self.0.bus
    }

    pub fn images(&self) -> &sdk::image::Image {
        &self.0.images
    }

    pub fn compute(&self) -> &sdk::compute::Compute {
        &self.0.compute
    }

    pub fn session(&self) -> &ServiceSession {
        &self.0.session
    }

    pub fn zone(&self) -> &str {
        &self.0.config.availability_zone
    }

    pub fn flows(&self) -> Result<&Flows<Cinder>> {
        self.0.flows.get().ok_or_else(|| Error::internal("cinder is not open yet"))
    }
}
