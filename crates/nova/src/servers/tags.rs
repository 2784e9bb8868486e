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
    if server.tags.0.contains(&tag) {
        return Reply::no_content();
    }
    let mut tags = server.tags.0.clone();
    tags.push(tag.clone());
    save(&app, &server, check_tags(tags)?).await?;
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
    save(&app, &server, tags.clone()).await?;
    Reply::ok(&json!({"tags": tags}))
}

/// `DELETE /servers/{id}/tags/{tag}`
pub async fn delete(app: Nova, ctx: Context, Path((id, tag)): Path<(String, String)>) -> Result<Reply> {
    let server = store::fetch(&app, &ctx, &id).await?;
    if !server.tags.0.contains(&tag) {
        return Err(missing(&server, &tag));
    }
    save(&app, &server, server.tags.0.iter().filter(|have| **have != tag).cloned().collect()).await?;
    Reply::no_content()
}

/// `DELETE /servers/{id}/tags`
pub async fn delete_all(app: Nova, ctx: Context, id: Path<String>) -> Result<Reply> {
    let server = store::fetch(&app, &ctx, &id.0).await?;
    save(&app, &server, Vec::new()).await?;
    Reply::no_content()
}

async fn save(app: &Nova, server: &Model, tags: Vec<String>) -> Result<()> {
    let change = ActiveModel { tags: Set(JsonColumn(tags)), ..Default::default() };
    store::save(app, &server.id, Guard::alive(), change).await.map(drop)
}

fn missing(server: &Model, tag: &str) -> Error {
    Error::not_found(format!("Server {} has no tag '{tag}'", server.id))
}
