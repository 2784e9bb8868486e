//! What a project may have. Counted from the rows each time, and within the transaction that adds something, so that requests at the same
//! moment cannot exceed a limit together. The limits are the operator's settings, or keystone's ([`unified`]).

pub mod unified;

use kit::{Context, Error, Kind, Reply, Result};
use sea_orm::{ConnectionTrait, Statement};
use serde_json::{Value, json};

use crate::Glance;
use crate::config::Limits;

/// What a project has.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Usage {
    /// Bytes, a copy in each store counted.
    size: i64,
    staged: i64,
    count: i64,
    uploading: i64,
}

const MIB: u64 = 1 << 20;

/// `GET /info/usage`
pub async fn info(app: Glance, ctx: Context) -> Result<Reply> {
    let usage = usage(app.db.read(), ctx.project_id()?).await?;
    let limits = of(&app, ctx.project_id()?).await?;
    let entry = |limit: Option<u64>, used: i64| json!({"limit": limit.map_or(json!(-1), Value::from), "usage": used});
    let mib = |bytes: i64| bytes.max(0) as u64 / MIB;
    Reply::ok(&json!({"usage": {
        "image_size_total": entry(limits.image_size_total, mib(usage.size) as i64),
        "image_stage_total": entry(limits.image_stage_total, mib(usage.staged) as i64),
        "image_count_total": entry(limits.image_count_total, usage.count),
        "image_count_uploading": entry(limits.image_count_uploading, usage.uploading),
    }}))
}

/// What a project may have.
pub async fn of(app: &Glance, project: &str) -> Result<Limits> {
    match &app.unified {
        Some(unified) => unified.of(project).await,
        None => Ok(app.settings.limits),
    }
}

/// Whether the project may have the images it has by now.
pub async fn check_count(conn: &impl ConnectionTrait, project: &str, limits: &Limits) -> Result<()> {
    let Some(limit) = limits.image_count_total else { return Ok(()) };
    let used = usage(conn, project).await?.count;
    if used as u64 > limit { Err(exceeded(project, "image_count_total", limit, used as u64 - 1)) } else { Ok(()) }
}

/// Whether one more image of the project may get its data now.
pub async fn check_uploading(conn: &impl ConnectionTrait, project: &str, limits: &Limits) -> Result<()> {
    let Some(limit) = limits.image_count_uploading else { return Ok(()) };
    let used = usage(conn, project).await?.uploading;
    if used as u64 >= limit { Err(exceeded(project, "image_count_uploading", limit, used as u64)) } else { Ok(()) }
}

/// Whether the project may have the bytes it has by now, and so many more.
pub async fn check_size(conn: &impl ConnectionTrait, project: &str, limits: &Limits, more: u64) -> Result<()> {
    let Some(limit) = limits.image_size_total else { return Ok(()) };
    let used = usage(conn, project).await?.size.max(0) as u64;
    let fits = used.saturating_add(more) <= limit.saturating_mul(MIB);
    if fits { Ok(()) } else { Err(exceeded(project, "image_size_total", limit, used / MIB)) }
}

/// Whether the project may stage so many bytes more.
pub async fn check_staged(conn: &impl ConnectionTrait, project: &str, limits: &Limits, more: u64) -> Result<()> {
    let Some(limit) = limits.image_stage_total else { return Ok(()) };
    let used = usage(conn, project).await?.staged.max(0) as u64;
    let fits = used.saturating_add(more) <= limit.saturating_mul(MIB);
    if fits { Ok(()) } else { Err(exceeded(project, "image_stage_total", limit, used / MIB)) }
}

/// Bytes that an upload may have; 413 when what was announced is already too much.
pub async fn room(app: &Glance, project: &str, announced: Option<u64>) -> Result<u64> {
    let cap = app.settings.image_size_cap;
    let limits = &of(app, project).await?;
    let Some(limit) = limits.image_size_total else { return Ok(cap) };
    check_size(app.db.read(), project, limits, announced.unwrap_or(1)).await?;
    let used = usage(app.db.read(), project).await?.size.max(0) as u64;
    Ok(cap.min(limit.saturating_mul(MIB).saturating_sub(used)))
}

fn exceeded(project: &str, what: &str, limit: u64, used: u64) -> Error {
    let message =
        format!("Project {project} is over a limit for [Resource {what} is over limit of {limit} due to current usage {used} and delta 1]");
    Error::new(Kind::TooLarge, message)
}

async fn usage(conn: &impl ConnectionTrait, project: &str) -> Result<Usage> {
    const SQL: &str = "SELECT \
        CAST(COALESCE(SUM(CASE WHEN status IN ('active', 'deactivated') THEN size * \
            (SELECT COUNT(*) FROM image_locations WHERE image_id = images.id) ELSE 0 END), 0) AS BIGINT) AS stored, \
        CAST(COALESCE(SUM(CASE WHEN status IN ('uploading', 'importing') THEN COALESCE(size, 0) ELSE 0 END), 0) AS BIGINT) AS staged, \
        COUNT(*) AS total, \
        CAST(COALESCE(SUM(CASE WHEN status IN ('saving', 'uploading', 'importing') THEN 1 ELSE 0 END), 0) AS BIGINT) AS uploading \
        FROM images WHERE owner = $1";
    let statement = Statement::from_sql_and_values(conn.get_database_backend(), SQL, [project.into()]);
    let Some(row) = conn.query_one_raw(statement).await? else { return Ok(Usage::default()) };
    let number = |column: &str| row.try_get::<i64>("", column);
    Ok(Usage { size: number("stored")?, staged: number("staged")?, count: number("total")?, uploading: number("uploading")? })
}
