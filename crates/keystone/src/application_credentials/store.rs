//! Queries on application credentials.

use kit::Result;
use kit::db::is_duplicate;
use sea_orm::{ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder};

use super::{Column, Entity, Model};
use crate::fault;

pub async fn by_name(db: &impl ConnectionTrait, user_id: &str, name: &str) -> Result<Option<Model>> {
    Ok(Entity::find().filter(Column::UserId.eq(user_id)).filter(Column::Name.eq(name)).one(db).await?)
}

pub async fn of_user(db: &impl ConnectionTrait, user_id: &str) -> Result<Vec<Model>> {
    Ok(Entity::find().filter(Column::UserId.eq(user_id)).order_by_asc(Column::Name).all(db).await?)
}

pub async fn insert(tx: &DatabaseTransaction, credential: Model) -> Result<Model> {
    let name = credential.name.clone();
    let taken = |error: sea_orm::DbErr| match is_duplicate(&error) {
        true => fault::duplicate("application_credential", &name, ""),
        false => error.into(),
    };
    credential.into_active_model().insert(tx).await.map_err(taken)
}

/// Removes those of a user for a project.
pub async fn delete_of(tx: &DatabaseTransaction, user_id: &str, project_id: &str) -> Result<()> {
    Entity::delete_many().filter(Column::UserId.eq(user_id)).filter(Column::ProjectId.eq(project_id)).exec(tx).await?;
    Ok(())
}
