//! `/servers/{id}/metadata`: pairs that the guest sees.

use std::collections::BTreeMap;

use kit::db::Json as JsonColumn;
use kit::{Context, Error, Json, Path, Reply, Result};
use sea_orm::Set;
use serde_json::{Value, json};

use super::instance::{ActiveModel, Model};
use super::states::{METADATA, METADATA_DELETE, Rule};
use super::store::{self, Guard};
use crate::{Nova, quotas, validate};

/// `GET /servers/{id}/metadata`
pub async fn list(app: Nova, ctx: Context, id: Path<String>) -> Result<Reply> {
    let server = store::fetch(&app, &ctx, &id.0).await?;
    Reply::ok(&json!({"metadata": server.metadata.0}))
}

/// `GET /servers/{id}/metadata/{key}`
pub async fn show(app: Nova, ctx: Context, Path((id, key)): Path<(String, String)>) -> Result<Reply> {
    let server = store::fetch(&app, &ctx, &id).await?;
    let value = server.metadata.0.get(&key).ok_or_else(missing)?;
    Reply::ok(&json!({"meta": {key: value}}))
}

/// `POST /servers/{id}/metadata`: adds to what there is.
pub async fn merge(app: Nova, ctx: Context, id: Path<String>, body: Json<Value>) -> Result<Reply> {
    let new = read(body.0, "metadata", ctx.strict)?;
    let server = store::fetch(&app, &ctx, &id.0).await?;
    let mut all = server.metadata.0.clone();
    all.extend(new);
    save(&app, &ctx, server, &METADATA, all.clone()).await?;
    Reply::ok(&json!({"metadata": all}))
}

/// `PUT /servers/{id}/metadata`: replaces what there is.
pub async fn replace(app: Nova, ctx: Context, id: Path<String>, body: Json<Value>) -> Result<Reply> {
    let all = read(body.0, "metadata", ctx.strict)?;
    let server = store::fetch(&app, &ctx, &id.0).await?;
    save(&app, &ctx, server, &METADATA, all.clone()).await?;
    Reply::ok(&json!({"metadata": all}))
}

/// `PUT /servers/{id}/metadata/{key}`
pub async fn update(app: Nova, ctx: Context, Path((id, key)): Path<(String, String)>, body: Json<Value>) -> Result<Reply> {
    let new = read(body.0, "meta", ctx.strict)?;
    if new.len() != 1 {
        return Err(Error::bad_request("Request body contains too many items"));
    }
    let Some(value) = new.get(&key) else { return Err(Error::bad_request("Request body and URI mismatch")) };
    let server = store::fetch(&app, &ctx, &id).await?;
    let mut all = server.metadata.0.clone();
    all.insert(key.clone(), value.clone());
    save(&app, &ctx, server, &METADATA, all).await?;
    Reply::ok(&json!({"meta": new}))
}

/// `DELETE /servers/{id}/metadata/{key}`
pub async fn delete(app: Nova, ctx: Context, Path((id, key)): Path<(String, String)>) -> Result<Reply> {
    let server = store::fetch(&app, &ctx, &id).await?;
    let mut all = server.metadata.0.clone();
    all.remove(&key).ok_or_else(missing)?;
    save(&app, &ctx, server, &METADATA_DELETE, all).await?;
    Reply::no_content()
}

fn read(body: Value, key: &str, strict: bool) -> Result<BTreeMap<String, String>> {
    let items = validate::texts(key, &Value::Object(validate::only(body, key, strict)?))?;
    validate::metadata(key, &items)?;
    Ok(items)
}

async fn save(app: &Nova, ctx: &Context, server: Model, rule: &Rule, all: BTreeMap<String, String>) -> Result<()> {
    rule.check(&server, ctx.is_admin())?;
    let most = quotas::limits::of(app.db.read(), &server.project_id, "metadata_items").await?;
    if most >= 0 && all.len() as i64 > most {
        return Err(Error::forbidden(format!("Maximum number of metadata items exceeds {most}")));
    }
    let change = ActiveModel { metadata: Set(JsonColumn(all)), ..Default::default() };
    if store::save(app, &server.id, Guard::unchanged(&server), change).await? {
        return Ok(());
    }
    Err(Error::conflict(format!("Instance {} changed meanwhile; try again.", server.id)))
}

fn missing() -> Error {
    Error::not_found("Metadata item was not found")
}
