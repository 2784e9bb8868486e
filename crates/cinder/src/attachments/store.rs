//! Queries about attachments, and the two ways one begins and ends: each together with its volume's status.

use kit::clock::Timestamp;
use kit::{Error, Result};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, Set};

use super::{ActiveModel, Attachment, Column, Entity};
use crate::Cinder;
use crate::volumes::migrate::is_migrating;
use crate::volumes::{AttachStatus, Status, store as volumes};

pub async fn fetch(db: &impl ConnectionTrait, id: &str) -> Result<Attachment> {
    Entity::find_by_id(id).one(db).await?.ok_or_else(|| not_found(id))
}

pub fn not_found(id: &str) -> Error {
    Error::not_found(format!("Volume attachment could not be found with filter: attachment_id = {id}."))
}

pub async fn of_volume(db: &impl ConnectionTrait, volume_id: &str) -> Result<Vec<Attachment>> {
    Ok(Entity::find().filter(Column::VolumeId.eq(volume_id)).order_by_asc(Column::CreatedAt).all(db).await?)
}

pub async fn of_volumes(db: &impl ConnectionTrait, volume_ids: &[String]) -> Result<Vec<Attachment>> {
    Ok(Entity::find().filter(Column::VolumeId.is_in(volume_ids)).order_by_asc(Column::CreatedAt).all(db).await?)
}

/// Adds an attachment if the volume is free for it, or may have several.
pub async fn add(tx: &impl ConnectionTrait, volume_id: &str, row: ActiveModel) -> Result<()> {
    let volume = volumes::lock(tx, volume_id).await?;
    let free = match volume.status {
        Status::Available | Status::Downloading => !is_migrating(&volume),
        // os-reserve has marked it for the attachment that now comes
        Status::Attaching => of_volume(tx, volume_id).await?.is_empty() || volume.multiattach,
        Status::InUse | Status::Reserved => volume.multiattach || is_servers(tx, volume_id, &row).await?,
        Status::Creating
        | Status::Detaching
        | Status::Maintenance
        | Status::Extending
        | Status::Uploading
        | Status::Retyping
        | Status::Reverting
        | Status::BackingUp
        | Status::RestoringBackup
        | Status::AwaitingTransfer
        | Status::Managing
        | Status::Unmanaging
        | Status::Deleting
        | Status::Error
        | Status::ErrorDeleting
        | Status::ErrorExtending
        | Status::ErrorRestoring
        | Status::ErrorBackingUp
        | Status::ErrorManaging => false,
    };
    if volume.status.is_error() {
        return Err(volumes::invalid(format!(
            "Volume attachments can not be created if the volume is in an error state. The Volume {volume_id} currently has a status of: {} ",
            volume.status.text()
        )));
    }
    if !free {
        return Err(volumes::invalid(format!(
            "Volume {volume_id} status must be available or downloading to reserve, but the current status is {}.",
            volume.status.text()
        )));
    }
    Entity::insert(row).exec_without_returning(tx).await?;
    volumes::follow_attachments(tx, &volume).await
}

/// Whether nobody but the server of a new attachment has the volume: a server that moves to another host has it on both for a while.
async fn is_servers(tx: &impl ConnectionTrait, volume_id: &str, row: &ActiveModel) -> Result<bool> {
    let Some(Some(server)) = row.instance_id.clone().take() else { return Ok(false) };
    let all = of_volume(tx, volume_id).await?;
    Ok(all.iter().all(|attachment| attachment.instance_id.as_ref() == Some(&server)))
}

/// Removes an attachment; the last one frees the volume. Nothing happens when there is none.
pub async fn remove(tx: &impl ConnectionTrait, attachment: &Attachment) -> Result<()> {
    let volume = volumes::lock(tx, &attachment.volume_id).await?;
    Entity::delete_by_id(&attachment.id).exec(tx).await?;
    volumes::follow_attachments(tx, &volume).await
}

/// Changes an attachment, and its volume's status with it.
pub async fn update(app: &Cinder, attachment: &Attachment, row: ActiveModel) -> Result<()> {
    let (id, volume_id) = (attachment.id.clone(), attachment.volume_id.clone());
    app.db()
        .write(move |tx| {
            Box::pin(async move {
                let volume = volumes::lock(tx, &volume_id).await?;
                Entity::update_many().set(row).filter(Column::Id.eq(&id)).exec(tx).await?;
                fetch(tx, &id).await?;
                volumes::follow_attachments(tx, &volume).await
            })
        })
        .await
}

/// The columns of a finished attachment.
pub fn attached() -> ActiveModel {
    ActiveModel { status: Set(AttachStatus::Attached), attached_at: Set(Some(Timestamp::now())), ..Default::default() }
}
