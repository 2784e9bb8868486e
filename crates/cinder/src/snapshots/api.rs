//! `/snapshots`

use std::collections::BTreeMap;

use http::StatusCode;
use kit::call::Wrapper;
use kit::clock::Timestamp;
use kit::db::Json as DbJson;
use kit::microversion::At;
use kit::policy::Target;
use kit::{Context, Error, Json, Path, Query, Reply, Result, Versioned, collection, ids};
use sea_orm::sea_query::{Expr, Func};
use sea_orm::{ActiveEnum, ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, Set};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::flows::{CreateSnapshot, DeleteSnapshot};
use super::{ActiveModel, Column, Entity, Snapshot, Status, store};
use crate::body::{Body, boolean, text};
use crate::microversions::{SNAPSHOT_IN_USE, WITH_COUNT};
use crate::page::{self, Key};
use crate::volumes::{self, metadata};
use crate::{Cinder, quotas, types};

#[derive(Serialize, Versioned)]
struct SnapshotView<'a> {
    id: &'a str,
    created_at: String,
    updated_at: Option<String>,
    name: &'a Option<String>,
    description: &'a Option<String>,
    volume_id: &'a str,
    status: String,
    size: i64,
    metadata: &'a BTreeMap<String, String>,
    #[since(3.14)]
    group_snapshot_id: Option<String>,
    #[since(3.41)]
    user_id: &'a str,
    #[since(3.65)]
    consumes_quota: bool,
    #[serde(rename = "os-extended-snapshot-attributes:progress")]
    progress: &'static str,
    #[serde(rename = "os-extended-snapshot-attributes:project_id")]
    project_id: &'a str,
}

fn view(ctx: &Context, snapshot: &Snapshot) -> Result<Value> {
    let view = SnapshotView {
        id: &snapshot.id,
        created_at: snapshot.created_at.to_micros(),
        updated_at: snapshot.updated_at.map(|at| at.to_micros()),
        name: &snapshot.name,
        description: &snapshot.description,
        volume_id: &snapshot.volume_id,
        status: snapshot.status.text(),
        size: snapshot.size,
        metadata: &snapshot.metadata.0,
        group_snapshot_id: None,
        user_id: &snapshot.user_id,
        consumes_quota: true,
        progress: if snapshot.status == Status::Creating { "0%" } else { "100%" },
        project_id: &snapshot.project_id,
    };
    Ok(serde_json::to_value(At(&view, ctx.version))?)
}

/// `POST /snapshots`
#[derive(Deserialize, Versioned)]
pub struct NewSnapshot {
    volume_id: String,
    name: Option<String>,
    display_name: Option<String>,
    description: Option<String>,
    display_description: Option<String>,
    #[serde(default, deserialize_with = "boolean")]
    force: Option<bool>,
    metadata: Option<BTreeMap<String, String>>,
}

impl Wrapper for NewSnapshot {
    const KEY: &'static str = "snapshot";
}

pub async fn create(app: Cinder, ctx: Context, Body(body): Body<NewSnapshot>) -> Result<Reply> {
    let volume = volumes::api::find(&app, &ctx, &body.volume_id).await?;
    if ctx.speaks(SNAPSHOT_IN_USE) && body.force == Some(false) {
        return Err(Error::bad_request("Invalid value for 'force': False. It is invalid since microversion 3.66."));
    }
    let in_use = body.force == Some(true) || ctx.speaks(SNAPSHOT_IN_USE);
    match volume.status {
        volumes::Status::Available => {}
        volumes::Status::InUse if in_use => {}
        status => {
            let sentence = "Volume must be available to be copied";
            return Err(volumes::store::invalid(format!("{sentence}, but volume {} status is {}.", volume.id, status.text())));
        }
    }
    let pairs = body.metadata.unwrap_or_default();
    metadata::check(&pairs)?;
    let snapshot = Snapshot {
        id: ids::uuid(),
        volume_id: volume.id.clone(),
        project_id: volume.project_id.clone(),
        user_id: ctx.user_id()?.to_owned(),
        name: text("name", body.name.or(body.display_name))?,
        description: text("description", body.description.or(body.display_description))?,
        size: volume.size,
        status: Status::Creating,
        metadata: DbJson(pairs),
        created_at: Timestamp::now(),
        updated_at: None,
    };
    let answer = view(&ctx, &snapshot)?;
    let flow = CreateSnapshot { snapshot_id: snapshot.id.clone(), volume_id: volume.id, host: volume.host };
    let (flows, type_id) = (app.flows()?.clone(), volume.type_id);
    let flow_id = app
        .db()
        .write(move |tx| {
            Box::pin(async move {
                let type_name = types::store::names(tx).await?.remove(&type_id).unwrap_or_default();
                quotas::store::charge(tx, &snapshot.project_id, &quotas::snapshot(snapshot.size, &type_name)).await?;
                Entity::insert(ActiveModel::from(snapshot)).exec_without_returning(tx).await?;
                flows.insert(tx, &flow.snapshot_id, &flow).await
            })
        })
        .await?;
    app.flows()?.start(&flow_id);
    Reply::json(StatusCode::ACCEPTED, &json!({"snapshot": answer}))
}

pub async fn delete(app: Cinder, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let snapshot = find(&app, &ctx, &id).await?;
    remove(app, snapshot, &[Status::Available, Status::Error]).await
}

async fn remove(app: Cinder, snapshot: Snapshot, from: &'static [Status]) -> Result<Reply> {
    let flows = app.flows()?.clone();
    let flow_id = app
        .db()
        .write(move |tx| {
            Box::pin(async move {
                if !store::change(tx, &snapshot.id, from, Status::Deleting).await? {
                    let status = store::fetch(tx, &snapshot.id).await?.status.text();
                    let sentence = "Snapshot status must be available or error, but current status is";
                    return Err(Error::bad_request(format!("Invalid snapshot: {sentence} {status}.")));
                }
                let volume = volumes::store::fetch(tx, &snapshot.volume_id).await?;
                let type_name = types::store::names(tx).await?.remove(&volume.type_id).unwrap_or_default();
                let flow = DeleteSnapshot { snapshot_id: snapshot.id, volume_id: volume.id, host: volume.host, type_name };
                flows.insert(tx, &flow.snapshot_id, &flow).await
            })
        })
        .await?;
    app.flows()?.start(&flow_id);
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

pub async fn show(app: Cinder, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let snapshot = find(&app, &ctx, &id).await?;
    Reply::ok(&json!({"snapshot": view(&ctx, &snapshot)?}))
}

/// `PUT /snapshots/{id}`
#[derive(Deserialize, Versioned)]
pub struct UpdateSnapshot {
    name: Option<String>,
    display_name: Option<String>,
    description: Option<String>,
    display_description: Option<String>,
}

impl Wrapper for UpdateSnapshot {
    const KEY: &'static str = "snapshot";
}

pub async fn update(app: Cinder, ctx: Context, Path(id): Path<String>, Body(body): Body<UpdateSnapshot>) -> Result<Reply> {
    find(&app, &ctx, &id).await?;
    let mut row = ActiveModel { ..Default::default() };
    if let Some(name) = text("name", body.name.or(body.display_name))? {
        row.name = Set(Some(name));
    }
    if let Some(description) = text("description", body.description.or(body.display_description))? {
        row.description = Set(Some(description));
    }
    write(&app, &id, row).await?;
    show(app, ctx, Path(id)).await
}

pub async fn list(app: Cinder, ctx: Context, query: Query) -> Result<Reply> {
    listed(&app, &ctx, &query, "/snapshots", false).await
}

pub async fn detail(app: Cinder, ctx: Context, query: Query) -> Result<Reply> {
    listed(&app, &ctx, &query, "/snapshots/detail", true).await
}

pub async fn show_metadata(app: Cinder, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let snapshot = find(&app, &ctx, &id).await?;
    Reply::ok(&json!({"metadata": snapshot.metadata.0}))
}

/// `{"metadata": {...}}`
#[derive(Deserialize)]
pub struct Metadata {
    metadata: BTreeMap<String, String>,
}

pub async fn merge_metadata(app: Cinder, ctx: Context, Path(id): Path<String>, Json(body): Json<Metadata>) -> Result<Reply> {
    let mut pairs = find(&app, &ctx, &id).await?.metadata.0;
    pairs.extend(body.metadata);
    replace_metadata(app, ctx, Path(id), Json(Metadata { metadata: pairs })).await
}

pub async fn replace_metadata(app: Cinder, ctx: Context, Path(id): Path<String>, Json(body): Json<Metadata>) -> Result<Reply> {
    find(&app, &ctx, &id).await?;
    metadata::check(&body.metadata)?;
    write(&app, &id, ActiveModel { metadata: Set(DbJson(body.metadata.clone())), ..Default::default() }).await?;
    Reply::ok(&json!({"metadata": body.metadata}))
}

pub async fn delete_metadata(app: Cinder, ctx: Context, Path((id, key)): Path<(String, String)>) -> Result<Reply> {
    let mut pairs = find(&app, &ctx, &id).await?.metadata.0;
    if pairs.remove(&key).is_none() {
        return Err(Error::not_found(format!("Snapshot {id} has no metadata with key {key}.")));
    }
    write(&app, &id, ActiveModel { metadata: Set(DbJson(pairs)), ..Default::default() }).await?;
    Ok(Reply::empty(StatusCode::OK))
}

/// `os-reset_status`, and `os-force_delete`
pub async fn action(app: Cinder, ctx: Context, Path(id): Path<String>, Json(body): Json<Value>) -> Result<Reply> {
    let snapshot = find(&app, &ctx, &id).await?;
    if body.get("os-force_delete").is_some() {
        return remove(app, snapshot, &[Status::Available, Status::Error, Status::ErrorDeleting]).await;
    }
    let Some(reset) = body.get("os-reset_status") else { return Err(Error::bad_request("There is no such action")) };
    let status = reset["status"].as_str().and_then(Status::parse).ok_or_else(|| Error::bad_request("Must specify a valid 'status'"))?;
    write(&app, &id, ActiveModel { status: Set(status), ..Default::default() }).await?;
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

async fn find(app: &Cinder, ctx: &Context, id: &str) -> Result<Snapshot> {
    find_for(app, ctx, id, ctx.rule).await
}

/// A snapshot that the caller may see, and on which `rule` lets the caller act.
pub async fn find_for(app: &Cinder, ctx: &Context, id: &str, rule: &str) -> Result<Snapshot> {
    let snapshot = store::fetch(app.db().read(), id).await?;
    let target = Target::project(&snapshot.project_id);
    if !ctx.allows("volume:get_snapshot", &target) {
        return Err(store::not_found(id));
    }
    ctx.enforce(rule, &target)?;
    Ok(snapshot)
}

async fn write(app: &Cinder, id: &str, row: ActiveModel) -> Result<()> {
    let (id, row) = (id.to_owned(), ActiveModel { updated_at: Set(Some(Timestamp::now())), ..row });
    app.db()
        .write(move |tx| {
            Box::pin(async move {
                Entity::update_many().set(row).filter(Column::Id.eq(id)).exec(tx).await?;
                Ok(())
            })
        })
        .await
}

async fn listed(app: &Cinder, ctx: &Context, query: &Query, path: &str, detailed: bool) -> Result<Reply> {
    let (page, db) = (page::parse(query)?, app.db().read());
    let mut select = Entity::find();
    if !(query.flag("all_tenants") && ctx.is_service_or_admin()) {
        select = select.filter(Column::ProjectId.eq(ctx.project_id()?));
    }
    for (key, value) in &query.0 {
        select = match key.as_str() {
            "volume_id" => select.filter(Column::VolumeId.eq(value)),
            "name" | "display_name" => select.filter(Column::Name.eq(value)),
            "status" => select.filter(Column::Status.eq(Status::parse(value))),
            _ => select,
        };
    }
    let count = if ctx.speaks(WITH_COUNT) && query.flag("with_count") { Some(select.clone().count(db).await?) } else { None };
    let marker = match &page.marker {
        None => None,
        Some(id) => Some(store::find(db, id).await?.ok_or_else(|| page::no_marker(id))?),
    };
    let keys = page.sort.iter().map(|(name, _)| key(name, marker.as_ref())).collect::<Result<Vec<_>>>()?;
    let mut rows = page::apply(select, &page, keys).all(db).await?;
    let more = collection::cut(&mut rows, page.limit);
    let next = rows.last().filter(|_| more).map(|row| row.id.clone());
    let mut views = rows.iter().map(|row| view(ctx, row)).collect::<Result<Vec<_>>>()?;
    if !detailed {
        let extended = |key: &String| key.starts_with("os-extended") || key == "consumes_quota";
        views.iter_mut().filter_map(Value::as_object_mut).for_each(|view| view.retain(|key, _| !extended(key)));
    }
    Reply::ok(&page::finish(ctx, query, path, "snapshots", views.into(), next.as_deref(), count))
}

fn key(name: &str, marker: Option<&Snapshot>) -> Result<Key> {
    let col = |column: Column| Expr::col((Entity, column));
    let (expr, at_marker): (Expr, Option<sea_orm::Value>) = match name {
        "id" => (col(Column::Id), marker.map(|s| s.id.clone().into())),
        "created_at" => (col(Column::CreatedAt), marker.map(|s| s.created_at.0.into())),
        "size" | "volume_size" => (col(Column::Size), marker.map(|s| s.size.into())),
        "status" => (col(Column::Status), marker.map(|s| s.status.to_value().into())),
        "volume_id" => (col(Column::VolumeId), marker.map(|s| s.volume_id.clone().into())),
        "name" | "display_name" => {
            let name = Func::coalesce([col(Column::Name), Expr::value("")]).into();
            (name, marker.map(|s| s.name.clone().unwrap_or_default().into()))
        }
        other => return Err(Error::bad_request(format!("Invalid sort key: {other}"))),
    };
    Ok(Key { expr, at_marker })
}
