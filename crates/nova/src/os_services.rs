//! `/os-services`: the processes of nova, and whether they live.

use std::collections::HashMap;
use std::time::Duration;

use kit::clock::Timestamp;
use kit::{Context, Error, Json, Path, Query, Reply, Result, ids};
use sea_orm::entity::prelude::*;
use sea_orm::{ConnectionTrait, QueryOrder, Set};
use serde_json::{Value, json};

use crate::Nova;
use crate::microversions::UUIDS;
use crate::servers::{instance, store};

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

/// `host_status` of servers by their host.
pub async fn host_statuses(app: &Nova) -> Result<HashMap<String, &'static str>> {
    let rows = compute_hosts(app).await?;
    let status = |row: &Model| match (row.forced_down, row.disabled, row.is_up(app.config.service_down_time)) {
        (true, _, _) => "DOWN",
        (false, true, _) => "MAINTENANCE",
        (false, false, true) => "UP",
        (false, false, false) => "UNKNOWN",
    };
    Ok(rows.iter().map(|row| (row.host.clone(), status(row))).collect())
}

fn view(app: &Nova, ctx: &Context, row: &Model) -> Value {
    let mut view = json!({
        "id": if ctx.speaks(UUIDS) { json!(row.id) } else { json!(row.number) },
        "binary": row.service, "host": row.host, "zone": row.zone,
        "status": if row.disabled { "disabled" } else { "enabled" },
        "state": if row.is_up(app.config.service_down_time) { "up" } else { "down" },
        "updated_at": row.reported_at.to_micros(),
        "disabled_reason": row.disabled_reason,
    });
    if ctx.version.1 >= 11 {
        view["forced_down"] = json!(row.forced_down);
    }
    view
}

/// `GET /os-services`
pub async fn list(app: Nova, ctx: Context, query: Query) -> Result<Reply> {
    let mut select = Entity::find().order_by_asc(Column::Number);
    if let Some(host) = query.get("host") {
        select = select.filter(Column::Host.eq(host));
    }
    if let Some(binary) = query.get("binary") {
        select = select.filter(Column::Service.eq(binary));
    }
    let rows = select.all(app.db.read()).await?;
    Reply::ok(&json!({"services": rows.iter().map(|row| view(&app, &ctx, row)).collect::<Vec<_>>()}))
}

/// `PUT /os-services/{id}`: since 2.53 by uuid, before by what to do (`enable`, `disable`, `disable-log-reason`, `force-down`).
pub async fn update(app: Nova, ctx: Context, id: Path<String>, body: Json<Value>) -> Result<Reply> {
    let (id, body) = (id.0, body.0);
    let text = |key: &str| body.get(key).and_then(Value::as_str).map(str::to_owned);
    let mut change = ActiveModel { updated_at: Set(Some(Timestamp::now())), ..Default::default() };
    let row = if ctx.speaks(UUIDS) {
        match text("status").as_deref() {
            Some("enabled") => (change.disabled, change.disabled_reason) = (Set(false), Set(None)),
            Some("disabled") => (change.disabled, change.disabled_reason) = (Set(true), Set(text("disabled_reason"))),
            None if body.get("forced_down").is_some() => {}
            _ => return Err(Error::bad_request("Invalid input for field/attribute status. It is one of ['enabled', 'disabled']")),
        }
        if let Some(forced) = body.get("forced_down") {
            change.forced_down = Set(crate::validate::boolean("forced_down", forced)?);
        }
        Entity::find_by_id(&id).one(app.db.read()).await?
    } else {
        match id.as_str() {
            "enable" => (change.disabled, change.disabled_reason) = (Set(false), Set(None)),
            "disable" => change.disabled = Set(true),
            "disable-log-reason" => (change.disabled, change.disabled_reason) = (Set(true), Set(text("disabled_reason"))),
            "force-down" if ctx.version.1 >= 11 => {
                let forced = body.get("forced_down").unwrap_or(&Value::Null);
                change.forced_down = Set(crate::validate::boolean("forced_down", forced)?);
            }
            _ => return Err(Error::not_found("Unknown action")),
        }
        let (host, binary) = (text("host").unwrap_or_default(), text("binary").unwrap_or_default());
        Entity::find().filter(Column::Host.eq(host)).filter(Column::Service.eq(binary)).one(app.db.read()).await?
    };
    let row = row.ok_or_else(|| Error::not_found(format!("Service {id} could not be found.")))?;
    if row.service != COMPUTE {
        return Err(Error::bad_request(format!(
            "Updating a {} service is not supported. Only nova-compute services can be updated.",
            row.service
        )));
    }
    let id = row.id.clone();
    let row = app
        .db
        .write(move |tx| {
            Box::pin(async move {
                Entity::update_many().set(change).filter(Column::Id.eq(&id)).exec(tx).await?;
                Ok(Entity::find_by_id(&id).one(tx).await?)
            })
        })
        .await?;
    app.hosts.forget();
    let row = row.ok_or_else(|| Error::not_found("Service could not be found."))?;
    Reply::ok(&json!({"service": view(&app, &ctx, &row)}))
}

/// `DELETE /os-services/{id}`: a host that is gone for good, with its provider; 409 while it has servers.
pub async fn delete(app: Nova, ctx: Context, id: Path<String>) -> Result<Reply> {
    let by_number = id.0.parse::<i64>().ok().filter(|_| !ctx.speaks(UUIDS));
    let row = match by_number {
        Some(number) => Entity::find().filter(Column::Number.eq(number)).one(app.db.read()).await?,
        None => Entity::find_by_id(&id.0).one(app.db.read()).await?,
    };
    let row = row.ok_or_else(|| Error::not_found(format!("Service {} could not be found.", id.0)))?;
    let servers = instance::Entity::find().filter(instance::Column::Host.eq(&row.host)).filter(instance::Column::Deleted.eq(false));
    if row.service == COMPUTE && servers.count(app.db.read()).await? > 0 {
        return Err(Error::conflict("Unable to delete compute service that is hosting instances. Migrate or delete the instances first."));
    }
    if row.service == COMPUTE {
        let provider = ids::derived("compute_node", &row.host);
        sdk::found(app.cloud.placement.delete_provider(&app.session.auth(&ctx.request_id).await?, &provider).await)?;
    }
    app.db
        .write(move |tx| {
            Box::pin(async move {
                use crate::hypervisors::node;
                node::Entity::delete_many().filter(node::Column::ServiceId.eq(&row.id)).exec(tx).await?;
                Entity::delete_by_id(&row.id).exec(tx).await?;
                Ok(())
            })
        })
        .await?;
    app.hosts.forget();
    Reply::no_content()
}
