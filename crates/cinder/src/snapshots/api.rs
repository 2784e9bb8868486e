//! `/snapshots`

use std::collections::BTreeMap;

use http::StatusCode;
use kit::call::Wrapper;
use kit::clock::Timestamp;
use kit::db::Json as DbJson;
use kit::policy::Target;
use kit::{Context, Error, Path, Query, Reply, Result, Versioned, ids};
use sea_orm::sea_query::SelectStatement;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect, QueryTrait, Select, Set};
use serde::Deserialize;
use serde_json::json;

use super::flows::{CreateSnapshot, DeleteSnapshot};
use super::{ActiveModel, Change, Column, Entity, Snapshot, Status, store, view};
use crate::body::{Body, boolean, text};
use crate::filter::{flag, nothing, pairs, times};
use crate::microversions::{CONSUMES_QUOTA, LIKE_FILTER, SNAPSHOT_IN_USE, SNAPSHOT_METADATA_FILTER, TIME_FILTERS};
use crate::page::{self, Rows, Sorts};
use crate::volumes::{self, Volume, metadata};
use crate::{Cinder, quotas, types};

const SORTS: Sorts<Entity> = &[
    ("id", Column::Id),
    ("created_at", Column::CreatedAt),
    ("updated_at", Column::UpdatedAt),
    ("size", Column::Size),
    ("volume_size", Column::Size),
    ("status", Column::Status),
    ("volume_id", Column::VolumeId),
    ("name", Column::Name),
    ("display_name", Column::Name),
];

/// Why a snapshot is not deleted.
const BUSY: &str = "Snapshot status must be available or error and must not be part of a group.";

/// `POST /snapshots`
#[derive(Deserialize, Versioned)]
pub struct NewSnapshot {
    /// Must be there, if only as null, which is no volume.
    #[serde(deserialize_with = "Option::deserialize")]
    volume_id: Option<String>,
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
    let volume = volumes::api::find(&app, &ctx, body.volume_id.as_deref().unwrap_or("None")).await?;
    if ctx.speaks(SNAPSHOT_IN_USE) && body.force == Some(false) {
        return Err(Error::bad_request(
            "Since microversion 3.66 the 'force' flag is invalid for this request.  For backward compatability, however, when the 'force' \
             flag is passed with a value evaluating to True, it is silently ignored.",
        ));
    }
    let in_use = body.force == Some(true) || ctx.speaks(SNAPSHOT_IN_USE);
    check(&volume, in_use)?;
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
        group_snapshot_id: None,
        progress: None,
        created_at: Timestamp::now(),
        updated_at: None,
    };
    let answer = view::changed(&ctx, &snapshot)?;
    let flow = CreateSnapshot { caller: ctx.caller(), snapshot_id: snapshot.id.clone(), volume_id: volume.id, host: volume.host };
    let (flows, type_id) = (app.flows()?.clone(), volume.type_id);
    let flow_id = app
        .db()
        .write(move |tx| {
            Box::pin(async move {
                let type_name = types::store::name(tx, &type_id).await?;
                quotas::store::charge(tx, &snapshot.project_id, &quotas::snapshot(snapshot.size, &type_name)).await?;
                Entity::insert(ActiveModel::from(snapshot)).exec_without_returning(tx).await?;
                flows.insert(tx, &flow.snapshot_id, &flow).await
            })
        })
        .await?;
    app.flows()?.start(&flow_id);
    Reply::json(StatusCode::ACCEPTED, &json!({"snapshot": answer}))
}

/// 400 for a volume that there can be no snapshot of now.
fn check(volume: &Volume, in_use: bool) -> Result<()> {
    let why = match volume.status {
        _ if volume.host.is_none() => "The snapshot cannot be created because volume has not been scheduled to any host.".to_owned(),
        volumes::Status::Maintenance => "The snapshot cannot be created when the volume is in maintenance mode.".to_owned(),
        _ if volumes::migrate::is_migrating(volume) => "Snapshot cannot be created while volume is migrating.".to_owned(),
        volumes::Status::Error => "The snapshot cannot be created when the volume is in error status.".to_owned(),
        volumes::Status::Available => return Ok(()),
        volumes::Status::InUse if in_use => return Ok(()),
        status => {
            let expected = if in_use { "available, in-use" } else { "available" };
            format!("Volume {} status must be {expected}, but current status is: {}.", volume.id, status.text())
        }
    };
    Err(volumes::store::invalid(why))
}

pub async fn delete(app: Cinder, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let snapshot = find(&app, &ctx, &id).await?;
    if snapshot.group_snapshot_id.is_some() {
        return Err(Error::bad_request(format!("Invalid snapshot: {BUSY}")));
    }
    promise_removal(app, Some(ctx.caller()), snapshot, Change::Delete).await
}

/// Marks the snapshot and begins the flow, which tells the caller if it fails.
pub async fn promise_removal(app: Cinder, caller: Option<rpc::Caller>, snapshot: Snapshot, change: Change) -> Result<Reply> {
    let flows = app.flows()?.clone();
    let flow_id = app
        .db()
        .write(move |tx| {
            Box::pin(async move {
                if !store::change(tx, &snapshot.id, change).await? {
                    return Err(Error::bad_request(format!("Invalid snapshot: {BUSY}")));
                }
                let volume = volumes::store::fetch(tx, &snapshot.volume_id).await?;
                let type_name = types::store::name(tx, &volume.type_id).await?;
                let flow = DeleteSnapshot { caller, snapshot_id: snapshot.id, volume_id: volume.id, host: volume.host, type_name };
                flows.insert(tx, &flow.snapshot_id, &flow).await
            })
        })
        .await?;
    app.flows()?.start(&flow_id);
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

pub async fn show(app: Cinder, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let snapshot = find(&app, &ctx, &id).await?;
    Reply::ok(&json!({"snapshot": view::detail(&ctx, &snapshot)?}))
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
    store::update(&app, &id, row).await?;
    let snapshot = store::fetch(app.db().read(), &id).await?;
    Reply::ok(&json!({"snapshot": view::changed(&ctx, &snapshot)?}))
}

pub async fn list(app: Cinder, ctx: Context, query: Query) -> Result<Reply> {
    let mut page = fetch_page(&app, &ctx, &query).await?;
    let rows = page.take().iter().map(|row| view::brief(&ctx, row)).collect::<Result<_>>()?;
    page.with(rows).reply(&ctx, &query, "/snapshots", "snapshots", "snapshots_links")
}

pub async fn detail(app: Cinder, ctx: Context, query: Query) -> Result<Reply> {
    let mut page = fetch_page(&app, &ctx, &query).await?;
    let rows = page.take().iter().map(|row| view::detail(&ctx, row)).collect::<Result<_>>()?;
    page.with(rows).reply(&ctx, &query, "/snapshots/detail", "snapshots", "snapshots_links")
}

fn volumes_in(zone: &str) -> SelectStatement {
    let select = volumes::Entity::find().select_only().column(volumes::Column::Id);
    select.filter(volumes::Column::AvailabilityZone.eq(zone)).into_query()
}

/// A snapshot that the caller may see, and on which the route's rule lets the caller act.
pub async fn find(app: &Cinder, ctx: &Context, id: &str) -> Result<Snapshot> {
    find_for(app, ctx, id, ctx.rule).await
}

/// The same with a rule of its own.
pub async fn find_for(app: &Cinder, ctx: &Context, id: &str, rule: &str) -> Result<Snapshot> {
    let snapshot = store::fetch(app.db().read(), id).await?;
    let target = Target::project(&snapshot.project_id);
    if !ctx.allows("volume:get_snapshot", &target) {
        return Err(store::not_found(id));
    }
    ctx.enforce(rule, &target)?;
    Ok(snapshot)
}

async fn fetch_page(app: &Cinder, ctx: &Context, query: &Query) -> Result<Rows<Snapshot>> {
    page::fetch(app.db().read(), ctx, query, select(ctx, query)?, SORTS).await
}

fn select(ctx: &Context, query: &Query) -> Result<Select<Entity>> {
    let mut select = Entity::find();
    if let Some(project) = volumes::filters::project(ctx, query)? {
        select = select.filter(Column::ProjectId.eq(project));
    }
    for (key, value) in &query.0 {
        select = match key.as_str() {
            "id" => select.filter(Column::Id.eq(value)),
            "volume_id" => select.filter(Column::VolumeId.eq(value)),
            "name" | "display_name" => select.filter(Column::Name.eq(value)),
            "name~" if ctx.speaks(LIKE_FILTER) => select.filter(Column::Name.contains(value)),
            "description" => select.filter(Column::Description.eq(value)),
            "user_id" => select.filter(Column::UserId.eq(value)),
            "availability_zone" => select.filter(Column::VolumeId.in_subquery(volumes_in(value))),
            "status" => match Status::parse(value) {
                Some(status) => select.filter(Column::Status.eq(status)),
                None => select.filter(nothing()),
            },
            "metadata" if ctx.speaks(SNAPSHOT_METADATA_FILTER) => {
                // the column is the JSON that serde writes, so a pair is a piece of its text
                pairs("metadata", value)?.iter().fold(select, |select, (key, value)| {
                    select.filter(Column::Metadata.contains(format!("{}:{}", json!(key), json!(value))))
                })
            }
            "created_at" if ctx.speaks(TIME_FILTERS) => select.filter(times(Column::CreatedAt, value)?),
            "updated_at" if ctx.speaks(TIME_FILTERS) => select.filter(times(Column::UpdatedAt, value)?),
            "consumes_quota" if ctx.speaks(CONSUMES_QUOTA) && !flag("consumes_quota", value)? => select.filter(nothing()),
            _ => select,
        };
    }
    Ok(select)
}
