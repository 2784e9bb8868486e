//! Glance: images, their files and who may see them.
//!
//! An image is a row, tags, custom properties and one file. The file is written before the row says `active`, so a row that says so is
//! always right; what a crash leaves behind is removed at the next start. What is inside a file is looked at before it is accepted, so
//! that nothing downstream opens an image that points at files of the host.
//!
//! A tour: [`routes`] is the index of the API; `images` the resource, `data` its file, then `members`, `tags`, `actions`, `import`,
//! `schemas`.

mod actions;
mod data;
mod entity;
mod fault;
mod images;
mod import;
mod members;
mod policy;
mod register;
mod root;
mod routes;
mod schemas;
mod tags;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kit::auth::Authenticator;
use kit::db::{Db, Location, Migration};
use kit::policy::Policy;
use kit::service::{Mount, Service, ServiceParts};

use data::files::Files;

const MIGRATIONS: &[Migration] = &[Migration { version: 1, sql: include_str!("../migrations/0001_initial.sql") }];

/// What an operator decides.
#[derive(Clone, Debug)]
pub struct Config {
    pub database: Location,
    /// Where the files live: `STATE_DIR/images`. One glance at a time.
    pub directory: PathBuf,
    /// Bytes an image may have.
    pub image_size_cap: u64,
    /// Refuse a file that is not what its `disk_format` says.
    pub require_image_format_match: bool,
}

impl Config {
    /// Glance's defaults.
    pub fn new(database: Location, directory: PathBuf) -> Config {
        Config { database, directory, image_size_cap: 1 << 40, require_image_format_match: true }
    }
}

/// The image service. Cheap to clone.
#[derive(Clone)]
pub struct Glance {
    db: Db,
    files: Files,
    image_size_cap: u64,
    require_image_format_match: bool,
}

/// Opens glance's database and directory, and clears away what a crash left.
pub async fn open(config: Config) -> kit::Result<Glance> {
    let db = Db::open(&config.database, MIGRATIONS).await?;
    let files = Files::open(config.directory).await?;
    let glance = Glance { db, files, image_size_cap: config.image_size_cap, require_image_format_match: config.require_image_format_match };
    data::recover::recover(&glance).await?;
    Ok(glance)
}

impl Glance {
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
            db: None,
            authenticator: Some(authenticator),
            fault: fault::fault,
        })
    }

    /// Makes sure a public image of this name has the bytes of a local file; nothing is done when it has. `owner` is a project.
    pub async fn register(&self, name: &str, path: &Path, owner: &str, properties: BTreeMap<String, String>) -> kit::Result<String> {
        register::register(self, name, path, owner, properties).await
    }
}
