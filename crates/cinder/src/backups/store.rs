//! Queries about backups.

use std::collections::BTreeSet;

use kit::clock::Timestamp;
use kit::{Error, Result};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ActiveEnum, ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Set};

use super::{ActiveModel, Backup, Change, Column, Entity, Status};
use crate::{Cinder, keys, quotas};

pub async fn find(db: &impl ConnectionTrait, id: &str) -> Result<Option<Backup>> {
    Ok(Entity::find_by_id(id).one(db).await?)
}

pub async fn fetch(db: &impl ConnectionTrait, id: &str) -> Result<Backup> {
    find(db, id).await?.ok_or_else(|| not_found(id))
}

pub fn not_found(id: &str) -> Error {
    Error::not_found(format!("Backup {id} could not be found."))
}

/// The newest backup that a project has of a volume, where a host can read it, and that another can build on.
pub async fn newest(db: &impl ConnectionTrait, project_id: &str, volume_id: &str, host: &str) -> Result<Option<Backup>> {
    let select = Entity::find()
        .filter(Column::ProjectId.eq(project_id))
        .filter(Column::VolumeId.eq(volume_id))
        .filter(Column::Host.eq(host).or(Column::Bucket.is_not_null()))
        .filter(Column::Status.eq(Status::Available))
        .order_by_desc(Column::DataAt);
    Ok(select.one(db).await?)
}

/// The key of an encrypted backup, by the id under which its host keeps it.
pub async fn key_of(db: &impl ConnectionTrait, data_id: &str) -> Result<Option<String>> {
    let same = Condition::any().add(Column::Id.eq(data_id)).add(Column::DataId.eq(data_id));
    let locked = Entity::find().filter(same).filter(Column::EncryptionKeyId.is_not_null()).one(db).await?;
    Ok(locked.and_then(|backup| backup.encryption_key_id))
}

/// Whether another backup, that stays, leads to the same data.
pub async fn shares_data(db: &impl ConnectionTrait, backup: &Backup) -> Result<bool> {
    let same = Condition::any().add(Column::Id.eq(backup.data_id())).add(Column::DataId.eq(backup.data_id()));
    let stays = Column::Id.ne(&backup.id).and(Column::Status.ne(Status::Deleting));
    Ok(Entity::find().filter(same).filter(stays).one(db).await?.is_some())
}

/// Which of these have others built on them.
pub async fn parents_among(db: &impl ConnectionTrait, ids: &[String]) -> Result<BTreeSet<String>> {
    let select = Entity::find().select_only().column(Column::ParentId).filter(Column::ParentId.is_in(ids));
    let parents: Vec<Option<String>> = select.into_tuple().all(db).await?;
    Ok(parents.into_iter().flatten().collect())
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
    Err(Error::bad_request(format!("Invalid backup: Backup status must be {allowed}, but current status is {status}.")))
}

/// Writes one change of status on its own.
pub async fn turn(app: &Cinder, id: &str, to: Change) -> Result<()> {
    let id = id.to_owned();
    app.db().write(move |tx| Box::pin(async move { change(tx, &id, to).await.map(drop) })).await
}

/// Changes columns of a backup.
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
pub async fn remove(tx: &impl ConnectionTrait, backup: &Backup) -> Result<()> {
    if Entity::delete_by_id(&backup.id).exec(tx).await?.rows_affected == 1 {
        quotas::store::release(tx, &backup.project_id, &quotas::backup(backup.size)).await?;
        if let Some(key) = &backup.encryption_key_id {
            keys::remove(tx, key).await?;
        }
    }
    Ok(())
}
