//! `/metadefs/namespaces/{namespace}/properties`: fragments of JSON schema, by name.

use kit::{Context, Json, Path, Query, Reply, Result};
use serde_json::{Map, Value, json};

use super::store::{self, Item};
use super::{fields, permitted, seen, unprotected};
use crate::Glance;
use crate::entity::metadef::ItemKind;
use crate::routes::segment;

const KIND: ItemKind = ItemKind::Property;

pub async fn list(app: Glance, ctx: Context, namespace: Path<String>) -> Result<Reply> {
    let row = seen(&app, &ctx, &namespace.0).await?;
    let items = store::items(app.db.read(), &row.namespace, KIND).await?;
    let views: Map<String, Value> = items.into_iter().map(|item| (item.name.clone(), named(item))).collect();
    Reply::ok(&json!({"properties": views}))
}

pub async fn create(app: Glance, ctx: Context, namespace: Path<String>, body: Json<Value>) -> Result<Reply> {
    let row = permitted(&app, &ctx, &namespace.0, "add_metadef_property").await?;
    let item = read(fields::object(body.0)?)?;
    let shown = named(item.clone());
    app.db.write(move |tx| Box::pin(async move { store::insert(tx, &row.namespace, KIND, item).await })).await?;
    Reply::created(&shown)
}

/// A property by its name; with the prefix of a type of resources when one is named.
pub async fn show(app: Glance, ctx: Context, Path((namespace, name)): Path<(String, String)>, query: Query) -> Result<Reply> {
    let row = seen(&app, &ctx, &namespace).await?;
    let name = segment(&name);
    let Some(kind) = query.get("resource_type") else {
        return Reply::ok(&named(store::fetch(app.db.read(), &row.namespace, KIND, &name).await?));
    };
    let applies = store::associations(app.db.read(), &[&row.namespace]).await?;
    let found = applies.iter().find(|row| row.resource_type == kind);
    let prefix = found.and_then(|row| row.prefix.clone()).unwrap_or_default();
    let missing = || {
        kit::Error::not_found(format!("Property {name} does not start with the expected resource type association prefix of '{prefix}'."))
    };
    let short = name.strip_prefix(&prefix).filter(|_| found.is_some()).ok_or_else(missing)?;
    let mut item = store::fetch(app.db.read(), &row.namespace, KIND, short).await?;
    item.name = name.clone();
    Reply::ok(&named(item))
}

pub async fn update(app: Glance, ctx: Context, Path((namespace, name)): Path<(String, String)>, body: Json<Value>) -> Result<Reply> {
    let row = permitted(&app, &ctx, &namespace, "modify_metadef_property").await?;
    let before = store::fetch(app.db.read(), &row.namespace, KIND, &segment(&name)).await?;
    let mut item = read(fields::object(body.0)?)?;
    item.created_at = before.created_at;
    let shown = named(item.clone());
    app.db.write(move |tx| Box::pin(async move { store::replace(tx, &row.namespace, KIND, &before.name, item).await })).await?;
    Reply::ok(&shown)
}

pub async fn delete(app: Glance, ctx: Context, Path((namespace, name)): Path<(String, String)>) -> Result<Reply> {
    let row = permitted(&app, &ctx, &namespace, "remove_metadef_property").await?;
    unprotected(&row, "property")?;
    app.db.write(move |tx| Box::pin(async move { store::delete(tx, &row.namespace, KIND, &segment(&name)).await })).await?;
    Reply::no_content()
}

pub async fn clear(app: Glance, ctx: Context, namespace: Path<String>) -> Result<Reply> {
    let row = permitted(&app, &ctx, &namespace.0, "remove_metadef_property").await?;
    unprotected(&row, "property")?;
    app.db.write(move |tx| Box::pin(async move { store::delete_all(tx, &row.namespace, KIND).await })).await?;
    Reply::no_content()
}

/// A property as a client describes it.
pub fn read(mut body: Map<String, Value>) -> Result<Item> {
    let name = fields::name(&body, "name")?;
    fields::property(&body)?;
    body.retain(|key, _| !matches!(key.as_str(), "name" | "created_at" | "updated_at" | "self" | "schema"));
    Ok(store::item(name, body))
}

/// A property's definition alone.
pub fn view(item: Item) -> Value {
    Value::Object(item.definition)
}

fn named(item: Item) -> Value {
    let mut view = item.definition;
    view.insert("name".into(), json!(item.name));
    Value::Object(view)
}
