//! Answers as placement gives them: from 1.15 on with when they were last modified, and a word to caches.

use std::time::{Duration, UNIX_EPOCH};

use http::StatusCode;
use kit::clock::Timestamp;
use kit::{Context, Reply, Result};
use serde::Serialize;

use crate::microversions::CACHE_HEADERS;

/// 200 with JSON.
pub fn ok(ctx: &Context, modified: Timestamp, body: &impl Serialize) -> Result<Reply> {
    Ok(dated(ctx, modified, Reply::ok(body)?))
}

/// A status alone.
pub fn empty(ctx: &Context, status: StatusCode) -> Reply {
    dated(ctx, Timestamp::now(), Reply::empty(status))
}

/// The headers of 1.15.
pub fn dated(ctx: &Context, modified: Timestamp, reply: Reply) -> Reply {
    if !ctx.speaks(CACHE_HEADERS) {
        return reply;
    }
    let moment = UNIX_EPOCH + Duration::from_secs(modified.secs().max(0) as u64);
    reply.header("last-modified", &httpdate::fmt_http_date(moment)).header("cache-control", "no-cache")
}
