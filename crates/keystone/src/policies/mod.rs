//! `/v3/policies`: policy documents that keystone keeps for other programs and does not read itself. [`associations`] says whose they are.

pub mod associations;

use kit::call::{Json, Path, Query};
use kit::{Context, Error, Reply, Result, ids};
use sea_orm::IntoActiveModel;
use sea_orm::entity::prelude::*;
use serde_json::{Value, json};

use crate::fields::{Extra, Fields};
use crate::{Keystone, fault, list};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "policies")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// A MIME type.
    pub r#type: String,
    /// As it came: text or any other JSON.
    pub blob: kit::db::Json<Value>,
    pub extra: Extra,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// `GET /v3/policies`
pub async fn list(keystone: Keystone, ctx: Context, query: Query) -> Result<Reply> {
    let select = Entity::find().filter(list::by_text(&query, "type", Column::Type));
    let page = list::page(keystone.db.read(), select, Column::Id, &query, |policy: &Model| &policy.id).await?;
    let items = page.rows.iter().map(|policy| view(&ctx, policy)).collect();
    list::envelope(&ctx, "/policies", &query, "policies", items, page.next)
}

/// `GET /v3/policies/{policy_id}`
pub async fn show(keystone: Keystone, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let policy = fetch(keystone.db.read(), &id).await?;
    Reply::ok(&json!({"policy": view(&ctx, &policy)}))
}

/// `POST /v3/policies`
pub async fn create(keystone: Keystone, ctx: Context, Json(body): Json<Value>) -> Result<Reply> {
    let mut fields = Fields::of(body, "policy")?;
    let blob = fields.take("blob").ok_or_else(|| Error::bad_request("'blob' is a required property"))?;
    let policy = Model { id: ids::hex(), r#type: fields.required("type")?, blob: kit::db::Json(blob), extra: fields.extra() };
    let policy = keystone.write(move |tx| Box::pin(async move { Ok(policy.into_active_model().insert(tx).await?) })).await?;
    Reply::created(&json!({"policy": view(&ctx, &policy)}))
}

/// `PATCH /v3/policies/{policy_id}`
pub async fn update(keystone: Keystone, ctx: Context, Path(id): Path<String>, Json(body): Json<Value>) -> Result<Reply> {
    let policy = fetch(keystone.db.read(), &id).await?;
    let mut fields = Fields::of(body, "policy")?;
    let policy = Model {
        r#type: fields.name("type", 255)?.unwrap_or_else(|| policy.r#type.clone()),
        blob: fields.take("blob").map_or_else(|| policy.blob.clone(), kit::db::Json),
        extra: fields.extra_over(&policy.extra),
        ..policy
    };
    let policy = keystone.write(move |tx| Box::pin(async move { Ok(policy.into_active_model().reset_all().update(tx).await?) })).await?;
    Reply::ok(&json!({"policy": view(&ctx, &policy)}))
}

/// `DELETE /v3/policies/{policy_id}`
pub async fn delete(keystone: Keystone, _: Context, Path(id): Path<String>) -> Result<Reply> {
    keystone
        .write(move |tx| {
            Box::pin(async move {
                fetch(tx, &id).await?;
                associations::Entity::delete_many().filter(associations::Column::PolicyId.eq(&id)).exec(tx).await?;
                Ok(Entity::delete_by_id(id).exec(tx).await.map(drop)?)
            })
        })
        .await?;
    Reply::no_content()
}

pub async fn fetch(db: &impl ConnectionTrait, id: &str) -> Result<Model> {
    Entity::find_by_id(id).one(db).await?.ok_or_else(|| fault::could_not_find("policy", id))
}

/// A policy as the API shows it.
pub fn view(ctx: &Context, policy: &Model) -> Value {
    let known = json!({"id": policy.id, "type": policy.r#type, "blob": policy.blob.0});
    list::object(ctx, &format!("/policies/{}", policy.id), known, &policy.extra)
}
