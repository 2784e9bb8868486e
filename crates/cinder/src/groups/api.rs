//! `/groups`: lists, and the actions `delete` and `reset_status`.

use http::StatusCode;
use kit::policy::Target;
use kit::{Context, Error, Json, Path, Query, Reply, Result};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Set};
use serde_json::{Value, json};

use super::flows::DeleteGroup;
use super::{ActiveModel, Column, Entity, Group, Status, store, view};
use crate::body::{no_such_action, truth};
use crate::filter::nothing;
use crate::page::{self, Rows, Sorts};
use crate::volumes::filters;
use crate::{Cinder, group_snapshots};

pub const SORTS: Sorts<Entity> = &[
    ("id", Column::Id),
    ("name", Column::Name),
    ("status", Column::Status),
    ("group_type_id", Column::TypeId),
    ("created_at", Column::CreatedAt),
    ("updated_at", Column::UpdatedAt),
];

pub async fn list(app: Cinder, ctx: Context, query: Query) -> Result<Reply> {
    let page = fetch_page(&app, &ctx, &query).await?;
    page.map(|group| view::brief(&group)).reply(&ctx, &query, "/groups", "groups", "group_links")
}

pub async fn detail(app: Cinder, ctx: Context, query: Query) -> Result<Reply> {
    let mut page = fetch_page(&app, &ctx, &query).await?;
    let mut rows = Vec::new();
    for group in page.take() {
        rows.push(view::detail(&ctx, &group, members(&app, &query, &group).await?)?);
    }
    page.with(rows).reply(&ctx, &query, "/groups/detail", "groups", "group_links")
}

pub async fn show(app: Cinder, ctx: Context, Path(id): Path<String>, query: Query) -> Result<Reply> {
    let group = find_for(&app, &ctx, &id, ctx.rule).await?;
    Reply::ok(&json!({"group": view::detail(&ctx, &group, members(&app, &query, &group).await?)?}))
}

pub async fn act(app: Cinder, ctx: Context, Path(id): Path<String>, Json(body): Json<Value>) -> Result<Reply> {
    if let Some(delete) = body.get("delete") {
        let group = find_for(&app, &ctx, &id, "group:delete").await?;
        return promise_removal(app, group, truth(&delete["delete-volumes"]) == Some(true)).await;
    }
    let Some(reset) = body.get("reset_status").filter(|_| ctx.speaks(crate::microversions::RESET_GROUP)) else {
        return Err(no_such_action(&body));
    };
    let group = find_for(&app, &ctx, &id, "group:reset_status").await?;
    let status = reset["status"].as_str().and_then(Status::parse);
    let status = status.ok_or_else(|| Error::bad_request("Invalid group status: it is no status of a group."))?;
    store::update(&app, &group.id, ActiveModel { status: Set(status), ..Default::default() }).await?;
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

/// A group that the caller may see, and on which `rule` lets the caller act.
pub async fn find_for(app: &Cinder, ctx: &Context, id: &str, rule: &str) -> Result<Group> {
    let group = store::fetch(app.db().read(), id).await?;
    let target = Target::project(&group.project_id);
    if !ctx.allows("group:get", &target) {
        return Err(store::not_found(id));
    }
    ctx.enforce(rule, &target)?;
    Ok(group)
}

/// Marks the group and begins the flow; its volumes go along or there must be none.
pub async fn promise_removal(app: Cinder, group: Group, with_volumes: bool) -> Result<Reply> {
    let flows = app.flows()?.clone();
    let flow_id = app
        .db()
        .write(move |tx| {
            Box::pin(async move {
                let volumes = store::volumes_of(tx, &group.id).await?;
                if !with_volumes && !volumes.is_empty() {
                    return Err(store::invalid(format!("Group {} still contains volumes. The delete-volumes flag is required.", group.id)));
                }
                if let Some(busy) = volumes.iter().find(|volume| !crate::volumes::Change::Delete.rule().0.contains(&volume.status)) {
                    return Err(store::invalid(format!(
                        "Volume {} of the group is {} and cannot be deleted.",
                        busy.id,
                        busy.status.text()
                    )));
                }
                if group_snapshots::store::of_group(tx, &group.id).await? {
                    return Err(store::invalid(format!("Group {} still has group snapshots.", group.id)));
                }
                if !store::change(tx, &group.id, &[Status::Available, Status::Error, Status::ErrorDeleting], Status::Deleting).await? {
                    let status = group.status.text();
                    return Err(store::invalid(format!("Group status must be available or error, but current status is: {status}.")));
                }
                flows.insert(tx, &group.id, &DeleteGroup { group_id: group.id.clone() }).await
            })
        })
        .await?;
    app.flows()?.start(&flow_id);
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

/// The ids of a group's volumes, when the query asks for them.
async fn members(app: &Cinder, query: &Query, group: &Group) -> Result<Option<Vec<String>>> {
    if !query.flag("list_volume") {
        return Ok(None);
    }
    let volumes = store::volumes_of(app.db().read(), &group.id).await?;
    Ok(Some(volumes.into_iter().map(|volume| volume.id).collect()))
}

async fn fetch_page(app: &Cinder, ctx: &Context, query: &Query) -> Result<Rows<Group>> {
    let mut select = Entity::find();
    if let Some(project) = filters::project(ctx, query)? {
        select = select.filter(Column::ProjectId.eq(project));
    }
    for (key, value) in &query.0 {
        select = match key.as_str() {
            "id" => select.filter(Column::Id.eq(value)),
            "name" => select.filter(Column::Name.eq(value)),
            "group_type" | "group_type_id" => select.filter(Column::TypeId.eq(value)),
            "availability_zone" => select.filter(Column::AvailabilityZone.eq(value)),
            "status" => match Status::parse(value) {
                Some(status) => select.filter(Column::Status.eq(status)),
                None => select.filter(nothing()),
            },
            _ => select,
        };
    }
    page::fetch(app.db().read(), ctx, query, select, SORTS).await
}
