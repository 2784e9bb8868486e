//! `/os-services`.

use kit::clock::Timestamp;
use kit::microversion::{Microversion, unexpected};
use kit::{Context, Error, Json, Path, Query, Reply, Result, ids};
use sea_orm::entity::prelude::*;
use sea_orm::{QueryOrder, Set};
use serde_json::{Map, Value, json};

use super::{ActiveModel, COMPUTE, Column, Entity, Model};
use crate::hypervisors::node;
use crate::microversions::{STRICT, UUIDS};
use crate::servers::instance;
use crate::{Nova, migrations, os_aggregates, validate};

/// Services can be said to be down.
const FORCED_DOWN: Microversion = Microversion(2, 11);

fn view(app: &Nova, ctx: &Context, row: &Model) -> Value {
    let mut view = json!({
        "id": if ctx.speaks(UUIDS) { json!(row.id) } else { json!(row.number) },
        "binary": row.service, "host": row.host, "zone": row.zone, "status": status(row),
        "state": if row.is_up(app.config.service_down_time) { "up" } else { "down" },
        "updated_at": row.reported_at.to_micros(),
        "disabled_reason": row.disabled_reason,
    });
    if ctx.speaks(FORCED_DOWN) {
        view["forced_down"] = json!(row.forced_down);
    }
    view
}

fn status(row: &Model) -> &'static str {
    if row.disabled { "disabled" } else { "enabled" }
}

/// `GET /os-services`
pub async fn list(app: Nova, ctx: Context, query: Query) -> Result<Reply> {
    validate::query_keys(&ctx, &query, STRICT, &["host", "binary"])?;
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

/// `PUT /os-services/{id}`: since 2.53 the service's uuid, before that what to do.
pub async fn update(app: Nova, ctx: Context, id: Path<String>, body: Json<Map<String, Value>>) -> Result<Reply> {
    if ctx.speaks(UUIDS) { update_by_id(app, ctx, id.0, body.0).await } else { update_by_name(app, ctx, id.0, body.0).await }
}

async fn update_by_id(app: Nova, ctx: Context, id: String, body: Map<String, Value>) -> Result<Reply> {
    only(&body, &["status", "disabled_reason", "forced_down"])?;
    let mut change = ActiveModel { updated_at: Set(Some(Timestamp::now())), ..Default::default() };
    let reason = body.get("disabled_reason").map(read_reason).transpose()?;
    match body.get("status").map(|status| (status, status.as_str())) {
        Some((_, Some("enabled"))) => (change.disabled, change.disabled_reason) = (Set(false), Set(None)),
        Some((_, Some("disabled"))) => (change.disabled, change.disabled_reason) = (Set(true), Set(reason.clone())),
        Some((other, _)) => return Err(validate::invalid("status", other, format!("{other} is not one of ['enabled', 'disabled']"))),
        None => {}
    }
    if reason.is_some() && body.get("status").and_then(Value::as_str) != Some("disabled") {
        return Err(Error::bad_request("Specifying disabled_reason requires that status is 'disabled'."));
    }
    if let Some(forced) = body.get("forced_down") {
        change.forced_down = Set(validate::boolean("forced_down", forced)?);
    }
    if !body.contains_key("status") && !body.contains_key("forced_down") {
        return Err(Error::bad_request("No updates were requested. Fields 'status' or 'forced_down' should be specified."));
    }
    let row = fetch(&app, &ctx, &id).await?;
    only_computes(&row.service)?;
    let row = super::save(&app, row.id, change).await?;
    Reply::ok(&json!({"service": view(&app, &ctx, &row)}))
}

async fn update_by_name(app: Nova, ctx: Context, action: String, body: Map<String, Value>) -> Result<Reply> {
    let known: &[&str] = &["host", "binary", "disabled_reason", "forced_down"];
    only(&body, if ctx.speaks(FORCED_DOWN) { known } else { &known[..3] })?;
    let text = |key: &str| match body.get(key) {
        Some(Value::String(text)) if !text.is_empty() && text.len() <= 255 => Ok(text.clone()),
        Some(other) => Err(validate::invalid(key, other, format!("{other} is not of type 'string'"))),
        None => Err(Error::bad_request(format!("Invalid input for field/attribute body. '{key}' is a required property"))),
    };
    let (host, binary) = (text("host")?, text("binary")?);
    let reason = body.get("disabled_reason").map(read_reason).transpose()?;
    let mut change = ActiveModel { updated_at: Set(Some(Timestamp::now())), ..Default::default() };
    let mut answer = json!({"host": host, "binary": binary});
    match action.as_str() {
        "enable" => {
            (change.disabled, change.disabled_reason) = (Set(false), Set(None));
            answer["status"] = json!("enabled");
        }
        "disable" => {
            (change.disabled, change.disabled_reason) = (Set(true), Set(None));
            answer["status"] = json!("disabled");
        }
        "disable-log-reason" => {
            let reason = reason.ok_or_else(|| Error::bad_request("Missing disabled reason field"))?;
            (answer["status"], answer["disabled_reason"]) = (json!("disabled"), json!(reason));
            (change.disabled, change.disabled_reason) = (Set(true), Set(Some(reason)));
        }
        "force-down" if ctx.speaks(FORCED_DOWN) => {
            let forced = body.get("forced_down").ok_or_else(|| Error::bad_request("Missing forced_down field"))?;
            let forced = validate::boolean("forced_down", forced)?;
            answer["forced_down"] = json!(forced);
            change.forced_down = Set(forced);
        }
        _ => return Err(Error::not_found("Unknown action")),
    }
    only_computes(&binary)?;
    let row = super::find(&app, &host, &binary).await?;
    super::save(&app, row.id, change).await?;
    Reply::ok(&json!({"service": answer}))
}

fn only_computes(binary: &str) -> Result<()> {
    if binary == COMPUTE {
        return Ok(());
    }
    let words = format!("Updating a {binary} service is not supported. Only nova-compute services can be updated.");
    Err(Error::bad_request(words))
}

fn only(body: &Map<String, Value>, known: &[&str]) -> Result<()> {
    unexpected(&body.keys().map(String::as_str).filter(|key| !known.contains(key)).collect::<Vec<_>>())
}

/// Why a service is disabled, in 1 to 255 characters.
fn read_reason(value: &Value) -> Result<String> {
    let text = value.as_str().ok_or_else(|| validate::invalid("disabled_reason", value, format!("{value} is not of type 'string'")))?;
    let words = text.trim();
    if words.is_empty() || words != text || text.chars().count() > 255 {
        return Err(validate::invalid("disabled_reason", text, "Disabled reason contains invalid characters or length"));
    }
    Ok(text.to_owned())
}

/// `DELETE /os-services/{id}`: a host that is gone for good, with its provider; 409 while it has servers, or some are on their way.
pub async fn delete(app: Nova, ctx: Context, id: Path<String>) -> Result<Reply> {
    let row = fetch(&app, &ctx, &id.0).await?;
    if row.service == COMPUTE {
        let servers = instance::Entity::find().filter(instance::Column::Host.eq(&row.host)).filter(instance::Column::Deleted.eq(false));
        if servers.count(app.db.read()).await? > 0 {
            return Err(Error::conflict(
                "Unable to delete compute service that is hosting instances. Migrate or delete the instances first.",
            ));
        }
        if migrations::under_way(app.db.read(), &row.host).await? {
            return Err(Error::conflict(
                "Unable to delete compute service that has in-progress migrations. Complete the migrations or delete the instances first.",
            ));
        }
        let provider = ids::derived("compute_node", &row.host);
        sdk::found(app.cloud.placement.delete_provider(&app.session.auth(&ctx.request_id).await?, &provider).await)?;
    }
    app.db
        .write(move |tx| {
            Box::pin(async move {
                node::Entity::delete_many().filter(node::Column::ServiceId.eq(&row.id)).exec(tx).await?;
                if row.service == COMPUTE {
                    os_aggregates::forget_host(tx, &row.host).await?;
                }
                Entity::delete_by_id(&row.id).exec(tx).await?;
                Ok(())
            })
        })
        .await?;
    app.hosts.forget();
    Reply::no_content()
}

/// A service by its uuid, or before 2.53 by its number.
async fn fetch(app: &Nova, ctx: &Context, id: &str) -> Result<Model> {
    let found = if ctx.speaks(UUIDS) {
        let uuid = ids::parse_uuid(id).ok_or_else(|| Error::bad_request(format!("Invalid uuid {id}")))?;
        Entity::find_by_id(uuid).one(app.db.read()).await?
    } else {
        let number = id.parse::<i64>().map_err(|_| Error::bad_request("id must be an integer"))?;
        Entity::find().filter(Column::Number.eq(number)).one(app.db.read()).await?
    };
    found.ok_or_else(|| Error::not_found(format!("Service {id} could not be found.")))
}
