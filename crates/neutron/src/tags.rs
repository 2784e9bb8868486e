//! Tags of every main resource, under `/{collection}/{id}/tags`.

use http::StatusCode;
use kit::{Context, Error, Path, Reply, Result};
use serde_json::json;

use crate::App;
use crate::attributes::Input;
use crate::fault::{invalid_attribute, not_found};
use crate::resource::{Resource, changeable, save, seen};

const LONGEST: usize = 255;
const MOST: usize = 50;

/// `GET .../tags`
pub async fn list<R: Resource>(app: App, ctx: Context, id: Path<String>) -> Result<Reply> {
    let mut row = seen::<R, _>(app.db().read(), &ctx, &id.0).await?;
    Reply::ok(&json!({"tags": row.tags()}))
}

/// `GET .../tags/{tag}`
pub async fn show<R: Resource>(app: App, ctx: Context, path: Path<(String, String)>) -> Result<Reply> {
    let (id, tag) = path.0;
    let mut row = seen::<R, _>(app.db().read(), &ctx, &id).await?;
    if row.tags().is_some_and(|tags| tags.contains(&tag)) { Reply::no_content() } else { Err(missing(&tag)) }
}

/// `PUT .../tags`: these and no others.
pub async fn replace<R: Resource>(app: App, ctx: Context, id: Path<String>, input: Input) -> Result<Reply> {
    let body = input.into_body();
    let tags: Vec<String> = body
        .get("tags")
        .and_then(|tags| serde_json::from_value(tags.clone()).ok())
        .ok_or_else(|| Error::bad_request("Invalid tags body."))?;
    check_all(&tags)?;
    let answer = json!({"tags": tags});
    change::<R>(app, ctx, id.0, move |have| {
        *have = tags;
        have.sort();
        have.dedup();
        Ok(())
    })
    .await?;
    Reply::ok(&answer)
}

/// `POST .../tags`: these as well.
pub async fn extend<R: Resource>(app: App, ctx: Context, id: Path<String>, input: Input) -> Result<Reply> {
    let body = input.into_body();
    let tags: Vec<String> = body
        .get("tags")
        .and_then(|tags| serde_json::from_value(tags.clone()).ok())
        .ok_or_else(|| Error::bad_request("Invalid tags body."))?;
    check_all(&tags)?;
    change::<R>(app.clone(), ctx.clone(), id.0.clone(), move |have| {
        have.extend(tags);
        have.sort();
        have.dedup();
        Ok(())
    })
    .await?;
    let mut row = seen::<R, _>(app.db().read(), &ctx, &id.0).await?;
    Reply::created(&json!({"tags": row.tags()}))
}

/// `PUT .../tags/{tag}`
pub async fn add<R: Resource>(app: App, ctx: Context, path: Path<(String, String)>) -> Result<Reply> {
    let (id, tag) = path.0;
    check(&tag)?;
    change::<R>(app, ctx, id, move |have| {
        if !have.contains(&tag) {
            have.push(tag);
        }
        Ok(())
    })
    .await?;
    Ok(Reply::empty(StatusCode::CREATED))
}

/// `DELETE .../tags/{tag}`
pub async fn remove<R: Resource>(app: App, ctx: Context, path: Path<(String, String)>) -> Result<Reply> {
    let (id, tag) = path.0;
    change::<R>(app, ctx, id, move |have| {
        let at = have.iter().position(|t| *t == tag).ok_or_else(|| missing(&tag))?;
        have.remove(at);
        Ok(())
    })
    .await?;
    Reply::no_content()
}

/// `DELETE .../tags`
pub async fn clear<R: Resource>(app: App, ctx: Context, id: Path<String>) -> Result<Reply> {
    change::<R>(app, ctx, id.0, |have| {
        have.clear();
        Ok(())
    })
    .await?;
    Reply::no_content()
}

async fn change<R: Resource>(
    app: App,
    ctx: Context,
    id: String,
    edit: impl FnOnce(&mut Vec<String>) -> Result<()> + Send + 'static,
) -> Result<()> {
    app.write(move |tx| {
        Box::pin(async move {
            let mut row: R = changeable(tx.db, &ctx, &format!("update_{}", R::KEY), &id).await?;
            if let Some(tags) = row.tags() {
                let before = tags.clone();
                edit(tags)?;
                if tags.len() > MOST {
                    return Err(invalid_attribute("tags", format!("a resource has at most {MOST} tags")));
                }
                if *tags != before {
                    save(tx.db, &mut row).await?;
                }
            }
            Ok(())
        })
    })
    .await
}

/// Tags as they come with a creation.
pub fn check_all(tags: &[String]) -> Result<()> {
    if tags.len() > MOST {
        return Err(invalid_attribute("tags", format!("a resource has at most {MOST} tags")));
    }
    tags.iter().try_for_each(|tag| check(tag))
}

fn check(tag: &str) -> Result<()> {
    if tag.is_empty() || tag.chars().count() > LONGEST || tag.contains(',') {
        return Err(invalid_attribute("tags", format!("'{tag}' is not a valid tag")));
    }
    Ok(())
}

fn missing(tag: &str) -> Error {
    not_found("TagNotFound", "Tag", tag)
}
