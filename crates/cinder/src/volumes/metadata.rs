//! `/volumes/{id}/metadata`: a volume's own pairs.

use std::collections::BTreeMap;

use kit::call::{Call, FromCall};
use kit::{Context, Error, Json, Path, Reply, Result};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::api::find;
use super::store::{self, Kind};
use crate::Cinder;
use crate::microversions::ETAGS;

/// `{"metadata": {...}}`
#[derive(Deserialize)]
pub struct Metadata {
    pub metadata: BTreeMap<String, String>,
}

/// `{"meta": {...}}`
#[derive(Deserialize)]
pub struct Meta {
    pub meta: BTreeMap<String, String>,
}

/// The entity tags a change is to be made to only.
pub struct IfMatch(Option<String>);

impl FromCall<Cinder> for IfMatch {
    async fn from_call(call: &mut Call<Cinder>) -> Result<Self> {
        let tag = call.parts.headers.get("if-match").and_then(|value| value.to_str().ok());
        Ok(IfMatch(tag.filter(|_| call.ctx.speaks(ETAGS)).map(str::to_owned)))
    }
}

pub async fn list(app: Cinder, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let volume = find(&app, &ctx, &id).await?;
    answer(&ctx, &store::metadata(app.db().read(), &volume.id, Kind::User).await?)
}

pub async fn merge(app: Cinder, ctx: Context, path: Path<String>, tag: IfMatch, Json(body): Json<Metadata>) -> Result<Reply> {
    put(app, ctx, path, tag, body.metadata, false).await
}

pub async fn replace(app: Cinder, ctx: Context, path: Path<String>, tag: IfMatch, Json(body): Json<Metadata>) -> Result<Reply> {
    put(app, ctx, path, tag, body.metadata, true).await
}

pub async fn show(app: Cinder, ctx: Context, Path((id, key)): Path<(String, String)>) -> Result<Reply> {
    let volume = find(&app, &ctx, &id).await?;
    let pairs = store::metadata(app.db().read(), &volume.id, Kind::User).await?;
    let value = pairs.get(&key).ok_or_else(|| missing(&id, &key))?;
    Reply::ok(&json!({"meta": {key: value}}))
}

pub async fn set(app: Cinder, ctx: Context, Path((id, key)): Path<(String, String)>, Json(body): Json<Meta>) -> Result<Reply> {
    let volume = find(&app, &ctx, &id).await?;
    if body.meta.len() != 1 || !body.meta.contains_key(&key) {
        return Err(Error::bad_request("Request body and URI mismatch"));
    }
    check(&body.meta)?;
    write(&app, &volume.id, Kind::User, body.meta.clone(), false).await?;
    Reply::ok(&json!({"meta": body.meta}))
}

pub async fn delete(app: Cinder, ctx: Context, Path((id, key)): Path<(String, String)>) -> Result<Reply> {
    let volume = find(&app, &ctx, &id).await?;
    if !remove(&app, &volume.id, Kind::User, key.clone()).await? {
        return Err(missing(&id, &key));
    }
    Ok(Reply::empty(http::StatusCode::OK))
}

/// Keys of 1 to 255 characters, values of at most 255.
pub fn check(pairs: &BTreeMap<String, String>) -> Result<()> {
    let long = |text: &str| text.chars().count() > 255 || text.contains('\0');
    match pairs.iter().find(|(key, value)| key.is_empty() || long(key) || long(value)) {
        Some((key, _)) => {
            Err(Error::bad_request(format!("Metadata property key or value of '{key}' is empty or longer than 255 characters.")))
        }
        None => Ok(()),
    }
}

/// Writes pairs of a kind.
pub async fn write(app: &Cinder, id: &str, kind: Kind, pairs: BTreeMap<String, String>, replace: bool) -> Result<()> {
    let id = id.to_owned();
    app.db().write(move |tx| Box::pin(async move { store::set_metadata(tx, &id, kind, &pairs, replace).await })).await
}

/// Removes one pair; false when there was none.
pub async fn remove(app: &Cinder, id: &str, kind: Kind, key: String) -> Result<bool> {
    let id = id.to_owned();
    app.db().write(move |tx| Box::pin(async move { store::remove_metadata(tx, &id, kind, &key).await })).await
}

async fn put(
    app: Cinder,
    ctx: Context,
    Path(id): Path<String>,
    IfMatch(tag): IfMatch,
    pairs: BTreeMap<String, String>,
    replace: bool,
) -> Result<Reply> {
    let volume = find(&app, &ctx, &id).await?;
    check(&pairs)?;
    let after = app
        .db()
        .write(move |tx| {
            Box::pin(async move {
                if let Some(tag) = tag {
                    let now = etag(&store::metadata(tx, &volume.id, Kind::User).await?)?;
                    if tag != "*" && !tag.split(',').any(|one| one.trim().trim_matches('"') == now) {
                        return Err(Error::new(kit::Kind::PreconditionFailed, "The metadata has changed meanwhile."));
                    }
                }
                store::set_metadata(tx, &volume.id, Kind::User, &pairs, replace).await?;
                store::metadata(tx, &volume.id, Kind::User).await
            })
        })
        .await?;
    answer(&ctx, &after)
}

/// The pairs, with their tag where the caller's version knows such.
fn answer(ctx: &Context, pairs: &BTreeMap<String, String>) -> Result<Reply> {
    let reply = Reply::ok(&json!({"metadata": pairs}))?;
    match ctx.speaks(ETAGS) {
        true => Ok(reply.header("etag", &format!("\"{}\"", etag(pairs)?))),
        false => Ok(reply),
    }
}

fn etag(pairs: &BTreeMap<String, String>) -> Result<String> {
    Ok(Sha256::digest(serde_json::to_vec(pairs)?).iter().take(16).map(|byte| format!("{byte:02x}")).collect())
}

fn missing(id: &str, key: &str) -> Error {
    Error::not_found(format!("Volume {id} has no metadata with key {key}."))
}
