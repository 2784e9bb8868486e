//! A group as JSON.

use kit::microversion::At;
use kit::{Context, Result, Versioned};
use serde::Serialize;
use serde_json::{Value, json};

use super::Group;
use crate::policies::shows;

#[derive(Serialize, Versioned)]
struct GroupView<'a> {
    id: &'a str,
    status: String,
    availability_zone: &'a str,
    created_at: String,
    name: &'a Option<String>,
    description: &'a Option<String>,
    group_type: &'a str,
    volume_types: &'a [String],
    #[since(3.14)]
    group_snapshot_id: &'a Option<String>,
    #[since(3.14)]
    source_group_id: &'a Option<String>,
    #[since(3.25)]
    #[serde(skip_serializing_if = "Option::is_none")]
    volumes: Option<Vec<String>>,
    #[since(3.38)]
    replication_status: &'static str,
    #[since(3.58)]
    #[serde(skip_serializing_if = "Option::is_none")]
    project_id: Option<&'a str>,
}

/// `{id, name}`
pub fn brief(group: &Group) -> Value {
    json!({"id": group.id, "name": group.name})
}

/// Everything; the volumes when they were asked for.
pub fn detail(ctx: &Context, group: &Group, volumes: Option<Vec<String>>) -> Result<Value> {
    let view = GroupView {
        id: &group.id,
        status: group.status.text(),
        availability_zone: &group.availability_zone,
        created_at: group.created_at.to_micros(),
        name: &group.name,
        description: &group.description,
        group_type: &group.type_id,
        volume_types: &group.volume_types.0,
        group_snapshot_id: &group.group_snapshot_id,
        source_group_id: &group.source_group_id,
        volumes,
        replication_status: "disabled",
        project_id: shows(ctx, "group:group_project_attribute").then_some(&*group.project_id),
    };
    Ok(serde_json::to_value(At(&view, ctx.version))?)
}
