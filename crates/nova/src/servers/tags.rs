//! `/servers/{id}/tags`, since 2.26.

use http::StatusCode;
use kit::db::Json as JsonColumn;
use kit::{Context, Error, Json, Path, Reply, Result};
use sea_orm::Set;
use serde_json::{Value, json};

use super::create::check_tags;
use super::instance::{ActiveModel, Model};
use super::store::{self, Guard};
use crate::{Nova, validate};

/// `GET /servers/{id}/tags`
pub async fn list(app: Nova, ctx: Context, id: Path<String>) -> Result<Reply> {
    let server = store::fetch(&app, &ctx, &id.0).await?;
    Reply::ok(&json!({"tags": server.tags.0}))
}

/// `GET /servers/{id}/tags/{tag}`
pub async fn show(app: Nova, ctx: Context, Path((id, tag)): Path<(String, String)>) -> Result<Reply> {
    let server = store::fetch(&app, &ctx, &id).await?;
    if server.tags.0.contains(&tag) { Reply::no_content() } else { Err(missing(&server, &tag)) }
}

/// `PUT /servers/{id}/tags/{tag}`
pub async fn update(app: Nova, ctx: Context, Path((id, tag)): Path<(String, String)>) -> Result<Reply> {
    let server = store::fetch(&app, &ctx, &id).await?;
    let name = tag.clone();
    let new = edit(&app, &server.id, move |tags| {
        if tags.contains(&name) {
            return Ok(false);
        }
        tags.push(name);
        *tags = check_tags(std::mem::take(tags))?;
        Ok(true)
    })
    .await?;
    if !new {
        return Reply::no_content();
    }
    let location = ctx.link(&format!("/servers/{id}/tags/{}", kit::call::percent_encode(&tag)));
    Ok(Reply::empty(StatusCode::CREATED).header("location", &location))
}

/// `PUT /servers/{id}/tags`
pub async fn replace(app: Nova, ctx: Context, id: Path<String>, body: Json<Value>) -> Result<Reply> {
    let bad = || Error::bad_request("Invalid input for field/attribute body. 'tags' is a required property");
    let tags = body.0.get("tags").and_then(Value::as_array).ok_or_else(bad)?;
    let text = |tag: &Value| {
        tag.as_str().map(str::to_owned).ok_or_else(|| validate::invalid("tags", tag, format!("{tag} is not of type 'string'")))
    };
    let tags = check_tags(tags.iter().map(text).collect::<Result<_>>()?)?;
    let server = store::fetch(&app, &ctx, &id.0).await?;
    let new = tags.clone();
    edit(&app, &server.id, move |tags| {
        *tags = new;
        Ok(true)
    })
    .await?;
    Reply::ok(&json!({"tags": tags}))
}

/// `DELETE /servers/{id}/tags/{tag}`
pub async fn delete(app: Nova, ctx: Context, Path((id, tag)): Path<(String, String)>) -> Result<Reply> {
    let server = store::fetch(&app, &ctx, &id).await?;
    let gone = missing(&server, &tag);
    edit(&app, &server.id, move |tags| {
        let before = tags.len();
        tags.retain(|have| *have != tag);
        if tags.len() < before { Ok(true) } else { Err(gone) }
    })
    .await?;
    Reply::no_content()
}

/// `DELETE /servers/{id}/tags`
pub async fn delete_all(app: Nova, ctx: Context, id: Path<String>) -> Result<Reply> {
    let server = store::fetch(&app, &ctx, &id.0).await?;
    edit(&app, &server.id, |tags| {
        tags.clear();
        Ok(true)
    })
    .await?;
    Reply::no_content()
}

/// Changes the tags as they are now, so that of two changes at once none is lost; answers what the change answers: whether there was one.
async fn edit(app: &Nova, id: &str, change: impl FnOnce(&mut Vec<String>) -> Result<bool> + Send + 'static) -> Result<bool> {
    let id = id.to_owned();
    app.db
        .write(move |tx| {
            Box::pin(async move {
                // first a write: the row is this transaction's from here on, so what is read next cannot change under it
                store::change(tx, &id, Guard::alive(), <ActiveModel as Default>::default()).await?;
                let server = store::load(tx, &id).await?.ok_or_else(|| store::missing(&id))?;
                let mut tags = server.tags.0;
                let changed = change(&mut tags)?;
                if changed {
                    let row = ActiveModel { tags: Set(JsonColumn(tags)), ..Default::default() };
                    store::change(tx, &id, Guard::alive(), row).await?;
                }
                Ok(changed)
            })
        })
        .await
}

fn missing(server: &Model, tag: &str) -> Error {
    Error::not_found(format!("Server {} has no tag '{tag}'", server.id))
}
