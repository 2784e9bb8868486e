//! `/images/{id}/locations`: where an image's bytes are, for services; and adding one, for whoever owns the image.
//!
//! What is added is an address of the web. It is fetched into a store of ours and checked against the hash that came with it, so
//! that nobody can change what an image is after it became active.

use http::StatusCode;
use kit::{Context, Error, Json, Path, Reply, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Source, begin};
use crate::data::check_formats;
use crate::entity::Status;
use crate::images::{Image, permitted, seen};
use crate::{Glance, tasks};

/// Body of `POST .../locations`.
#[derive(Deserialize)]
pub struct Location {
    url: String,
    #[serde(default)]
    validation_data: Option<Validation>,
}

#[derive(Deserialize)]
struct Validation {
    os_hash_algo: String,
    os_hash_value: String,
}

pub async fn list(app: Glance, ctx: Context, id: Path<String>) -> Result<Reply> {
    let (image, _) = seen(&app, &ctx, &id.0).await?;
    let places = app.stores.order(&image.locations);
    let view: Vec<Value> = places.into_iter().map(|(store, location)| store.place(location)).collect();
    Reply::ok(&view)
}

pub async fn add(app: Glance, ctx: Context, id: Path<String>, body: Json<Location>) -> Result<Reply> {
    let image = permitted(&app, &ctx, &id.0, "add_image_location").await?;
    add_to(&app, &ctx, image, body.0).await?;
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

/// Begins to fetch a queued image from where somebody says it is.
pub async fn add_to(app: &Glance, ctx: &Context, image: Image, from: Location) -> Result<()> {
    if image.row.status != Status::Queued {
        return Err(Error::conflict("Location can only be added to an image in queued state."));
    }
    check_formats(&image)?;
    app.web.check(&from.url).map_err(|_| Error::bad_request("Invalid location: only addresses of the web can be added."))?;
    let expected = match from.validation_data {
        Some(data) if data.os_hash_algo == "sha512" && data.os_hash_value.len() == 128 => Some(data.os_hash_value),
        Some(_) => {
            return Err(Error::bad_request("Could not verify the location: os_hash_algo must be sha512, os_hash_value 128 hex digits."));
        }
        None => None,
    };
    let stores = vec![app.stores.chosen(None)?.id.clone()];
    let task = tasks::new(ctx, "location_import", &image.row.id, &json!({"image_id": image.row.id, "loc_url": from.url}))?;
    begin(app, image, Source::Web { uri: from.url, expected }, stores, true, task).await
}
