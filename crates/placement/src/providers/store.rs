//! The queries of resource providers.

use kit::clock::Timestamp;
use kit::{Error, Result};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, PaginatorTrait, QueryFilter};

use crate::entity::{inventory, provider, provider_aggregate, provider_trait};
use crate::fault::{concurrent_update, duplicate_name};

/// The provider; 404 when there is none.
pub async fn fetch(conn: &impl ConnectionTrait, uuid: &str) -> Result<provider::Model> {
    let found = provider::Entity::find_by_id(uuid.to_owned()).one(conn).await?;
    found.ok_or_else(|| Error::not_found(format!("No resource provider with uuid {uuid} found")))
}

pub async fn insert(conn: &impl ConnectionTrait, provider: provider::Model) -> Result<()> {
    let name = provider.name.clone();
    match provider::Entity::insert(provider.into_active_model()).exec_without_returning(conn).await {
        Ok(_) => Ok(()),
        Err(error) if kit::db::is_duplicate(&error) => Err(conflicting(&name)),
        Err(error) => Err(error.into()),
    }
}

/// Every provider of the trees with these roots.
pub async fn trees(conn: &impl ConnectionTrait, roots: &[String]) -> Result<Vec<provider::Model>> {
    Ok(provider::Entity::find().filter(provider::Column::RootUuid.is_in(roots.iter().cloned())).all(conn).await?)
}

/// Takes the provider from `generation` to the next; 409 when somebody was quicker.
pub async fn advance(conn: &impl ConnectionTrait, uuid: &str, generation: i64) -> Result<i64> {
    let done = provider::Entity::update_many()
        .col_expr(provider::Column::Generation, Expr::val(generation + 1))
        .col_expr(provider::Column::UpdatedAt, Expr::val(Timestamp::now().0))
        .filter(provider::Column::Uuid.eq(uuid))
        .filter(provider::Column::Generation.eq(generation))
        .exec(conn)
        .await?;
    if done.rows_affected == 1 { Ok(generation + 1) } else { Err(concurrent_update("resource provider generation conflict")) }
}

/// The provider at the generation a client read; 409 when it has moved on.
pub async fn fetch_at(conn: &impl ConnectionTrait, uuid: &str, generation: i64) -> Result<provider::Model> {
    let provider = fetch(conn, uuid).await?;
    if provider.generation == generation {
        return Ok(provider);
    }
    Err(concurrent_update(format!(
        "resource provider generation conflict for provider {uuid}: actual: {}, given: {generation}",
        provider.generation
    )))
}

pub async fn rename(conn: &impl ConnectionTrait, uuid: &str, name: &str) -> Result<()> {
    let done = provider::Entity::update_many()
        .col_expr(provider::Column::Name, Expr::val(name))
        .col_expr(provider::Column::UpdatedAt, Expr::val(Timestamp::now().0))
        .filter(provider::Column::Uuid.eq(uuid))
        .exec(conn)
        .await;
    match done {
        Ok(_) => Ok(()),
        Err(error) if kit::db::is_duplicate(&error) => Err(conflicting(name)),
        Err(error) => Err(error.into()),
    }
}

/// Hangs `moved`, and everything below it, under another parent.
pub async fn hang(conn: &impl ConnectionTrait, uuid: &str, parent: Option<&str>, moved: Vec<String>, root: &str) -> Result<()> {
    provider::Entity::update_many()
        .col_expr(provider::Column::ParentUuid, Expr::val(parent.map(str::to_owned)))
        .col_expr(provider::Column::UpdatedAt, Expr::val(Timestamp::now().0))
        .filter(provider::Column::Uuid.eq(uuid))
        .exec(conn)
        .await?;
    provider::Entity::update_many()
        .col_expr(provider::Column::RootUuid, Expr::val(root))
        .filter(provider::Column::Uuid.is_in(moved))
        .exec(conn)
        .await?;
    Ok(())
}

/// Deletes a provider that nothing hangs on and nobody draws on.
pub async fn delete(conn: &impl ConnectionTrait, uuid: &str) -> Result<()> {
    let children = provider::Entity::find().filter(provider::Column::ParentUuid.eq(uuid)).count(conn).await?;
    if children > 0 {
        let message = format!("Unable to delete parent resource provider {uuid}: It has child resource providers.");
        return Err(Error::conflict(message).code("placement.resource_provider.cannot_delete_parent"));
    }
    let used = inventory::Entity::find().filter(inventory::Column::ProviderUuid.eq(uuid)).filter(inventory::Column::Used.gt(0));
    if used.count(conn).await? > 0 {
        let message = format!("Unable to delete resource provider {uuid}: Resource provider has allocations.");
        return Err(Error::conflict(message).code("placement.resource_provider.inuse"));
    }
    provider_trait::Entity::delete_many().filter(provider_trait::Column::ProviderUuid.eq(uuid)).exec(conn).await?;
    provider_aggregate::Entity::delete_many().filter(provider_aggregate::Column::ProviderUuid.eq(uuid)).exec(conn).await?;
    inventory::Entity::delete_many().filter(inventory::Column::ProviderUuid.eq(uuid)).exec(conn).await?;
    provider::Entity::delete_by_id(uuid.to_owned()).exec(conn).await?;
    Ok(())
}

fn conflicting(name: &str) -> Error {
    duplicate_name(format!("Conflicting resource provider name: {name} already exists."))
}
