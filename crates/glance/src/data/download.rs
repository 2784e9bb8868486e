//! `GET /images/{id}/file`: the whole or a range, as a stream, from the cache or the first store that has it.

use axum::body::Body;
use http::HeaderMap;
use http::StatusCode;
use http::header::{CONTENT_RANGE, RANGE};
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
    let Some((from, until)) = asked(&raw.parts.headers, size)? else {
        let body = app.cache.through(&app, &image, open(&app, &image, 0, size).await?).await;
        let reply = Reply::body("application/octet-stream", body).header("content-length", &size.to_string());
        return Ok(summed(reply.header("accept-ranges", "bytes"), &image));
    };
    let reply = Reply::body("application/octet-stream", open(&app, &image, from, until).await?)
        .status(StatusCode::PARTIAL_CONTENT)
        .header("content-length", &(until - from).to_string())
        .header("content-range", &format!("bytes {from}-{}/{size}", until - 1));
    Ok(summed(reply, &image))
}

/// With the digest of the whole image, also when a part of it is sent.
fn summed(reply: Reply, image: &Image) -> Reply {
    match &image.row.checksum {
        Some(md5) => reply.header("content-md5", md5),
        None => reply,
    }
}

/// The part of the image that is asked for: by `Range`, or by the `Content-Range` that clients sent before glance knew the other.
fn asked(headers: &HeaderMap, size: u64) -> Result<Option<(u64, u64)>> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(range) = text(RANGE) {
        return span(range, size).map(Some);
    }
    let Some(range) = text(CONTENT_RANGE) else { return Ok(None) };
    // `bytes 0-99/*`
    let (span_of, _) = range.split_once('/').unwrap_or((range, ""));
    span(&span_of.replacen(' ', "=", 1), size).map(Some)
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

/// `bytes=0-99`, `bytes=100-`, `bytes=-100`, as the first byte and the one behind the last.
fn span(text: &str, size: u64) -> Result<(u64, u64)> {
    let unsatisfiable = || Error::new(Kind::RangeNotSatisfiable, "The Range requested is not available.");
    let range = text.trim().strip_prefix("bytes=").ok_or_else(unsatisfiable)?;
    if range.contains(',') {
        return Err(Error::bad_request(
            "Requests with multiple ranges are not supported in Glance. You may make multiple single-range requests instead.",
        ));
    }
    let (first, last) = range.split_once('-').ok_or_else(unsatisfiable)?;
    let number = |text: &str| text.trim().parse::<u64>().map_err(|_| unsatisfiable());
    let (from, until) = match (first.trim(), last.trim()) {
        ("", last) => (size.saturating_sub(number(last)?), size),
        (first, "") => (number(first)?, size),
        (first, last) => (number(first)?, number(last)?.saturating_add(1).min(size)),
    };
    if from < until { Ok((from, until)) } else { Err(unsatisfiable()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        assert_eq!(span("bytes=0-9", 100).unwrap(), (0, 10));
        assert_eq!(span("bytes=90-", 100).unwrap(), (90, 100));
        assert_eq!(span("bytes=-10", 100).unwrap(), (90, 100));
        assert_eq!(span("bytes=50-500", 100).unwrap(), (50, 100));
        assert_eq!(span("bytes=0-1,5-6", 100).unwrap_err().kind, Kind::BadRequest);
        let old = HeaderMap::from_iter([(CONTENT_RANGE, http::HeaderValue::from_static("bytes 5-9/*"))]);
        assert_eq!((asked(&old, 100).unwrap(), asked(&HeaderMap::new(), 100).unwrap()), (Some((5, 10)), None));
        for bad in ["bytes=100-", "bytes=9-5", "bytes=x-y", "bytes=-0", "items=0-9"] {
            assert_eq!(span(bad, 100).unwrap_err().kind, Kind::RangeNotSatisfiable, "{bad}");
        }
    }
}
