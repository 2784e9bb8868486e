//! Queries about snapshots of groups.

use kit::clock::Timestamp;
use kit::{Error, Result};
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveEnum, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};

use super::{Column, Entity, GroupSnapshot};
use crate::Cinder;
use crate::groups::Status;
use crate::snapshots::{self, Snapshot};

pub async fn fetch(db: &impl ConnectionTrait, id: &str) -> Result<GroupSnapshot> {
    Entity::find_by_id(id).one(db).await?.ok_or_else(|| not_found(id))
}

pub fn not_found(id: &str) -> Error {
    Error::not_found(format!("GroupSnapshot {id} could not be found."))
}

pub async fn snapshots_of(db: &impl ConnectionTrait, id: &str) -> Result<Vec<Snapshot>> {
    Ok(snapshots::Entity::find().filter(snapshots::Column::GroupSnapshotId.eq(id)).all(db).await?)
}

/// Whether a group has any.
pub async fn of_group(db: &impl ConnectionTrait, group_id: &str) -> Result<bool> {
    Ok(Entity::find().filter(Column::GroupId.eq(group_id)).one(db).await?.is_some())
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
