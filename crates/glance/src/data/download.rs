//! `GET /images/{id}/file`: the whole or a range, as a stream, from the cache or the first store that has it.

use axum::body::Body;
use http::StatusCode;
use http::header::RANGE;
use kit::{Context, Error, Kind, Path, Raw, Reply, Result};

use crate::Glance;
use crate::entity::Status;
use crate::images::{Image, permitted};

pub async fn download(app: Glance, ctx: Context, id: Path<String>, raw: Raw) -> Result<Reply> {
    let image = permitted(&app, &ctx, &id.0, "download_image").await?;
    match image.row.status {
        Status::Active => {}
        Status::Deactivated if ctx.is_admin() => {}
        Status::Deactivated => return Err(Error::forbidden("The requested image has been deactivated. Image data download is forbidden.")),
        Status::Queued | Status::Saving | Status::Uploading | Status::Importing => return Reply::no_content(),
    }
    let size = image.row.size.and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
    let range = raw.parts.headers.get(RANGE).and_then(|v| v.to_str().ok());
    let Some((from, until)) = range.map(|text| span(text, size)).transpose()?.flatten() else {
        let body = app.cache.through(&app, &image, open(&app, &image, 0, size).await?).await;
        let reply = Reply::body("application/octet-stream", body).header("content-length", &size.to_string());
        let reply = reply.header("accept-ranges", "bytes");
        return Ok(match &image.row.checksum {
            Some(md5) => reply.header("content-md5", md5),
            None => reply,
        });
    };
    let mut reply = Reply::body("application/octet-stream", open(&app, &image, from, until).await?)
        .header("content-length", &(until - from).to_string())
        .header("content-range", &format!("bytes {from}-{}/{size}", until - 1));
    *reply.0.status_mut() = StatusCode::PARTIAL_CONTENT;
    Ok(reply)
}

/// The bytes of an image, from the cache or the first store that gives them.
pub async fn open(app: &Glance, image: &Image, from: u64, until: u64) -> Result<Body> {
    if let Some(body) = app.cache.get(&image.row.id, from, until).await {
        return Ok(body);
    }
    let mut last = Error::not_found(format!("No image data could be found for {}", image.row.id));
    for (store, location) in app.stores.order(&image.locations) {
        match store.get(&location.name, from, until).await {
            Ok(body) => return Ok(body),
            Err(error) => {
                tracing::warn!(image = image.row.id, store = store.id, %error, "a store cannot give an image");
                last = error;
            }
        }
    }
    Err(last)
}
/// `bytes=0-99`, `bytes=100-`, `bytes=-100`, as the first byte and the one behind the last. Several ranges at once are not served: the
/// whole is.
fn span(text: &str, size: u64) -> Result<Option<(u64, u64)>> {
    let unsatisfiable =
        || Error::new(Kind::RangeNotSatisfiable, format!("The requested range {text} is not within the image's {size} bytes."));
    let Some(range) = text.trim().strip_prefix("bytes=").filter(|range| !range.contains(',')) else { return Ok(None) };
    let (first, last) = range.split_once('-').ok_or_else(unsatisfiable)?;
    let number = |text: &str| text.trim().parse::<u64>().map_err(|_| unsatisfiable());
    let (from, until) = match (first.trim(), last.trim()) {
        ("", last) => (size.saturating_sub(number(last)?), size),
        (first, "") => (number(first)?, size),
        (first, last) => (number(first)?, number(last)?.saturating_add(1).min(size)),
    };
    if from < until { Ok(Some((from, until))) } else { Err(unsatisfiable()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        assert_eq!(span("bytes=0-9", 100).unwrap(), Some((0, 10)));
        assert_eq!(span("bytes=90-", 100).unwrap(), Some((90, 100)));
        assert_eq!(span("bytes=-10", 100).unwrap(), Some((90, 100)));
        assert_eq!(span("bytes=50-500", 100).unwrap(), Some((50, 100)));
        assert_eq!(span("bytes=0-1,5-6", 100).unwrap(), None);
        for bad in ["bytes=100-", "bytes=9-5", "bytes=x-y", "bytes=-0"] {
            assert_eq!(span(bad, 100).unwrap_err().kind, Kind::RangeNotSatisfiable, "{bad}");
        }
    }
}
