//! The queries of keypairs.

use kit::collection::Page;
use kit::db::is_duplicate;
use kit::{Error, Result};
use sea_orm::entity::prelude::*;
use sea_orm::{ConnectionTrait, IntoActiveModel, QueryOrder, QuerySelect};

use super::{Column, Entity, Model};

/// A user's keypair.
pub async fn fetch(db: &impl ConnectionTrait, user_id: &str, name: &str) -> Result<Option<Model>> {
    Ok(Entity::find_by_id((user_id.to_owned(), name.to_owned())).one(db).await?)
}

/// One page by name; one row more than the limit when there is another page.
pub async fn page(db: &impl ConnectionTrait, user_id: &str, page: &Page) -> Result<Vec<Model>> {
    let mut query = Entity::find().filter(Column::UserId.eq(user_id)).order_by_asc(Column::Name).limit(page.limit + 1);
    if let Some(marker) = &page.marker {
        if fetch(db, user_id, marker).await?.is_none() {
            return Err(Error::bad_request(format!("marker [{marker}] not found")));
        }
        query = query.filter(Column::Name.gt(marker.as_str()));
    }
    Ok(query.all(db).await?)
}

pub async fn count(db: &impl ConnectionTrait, user_id: &str) -> Result<i64> {
    let count = Entity::find().filter(Column::UserId.eq(user_id)).count(db).await?;
    Ok(i64::try_from(count).unwrap_or(i64::MAX))
}

/// 409 when the user has one of this name.
pub async fn insert(tx: &impl ConnectionTrait, keypair: Model) -> Result<()> {
    let name = keypair.name.clone();
    match Entity::insert(keypair.into_active_model().reset_all()).exec_without_returning(tx).await {
        Ok(_) => Ok(()),
        Err(error) if is_duplicate(&error) => Err(Error::conflict(format!("Key pair '{name}' already exists."))),
        Err(error) => Err(error.into()),
    }
}

/// False when there was none.
pub async fn delete(tx: &impl ConnectionTrait, user_id: &str, name: &str) -> Result<bool> {
    Ok(Entity::delete_by_id((user_id.to_owned(), name.to_owned())).exec(tx).await?.rows_affected == 1)
}
