//! `/v3/regions`: places in which services have endpoints.

use http::StatusCode;
use kit::call::{Json, Path, Query};
use kit::{Context, Error, Reply, Result, ids};
use sea_orm::entity::prelude::*;
use sea_orm::{DatabaseTransaction, IntoActiveModel};
use serde_json::{Value, json};

use crate::fields::{Extra, Fields};
use crate::{Keystone, endpoints, fault, list, reference};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "regions")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub description: String,
    pub parent_region_id: Option<String>,
    pub extra: Extra,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// `GET /v3/regions`
pub async fn list(keystone: Keystone, ctx: Context, query: Query) -> Result<Reply> {
    let mut select = Entity::find();
    if let Some(parent) = query.get("parent_region_id") {
        select = select.filter(Column::ParentRegionId.eq(parent));
    }
    let page = list::page(keystone.db.read(), select, Column::Id, &query, |region: &Model| &region.id).await?;
    let items = page.rows.iter().map(|region| view(&ctx, region)).collect();
    list::envelope(&ctx, "/regions", &query, "regions", items, page.next)
}

/// `GET /v3/regions/{region_id}`
pub async fn show(keystone: Keystone, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let region = fetch(keystone.db.read(), &id).await?;
    Reply::ok(&json!({"region": view(&ctx, &region)}))
}

/// `POST /v3/regions`
pub async fn create(keystone: Keystone, ctx: Context, Json(body): Json<Value>) -> Result<Reply> {
    let mut fields = Fields::of(body, "region")?;
    let id = fields.text("id")?.flatten().filter(|id| !id.is_empty()).unwrap_or_else(ids::hex);
    store(&keystone, &ctx, id, fields).await
}

/// `PUT /v3/regions/{region_id}`
pub async fn create_named(keystone: Keystone, ctx: Context, Path(id): Path<String>, Json(body): Json<Value>) -> Result<Reply> {
    let mut fields = Fields::of(body, "region")?;
    fields.same("id", &id)?;
    store(&keystone, &ctx, id, fields).await
}

/// `PATCH /v3/regions/{region_id}`
pub async fn update(keystone: Keystone, ctx: Context, Path(id): Path<String>, Json(body): Json<Value>) -> Result<Reply> {
    let region = fetch(keystone.db.read(), &id).await?;
    let mut fields = Fields::of(body, "region")?;
    let region = Model {
        description: fields.text("description")?.map_or_else(|| region.description.clone(), Option::unwrap_or_default),
        parent_region_id: fields.text("parent_region_id")?.unwrap_or_else(|| region.parent_region_id.clone()),
        extra: fields.extra_over(&region.extra),
        ..region
    };
    let region = keystone
        .write(move |tx| {
            Box::pin(async move {
                if let Some(parent) = &region.parent_region_id {
                    not_below(tx, parent, &region.id).await?;
                }
                Ok(region.into_active_model().reset_all().update(tx).await?)
            })
        })
        .await?;
    Reply::ok(&json!({"region": view(&ctx, &region)}))
}

/// `DELETE /v3/regions/{region_id}`: one without regions below it and without endpoints.
pub async fn delete(keystone: Keystone, _: Context, Path(id): Path<String>) -> Result<Reply> {
    keystone
        .write(move |tx| {
            Box::pin(async move {
                fetch(tx, &id).await?;
                let below = Entity::find().filter(Column::ParentRegionId.eq(&id)).one(tx).await?;
                let endpoint = endpoints::Entity::find().filter(endpoints::Column::RegionId.eq(&id)).one(tx).await?;
                if below.is_some() || endpoint.is_some() {
                    return Err(fault::refused(&format!("unable to delete region {id} because it has child regions or endpoints.")));
                }
                Entity::delete_by_id(id).exec(tx).await?;
                reference::changed(tx).await
            })
        })
        .await?;
    Reply::no_content()
}

pub async fn fetch(db: &impl ConnectionTrait, id: &str) -> Result<Model> {
    Entity::find_by_id(id).one(db).await?.ok_or_else(|| fault::could_not_find("region", id))
}

async fn store(keystone: &Keystone, ctx: &Context, id: String, mut fields: Fields) -> Result<Reply> {
    if id.chars().count() > 255 {
        return Err(Error::bad_request("Invalid input for field 'id': it is too long"));
    }
    let region = Model {
        id,
        description: fields.text("description")?.flatten().unwrap_or_default(),
        parent_region_id: fields.text("parent_region_id")?.flatten(),
        extra: fields.extra(),
    };
    let region = keystone.write(move |tx| Box::pin(insert(tx, region))).await?;
    Reply::json(StatusCode::CREATED, &json!({"region": view(ctx, &region)}))
}

/// Inserts a region whose parent, if any, exists.
pub async fn insert(tx: &DatabaseTransaction, region: Model) -> Result<Model> {
    if let Some(parent) = &region.parent_region_id {
        fetch(tx, parent).await?;
    }
    let id = region.id.clone();
    let taken = |error: DbErr| if kit::db::is_duplicate(&error) { duplicate(&id) } else { error.into() };
    region.into_active_model().insert(tx).await.map_err(taken)
}

fn duplicate(id: &str) -> Error {
    Error::conflict(format!("Conflict occurred attempting to store region - Duplicate ID, {id}."))
}

/// A region may not lie in itself, however many others are between.
async fn not_below(tx: &DatabaseTransaction, parent: &str, id: &str) -> Result<()> {
    let mut above = Some(parent.to_owned());
    while let Some(next) = above {
        if next == id {
            return Err(Error::bad_request(format!("Circular reference in region parents: {id}.")));
        }
        above = fetch(tx, &next).await?.parent_region_id;
    }
    Ok(())
}

fn view(ctx: &Context, region: &Model) -> Value {
    let known = json!({"id": region.id, "description": region.description, "parent_region_id": region.parent_region_id});
    list::object(ctx, &format!("/regions/{}", region.id), known, &region.extra)
}
