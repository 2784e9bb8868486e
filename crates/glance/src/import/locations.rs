//! `/images/{id}/locations`: where an image's bytes are, for services; and adding one, for whoever owns the image.
//!
//! What is added is an address of the web. It is fetched into a store of ours and checked against the hash that came with it, so
//! that nobody can change what an image is after it became active.

use http::StatusCode;
use kit::{Context, Error, Json, Path, Reply, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use super::run::check_hash;
use super::{Source, begin};
use crate::data::check_formats;
use crate::data::scratch::Received;
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

/// What the bytes must be.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validation {
    checksum: Option<String>,
    os_hash_algo: String,
    os_hash_value: String,
}

impl Location {
    /// Refuses hashes that no bytes have, and such as are not taken here.
    pub fn check(&self) -> Result<()> {
        let Some(data) = &self.validation_data else { return Ok(()) };
        if data.os_hash_algo != "sha512" {
            return Err(Error::bad_request(format!("os_hash_algo must be sha512, not {}", data.os_hash_algo)));
        }
        let checksum = data.checksum.as_ref().map(|value| ("checksum", value, "md5", 16));
        for (key, value, algorithm, bytes) in checksum.into_iter().chain([("os_hash_value", &data.os_hash_value, "sha512", 64)]) {
            if !value.chars().all(|c| c.is_ascii_hexdigit()) {
                return Err(Error::bad_request(format!("{key} ({value}) is not a valid hexadecimal value")));
            }
            if value.len() != 2 * bytes {
                let message = format!("{key} ({value}) is not the correct size for {algorithm} (should be {bytes} bytes)");
                return Err(Error::bad_request(message));
            }
        }
        Ok(())
    }
}

impl Validation {
    pub fn verify(&self, received: &Received) -> Result<()> {
        check_hash(&received.sha512, Some(&self.os_hash_value))?;
        check_hash(&received.md5, self.checksum.as_deref())
    }
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
        return Err(Error::conflict(format!("It's not allowed to add locations if image status is {}.", image.row.status.as_str())));
    }
    check_formats(&image)?;
    app.web.check(&from.url).map_err(|_| Error::bad_request("Invalid location: only addresses of the web can be added."))?;
    from.check()?;
    let stores = vec![app.stores.chosen(None)?.id.clone()];
    let task = tasks::new(ctx, "location_import", &image.row.id, &json!({"image_id": image.row.id, "loc_url": from.url}))?;
    begin(app, image, Source::Web { uri: from.url, expected: from.validation_data }, stores, true, task).await
}
