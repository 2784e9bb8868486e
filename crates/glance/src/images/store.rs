//! The queries of images.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use kit::clock::Timestamp;
use kit::{Error, Result};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveEnum, ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, IntoActiveModel, PaginatorTrait, QueryFilter, QueryOrder,
};

use super::Image;
use crate::data::leftovers;
use crate::entity::{Status, deleted, image, leftover, location, member, property, tag};
use crate::fault::no_image;

pub async fn fetch(conn: &impl ConnectionTrait, id: &str) -> Result<Option<Image>> {
    let row = image::Entity::find_by_id(id.to_owned()).one(conn).await?;
    Ok(complete(conn, row.into_iter().collect()).await?.pop())
}

/// Adds what belongs to rows: three queries for any number of them.
pub async fn complete(conn: &impl ConnectionTrait, rows: Vec<image::Model>) -> Result<Vec<Image>> {
    let ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    let mut properties: HashMap<String, BTreeMap<String, String>> = HashMap::new();
    let mut tags: HashMap<String, BTreeSet<String>> = HashMap::new();
    if !ids.is_empty() {
        for row in property::Entity::find().filter(property::Column::ImageId.is_in(ids.iter().copied())).all(conn).await? {
            properties.entry(row.image_id).or_default().insert(row.name, row.value);
        }
        for row in tag::Entity::find().filter(tag::Column::ImageId.is_in(ids.iter().copied())).all(conn).await? {
            tags.entry(row.image_id).or_default().insert(row.tag);
        }
    }
    let mut locations: HashMap<String, Vec<location::Model>> = HashMap::new();
    if !ids.is_empty() {
        let rows = location::Entity::find().filter(location::Column::ImageId.is_in(ids.iter().copied()));
        for row in rows.order_by_asc(location::Column::Store).all(conn).await? {
            locations.entry(row.image_id.clone()).or_default().push(row);
        }
    }
    let image = |row: image::Model| Image {
        locations: locations.remove(&row.id).unwrap_or_default(),
        properties: properties.remove(&row.id).unwrap_or_default(),
        tags: tags.remove(&row.id).unwrap_or_default(),
        row,
    };
    Ok(rows.into_iter().map(image).collect())
}

pub async fn is_member(conn: &impl ConnectionTrait, id: &str, project: &str) -> Result<bool> {
    Ok(member::Entity::find_by_id((id.to_owned(), project.to_owned())).count(conn).await? > 0)
}

/// Adds an image. An id is used once: an upload to an image that was deleted must not end in another one of the same id.
pub async fn insert(tx: &DatabaseTransaction, image: &Image) -> Result<()> {
    let used = || Error::conflict(format!("Image ID {} already exists!", image.row.id));
    if deleted::Entity::find_by_id(image.row.id.clone()).count(tx).await? > 0 {
        return Err(used());
    }
    match image::Entity::insert(image.row.clone().into_active_model()).exec_without_returning(tx).await {
        Ok(_) => insert_parts(tx, image).await,
        Err(error) if kit::db::is_duplicate(&error) => Err(used()),
        Err(error) => Err(error.into()),
    }
}

/// Writes a changed image; 409 when its row is not any more as it was read.
pub async fn update(tx: &DatabaseTransaction, image: &Image, was: &image::Model) -> Result<()> {
    use sea_orm::ActiveModelTrait;
    let mut row = image.row.clone().into_active_model().reset_all();
    row.id = sea_orm::ActiveValue::NotSet;
    let done = image::Entity::update_many()
        .set(row)
        .filter(image::Column::Id.eq(&was.id))
        .filter(image::Column::Status.eq(was.status))
        .filter(image::Column::UpdatedAt.eq(was.updated_at))
        .exec(tx)
        .await?;
    if done.rows_affected == 0 {
        return Err(Error::conflict(format!("Image {} was changed by another request", image.row.id)));
    }
    property::Entity::delete_many().filter(property::Column::ImageId.eq(&image.row.id)).exec(tx).await?;
    tag::Entity::delete_many().filter(tag::Column::ImageId.eq(&image.row.id)).exec(tx).await?;
    insert_parts(tx, image).await
}

async fn insert_parts(tx: &DatabaseTransaction, image: &Image) -> Result<()> {
    let id = &image.row.id;
    if !image.properties.is_empty() {
        let row = |(name, value): (&String, &String)| {
            property::Model { image_id: id.clone(), name: name.clone(), value: value.clone() }.into_active_model()
        };
        property::Entity::insert_many(image.properties.iter().map(row)).exec_without_returning(tx).await?;
    }
    if !image.tags.is_empty() {
        let row = |tag: &String| tag::Model { image_id: id.clone(), tag: tag.clone() }.into_active_model();
        tag::Entity::insert_many(image.tags.iter().map(row)).exec_without_returning(tx).await?;
    }
    Ok(())
}

/// Makes an image active with what its file turned out to be, and leaves alone what clients may have changed meanwhile; false when the image
/// is not in the state any more in which its file was on the way.
pub async fn fill(tx: &DatabaseTransaction, filled: &image::Model, from: Status) -> Result<bool> {
    if !from.may_become(Status::Active) {
        return Ok(false);
    }
    let done = image::Entity::update_many()
        .col_expr(image::Column::DiskFormat, Expr::val(filled.disk_format.clone()))
        .col_expr(image::Column::ContainerFormat, Expr::val(filled.container_format.clone()))
        .col_expr(image::Column::Size, Expr::val(filled.size))
        .col_expr(image::Column::VirtualSize, Expr::val(filled.virtual_size))
        .col_expr(image::Column::Checksum, Expr::val(filled.checksum.clone()))
        .col_expr(image::Column::OsHashAlgo, Expr::val(filled.os_hash_algo.clone()))
        .col_expr(image::Column::OsHashValue, Expr::val(filled.os_hash_value.clone()))
        .col_expr(image::Column::Status, Expr::val(Status::Active.to_value()))
        .col_expr(image::Column::UpdatedAt, Expr::val(Timestamp::now().0))
        .filter(image::Column::Id.eq(&filled.id))
        .filter(image::Column::Status.eq(from))
        .exec(tx)
        .await?;
    Ok(done.rows_affected == 1)
}

/// Writes the row without changing what it says, so that transactions on the image come one after the other.
pub async fn touch(tx: &DatabaseTransaction, id: &str) -> Result<()> {
    let now = image::Entity::update_many().col_expr(image::Column::UpdatedAt, Expr::val(Timestamp::now().0));
    if now.filter(image::Column::Id.eq(id)).exec(tx).await?.rows_affected == 1 { Ok(()) } else { Err(no_image(id)) }
}

/// Takes an image from one state to another; false when it is not in the first any more, or the table of states has no such way.
pub async fn advance(tx: &DatabaseTransaction, id: &str, from: Status, to: Status) -> Result<bool> {
    if !from.may_become(to) {
        return Ok(false);
    }
    let done = image::Entity::update_many()
        .col_expr(image::Column::Status, Expr::val(to.to_value()))
        .col_expr(image::Column::UpdatedAt, Expr::val(Timestamp::now().0))
        .filter(image::Column::Id.eq(id))
        .filter(image::Column::Status.eq(from))
        .exec(tx)
        .await?;
    Ok(done.rows_affected == 1)
}

/// What becomes of the objects of a deleted image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objects {
    Go,
    /// Until the scrubber comes.
    Stay,
}

/// Deletes the image unless it is protected; its members, tags and properties go with it, and its objects are noted as left over.
pub async fn delete(tx: &DatabaseTransaction, id: &str, fate: Objects) -> Result<Vec<leftover::Model>> {
    let locations = location::Entity::find().filter(location::Column::ImageId.eq(id)).all(tx).await?;
    let unprotected = image::Column::Protected.eq(false);
    let done = image::Entity::delete_many().filter(image::Column::Id.eq(id)).filter(unprotected).exec(tx).await?;
    if done.rows_affected == 1 {
        let row = deleted::Model { id: id.to_owned(), deleted_at: Timestamp::now() };
        deleted::Entity::insert(row.into_active_model()).exec_without_returning(tx).await?;
        let gone = locations.iter().filter(|_| fate == Objects::Go);
        let objects = gone.map(|location| leftovers::object(&location.store, &location.name));
        let left: Vec<leftover::Model> = objects.chain([leftovers::staged(id)]).collect();
        leftovers::note(tx, &left).await?;
        return Ok(left);
    }
    match image::Entity::find_by_id(id.to_owned()).one(tx).await? {
        Some(_) => Err(Error::forbidden(format!("Image {id} is protected and cannot be deleted."))),
        None => Err(no_image(id)),
    }
}

#[cfg(test)]
mod tests {
    use kit::db::{Db, Location};
    use sea_orm::{Iterable, Set};

    use super::*;

    #[tokio::test]
    async fn an_image_goes_only_where_the_table_says() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&Location::Sqlite(dir.path().join("glance.sqlite")), crate::MIGRATIONS).await.unwrap();
        let image = Image::new(kit::ids::uuid(), "p1".into());
        let (id, row) = (image.row.id.clone(), image.clone());
        db.write(move |tx| Box::pin(async move { insert(tx, &row).await })).await.unwrap();
        for from in Status::iter() {
            assert!(Status::iter().any(|to| to != from && from.may_become(to)), "{from:?} is never left");
            for to in Status::iter() {
                let id = id.clone();
                let (gone, now) = db
                    .write(move |tx| {
                        Box::pin(async move {
                            let begin = image::ActiveModel { status: Set(from), ..Default::default() };
                            image::Entity::update_many().set(begin).filter(image::Column::Id.eq(&id)).exec(tx).await?;
                            let gone = advance(tx, &id, from, to).await?;
                            Ok((gone, fetch(tx, &id).await?.map(|image| image.row.status)))
                        })
                    })
                    .await
                    .unwrap();
                assert_eq!(gone, from.may_become(to), "{from:?} to {to:?}");
                assert_eq!(now, Some(if gone { to } else { from }));
            }
        }
    }
}
