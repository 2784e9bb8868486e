//! `/metadefs/resource_types`, and which of them a namespace applies to.

use kit::clock::Timestamp;
use kit::{Context, Error, Json, Path, Reply, Result};
use sea_orm::{EntityTrait, QueryOrder};
use serde_json::{Map, Value, json};

use super::{fields, permitted, seen, store, unprotected};
use crate::Glance;
use crate::entity::metadef::{association, resource_type};
use crate::routes::segment;

pub async fn list(app: Glance, _: Context) -> Result<Reply> {
    let rows = resource_type::Entity::find().order_by_asc(resource_type::Column::Name).all(app.db.read()).await?;
    let times = |row: &resource_type::Model| (row.created_at.to_seconds_z(), row.updated_at.to_seconds_z());
    let views: Vec<Value> = rows
        .iter()
        .map(|row| {
            let (created, updated) = times(row);
            json!({"name": row.name, "created_at": created, "updated_at": updated})
        })
        .collect();
    Reply::ok(&json!({"resource_types": views}))
}

/// `GET /metadefs/namespaces/{namespace}/resource_types`
pub async fn of_namespace(app: Glance, ctx: Context, namespace: Path<String>) -> Result<Reply> {
    let row = seen(&app, &ctx, &namespace.0).await?;
    let rows = store::associations(app.db.read(), &[&row.namespace]).await?;
    Reply::ok(&json!({"resource_type_associations": rows.iter().map(view).collect::<Vec<_>>()}))
}

pub async fn associate(app: Glance, ctx: Context, namespace: Path<String>, body: Json<Value>) -> Result<Reply> {
    let row = permitted(&app, &ctx, &namespace.0, "add_metadef_resource_type_association").await?;
    let association = read(&fields::object(body.0)?, &row.namespace)?;
    let shown = view(&association);
    app.db.write(move |tx| Box::pin(async move { store::associate(tx, association).await })).await?;
    Reply::created(&shown)
}

pub async fn dissociate(app: Glance, ctx: Context, Path((namespace, kind)): Path<(String, String)>) -> Result<Reply> {
    let row = permitted(&app, &ctx, &namespace, "remove_metadef_resource_type_association").await?;
    unprotected(&row, "resource-type association")?;
    let key = (row.namespace, segment(&kind));
    let missing = Error::not_found(format!(
        "The metadata definition resource-type association of resource-type={} to namespace={}, was not found.",
        key.1, key.0
    ));
    let gone =
        app.db.write(move |tx| Box::pin(async move { Ok(association::Entity::delete_by_id(key).exec(tx).await?.rows_affected) })).await?;
    if gone == 1 { Reply::no_content() } else { Err(missing) }
}

/// An association as a client describes it.
pub fn read(body: &Map<String, Value>, namespace: &str) -> Result<association::Model> {
    let now = Timestamp::now();
    Ok(association::Model {
        namespace: namespace.to_owned(),
        resource_type: fields::name(body, "name")?,
        prefix: fields::short(body, "prefix")?,
        properties_target: fields::short(body, "properties_target")?,
        created_at: now,
        updated_at: now,
    })
}

pub fn view(row: &association::Model) -> Value {
    let mut view =
        json!({"name": row.resource_type, "created_at": row.created_at.to_seconds_z(), "updated_at": row.updated_at.to_seconds_z()});
    if let Some(view) = view.as_object_mut() {
        for (key, value) in [("prefix", &row.prefix), ("properties_target", &row.properties_target)] {
            if let Some(value) = value {
                view.insert(key.into(), json!(value));
            }
        }
    }
    view
}
