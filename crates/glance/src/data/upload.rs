//! `PUT /images/{id}/file`, and what every way of giving an image its bytes ends with.

use axum::body::Body;
use http::header::CONTENT_LENGTH;
use kit::{Context, Error, Kind, Path, Raw, Reply, Result};

use super::files::{Received, blocking};
use super::inspect;
use crate::Glance;
use crate::entity::Status;
use crate::fault::{require_bytes, transition};
use crate::images::{Image, permitted, store};

pub async fn upload(app: Glance, ctx: Context, id: Path<String>, raw: Raw) -> Result<Reply> {
    require_bytes(&raw.parts)?;
    let image = permitted(&app, &ctx, &id.0, "upload_image").await?;
    check_formats(&image)?;
    check_length(&app, &raw)?;
    claim(&app, &image, Status::Queued, Status::Saving).await?;
    // to its end also when the client goes away, so that the image is queued again
    let task = tokio::spawn(async move {
        let done = fill(&app, image.clone(), raw.body).await;
        if done.is_err() {
            give_back(&app, &image.row.id, Status::Saving, Status::Queued).await;
        }
        done
    });
    task.await.map_err(Error::internal)??;
    Reply::no_content()
}

async fn fill(app: &Glance, image: Image, body: Body) -> Result<()> {
    let received = app.files.receive(body, app.image_size_cap).await?;
    activate(app, image, Status::Saving, received).await
}

/// An image without formats cannot leave `queued`.
pub fn check_formats(image: &Image) -> Result<()> {
    let unset = [("disk_format", &image.row.disk_format), ("container_format", &image.row.container_format)];
    let unset: Vec<&str> = unset.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| *name).collect();
    if unset.is_empty() {
        return Ok(());
    }
    Err(Error::bad_request(format!("Properties {} must be set prior to saving data.", unset.join(", "))))
}

/// What is announced too large need not be sent.
pub fn check_length(app: &Glance, raw: &Raw) -> Result<()> {
    let length = raw.parts.headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
    if length.is_some_and(|n| n > app.image_size_cap) {
        return Err(Error::too_large(format!("Image exceeds the storage quota: it has more than {} bytes.", app.image_size_cap)));
    }
    Ok(())
}

/// Takes the image from one state to the next; 409 when it is in another.
pub async fn claim(app: &Glance, image: &Image, from: Status, to: Status) -> Result<()> {
    let id = image.row.id.clone();
    if app.db.write(move |tx| Box::pin(async move { store::advance(tx, &id, from, to).await })).await? {
        return Ok(());
    }
    let now = store::fetch(app.db.read(), &image.row.id).await?.map_or("deleted", |image| image.row.status.as_str());
    Err(transition(now, to.as_str()))
}

/// The way back after a failure; an image that was deleted meanwhile has none.
pub async fn give_back(app: &Glance, id: &str, from: Status, to: Status) {
    let row = id.to_owned();
    let back = app.db.write(move |tx| Box::pin(async move { store::advance(tx, &row, from, to).await })).await;
    if let Err(error) = back {
        tracing::error!(image = id, %error, "could not be taken back to {}", to.as_str());
    }
}

/// Looks inside, moves the file to its place, then says that the image is active: in this order, a crash leaves no image that lies.
pub async fn activate(app: &Glance, mut image: Image, from: Status, received: Received) -> Result<()> {
    let (path, format) = (received.path().to_owned(), image.row.disk_format.clone().unwrap_or_default());
    // in another container, the disk is not the file
    let bare = image.row.container_format.as_deref() == Some("bare");
    let matching = app.require_image_format_match && bare;
    let virtual_size = blocking(move || inspect::accept(&path, &format, matching)).await?;
    image.row.size = Some(received.size as i64);
    image.row.virtual_size = virtual_size.map(|n| n as i64);
    image.row.checksum = Some(received.md5.clone());
    image.row.os_hash_algo = Some("sha512".into());
    image.row.os_hash_value = Some(received.sha512.clone());
    let id = image.row.id.clone();
    app.files.place(received, app.files.path(&id)).await?;
    let gone = || Error::new(Kind::Gone, format!("Image {} was deleted during the upload.", image.row.id));
    let row = image.row.clone();
    let done = app.db.write(move |tx| Box::pin(async move { store::fill(tx, &row, from).await })).await;
    let done = done.and_then(|filled| if filled { Ok(()) } else { Err(gone()) });
    if done.is_err() {
        app.files.remove(&id).await?;
    }
    done
}
