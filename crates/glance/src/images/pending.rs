//! Delayed deletion: an image that is deleted is out of everybody's sight at once, but its data stays for a while, in which an operator can
//! bring it back. Glance calls the state `pending_delete`, and what ends it the scrubber.

use kit::clock::Timestamp;
use kit::db::Db;
use kit::{Error, Result};
use sea_orm::{ColumnTrait, DatabaseTransaction, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect};
use serde::{Deserialize, Serialize};

use super::{Image, store};
use crate::Glance;
use crate::data::leftovers;
use crate::entity::{deleted, image, leftover, location, member, pending, property, tag};
use crate::fault::no_image;

/// Images scrubbed in one round.
const ROUND: u64 = 100;

/// Everything about an image that a deletion takes away.
#[derive(Serialize, Deserialize)]
struct Kept {
    row: image::Model,
    properties: Vec<property::Model>,
    tags: Vec<tag::Model>,
    members: Vec<member::Model>,
    locations: Vec<location::Model>,
}

/// Puts an image with data aside, in the transaction that deletes it. Nothing where there is no data to wait for.
pub async fn put_aside(tx: &DatabaseTransaction, id: &str) -> Result<bool> {
    let locations = location::Entity::find().filter(location::Column::ImageId.eq(id)).all(tx).await?;
    let row = image::Entity::find_by_id(id.to_owned()).one(tx).await?.ok_or_else(|| no_image(id))?;
    if locations.is_empty() {
        return Ok(false);
    }
    let kept = Kept {
        properties: property::Entity::find().filter(property::Column::ImageId.eq(id)).all(tx).await?,
        tags: tag::Entity::find().filter(tag::Column::ImageId.eq(id)).all(tx).await?,
        members: member::Entity::find().filter(member::Column::ImageId.eq(id)).all(tx).await?,
        row,
        locations,
    };
    let row = pending::Model { id: id.to_owned(), image: serde_json::to_string(&kept)?, deleted_at: Timestamp::now() };
    pending::Entity::insert(row.into_active_model()).exec_without_returning(tx).await?;
    Ok(true)
}

/// The scrubber: ends what was deleted long enough ago.
pub async fn scrub(app: &Glance) -> Result<()> {
    let Some(delay) = app.settings.delayed_delete else { return Ok(()) };
    let before = Timestamp::now().minus(delay);
    let due = pending::Entity::find().filter(pending::Column::DeletedAt.lte(before)).order_by_asc(pending::Column::DeletedAt);
    for row in due.limit(ROUND).all(app.db.read()).await? {
        let left = app.db.write(move |tx| Box::pin(async move { forget(tx, &row).await })).await?;
        leftovers::clear(app, left).await;
    }
    Ok(())
}

/// The row goes, and its objects are noted as left over; nothing when somebody brought it back meanwhile.
async fn forget(tx: &DatabaseTransaction, row: &pending::Model) -> Result<Vec<leftover::Model>> {
    if pending::Entity::delete_by_id(row.id.clone()).exec(tx).await?.rows_affected == 0 {
        return Ok(Vec::new());
    }
    let kept: Kept = serde_json::from_str(&row.image)?;
    let left: Vec<_> = kept.locations.iter().map(|location| leftovers::object(&location.store, &location.name)).collect();
    leftovers::note(tx, &left).await?;
    tracing::info!(image = row.id, "scrubbed");
    Ok(left)
}

/// Brings an image back that waits for the scrubber: `pending_delete -> active`.
pub async fn restore(db: &Db, id: &str) -> Result<()> {
    let id = id.to_owned();
    db.write(move |tx| Box::pin(async move { bring_back(tx, &id).await })).await
}

async fn bring_back(tx: &DatabaseTransaction, id: &str) -> Result<()> {
    let found = pending::Entity::find_by_id(id.to_owned()).one(tx).await?;
    let row = found.ok_or_else(|| Error::not_found(format!("Image {id} is not pending deletion.")))?;
    let mut kept: Kept = serde_json::from_str(&row.image)?;
    pending::Entity::delete_by_id(id.to_owned()).exec(tx).await?;
    deleted::Entity::delete_by_id(id.to_owned()).exec(tx).await?;
    kept.row.updated_at = Timestamp::now();
    let image = Image {
        row: kept.row,
        properties: kept.properties.into_iter().map(|row| (row.name, row.value)).collect(),
        tags: kept.tags.into_iter().map(|row| row.tag).collect(),
        locations: Vec::new(),
    };
    store::insert(tx, &image).await?;
    if !kept.members.is_empty() {
        let rows = kept.members.into_iter().map(IntoActiveModel::into_active_model);
        member::Entity::insert_many::<member::ActiveModel, _>(rows).exec_without_returning(tx).await?;
    }
    let rows = kept.locations.into_iter().map(IntoActiveModel::into_active_model);
    location::Entity::insert_many::<location::ActiveModel, _>(rows).exec_without_returning(tx).await?;
    Ok(())
}
