//! `/traits` and a provider's traits: what providers can do. The standard names are os-traits', the custom ones are in the database.

use std::collections::BTreeSet;

use http::StatusCode;
use kit::clock::Timestamp;
use kit::{Context, Error, Path, Query, Reply, Result};
use sdk::standard;
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, IntoActiveModel, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
};
use serde::Deserialize;
use serde_json::json;

use crate::entity::{custom_trait, provider_trait};
use crate::input::{Body, is_custom, only};
use crate::providers::store;
use crate::{Placement, answer};

/// Body of `PUT /resource_providers/{uuid}/traits`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replace {
    traits: BTreeSet<String>,
    resource_provider_generation: i64,
}

/// 400 when one of the traits is neither standard nor made known.
pub async fn check_known(conn: &impl ConnectionTrait, names: impl Iterator<Item = &String>) -> Result<()> {
    let custom: Vec<String> = names.filter(|name| !is_standard(name)).cloned().collect();
    if custom.is_empty() {
        return Ok(());
    }
    let known = custom_trait::Entity::find().filter(custom_trait::Column::Name.is_in(custom.iter().cloned())).all(conn).await?;
    let unknown: Vec<&str> = custom.iter().filter(|name| !known.iter().any(|row| row.name == **name)).map(String::as_str).collect();
    if unknown.is_empty() { Ok(()) } else { Err(Error::bad_request(format!("No such trait(s): {}.", unknown.join(", ")))) }
}

pub async fn list(app: Placement, ctx: Context, query: Query) -> Result<Reply> {
    only(&query, &["name", "associated"])?;
    let custom = custom_trait::Entity::find().order_by_asc(custom_trait::Column::Name).all(app.db.read()).await?;
    let mut names: Vec<String> = standard::traits().map(str::to_owned).chain(custom.into_iter().map(|row| row.name)).collect();
    if let Some(filter) = query.get("name") {
        match (filter.strip_prefix("startswith:"), filter.strip_prefix("in:")) {
            (Some(prefix), _) => names.retain(|name| name.starts_with(prefix)),
            (None, Some(list)) => names.retain(|name| list.split(',').any(|wanted| wanted == name)),
            (None, None) => {
                return Err(Error::bad_request("Badly formatted name parameter. Expected name query string parameter in form: ?name=[in|startswith]:[name1,name2|prefix]. Got: \"".to_owned() + filter + "\""));
            }
        }
    }
    if let Some(text) = query.get("associated") {
        let wanted = match text.to_ascii_lowercase().as_str() {
            "true" => true,
            "false" => false,
            _ => {
                return Err(Error::bad_request(format!(
                    "The query parameter \"associated\" only accepts \"true\" or \"false\". Got: {text}"
                )));
            }
        };
        let used = provider_trait::Entity::find().select_only().column(provider_trait::Column::Name).distinct();
        let used: BTreeSet<String> = used.into_tuple::<String>().all(app.db.read()).await?.into_iter().collect();
        names.retain(|name| used.contains(name) == wanted);
    }
    answer::ok(&ctx, Timestamp::now(), &json!({"traits": names}))
}

pub async fn show(app: Placement, ctx: Context, name: Path<String>) -> Result<Reply> {
    check_exists(&app, &name.0).await?;
    Ok(answer::empty(&ctx, StatusCode::NO_CONTENT))
}

/// `PUT /traits/{name}`: makes sure a custom trait exists.
pub async fn create(app: Placement, ctx: Context, name: Path<String>) -> Result<Reply> {
    if !is_custom(&name.0) {
        return Err(Error::bad_request(format!(
            "The trait is invalid. A valid trait must be no longer than 255 characters, start with the prefix \"CUSTOM_\" and use following characters: \"A\"-\"Z\", \"0\"-\"9\" and \"_\". Got: {}",
            name.0
        )));
    }
    let location = ctx.link(&format!("/traits/{}", name.0));
    let row = custom_trait::Model { name: name.0, created_at: Timestamp::now() };
    let new = app
        .db
        .write(move |tx| {
            Box::pin(async move {
                let once = OnConflict::column(custom_trait::Column::Name).do_nothing().to_owned();
                match custom_trait::Entity::insert(row.into_active_model()).on_conflict(once).exec_without_returning(tx).await {
                    Ok(rows) => Ok(rows > 0),
                    Err(sea_orm::DbErr::RecordNotInserted) => Ok(false),
                    Err(error) => Err(error.into()),
                }
            })
        })
        .await?;
    let status = if new { StatusCode::CREATED } else { StatusCode::NO_CONTENT };
    Ok(answer::empty(&ctx, status).header("location", &location))
}

pub async fn delete(app: Placement, _: Context, name: Path<String>) -> Result<Reply> {
    check_exists(&app, &name.0).await?;
    if is_standard(&name.0) {
        return Err(Error::bad_request(format!("Cannot delete standard trait {}.", name.0)));
    }
    app.db
        .write(move |tx| {
            Box::pin(async move {
                let used = provider_trait::Entity::find().filter(provider_trait::Column::Name.eq(&name.0)).count(tx).await?;
                if used > 0 {
                    return Err(Error::conflict(format!("The trait {} is in use by a resource provider.", name.0)));
                }
                custom_trait::Entity::delete_by_id(name.0).exec(tx).await?;
                Ok(())
            })
        })
        .await?;
    Reply::no_content()
}

/// `GET /resource_providers/{uuid}/traits`
pub async fn of_provider(app: Placement, ctx: Context, id: Path<String>) -> Result<Reply> {
    let provider = store::fetch(app.db.read(), &id.0).await?;
    let names = names_of(app.db.read(), &provider.uuid).await?;
    answer::ok(&ctx, provider.updated_at, &json!({"traits": names, "resource_provider_generation": provider.generation}))
}

pub async fn replace(app: Placement, ctx: Context, id: Path<String>, body: Body<Replace>) -> Result<Reply> {
    let Replace { traits, resource_provider_generation } = body.0;
    let names = traits.clone();
    let generation = app
        .db
        .write(move |tx| {
            Box::pin(async move {
                let provider = store::fetch_at(tx, &id.0, resource_provider_generation).await?;
                check_known(tx, traits.iter()).await?;
                if names_of(tx, &provider.uuid).await?.iter().eq(&traits) {
                    return Ok(provider.generation);
                }
                set(tx, &provider.uuid, traits).await?;
                store::advance(tx, &provider.uuid, provider.generation).await
            })
        })
        .await?;
    answer::ok(&ctx, Timestamp::now(), &json!({"traits": names, "resource_provider_generation": generation}))
}

pub async fn clear(app: Placement, _: Context, id: Path<String>) -> Result<Reply> {
    app.db
        .write(move |tx| {
            Box::pin(async move {
                let provider = store::fetch(tx, &id.0).await?;
                set(tx, &provider.uuid, BTreeSet::new()).await?;
                store::advance(tx, &provider.uuid, provider.generation).await
            })
        })
        .await?;
    Reply::no_content()
}

async fn set(tx: &DatabaseTransaction, uuid: &str, names: BTreeSet<String>) -> Result<()> {
    provider_trait::Entity::delete_many().filter(provider_trait::Column::ProviderUuid.eq(uuid)).exec(tx).await?;
    if names.is_empty() {
        return Ok(());
    }
    let rows = names.into_iter().map(|name| provider_trait::Model { provider_uuid: uuid.to_owned(), name }.into_active_model());
    provider_trait::Entity::insert_many(rows).exec_without_returning(tx).await?;
    Ok(())
}

async fn names_of(conn: &impl ConnectionTrait, uuid: &str) -> Result<Vec<String>> {
    let rows = provider_trait::Entity::find().filter(provider_trait::Column::ProviderUuid.eq(uuid));
    let rows = rows.order_by_asc(provider_trait::Column::Name).all(conn).await?;
    Ok(rows.into_iter().map(|row| row.name).collect())
}

async fn check_exists(app: &Placement, name: &str) -> Result<()> {
    if is_standard(name) || custom_trait::Entity::find_by_id(name.to_owned()).one(app.db.read()).await?.is_some() {
        return Ok(());
    }
    Err(Error::not_found(format!("No such trait(s): {name}.")))
}

fn is_standard(name: &str) -> bool {
    standard::traits().any(|known| known == name)
}
