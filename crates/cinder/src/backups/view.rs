//! A backup as JSON.

use std::collections::BTreeMap;

use kit::microversion::At;
use kit::{Context, Result, Versioned};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Backup, store};
use crate::Cinder;
use crate::policies::shows;

#[derive(Serialize, Versioned)]
struct BackupView<'a> {
    id: &'a str,
    status: String,
    size: i64,
    object_count: i64,
    availability_zone: &'a str,
    container: &'a Option<String>,
    created_at: String,
    updated_at: Option<String>,
    name: &'a Option<String>,
    description: &'a Option<String>,
    fail_reason: &'a Option<String>,
    volume_id: &'a str,
    links: Value,
    is_incremental: bool,
    has_dependent_backups: bool,
    snapshot_id: &'a Option<String>,
    data_timestamp: String,
    #[since(3.18)]
    #[serde(rename = "os-backup-project-attr:project_id", skip_serializing_if = "Option::is_none")]
    project_id: Option<&'a str>,
    #[since(3.43)]
    metadata: &'a BTreeMap<String, String>,
    #[since(3.56)]
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
    #[since(3.64)]
    #[serde(skip_serializing_if = "Option::is_none")]
    encryption_key_id: Option<&'a str>,
}

fn links(ctx: &Context, id: &str) -> Value {
    let path = format!("/backups/{id}");
    json!([{"rel": "self", "href": ctx.link(&path)}, {"rel": "bookmark", "href": ctx.bookmark(&path)}])
}

/// `{id, name, links}`
pub fn brief(ctx: &Context, backup: &Backup) -> Value {
    json!({"id": backup.id, "name": backup.name, "links": links(ctx, &backup.id)})
}

/// Backups with whether others build on them, in one query more.
pub async fn many(app: &Cinder, ctx: &Context, backups: &[Backup]) -> Result<Vec<Value>> {
    let ids: Vec<String> = backups.iter().map(|backup| backup.id.clone()).collect();
    let parents = store::parents_among(app.db().read(), &ids).await?;
    let owners = shows(ctx, "backup:backup_project_attribute");
    let view = |backup: &Backup| {
        let view = BackupView {
            id: &backup.id,
            status: backup.status.text(),
            size: backup.size,
            object_count: backup.object_count,
            availability_zone: &backup.availability_zone,
            container: &backup.container,
            created_at: backup.created_at.to_micros(),
            updated_at: backup.updated_at.map(|at| at.to_micros()),
            name: &backup.name,
            description: &backup.description,
            fail_reason: &backup.fail_reason,
            volume_id: &backup.volume_id,
            links: links(ctx, &backup.id),
            is_incremental: backup.parent_id.is_some(),
            has_dependent_backups: parents.contains(&backup.id),
            snapshot_id: &backup.snapshot_id,
            data_timestamp: backup.data_at.to_micros(),
            project_id: owners.then_some(&*backup.project_id),
            metadata: &backup.metadata.0,
            user_id: owners.then_some(&*backup.user_id),
            encryption_key_id: backup.encryption_key_id.as_deref(),
        };
        Ok(serde_json::to_value(At(&view, ctx.version))?)
    };
    backups.iter().map(view).collect()
}
