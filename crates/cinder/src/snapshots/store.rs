//! Queries about snapshots.

use kit::clock::Timestamp;
use kit::{Error, Result};
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveEnum, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, Set};

use super::{ActiveModel, Change, Column, Entity, Snapshot};
use crate::{Cinder, quotas};

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

/// Changes the status if the table allows it now; false when it does not.
pub async fn change(tx: &impl ConnectionTrait, id: &str, change: Change) -> Result<bool> {
    let (from, to) = change.rule();
    let update = Entity::update_many()
        .filter(Column::Id.eq(id))
        .filter(Column::Status.is_in(from.iter().copied()))
        .col_expr(Column::Status, Expr::value(to.to_value()))
        .col_expr(Column::UpdatedAt, Expr::value(Timestamp::now()));
    Ok(update.exec(tx).await?.rows_affected == 1)
}

/// The same, or 400 in cinder's words.
pub async fn change_or_refuse(tx: &impl ConnectionTrait, id: &str, to: Change) -> Result<()> {
    if change(tx, id, to).await? {
        return Ok(());
    }
    let status = fetch(tx, id).await?.status.text();
    let allowed: Vec<String> = to.rule().0.iter().map(|status| status.text()).collect();
    let allowed = allowed.join(" or ");
    Err(Error::bad_request(format!("Invalid snapshot: Snapshot status must be {allowed}, but current status is {status}.")))
}

/// Writes one change of status on its own.
pub async fn turn(app: &Cinder, id: &str, to: Change) -> Result<()> {
    let id = id.to_owned();
    app.db().write(move |tx| Box::pin(async move { change(tx, &id, to).await.map(drop) })).await
}

/// Changes columns of a snapshot.
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
pub async fn remove(tx: &impl ConnectionTrait, snapshot: &Snapshot, type_name: &str) -> Result<()> {
    if Entity::delete_by_id(&snapshot.id).exec(tx).await?.rows_affected == 1 {
        quotas::store::release(tx, &snapshot.project_id, &quotas::snapshot(snapshot.size, type_name)).await?;
    }
    Ok(())
}
