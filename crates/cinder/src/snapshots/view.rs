//! A snapshot as JSON.

use std::collections::BTreeMap;

use kit::microversion::At;
use kit::{Context, Result, Versioned};
use serde::Serialize;
use serde_json::Value;

use super::{Snapshot, Status};
use crate::policies::shows;

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
    group_snapshot_id: &'a Option<String>,
    #[since(3.41)]
    user_id: &'a str,
    #[since(3.65)]
    consumes_quota: bool,
    #[serde(rename = "os-extended-snapshot-attributes:progress", skip_serializing_if = "Option::is_none")]
    progress: Option<&'a str>,
    #[serde(rename = "os-extended-snapshot-attributes:project_id", skip_serializing_if = "Option::is_none")]
    project_id: Option<&'a str>,
}

/// Everything about a snapshot at the caller's version.
pub fn detail(ctx: &Context, snapshot: &Snapshot) -> Result<Value> {
    let extended = shows(ctx, "volume_extension:extended_snapshot_attributes");
    let progress = match (&snapshot.progress, snapshot.status) {
        (Some(told), _) => told,
        (None, Status::Creating) => "0%",
        (None, _) => "100%",
    };
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
        group_snapshot_id: &snapshot.group_snapshot_id,
        user_id: &snapshot.user_id,
        consumes_quota: true,
        progress: extended.then_some(progress),
        project_id: extended.then_some(&*snapshot.project_id),
    };
    Ok(serde_json::to_value(At(&view, ctx.version))?)
}

/// What changed a snapshot answers with.
pub fn changed(ctx: &Context, snapshot: &Snapshot) -> Result<Value> {
    let mut view = detail(ctx, snapshot)?;
    if let Some(fields) = view.as_object_mut() {
        fields.retain(|key, _| !key.starts_with("os-extended"));
    }
    Ok(view)
}

/// As lists without detail show it.
pub fn brief(ctx: &Context, snapshot: &Snapshot) -> Result<Value> {
    let mut view = detail(ctx, snapshot)?;
    let extended =
        |key: &String| key.starts_with("os-extended") || matches!(key.as_str(), "consumes_quota" | "group_snapshot_id" | "user_id");
    if let Some(fields) = view.as_object_mut() {
        fields.retain(|key, _| !extended(key));
    }
    Ok(view)
}
