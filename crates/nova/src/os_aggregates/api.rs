//! `/os-aggregates`.

use std::collections::BTreeMap;

use kit::clock::Timestamp;
use kit::db::Json as JsonText;
use kit::microversion::Microversion;
use kit::policy::Target;
use kit::{Context, Error, Json, Path, Reply, Result, ids};
use serde_json::{Map, Value, json};

use super::{Model, store};
use crate::{Nova, os_services, validate};

/// Aggregates show their uuid.
const UUID: Microversion = Microversion(2, 41);

/// `GET /os-aggregates`
pub async fn list(app: Nova, ctx: Context) -> Result<Reply> {
    let hosts = store::hosts(app.db.read()).await?;
    let aggregates = store::all(app.db.read()).await?;
    let aggregates: Vec<Value> = aggregates.iter().map(|aggregate| view(&ctx, aggregate, hosts.get(&aggregate.number))).collect();
    Reply::ok(&json!({"aggregates": aggregates}))
}

/// `GET /os-aggregates/{aggregate_id}`
pub async fn show(app: Nova, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let aggregate = store::fetch(app.db.read(), &id).await?;
    let hosts = store::hosts(app.db.read()).await?;
    Reply::ok(&json!({"aggregate": view(&ctx, &aggregate, hosts.get(&aggregate.number))}))
}

/// `POST /os-aggregates`
pub async fn create(app: Nova, ctx: Context, Json(body): Json<Value>) -> Result<Reply> {
    let (name, zone) = asked(&ctx, body)?;
    let name = name.ok_or_else(|| Error::bad_request("Invalid input for field/attribute aggregate. 'name' is a required property"))?;
    let metadata = zone.flatten().map(|zone| (store::ZONE.to_owned(), zone)).into_iter().collect();
    let aggregate = app
        .db
        .write(move |tx| {
            Box::pin(async move {
                let number = crate::servers::store::next_numbers(tx, "aggregates", 1).await?;
                let (id, created_at) = (ids::uuid(), Timestamp::now());
                let aggregate = Model { number, id, name, metadata: JsonText(metadata), created_at, updated_at: None };
                store::insert(tx, aggregate.clone()).await?;
                Ok(aggregate)
            })
        })
        .await?;
    let mut shown = view(&ctx, &aggregate, None);
    // the answer of create has neither, as in nova
    if let Some(object) = shown.as_object_mut() {
        object.retain(|key, _| key != "hosts" && key != "metadata");
    }
    Reply::ok(&json!({"aggregate": shown}))
}

/// `PUT /os-aggregates/{aggregate_id}`
pub async fn update(app: Nova, ctx: Context, Path(id): Path<String>, Json(body): Json<Value>) -> Result<Reply> {
    let (name, zone) = asked(&ctx, body)?;
    change(&app, &id, name, move |metadata| match zone {
        Some(Some(zone)) => drop(metadata.insert(store::ZONE.to_owned(), zone)),
        Some(None) => drop(metadata.remove(store::ZONE)),
        None => {}
    })
    .await?;
    show(app, ctx, Path(id)).await
}

/// `DELETE /os-aggregates/{aggregate_id}`
pub async fn delete(app: Nova, _: Context, Path(id): Path<String>) -> Result<Reply> {
    let number = store::fetch(app.db.read(), &id).await?.number;
    app.db.write(move |tx| Box::pin(async move { store::delete(tx, number).await })).await?;
    Ok(Reply::empty(http::StatusCode::OK))
}

/// `POST /os-aggregates/{aggregate_id}/action` with `add_host`, `remove_host` or `set_metadata`.
pub async fn action(app: Nova, ctx: Context, Path(id): Path<String>, Json(body): Json<Value>) -> Result<Reply> {
    let object = body.as_object().filter(|object| object.len() == 1);
    let (name, asked) =
        object.and_then(|object| object.iter().next()).ok_or_else(|| Error::bad_request("The request body must have one action."))?;
    let rule = match name.as_str() {
        "add_host" | "remove_host" | "set_metadata" => format!("os_compute_api:os-aggregates:{name}"),
        other => return Err(Error::bad_request(format!("There is no such action: {other}"))),
    };
    ctx.enforce(&rule, &Target::new())?;
    if name == "set_metadata" {
        let given =
            asked["metadata"].as_object().cloned().ok_or_else(|| validate::invalid(name, asked, "'metadata' is a required property"))?;
        let given = metadata(&given)?;
        change(&app, &id, None, move |metadata| {
            for (key, value) in given {
                match value {
                    Some(value) => drop(metadata.insert(key, value)),
                    None => drop(metadata.remove(&key)),
                }
            }
        })
        .await?;
        return show(app, ctx, Path(id)).await;
    }
    let host = asked["host"].as_str().ok_or_else(|| validate::invalid(name, asked, "'host' is a required property"))?.to_owned();
    if name == "add_host" && !os_services::compute_hosts(&app).await?.iter().any(|service| service.host == host) {
        return Err(Error::not_found(format!("Compute host {host} could not be found.")));
    }
    let (number, adding, zone) = (store::fetch(app.db.read(), &id).await?.number, name == "add_host", app.config.default_zone.clone());
    app.db
        .write(move |tx| {
            Box::pin(async move {
                if adding {
                    store::add_host(tx, number, &host).await?;
                } else {
                    store::remove_host(tx, number, &host).await?;
                }
                store::settle_zones(tx, &zone).await
            })
        })
        .await?;
    app.hosts.forget();
    show(app, ctx, Path(id)).await
}

/// Changes the name, edits the metadata and settles the zones, in one transaction.
async fn change(
    app: &Nova,
    id: &str,
    name: Option<String>,
    edit: impl FnOnce(&mut BTreeMap<String, String>) + Send + 'static,
) -> Result<()> {
    let (id, zone) = (id.to_owned(), app.config.default_zone.clone());
    app.db
        .write(move |tx| {
            Box::pin(async move {
                let aggregate = store::fetch(tx, &id).await?;
                let mut metadata = aggregate.metadata.0;
                edit(&mut metadata);
                store::change(tx, aggregate.number, name, metadata).await?;
                store::settle_zones(tx, &zone).await
            })
        })
        .await?;
    app.hosts.forget();
    Ok(())
}

/// The name and the zone of a body: a zone may be absent, or null for none.
fn asked(ctx: &Context, body: Value) -> Result<(Option<String>, Option<Option<String>>)> {
    let asked = validate::only(body, "aggregate", ctx.strict)?;
    kit::microversion::unexpected(
        &asked.keys().map(String::as_str).filter(|key| *key != "name" && *key != store::ZONE).collect::<Vec<_>>(),
    )?;
    let text = |key: &str, value: &Value| -> Result<String> {
        let text = value.as_str().ok_or_else(|| validate::invalid(key, value, format!("{value} is not of type 'string'")))?;
        validate::relaxed_name(ctx.strict, key, text)
    };
    let name = asked.get("name").map(|value| text("name", value)).transpose()?;
    let zone = match asked.get(store::ZONE) {
        None => None,
        Some(Value::Null) => Some(None),
        Some(value) => Some(Some(text(store::ZONE, value)?)),
    };
    Ok((name, zone))
}

/// Texts, and null for keys that shall go.
fn metadata(given: &Map<String, Value>) -> Result<BTreeMap<String, Option<String>>> {
    let mut metadata = BTreeMap::new();
    for (key, value) in given {
        let value = match value {
            Value::Null => None,
            Value::String(text) => {
                validate::length(key, text, 255)?;
                Some(text.clone())
            }
            other => return Err(validate::invalid(key, other, format!("{other} is not of type 'string', 'null'"))),
        };
        validate::name("metadata", key)?;
        metadata.insert(key.clone(), value);
    }
    Ok(metadata)
}

fn view(ctx: &Context, aggregate: &Model, hosts: Option<&Vec<String>>) -> Value {
    let mut view = json!({
        "id": aggregate.number,
        "name": aggregate.name,
        "availability_zone": aggregate.metadata.0.get(store::ZONE),
        "hosts": hosts.cloned().unwrap_or_default(),
        "metadata": aggregate.metadata.0,
        "created_at": aggregate.created_at.to_micros(),
        "updated_at": aggregate.updated_at.map(Timestamp::to_micros),
        "deleted": false,
        "deleted_at": null,
    });
    if ctx.speaks(UUID) {
        view["uuid"] = json!(aggregate.id);
    }
    view
}
