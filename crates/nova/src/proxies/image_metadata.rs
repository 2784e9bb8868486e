//! `/images/{id}/metadata`, until 2.38: the custom properties of an image, as changes that glance takes.

use std::collections::BTreeMap;

use kit::{Context, Error, Json, Path, Reply, Result};
use serde_json::{Value, json};

use super::images::missing;
use crate::{Nova, validate};

type Items = BTreeMap<String, String>;

/// `GET /images/{id}/metadata`
pub async fn list(app: Nova, ctx: Context, id: Path<String>) -> Result<Reply> {
    Reply::ok(&json!({"metadata": items(&app, &ctx, &id.0).await?}))
}

/// `GET /images/{id}/metadata/{key}`
pub async fn show(app: Nova, ctx: Context, Path((id, key)): Path<(String, String)>) -> Result<Reply> {
    let items = items(&app, &ctx, &id).await?;
    let value = items.get(&key).ok_or_else(no_item)?;
    Reply::ok(&json!({"meta": {key: value}}))
}

/// `POST /images/{id}/metadata`: these too.
pub async fn merge(app: Nova, ctx: Context, id: Path<String>, body: Json<Value>) -> Result<Reply> {
    let new = read(&ctx, body.0, "metadata")?;
    let mut all = items(&app, &ctx, &id.0).await?;
    all.extend(new);
    write(&app, &ctx, &id.0, &all).await?;
    Reply::ok(&json!({"metadata": all}))
}

/// `PUT /images/{id}/metadata`: these and no others.
pub async fn replace(app: Nova, ctx: Context, id: Path<String>, body: Json<Value>) -> Result<Reply> {
    let new = read(&ctx, body.0, "metadata")?;
    write(&app, &ctx, &id.0, &new).await?;
    Reply::ok(&json!({"metadata": new}))
}

/// `PUT /images/{id}/metadata/{key}`
pub async fn update(app: Nova, ctx: Context, Path((id, key)): Path<(String, String)>, body: Json<Value>) -> Result<Reply> {
    let new = read(&ctx, body.0, "meta")?;
    if new.len() != 1 || !new.contains_key(&key) {
        return Err(Error::bad_request("Request body and URI mismatch"));
    }
    let mut all = items(&app, &ctx, &id).await?;
    all.extend(new.clone());
    write(&app, &ctx, &id, &all).await?;
    Reply::ok(&json!({"meta": new}))
}

/// `DELETE /images/{id}/metadata/{key}`
pub async fn delete(app: Nova, ctx: Context, Path((id, key)): Path<(String, String)>) -> Result<Reply> {
    let mut all = items(&app, &ctx, &id).await?;
    all.remove(&key).ok_or_else(no_item)?;
    write(&app, &ctx, &id, &all).await?;
    Reply::no_content()
}

fn read(ctx: &Context, body: Value, key: &str) -> Result<Items> {
    let items = validate::texts(key, &Value::Object(validate::only(body, key, ctx.strict)?))?;
    validate::metadata(key, &items)?;
    Ok(items)
}

async fn items(app: &Nova, ctx: &Context, id: &str) -> Result<Items> {
    let image = sdk::found(app.cloud.image.show(&ctx.auth(), id).await)?;
    Ok(image.ok_or_else(missing)?.properties())
}

/// Makes the properties of the image these.
async fn write(app: &Nova, ctx: &Context, id: &str, wanted: &Items) -> Result<()> {
    let have = items(app, ctx, id).await?;
    let pointer = |key: &str| format!("/{}", key.replace('~', "~0").replace('/', "~1"));
    let gone = have.keys().filter(|key| !wanted.contains_key(*key)).map(|key| json!({"op": "remove", "path": pointer(key)}));
    let set = wanted.iter().filter(|(key, value)| have.get(*key) != Some(value)).map(|(key, value)| {
        let op = if have.contains_key(key) { "replace" } else { "add" };
        json!({"op": op, "path": pointer(key), "value": value})
    });
    let operations: Vec<Value> = gone.chain(set).collect();
    if !operations.is_empty() {
        app.cloud.image.patch(&ctx.auth(), id, &operations).await?;
    }
    Ok(())
}

fn no_item() -> Error {
    Error::not_found("Metadata item was not found")
}
