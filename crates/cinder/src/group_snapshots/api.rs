//! `/group_snapshots`

use http::StatusCode;
use kit::call::Wrapper;
use kit::clock::Timestamp;
use kit::db::Json as DbJson;
use kit::policy::Target;
use kit::{Context, Error, Json, Path, Query, Reply, Result, Versioned, ids};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Set};
use serde::Deserialize;
use serde_json::{Value, json};

use super::flows::{DeleteGroupSnapshot, MakeGroupSnapshot};
use super::{ActiveModel, Column, Entity, GroupSnapshot, store};
use crate::body::{Body, no_such_action, text};
use crate::filter::nothing;
use crate::groups::{self, Status};
use crate::page::{self, Rows, Sorts};
use crate::policies::shows;
use crate::snapshots::flows::CreateSnapshot;
use crate::snapshots::{self, Snapshot};
use crate::volumes::{self, filters};
use crate::{Cinder, quotas, types};

pub const SORTS: Sorts<Entity> = &[
    ("id", Column::Id),
    ("name", Column::Name),
    ("status", Column::Status),
    ("group_id", Column::GroupId),
    ("created_at", Column::CreatedAt),
    ("updated_at", Column::UpdatedAt),
];

fn brief(whole: &GroupSnapshot) -> Value {
    json!({"id": whole.id, "name": whole.name, "group_type_id": whole.type_id})
}

fn detailed(ctx: &Context, whole: &GroupSnapshot) -> Value {
    let mut view = json!({
        "id": whole.id, "group_id": whole.group_id, "group_type_id": whole.type_id, "status": whole.status.text(),
        "created_at": whole.created_at.to_micros(), "name": whole.name, "description": whole.description,
    });
    if ctx.speaks(crate::microversions::GROUP_PROJECT) && shows(ctx, "group:group_snapshot_project_attribute") {
        view["project_id"] = json!(whole.project_id);
    }
    view
}

/// `POST /group_snapshots`
#[derive(Deserialize, Versioned)]
pub struct NewGroupSnapshot {
    pub group_id: String,
    pub name: Option<String>,
    pub description: Option<String>,
}

impl Wrapper for NewGroupSnapshot {
    const KEY: &'static str = "group_snapshot";
}

pub async fn create(app: Cinder, ctx: Context, Body(body): Body<NewGroupSnapshot>) -> Result<Reply> {
    let whole = make(&app, &ctx, body).await?;
    Reply::json(StatusCode::ACCEPTED, &json!({"group_snapshot": brief(&whole)}))
}

/// A snapshot of each of a group's volumes, and what holds them together.
pub async fn make(app: &Cinder, ctx: &Context, body: NewGroupSnapshot) -> Result<GroupSnapshot> {
    let group = groups::api::find_for(app, ctx, &body.group_id, "group:get").await?;
    if group.status != Status::Available {
        return Err(groups::store::invalid(format!("Group status must be available, but current status is: {}.", group.status.text())));
    }
    let whole = GroupSnapshot {
        id: ids::uuid(),
        group_id: group.id,
        project_id: group.project_id,
        user_id: ctx.user_id()?.to_owned(),
        name: text("name", body.name)?,
        description: text("description", body.description)?,
        type_id: group.type_id,
        status: Status::Creating,
        created_at: Timestamp::now(),
        updated_at: None,
    };
    promise(app, ctx, whole.clone()).await?;
    Ok(whole)
}

/// The row, a snapshot of each volume with its quota and flow, and the flow that waits for all of them.
async fn promise(app: &Cinder, ctx: &Context, whole: GroupSnapshot) -> Result<()> {
    let (flows, caller) = (app.flows()?.clone(), ctx.caller());
    let started = app
        .db()
        .write(move |tx| {
            Box::pin(async move {
                let volumes = groups::store::volumes_of(tx, &whole.group_id).await?;
                if volumes.is_empty() {
                    return Err(groups::store::invalid(format!("Group {} is empty: there is nothing to keep.", whole.group_id)));
                }
                let mut started = vec![flows.insert(tx, &whole.id, &MakeGroupSnapshot { id: whole.id.clone() }).await?];
                for volume in volumes {
                    if !matches!(volume.status, volumes::Status::Available | volumes::Status::InUse) {
                        return Err(volumes::store::invalid(format!("Volume {} is {}.", volume.id, volume.status.text())));
                    }
                    let type_name = types::store::name(tx, &volume.type_id).await?;
                    quotas::store::charge(tx, &volume.project_id, &quotas::snapshot(volume.size, &type_name)).await?;
                    let snapshot = snapshot_of(&whole, &volume);
                    let flow = CreateSnapshot {
                        caller: caller.clone(),
                        snapshot_id: snapshot.id.clone(),
                        volume_id: volume.id,
                        host: volume.host,
                    };
                    snapshots::Entity::insert(snapshots::ActiveModel::from(snapshot)).exec_without_returning(tx).await?;
                    started.push(flows.insert(tx, &flow.snapshot_id, &flow).await?);
                }
                Entity::insert(ActiveModel::from(whole)).exec_without_returning(tx).await?;
                Ok(started)
            })
        })
        .await?;
    for flow in &started {
        app.flows()?.start(flow);
    }
    Ok(())
}

fn snapshot_of(whole: &GroupSnapshot, volume: &volumes::Volume) -> Snapshot {
    Snapshot {
        id: ids::uuid(),
        volume_id: volume.id.clone(),
        project_id: volume.project_id.clone(),
        user_id: whole.user_id.clone(),
        name: whole.name.clone(),
        description: whole.description.clone(),
        size: volume.size,
        status: snapshots::Status::Creating,
        metadata: DbJson(Default::default()),
        group_snapshot_id: Some(whole.id.clone()),
        progress: None,
        created_at: Timestamp::now(),
        updated_at: None,
    }
}

pub async fn show(app: Cinder, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let whole = find_for(&app, &ctx, &id, ctx.rule).await?;
    Reply::ok(&json!({"group_snapshot": detailed(&ctx, &whole)}))
}

pub async fn delete(app: Cinder, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let whole = find_for(&app, &ctx, &id, ctx.rule).await?;
    let flows = app.flows()?.clone();
    let flow_id = app
        .db()
        .write(move |tx| {
            Box::pin(async move {
                let from = [Status::Available, Status::Error, Status::ErrorDeleting];
                if !store::change(tx, &whole.id, &from, Status::Deleting).await? {
                    let status = whole.status.text();
                    let sentence = "Invalid GroupSnapshot: GroupSnapshot status must be available or error, but current status is";
                    return Err(Error::bad_request(format!("{sentence}: {status}.")));
                }
                flows.insert(tx, &whole.id, &DeleteGroupSnapshot { id: whole.id.clone() }).await
            })
        })
        .await?;
    app.flows()?.start(&flow_id);
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

pub async fn list(app: Cinder, ctx: Context, query: Query) -> Result<Reply> {
    let page = fetch_page(&app, &ctx, &query).await?;
    page.map(|whole| brief(&whole)).reply(&ctx, &query, "/group_snapshots", "group_snapshots", "group_snapshot_links")
}

pub async fn detail(app: Cinder, ctx: Context, query: Query) -> Result<Reply> {
    let page = fetch_page(&app, &ctx, &query).await?;
    let page = page.map(|whole| detailed(&ctx, &whole));
    page.reply(&ctx, &query, "/group_snapshots/detail", "group_snapshots", "group_snapshot_links")
}

/// `reset_status`
pub async fn act(app: Cinder, ctx: Context, Path(id): Path<String>, Json(body): Json<Value>) -> Result<Reply> {
    let Some(reset) = body.get("reset_status") else { return Err(no_such_action(&body)) };
    let whole = find_for(&app, &ctx, &id, ctx.rule).await?;
    let status = reset["status"].as_str().and_then(Status::parse);
    let status = status.ok_or_else(|| Error::bad_request("Invalid group snapshot status: it is no status of one."))?;
    app.db()
        .write(move |tx| {
            Box::pin(async move {
                let row = ActiveModel { status: Set(status), updated_at: Set(Some(Timestamp::now())), ..Default::default() };
                Entity::update_many().set(row).filter(Column::Id.eq(&whole.id)).exec(tx).await?;
                Ok(())
            })
        })
        .await?;
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

/// A group's snapshot that the caller may see, and on which `rule` lets the caller act.
pub async fn find_for(app: &Cinder, ctx: &Context, id: &str, rule: &str) -> Result<GroupSnapshot> {
    let whole = store::fetch(app.db().read(), id).await?;
    let target = Target::project(&whole.project_id);
    if !ctx.allows("group:get_group_snapshot", &target) {
        return Err(store::not_found(id));
    }
    ctx.enforce(rule, &target)?;
    Ok(whole)
}

async fn fetch_page(app: &Cinder, ctx: &Context, query: &Query) -> Result<Rows<GroupSnapshot>> {
    let mut select = Entity::find();
    if let Some(project) = filters::project(ctx, query)? {
        select = select.filter(Column::ProjectId.eq(project));
    }
    for (key, value) in &query.0 {
        select = match key.as_str() {
            "id" => select.filter(Column::Id.eq(value)),
            "name" => select.filter(Column::Name.eq(value)),
            "group_id" => select.filter(Column::GroupId.eq(value)),
            "status" => match Status::parse(value) {
                Some(status) => select.filter(Column::Status.eq(status)),
                None => select.filter(nothing()),
            },
            _ => select,
        };
    }
    page::fetch(app.db().read(), ctx, query, select, SORTS).await
}
