//! `/servers/{id}/tags`, since 2.26.

use http::StatusCode;
use kit::db::Json as JsonColumn;
use kit::{Context, Error, Json, Path, Reply, Result};
use sea_orm::Set;
use serde_json::{Value, json};

use super::create::{MOST_TAGS, check_tags};
use super::instance::{ActiveModel, Model};
use super::states::rules::{Rule, TAGS};
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

/// `PUT /servers/{id}/tags/{tag}`, without a body
pub async fn update(app: Nova, ctx: Context, Path((id, tag)): Path<(String, String)>, body: Option<Json<Value>>) -> Result<Reply> {
    if let Some(Json(body)) = body.filter(|body| !body.0.is_null()) {
        return Err(validate::invalid("body", &body, format!("{body} is not of type 'null'")));
    }
    let server = changeable(&app, &ctx, &id, "update tag").await?;
    if let Some(fault) = validate::tag_fault(&tag) {
        let rule = "It must be a non empty string without characters '/' and ','.";
        return Err(Error::bad_request(format!("Tag '{tag}' is invalid. {rule} Validation error message: {fault}")));
    }
    let name = tag.clone();
    let new = edit(&app, &server.id, move |tags| {
        if tags.len() >= MOST_TAGS {
            return Err(Error::bad_request(format!("The number of tags exceeded the per-server limit {MOST_TAGS}")));
        }
        let new = !tags.contains(&name);
        tags.extend(Some(name).filter(|_| new));
        Ok(new)
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
    let wanted = body.0.as_object().ok_or_else(bad)?;
    kit::microversion::unexpected(&wanted.keys().map(String::as_str).filter(|key| *key != "tags").collect::<Vec<_>>())?;
    let tags = match wanted.get("tags").ok_or_else(bad)? {
        Value::Array(tags) => tags,
        other => return Err(validate::invalid("tags", other, format!("{other} is not of type 'array'"))),
    };
    let text = |tag: &Value| {
        tag.as_str().map(str::to_owned).ok_or_else(|| validate::invalid("tags", tag, format!("{tag} is not of type 'string'")))
    };
    let tags = check_tags(tags.iter().map(text).collect::<Result<_>>()?)?;
    let server = changeable(&app, &ctx, &id.0, "update tags").await?;
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
    let server = changeable(&app, &ctx, &id, "delete tag").await?;
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
    let server = changeable(&app, &ctx, &id.0, "delete tags").await?;
    edit(&app, &server.id, |tags| {
        tags.clear();
        Ok(true)
    })
    .await?;
    Reply::no_content()
}

/// The server, if its state suits the change.
async fn changeable(app: &Nova, ctx: &Context, id: &str, action: &'static str) -> Result<Model> {
    let server = store::fetch(app, ctx, id).await?;
    Rule { action, ..TAGS }.check(&server, ctx.is_admin())?;
    Ok(server)
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
