//! `/snapshots/{id}/metadata`: a snapshot's own pairs.

use std::collections::BTreeMap;

use http::StatusCode;
use kit::db::Json as DbJson;
use kit::{Context, Error, Json, Path, Reply, Result};
use sea_orm::Set;
use serde_json::json;

use super::api::find;
use super::{ActiveModel, store};
use crate::Cinder;
use crate::volumes::metadata::{Meta, Metadata, check};

pub async fn list(app: Cinder, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let snapshot = find(&app, &ctx, &id).await?;
    Reply::ok(&json!({"metadata": snapshot.metadata.0}))
}

pub async fn merge(app: Cinder, ctx: Context, Path(id): Path<String>, Json(body): Json<Metadata>) -> Result<Reply> {
    let mut pairs = find(&app, &ctx, &id).await?.metadata.0;
    pairs.extend(body.metadata);
    write(&app, &id, pairs.clone()).await?;
    Reply::ok(&json!({"metadata": pairs}))
}

pub async fn replace(app: Cinder, ctx: Context, Path(id): Path<String>, Json(body): Json<Metadata>) -> Result<Reply> {
    find(&app, &ctx, &id).await?;
    write(&app, &id, body.metadata.clone()).await?;
    Reply::ok(&json!({"metadata": body.metadata}))
}

pub async fn show(app: Cinder, ctx: Context, Path((id, key)): Path<(String, String)>) -> Result<Reply> {
    let mut pairs = find(&app, &ctx, &id).await?.metadata.0;
    let value = pairs.remove(&key).ok_or_else(|| missing(&id, &key))?;
    Reply::ok(&json!({"meta": {key: value}}))
}

pub async fn set(app: Cinder, ctx: Context, Path((id, key)): Path<(String, String)>, Json(body): Json<Meta>) -> Result<Reply> {
    let mut pairs = find(&app, &ctx, &id).await?.metadata.0;
    if body.meta.len() != 1 || !body.meta.contains_key(&key) {
        return Err(Error::bad_request("Request body and URI mismatch"));
    }
    pairs.extend(body.meta.clone());
    write(&app, &id, pairs).await?;
    Reply::ok(&json!({"meta": body.meta}))
}

pub async fn delete(app: Cinder, ctx: Context, Path((id, key)): Path<(String, String)>) -> Result<Reply> {
    let mut pairs: BTreeMap<String, String> = find(&app, &ctx, &id).await?.metadata.0;
    pairs.remove(&key).ok_or_else(|| missing(&id, &key))?;
    write(&app, &id, pairs).await?;
    Ok(Reply::empty(StatusCode::OK))
}

async fn write(app: &Cinder, id: &str, pairs: BTreeMap<String, String>) -> Result<()> {
    check(&pairs)?;
    store::update(app, id, ActiveModel { metadata: Set(DbJson(pairs)), ..Default::default() }).await
}

fn missing(id: &str, key: &str) -> Error {
    Error::not_found(format!("Snapshot {id} has no metadata with key {key}."))
}
