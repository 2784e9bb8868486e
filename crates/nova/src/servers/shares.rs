//! `/servers/{id}/shares`, since 2.97: file shares that servers mount. There is no shared file system service in this cloud, so no server has
//! one, and none is found to be attached.

use kit::{Context, Error, Json, Path, Reply, Result};
use serde_json::{Value, json};

use super::store;
use crate::{Nova, validate};

/// `GET /servers/{id}/shares`
pub async fn list(app: Nova, ctx: Context, id: Path<String>) -> Result<Reply> {
    store::fetch(&app, &ctx, &id.0).await?;
    Reply::ok(&json!({"shares": []}))
}

/// `POST /servers/{id}/shares`
pub async fn create(app: Nova, ctx: Context, id: Path<String>, body: Json<Value>) -> Result<Reply> {
    let wanted = validate::only(body.0, "share", ctx.strict)?;
    kit::microversion::only("share", &wanted, |key| matches!(key, "share_id" | "tag"))?;
    let share = wanted.get("share_id").and_then(Value::as_str);
    let share = share.ok_or_else(|| Error::bad_request("Invalid input for field/attribute share. 'share_id' is a required property"))?;
    if kit::ids::parse_uuid(share).is_none() {
        return Err(validate::invalid("share_id", share, format!("'{share}' is not a 'uuid'")));
    }
    store::fetch(&app, &ctx, &id.0).await?;
    Err(missing(share))
}

/// `GET /servers/{id}/shares/{share_id}`
pub async fn show(app: Nova, ctx: Context, Path((id, share)): Path<(String, String)>) -> Result<Reply> {
    store::fetch(&app, &ctx, &id).await?;
    Err(missing(&share))
}

/// `DELETE /servers/{id}/shares/{share_id}`
pub async fn delete(app: Nova, ctx: Context, ids: Path<(String, String)>) -> Result<Reply> {
    show(app, ctx, ids).await
}

fn missing(share: &str) -> Error {
    Error::not_found(format!("Share {share} could not be found."))
}
