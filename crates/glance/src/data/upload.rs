//! `PUT /images/{id}/file`

use axum::body::Body;
use http::header::CONTENT_LENGTH;
use kit::{Context, Error, Path, Raw, Reply, Result};

use super::bring::bring;
use super::probe;
use super::transfer::{self, Plan, Transfer};
use crate::entity::Status;
use crate::fault::require_bytes;
use crate::images::{Image, permitted};
use crate::{Glance, quota};

/// Names the store that an upload goes to.
const STORE: &str = "x-image-meta-store";

pub async fn upload(app: Glance, ctx: Context, id: Path<String>, raw: Raw) -> Result<Reply> {
    require_bytes(&raw.parts)?;
    let image = permitted(&app, &ctx, &id.0, "upload_image").await?;
    check_formats(&image)?;
    let named = raw.parts.headers.get(STORE).and_then(|value| value.to_str().ok());
    let store = app.stores.chosen(named)?.id.clone();
    check_length(&app, &raw)?;
    let room = quota::room(&app, &image.row.owner, raw_length(&raw)).await?;
    let plan =
        Plan { from: Status::Queued, to: Status::Saving, back_to: Status::Queued, stores: vec![store], all_must_succeed: true, task: None };
    let transfer = transfer::begin(&app, &image.row, plan).await?;
    // to its end also when the client goes away, so that the image is queued again
    let task = tokio::spawn(async move {
        let done = fill(&app, image, &transfer, raw.body, room).await;
        if let Err(error) = &done {
            transfer::fail(&app, &transfer, Status::Queued, error).await;
        }
        done
    });
    task.await.map_err(Error::internal)??;
    Reply::no_content()
}

async fn fill(app: &Glance, image: Image, transfer: &Transfer, body: Body, room: u64) -> Result<()> {
    probe::after(app, "begin").await?;
    let received = app.scratch.receive(body, room).await?;
    probe::after(app, "receive").await?;
    bring(app, image, transfer, received).await
}

/// An image without formats cannot leave `queued`.
pub fn check_formats(image: &Image) -> Result<()> {
    let unset = [("disk_format", &image.row.disk_format), ("container_format", &image.row.container_format)];
    let unset: Vec<&str> = unset.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| *name).collect();
    if unset.is_empty() {
        return Ok(());
    }
    let what = if unset.len() == 1 { "Property" } else { "Properties" };
    Err(Error::bad_request(format!("{what} {} must be set prior to saving data.", unset.join(", "))))
}

/// What is announced too large need not be sent.
pub fn check_length(app: &Glance, raw: &Raw) -> Result<()> {
    let cap = app.settings.image_size_cap;
    if raw_length(raw).is_some_and(|n| n > cap) {
        return Err(Error::too_large(format!("Image exceeds the storage quota: it has more than {cap} bytes.")));
    }
    Ok(())
}

fn raw_length(raw: &Raw) -> Option<u64> {
    raw.parts.headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok())
}
