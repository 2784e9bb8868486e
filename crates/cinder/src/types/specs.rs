//! `/types/{id}/extra_specs`: what a type promises of its volumes. Who is no administrator sees only what matters to users.

use std::collections::BTreeMap;

use http::StatusCode;
use kit::db::Json as DbJson;
use kit::{Context, Error, Json, Path, Reply, Result};
use sea_orm::Set;
use serde::Deserialize;
use serde_json::json;

use super::{ActiveModel, VolumeType, store};
use crate::policies::shows;
use crate::volumes::metadata;
use crate::{Cinder, volumes};

/// Keys that users see too.
const OPEN: &[&str] = &["multiattach", "RESKEY:availability_zones", "replication_enabled"];

/// The extra specs that the caller may see.
pub fn visible<'a>(ctx: &Context, kind: &'a VolumeType) -> BTreeMap<&'a str, &'a str> {
    let all = shows(ctx, "volume_extension:types_extra_specs:read_sensitive");
    let shown = |key: &&String| all || OPEN.contains(&key.as_str());
    kind.extra_specs.0.iter().filter(|(key, _)| shown(key)).map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

/// `{"extra_specs": {...}}`
#[derive(Deserialize)]
pub struct Specs {
    extra_specs: BTreeMap<String, String>,
}

pub async fn list(app: Cinder, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let kind = store::find(app.db().read(), &ctx, &id).await?;
    Reply::ok(&json!({"extra_specs": visible(&ctx, &kind)}))
}

pub async fn create(app: Cinder, ctx: Context, Path(id): Path<String>, Json(body): Json<Specs>) -> Result<Reply> {
    add(&app, &ctx, &id, body.extra_specs.clone()).await?;
    Reply::ok(&json!({"extra_specs": body.extra_specs}))
}

pub async fn show(app: Cinder, ctx: Context, Path((id, key)): Path<(String, String)>) -> Result<Reply> {
    let kind = store::find(app.db().read(), &ctx, &id).await?;
    let value = visible(&ctx, &kind).remove(key.as_str()).ok_or_else(|| no_spec(&id, &key))?;
    Reply::ok(&json!({key: value}))
}

pub async fn update(
    app: Cinder,
    ctx: Context,
    Path((id, key)): Path<(String, String)>,
    Json(body): Json<BTreeMap<String, String>>,
) -> Result<Reply> {
    if body.len() != 1 || !body.contains_key(&key) {
        return Err(Error::bad_request("Request body and URI mismatch"));
    }
    add(&app, &ctx, &id, body.clone()).await?;
    Reply::ok(&body)
}

pub async fn delete(app: Cinder, ctx: Context, Path((id, key)): Path<(String, String)>) -> Result<Reply> {
    let kind = store::find(app.db().read(), &ctx, &id).await?;
    unused(&app, &kind).await?;
    let mut specs = kind.extra_specs.0;
    if specs.remove(&key).is_none() {
        return Err(no_spec(&id, &key));
    }
    store::update(&app, &kind.id, ActiveModel { extra_specs: Set(DbJson(specs)), ..Default::default() }).await?;
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

/// Keys are letters, digits and a few signs; what volumes already rely on does not change under them.
pub fn check(specs: &BTreeMap<String, String>) -> Result<()> {
    let plain = |key: &str| key.chars().all(|c| c.is_alphanumeric() || "-_:. ".contains(c));
    if let Some(key) = specs.keys().find(|key| key.is_empty() || !plain(key)) {
        let sentence = "Key Names can only contain alphanumeric characters, underscores, periods, colons and hyphens";
        return Err(Error::bad_request(format!("{sentence}: '{key}'.")));
    }
    metadata::check(specs)
}

async fn add(app: &Cinder, ctx: &Context, id: &str, more: BTreeMap<String, String>) -> Result<()> {
    let kind = store::find(app.db().read(), ctx, id).await?;
    check(&more)?;
    unused(app, &kind).await?;
    let mut specs = kind.extra_specs.0;
    specs.extend(more);
    store::update(app, &kind.id, ActiveModel { extra_specs: Set(DbJson(specs)), ..Default::default() }).await
}

/// 400 while there are volumes of the type: what they were promised does not change.
async fn unused(app: &Cinder, kind: &VolumeType) -> Result<()> {
    match volumes::store::uses_type(app.db().read(), &kind.id).await? {
        true => Err(Error::bad_request("Volume Type is currently in use.")),
        false => Ok(()),
    }
}

fn no_spec(id: &str, key: &str) -> Error {
    Error::not_found(format!("Volume Type {id} has no extra specs with key {key}."))
}
