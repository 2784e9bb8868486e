//! `/types`

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

use super::{ActiveModel, Column, DEFAULT, Entity, VolumeType, specs, store};
use crate::body::{Body, boolean, text};
use crate::microversions::TYPE_SPEC_FILTER;
use crate::page::{self, Sorts};
use crate::policies::shows;
use crate::quotas::store as quota;
use crate::{Cinder, filter};

const SORTS: Sorts<Entity> = &[
    ("id", Column::Id),
    ("name", Column::Name),
    ("description", Column::Description),
    ("is_public", Column::IsPublic),
    ("created_at", Column::CreatedAt),
    ("updated_at", Column::UpdatedAt),
];

/// A type as the caller may see it.
pub fn view(ctx: &Context, kind: &VolumeType) -> Value {
    let mut view = json!({
        "id": kind.id, "name": kind.name, "description": kind.description, "is_public": kind.is_public,
        "os-volume-type-access:is_public": kind.is_public,
    });
    if shows(ctx, "volume_extension:access_types_extra_specs") {
        view["extra_specs"] = json!(specs::visible(ctx, kind));
    }
    if shows(ctx, "volume_extension:access_types_qos_specs_id") {
        view["qos_specs_id"] = json!(kind.qos_id);
    }
    view
}

/// What changed a type answers with: not all there is to say of it.
fn changed(ctx: &Context, kind: &VolumeType, unsaid: &[&str]) -> Result<Reply> {
    let mut view = view(ctx, kind);
    if let Some(fields) = view.as_object_mut() {
        fields.retain(|key, _| !unsaid.contains(&key.as_str()));
    }
    Reply::ok(&json!({"volume_type": view}))
}

pub async fn list(app: Cinder, ctx: Context, query: Query) -> Result<Reply> {
    let mut select = Entity::find();
    let public = query.get("is_public").unwrap_or("true");
    if !ctx.is_admin() {
        select = select.filter(store::seen_by(ctx.project_id()?));
    } else if !public.eq_ignore_ascii_case("none") {
        select = select.filter(Column::IsPublic.eq(filter::flag("is_public", public)?));
    }
    for (key, value) in &query.0 {
        select = match key.as_str() {
            "name" => select.filter(Column::Name.eq(value)),
            "description" => select.filter(Column::Description.eq(value)),
            _ => select,
        };
    }
    let mut page = page::fetch(app.db().read(), &ctx, &query, select, SORTS).await?;
    if let Some(wanted) = query.get("extra_specs").filter(|_| ctx.speaks(TYPE_SPEC_FILTER)) {
        // types are few, and their specs one column: the page is made first
        let wanted = filter::pairs("extra_specs", wanted)?;
        let has =
            |kind: &VolumeType| wanted.iter().all(|(key, value)| specs::visible(&ctx, kind).get(key.as_str()) == Some(&value.as_str()));
        let rows = page.take().into_iter().filter(has).collect();
        page = page.with(rows);
    }
    page.map(|kind| view(&ctx, &kind)).reply(&ctx, &query, "/types", "volume_types", "volume_type_links")
}

pub async fn show(app: Cinder, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    // `default` is a name of its own in this place
    let kind = match id.as_str() {
        "default" => store::default_of(app.db().read(), ctx.project_id()?).await?,
        id => store::find(app.db().read(), &ctx, id).await?,
    };
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
    let extra_specs = body.extra_specs.unwrap_or_default();
    specs::check(&extra_specs)?;
    let kind = VolumeType {
        id: ids::uuid(),
        name: name.ok_or_else(|| Error::bad_request("Invalid input for field/attribute name. Value: . '' is too short"))?,
        description: text("description", body.description)?,
        is_public: body.is_public.unwrap_or(true),
        extra_specs: DbJson(extra_specs),
        qos_id: None,
        created_at: Timestamp::now(),
        updated_at: None,
    };
    let (row, taken) = (ActiveModel::from(kind.clone()), Error::conflict(format!("Volume Type {} already exists.", kind.name)));
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
    changed(&ctx, &kind, &["qos_specs_id"])
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
    if body.name.is_none() && body.description.is_none() && body.is_public.is_none() {
        return Err(Error::bad_request("Specify volume type name, description, is_public or a combination thereof."));
    }
    let mut row = ActiveModel { ..Default::default() };
    if let Some(name) = text("name", body.name)? {
        if name.is_empty() {
            return Err(Error::bad_request("Volume type name can not be empty."));
        }
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
    let (id, old) = (kind.id.clone(), kind.name);
    app.db()
        .write(move |tx| {
            Box::pin(async move {
                if let Some(name) = row.name.try_as_ref() {
                    quota::rename_type(tx, &old, name).await?;
                }
                let row = ActiveModel { updated_at: Set(Some(Timestamp::now())), ..row };
                Entity::update_many().set(row).filter(Column::Id.eq(id)).exec(tx).await?;
                Ok(())
            })
        })
        .await?;
    changed(&ctx, &store::fetch(app.db().read(), &kind.id).await?, &["qos_specs_id", "os-volume-type-access:is_public"])
}

pub async fn delete(app: Cinder, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let kind = store::find(app.db().read(), &ctx, &id).await?;
    if kind.name == DEFAULT {
        return Err(Error::bad_request(format!("The volume type {DEFAULT} is the default volume type and cannot be deleted.")));
    }
    app.db().write(move |tx| Box::pin(async move { store::remove(tx, &kind.id).await })).await?;
    Ok(Reply::empty(StatusCode::ACCEPTED))
}
