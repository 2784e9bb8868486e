//! `/group_types`

use std::collections::BTreeMap;

use http::StatusCode;
use kit::call::Wrapper;
use kit::clock::Timestamp;
use kit::db::Json as DbJson;
use kit::{Context, Error, Path, Query, Reply, Result, Versioned, ids};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Set};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ActiveModel, Column, Entity, GroupType, find};
use crate::body::{Body, boolean, text};
use crate::filter::flag;
use crate::page::{self, Sorts};
use crate::types::specs::check;
use crate::{Cinder, groups};

const SORTS: Sorts<Entity> = &[("id", Column::Id), ("name", Column::Name), ("created_at", Column::CreatedAt)];

fn view(ctx: &Context, kind: &GroupType) -> Value {
    let mut view = json!({"id": kind.id, "name": kind.name, "description": kind.description, "is_public": kind.is_public});
    if ctx.is_admin() {
        view["group_specs"] = json!(kind.group_specs.0);
    }
    view
}

pub async fn list(app: Cinder, ctx: Context, query: Query) -> Result<Reply> {
    let mut select = Entity::find();
    match query.get("is_public") {
        _ if !ctx.is_admin() => select = select.filter(Column::IsPublic.eq(true)),
        None => select = select.filter(Column::IsPublic.eq(true)),
        Some(text) if text.eq_ignore_ascii_case("none") => {}
        Some(text) => select = select.filter(Column::IsPublic.eq(flag("is_public", text)?)),
    }
    let page = page::fetch(app.db().read(), &ctx, &query, select, SORTS).await?;
    page.map(|kind| view(&ctx, &kind)).reply(&ctx, &query, "/group_types", "group_types", "group_type_links")
}

pub async fn show(app: Cinder, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    Reply::ok(&json!({"group_type": view(&ctx, &find(app.db().read(), &id).await?)}))
}

/// No group type is the default of this cloud.
pub async fn default(_: Cinder, _: Context) -> Result<Reply> {
    Err(Error::not_found("Default group type can not be found."))
}

/// `POST /group_types`
#[derive(Deserialize, Versioned)]
pub struct NewType {
    name: String,
    description: Option<String>,
    #[serde(default, deserialize_with = "boolean")]
    is_public: Option<bool>,
    group_specs: Option<BTreeMap<String, String>>,
}

impl Wrapper for NewType {
    const KEY: &'static str = "group_type";
}

pub async fn create(app: Cinder, ctx: Context, Body(body): Body<NewType>) -> Result<Reply> {
    let name = text("name", Some(body.name))?.filter(|name| !name.is_empty());
    let group_specs = body.group_specs.unwrap_or_default();
    check(&group_specs)?;
    let kind = GroupType {
        id: ids::uuid(),
        name: name.ok_or_else(|| Error::bad_request("Invalid input for field/attribute name. Value: . '' is too short"))?,
        description: text("description", body.description)?,
        is_public: body.is_public.unwrap_or(true),
        group_specs: DbJson(group_specs),
        created_at: Timestamp::now(),
        updated_at: None,
    };
    let (row, taken) = (ActiveModel::from(kind.clone()), Error::conflict(format!("Group Type {} already exists.", kind.name)));
    app.db()
        .write(move |tx| {
            Box::pin(async move {
                let once = OnConflict::column(Column::Name).do_nothing().to_owned();
                match Entity::insert(row).on_conflict(once).exec_without_returning(tx).await? {
                    0 => Err(taken),
                    _ => Ok(()),
                }
            })
        })
        .await?;
    Reply::json(StatusCode::ACCEPTED, &json!({"group_type": view(&ctx, &kind)}))
}

/// `PUT /group_types/{id}`
#[derive(Deserialize, Versioned)]
pub struct UpdateType {
    name: Option<String>,
    description: Option<String>,
    #[serde(default, deserialize_with = "boolean")]
    is_public: Option<bool>,
}

impl Wrapper for UpdateType {
    const KEY: &'static str = "group_type";
}

pub async fn update(app: Cinder, ctx: Context, Path(id): Path<String>, Body(body): Body<UpdateType>) -> Result<Reply> {
    let kind = find(app.db().read(), &id).await?;
    if body.name.is_none() && body.description.is_none() && body.is_public.is_none() {
        return Err(Error::bad_request("Specify group type name, description or a combination thereof."));
    }
    let mut row = ActiveModel { ..Default::default() };
    if let Some(name) = text("name", body.name)? {
        let taken = Entity::find().filter(Column::Name.eq(&name)).filter(Column::Id.ne(&kind.id)).one(app.db().read()).await?;
        if taken.is_some() || name.is_empty() {
            return Err(Error::conflict(format!("Group Type {name} already exists.")));
        }
        row.name = Set(name);
    }
    if let Some(description) = text("description", body.description)? {
        row.description = Set(Some(description));
    }
    if let Some(is_public) = body.is_public {
        row.is_public = Set(is_public);
    }
    write(&app, &kind.id, row).await?;
    show(app, ctx, Path(kind.id)).await
}

pub async fn delete(app: Cinder, _: Context, Path(id): Path<String>) -> Result<Reply> {
    let kind = find(app.db().read(), &id).await?;
    app.db()
        .write(move |tx| {
            Box::pin(async move {
                if groups::Entity::find().filter(groups::Column::TypeId.eq(&kind.id)).one(tx).await?.is_some() {
                    return Err(Error::bad_request("Target group type is still in use."));
                }
                Entity::delete_by_id(&kind.id).exec(tx).await?;
                Ok(())
            })
        })
        .await?;
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

/// Changes columns of a group type.
pub async fn write(app: &Cinder, id: &str, row: ActiveModel) -> Result<()> {
    let (id, row) = (id.to_owned(), ActiveModel { updated_at: Set(Some(Timestamp::now())), ..row });
    app.db()
        .write(move |tx| {
            Box::pin(async move {
                Entity::update_many().set(row).filter(Column::Id.eq(id)).exec(tx).await?;
                Ok(())
            })
        })
        .await
}
