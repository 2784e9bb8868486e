//! Keystone, the identity service: who somebody is, what they may act on, and where the other services are.
//!
//! A tour: [`routes`] is the index of the v3 API, with one module per resource, named as in the URL: who somebody is (`users`, `groups`,
//! `credentials`, `application_credentials`), what there is (`domains`, `projects`, `services`, `endpoints`, `regions`), who may what on it
//! (`roles`, `assignments`, `trusts`), and what is only kept (`limits`, `policies`, `endpoint_filter`, `domain_config`, `consumers`,
//! `federation`). [`tokens`] logs in and validates; [`v2`] is the same for clients of 2015. [`reference`] keeps in memory what every token
//! needs and seldom changes; [`passwords`] hashes without blocking; [`bootstrap`] makes the first users and the catalog; [`policy`] says
//! who may do what, [`fault`] how refusals look.

mod application_credentials;
mod assignments;
pub mod bootstrap;
mod consumers;
mod credentials;
mod discovery;
mod domain_config;
mod domains;
mod endpoint_filter;
mod endpoints;
mod fault;
mod federation;
mod fields;
mod groups;
mod json_home;
mod limits;
mod list;
mod oauth1;
mod passwords;
mod policies;
mod policy;
mod projects;
mod reference;
mod regions;
mod roles;
mod routes;
mod services;
mod tokens;
mod trusts;
mod users;
mod v2;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use kit::auth::Authenticator;
use kit::db::{Db, Location, Migration};
use kit::policy::Policy;
use kit::service::{Mount, Service, ServiceParts};
use kit::{Error, Result};
use sea_orm::DatabaseTransaction;
use tokens::standings::Standings;

pub use bootstrap::Bootstrap;
pub use passwords::rules::SecurityCompliance;
pub use tokens::fernet::rotate;

const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, sql: include_str!("../migrations/0001_init.sql") },
    Migration { version: 2, sql: include_str!("../migrations/0002_complete.sql") },
    Migration { version: 3, sql: include_str!("../migrations/0003_delegation.sql") },
    Migration { version: 4, sql: include_str!("../migrations/0004_pages.sql") },
];

/// The domain that always exists, and the only one that v2.0 knows.
pub const DEFAULT_DOMAIN: &str = "default";

/// What an operator decides about keystone.
#[derive(Clone, Debug)]
pub struct Config {
    /// The Fernet key repository: a directory of numbered keys, made when absent.
    pub fernet_keys: PathBuf,
    /// The same for the secrets of credentials in the database.
    pub credential_keys: PathBuf,
    /// How long a token lives.
    pub token_lifetime: Duration,
    /// `http://host:5000`, for the challenge of a 401.
    pub public_url: String,
    /// `http://host:35357`, the admin address in the v2.0 catalog.
    pub admin_url: String,
    /// Whether a scoped token can be exchanged for one of another scope.
    pub allow_rescope_scoped_token: bool,
    pub security: SecurityCompliance,
}

/// The identity service. Cheap to clone.
#[derive(Clone)]
pub struct Keystone {
    db: Db,
    config: Arc<Config>,
    keys: Arc<tokens::fernet::Keys>,
    credential_keys: Arc<tokens::fernet::Keys>,
    passwords: Arc<passwords::Passwords>,
    password_pattern: Option<Arc<fancy_regex::Regex>>,
    attempts: Arc<passwords::attempts::Attempts>,
    reference: Arc<reference::Cache>,
    standings: Arc<tokens::standings::Standings>,
}

/// Opens keystone's database and keys, and makes either when absent.
pub async fn open(location: &Location, config: Config) -> Result<Keystone> {
    Ok(Keystone {
        db: Db::open(location, MIGRATIONS).await?,
        keys: Arc::new(tokens::fernet::Keys::open(&config.fernet_keys)?),
        credential_keys: Arc::new(tokens::fernet::Keys::open(&config.credential_keys)?),
        attempts: Arc::new(passwords::attempts::Attempts::new(config.security.failed_logins_per_minute)),
        password_pattern: config.security.pattern()?.map(Arc::new),
        config: Arc::new(config),
        passwords: Arc::new(passwords::Passwords::new()?),
        reference: Arc::default(),
        standings: Arc::new(Standings::new(matches!(location, Location::Sqlite(_)))),
    })
}

impl Keystone {
    /// The API, the same on port 5000 and 35357.
    pub fn service(&self) -> Result<Service> {
        Service::new(ServiceParts {
            name: "keystone",
            app: self.clone(),
            root: routes::unversioned(),
            routes: routes::v3(),
            mounts: &[Mount { prefix: "/v3", strict: true }],
            project_segment: false,
            json_suffix: false,
            versions: None,
            policy: Policy::new(policy::DEFAULTS)?,
            db: Some(self.db.clone()),
            authenticator: Some(Authenticator::own(tokens::identify, &self.config.public_url)),
            fault: fault::envelope,
        })
    }

    /// Makes the first domain, projects, users, roles and the catalog, or brings them up to date. Repeating it changes nothing.
    pub async fn bootstrap(&self, wanted: &Bootstrap) -> Result<bootstrap::Projects> {
        bootstrap::run(self, wanted).await
    }

    /// Changes the database. The only way to do so, as it makes what is remembered of tokens void, also when the caller has gone away.
    async fn write<T, F>(&self, change: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t DatabaseTransaction) -> BoxFuture<'t, Result<T>> + Send + 'static,
    {
        let keystone = self.clone();
        let task = tokio::spawn(async move {
            let outcome = keystone.db.write(change).await;
            keystone.standings.forget();
            outcome
        });
        task.await.map_err(Error::internal)?
    }
}
