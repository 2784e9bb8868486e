//! Queries about snapshots.

use kit::clock::Timestamp;
use kit::{Error, Result};
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveEnum, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};

use super::{Column, Entity, Snapshot, Status};
use crate::quotas;

pub async fn find(db: &impl ConnectionTrait, id: &str) -> Result<Option<Snapshot>> {
    Ok(Entity::find_by_id(id).one(db).await?)
}

pub async fn fetch(db: &impl ConnectionTrait, id: &str) -> Result<Snapshot> {
    find(db, id).await?.ok_or_else(|| not_found(id))
}

pub fn not_found(id: &str) -> Error {
    Error::not_found(format!("Snapshot {id} could not be found."))
}

pub async fn of_volume(db: &impl ConnectionTrait, volume_id: &str) -> Result<Vec<Snapshot>> {
    Ok(Entity::find().filter(Column::VolumeId.eq(volume_id)).all(db).await?)
}

/// Changes the status if it is one of `from`; false when it is not.
pub async fn change(tx: &impl ConnectionTrait, id: &str, from: &[Status], to: Status) -> Result<bool> {
    let update = Entity::update_many()
        .filter(Column::Id.eq(id))
        .filter(Column::Status.is_in(from.iter().copied()))
        .col_expr(Column::Status, Expr::value(to.to_value()))
        .col_expr(Column::UpdatedAt, Expr::value(Timestamp::now()));
    Ok(update.exec(tx).await?.rows_affected == 1)
}

/// The row goes, and its quota with it: once.
pub async fn remove(tx: &impl ConnectionTrait, snapshot: &Snapshot, type_name: &str) -> Result<()> {
    if Entity::delete_by_id(&snapshot.id).exec(tx).await?.rows_affected == 1 {
        quotas::store::release(tx, &snapshot.project_id, &quotas::snapshot(snapshot.size, type_name)).await?;
    }
    Ok(())
}
