//! `/backups`: lists, changes, deletion and the administrators' actions.

use std::collections::BTreeMap;

use http::StatusCode;
use kit::call::Wrapper;
use kit::db::Json as DbJson;
use kit::policy::Target;
use kit::{Context, Error, Json, Path, Query, Reply, Result, Versioned};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Set};
use serde::Deserialize;
use serde_json::{Value, json};

use super::flows::DeleteBackup;
use super::{ActiveModel, Backup, Change, Column, Entity, Status, store, view};
use crate::Cinder;
use crate::body::{Body, no_such_action, text};
use crate::filter::{nothing, times};
use crate::microversions::{LIKE_FILTER, TIME_FILTERS};
use crate::page::{self, Rows, Sorts};
use crate::volumes::{filters, metadata};

const SORTS: Sorts<Entity> = &[
    ("id", Column::Id),
    ("name", Column::Name),
    ("display_name", Column::Name),
    ("status", Column::Status),
    ("size", Column::Size),
    ("volume_id", Column::VolumeId),
    ("container", Column::Container),
    ("created_at", Column::CreatedAt),
    ("updated_at", Column::UpdatedAt),
];

pub async fn list(app: Cinder, ctx: Context, query: Query) -> Result<Reply> {
    let page = fetch_page(&app, &ctx, &query).await?;
    page.map(|backup| view::brief(&ctx, &backup)).reply(&ctx, &query, "/backups", "backups", "backups_links")
}

pub async fn detail(app: Cinder, ctx: Context, query: Query) -> Result<Reply> {
    let mut page = fetch_page(&app, &ctx, &query).await?;
    let rows = view::many(&app, &ctx, &page.take()).await?;
    page.with(rows).reply(&ctx, &query, "/backups/detail", "backups", "backups_links")
}

pub async fn show(app: Cinder, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let backup = find(&app, &ctx, &id).await?;
    Reply::ok(&json!({"backup": view::many(&app, &ctx, &[backup]).await?.pop()}))
}

/// `PUT /backups/{id}`
#[derive(Deserialize, Versioned)]
pub struct UpdateBackup {
    name: Option<String>,
    description: Option<String>,
    #[since(3.43)]
    metadata: Option<BTreeMap<String, String>>,
}

impl Wrapper for UpdateBackup {
    const KEY: &'static str = "backup";
}

pub async fn update(app: Cinder, ctx: Context, Path(id): Path<String>, Body(body): Body<UpdateBackup>) -> Result<Reply> {
    let backup = find(&app, &ctx, &id).await?;
    let mut row = ActiveModel { ..Default::default() };
    if body.name.is_none() && body.description.is_none() && body.metadata.is_none() {
        return Err(Error::bad_request("Must specify 'name', 'description' or 'metadata' to update."));
    }
    if let Some(name) = text("name", body.name)? {
        row.name = Set(Some(name));
    }
    if let Some(description) = text("description", body.description)? {
        row.description = Set(Some(description));
    }
    if let Some(pairs) = body.metadata {
        metadata::check(&pairs)?;
        row.metadata = Set(DbJson(pairs));
    }
    store::update(&app, &backup.id, row).await?;
    let backup = store::fetch(app.db().read(), &id).await?;
    Reply::ok(&json!({"backup": view::brief(&ctx, &backup)}))
}

pub async fn delete(app: Cinder, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let backup = find(&app, &ctx, &id).await?;
    promise_removal(app, &ctx, backup, Change::Delete).await
}

/// `os-reset_status` and `os-force_delete`
pub async fn act(app: Cinder, ctx: Context, Path(id): Path<String>, Json(body): Json<Value>) -> Result<Reply> {
    if body.get("os-force_delete").is_some() {
        let backup = find_for(&app, &ctx, &id, "volume_extension:backup_admin_actions:force_delete").await?;
        return promise_removal(app, &ctx, backup, Change::ForceDelete).await;
    }
    let Some(reset) = body.get("os-reset_status") else { return Err(no_such_action(&body)) };
    let backup = find_for(&app, &ctx, &id, "volume_extension:backup_admin_actions:reset_status").await?;
    let status = reset["status"].as_str().and_then(Status::parse).filter(|status| matches!(status, Status::Available | Status::Error));
    let status = status.ok_or_else(|| Error::bad_request("Invalid input for field/attribute status. It is not 'available' or 'error'."))?;
    store::update(&app, &backup.id, ActiveModel { status: Set(status), ..Default::default() }).await?;
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

/// A backup that the caller may see, and on which the route's rule lets the caller act.
pub async fn find(app: &Cinder, ctx: &Context, id: &str) -> Result<Backup> {
    find_for(app, ctx, id, ctx.rule).await
}

/// The same with a rule of its own.
pub async fn find_for(app: &Cinder, ctx: &Context, id: &str, rule: &str) -> Result<Backup> {
    let backup = store::fetch(app.db().read(), id).await?;
    let target = Target::project(&backup.project_id);
    if !ctx.allows("backup:get", &target) {
        return Err(store::not_found(id));
    }
    ctx.enforce(rule, &target)?;
    Ok(backup)
}

/// Marks the backup and begins the flow; refused while others build on it.
async fn promise_removal(app: Cinder, ctx: &Context, backup: Backup, change: Change) -> Result<Reply> {
    let (flows, caller) = (app.flows()?.clone(), ctx.caller());
    let flow_id = app
        .db()
        .write(move |tx| {
            Box::pin(async move {
                if !store::parents_among(tx, std::slice::from_ref(&backup.id)).await?.is_empty() {
                    return Err(Error::bad_request("Invalid backup: Incremental backups exist for this backup."));
                }
                store::change_or_refuse(tx, &backup.id, change).await?;
                let flow = DeleteBackup { caller, backup_id: backup.id };
                flows.insert(tx, &flow.backup_id, &flow).await
            })
        })
        .await?;
    app.flows()?.start(&flow_id);
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

async fn fetch_page(app: &Cinder, ctx: &Context, query: &Query) -> Result<Rows<Backup>> {
    let mut select = Entity::find();
    if let Some(project) = filters::project(ctx, query)? {
        select = select.filter(Column::ProjectId.eq(project));
    }
    for (key, value) in &query.0 {
        select = match key.as_str() {
            "id" => select.filter(Column::Id.eq(value)),
            "name" | "display_name" => select.filter(Column::Name.eq(value)),
            "name~" if ctx.speaks(LIKE_FILTER) => select.filter(Column::Name.contains(value)),
            "volume_id" => select.filter(Column::VolumeId.eq(value)),
            "snapshot_id" => select.filter(Column::SnapshotId.eq(value)),
            "parent_id" => select.filter(Column::ParentId.eq(value)),
            "status" => match Status::parse(value) {
                Some(status) => select.filter(Column::Status.eq(status)),
                None => select.filter(nothing()),
            },
            "created_at" if ctx.speaks(TIME_FILTERS) => select.filter(times(Column::CreatedAt, value)?),
            "updated_at" if ctx.speaks(TIME_FILTERS) => select.filter(times(Column::UpdatedAt, value)?),
            _ => select,
        };
    }
    page::fetch(app.db().read(), ctx, query, select, SORTS).await
}
