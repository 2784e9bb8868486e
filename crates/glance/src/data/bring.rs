//! What every way of giving an image its bytes ends with: look inside the whole file, bring it to the stores, say that the image is
//! active. In this order, a crash leaves no image that lies.

use kit::{Error, Result};

use super::scratch::{Received, blocking};
use super::transfer::{self, Transfer};
use super::{inspect, probe};
use crate::Glance;
use crate::images::Image;

pub async fn bring(app: &Glance, mut image: Image, transfer: &Transfer, received: Received) -> Result<()> {
    image.row.virtual_size = look(app, &image, &received).await?;
    image.row.size = Some(received.size as i64);
    image.row.checksum = Some(received.md5.clone());
    image.row.os_hash_algo = Some("sha512".into());
    image.row.os_hash_value = Some(received.sha512.clone());
    let kept = put(app, transfer, &received).await?;
    transfer::activate(app, transfer, image.row, kept).await
}

/// The size of the disk inside, if this file may be what the image says it is.
async fn look(app: &Glance, image: &Image, received: &Received) -> Result<Option<i64>> {
    let (path, format) = (received.path().to_owned(), image.row.disk_format.clone().unwrap_or_default());
    // in another container, the disk is not the file
    let bare = image.row.container_format.as_deref() == Some("bare");
    let matching = app.settings.require_image_format_match && bare;
    let size = blocking(move || inspect::accept(&path, &format, matching)).await?;
    Ok(size.and_then(|n| i64::try_from(n).ok()))
}

/// To each store; those that have it now.
pub async fn put(app: &Glance, transfer: &Transfer, received: &Received) -> Result<Vec<String>> {
    let mut kept = Vec::new();
    let mut last = None;
    for id in &transfer.stores {
        let done = match app.stores.find(id) {
            Some(store) => store.put(received.path(), &transfer.name).await,
            None => Err(Error::unavailable(format!("The store {id} is not configured any more."))),
        };
        match done {
            Ok(()) => {
                kept.push(id.clone());
                probe::after(app, "put").await?;
            }
            Err(error) if transfer.all_must_succeed => return Err(error),
            Err(error) => {
                tracing::warn!(image = transfer.image_id, store = id, %error, "could not be copied");
                last = Some(error);
            }
        }
    }
    match last {
        Some(error) if kept.is_empty() => Err(error),
        _ => Ok(kept),
    }
}
