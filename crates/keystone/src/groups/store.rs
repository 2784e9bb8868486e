//! Queries on groups and their members.

use kit::db::is_duplicate;
use kit::{Error, Result};
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder,
    QuerySelect, QueryTrait, Select,
};

use super::{Column, Entity, Model, members};
use crate::list::BUNCH;
use crate::{assignments, fault, users};

pub async fn fetch(db: &impl ConnectionTrait, id: &str) -> Result<Model> {
    Entity::find_by_id(id).one(db).await?.ok_or_else(|| fault::could_not_find("group", id))
}

pub async fn insert(tx: &DatabaseTransaction, group: Model) -> Result<Model> {
    let (name, domain) = (group.name.clone(), group.domain_id.clone());
    group.into_active_model().insert(tx).await.map_err(|error| taken(error, &name, &domain))
}

/// Replaces the row.
pub async fn update(tx: &DatabaseTransaction, group: Model) -> Result<Model> {
    let (name, domain) = (group.name.clone(), group.domain_id.clone());
    group.into_active_model().reset_all().update(tx).await.map_err(|error| taken(error, &name, &domain))
}

/// Removes groups with their memberships and roles.
pub async fn delete(tx: &DatabaseTransaction, ids: &[String]) -> Result<()> {
    for ids in ids.chunks(BUNCH) {
        assignments::Entity::delete_many().filter(assignments::Column::ActorId.is_in(ids)).exec(tx).await?;
        members::Entity::delete_many().filter(members::Column::GroupId.is_in(ids)).exec(tx).await?;
        Entity::delete_many().filter(Column::Id.is_in(ids)).exec(tx).await?;
    }
    Ok(())
}

pub async fn ids_of_user(db: &impl ConnectionTrait, user_id: &str) -> Result<Vec<String>> {
    let rows = members::Entity::find().filter(members::Column::UserId.eq(user_id)).all(db).await?;
    Ok(rows.into_iter().map(|row| row.group_id).collect())
}

pub async fn of_user(db: &impl ConnectionTrait, user_id: &str) -> Result<Vec<Model>> {
    let of_user = members::Entity::find().select_only().column(members::Column::GroupId).filter(members::Column::UserId.eq(user_id));
    Ok(Entity::find().filter(Column::Id.in_subquery(of_user.into_query())).order_by_asc(Column::Name).all(db).await?)
}

/// The users in a group.
pub fn users(group_id: &str) -> Select<users::Entity> {
    let in_group = members::Entity::find().select_only().column(members::Column::UserId).filter(members::Column::GroupId.eq(group_id));
    users::Entity::find().filter(users::Column::Id.in_subquery(in_group.into_query()))
}

pub async fn has(db: &impl ConnectionTrait, group_id: &str, user_id: &str) -> Result<bool> {
    Ok(members::Entity::find_by_id((group_id.to_owned(), user_id.to_owned())).one(db).await?.is_some())
}

/// Puts a user into a group, where the user may already be.
pub async fn add(tx: &DatabaseTransaction, group_id: &str, user_id: &str) -> Result<()> {
    let row = members::Model { group_id: group_id.to_owned(), user_id: user_id.to_owned() }.into_active_model();
    let there = OnConflict::columns([members::Column::GroupId, members::Column::UserId]).do_nothing().to_owned();
    members::Entity::insert(row).on_conflict(there).exec_without_returning(tx).await?;
    Ok(())
}

/// Takes a user out of a group; false when the user was not in it.
pub async fn remove(tx: &DatabaseTransaction, group_id: &str, user_id: &str) -> Result<bool> {
    let gone = members::Entity::delete_by_id((group_id.to_owned(), user_id.to_owned())).exec(tx).await?;
    Ok(gone.rows_affected > 0)
}

fn taken(error: sea_orm::DbErr, name: &str, domain: &str) -> Error {
    if is_duplicate(&error) { fault::duplicate("group", name, domain) } else { error.into() }
}
