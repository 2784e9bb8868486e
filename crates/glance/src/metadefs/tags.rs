//! `/metadefs/namespaces/{namespace}/tags`

use kit::collection::{Page, cut};
use kit::{Context, Error, Json, Path, Query, Raw, Reply, Result};
use serde_json::{Map, Value, json};

use super::store::{self, Item};
use super::{fields, permitted, seen, unprotected};
use crate::Glance;
use crate::entity::metadef::ItemKind;
use crate::routes::segment;

const KIND: ItemKind = ItemKind::Tag;
/// With it, the tags of a POST are added to those that are there.
const APPEND: &str = "x-openstack-append";

pub async fn list(app: Glance, ctx: Context, namespace: Path<String>, query: Query) -> Result<Reply> {
    let page = Page::parse(&query, 1000, 1000)?;
    let row = seen(&app, &ctx, &namespace.0).await?;
    let mut names: Vec<String> = store::items(app.db.read(), &row.namespace, KIND).await?.into_iter().map(|item| item.name).collect();
    match page.sort.first().map(|(key, ascending)| (key.as_str(), *ascending)) {
        None | Some(("created_at" | "updated_at", false)) => names.reverse(),
        Some(("created_at" | "updated_at", true)) => {}
        Some(("name", ascending)) => {
            names.sort();
            if !ascending {
                names.reverse();
            }
        }
        Some((other, _)) => return Err(Error::bad_request(format!("Invalid sort key: {other}"))),
    }
    if let Some(marker) = &page.marker {
        let at = names.iter().position(|name| name == marker);
        let at = at.ok_or_else(|| Error::not_found(format!("Metadata tag {marker} was not found.")))?;
        names.drain(..=at);
    }
    cut(&mut names, page.limit);
    let tags: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
    let first = format!("/v2/metadefs/namespaces/{}/tags", row.namespace);
    Reply::ok(&json!({"tags": tags, "first": first, "schema": "/v2/schemas/metadefs/tags"}))
}

/// `POST .../tags`: these instead of all that were there, or beside them.
pub async fn replace(app: Glance, ctx: Context, namespace: Path<String>, body: Json<Value>, raw: Raw) -> Result<Reply> {
    let row = permitted(&app, &ctx, &namespace.0, "add_metadef_tags").await?;
    let body = fields::object(body.0)?;
    if !body.contains_key("tags") {
        return Err(fields::invalid("tags", "'tags' is a required property"));
    }
    let items = fields::list(&body, "tags")?.iter().map(read).collect::<Result<Vec<Item>>>()?;
    let append = raw.parts.headers.get(APPEND).and_then(|value| value.to_str().ok()).is_some_and(kit::call::truthy);
    let shown: Vec<Value> = items.iter().map(|item| json!({"name": item.name})).collect();
    app.db
        .write(move |tx| {
            Box::pin(async move {
                if !append {
                    store::delete_all(tx, &row.namespace, KIND).await?;
                }
                for item in items {
                    store::insert(tx, &row.namespace, KIND, item).await?;
                }
                Ok(())
            })
        })
        .await?;
    Reply::created(&json!({"tags": shown}))
}

pub async fn create(app: Glance, ctx: Context, Path((namespace, name)): Path<(String, String)>) -> Result<Reply> {
    let row = permitted(&app, &ctx, &namespace, "add_metadef_tag").await?;
    let item = read(&Map::from_iter([("name".to_owned(), Value::from(segment(&name)))]))?;
    let shown = view(&item);
    app.db.write(move |tx| Box::pin(async move { store::insert(tx, &row.namespace, KIND, item).await })).await?;
    Reply::created(&shown)
}

pub async fn show(app: Glance, ctx: Context, Path((namespace, name)): Path<(String, String)>) -> Result<Reply> {
    let row = seen(&app, &ctx, &namespace).await?;
    Reply::ok(&view(&store::fetch(app.db.read(), &row.namespace, KIND, &segment(&name)).await?))
}

pub async fn update(app: Glance, ctx: Context, Path((namespace, name)): Path<(String, String)>, body: Json<Value>) -> Result<Reply> {
    let row = permitted(&app, &ctx, &namespace, "modify_metadef_tag").await?;
    let before = store::fetch(app.db.read(), &row.namespace, KIND, &segment(&name)).await?;
    let mut item = read(&fields::object(body.0)?)?;
    item.created_at = before.created_at;
    let shown = view(&item);
    app.db.write(move |tx| Box::pin(async move { store::replace(tx, &row.namespace, KIND, &before.name, item).await })).await?;
    Reply::ok(&shown)
}

pub async fn delete(app: Glance, ctx: Context, Path((namespace, name)): Path<(String, String)>) -> Result<Reply> {
    let row = permitted(&app, &ctx, &namespace, "delete_metadef_tag").await?;
    unprotected(&row, "tag")?;
    app.db.write(move |tx| Box::pin(async move { store::delete(tx, &row.namespace, KIND, &segment(&name)).await })).await?;
    Reply::no_content()
}

pub async fn clear(app: Glance, ctx: Context, namespace: Path<String>) -> Result<Reply> {
    let row = permitted(&app, &ctx, &namespace.0, "delete_metadef_tags").await?;
    unprotected(&row, "tag")?;
    app.db.write(move |tx| Box::pin(async move { store::delete_all(tx, &row.namespace, KIND).await })).await?;
    Reply::no_content()
}

/// A tag as a client describes it.
pub fn read(body: &Map<String, Value>) -> Result<Item> {
    Ok(store::item(fields::name(body, "name")?, Map::new()))
}

fn view(item: &Item) -> Value {
    json!({"name": item.name, "created_at": item.created_at.to_seconds_z(), "updated_at": item.updated_at.to_seconds_z()})
}
