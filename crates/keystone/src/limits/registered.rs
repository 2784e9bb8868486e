//! `/v3/registered_limits`: the defaults.

use http::StatusCode;
use kit::call::{Json, Path, Query};
use kit::db::is_duplicate;
use kit::{Context, Error, Reply, Result, ids};
use sea_orm::IntoActiveModel;
use sea_orm::entity::prelude::*;
use serde_json::{Value, json};

use super::{known, or_null};
use crate::fields::Fields;
use crate::{Keystone, fault, limits, list};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "registered_limits")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub service_id: String,
    /// Empty for no region.
    pub region_id: String,
    pub resource_name: String,
    pub default_limit: i64,
    pub description: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// `GET /v3/registered_limits`
pub async fn list(keystone: Keystone, ctx: Context, query: Query) -> Result<Reply> {
    let mut select = Entity::find();
    for (key, column) in [("service_id", Column::ServiceId), ("region_id", Column::RegionId), ("resource_name", Column::ResourceName)] {
        if let Some(value) = query.get(key) {
            select = select.filter(column.eq(value));
        }
    }
    let page = list::page(keystone.db.read(), select, Column::Id, &query, |limit: &Model| &limit.id).await?;
    let items = page.rows.iter().map(|limit| view(&ctx, limit)).collect();
    list::envelope(&ctx, "/registered_limits", &query, "registered_limits", items, page.next)
}

/// `GET /v3/registered_limits/{registered_limit_id}`
pub async fn show(keystone: Keystone, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let limit = fetch(keystone.db.read(), &id).await?;
    Reply::ok(&json!({"registered_limit": view(&ctx, &limit)}))
}

/// `POST /v3/registered_limits`: all of a list, or none.
pub async fn create(keystone: Keystone, ctx: Context, Json(body): Json<Value>) -> Result<Reply> {
    let rows = Fields::each_of(body, "registered_limits")?.into_iter().map(read).collect::<Result<Vec<_>>>()?;
    let rows = keystone
        .write(move |tx| {
            Box::pin(async move {
                let mut made = Vec::new();
                for row in rows {
                    known(tx, &row.service_id, &row.region_id).await?;
                    made.push(row.into_active_model().insert(tx).await.map_err(taken)?);
                }
                Ok(made)
            })
        })
        .await?;
    let items: Vec<Value> = rows.iter().map(|row| view(&ctx, row)).collect();
    let links = json!({"self": list::link(&ctx, "/registered_limits"), "previous": null, "next": null});
    Reply::json(StatusCode::CREATED, &json!({"registered_limits": items, "links": links}))
}

/// `PATCH /v3/registered_limits/{registered_limit_id}`: one in use keeps what it is about.
pub async fn update(keystone: Keystone, ctx: Context, Path(id): Path<String>, Json(body): Json<Value>) -> Result<Reply> {
    let old = fetch(keystone.db.read(), &id).await?;
    let mut fields = Fields::of(body, "registered_limit")?;
    let limit = Model {
        service_id: fields.text("service_id")?.flatten().unwrap_or_else(|| old.service_id.clone()),
        region_id: fields.text("region_id")?.map_or_else(|| old.region_id.clone(), Option::unwrap_or_default),
        resource_name: fields.name("resource_name", 255)?.unwrap_or_else(|| old.resource_name.clone()),
        default_limit: limit_of(&mut fields, "default_limit")?.unwrap_or(old.default_limit),
        description: fields.text("description")?.unwrap_or_else(|| old.description.clone()),
        id,
    };
    let limit = keystone
        .write(move |tx| {
            Box::pin(async move {
                let about = |row: &Model| (row.service_id.clone(), row.region_id.clone(), row.resource_name.clone());
                if about(&old) != about(&limit) {
                    free(tx, &old, "update").await?;
                }
                known(tx, &limit.service_id, &limit.region_id).await?;
                limit.into_active_model().reset_all().update(tx).await.map_err(taken)
            })
        })
        .await?;
    Reply::ok(&json!({"registered_limit": view(&ctx, &limit)}))
}

/// `DELETE /v3/registered_limits/{registered_limit_id}`: one not in use.
pub async fn delete(keystone: Keystone, _: Context, Path(id): Path<String>) -> Result<Reply> {
    keystone
        .write(move |tx| {
            Box::pin(async move {
                let limit = fetch(tx, &id).await?;
                free(tx, &limit, "delete").await?;
                Ok(Entity::delete_by_id(id).exec(tx).await.map(drop)?)
            })
        })
        .await?;
    Reply::no_content()
}

/// The default for what a limit is about, if there is one.
pub async fn of(db: &impl ConnectionTrait, service_id: &str, region_id: &str, resource_name: &str) -> Result<Option<Model>> {
    let about = Entity::find().filter(Column::ServiceId.eq(service_id)).filter(Column::RegionId.eq(region_id));
    Ok(about.filter(Column::ResourceName.eq(resource_name)).one(db).await?)
}

/// A limit: a number, -1 for none.
pub fn limit_of(fields: &mut Fields, key: &str) -> Result<Option<i64>> {
    match fields.number(key)? {
        Some(limit) if limit < -1 || limit > i64::from(i32::MAX) => {
            Err(Error::bad_request(format!("Invalid input for field '{key}': {limit} is less than the minimum of -1 or too large")))
        }
        limit => Ok(limit),
    }
}

fn read(mut fields: Fields) -> Result<Model> {
    let row = Model {
        id: ids::hex(),
        service_id: fields.required("service_id")?,
        region_id: fields.text("region_id")?.flatten().unwrap_or_default(),
        resource_name: fields.name("resource_name", 255)?.ok_or_else(|| Error::bad_request("'resource_name' is a required property"))?,
        default_limit: limit_of(&mut fields, "default_limit")?
            .ok_or_else(|| Error::bad_request("'default_limit' is a required property"))?,
        description: fields.text("description")?.flatten(),
    };
    fields.none_left()?;
    Ok(row)
}

async fn fetch(db: &impl ConnectionTrait, id: &str) -> Result<Model> {
    Entity::find_by_id(id).one(db).await?.ok_or_else(|| fault::could_not_find("registered limit for", id))
}

async fn free(db: &impl ConnectionTrait, row: &Model, verb: &str) -> Result<()> {
    let used = limits::Entity::find()
        .filter(limits::Column::ServiceId.eq(&row.service_id))
        .filter(limits::Column::RegionId.eq(&row.region_id))
        .filter(limits::Column::ResourceName.eq(&row.resource_name));
    match used.one(db).await? {
        Some(_) => Err(Error::forbidden(format!(
            "Unable to {verb} registered limit {} because there are project limits associated with it.",
            row.id
        ))),
        None => Ok(()),
    }
}

fn taken(error: DbErr) -> Error {
    if is_duplicate(&error) {
        return Error::conflict("Conflict occurred attempting to store registered_limit - Duplicate entry found.");
    }
    error.into()
}

fn view(ctx: &Context, row: &Model) -> Value {
    json!({
        "id": row.id, "service_id": row.service_id, "region_id": or_null(&row.region_id), "resource_name": row.resource_name,
        "default_limit": row.default_limit, "description": row.description,
        "links": {"self": list::link(ctx, &format!("/registered_limits/{}", row.id))},
    })
}
