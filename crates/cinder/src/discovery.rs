//! What versions there are: 300 on `/` for everybody, 200 on `/v3/` with a token.

use http::StatusCode;
use kit::policy::PUBLIC;
use kit::{Context, Reply, Result, Routes};
use serde_json::{Value, json};

use crate::Cinder;
use crate::microversions::VERSIONS;

pub fn routes() -> Routes<Cinder> {
    Routes::new().get("/", PUBLIC, root)
}

async fn root(_: Cinder, ctx: Context) -> Result<Reply> {
    Reply::json(StatusCode::MULTIPLE_CHOICES, &versions(&ctx))
}

pub async fn v3(_: Cinder, ctx: Context) -> Result<Reply> {
    Reply::ok(&versions(&ctx))
}

fn versions(ctx: &Context) -> Value {
    json!({"versions": [{
        "id": "v3.0", "status": "CURRENT", "version": VERSIONS.max.to_string(), "min_version": VERSIONS.min.to_string(),
        "updated": "2023-08-31T00:00:00Z",
        "links": [
            {"rel": "describedby", "type": "text/html", "href": "https://docs.openstack.org/"},
            {"rel": "self", "href": format!("{}/v3/", ctx.base_url)},
        ],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.volume+json;version=3"}],
    }]})
}
