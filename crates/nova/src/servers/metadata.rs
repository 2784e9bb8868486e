//! `/servers/{id}/metadata`: pairs that the guest sees.

use std::collections::BTreeMap;

use kit::db::Json as JsonColumn;
use kit::{Context, Error, Json, Path, Reply, Result};
use sea_orm::Set;
use serde_json::{Value, json};

use super::instance::ActiveModel;
use super::states::rules::{METADATA, METADATA_DELETE, Rule};
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
    let all = edit(&app, &ctx, &id.0, &METADATA, move |all| {
        all.extend(new);
        Ok(())
    });
    Reply::ok(&json!({"metadata": all.await?}))
}

/// `PUT /servers/{id}/metadata`: replaces what there is.
pub async fn replace(app: Nova, ctx: Context, id: Path<String>, body: Json<Value>) -> Result<Reply> {
    let new = read(body.0, "metadata", ctx.strict)?;
    let all = edit(&app, &ctx, &id.0, &METADATA, move |all| {
        *all = new;
        Ok(())
    });
    Reply::ok(&json!({"metadata": all.await?}))
}

/// `PUT /servers/{id}/metadata/{key}`
pub async fn update(app: Nova, ctx: Context, Path((id, key)): Path<(String, String)>, body: Json<Value>) -> Result<Reply> {
    let new = read(body.0, "meta", ctx.strict)?;
    if new.len() != 1 {
        return Err(Error::bad_request("Request body contains too many items"));
    }
    if !new.contains_key(&key) {
        return Err(Error::bad_request("Request body and URI mismatch"));
    }
    let answer = json!({"meta": new});
    edit(&app, &ctx, &id, &METADATA, move |all| {
        all.extend(new);
        Ok(())
    })
    .await?;
    Reply::ok(&answer)
}

/// `DELETE /servers/{id}/metadata/{key}`
pub async fn delete(app: Nova, ctx: Context, Path((id, key)): Path<(String, String)>) -> Result<Reply> {
    edit(&app, &ctx, &id, &METADATA_DELETE, move |all| all.remove(&key).map(drop).ok_or_else(missing)).await?;
    Reply::no_content()
}

fn read(body: Value, key: &str, strict: bool) -> Result<BTreeMap<String, String>> {
    let items = validate::texts(key, &Value::Object(validate::only(body, key, strict)?))?;
    validate::metadata(key, &items)?;
    Ok(items)
}

/// Changes the pairs as they are now, so that of two changes at once none is lost; answers them all.
async fn edit(
    app: &Nova,
    ctx: &Context,
    id: &str,
    rule: &'static Rule,
    change: impl FnOnce(&mut BTreeMap<String, String>) -> Result<()> + Send + 'static,
) -> Result<BTreeMap<String, String>> {
    let server = store::fetch(app, ctx, id).await?;
    let admin = ctx.is_admin();
    app.db
        .write(move |tx| {
            Box::pin(async move {
                // first a write: the row is this transaction's from here on, so what is read next cannot change under it
                store::change(tx, &server.id, Guard::alive(), <ActiveModel as Default>::default()).await?;
                let server = store::load(tx, &server.id).await?.ok_or_else(|| store::missing(&server.id))?;
                let mut all = server.metadata.0.clone();
                change(&mut all)?;
                rule.check(&server, admin)?;
                quotas::metadata(tx, &server.project_id, all.len()).await?;
                let row = ActiveModel { metadata: Set(JsonColumn(all.clone())), ..Default::default() };
                store::change(tx, &server.id, Guard::alive(), row).await?;
                Ok(all)
            })
        })
        .await
}

fn missing() -> Error {
    Error::not_found("Metadata item was not found")
}
