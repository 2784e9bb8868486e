//! `os-migrate_volume_completion`: compute says that a server has another volume in place of this one, or could not have it. If that was
//! for a migration, the volume is from now on what the other was, and the other is no more.

use kit::clock::Timestamp;
use kit::{Context, Error, Reply, Result};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, Set};
use serde_json::{Value, json};

use super::super::{ActiveModel, Change, Column, Entity, Volume, api, retype, store};
use super::status::{self, Move};
use super::{TARGET, is_migrating, is_target};
use crate::body::truth;
use crate::{Cinder, attachments, keys, types};

pub async fn complete(app: Cinder, ctx: Context, volume: Volume, body: Value) -> Result<Reply> {
    let id = body["new_volume"].as_str().and_then(kit::ids::parse_uuid);
    let id = id.ok_or_else(|| Error::bad_request("Invalid input for field/attribute new_volume. It is not a UUID."))?;
    let new = api::find_for(&app, &ctx, &id, "volume:get").await?;
    let wanted = format!("{TARGET}{}", volume.id);
    let under_way = |volume: &Volume| volume.migration_status.clone().filter(|_| is_migrating(volume) || is_target(volume));
    match (under_way(&volume), under_way(&new)) {
        // what was swapped for its own sake stays swapped
        (None, None) => return Reply::ok(&json!({"save_volume_id": new.id})),
        (None, Some(_)) => return Err(store::invalid("Source volume not mid-migration.")),
        (Some(_), None) => return Err(store::invalid("Destination volume not mid-migration.")),
        (Some(_), Some(status)) if status != wanted => {
            return Err(store::invalid(format!("Destination has migration_status {status}, expected {wanted}.")));
        }
        (Some(_), Some(_)) => {}
    }
    let (id, failed) = (volume.id.clone(), truth(&body["error"]) == Some(true));
    app.db()
        .write(move |tx| {
            Box::pin(async move {
                match failed {
                    // the flow that waits for this takes back the rest
                    true => status::fail(tx, &id).await,
                    false => finish(tx, &id, &new.id).await,
                }
            })
        })
        .await?;
    Reply::ok(&json!({"save_volume_id": volume.id}))
}

/// The volume is where the one made for its move is, of that one's type and with its key and its users; that one is no more. Nothing
/// happens when this is so already.
pub async fn finish(tx: &impl ConnectionTrait, id: &str, new_id: &str) -> Result<()> {
    let (Some(volume), Some(new)) = (store::find(tx, id).await?, store::find(tx, new_id).await?) else { return Ok(()) };
    attachments::Entity::delete_many().filter(attachments::Column::VolumeId.eq(id)).exec(tx).await?;
    let moved = attachments::ActiveModel { volume_id: Set(id.to_owned()), ..Default::default() };
    attachments::Entity::update_many().set(moved).filter(attachments::Column::VolumeId.eq(new_id)).exec(tx).await?;
    // without the key, which is the volume's now
    Entity::update_many().set(keyless()).filter(Column::Id.eq(new_id)).exec(tx).await?;
    store::remove(tx, new_id).await?;
    if let Some(key) = &volume.encryption_key_id {
        keys::remove(tx, key).await?;
    }
    let row = ActiveModel {
        name_id: Set(Some(new.data_id().to_owned())),
        host: Set(new.host),
        availability_zone: Set(new.availability_zone),
        encryption_key_id: Set(new.encryption_key_id),
        updated_at: Set(Some(Timestamp::now())),
        ..Default::default()
    };
    Entity::update_many().set(row).filter(Column::Id.eq(id)).exec(tx).await?;
    status::advance(tx, id, Move::Finish).await?;
    status::end_maintenance(tx, id).await?;
    if volume.type_id != new.type_id {
        retype::become_type(tx, id, &types::store::fetch(tx, &new.type_id).await?).await?;
    }
    store::finish(tx, id, Change::Retyped).await?;
    store::follow_attachments(tx, &store::fetch(tx, id).await?).await
}

fn keyless() -> ActiveModel {
    ActiveModel { encryption_key_id: Set(None), ..Default::default() }
}
