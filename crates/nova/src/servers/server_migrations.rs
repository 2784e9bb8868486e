//! `/servers/{id}/migrations`: live migrations under way, which can be hurried and aborted.

use kit::policy::Target;
use kit::{Context, Error, Json, Path, Reply, Result};
use rpc::compute::compute_topic;
use rpc::live_migration::{Progress, Urge, UrgeLiveMigration};
use sea_orm::QueryOrder;
use sea_orm::Set;
use sea_orm::entity::prelude::*;
use serde_json::{Value, json};

use super::states::rules::{ABORT_MIGRATION, FORCE_COMPLETE};
use super::store;
use crate::microversions::{ABORT_QUEUED, MIGRATION_OWNERS, MIGRATION_UUIDS};
use crate::migrations::api::hide_hosts;
use crate::migrations::{self, ActiveModel, Column, Entity, LIVE, Model};
use crate::{Nova, instance_actions};

/// Statuses of a migration that is under way.
pub const UNDER_WAY: [&str; 4] = ["queued", "preparing", "running", "post-migrating"];

fn view(ctx: &Context, row: &Model) -> Value {
    let progress = row.progress.as_ref().map(|p| p.0);
    let bytes = |field: fn(&Progress) -> i64| progress.as_ref().map(field);
    let mut view = json!({
        "id": row.number, "server_uuid": row.instance_id, "status": row.status,
        "source_compute": row.source_host, "source_node": row.source_node,
        "dest_compute": row.dest_host, "dest_node": row.dest_node, "dest_host": null,
        "created_at": row.created_at.to_micros(), "updated_at": row.updated_at.to_micros(),
        "memory_total_bytes": bytes(|p| p.memory_total), "memory_processed_bytes": bytes(|p| p.memory_processed),
        "memory_remaining_bytes": bytes(|p| p.memory_remaining), "disk_total_bytes": bytes(|p| p.disk_total),
        "disk_processed_bytes": bytes(|p| p.disk_processed), "disk_remaining_bytes": bytes(|p| p.disk_remaining),
    });
    if ctx.speaks(MIGRATION_UUIDS) {
        view["uuid"] = json!(row.id);
    }
    if ctx.speaks(MIGRATION_OWNERS) {
        view["user_id"] = json!(row.user_id);
        view["project_id"] = json!(row.project_id);
    }
    hide_hosts(ctx, "os_compute_api:servers:migrations:index:host", row, &mut view);
    view
}

/// `GET /servers/{id}/migrations`, since 2.23
pub async fn list(app: Nova, ctx: Context, id: Path<String>) -> Result<Reply> {
    let server = store::fetch(&app, &ctx, &id.0).await?;
    let rows = Entity::find().filter(Column::InstanceId.eq(&server.id)).filter(Column::MigrationType.eq(LIVE));
    let rows = rows.filter(Column::Status.is_in(UNDER_WAY)).order_by_desc(Column::Number).all(app.db.read()).await?;
    Reply::ok(&json!({"migrations": rows.iter().map(|row| view(&ctx, row)).collect::<Vec<_>>()}))
}

/// `GET /servers/{id}/migrations/{migration}`, since 2.23
pub async fn show(app: Nova, ctx: Context, Path((id, migration)): Path<(String, String)>) -> Result<Reply> {
    let server = store::fetch(&app, &ctx, &id).await?;
    let row = fetch(&app, &server.id, &migration)
        .await?
        .ok_or_else(|| Error::not_found(format!("In-progress live migration {migration} is not found for server {}.", server.id)))?;
    if row.migration_type != LIVE {
        return Err(Error::not_found(format!("Migration {migration} for server {} is not live-migration.", server.id)));
    }
    if !UNDER_WAY.contains(&row.status.as_str()) {
        return Err(Error::not_found(format!("Live migration {migration} for server {} is not in progress.", server.id)));
    }
    Reply::ok(&json!({"migration": view(&ctx, &row)}))
}

/// `POST /servers/{id}/migrations/{migration}/action`, since 2.22: `{"force_complete": null}`
pub async fn act(app: Nova, ctx: Context, Path((id, migration)): Path<(String, String)>, body: Json<Value>) -> Result<Reply> {
    let server = store::fetch(&app, &ctx, &id).await?;
    ctx.authorize(&Target::project(&server.project_id))?;
    let asked = body.0.as_object().filter(|body| body.len() == 1).and_then(|body| body.get("force_complete"));
    if asked.is_none_or(|value| !value.is_null()) {
        return Err(Error::bad_request("Invalid input for field/attribute body. 'force_complete' is a required property"));
    }
    FORCE_COMPLETE.check(&server, ctx.is_admin())?;
    // nova's answer to a migration that is not there is 400 here, and 404 when it is aborted
    let row = fetch(&app, &server.id, &migration).await?;
    let row = row.ok_or_else(|| Error::bad_request(missing(&server.id, &migration)))?;
    if row.status != "running" {
        return Err(wrong_state(&row, "force complete"));
    }
    urge(&app, &row, Urge::Complete).await?;
    instance_actions::done(&app, &ctx, &server.id, FORCE_COMPLETE.record).await?;
    Ok(super::actions::accepted())
}

/// `DELETE /servers/{id}/migrations/{migration}`, since 2.24: the server stays where it is.
pub async fn abort(app: Nova, ctx: Context, Path((id, migration)): Path<(String, String)>) -> Result<Reply> {
    let server = store::fetch(&app, &ctx, &id).await?;
    ctx.authorize(&Target::project(&server.project_id))?;
    ABORT_MIGRATION.check(&server, ctx.is_admin())?;
    let row = fetch(&app, &server.id, &migration).await?;
    let row = row.ok_or_else(|| Error::not_found(missing(&server.id, &migration)))?;
    let waits: &[&str] = if ctx.speaks(ABORT_QUEUED) { &["queued", "preparing"] } else { &[] };
    let (uuid, cancelled) = (row.id.clone(), ActiveModel { status: Set("cancelled".to_owned()), ..Default::default() });
    // one that waits sees it when its turn comes
    if app.db.write(move |tx| Box::pin(async move { migrations::change_from(tx, &uuid, waits, cancelled).await })).await? {
        instance_actions::done(&app, &ctx, &server.id, ABORT_MIGRATION.record).await?;
        return Ok(super::actions::accepted());
    }
    if row.status != "running" {
        return Err(wrong_state(&row, "abort"));
    }
    urge(&app, &row, Urge::Abort).await?;
    instance_actions::done(&app, &ctx, &server.id, ABORT_MIGRATION.record).await?;
    Ok(super::actions::accepted())
}

/// Tells the source, where the guest still is.
async fn urge(app: &Nova, row: &Model, urge: Urge) -> Result<()> {
    let source = row.source_host.as_deref().unwrap_or_default();
    let message = UrgeLiveMigration { instance_id: row.instance_id.clone(), urge };
    app.bus.call(&compute_topic(source), message, app.config.action_timeout).await
}

fn wrong_state(row: &Model, wanted: &str) -> Error {
    Error::bad_request(format!(
        "Migration {} state of instance {} is {}. Cannot {wanted} while the migration is in this state.",
        row.number, row.instance_id, row.status
    ))
}

/// A migration of the server, of whatever kind and however it ended.
async fn fetch(app: &Nova, server: &str, migration: &str) -> Result<Option<Model>> {
    let Ok(number) = migration.parse::<i64>() else { return Ok(None) };
    Ok(Entity::find_by_id(number).one(app.db.read()).await?.filter(|row| row.instance_id == server))
}

fn missing(server: &str, migration: &str) -> String {
    format!("Migration {migration} not found for instance {server}")
}
