//! `/os-aggregates`.

use std::collections::BTreeMap;

use kit::clock::Timestamp;
use kit::db::Json as JsonText;
use kit::microversion::{Microversion, only, unexpected};
use kit::policy::Target;
use kit::{Context, Error, Json, Path, Reply, Result, ids};
use rpc::compute::{CacheImages, compute_topic};
use sea_orm::ConnectionTrait;
use sea_orm::entity::prelude::*;
use serde_json::{Map, Value, json};

use super::{Model, store};
use crate::servers::instance;
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
pub async fn action(app: Nova, ctx: Context, id: Path<String>, Json(body): Json<Value>) -> Result<Reply> {
    let object = body.as_object().filter(|object| object.len() == 1);
    let (name, asked) =
        object.and_then(|object| object.iter().next()).ok_or_else(|| Error::bad_request("The request body must have one action."))?;
    let rule = match name.as_str() {
        "add_host" | "remove_host" | "set_metadata" => format!("os_compute_api:os-aggregates:{name}"),
        other => return Err(Error::bad_request(format!("There is no such action: {other}"))),
    };
    ctx.enforce(&rule, &Target::new())?;
    match name.as_str() {
        "set_metadata" => set_metadata(&app, &id.0, asked).await?,
        adding_or_not => move_host(&app, &ctx, &id.0, asked, adding_or_not == "add_host").await?,
    }
    show(app, ctx, id).await
}

/// The one field of an action.
fn field<'v>(asked: &'v Value, key: &str) -> Result<&'v Value> {
    let object = asked.as_object().ok_or_else(|| validate::invalid(key, asked, format!("{asked} is not of type 'object'")))?;
    unexpected(&object.keys().map(String::as_str).filter(|have| *have != key).collect::<Vec<_>>())?;
    object.get(key).ok_or_else(|| Error::bad_request(format!("Invalid input for field/attribute body. '{key}' is a required property")))
}

async fn set_metadata(app: &Nova, id: &str, asked: &Value) -> Result<()> {
    let given = field(asked, "metadata")?;
    let given = given.as_object().ok_or_else(|| validate::invalid("metadata", given, format!("{given} is not of type 'object'")))?;
    let given = metadata(given)?;
    change(app, id, None, move |metadata| {
        for (key, value) in given {
            match value {
                Some(value) => drop(metadata.insert(key, value)),
                None => drop(metadata.remove(&key)),
            }
        }
    })
    .await
}

async fn move_host(app: &Nova, ctx: &Context, id: &str, asked: &Value, adding: bool) -> Result<()> {
    let host = field(asked, "host")?;
    let host = host.as_str().ok_or_else(|| validate::invalid("host", host, format!("{host} is not of type 'string'")))?.to_owned();
    if os_services::of_host(app, &host).await?.is_none() {
        return Err(Error::not_found(format!("Compute host {host} could not be found.")));
    }
    let (number, zone, name) = (store::fetch(app.db.read(), id).await?.number, app.config.default_zone.clone(), host.clone());
    app.db
        .write(move |tx| {
            Box::pin(async move {
                if adding {
                    store::add_host(tx, number, &name).await?;
                } else {
                    store::remove_host(tx, number, &name).await?;
                }
                store::settle_zones(tx, &zone).await.map(drop)
            })
        })
        .await?;
    app.hosts.forget();
    tell_placement(app, ctx, &host).await;
    Ok(())
}

/// Placement knows the aggregates of a host too. When it cannot be told now, the host's next change tells it.
async fn tell_placement(app: &Nova, ctx: &Context, host: &str) {
    let told = async {
        let aggregates = store::of_host(app.db.read(), host).await?;
        let auth = app.session.auth(&ctx.request_id).await?;
        app.cloud.placement.set_aggregates(&auth, &ids::derived("compute_node", host), &aggregates).await?;
        Ok::<(), Error>(())
    };
    if let Err(error) = told.await {
        tracing::warn!(host, %error, "placement could not be told the aggregates of a host");
    }
}

/// `POST /os-aggregates/{aggregate_id}/images`: brings images to the hosts before servers need them.
pub async fn images(app: Nova, ctx: Context, Path(id): Path<String>, Json(body): Json<Value>) -> Result<Reply> {
    let mut images: Vec<String> = Vec::new();
    let cache = field(&body, "cache")?;
    let listed = cache.as_array().filter(|listed| !listed.is_empty());
    for item in listed.ok_or_else(|| validate::invalid("cache", cache, format!("{cache} is not a list of images")))? {
        let image = field(item, "id")?;
        let image =
            image.as_str().and_then(ids::parse_uuid).ok_or_else(|| validate::invalid("id", image, format!("{image} is not a 'uuid'")))?;
        if images.contains(&image) {
            return Err(Error::bad_request(format!("Duplicate images in request: {image}")));
        }
        images.push(image);
    }
    let number = store::fetch(app.db.read(), &id).await?.number;
    for host in store::hosts(app.db.read()).await?.remove(&number).unwrap_or_default() {
        let message = CacheImages { caller: ctx.caller(), image_ids: images.clone() };
        app.bus.cast(&compute_topic(&host), message).await?;
    }
    Ok(Reply::empty(http::StatusCode::ACCEPTED))
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
                let moved = store::settle_zones(tx, &zone).await?;
                check_empty(tx, &id, &moved).await
            })
        })
        .await?;
    app.hosts.forget();
    Ok(())
}

/// Hosts with servers cannot change their zone under them.
async fn check_empty(tx: &impl ConnectionTrait, id: &str, hosts: &[String]) -> Result<()> {
    let servers = instance::Entity::find().filter(instance::Column::Deleted.eq(false));
    let servers = servers.filter(instance::Column::Host.is_in(hosts.iter().map(String::as_str)));
    if servers.count(tx).await? == 0 {
        return Ok(());
    }
    let words = format!("Cannot update aggregate {id}. Reason: One or more hosts contain instances in this zone.");
    Err(Error::bad_request(words))
}

/// The name and the zone of a body: a zone may be absent, or null for none.
fn asked(ctx: &Context, body: Value) -> Result<(Option<String>, Option<Option<String>>)> {
    let asked = validate::only(body, "aggregate", ctx.strict)?;
    only("aggregate", &asked, |key| key == "name" || key == store::ZONE)?;
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
