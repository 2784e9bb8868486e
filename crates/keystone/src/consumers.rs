//! `/v3/OS-OAUTH1/consumers`: programs that can be told to act for users, by the exchange of [`crate::oauth1`].

use kit::call::{Json, Path, Query};
use kit::{Context, Error, Reply, Result, ids};
use sea_orm::IntoActiveModel;
use sea_orm::entity::prelude::*;
use serde_json::{Value, json};

use crate::fields::{Extra, Fields};
use crate::{Keystone, fault, list, oauth1};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "consumers")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub description: Option<String>,
    /// The secret, sealed with the keys for credentials.
    pub sealed: String,
    pub extra: Extra,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// `GET /v3/OS-OAUTH1/consumers`
pub async fn list(keystone: Keystone, ctx: Context, query: Query) -> Result<Reply> {
    let page = list::page(keystone.db.read(), Entity::find(), Column::Id, &query, |consumer: &Model| &consumer.id).await?;
    let items = page.rows.iter().map(|consumer| view(&ctx, consumer)).collect();
    list::envelope(&ctx, "/OS-OAUTH1/consumers", &query, "consumers", items, page.next)
}

/// `GET /v3/OS-OAUTH1/consumers/{consumer_id}`
pub async fn show(keystone: Keystone, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let consumer = fetch(keystone.db.read(), &id).await?;
    Reply::ok(&json!({"consumer": view(&ctx, &consumer)}))
}

/// `POST /v3/OS-OAUTH1/consumers`: the answer alone shows the secret.
pub async fn create(keystone: Keystone, ctx: Context, Json(body): Json<Value>) -> Result<Reply> {
    let mut fields = Fields::of(body, "consumer")?;
    if fields.take("secret").is_some() {
        return Err(Error::bad_request("Invalid input for field 'secret': it is made by keystone"));
    }
    let secret = ids::hex();
    let sealed = keystone.credential_keys.seal(secret.as_bytes());
    let consumer = Model { id: ids::hex(), description: fields.text("description")?.flatten(), sealed, extra: fields.extra() };
    let consumer = keystone.write(move |tx| Box::pin(async move { Ok(consumer.into_active_model().insert(tx).await?) })).await?;
    let mut object = view(&ctx, &consumer);
    if let Value::Object(map) = &mut object {
        map.insert("secret".into(), secret.into());
    }
    Reply::created(&json!({"consumer": object}))
}

/// `PATCH /v3/OS-OAUTH1/consumers/{consumer_id}`
pub async fn update(keystone: Keystone, ctx: Context, Path(id): Path<String>, Json(body): Json<Value>) -> Result<Reply> {
    let consumer = fetch(keystone.db.read(), &id).await?;
    let mut fields = Fields::of(body, "consumer")?;
    if fields.take("secret").is_some() {
        return Err(Error::bad_request("Cannot change consumer secret"));
    }
    let description = fields.text("description")?.unwrap_or_else(|| consumer.description.clone());
    let consumer = Model { description, extra: fields.extra_over(&consumer.extra), ..consumer };
    let consumer =
        keystone.write(move |tx| Box::pin(async move { Ok(consumer.into_active_model().reset_all().update(tx).await?) })).await?;
    Reply::ok(&json!({"consumer": view(&ctx, &consumer)}))
}

/// `DELETE /v3/OS-OAUTH1/consumers/{consumer_id}`
pub async fn delete(keystone: Keystone, _: Context, Path(id): Path<String>) -> Result<Reply> {
    keystone
        .write(move |tx| {
            Box::pin(async move {
                fetch(tx, &id).await?;
                oauth1::delete_of(tx, &[], &[], std::slice::from_ref(&id)).await?;
                Ok(Entity::delete_by_id(id).exec(tx).await.map(drop)?)
            })
        })
        .await?;
    Reply::no_content()
}

pub async fn find(db: &impl ConnectionTrait, id: &str) -> Result<Option<Model>> {
    Ok(Entity::find_by_id(id).one(db).await?)
}

async fn fetch(db: &impl ConnectionTrait, id: &str) -> Result<Model> {
    find(db, id).await?.ok_or_else(|| fault::could_not_find("consumer", id))
}

fn view(ctx: &Context, consumer: &Model) -> Value {
    let known = json!({"id": consumer.id, "description": consumer.description});
    list::object(ctx, &format!("/OS-OAUTH1/consumers/{}", consumer.id), known, &consumer.extra)
}
