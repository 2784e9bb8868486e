//! `/group_types/{id}/group_specs`

use std::collections::BTreeMap;

use http::StatusCode;
use kit::db::Json as DbJson;
use kit::{Context, Error, Json, Path, Reply, Result};
use sea_orm::Set;
use serde::Deserialize;
use serde_json::json;

use super::{ActiveModel, api, find};
use crate::Cinder;
use crate::types::specs::check;

/// `{"group_specs": {...}}`
#[derive(Deserialize)]
pub struct Specs {
    group_specs: BTreeMap<String, String>,
}

pub async fn list(app: Cinder, _: Context, Path(id): Path<String>) -> Result<Reply> {
    Reply::ok(&json!({"group_specs": find(app.db().read(), &id).await?.group_specs.0}))
}

pub async fn create(app: Cinder, _: Context, Path(id): Path<String>, Json(body): Json<Specs>) -> Result<Reply> {
    add(&app, &id, body.group_specs.clone()).await?;
    Reply::json(StatusCode::ACCEPTED, &json!({"group_specs": body.group_specs}))
}

pub async fn show(app: Cinder, _: Context, Path((id, key)): Path<(String, String)>) -> Result<Reply> {
    let mut specs = find(app.db().read(), &id).await?.group_specs.0;
    let value = specs.remove(&key).ok_or_else(|| no_spec(&id, &key))?;
    Reply::ok(&json!({key: value}))
}

pub async fn update(
    app: Cinder,
    _: Context,
    Path((id, key)): Path<(String, String)>,
    Json(body): Json<BTreeMap<String, String>>,
) -> Result<Reply> {
    if body.len() != 1 || !body.contains_key(&key) {
        return Err(Error::bad_request("Request body and URI mismatch"));
    }
    add(&app, &id, body.clone()).await?;
    Reply::ok(&body)
}

pub async fn delete(app: Cinder, _: Context, Path((id, key)): Path<(String, String)>) -> Result<Reply> {
    let kind = find(app.db().read(), &id).await?;
    let mut specs = kind.group_specs.0;
    specs.remove(&key).ok_or_else(|| no_spec(&id, &key))?;
    api::write(&app, &kind.id, ActiveModel { group_specs: Set(DbJson(specs)), ..Default::default() }).await?;
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

async fn add(app: &Cinder, id: &str, more: BTreeMap<String, String>) -> Result<()> {
    let kind = find(app.db().read(), id).await?;
    check(&more)?;
    let mut specs = kind.group_specs.0;
    specs.extend(more);
    api::write(app, &kind.id, ActiveModel { group_specs: Set(DbJson(specs)), ..Default::default() }).await
}

fn no_spec(id: &str, key: &str) -> Error {
    Error::not_found(format!("Group Type {id} has no specs with key {key}."))
}
