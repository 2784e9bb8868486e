//! `/v3/services`: what there is in the catalog.

use kit::call::{Json, Path, Query};
use kit::{Context, Error, Reply, Result, ids};
use sea_orm::IntoActiveModel;
use sea_orm::entity::prelude::*;
use serde_json::{Value, json};

use crate::fields::{Extra, Fields};
use crate::limits::{self, registered};
use crate::policies::associations;
use crate::{Keystone, endpoints, fault, list, reference};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "services")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub r#type: String,
    pub name: Option<String>,
    pub description: Option<String>,
    pub enabled: bool,
    pub extra: Extra,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// `GET /v3/services`
pub async fn list(keystone: Keystone, ctx: Context, query: Query) -> Result<Reply> {
    let select = Entity::find()
        .filter(list::by_text(&query, "name", Column::Name))
        .filter(list::by_text(&query, "type", Column::Type))
        .filter(list::by_flag(&query, "enabled", Column::Enabled));
    let page = list::page(keystone.db.read(), select, Column::Id, &query, |service: &Model| &service.id).await?;
    let items = page.rows.iter().map(|service| view(&ctx, service)).collect();
    list::envelope(&ctx, "/services", &query, "services", items, page.next)
}

/// `GET /v3/services/{service_id}`
pub async fn show(keystone: Keystone, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let service = fetch(keystone.db.read(), &id).await?;
    Reply::ok(&json!({"service": view(&ctx, &service)}))
}

/// `POST /v3/services`
pub async fn create(keystone: Keystone, ctx: Context, Json(body): Json<Value>) -> Result<Reply> {
    let mut fields = Fields::of(body, "service")?;
    let service = Model {
        id: ids::hex(),
        r#type: fields.name("type", 255)?.ok_or_else(|| Error::bad_request("'type' is a required property"))?,
        name: fields.text("name")?.flatten(),
        description: fields.text("description")?.flatten(),
        enabled: fields.flag("enabled")?.unwrap_or(true),
        extra: fields.extra(),
    };
    let service = keystone
        .write(move |tx| {
            Box::pin(async move {
                reference::changed(tx).await?;
                Ok(service.into_active_model().insert(tx).await?)
            })
        })
        .await?;
    Reply::created(&json!({"service": view(&ctx, &service)}))
}

/// `PATCH /v3/services/{service_id}`
pub async fn update(keystone: Keystone, ctx: Context, Path(id): Path<String>, Json(body): Json<Value>) -> Result<Reply> {
    let service = fetch(keystone.db.read(), &id).await?;
    let mut fields = Fields::of(body, "service")?;
    let service = Model {
        r#type: fields.name("type", 255)?.unwrap_or_else(|| service.r#type.clone()),
        name: fields.text("name")?.unwrap_or_else(|| service.name.clone()),
        description: fields.text("description")?.unwrap_or_else(|| service.description.clone()),
        enabled: fields.flag("enabled")?.unwrap_or(service.enabled),
        extra: fields.extra_over(&service.extra),
        ..service
    };
    let service = keystone
        .write(move |tx| {
            Box::pin(async move {
                reference::changed(tx).await?;
                Ok(service.into_active_model().reset_all().update(tx).await?)
            })
        })
        .await?;
    Reply::ok(&json!({"service": view(&ctx, &service)}))
}

/// `DELETE /v3/services/{service_id}`: with its endpoints.
pub async fn delete(keystone: Keystone, _: Context, Path(id): Path<String>) -> Result<Reply> {
    keystone
        .write(move |tx| {
            Box::pin(async move {
                fetch(tx, &id).await?;
                let of_service = endpoints::Entity::find().filter(endpoints::Column::ServiceId.eq(&id)).all(tx).await?;
                endpoints::remove(tx, of_service.into_iter().map(|endpoint| endpoint.id).collect()).await?;
                associations::Entity::delete_many().filter(associations::Column::ServiceId.eq(&id)).exec(tx).await?;
                limits::Entity::delete_many().filter(limits::Column::ServiceId.eq(&id)).exec(tx).await?;
                registered::Entity::delete_many().filter(registered::Column::ServiceId.eq(&id)).exec(tx).await?;
                Entity::delete_by_id(id).exec(tx).await?;
                reference::changed(tx).await
            })
        })
        .await?;
    Reply::no_content()
}

pub async fn fetch(db: &impl ConnectionTrait, id: &str) -> Result<Model> {
    Entity::find_by_id(id).one(db).await?.ok_or_else(|| fault::could_not_find("service", id))
}

fn view(ctx: &Context, service: &Model) -> Value {
    let mut known = json!({"id": service.id, "type": service.r#type, "enabled": service.enabled});
    if let Value::Object(map) = &mut known {
        map.extend(service.name.clone().map(|name| ("name".to_owned(), name.into())));
        map.extend(service.description.clone().map(|text| ("description".to_owned(), text.into())));
    }
    list::object(ctx, &format!("/services/{}", service.id), known, &service.extra)
}
