//! What a flavor asks of its host beyond its size.

use std::collections::BTreeMap;

use kit::db::Json as JsonColumn;
use kit::{Context, Error, Json, Path, Reply, Result};
use sea_orm::Set;
use sea_orm::entity::prelude::*;
use serde_json::{Value, json};

use super::{ActiveModel, Column, Entity, spec_rules};
use crate::microversions::EXTRA_SPECS_CHECKED;
use crate::{Nova, validate};

/// `GET /flavors/{id}/os-extra_specs`
pub async fn list(app: Nova, ctx: Context, id: Path<String>) -> Result<Reply> {
    let flavor = super::fetch(&app, &ctx, &id.0).await?;
    Reply::ok(&json!({"extra_specs": flavor.extra_specs.0}))
}

/// `GET /flavors/{id}/os-extra_specs/{key}`
pub async fn show(app: Nova, ctx: Context, Path((id, key)): Path<(String, String)>) -> Result<Reply> {
    let flavor = super::fetch(&app, &ctx, &id).await?;
    let value = flavor.extra_specs.0.get(&key).ok_or_else(|| missing(&id, &key))?;
    Reply::ok(&json!({key: value}))
}

/// `POST /flavors/{id}/os-extra_specs`
pub async fn create(app: Nova, ctx: Context, id: Path<String>, body: Json<Value>) -> Result<Reply> {
    let new = validate::only(body.0, "extra_specs", ctx.strict)?;
    let new = read(&ctx, &Value::Object(new))?;
    let flavor = super::fetch(&app, &ctx, &id.0).await?;
    let mut all = flavor.extra_specs.0;
    all.extend(new.clone());
    save(&app, flavor.id, all).await?;
    Reply::ok(&json!({"extra_specs": new}))
}

/// `PUT /flavors/{id}/os-extra_specs/{key}`
pub async fn update(app: Nova, ctx: Context, Path((id, key)): Path<(String, String)>, body: Json<Value>) -> Result<Reply> {
    let new = read(&ctx, &body.0)?;
    if new.len() != 1 || !new.contains_key(&key) {
        return Err(Error::bad_request("Request body and URI mismatch"));
    }
    let flavor = super::fetch(&app, &ctx, &id).await?;
    let mut all = flavor.extra_specs.0;
    all.extend(new.clone());
    save(&app, flavor.id, all).await?;
    Reply::ok(&new)
}

/// `DELETE /flavors/{id}/os-extra_specs/{key}`
pub async fn delete(app: Nova, ctx: Context, Path((id, key)): Path<(String, String)>) -> Result<Reply> {
    let flavor = super::fetch(&app, &ctx, &id).await?;
    let mut all = flavor.extra_specs.0;
    all.remove(&key).ok_or_else(|| missing(&id, &key))?;
    save(&app, flavor.id, all).await?;
    Ok(Reply::empty(http::StatusCode::OK))
}

fn read(ctx: &Context, value: &Value) -> Result<BTreeMap<String, String>> {
    let object = value.as_object().ok_or_else(|| validate::invalid("extra_specs", value, "It is not of type 'object'"))?;
    let text = |(key, value): (&String, &Value)| match value {
        Value::String(text) => Ok((key.clone(), text.clone())),
        Value::Number(number) => Ok((key.clone(), number.to_string())),
        other => Err(validate::invalid(&format!("extra_specs.{key}"), other, format!("{other} is not of type 'string', 'number'"))),
    };
    let specs: BTreeMap<String, String> = object.iter().map(text).collect::<Result<_>>()?;
    validate::metadata("extra_specs", &specs)?;
    if ctx.speaks(EXTRA_SPECS_CHECKED) {
        specs.iter().try_for_each(|(key, value)| spec_rules::check(key, value))?;
    }
    Ok(specs)
}

async fn save(app: &Nova, id: String, specs: BTreeMap<String, String>) -> Result<()> {
    app.db
        .write(move |tx| {
            Box::pin(async move {
                let change = ActiveModel { extra_specs: Set(JsonColumn(specs)), ..Default::default() };
                Entity::update_many().set(change).filter(Column::Id.eq(id)).exec(tx).await?;
                Ok(())
            })
        })
        .await
}

fn missing(id: &str, key: &str) -> Error {
    Error::not_found(format!("Flavor {id} has no extra specs with key {key}."))
}
