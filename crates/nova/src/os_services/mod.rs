//! The `services` table: the processes of nova, and whether they live. [`api`] is what administrators see and change of them.

pub mod api;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use kit::clock::Timestamp;
use kit::policy::Target;
use kit::{Context, Error, Result, ids};
use sea_orm::entity::prelude::*;
use sea_orm::{ConnectionTrait, NotSet, QueryOrder, QuerySelect, Set};

use crate::Nova;
use crate::conductor::hosts;
use crate::servers::store;

pub const COMPUTE: &str = "nova-compute";
pub const CONDUCTOR: &str = "nova-conductor";
pub const SCHEDULER: &str = "nova-scheduler";

/// A row of `services`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "services")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// The id of older versions.
    pub number: i64,
    pub host: String,
    pub service: String,
    pub zone: String,
    pub disabled: bool,
    pub disabled_reason: Option<String>,
    pub forced_down: bool,
    pub created_at: Timestamp,
    /// The last sign of life.
    pub reported_at: Timestamp,
    /// The last change by an administrator.
    pub updated_at: Option<Timestamp>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    pub fn is_up(&self, down_time: Duration) -> bool {
        !self.forced_down && Timestamp::now().since(self.reported_at) < down_time
    }
}

/// A sign of life; the first one makes the record.
pub async fn ensure(tx: &impl ConnectionTrait, host: &str, service: &str, zone: &str) -> Result<Model> {
    let found = Entity::find().filter(Column::Host.eq(host)).filter(Column::Service.eq(service)).one(tx).await?;
    let now = Timestamp::now();
    if let Some(mut row) = found {
        let change = ActiveModel { reported_at: Set(now), ..Default::default() };
        Entity::update_many().set(change).filter(Column::Id.eq(&row.id)).exec(tx).await?;
        row.reported_at = now;
        return Ok(row);
    }
    let row = Model {
        id: ids::derived("nova_service", &format!("{service}@{host}")),
        number: store::next_numbers(tx, "services", 1).await?,
        host: host.to_owned(),
        service: service.to_owned(),
        zone: zone.to_owned(),
        disabled: false,
        disabled_reason: None,
        forced_down: false,
        created_at: now,
        reported_at: now,
        updated_at: None,
    };
    Entity::insert(ActiveModel::from(row.clone())).exec_without_returning(tx).await?;
    Ok(row)
}

/// A sign of life of many at once; how many of them there are.
pub async fn beat(tx: &impl ConnectionTrait, hosts: &[String], service: &str) -> Result<u64> {
    let change = ActiveModel { reported_at: Set(Timestamp::now()), ..Default::default() };
    let those = Entity::update_many().set(change).filter(Column::Service.eq(service)).filter(Column::Host.is_in(hosts));
    Ok(those.exec(tx).await?.rows_affected)
}

/// Those of the hosts that have the service.
pub async fn named(tx: &impl ConnectionTrait, hosts: &[String], service: &str) -> Result<HashSet<String>> {
    let those = Entity::find().select_only().column(Column::Host).filter(Column::Service.eq(service)).filter(Column::Host.is_in(hosts));
    Ok(those.into_tuple::<String>().all(tx).await?.into_iter().collect())
}

/// The nova-computes.
pub async fn compute_hosts(app: &Nova) -> Result<Vec<Model>> {
    Ok(Entity::find().filter(Column::Service.eq(COMPUTE)).order_by_asc(Column::Number).all(app.db.read()).await?)
}

/// A host's nova-compute.
pub async fn of_host(app: &Nova, host: &str) -> Result<Option<Model>> {
    Ok(Entity::find().filter(Column::Service.eq(COMPUTE)).filter(Column::Host.eq(host)).one(app.db.read()).await?)
}

/// Whether a host's nova-compute lives.
pub async fn is_up(app: &Nova, host: &str) -> Result<bool> {
    Ok(of_host(app, host).await?.is_some_and(|row| row.is_up(app.config.service_down_time)))
}

/// `host_status` of servers: `UP`, `DOWN`, `MAINTENANCE` or `UNKNOWN` by their host.
pub struct HostStatuses {
    by_host: HashMap<String, &'static str>,
    /// Nothing else than that nothing is known is told.
    unknown_only: bool,
}

impl HostStatuses {
    pub fn of(&self, host: Option<&str>) -> Option<&'static str> {
        let status = host.and_then(|host| self.by_host.get(host)).copied().unwrap_or_default();
        Some(status).filter(|status| !self.unknown_only || *status == UNKNOWN)
    }
}

const UNKNOWN: &str = "UNKNOWN";

/// What the caller may know of how the hosts of a project's servers are.
pub async fn host_statuses(app: &Nova, ctx: &Context, project: &str) -> Result<Option<HostStatuses>> {
    let target = Target::project(project);
    let every = ctx.allows("os_compute_api:servers:show:host_status", &target);
    if !every && !ctx.allows("os_compute_api:servers:show:host_status:unknown-only", &target) {
        return Ok(None);
    }
    let rows = compute_hosts(app).await?;
    let status = |row: &Model| match (row.forced_down, row.disabled, row.is_up(app.config.service_down_time)) {
        (true, _, _) => "DOWN",
        (false, true, _) => "MAINTENANCE",
        (false, false, true) => "UP",
        (false, false, false) => UNKNOWN,
    };
    let by_host = rows.iter().map(|row| (row.host.clone(), status(row))).collect();
    Ok(Some(HostStatuses { by_host, unknown_only: !every }))
}

/// Whether a service takes new work; 404 when there is none of that name on that host.
pub async fn set_disabled(app: &Nova, host: &str, service: &str, disabled: bool) -> Result<()> {
    let change = ActiveModel {
        disabled: Set(disabled),
        disabled_reason: if disabled { NotSet } else { Set(None) },
        updated_at: Set(Some(Timestamp::now())),
        ..Default::default()
    };
    let row = find(app, host, service).await?;
    save(app, row.id, change).await.map(drop)
}

/// A service by its name on a host.
async fn find(app: &Nova, host: &str, service: &str) -> Result<Model> {
    let found = Entity::find().filter(Column::Host.eq(host)).filter(Column::Service.eq(service)).one(app.db.read()).await?;
    found.ok_or_else(|| Error::not_found(format!("Could not find binary {service} on host {host}.")))
}

/// Changes a service; schedulers look again.
async fn save(app: &Nova, id: String, change: ActiveModel) -> Result<Model> {
    let row = app
        .db
        .write(move |tx| {
            Box::pin(async move {
                Entity::update_many().set(change).filter(Column::Id.eq(&id)).exec(tx).await?;
                let row = Entity::find_by_id(&id).one(tx).await?;
                row.ok_or_else(|| Error::not_found(format!("Service {id} could not be found.")))
            })
        })
        .await?;
    if row.service == COMPUTE
        && let Err(error) = hosts::tell_status(app, &row.host, row.disabled).await
    {
        tracing::warn!(host = row.host, %error, "placement does not know yet whether this host gets new servers");
    }
    app.hosts.forget();
    Ok(row)
}

/// Whether a host gets no new servers.
pub async fn is_disabled(app: &Nova, host: &str) -> Result<bool> {
    let row = Entity::find().filter(Column::Host.eq(host)).filter(Column::Service.eq(COMPUTE)).one(app.db.read()).await?;
    Ok(row.is_some_and(|row| row.disabled))
}
