//! Queries on roles; every change moves the version of the reference.

use kit::db::is_duplicate;
use kit::{Error, Result};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, IntoActiveModel, QueryFilter};

use super::{Column, Entity, Model, implied};
use crate::{assignments, fault, reference};

pub async fn fetch(db: &impl ConnectionTrait, id: &str) -> Result<Model> {
    Entity::find_by_id(id).one(db).await?.ok_or_else(|| fault::could_not_find("role", id))
}

pub async fn insert(tx: &DatabaseTransaction, role: Model) -> Result<Model> {
    reference::changed(tx).await?;
    let (name, domain) = (role.name.clone(), role.domain_id.clone());
    role.into_active_model().insert(tx).await.map_err(|error| taken(error, &name, &domain))
}

/// Replaces the row.
pub async fn update(tx: &DatabaseTransaction, role: Model) -> Result<Model> {
    reference::changed(tx).await?;
    let (name, domain) = (role.name.clone(), role.domain_id.clone());
    role.into_active_model().reset_all().update(tx).await.map_err(|error| taken(error, &name, &domain))
}

/// Removes a role, everybody's assignments of it and what it implies.
pub async fn delete(tx: &DatabaseTransaction, id: &str) -> Result<()> {
    reference::changed(tx).await?;
    assignments::Entity::delete_many().filter(assignments::Column::RoleId.eq(id)).exec(tx).await?;
    implied::Entity::delete_many().filter(implied::Column::PriorRoleId.eq(id)).exec(tx).await?;
    implied::Entity::delete_many().filter(implied::Column::ImpliedRoleId.eq(id)).exec(tx).await?;
    Entity::delete_by_id(id).exec(tx).await?;
    Ok(())
}

pub async fn delete_of_domain(tx: &DatabaseTransaction, domain_id: &str) -> Result<()> {
    for role in Entity::find().filter(Column::DomainId.eq(domain_id)).all(tx).await? {
        delete(tx, &role.id).await?;
    }
    Ok(())
}

/// Lets a role imply another, which it may already do.
pub async fn imply(tx: &DatabaseTransaction, prior: &str, implies: &str) -> Result<()> {
    reference::changed(tx).await?;
    let row = implied::Model { prior_role_id: prior.to_owned(), implied_role_id: implies.to_owned() }.into_active_model();
    let there = OnConflict::columns([implied::Column::PriorRoleId, implied::Column::ImpliedRoleId]).do_nothing().to_owned();
    implied::Entity::insert(row).on_conflict(there).exec_without_returning(tx).await?;
    Ok(())
}

/// False when it did not imply it.
pub async fn imply_no_more(tx: &DatabaseTransaction, prior: &str, implies: &str) -> Result<bool> {
    reference::changed(tx).await?;
    Ok(implied::Entity::delete_by_id((prior.to_owned(), implies.to_owned())).exec(tx).await?.rows_affected > 0)
}

fn taken(error: sea_orm::DbErr, name: &str, domain: &str) -> Error {
    if is_duplicate(&error) { fault::duplicate("role", name, domain) } else { error.into() }
}
