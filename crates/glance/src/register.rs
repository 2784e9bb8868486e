//! A local file as a public image: how bootstrap brings the guest image in.

use std::collections::BTreeMap;
use std::path::Path;

use kit::{Result, ids};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};

use crate::Glance;
use crate::data::files::{blocking, digest};
use crate::data::upload::activate;
use crate::entity::{Status, Visibility, image};
use crate::images::{Image, store};

/// The id of the public image with this name and these bytes, made if it is not there. `properties` may name formats and minimums too; without a
/// `disk_format` it is qcow2 or raw, by the file's first bytes.
pub async fn register(app: &Glance, name: &str, path: &Path, owner: &str, properties: BTreeMap<String, String>) -> Result<String> {
    let file = path.to_owned();
    let (_, _, sha512) = blocking(move || digest(&file)).await?;
    let same = image::Entity::find()
        .filter(image::Column::Name.eq(name))
        .filter(image::Column::Visibility.eq(Visibility::Public))
        .filter(image::Column::Status.eq(Status::Active))
        .filter(image::Column::OsHashValue.eq(sha512))
        .one(app.db.read())
        .await?;
    if let Some(row) = same {
        return Ok(row.id);
    }
    let mut image = Image::new(ids::uuid(), owner.to_owned());
    image.row.name = Some(name.to_owned());
    image.row.visibility = Visibility::Public;
    image.row.status = Status::Saving;
    image.row.container_format = Some("bare".into());
    image.row.disk_format = Some(format(path).await?.to_owned());
    for (key, value) in properties {
        match key.as_str() {
            "disk_format" => image.row.disk_format = Some(value),
            "container_format" => image.row.container_format = Some(value),
            "min_disk" => image.row.min_disk = value.parse().unwrap_or(0),
            "min_ram" => image.row.min_ram = value.parse().unwrap_or(0),
            _ => {
                image.properties.insert(key, value);
            }
        }
    }
    let received = app.files.adopt(path).await?;
    let (id, row) = (image.row.id.clone(), image.clone());
    app.db.write(move |tx| Box::pin(async move { store::insert(tx, &row).await })).await?;
    let done = activate(app, image, Status::Saving, received).await;
    if let Err(error) = done {
        let row = id.clone();
        app.db.write(move |tx| Box::pin(async move { store::delete(tx, &row).await })).await?;
        return Err(error);
    }
    Ok(id)
}

async fn format(path: &Path) -> Result<&'static str> {
    use tokio::io::AsyncReadExt;
    let mut magic = [0; 4];
    let read = tokio::fs::File::open(path).await?.read(&mut magic).await?;
    Ok(if read == 4 && magic == *b"QFI\xfb" { "qcow2" } else { "raw" })
}
