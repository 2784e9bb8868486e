//! `/consistencygroups` and `/cgsnapshots`, as clients knew groups before there were groups: each is a group of one type that every cinder
//! has. What they do, groups do.

use http::StatusCode;
use kit::call::Wrapper;
use kit::clock::Timestamp;
use kit::db::Json as DbJson;
use kit::{Context, Error, Json, Path, Query, Reply, Result, Versioned, ids};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::body::{Body, truth};
use crate::group_snapshots::{self, GroupSnapshot};
use crate::group_types::{self, GroupType};
use crate::groups::{self, Group};
use crate::volumes::filters;
use crate::{Cinder, page};

/// The type of the groups that are consistency groups.
const TYPE: &str = "default_cgsnapshot_type";

/// Makes their type if it is not there.
pub async fn ensure_type(app: &Cinder) -> Result<()> {
    let row = group_types::ActiveModel::from(GroupType {
        id: type_id(),
        name: TYPE.into(),
        description: Some("Default group type for migrating cgsnapshot".into()),
        is_public: true,
        group_specs: DbJson([("consistent_group_snapshot_enabled".to_owned(), "<is> True".to_owned())].into()),
        created_at: Timestamp::now(),
        updated_at: None,
    });
    app.db()
        .write(move |tx| {
            Box::pin(async move {
                let once = OnConflict::column(group_types::Column::Name).do_nothing().to_owned();
                group_types::Entity::insert(row).on_conflict(once).exec_without_returning(tx).await?;
                Ok(())
            })
        })
        .await
}

/// The id of their type.
pub fn type_id() -> String {
    ids::derived("cinder.group_types", TYPE)
}

fn view(group: &Group) -> Value {
    json!({
        "id": group.id, "status": group.status.text(), "availability_zone": group.availability_zone,
        "created_at": group.created_at.to_micros(), "name": group.name, "description": group.description,
        "volume_types": group.volume_types.0,
    })
}

fn brief(ctx: &Context, id: &str, name: &Option<String>, place: &str) -> Value {
    let path = format!("/{place}/{id}");
    let links = json!([{"rel": "self", "href": ctx.link(&path)}, {"rel": "bookmark", "href": ctx.bookmark(&path)}]);
    json!({"id": id, "name": name, "links": links})
}

/// `POST /consistencygroups`; the types are ids or names with commas between.
#[derive(Deserialize, Versioned)]
pub struct NewConsistencyGroup {
    name: Option<String>,
    description: Option<String>,
    volume_types: String,
    availability_zone: Option<String>,
}

impl Wrapper for NewConsistencyGroup {
    const KEY: &'static str = "consistencygroup";
}

pub async fn create(app: Cinder, ctx: Context, Body(body): Body<NewConsistencyGroup>) -> Result<Reply> {
    let volume_types = body.volume_types.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let wish = groups::create::NewGroup {
        name: body.name,
        description: body.description,
        group_type: type_id(),
        volume_types,
        availability_zone: body.availability_zone,
    };
    let group = groups::create::make(&app, &ctx, wish).await?;
    let answer = brief(&ctx, &group.id, &group.name, "consistencygroups");
    Reply::json(StatusCode::ACCEPTED, &json!({"consistencygroup": answer}))
}

/// `POST /consistencygroups/create_from_src`
#[derive(Deserialize, Versioned)]
pub struct FromSource {
    name: Option<String>,
    description: Option<String>,
    cgsnapshot_id: Option<String>,
    source_cgid: Option<String>,
}

impl Wrapper for FromSource {
    const KEY: &'static str = "consistencygroup-from-src";
}

pub async fn create_from_source(app: Cinder, ctx: Context, Body(body): Body<FromSource>) -> Result<Reply> {
    let wish = groups::create::FromSource {
        name: body.name,
        description: body.description,
        group_snapshot_id: body.cgsnapshot_id,
        source_group_id: body.source_cgid,
    };
    let group = groups::create::copy(&app, &ctx, wish).await?;
    let answer = brief(&ctx, &group.id, &group.name, "consistencygroups");
    Reply::json(StatusCode::ACCEPTED, &json!({"consistencygroup": answer}))
}

/// `PUT /consistencygroups/{id}/update`
#[derive(Deserialize, Versioned)]
pub struct Update {
    name: Option<String>,
    description: Option<String>,
    add_volumes: Option<String>,
    remove_volumes: Option<String>,
}

impl Wrapper for Update {
    const KEY: &'static str = "consistencygroup";
}

pub async fn update(app: Cinder, ctx: Context, Path(id): Path<String>, Body(body): Body<Update>) -> Result<Reply> {
    let wish = groups::change::UpdateGroup {
        name: body.name,
        description: body.description,
        add_volumes: body.add_volumes,
        remove_volumes: body.remove_volumes,
    };
    groups::change::update(app, ctx, Path(id), Body(wish)).await
}

/// `POST /consistencygroups/{id}/delete`; `force` takes the volumes along.
pub async fn delete(app: Cinder, ctx: Context, Path(id): Path<String>, Json(body): Json<Value>) -> Result<Reply> {
    let Some(wish) = body["consistencygroup"].as_object() else {
        return Err(Error::bad_request("Missing required element 'consistencygroup' in request body."));
    };
    let group = find(&app, &ctx, &id).await?;
    groups::api::promise_removal(app, group, wish.get("force").and_then(truth) == Some(true)).await
}

pub async fn show(app: Cinder, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    Reply::ok(&json!({"consistencygroup": view(&find(&app, &ctx, &id).await?)}))
}

pub async fn list(app: Cinder, ctx: Context, query: Query) -> Result<Reply> {
    let answer = |group: Group| brief(&ctx, &group.id, &group.name, "consistencygroups");
    let page = groups_of(&app, &ctx, &query).await?.map(answer);
    page.reply(&ctx, &query, "/consistencygroups", "consistencygroups", "consistencygroup_links")
}

pub async fn detail(app: Cinder, ctx: Context, query: Query) -> Result<Reply> {
    let page = groups_of(&app, &ctx, &query).await?.map(|group| view(&group));
    page.reply(&ctx, &query, "/consistencygroups/detail", "consistencygroups", "consistencygroup_links")
}

async fn find(app: &Cinder, ctx: &Context, id: &str) -> Result<Group> {
    let group = groups::api::find_for(app, ctx, id, ctx.rule).await?;
    match group.type_id == type_id() {
        true => Ok(group),
        false => Err(Error::not_found(format!("ConsistencyGroup {id} could not be found."))),
    }
}

async fn groups_of(app: &Cinder, ctx: &Context, query: &Query) -> Result<page::Rows<Group>> {
    let mut select = groups::Entity::find().filter(groups::Column::TypeId.eq(type_id()));
    if let Some(project) = filters::project(ctx, query)? {
        select = select.filter(groups::Column::ProjectId.eq(project));
    }
    page::fetch(app.db().read(), ctx, query, select, groups::api::SORTS).await
}

/// `POST /cgsnapshots`
#[derive(Deserialize, Versioned)]
pub struct NewSnapshot {
    consistencygroup_id: String,
    name: Option<String>,
    description: Option<String>,
}

impl Wrapper for NewSnapshot {
    const KEY: &'static str = "cgsnapshot";
}

fn snapshot_view(whole: &GroupSnapshot) -> Value {
    json!({
        "id": whole.id, "consistencygroup_id": whole.group_id, "status": whole.status.text(),
        "created_at": whole.created_at.to_micros(), "name": whole.name, "description": whole.description,
    })
}

pub async fn create_snapshot(app: Cinder, ctx: Context, Body(body): Body<NewSnapshot>) -> Result<Reply> {
    let wish =
        group_snapshots::api::NewGroupSnapshot { group_id: body.consistencygroup_id, name: body.name, description: body.description };
    let whole = group_snapshots::api::make(&app, &ctx, wish).await?;
    Reply::json(StatusCode::ACCEPTED, &json!({"cgsnapshot": brief(&ctx, &whole.id, &whole.name, "cgsnapshots")}))
}

pub async fn show_snapshot(app: Cinder, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let whole = group_snapshots::api::find_for(&app, &ctx, &id, ctx.rule).await?;
    if whole.type_id != type_id() {
        return Err(Error::not_found(format!("CgSnapshot {id} could not be found.")));
    }
    Reply::ok(&json!({"cgsnapshot": snapshot_view(&whole)}))
}

pub async fn list_snapshots(app: Cinder, ctx: Context, query: Query) -> Result<Reply> {
    let answer = |whole: GroupSnapshot| brief(&ctx, &whole.id, &whole.name, "cgsnapshots");
    let page = snapshots_of(&app, &ctx, &query).await?.map(answer);
    page.reply(&ctx, &query, "/cgsnapshots", "cgsnapshots", "cgsnapshot_links")
}

pub async fn detail_snapshots(app: Cinder, ctx: Context, query: Query) -> Result<Reply> {
    let page = snapshots_of(&app, &ctx, &query).await?.map(|whole| snapshot_view(&whole));
    page.reply(&ctx, &query, "/cgsnapshots/detail", "cgsnapshots", "cgsnapshot_links")
}

async fn snapshots_of(app: &Cinder, ctx: &Context, query: &Query) -> Result<page::Rows<GroupSnapshot>> {
    let mut select = group_snapshots::Entity::find().filter(group_snapshots::Column::TypeId.eq(type_id()));
    if let Some(project) = filters::project(ctx, query)? {
        select = select.filter(group_snapshots::Column::ProjectId.eq(project));
    }
    page::fetch(app.db().read(), ctx, query, select, group_snapshots::api::SORTS).await
}
