//! `/v3/projects/{project_id}/tags`

use http::StatusCode;
use kit::call::{Json, Path, Query};
use kit::{Context, Error, Reply, Result};
use sea_orm::{ColumnTrait, Condition};
use serde_json::{Value, json};

use super::{Column, Model, api, store};
use crate::{Keystone, list};

/// Tags a project can have.
const MOST: usize = 80;

/// `GET /v3/projects/{project_id}/tags`
pub async fn list(keystone: Keystone, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let project = api::known(&keystone, &ctx, &id).await?;
    answer(&ctx, &project)
}

/// `GET /v3/projects/{project_id}/tags/{tag}`
pub async fn show(keystone: Keystone, ctx: Context, Path((id, tag)): Path<(String, String)>) -> Result<Reply> {
    let project = api::known(&keystone, &ctx, &id).await?;
    if project.tags.0.contains(&decoded(&tag)) { Reply::no_content() } else { Err(unknown(&tag)) }
}

/// `PUT /v3/projects/{project_id}/tags`
pub async fn replace(keystone: Keystone, ctx: Context, Path(id): Path<String>, Json(body): Json<Value>) -> Result<Reply> {
    let project = api::known(&keystone, &ctx, &id).await?;
    let tags = body.get("tags").and_then(Value::as_array).ok_or_else(|| Error::bad_request("'tags' is a required property"))?;
    let project = save(&keystone, project, checked(tags)?).await?;
    answer(&ctx, &project)
}

/// `PUT /v3/projects/{project_id}/tags/{tag}`
pub async fn add(keystone: Keystone, ctx: Context, Path((id, tag)): Path<(String, String)>) -> Result<Reply> {
    let project = api::known(&keystone, &ctx, &id).await?;
    let mut tags: Vec<Value> = project.tags.0.iter().cloned().map(Value::String).collect();
    tags.push(decoded(&tag).into());
    save(&keystone, project, checked(&tags)?).await?;
    let place = list::link(&ctx, &format!("/projects/{id}/tags/{tag}"));
    Ok(Reply::empty(StatusCode::CREATED).header("location", &place))
}

/// `DELETE /v3/projects/{project_id}/tags/{tag}`
pub async fn remove(keystone: Keystone, ctx: Context, Path((id, tag)): Path<(String, String)>) -> Result<Reply> {
    let project = api::known(&keystone, &ctx, &id).await?;
    let mut tags = project.tags.0.clone();
    tags.retain(|have| *have != decoded(&tag));
    if tags.len() == project.tags.0.len() {
        return Err(unknown(&tag));
    }
    save(&keystone, project, tags).await?;
    Reply::no_content()
}

/// `DELETE /v3/projects/{project_id}/tags`
pub async fn clear(keystone: Keystone, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let project = api::known(&keystone, &ctx, &id).await?;
    save(&keystone, project, Vec::new()).await?;
    Reply::no_content()
}

/// What a query asks of tags: `tags` all of them, `tags-any` one of them, `not-tags` not all of them, `not-tags-any` none of them.
pub fn wanted(query: &Query) -> Result<Condition> {
    let mut wanted = Condition::all();
    for (key, any, not) in [("tags", false, false), ("tags-any", true, false), ("not-tags", false, true), ("not-tags-any", true, true)] {
        let Some(tags) = query.get(key).filter(|tags| !tags.is_empty()) else { continue };
        let mut has = if any { Condition::any() } else { Condition::all() };
        for tag in tags.split(',') {
            // tags are kept as a JSON list of strings
            has = has.add(Column::Tags.contains(serde_json::to_string(tag)?));
        }
        wanted = wanted.add(if not { has.not() } else { has });
    }
    Ok(wanted)
}

/// Tags as a client may set them, each once.
pub fn checked(tags: &[Value]) -> Result<Vec<String>> {
    let mut checked: Vec<String> = Vec::new();
    for tag in tags {
        let text =
            tag.as_str().ok_or_else(|| Error::bad_request(format!("Invalid input for field 'tags': {tag} is not of type 'string'")))?;
        if text.is_empty() || text.chars().count() > 255 || text.contains(['/', ',']) {
            return Err(Error::bad_request(format!("Invalid input for field 'tags': '{text}' does not match '^[^,/]{{1,255}}$'")));
        }
        if !checked.iter().any(|have| have == text) {
            checked.push(text.to_owned());
        }
    }
    if checked.len() > MOST {
        return Err(Error::bad_request(format!("Invalid input for field 'tags': it has more than {MOST} items")));
    }
    Ok(checked)
}

async fn save(keystone: &Keystone, project: Model, tags: Vec<String>) -> Result<Model> {
    let project = Model { tags: kit::db::Json(tags), ..project };
    keystone.write(move |tx| Box::pin(store::update(tx, project))).await
}

fn answer(ctx: &Context, project: &Model) -> Result<Reply> {
    let place = list::link(ctx, &format!("/projects/{}/tags", project.id));
    Reply::ok(&json!({"tags": project.tags.0, "links": {"self": place, "previous": null, "next": null}}))
}

fn decoded(segment: &str) -> String {
    kit::call::percent_decode(segment)
}

fn unknown(tag: &str) -> Error {
    Error::not_found(format!("Could not find project tag: {tag}."))
}
