//! `/servers/{id}/migrations`: live migrations under way.

use kit::{Context, Error, Path, Reply, Result};
use sea_orm::QueryOrder;
use sea_orm::entity::prelude::*;
use serde_json::{Value, json};

use super::store;
use crate::Nova;
use crate::microversions::{MIGRATION_OWNERS, MIGRATION_UUIDS};
use crate::migrations::{Column, Entity, LIVE, Model};

/// Statuses of a migration that is under way.
pub const UNDER_WAY: [&str; 4] = ["queued", "preparing", "running", "post-migrating"];

fn view(ctx: &Context, row: &Model) -> Value {
    let progress = row.progress.as_ref().map(|p| p.0);
    let bytes = |field: fn(&crate::migrations::Progress) -> i64| progress.as_ref().map(field);
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
    let row = fetch(&app, &server.id, &migration).await?;
    Reply::ok(&json!({"migration": view(&ctx, &row)}))
}

async fn fetch(app: &Nova, server: &str, migration: &str) -> Result<Model> {
    let missing = || Error::not_found(format!("Migration {migration} not found for instance {server}."));
    let number: i64 = migration.parse().map_err(|_| missing())?;
    let row = Entity::find_by_id(number).one(app.db.read()).await?.filter(|row| row.instance_id == server).ok_or_else(missing)?;
    if row.migration_type != LIVE {
        return Err(Error::not_found(format!("Migration {migration} for server {server} is not live-migration.")));
    }
    if UNDER_WAY.contains(&row.status.as_str()) {
        return Ok(row);
    }
    Err(Error::not_found(format!("Migration {migration} for server {server} is not in progress.")))
}
