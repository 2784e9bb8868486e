//! `DELETE /stores/{store}/{image}`: one copy of several.

use kit::{Context, Error, Path, Reply, Result};
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter};

use crate::Glance;
use crate::data::leftovers;
use crate::entity::{Status, location};
use crate::images::{permitted, store};

pub async fn delete(app: Glance, ctx: Context, Path((store_id, id)): Path<(String, String)>) -> Result<Reply> {
    let image = permitted(&app, &ctx, &id, "delete_image_location").await?;
    if image.row.status != Status::Active {
        return Err(Error::conflict("It's not allowed to remove image data from store if image status is not 'active'"));
    }
    if app.stores.find(&store_id).is_none_or(|store| store.read_only) {
        return Err(Error::conflict(format!("The selected store {store_id} is not available on this node.")));
    }
    let found = image.locations.into_iter().find(|location| location.store == store_id);
    let missing = || Error::not_found(format!("Image {id} is not stored in store {store_id}."));
    let only = "Cannot delete image data from the only store containing it. Consider deleting the image instead.";
    take_away(&app, found.ok_or_else(missing)?, only).await?;
    Reply::no_content()
}

/// Removes one copy; the last one stays, and `only` says so.
pub async fn take_away(app: &Glance, location: location::Model, only: &'static str) -> Result<()> {
    let leftover = leftovers::object(&location.store, &location.name);
    let noted = leftover.clone();
    app.db
        .write(move |tx| {
            Box::pin(async move {
                // the row first, so that two requests cannot remove the last two copies
                store::touch(tx, &location.image_id).await?;
                let all = location::Entity::find().filter(location::Column::ImageId.eq(&location.image_id)).count(tx).await?;
                if all < 2 {
                    return Err(Error::forbidden(only));
                }
                location::Entity::delete_by_id((location.image_id, location.store)).exec(tx).await?;
                leftovers::note(tx, &[noted]).await
            })
        })
        .await?;
    leftovers::clear(app, vec![leftover]).await;
    Ok(())
}
