//! Which versions there are: `/`, `/v2` and `/v2.1`, for anybody and without a token.

use http::StatusCode;
use kit::service::FaultContext;
use kit::{Context, Error, Path, Reply, Result};
use serde_json::{Value, json};

use crate::Nova;
use crate::fault::envelope;
use crate::microversions::VERSIONS;

/// `GET /`
pub async fn versions(_: Nova, ctx: Context) -> Result<Reply> {
    Reply::ok(&json!({"versions": [v2(&ctx.base_url), v2_1(&ctx.base_url)]}))
}

/// `GET /v2.1/`
pub async fn show_v2_1(_: Nova, ctx: Context) -> Result<Reply> {
    Reply::ok(&json!({"version": with_media_types(v2_1(&ctx.base_url), "2.1")}))
}

/// `GET /v2/`
pub async fn show_v2(_: Nova, ctx: Context) -> Result<Reply> {
    Reply::ok(&json!({"version": with_media_types(v2(&ctx.base_url), "2")}))
}

/// `GET /v2.1/versions/{id}`
pub async fn show(_: Nova, ctx: Context, id: Path<String>) -> Result<Reply> {
    match id.0.as_str() {
        "v2.0" => Reply::ok(&json!({"version": with_media_types(v2(&ctx.base_url), "2")})),
        "v2.1" => Reply::ok(&json!({"version": with_media_types(v2_1(&ctx.base_url), "2.1")})),
        _ => Err(Error::not_found("The resource could not be found.")),
    }
}

/// The answer to a path that belongs to no version: there is nothing but the choice of one.
pub fn choices(context: &FaultContext<'_>) -> Reply {
    let base = kit::service::base_url(context.headers);
    let choice = |id: &str, version: &str, status: &str| {
        json!({
            "id": id, "status": status,
            "links": [{"rel": "self", "href": format!("{base}/{version}{}", context.path)}],
            "media-types": [media_type(version.trim_start_matches('v'))],
        })
    };
    let body = json!({"choices": [choice("v2.0", "v2", "SUPPORTED"), choice("v2.1", "v2.1", "CURRENT")]});
    envelope(StatusCode::MULTIPLE_CHOICES, &body)
}

fn v2(base: &str) -> Value {
    json!({
        "id": "v2.0", "status": "SUPPORTED", "version": "", "min_version": "", "updated": "2011-01-21T11:33:21Z",
        "links": [{"rel": "self", "href": format!("{base}/v2/")}],
    })
}

fn v2_1(base: &str) -> Value {
    json!({
        "id": "v2.1", "status": "CURRENT", "version": VERSIONS.max.to_string(), "min_version": VERSIONS.min.to_string(),
        "updated": "2013-07-23T11:33:21Z", "links": [{"rel": "self", "href": format!("{base}/v2.1/")}],
    })
}

fn with_media_types(mut version: Value, number: &str) -> Value {
    version["media-types"] = json!([media_type(number)]);
    if let Some(links) = version["links"].as_array_mut() {
        links.push(json!({"rel": "describedby", "type": "text/html", "href": "http://docs.openstack.org/"}));
    }
    version
}

fn media_type(number: &str) -> Value {
    json!({"base": "application/json", "type": format!("application/vnd.openstack.compute+json;version={number}")})
}
