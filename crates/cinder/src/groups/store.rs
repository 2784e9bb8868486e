//! Queries about groups.

use kit::clock::Timestamp;
use kit::{Error, Result};
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveEnum, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, Set};

use super::{ActiveModel, Column, Entity, Group, Status};
use crate::volumes::{self, Volume};
use crate::{Cinder, quotas};

pub async fn find(db: &impl ConnectionTrait, id: &str) -> Result<Option<Group>> {
    Ok(Entity::find_by_id(id).one(db).await?)
}

pub async fn fetch(db: &impl ConnectionTrait, id: &str) -> Result<Group> {
    find(db, id).await?.ok_or_else(|| not_found(id))
}

pub fn not_found(id: &str) -> Error {
    Error::not_found(format!("Group {id} could not be found."))
}

/// 400 for a group in the wrong state.
pub fn invalid(why: impl std::fmt::Display) -> Error {
    Error::bad_request(format!("Invalid Group: {why}"))
}

pub async fn volumes_of(db: &impl ConnectionTrait, id: &str) -> Result<Vec<Volume>> {
    let select = volumes::Entity::find().filter(volumes::Column::GroupId.eq(id)).order_by_asc(volumes::Column::CreatedAt);
    Ok(select.all(db).await?)
}

/// Changes the status if it is one of `from`, and the table of states has that way; false when it is not.
pub async fn change(tx: &impl ConnectionTrait, id: &str, from: &[Status], to: Status) -> Result<bool> {
    let update = Entity::update_many()
        .filter(Column::Id.eq(id))
        .filter(Column::Status.is_in(from.iter().copied().filter(|from| from.may_become(to))))
        .col_expr(Column::Status, Expr::value(to.to_value()))
        .col_expr(Column::UpdatedAt, Expr::value(Timestamp::now()));
    Ok(update.exec(tx).await?.rows_affected == 1)
}

/// Writes one change of status on its own.
pub async fn turn(app: &Cinder, id: &str, from: Status, to: Status) -> Result<()> {
    let id = id.to_owned();
    app.db().write(move |tx| Box::pin(async move { change(tx, &id, &[from], to).await.map(drop) })).await
}

/// Changes columns of a group.
pub async fn update(app: &Cinder, id: &str, row: ActiveModel) -> Result<()> {
    let (id, row) = (id.to_owned(), ActiveModel { updated_at: Set(Some(Timestamp::now())), ..row });
    app.db()
        .write(move |tx| {
            Box::pin(async move {
                Entity::update_many().set(row).filter(Column::Id.eq(id)).exec(tx).await?;
                Ok(())
            })
        })
        .await
}

/// The row goes, and its quota with it: once.
pub async fn remove(tx: &impl ConnectionTrait, group: &Group) -> Result<()> {
    if Entity::delete_by_id(&group.id).exec(tx).await?.rows_affected == 1 {
        quotas::store::release(tx, &group.project_id, &quotas::group()).await?;
    }
    Ok(())
}

/// Which of these groups are of a type.
pub async fn of_type<'a>(db: &impl ConnectionTrait, type_id: &str, ids: impl Iterator<Item = &'a str>) -> Result<Vec<String>> {
    let ids: Vec<&str> = ids.collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let groups = Entity::find().filter(Column::TypeId.eq(type_id)).filter(Column::Id.is_in(ids)).all(db).await?;
    Ok(groups.into_iter().map(|group| group.id).collect())
}
