//! A local file as a public image: how bootstrap brings the guest image in.
//!
//! The row remembers from what file it was made. So a start that finds the same file does not read it, and a file that has changed takes
//! the place of the image made from the one before, and of no other image that has the name.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::UNIX_EPOCH;

use kit::{Error, Kind, Result, ids};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};

use crate::Glance;
use crate::data::bring::bring;
use crate::data::leftovers;
use crate::data::scratch::{blocking, digest};
use crate::data::transfer::{self, Plan};
use crate::entity::{Status, Visibility, image};
use crate::images::{Image, store};

/// The id of the public image with this name and these bytes, made if it is not there. `properties` may name formats and minimums too; without a
/// `disk_format` it is qcow2 or raw, by the file's first bytes.
pub async fn register(app: &Glance, name: &str, path: &Path, owner: &str, properties: BTreeMap<String, String>) -> Result<String> {
    let stamp = stamp(path).await?;
    let (before, unfinished): (Vec<_>, Vec<_>) = registered(app, name).await?.into_iter().partition(|row| row.status == Status::Active);
    for row in unfinished {
        remove(app, row.id).await?;
    }
    if let Some(row) = before.iter().find(|row| row.registered_from.as_ref() == Some(&stamp)) {
        return Ok(row.id.clone());
    }
    let file = path.to_owned();
    let (_, _, sha512) = blocking(move || digest(&file)).await?;
    if let Some(row) = before.iter().find(|row| row.os_hash_value.as_ref() == Some(&sha512)) {
        restamp(app, &row.id, stamp).await?;
        return Ok(row.id.clone());
    }
    let mut image = image(name, owner, format(path).await?, properties)?;
    image.row.registered_from = Some(stamp);
    let id = make(app, image, path).await?;
    for row in before {
        remove(app, row.id).await?;
    }
    Ok(id)
}

/// What the file looks like from outside: its size and the time of its last change.
async fn stamp(path: &Path) -> Result<String> {
    let unreadable = |error| Error::unavailable(format!("The image file {} cannot be read: {error}", path.display()));
    let metadata = tokio::fs::metadata(path).await.map_err(unreadable)?;
    let changed = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(format!("{} bytes of {}", metadata.len(), changed.as_nanos()))
}

/// The images that were made here under this name.
async fn registered(app: &Glance, name: &str) -> Result<Vec<image::Model>> {
    let rows = image::Entity::find().filter(image::Column::Name.eq(name)).filter(image::Column::RegisteredFrom.is_not_null());
    Ok(rows.all(app.db.read()).await?)
}

async fn restamp(app: &Glance, id: &str, stamp: String) -> Result<()> {
    let change = image::Entity::update_many().col_expr(image::Column::RegisteredFrom, Expr::val(stamp)).filter(image::Column::Id.eq(id));
    app.db.write(move |tx| Box::pin(async move { Ok(change.exec(tx).await.map(drop)?) })).await
}

fn image(name: &str, owner: &str, format: &str, properties: BTreeMap<String, String>) -> Result<Image> {
    let number = |key: &str, value: &str| value.parse().map_err(|_| Error::bad_request(format!("{key} is a number, not {value}")));
    let mut image = Image::new(ids::uuid(), owner.to_owned());
    image.row.name = Some(name.to_owned());
    image.row.visibility = Visibility::Public;
    image.row.container_format = Some("bare".into());
    image.row.disk_format = Some(format.to_owned());
    for (key, value) in properties {
        match key.as_str() {
            "disk_format" => image.row.disk_format = Some(value),
            "container_format" => image.row.container_format = Some(value),
            "min_disk" => image.row.min_disk = number(&key, &value)?,
            "min_ram" => image.row.min_ram = number(&key, &value)?,
            _ => {
                image.properties.insert(key, value);
            }
        }
    }
    Ok(image)
}

async fn make(app: &Glance, image: Image, path: &Path) -> Result<String> {
    let received = app.scratch.adopt(path).await?;
    let (id, row) = (image.row.id.clone(), image.clone());
    app.db.write(move |tx| Box::pin(async move { store::insert(tx, &row).await })).await?;
    let plan = Plan {
        from: Status::Queued,
        to: Status::Saving,
        back_to: Status::Queued,
        stores: vec![app.stores.chosen(None)?.id.clone()],
        all_must_succeed: true,
        task: None,
    };
    let transfer = transfer::begin(app, &image.row, plan).await?;
    if let Err(error) = bring(app, image, &transfer, received).await {
        transfer::fail(app, &transfer, Status::Queued, &error).await;
        remove(app, id).await?;
        return Err(error);
    }
    Ok(id)
}

/// Removes what a newer file has replaced; an image that an administrator protects stays.
async fn remove(app: &Glance, id: String) -> Result<()> {
    let row = id.clone();
    match app.db.write(move |tx| Box::pin(async move { store::delete(tx, &row, store::Objects::Go).await })).await {
        Ok(left) => {
            leftovers::clear(app, left).await;
            Ok(())
        }
        Err(error) if matches!(error.kind, Kind::Forbidden | Kind::NotFound) => {
            tracing::warn!(image = %id, %error, "the image that was replaced stays");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

async fn format(path: &Path) -> Result<&'static str> {
    use tokio::io::AsyncReadExt;
    let mut magic = [0; 4];
    let read = tokio::fs::File::open(path).await?.read(&mut magic).await?;
    Ok(if read == 4 && magic == *b"QFI\xfb" { "qcow2" } else { "raw" })
}
