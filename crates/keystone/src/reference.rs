//! What every token needs and seldom changes, kept in memory: roles, their implications, the catalog, other clouds.
//!
//! The database counts the changes of these tables (`reference_version`), in the transaction of each change. Validation reads the count
//! with the query it makes anyway and loads anew when it moved, so that several keystones on one database agree at once.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use kit::Result;
use sea_orm::{ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder};
use serde_json::{Value, json};

use crate::federation::service_providers;
use crate::{endpoint_filter, endpoints, roles, services};

/// Roles, implications and catalog as of one version.
#[derive(Default)]
pub struct Reference {
    pub version: i64,
    roles: HashMap<String, roles::Model>,
    implied: HashMap<String, Vec<String>>,
    pub catalog: Vec<CatalogService>,
    /// The clouds to which this one vouches, as tokens name them.
    pub service_providers: Vec<Value>,
    /// Endpoints by the projects for which they were chosen.
    chosen: HashMap<String, HashSet<String>>,
}

/// A service with its endpoints, those that are enabled.
pub struct CatalogService {
    pub service: services::Model,
    pub endpoints: Vec<endpoints::Model>,
}

impl Reference {
    /// These roles and all they imply, sorted by name.
    pub fn expand<'a>(&'a self, ids: impl IntoIterator<Item = &'a str>) -> Vec<&'a roles::Model> {
        let mut waiting: Vec<&str> = ids.into_iter().collect();
        let mut seen = HashSet::new();
        let mut expanded = Vec::new();
        while let Some(id) = waiting.pop() {
            if !seen.insert(id) {
                continue;
            }
            expanded.extend(self.roles.get(id));
            waiting.extend(self.implied.get(id).into_iter().flatten().map(String::as_str));
        }
        expanded.sort_by(|a, b| a.name.cmp(&b.name));
        expanded
    }

    pub fn role(&self, id: &str) -> Option<&roles::Model> {
        self.roles.get(id)
    }

    /// A role that is in no domain, by name.
    pub fn global_role(&self, name: &str) -> Option<&roles::Model> {
        self.roles.values().find(|role| role.name == name && role.domain_id.is_empty())
    }

    /// Whether the catalog of a project shows an endpoint: all of them, unless some were chosen for it.
    pub fn sees(&self, project_id: Option<&str>, endpoint_id: &str) -> bool {
        project_id.and_then(|id| self.chosen.get(id)).is_none_or(|chosen| chosen.contains(endpoint_id))
    }

    /// What a role implies at once, without what that implies in turn.
    pub fn implied_by(&self, id: &str) -> &[String] {
        self.implied.get(id).map(Vec::as_slice).unwrap_or_default()
    }
}

/// The newest reference that somebody loaded.
#[derive(Default)]
pub struct Cache(RwLock<Arc<Reference>>);

impl Cache {
    /// The reference of this version, from memory when it is there.
    pub async fn at(&self, db: &kit::db::Db, version: i64) -> Result<Arc<Reference>> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        if known.version == version {
            return Ok(known);
        }
        let fresh = Arc::new(load(db.read(), version).await?);
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if kept.version < fresh.version {
            *kept = fresh.clone();
        }
        Ok(fresh)
    }

    /// The reference as it is now.
    pub async fn now(&self, db: &kit::db::Db) -> Result<Arc<Reference>> {
        let row = db.read().query_one_raw(statement(db.read(), "SELECT value FROM reference_version WHERE id = 1")).await?;
        let version = row.map_or(Ok(0), |row| row.try_get("", "value"))?;
        self.at(db, version).await
    }
}

/// To be called in every transaction that changes roles, implications, regions, services or endpoints.
pub async fn changed(tx: &DatabaseTransaction) -> Result<()> {
    tx.execute_unprepared("UPDATE reference_version SET value = value + 1 WHERE id = 1").await?;
    Ok(())
}

async fn load(db: &impl ConnectionTrait, version: i64) -> Result<Reference> {
    let roles = roles::Entity::find().all(db).await?.into_iter().map(|role| (role.id.clone(), role)).collect();
    let mut implied: HashMap<String, Vec<String>> = HashMap::new();
    for row in roles::implied::Entity::find().all(db).await? {
        implied.entry(row.prior_role_id).or_default().push(row.implied_role_id);
    }
    let mut endpoints: HashMap<String, Vec<endpoints::Model>> = HashMap::new();
    let all = endpoints::Entity::find().order_by_asc(endpoints::Column::Id).all(db).await?;
    let chosen = endpoint_filter::store::chosen(db, &all).await?;
    for endpoint in all {
        if endpoint.enabled {
            endpoints.entry(endpoint.service_id.clone()).or_default().push(endpoint);
        }
    }
    let services = services::Entity::find().order_by_asc(services::Column::Type).all(db).await?.into_iter();
    let catalog = services
        .filter(|service| service.enabled)
        .filter_map(|service| endpoints.remove(&service.id).map(|endpoints| CatalogService { service, endpoints }))
        .collect();
    let providers = service_providers::Entity::find().filter(service_providers::Column::Enabled.eq(true));
    let providers = providers.order_by_asc(service_providers::Column::Id).all(db).await?.into_iter();
    let service_providers = providers.map(|row| json!({"id": row.id, "auth_url": row.auth_url, "sp_url": row.sp_url})).collect();
    Ok(Reference { version, roles, implied, catalog, service_providers, chosen })
}

fn statement(db: &impl ConnectionTrait, sql: &str) -> sea_orm::Statement {
    sea_orm::Statement::from_string(db.get_database_backend(), sql)
}
