//! `/types`

use std::collections::BTreeMap;

use http::StatusCode;
use kit::call::Wrapper;
use kit::clock::Timestamp;
use kit::db::Json as DbJson;
use kit::{Context, Error, Json, Path, Query, Reply, Result, Versioned, ids};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, Set};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ActiveModel, Column, DEFAULT, Entity, VolumeType, store};
use crate::body::{Body, boolean, text};
use crate::{Cinder, volumes};

fn view(ctx: &Context, kind: &VolumeType) -> Value {
    let hidden = |key: &str| !ctx.is_admin() && !matches!(key, "multiattach" | "RESKEY:availability_zones" | "replication_enabled");
    let specs: BTreeMap<_, _> = kind.extra_specs.0.iter().filter(|(key, _)| !hidden(key)).collect();
    let mut view = json!({
        "id": kind.id, "name": kind.name, "description": kind.description, "is_public": kind.is_public,
        "os-volume-type-access:is_public": kind.is_public, "extra_specs": specs,
    });
    if ctx.is_admin() {
        view["qos_specs_id"] = Value::Null;
    }
    view
}

pub async fn list(app: Cinder, ctx: Context, query: Query) -> Result<Reply> {
    let mut select = Entity::find().order_by_asc(Column::CreatedAt).order_by_asc(Column::Id);
    let public = query.get("is_public").unwrap_or("true");
    if !ctx.is_admin() {
        select = select.filter(Column::IsPublic.eq(true));
    } else if !public.eq_ignore_ascii_case("none") {
        select = select.filter(Column::IsPublic.eq(kit::call::truthy(public)));
    }
    let types = select.all(app.db().read()).await?;
    Reply::ok(&json!({"volume_types": types.iter().map(|kind| view(&ctx, kind)).collect::<Vec<_>>()}))
}

pub async fn show(app: Cinder, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    // `default` is a name of its own in this place
    let id = if id == "default" { DEFAULT } else { &id };
    let kind = store::find(app.db().read(), &ctx, id).await?;
    Reply::ok(&json!({"volume_type": view(&ctx, &kind)}))
}

/// `POST /types`
#[derive(Deserialize, Versioned)]
pub struct NewType {
    name: String,
    description: Option<String>,
    #[serde(rename = "os-volume-type-access:is_public", default, deserialize_with = "boolean")]
    is_public: Option<bool>,
    extra_specs: Option<BTreeMap<String, String>>,
}

impl Wrapper for NewType {
    const KEY: &'static str = "volume_type";
}

pub async fn create(app: Cinder, ctx: Context, Body(body): Body<NewType>) -> Result<Reply> {
    let name = text("name", Some(body.name))?.filter(|name| !name.is_empty());
    let kind = VolumeType {
        id: ids::uuid(),
        name: name.ok_or_else(|| Error::bad_request("Invalid input for field/attribute name. Value: . '' is too short"))?,
        description: text("description", body.description)?,
        is_public: body.is_public.unwrap_or(true),
        extra_specs: DbJson(body.extra_specs.unwrap_or_default()),
        created_at: Timestamp::now(),
        updated_at: None,
    };
    let (row, taken) = (ActiveModel::from(kind.clone()), Error::conflict(format!("Volume Type {} already exists.", kind.name)));
    app.db()
        .write(move |tx| {
            Box::pin(async move {
                match Entity::insert(row).exec_without_returning(tx).await {
                    Err(error) if kit::db::is_duplicate(&error) => Err(taken),
                    other => Ok(other.map(drop)?),
                }
            })
        })
        .await?;
    Reply::ok(&json!({"volume_type": view(&ctx, &kind)}))
}

/// `PUT /types/{id}`
#[derive(Deserialize, Versioned)]
pub struct UpdateType {
    name: Option<String>,
    description: Option<String>,
    #[serde(default, deserialize_with = "boolean")]
    is_public: Option<bool>,
}

impl Wrapper for UpdateType {
    const KEY: &'static str = "volume_type";
}

pub async fn update(app: Cinder, ctx: Context, Path(id): Path<String>, Body(body): Body<UpdateType>) -> Result<Reply> {
    let kind = store::find(app.db().read(), &ctx, &id).await?;
    let mut row = ActiveModel { ..Default::default() };
    if let Some(name) = text("name", body.name)? {
        let taken = Entity::find().filter(Column::Name.eq(&name)).filter(Column::Id.ne(&kind.id)).one(app.db().read()).await?;
        if taken.is_some() {
            return Err(Error::conflict(format!("Volume Type {name} already exists.")));
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

pub async fn delete(app: Cinder, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let kind = store::find(app.db().read(), &ctx, &id).await?;
    if kind.name == DEFAULT {
        return Err(Error::bad_request(format!("The volume type {DEFAULT} is the default volume type and cannot be deleted.")));
    }
    app.db()
        .write(move |tx| {
            Box::pin(async move {
                if volumes::store::uses_type(tx, &kind.id).await? {
                    return Err(Error::bad_request("Target volume type is still in use."));
                }
                Entity::delete_by_id(&kind.id).exec(tx).await?;
                Ok(())
            })
        })
        .await?;
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

pub async fn list_specs(app: Cinder, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let kind = store::find(app.db().read(), &ctx, &id).await?;
    Reply::ok(&json!({"extra_specs": view(&ctx, &kind)["extra_specs"]}))
}

/// `{"extra_specs": {...}}`
#[derive(Deserialize)]
pub struct Specs {
    extra_specs: BTreeMap<String, String>,
}

pub async fn add_specs(app: Cinder, ctx: Context, Path(id): Path<String>, Json(body): Json<Specs>) -> Result<Reply> {
    let kind = store::find(app.db().read(), &ctx, &id).await?;
    volumes::metadata::check(&body.extra_specs)?;
    let mut specs = kind.extra_specs.0;
    specs.extend(body.extra_specs.clone());
    write(&app, &kind.id, ActiveModel { extra_specs: Set(DbJson(specs)), ..Default::default() }).await?;
    Reply::ok(&json!({"extra_specs": body.extra_specs}))
}

pub async fn show_spec(app: Cinder, ctx: Context, Path((id, key)): Path<(String, String)>) -> Result<Reply> {
    let kind = store::find(app.db().read(), &ctx, &id).await?;
    let value = kind.extra_specs.0.get(&key).ok_or_else(|| no_spec(&id, &key))?;
    Reply::ok(&json!({key: value}))
}

pub async fn delete_spec(app: Cinder, ctx: Context, Path((id, key)): Path<(String, String)>) -> Result<Reply> {
    let kind = store::find(app.db().read(), &ctx, &id).await?;
    let mut specs = kind.extra_specs.0;
    if specs.remove(&key).is_none() {
        return Err(no_spec(&id, &key));
    }
    write(&app, &kind.id, ActiveModel { extra_specs: Set(DbJson(specs)), ..Default::default() }).await?;
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

fn no_spec(id: &str, key: &str) -> Error {
    Error::not_found(format!("Volume Type {id} has no extra specs with key {key}."))
}

async fn write(app: &Cinder, id: &str, row: ActiveModel) -> Result<()> {
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
