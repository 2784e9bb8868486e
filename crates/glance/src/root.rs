//! Discovery.

use http::StatusCode;
use kit::{Context, Reply, Result};
use serde_json::{Value, json};

use crate::Glance;

/// Levels of what is here: members, deactivation, community images, import, hidden images and hashes.
const LEVELS: &[&str] = &["2.7", "2.6", "2.5", "2.4", "2.3", "2.2", "2.1", "2.0"];

/// `GET /`, and any path without a version: 300, a choice of versions.
pub async fn choices(_: Glance, ctx: Context) -> Result<Reply> {
    Reply::json(StatusCode::MULTIPLE_CHOICES, &body(&ctx))
}

/// `GET /versions`: the same as 200.
pub async fn versions(_: Glance, ctx: Context) -> Result<Reply> {
    Reply::ok(&body(&ctx))
}

fn body(ctx: &Context) -> Value {
    let link = format!("{}/v2/", ctx.base_url);
    let version = |(index, level): (usize, &&str)| {
        let status = if index == 0 { "CURRENT" } else { "SUPPORTED" };
        json!({"id": format!("v{level}"), "status": status, "links": [{"rel": "self", "href": link}]})
    };
    json!({"versions": LEVELS.iter().enumerate().map(version).collect::<Vec<_>>()})
}
