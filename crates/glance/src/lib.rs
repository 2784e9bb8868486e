//! Glance: images, their files and who may see them.
//!
//! An image is a row, tags, custom properties and one object in a store, or a copy of it in several. The object is written before the row
//! says `active`, so a row that says so is always right. What is on its way is noted before its first byte, so that what a crash leaves
//! behind is removed by whoever comes next. What is inside a file is looked at before it is accepted, so that nothing downstream opens
//! an image that points at files of the host.
//!
//! A tour: [`routes`] is the index of the API; `images` the resource, then `members`, `tags` and `actions`; `data` is how bytes come and
//! go, `stores` where they are kept, `cache` the copies on this host; `import` and `tasks` what happens in the background; `quota`,
//! `metadefs` and `schemas` the rest.

mod actions;
mod cache;
mod config;
mod data;
mod entity;
mod fault;
mod images;
mod import;
mod members;
mod metadefs;
mod policy;
mod quota;
mod register;
mod root;
mod routes;
mod schemas;
mod stores;
mod tags;
mod tasks;
mod working;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kit::auth::Authenticator;
use kit::db::{Db, Location, Migration};
use kit::flow::ProbeFn;
use kit::policy::Policy;
use kit::service::{Mount, Service, ServiceParts};

use outside::web::Web;
use tokio_util::sync::CancellationToken;

use cache::Cache;
pub use config::{Config, DiskFormat, Limits, StoreConfig};
pub use data::probe::STEPS;
use data::scratch::Scratch;
pub use import::Regions;
pub use quota::unified::Unified;
use stores::Stores;
use working::Working;

pub use outside;

const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, sql: include_str!("../migrations/0001_initial.sql") },
    Migration { version: 2, sql: include_str!("../migrations/0002_stores_and_tasks.sql") },
    Migration { version: 3, sql: include_str!("../migrations/0003_metadefs.sql") },
    Migration { version: 4, sql: include_str!("../migrations/0004_pending_deletes.sql") },
];

/// How often this process looks after what others left and what is queued.
const UPKEEP: Duration = Duration::from_secs(20);

/// The image service. Cheap to clone.
#[derive(Clone)]
pub struct Glance {
    db: Db,
    scratch: Scratch,
    stores: Stores,
    cache: Cache,
    web: Web,
    working: Working,
    regions: Option<Regions>,
    unified: Option<Unified>,
    probe: Option<ProbeFn>,
    settings: Arc<Config>,
}

/// Brings back an image that was deleted and waits for the scrubber.
pub async fn restore(database: &Location, id: &str) -> kit::Result<()> {
    images::restore(&Db::open(database, MIGRATIONS).await?, id).await
}

/// Opens glance's database, directory and stores, and clears away what a crash left.
pub async fn open(config: Config) -> kit::Result<Glance> {
    let db = Db::open(&config.database, MIGRATIONS).await?;
    let glance = Glance {
        db,
        scratch: Scratch::open(&config.directory, &config.node).await?,
        stores: Stores::open(&config.stores).await?,
        cache: Cache::open(config.directory.join("cache"), config.cache_max_size).await?,
        web: Web::new(config.web.clone()),
        working: Working::default(),
        regions: None,
        unified: None,
        probe: None,
        settings: Arc::new(config),
    };
    data::recover::recover(&glance).await?;
    metadefs::defaults::load(&glance).await?;
    Ok(glance)
}

impl Glance {
    /// Lets users import images of other regions.
    pub fn among(mut self, regions: Regions) -> Glance {
        self.regions = Some(regions);
        self
    }

    /// Takes what projects may have from keystone, not from the settings.
    pub fn limited_by(mut self, unified: Unified) -> Glance {
        self.unified = Some(unified);
        self
    }

    /// For tests that fail or crash what brings bytes after each of [`STEPS`].
    pub fn probed(mut self, probe: ProbeFn) -> Glance {
        self.probe = Some(probe);
        self
    }

    /// The API, ready to be served.
    pub fn service(&self, authenticator: Authenticator<Glance>) -> kit::Result<Service> {
        Service::new(ServiceParts {
            name: "glance-api",
            app: self.clone(),
            root: routes::root(),
            routes: routes::api(),
            // a catalog URL that ends in /v2 gives clients /v2/v2
            mounts: &[Mount { prefix: "/v2/v2", strict: true }, Mount { prefix: "/v2", strict: true }],
            project_segment: false,
            json_suffix: false,
            versions: None,
            policy: Policy::new(policy::RULES)?,
            db: Some(self.db.clone()),
            authenticator: Some(authenticator),
            fault: fault::fault,
        })
    }

    /// Looks after what this and other processes leave behind, and after the cache, until `stop`.
    pub async fn run(&self, stop: CancellationToken) -> kit::Result<()> {
        let app = self.clone();
        let rounds = kit::reconcile::every("images", UPKEEP, stop, move || {
            let app = app.clone();
            async move { data::recover::upkeep(&app).await }
        });
        rounds.await.map_err(kit::Error::internal)
    }

    /// Makes sure a public image of this name has the bytes of a local file; nothing is done when it has. `owner` is a project.
    pub async fn register(&self, name: &str, path: &Path, owner: &str, properties: BTreeMap<String, String>) -> kit::Result<String> {
        register::register(self, name, path, owner, properties).await
    }
}
