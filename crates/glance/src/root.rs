//! Discovery.

use http::StatusCode;
use kit::{Context, Reply, Result};
use serde_json::{Value, json};

use crate::Glance;

/// Levels of what is here, with two that need something: 2.14 and 2.16 are the cache and its management.
const LEVELS: &[&str] =
    &["2.17", "2.16", "2.15", "2.14", "2.13", "2.12", "2.11", "2.10", "2.9", "2.8", "2.7", "2.6", "2.5", "2.4", "2.3", "2.2", "2.1", "2.0"];
const CACHE: &[&str] = &["2.16", "2.14"];

/// `GET /`, and any path without a version: 300, a choice of versions.
pub async fn choices(app: Glance, ctx: Context) -> Result<Reply> {
    Reply::json(StatusCode::MULTIPLE_CHOICES, &body(&app, &ctx))
}

/// `GET /versions`: the same as 200.
pub async fn versions(app: Glance, ctx: Context) -> Result<Reply> {
    Reply::ok(&body(&app, &ctx))
}

fn body(app: &Glance, ctx: &Context) -> Value {
    let spoken = LEVELS.iter().filter(|level| app.settings.cache_max_size.is_some() || !CACHE.contains(level));
    let link = format!("{}/v2/", ctx.base_url);
    let version = |(index, level): (usize, &&str)| {
        let status = if index == 0 { "CURRENT" } else { "SUPPORTED" };
        json!({"id": format!("v{level}"), "status": status, "links": [{"rel": "self", "href": link}]})
    };
    json!({"versions": spoken.enumerate().map(version).collect::<Vec<_>>()})
}
