//! `/resource_classes`: what can be counted. The standard ones are in the code, the custom ones in the database.

use http::StatusCode;
use kit::clock::Timestamp;
use kit::{Context, Error, Path, Reply, Result};
use sdk::standard::RESOURCE_CLASSES;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, PaginatorTrait, QueryFilter, QueryOrder};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::entity::{class, inventory};
use crate::input::{Body, is_custom};
use crate::{Placement, answer, microversions as mv};

/// Body that names a class.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    name: String,
}

/// 400 when one of the classes is neither standard nor made known.
pub async fn check_known(conn: &impl ConnectionTrait, names: impl Iterator<Item = &String>) -> Result<()> {
    match unknown(conn, names).await? {
        None => Ok(()),
        Some(name) => Err(Error::bad_request(format!("Invalid resource class in resources parameter: No such resource class {name}."))),
    }
}

/// The same for inventories of a provider.
pub async fn check_stocked(conn: &impl ConnectionTrait, provider: &str, names: impl Iterator<Item = &String>) -> Result<()> {
    match unknown(conn, names).await? {
        None => Ok(()),
        Some(name) => Err(Error::bad_request(format!(
            "Unknown resource class in inventory for resource provider {provider}: No such resource class {name}."
        ))),
    }
}

async fn unknown<'a>(conn: &impl ConnectionTrait, names: impl Iterator<Item = &'a String>) -> Result<Option<&'a String>> {
    for name in names.filter(|name| !RESOURCE_CLASSES.contains(&name.as_str())) {
        if class::Entity::find_by_id(name.clone()).one(conn).await?.is_none() {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

pub async fn list(app: Placement, ctx: Context) -> Result<Reply> {
    let custom = class::Entity::find().order_by_asc(class::Column::Name).all(app.db.read()).await?;
    let names = RESOURCE_CLASSES.iter().copied().chain(custom.iter().map(|row| row.name.as_str()));
    let classes: Vec<Value> = names.map(|name| view(&ctx, name)).collect();
    answer::ok(&ctx, Timestamp::now(), &json!({"resource_classes": classes}))
}

pub async fn show(app: Placement, ctx: Context, name: Path<String>) -> Result<Reply> {
    check_exists(&app, &name.0).await?;
    answer::ok(&ctx, Timestamp::now(), &view(&ctx, &name.0))
}

pub async fn create(app: Placement, ctx: Context, body: Body<Named>) -> Result<Reply> {
    let name = body.0.name;
    check_custom(&name)?;
    if !insert(&app, &name).await? {
        return Err(Error::conflict(format!("Conflicting resource class already exists: {name}")));
    }
    Ok(Reply::empty(StatusCode::CREATED).header("location", &ctx.link(&format!("/resource_classes/{name}"))))
}

/// Renames until 1.6; from 1.7 on makes sure the class exists.
pub async fn update(app: Placement, ctx: Context, name: Path<String>, raw: kit::Raw) -> Result<Reply> {
    if !ctx.speaks(mv::IDEMPOTENT_CLASS) {
        let bytes = axum::body::to_bytes(raw.body, 64 << 10).await.map_err(|_| Error::bad_request("Malformed JSON"))?;
        let body = serde_json::from_slice(&bytes).map_err(|error| Error::bad_request(format!("Malformed JSON: {error}")))?;
        return rename(app, ctx, name.0, crate::input::shaped(body)?).await;
    }
    check_custom(&name.0)?;
    let status = if insert(&app, &name.0).await? { StatusCode::CREATED } else { StatusCode::NO_CONTENT };
    Ok(Reply::empty(status).header("location", &ctx.link(&format!("/resource_classes/{}", name.0))))
}

async fn rename(app: Placement, ctx: Context, old: String, new: Named) -> Result<Reply> {
    check_custom(&new.name)?;
    check_exists(&app, &old).await?;
    check_custom(&old)?;
    let name = new.name.clone();
    app.db
        .write(move |tx| {
            Box::pin(async move {
                if inventory::Entity::find().filter(inventory::Column::ResourceClass.eq(&old)).count(tx).await? > 0 {
                    return Err(Error::conflict(format!("Cannot rename resource class {old}: it is in use")));
                }
                if !store(tx, &new.name).await? {
                    return Err(Error::conflict(format!("Resource class already exists: {}", new.name)));
                }
                class::Entity::delete_by_id(old).exec(tx).await?;
                Ok(())
            })
        })
        .await?;
    answer::ok(&ctx, Timestamp::now(), &view(&ctx, &name))
}

pub async fn delete(app: Placement, _: Context, name: Path<String>) -> Result<Reply> {
    check_exists(&app, &name.0).await?;
    if RESOURCE_CLASSES.contains(&name.0.as_str()) {
        return Err(Error::bad_request(format!("Cannot delete standard resource class {}.", name.0)));
    }
    app.db
        .write(move |tx| {
            Box::pin(async move {
                let used = inventory::Entity::find().filter(inventory::Column::ResourceClass.eq(&name.0)).count(tx).await?;
                if used > 0 {
                    return Err(Error::conflict(format!("Cannot delete resource class {}. Class is in use in inventory.", name.0)));
                }
                class::Entity::delete_by_id(name.0).exec(tx).await?;
                Ok(())
            })
        })
        .await?;
    Reply::no_content()
}

/// True when the class is new.
async fn insert(app: &Placement, name: &str) -> Result<bool> {
    let name = name.to_owned();
    app.db.write(move |tx| Box::pin(async move { store(tx, &name).await })).await
}

async fn store(tx: &sea_orm::DatabaseTransaction, name: &str) -> Result<bool> {
    let row = class::Model { name: name.to_owned(), created_at: Timestamp::now() };
    let once = OnConflict::column(class::Column::Name).do_nothing().to_owned();
    let done = class::Entity::insert(row.into_active_model()).on_conflict(once).exec_without_returning(tx).await;
    match done {
        Ok(rows) => Ok(rows > 0),
        Err(sea_orm::DbErr::RecordNotInserted) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

async fn check_exists(app: &Placement, name: &str) -> Result<()> {
    if RESOURCE_CLASSES.contains(&name) || class::Entity::find_by_id(name.to_owned()).one(app.db.read()).await?.is_some() {
        return Ok(());
    }
    Err(Error::not_found(format!("No such resource class {name}.")))
}

fn check_custom(name: &str) -> Result<()> {
    if is_custom(name) {
        return Ok(());
    }
    Err(Error::bad_request(format!("JSON does not validate: '{name}' does not match '^CUSTOM_[A-Z0-9_]+$'")))
}

fn view(ctx: &Context, name: &str) -> Value {
    json!({"name": name, "links": [{"rel": "self", "href": format!("{}/resource_classes/{name}", ctx.prefix)}]})
}
