//! Which versions there are, at the address by which the client came.

use http::StatusCode;
use kit::{Context, Raw, Reply, Result};
use serde_json::{Value, json};

use crate::{Keystone, json_home};

/// `GET /`
pub async fn versions(_: Keystone, ctx: Context, raw: Raw) -> Result<Reply> {
    if json_home::wanted(&raw.parts.headers) {
        return json_home::document("/v3");
    }
    let body = json!({"versions": {"values": [three(&ctx), two(&ctx)]}});
    Ok(Reply::json(StatusCode::MULTIPLE_CHOICES, &body)?.header("location", &format!("{}/v3/", ctx.base_url)))
}

/// `GET /v3`
pub async fn v3(_: Keystone, ctx: Context, raw: Raw) -> Result<Reply> {
    if json_home::wanted(&raw.parts.headers) {
        return json_home::document("");
    }
    Reply::ok(&json!({"version": three(&ctx)}))
}

/// `GET /v2.0`
pub async fn v2(_: Keystone, ctx: Context) -> Result<Reply> {
    Reply::ok(&json!({"version": two(&ctx)}))
}

fn three(ctx: &Context) -> Value {
    version(ctx, "v3.14", "stable", "2020-04-07T00:00:00Z", "v3")
}

fn two(ctx: &Context) -> Value {
    version(ctx, "v2.0", "deprecated", "2016-08-04T00:00:00Z", "v2.0")
}

fn version(ctx: &Context, id: &str, status: &str, updated: &str, path: &str) -> Value {
    json!({
        "id": id, "status": status, "updated": updated,
        "links": [{"rel": "self", "href": format!("{}/{path}/", ctx.base_url)}],
        "media-types": [{"base": "application/json", "type": format!("application/vnd.openstack.identity-{path}+json")}],
    })
}
