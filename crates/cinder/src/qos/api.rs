//! `/qos-specs`

use std::collections::BTreeMap;

use http::StatusCode;
use kit::clock::Timestamp;
use kit::db::Json as DbJson;
use kit::{Context, Error, Json, Path, Query, Reply, Result, ids};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Set};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{ActiveModel, Column, Entity, QosSpecs, associations, fetch};
use crate::page::{self, Sorts};
use crate::volumes::metadata;
use crate::{Cinder, body};

const SORTS: Sorts<Entity> =
    &[("id", Column::Id), ("name", Column::Name), ("consumer", Column::Consumer), ("created_at", Column::CreatedAt)];
const CONSUMERS: &[&str] = &["front-end", "back-end", "both"];

fn view(qos: &QosSpecs) -> Value {
    json!({"id": qos.id, "name": qos.name, "consumer": qos.consumer, "specs": qos.specs.0})
}

fn shown(ctx: &Context, qos: &QosSpecs) -> Value {
    let path = format!("/qos-specs/{}", qos.id);
    let links = json!([{"rel": "self", "href": ctx.link(&path)}, {"rel": "bookmark", "href": ctx.bookmark(&path)}]);
    json!({"qos_specs": view(qos), "links": links})
}

pub async fn list(app: Cinder, ctx: Context, query: Query) -> Result<Reply> {
    let mut select = Entity::find();
    for (key, value) in &query.0 {
        select = match key.as_str() {
            "id" => select.filter(Column::Id.eq(value)),
            "name" => select.filter(Column::Name.eq(value)),
            "consumer" => select.filter(Column::Consumer.eq(value)),
            _ => select,
        };
    }
    let page = page::fetch(app.db().read(), &ctx, &query, select, SORTS).await?;
    page.map(|qos| view(&qos)).reply(&ctx, &query, "/qos-specs", "qos_specs", "qos_specs_links")
}

pub async fn show(app: Cinder, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    Reply::ok(&shown(&ctx, &fetch(app.db().read(), &id).await?))
}

/// `{"qos_specs": {...}}`: a name and a consumer among the specs themselves.
#[derive(Deserialize)]
pub struct Request {
    qos_specs: Map<String, Value>,
}

pub async fn create(app: Cinder, ctx: Context, Json(request): Json<Request>) -> Result<Reply> {
    let (name, consumer, specs) = parts(request)?;
    let name = name.ok_or_else(|| Error::bad_request("Please specify a name for QoS specs."))?;
    let name = body::text("name", Some(name))?.filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| Error::bad_request("Invalid input for field/attribute name. Value: . '' is too short"))?;
    let consumer = consumer.unwrap_or_else(|| "back-end".into());
    let qos = QosSpecs { id: ids::uuid(), name, consumer, specs: DbJson(specs), created_at: Timestamp::now() };
    let (row, taken) = (ActiveModel::from(qos.clone()), Error::conflict(format!("QoS Specs {} already exists.", qos.name)));
    app.db()
        .write(move |tx| {
            Box::pin(async move {
                let once = OnConflict::column(Column::Name).do_nothing().to_owned();
                match Entity::insert(row).on_conflict(once).exec_without_returning(tx).await? {
                    0 => Err(taken),
                    _ => Ok(()),
                }
            })
        })
        .await?;
    Reply::ok(&shown(&ctx, &qos))
}

pub async fn update(app: Cinder, _: Context, Path(id): Path<String>, Json(request): Json<Request>) -> Result<Reply> {
    let qos = fetch(app.db().read(), &id).await?;
    let (_, consumer, more) = parts(request)?;
    let mut specs = qos.specs.0;
    specs.extend(more.clone());
    let mut answer = json!({"qos_specs": more});
    let mut row = ActiveModel { specs: Set(DbJson(specs)), ..Default::default() };
    if let Some(consumer) = consumer {
        answer["qos_specs"]["consumer"] = json!(consumer);
        row.consumer = Set(consumer);
    }
    write(&app, id, row).await?;
    Reply::ok(&answer)
}

/// `{"keys": [...]}`: each of them must be there.
#[derive(Deserialize)]
pub struct Keys {
    keys: Vec<String>,
}

pub async fn delete_keys(app: Cinder, _: Context, Path(id): Path<String>, Json(body): Json<Keys>) -> Result<Reply> {
    let mut specs = fetch(app.db().read(), &id).await?.specs.0;
    for key in &body.keys {
        specs.remove(key).ok_or_else(|| Error::bad_request(format!("QoS Specs {id} has no spec with key {key}.")))?;
    }
    write(&app, id, ActiveModel { specs: Set(DbJson(specs)), ..Default::default() }).await?;
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

pub async fn delete(app: Cinder, _: Context, Path(id): Path<String>, query: Query) -> Result<Reply> {
    fetch(app.db().read(), &id).await?;
    let force = query.flag("force");
    app.db()
        .write(move |tx| {
            Box::pin(async move {
                if force {
                    associations::end_all(tx, &id).await?;
                } else if !associations::of(tx, &id).await?.is_empty() {
                    return Err(Error::bad_request(format!("QoS Specs {id} is still associated with entities.")));
                }
                Entity::delete_by_id(id).exec(tx).await?;
                Ok(())
            })
        })
        .await?;
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

type Parts = (Option<String>, Option<String>, BTreeMap<String, String>);

/// The name, the consumer, and the rest as text.
fn parts(request: Request) -> Result<Parts> {
    let (mut name, mut consumer, mut specs) = (None, None, BTreeMap::new());
    for (key, value) in request.qos_specs {
        let text = match value {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            other => {
                return Err(Error::bad_request(format!("Invalid input for field/attribute {key}. Value: {other}. It is not text.")));
            }
        };
        match key.as_str() {
            "name" => name = Some(text),
            "consumer" if CONSUMERS.contains(&text.as_str()) => consumer = Some(text),
            "consumer" => {
                return Err(Error::bad_request(format!(
                    "Invalid qos specs: Valid consumer of QoS specs are: {CONSUMERS:?}, and not '{text}'."
                )));
            }
            _ => {
                specs.insert(key, text);
            }
        }
    }
    metadata::check(&specs)?;
    Ok((name, consumer, specs))
}

async fn write(app: &Cinder, id: String, row: ActiveModel) -> Result<()> {
    app.db()
        .write(move |tx| {
            Box::pin(async move {
                Entity::update_many().set(row).filter(Column::Id.eq(id)).exec(tx).await?;
                Ok(())
            })
        })
        .await
}
