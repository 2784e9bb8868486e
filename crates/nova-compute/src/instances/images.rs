//! The images that disks of this host begin as, asked of glance in the user's name; and disks that become images.

use std::path::Path;

use kit::{Error, Result};
use rpc::Caller;
use rpc::compute::Instance;
use sdk::image::ImageInfo;
use tokio_util::io::ReaderStream;

use super::disks;
use crate::host::Host;
use crate::image::cache::Base;
use crate::image::empty;

/// The image of an instance's root disk; nothing when that is a volume, or no real disk at all.
pub async fn of_root(host: &Host, caller: &Caller, instance: &Instance) -> Result<Option<Base>> {
    match instance.image_id.as_deref().filter(|_| !disks::boots_from_volume(instance)) {
        Some(image_id) => fetch(host, caller, image_id).await,
        None => Ok(None),
    }
}

/// An image's data on this host; nothing where guests have no real disks.
pub async fn fetch(host: &Host, caller: &Caller, image_id: &str) -> Result<Option<Base>> {
    let user = host.session.on_behalf(caller).await?;
    let image = host.cloud.image.show(&user, image_id).await?;
    if image.status != "active" {
        return Err(Error::bad_request(format!("Image {image_id} is not active.")));
    }
    match &host.store {
        Some(store) => store.images.fetch(&host.cloud.image, &user, &image).await.map(Some),
        None => Ok(None),
    }
}

/// What glance knows of an image.
pub async fn show(host: &Host, caller: &Caller, image_id: &str) -> Result<ImageInfo> {
    let user = host.session.on_behalf(caller).await?;
    Ok(host.cloud.image.show(&user, image_id).await?)
}

/// Gives an image that waits for it this file, streamed.
pub async fn upload(host: &Host, caller: &Caller, image_id: &str, file: &Path) -> Result<()> {
    let user = host.session.on_behalf(caller).await?;
    let file = tokio::fs::File::open(file).await?;
    let size = file.metadata().await?.len();
    let body = sdk::Body::from_stream(ReaderStream::with_capacity(file, 1 << 20));
    Ok(host.cloud.image.upload(&user, image_id, body, Some(size)).await?)
}

/// Gives it an empty disk: a simulated guest has none.
pub async fn upload_nothing(host: &Host, caller: &Caller, image_id: &str) -> Result<()> {
    let user = host.session.on_behalf(caller).await?;
    let disk = empty::qcow2();
    let size = disk.len() as u64;
    Ok(host.cloud.image.upload(&user, image_id, sdk::Body::from(disk), Some(size)).await?)
}
