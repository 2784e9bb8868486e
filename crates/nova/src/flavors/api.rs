//! `/flavors`: the wire form and the handlers.

use std::collections::BTreeMap;

use kit::call::{Wrapped, Wrapper};
use kit::clock::Timestamp;
use kit::collection::{self, Page};
use kit::db::{Json as JsonColumn, is_duplicate};
use kit::microversion::At;
use kit::{Context, Error, Path, Query, Reply, Result, Versioned, ids};
use sea_orm::entity::prelude::*;
use sea_orm::{Condition, QueryOrder, QuerySelect, QueryTrait, Set};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{ActiveModel, Column, Entity, Model, access};
use crate::microversions::{FLAVOR_NAMES, STRICT};
use crate::servers::view::links;
use crate::{Nova, validate};

/// A flavor as clients see it.
#[derive(Serialize, Versioned)]
struct FlavorView<'a> {
    id: &'a str,
    name: &'a str,
    ram: i64,
    disk: i64,
    swap: Value,
    #[serde(rename = "OS-FLV-EXT-DATA:ephemeral")]
    ephemeral: i64,
    #[serde(rename = "OS-FLV-DISABLED:disabled")]
    #[until(2.101)]
    disabled: bool,
    vcpus: i64,
    #[serde(rename = "os-flavor-access:is_public")]
    is_public: bool,
    #[until(2.101)]
    rxtx_factor: f64,
    links: Value,
    #[since(2.55)]
    description: Option<&'a str>,
    #[since(2.61)]
    extra_specs: &'a BTreeMap<String, String>,
}

fn view<'a>(ctx: &Context, row: &'a Model) -> FlavorView<'a> {
    let swap = if row.swap_mb == 0 && !ctx.speaks(STRICT) { json!("") } else { json!(row.swap_mb) };
    FlavorView {
        id: &row.id,
        name: &row.name,
        ram: row.ram_mb,
        disk: row.root_gb,
        swap,
        ephemeral: row.ephemeral_gb,
        disabled: row.disabled,
        vcpus: row.vcpus,
        is_public: row.is_public,
        rxtx_factor: row.rxtx_factor,
        links: links(ctx, "flavors", &row.id),
        description: row.description.as_deref(),
        extra_specs: &row.extra_specs.0,
    }
}

/// `GET /flavors`
pub async fn list(app: Nova, ctx: Context, query: Query) -> Result<Reply> {
    page(&app, &ctx, &query, "/flavors").await
}

/// `GET /flavors/detail`
pub async fn detail(app: Nova, ctx: Context, query: Query) -> Result<Reply> {
    page(&app, &ctx, &query, "/flavors/detail").await
}

async fn page(app: &Nova, ctx: &Context, query: &Query, path: &str) -> Result<Reply> {
    let known: &[&str] = &["limit", "marker", "is_public", "minRam", "minDisk", "sort_key", "sort_dir"];
    let named: &[&str] = &["limit", "marker", "is_public", "minRam", "minDisk", "sort_key", "sort_dir", "name"];
    validate::query_keys(ctx, query, STRICT, if ctx.speaks(FLAVOR_NAMES) { named } else { known })?;
    let page = Page::parse(query, app.config.max_limit, app.config.max_limit)?;
    let number = |key: &str| {
        query.get(key).map(|text| text.parse::<i64>().map_err(|_| Error::bad_request(format!("Invalid {key} filter [{text}]")))).transpose()
    };
    let mut all = Condition::all().add(visible(ctx, query)?);
    if let Some(ram) = number("minRam")? {
        all = all.add(Column::RamMb.gte(ram));
    }
    if let Some(disk) = number("minDisk")? {
        all = all.add(Column::RootGb.gte(disk));
    }
    if let Some(name) = query.get("name").filter(|_| ctx.speaks(FLAVOR_NAMES)) {
        all = all.add(Column::Name.contains(name));
    }
    let (column, ascending) = match page.sort.first() {
        Some((key, ascending)) => (sort_column(key)?, query.get("sort_dir").is_none() || *ascending),
        None => (Column::Id, true),
    };
    let mut rows: Vec<Model> = {
        let order = if ascending { sea_orm::Order::Asc } else { sea_orm::Order::Desc };
        let select = Entity::find().filter(all).order_by(column, order).order_by_asc(Column::Id);
        select.limit(10_000).all(app.db.read()).await?
    };
    if let Some(marker) = &page.marker {
        let at = rows.iter().position(|row| row.id == *marker);
        rows.drain(..=at.ok_or_else(|| Error::bad_request(format!("marker [{marker}] not found")))?);
    }
    collection::cut(&mut rows, page.limit);
    let shown: Vec<Value> = rows
        .iter()
        .map(|row| {
            if path.ends_with("detail") {
                return serde_json::to_value(At(&view(ctx, row), ctx.version));
            }
            let mut brief = json!({"id": row.id, "name": row.name, "links": links(ctx, "flavors", &row.id)});
            if ctx.speaks(crate::microversions::FLAVOR_DESCRIPTION) {
                brief["description"] = json!(row.description);
            }
            Ok(brief)
        })
        .collect::<std::result::Result<_, _>>()?;
    let mut body = json!({"flavors": shown});
    if let Some(last) = rows.last().filter(|_| rows.len() as u64 == page.limit) {
        body["flavors_links"] = json!([{"rel": "next", "href": collection::next_href(&ctx.link(path), query, &last.id)}]);
    }
    Reply::ok(&body)
}

/// Public flavors and those given to the project; administrators may ask for others.
fn visible(ctx: &Context, query: &Query) -> Result<Condition> {
    if ctx.is_admin() {
        return match query.get("is_public") {
            None => Ok(Condition::all().add(Column::IsPublic.eq(true))),
            Some(text) if text.eq_ignore_ascii_case("none") => Ok(Condition::all()),
            Some(text) => {
                let public = validate::strict_word(text);
                let public = public.ok_or_else(|| Error::bad_request(format!("Invalid is_public filter [{text}]")))?;
                Ok(Condition::all().add(Column::IsPublic.eq(public)))
            }
        };
    }
    let mine = access::Entity::find().select_only().column(access::Column::FlavorId);
    let mine = mine.filter(access::Column::ProjectId.eq(ctx.project_id()?)).into_query();
    Ok(Condition::any().add(Column::IsPublic.eq(true)).add(Column::Id.in_subquery(mine)))
}

fn sort_column(key: &str) -> Result<Column> {
    Ok(match key {
        "flavorid" | "id" => Column::Id,
        "name" => Column::Name,
        "memory_mb" => Column::RamMb,
        "vcpus" => Column::Vcpus,
        "root_gb" => Column::RootGb,
        "ephemeral_gb" => Column::EphemeralGb,
        "swap" => Column::SwapMb,
        "rxtx_factor" => Column::RxtxFactor,
        "is_public" => Column::IsPublic,
        "disabled" => Column::Disabled,
        "created_at" => Column::CreatedAt,
        "description" => Column::Description,
        // no flavor has these, so that all are the same by them
        "updated_at" | "vcpu_weight" => Column::Id,
        other => return Err(Error::bad_request(format!("Sort key {other} is not valid."))),
    })
}

/// `GET /flavors/{id}`
pub async fn show(app: Nova, ctx: Context, id: Path<String>) -> Result<Reply> {
    let row = super::fetch(&app, &ctx, &id.0).await?;
    reply(&ctx, &row)
}

fn reply(ctx: &Context, row: &Model) -> Result<Reply> {
    Reply::ok(&BTreeMap::from([("flavor", At(&view(ctx, row), ctx.version))]))
}

/// The object under `flavor` of a create.
#[derive(Deserialize, Serialize, Versioned)]
pub struct CreateFlavor {
    name: String,
    id: Option<Option<Value>>,
    ram: Value,
    vcpus: Value,
    disk: Value,
    #[serde(rename = "OS-FLV-EXT-DATA:ephemeral")]
    ephemeral: Option<Value>,
    swap: Option<Value>,
    #[until(2.101)]
    rxtx_factor: Option<Value>,
    #[serde(rename = "os-flavor-access:is_public")]
    is_public: Option<Value>,
    #[since(2.55)]
    description: Option<Option<String>>,
}

impl Wrapper for CreateFlavor {
    const KEY: &'static str = "flavor";
    const EXACT: bool = true;
}

const MOST: i64 = i32::MAX as i64;
/// A description has at most so many characters.
const DESCRIPTION: usize = 65_535;

/// `POST /flavors`
pub async fn create(app: Nova, ctx: Context, body: Wrapped<CreateFlavor>) -> Result<Reply> {
    let new = body.inner;
    let amount = |field: &str, value: Option<&Value>| value.map_or(Ok(0), |value| validate::integer(field, value, 0, MOST));
    let row = Model {
        id: id(new.id.flatten())?,
        name: validate::relaxed_name(ctx.strict, "name", &new.name)?,
        description: description(new.description.flatten())?,
        ram_mb: validate::integer("ram", &new.ram, 1, MOST)?,
        vcpus: validate::integer("vcpus", &new.vcpus, 1, MOST)?,
        root_gb: validate::integer("disk", &new.disk, 0, MOST)?,
        ephemeral_gb: amount("OS-FLV-EXT-DATA:ephemeral", new.ephemeral.as_ref())?,
        swap_mb: amount("swap", new.swap.as_ref())?,
        rxtx_factor: rxtx_factor(new.rxtx_factor.as_ref())?,
        is_public: new.is_public.map_or(Ok(true), |v| validate::boolean("os-flavor-access:is_public", &v))?,
        disabled: false,
        extra_specs: JsonColumn(BTreeMap::new()),
        created_at: Timestamp::now(),
    };
    let new = row.clone();
    app.db
        .write(move |tx| {
            Box::pin(async move {
                let (id, name) = (new.id.clone(), new.name.clone());
                if Entity::find().filter(Column::Name.eq(&name)).one(tx).await?.is_some() {
                    return Err(Error::conflict(format!("Flavor with name {name} already exists.")));
                }
                Entity::insert(ActiveModel::from(new)).exec_without_returning(tx).await.map_err(|error| {
                    if is_duplicate(&error) {
                        return Error::conflict(format!("Flavor with ID {id} already exists."));
                    }
                    Error::from(error)
                })?;
                Ok(())
            })
        })
        .await?;
    reply(&ctx, &row)
}

fn id(given: Option<Value>) -> Result<String> {
    let text = match given {
        None => return Ok(ids::uuid()),
        Some(Value::String(text)) if text == "auto" => return Ok(ids::uuid()),
        Some(Value::String(text)) if text.is_empty() => return Err(validate::invalid("id", "", "'' is too short")),
        Some(Value::String(text)) => text,
        Some(Value::Number(number)) => number.to_string(),
        Some(other) => return Err(validate::not_a("string', 'number', 'null", "id", &other)),
    };
    let known = |c: char| c.is_ascii_alphanumeric() || "-_. ".contains(c);
    let good = text.len() <= 255 && text.trim() == text && text.chars().all(known);
    if good { Ok(text) } else { Err(validate::invalid("id", &text, format!("'{text}' does not match '^(?! )[a-zA-Z0-9. _-]*(?<! )$'"))) }
}

fn description(text: Option<String>) -> Result<Option<String>> {
    validate::long_description(text.as_deref(), DESCRIPTION)?;
    Ok(text)
}

fn rxtx_factor(value: Option<&Value>) -> Result<f64> {
    let number = match value {
        None => return Ok(1.0),
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.parse().ok(),
        Some(_) => None,
    };
    number.filter(|n| *n > 0.0 && n.is_finite()).ok_or_else(|| {
        let value = value.cloned().unwrap_or_default();
        validate::invalid("rxtx_factor", &value, format!("{value} is not a number above 0"))
    })
}

/// The object under `flavor` of an update.
#[derive(Deserialize, Serialize, Versioned)]
pub struct UpdateFlavor {
    description: Option<Option<String>>,
}

impl Wrapper for UpdateFlavor {
    const KEY: &'static str = "flavor";
    const EXACT: bool = true;
}

/// `PUT /flavors/{id}`
pub async fn update(app: Nova, ctx: Context, id: Path<String>, body: Wrapped<UpdateFlavor>) -> Result<Reply> {
    let mut row = super::fetch(&app, &ctx, &id.0).await?;
    let missing = || Error::bad_request("Invalid input for field/attribute flavor. 'description' is a required property");
    row.description = description(body.inner.description.ok_or_else(missing)?)?;
    let change = ActiveModel { description: Set(row.description.clone()), ..Default::default() };
    app.db
        .write(move |tx| {
            Box::pin(async move {
                Entity::update_many().set(change).filter(Column::Id.eq(id.0)).exec(tx).await?;
                Ok(())
            })
        })
        .await?;
    reply(&ctx, &row)
}

/// `DELETE /flavors/{id}`
pub async fn delete(app: Nova, ctx: Context, id: Path<String>) -> Result<Reply> {
    let row = super::fetch(&app, &ctx, &id.0).await?;
    app.db
        .write(move |tx| {
            Box::pin(async move {
                access::Entity::delete_many().filter(access::Column::FlavorId.eq(&row.id)).exec(tx).await?;
                Entity::delete_by_id(&row.id).exec(tx).await?;
                Ok(())
            })
        })
        .await?;
    Ok(Reply::empty(http::StatusCode::ACCEPTED))
}
