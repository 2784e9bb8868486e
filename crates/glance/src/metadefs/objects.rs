//! `/metadefs/namespaces/{namespace}/objects`: properties that belong together.

use kit::{Context, Json, Path, Reply, Result};
use serde_json::{Map, Value, json};

use super::store::{self, Item};
use super::{fields, permitted, seen, unprotected};
use crate::Glance;
use crate::entity::metadef::ItemKind;
use crate::routes::segment;

const KIND: ItemKind = ItemKind::Object;
const KNOWN: &[&str] = &["name", "description", "required", "properties", "created_at", "updated_at", "self", "schema"];

pub async fn list(app: Glance, ctx: Context, namespace: Path<String>) -> Result<Reply> {
    let row = seen(&app, &ctx, &namespace.0).await?;
    let items = store::items(app.db.read(), &row.namespace, KIND).await?;
    let views: Vec<Value> = items.iter().map(|item| view(&row.namespace, item, "")).collect();
    let first = format!("/v2/metadefs/namespaces/{}/objects", row.namespace);
    Reply::ok(&json!({"objects": views, "first": first, "schema": "/v2/schemas/metadefs/objects"}))
}

pub async fn create(app: Glance, ctx: Context, namespace: Path<String>, body: Json<Value>) -> Result<Reply> {
    let row = permitted(&app, &ctx, &namespace.0, "add_metadef_object").await?;
    let item = read(fields::object(body.0)?)?;
    let shown = view(&row.namespace, &item, "");
    app.db.write(move |tx| Box::pin(async move { store::insert(tx, &row.namespace, KIND, item).await })).await?;
    Reply::created(&shown)
}

pub async fn show(app: Glance, ctx: Context, Path((namespace, name)): Path<(String, String)>) -> Result<Reply> {
    let row = seen(&app, &ctx, &namespace).await?;
    let item = store::fetch(app.db.read(), &row.namespace, KIND, &segment(&name)).await?;
    Reply::ok(&view(&row.namespace, &item, ""))
}

pub async fn update(app: Glance, ctx: Context, Path((namespace, name)): Path<(String, String)>, body: Json<Value>) -> Result<Reply> {
    let row = permitted(&app, &ctx, &namespace, "modify_metadef_object").await?;
    let before = store::fetch(app.db.read(), &row.namespace, KIND, &segment(&name)).await?;
    let mut item = read(fields::object(body.0)?)?;
    item.created_at = before.created_at;
    let shown = view(&row.namespace, &item, "");
    app.db.write(move |tx| Box::pin(async move { store::replace(tx, &row.namespace, KIND, &before.name, item).await })).await?;
    Reply::ok(&shown)
}

pub async fn delete(app: Glance, ctx: Context, Path((namespace, name)): Path<(String, String)>) -> Result<Reply> {
    let row = permitted(&app, &ctx, &namespace, "delete_metadef_object").await?;
    unprotected(&row, "object")?;
    app.db.write(move |tx| Box::pin(async move { store::delete(tx, &row.namespace, KIND, &segment(&name)).await })).await?;
    Reply::no_content()
}

pub async fn clear(app: Glance, ctx: Context, namespace: Path<String>) -> Result<Reply> {
    let row = permitted(&app, &ctx, &namespace.0, "delete_metadef_object").await?;
    unprotected(&row, "object")?;
    app.db.write(move |tx| Box::pin(async move { store::delete_all(tx, &row.namespace, KIND).await })).await?;
    Reply::no_content()
}

/// An object as a client describes it.
pub fn read(body: Map<String, Value>) -> Result<Item> {
    fields::known(&body, KNOWN)?;
    let name = fields::name(&body, "name")?;
    let mut kept = Map::new();
    if let Some(text) = fields::text(&body, "description")? {
        kept.insert("description".into(), text.into());
    }
    match body.get("required") {
        None | Some(Value::Null) => {}
        Some(Value::Array(list)) if list.iter().all(Value::is_string) => {
            kept.insert("required".into(), list.clone().into());
        }
        Some(other) => return Err(fields::invalid("required", &format!("{other} is not a list of names"))),
    }
    if let Some(properties) = body.get("properties").filter(|value| !value.is_null()) {
        let properties = fields::object(properties.clone())?;
        for definition in properties.values() {
            fields::property(&fields::object(definition.clone())?)?;
        }
        kept.insert("properties".into(), properties.into());
    }
    Ok(store::item(name, kept))
}

pub fn view(namespace: &str, item: &Item, prefix: &str) -> Value {
    let mut view = item.definition.clone();
    if let Some(Value::Object(properties)) = view.get_mut("properties") {
        *properties = std::mem::take(properties).into_iter().map(|(name, property)| (format!("{prefix}{name}"), property)).collect();
    }
    view.entry("required").or_insert_with(|| json!([]));
    view.entry("properties").or_insert_with(|| json!({}));
    view.insert("name".into(), json!(item.name));
    view.insert("created_at".into(), json!(item.created_at.to_seconds_z()));
    view.insert("updated_at".into(), json!(item.updated_at.to_seconds_z()));
    view.insert("self".into(), json!(format!("/v2/metadefs/namespaces/{namespace}/objects/{}", item.name)));
    view.insert("schema".into(), json!("/v2/schemas/metadefs/object"));
    Value::Object(view)
}
