//! Discovery.

use kit::{Context, Reply, Result};
use serde_json::json;

use crate::Placement;
use crate::microversions::VERSIONS;

/// `GET /`
pub async fn versions(_: Placement, _: Context) -> Result<Reply> {
    Reply::ok(&json!({"versions": [{
        "id": "v1.0",
        "min_version": VERSIONS.min.to_string(),
        "max_version": VERSIONS.max.to_string(),
        "status": "CURRENT",
        "links": [{"rel": "self", "href": ""}],
    }]}))
}
