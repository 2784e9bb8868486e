//! `/images/{id}/tags/{tag}`

use kit::{Context, Error, Kind, Path, Reply, Result};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, EntityTrait, IntoActiveModel, PaginatorTrait, QueryFilter};

use crate::Glance;
use crate::entity::tag;
use crate::images::{NAME, QUOTA, is_text, permitted};
use crate::routes::segment;

pub async fn add(app: Glance, ctx: Context, Path((id, text)): Path<(String, String)>) -> Result<Reply> {
    let text = segment(&text);
    if !is_text(&text, NAME) {
        return Err(Error::bad_request("A tag is text of at most 255 characters"));
    }
    permitted(&app, &ctx, &id, "modify_image").await?;
    app.db
        .write(move |tx| {
            Box::pin(async move {
                let others = tag::Entity::find().filter(tag::Column::ImageId.eq(&id)).filter(tag::Column::Tag.ne(&text)).count(tx).await?;
                if others as usize >= QUOTA {
                    let message = format!("The limit has been exceeded on the number of allowed image tags. Maximum: {QUOTA}");
                    return Err(Error::new(Kind::TooLarge, message));
                }
                let once = OnConflict::columns([tag::Column::ImageId, tag::Column::Tag]).do_nothing().to_owned();
                let row = tag::Model { image_id: id, tag: text }.into_active_model();
                match tag::Entity::insert(row).on_conflict(once).exec_without_returning(tx).await {
                    Ok(_) | Err(sea_orm::DbErr::RecordNotInserted) => Ok(()),
                    Err(error) => Err(error.into()),
                }
            })
        })
        .await?;
    Reply::no_content()
}

pub async fn delete(app: Glance, ctx: Context, Path((id, text)): Path<(String, String)>) -> Result<Reply> {
    let text = segment(&text);
    permitted(&app, &ctx, &id, "modify_image").await?;
    let key = (id.clone(), text.clone());
    let gone = app.db.write(move |tx| Box::pin(async move { Ok(tag::Entity::delete_by_id(key).exec(tx).await?.rows_affected) })).await?;
    if gone == 0 {
        return Err(Error::not_found(format!("Tag {text} not found for image {id}")));
    }
    Reply::no_content()
}
