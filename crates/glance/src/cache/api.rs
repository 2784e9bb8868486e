//! `/v2/cache`: what is cached in this process, and what is to be.

use http::StatusCode;
use kit::{Context, Error, Path, Raw, Reply, Result};
use serde_json::{Value, json};

use super::{Cache, Inner, QUEUE};
use crate::Glance;
use crate::entity::Status;
use crate::fault::no_image;
use crate::images::store;

/// Says what of the cache is to be cleared: `cache`, `queue`, or both.
const TARGET: &str = "x-image-cache-clear-target";

pub async fn list(app: Glance, _: Context) -> Result<Reply> {
    let inner = enabled(&app.cache)?;
    let state = inner.state();
    let seconds = |at: kit::clock::Timestamp| at.0 as f64 / 1e6;
    let cached: Vec<Value> = state
        .entries
        .iter()
        .map(|(id, entry)| {
            json!({
                "image_id": id,
                "hits": entry.hits,
                "last_accessed": seconds(entry.last_accessed),
                "last_modified": seconds(entry.last_modified),
                "size": entry.size,
            })
        })
        .collect();
    Reply::ok(&json!({"cached_images": cached, "queued_images": state.queued.iter().collect::<Vec<_>>()}))
}

/// `PUT /cache/{image_id}`: 202, fetched in the next round.
pub async fn queue(app: Glance, _: Context, id: Path<String>) -> Result<Reply> {
    let inner = enabled(&app.cache)?;
    let image = store::fetch(app.db.read(), &id.0).await?.ok_or_else(|| no_image(&id.0))?;
    if image.row.status != Status::Active {
        return Err(Error::bad_request("Only images with status active can be targeted for queueing"));
    }
    let mut state = inner.state();
    if state.queued.len() >= QUEUE {
        return Err(Error::too_large("Too many images are queued for caching."));
    }
    if !state.entries.contains_key(&id.0) {
        state.queued.insert(id.0);
    }
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

pub async fn delete(app: Glance, _: Context, id: Path<String>) -> Result<Reply> {
    let inner = enabled(&app.cache)?;
    if kit::ids::parse_uuid(&id.0).is_none_or(|known| known != id.0) || !inner.remove(&id.0).await? {
        return Err(Error::not_found(format!("Image {} is not cached or queued", id.0)));
    }
    Reply::no_content()
}

/// `DELETE /cache`
pub async fn clear(app: Glance, _: Context, raw: Raw) -> Result<Reply> {
    let inner = enabled(&app.cache)?;
    let target = raw.parts.headers.get(TARGET).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (cache, queue) = match target {
        "" => (true, true),
        "cache" => (true, false),
        "queue" => (false, true),
        other => {
            return Err(Error::bad_request(format!(
                "If provided 'x-image-cache-clear-target' must be 'cache', 'queue' or empty string, not {other}."
            )));
        }
    };
    if queue {
        inner.state().queued.clear();
    }
    if cache {
        let all: Vec<String> = inner.state().entries.keys().cloned().collect();
        for id in all {
            inner.remove(&id).await?;
        }
    }
    Reply::no_content()
}

fn enabled(cache: &Cache) -> Result<&Inner> {
    cache.0.as_deref().ok_or_else(|| Error::not_found("Caching via API is not supported at this site."))
}
