//! `/v3/OS-FEDERATION/service_providers`: other clouds to which this one vouches for its users. Tokens name those that are enabled.

use kit::call::{Json, Path, Query};
use kit::{Context, Error, Reply, Result};
use sea_orm::IntoActiveModel;
use sea_orm::entity::prelude::*;
use serde_json::{Value, json};

use super::{chosen_id, taken};
use crate::fields::Fields;
use crate::{Keystone, fault, list, reference};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "service_providers")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub enabled: bool,
    pub description: Option<String>,
    pub auth_url: String,
    pub sp_url: String,
    pub relay_state_prefix: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// `GET /v3/OS-FEDERATION/service_providers`
pub async fn list(keystone: Keystone, ctx: Context, query: Query) -> Result<Reply> {
    let select = Entity::find().filter(list::by_text(&query, "id", Column::Id)).filter(list::by_flag(&query, "enabled", Column::Enabled));
    let page = list::page(keystone.db.read(), select, Column::Id, &query, |provider: &Model| &provider.id).await?;
    let items = page.rows.iter().map(|provider| view(&ctx, provider)).collect();
    list::envelope(&ctx, "/OS-FEDERATION/service_providers", &query, "service_providers", items, page.next)
}

/// `GET /v3/OS-FEDERATION/service_providers/{sp_id}`
pub async fn show(keystone: Keystone, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let provider = fetch(keystone.db.read(), &id).await?;
    Reply::ok(&json!({"service_provider": view(&ctx, &provider)}))
}

/// `PUT /v3/OS-FEDERATION/service_providers/{sp_id}`
pub async fn create(keystone: Keystone, ctx: Context, Path(id): Path<String>, Json(body): Json<Value>) -> Result<Reply> {
    chosen_id(&id)?;
    let mut fields = Fields::of(body, "service_provider")?;
    let missing = |key: &'static str| move || Error::bad_request(format!("'{key}' is a required property"));
    let provider = Model {
        id,
        enabled: fields.flag("enabled")?.unwrap_or(false),
        description: fields.text("description")?.flatten(),
        auth_url: url(&mut fields, "auth_url")?.ok_or_else(missing("auth_url"))?,
        sp_url: url(&mut fields, "sp_url")?.ok_or_else(missing("sp_url"))?,
        relay_state_prefix: fields.text("relay_state_prefix")?.flatten().unwrap_or_else(|| "ss:mem:".into()),
    };
    fields.none_left()?;
    let provider = keystone
        .write(move |tx| {
            Box::pin(async move {
                let id = provider.id.clone();
                let provider = provider.into_active_model().insert(tx).await.map_err(|error| taken(error, "service_provider", &id))?;
                reference::changed(tx).await?;
                Ok(provider)
            })
        })
        .await?;
    Reply::created(&json!({"service_provider": view(&ctx, &provider)}))
}

/// `PATCH /v3/OS-FEDERATION/service_providers/{sp_id}`
pub async fn update(keystone: Keystone, ctx: Context, Path(id): Path<String>, Json(body): Json<Value>) -> Result<Reply> {
    let old = fetch(keystone.db.read(), &id).await?;
    let mut fields = Fields::of(body, "service_provider")?;
    let provider = Model {
        id,
        enabled: fields.flag("enabled")?.unwrap_or(old.enabled),
        description: fields.text("description")?.unwrap_or(old.description),
        auth_url: url(&mut fields, "auth_url")?.unwrap_or(old.auth_url),
        sp_url: url(&mut fields, "sp_url")?.unwrap_or(old.sp_url),
        relay_state_prefix: fields.text("relay_state_prefix")?.flatten().unwrap_or(old.relay_state_prefix),
    };
    fields.none_left()?;
    let provider = keystone
        .write(move |tx| {
            Box::pin(async move {
                let provider = provider.into_active_model().reset_all().update(tx).await?;
                reference::changed(tx).await?;
                Ok(provider)
            })
        })
        .await?;
    Reply::ok(&json!({"service_provider": view(&ctx, &provider)}))
}

/// `DELETE /v3/OS-FEDERATION/service_providers/{sp_id}`
pub async fn delete(keystone: Keystone, _: Context, Path(id): Path<String>) -> Result<Reply> {
    keystone
        .write(move |tx| {
            Box::pin(async move {
                fetch(tx, &id).await?;
                Entity::delete_by_id(id).exec(tx).await?;
                reference::changed(tx).await
            })
        })
        .await?;
    Reply::no_content()
}

async fn fetch(db: &impl ConnectionTrait, id: &str) -> Result<Model> {
    Entity::find_by_id(id).one(db).await?.ok_or_else(|| fault::could_not_find("Service Provider", id))
}

/// An absolute address.
fn url(fields: &mut Fields, key: &str) -> Result<Option<String>> {
    let Some(text) = fields.name(key, 225)? else { return Ok(None) };
    let is_url = text.split_once("://").is_some_and(|(scheme, rest)| {
        let letters = !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte));
        letters && !rest.is_empty() && !rest.contains(char::is_whitespace)
    });
    if is_url { Ok(Some(text)) } else { Err(Error::bad_request(format!("Invalid input for field '{key}': '{text}' is not a URL"))) }
}

fn view(ctx: &Context, provider: &Model) -> Value {
    json!({
        "id": provider.id, "enabled": provider.enabled, "description": provider.description, "auth_url": provider.auth_url,
        "sp_url": provider.sp_url, "relay_state_prefix": provider.relay_state_prefix,
        "links": {"self": list::link(ctx, &format!("/OS-FEDERATION/service_providers/{}", provider.id))},
    })
}
