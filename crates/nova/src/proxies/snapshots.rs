//! `/os-snapshots`, until 2.35: cinder's snapshots in nova's form.

use kit::{Context, Error, Json, Path, Query, Reply, Result};
use serde_json::{Value, json};

use super::volumes::renamed;
use super::{accepted, gone, one, paged};
use crate::{Nova, validate};

/// `GET /os-snapshots` and `GET /os-snapshots/detail`, which are the same.
pub async fn list(app: Nova, ctx: Context, query: Query) -> Result<Reply> {
    let snapshots: Vec<Value> = app.cloud.volume.0.get(&ctx.auth(), "/v3/snapshots/detail").await?.take("snapshots")?;
    Reply::ok(&json!({"snapshots": paged(&app, &query, snapshots.iter().map(view).collect())?}))
}

/// `GET /os-snapshots/{id}`
pub async fn show(app: Nova, ctx: Context, id: Path<String>) -> Result<Reply> {
    let snapshot = one(app.cloud.volume.0.get(&ctx.auth(), &path(&id.0)).await, "snapshot", || missing(&id.0))?;
    Reply::ok(&json!({"snapshot": view(&snapshot)}))
}

/// `POST /os-snapshots`
pub async fn create(app: Nova, ctx: Context, body: Json<Value>) -> Result<Reply> {
    let asked = validate::only(body.0, "snapshot", ctx.strict)?;
    if !asked.get("volume_id").is_some_and(Value::is_string) {
        return Err(Error::bad_request("Invalid input for field/attribute snapshot. 'volume_id' is a required property"));
    }
    let mut wanted = renamed(asked, &["volume_id", "force"])?;
    if let Some(force) = wanted.get("force").map(|force| validate::boolean("force", force)).transpose()? {
        wanted.insert("force".into(), json!(force));
    }
    let made: Value = app.cloud.volume.0.post(&ctx.auth(), "/v3/snapshots", &json!({"snapshot": wanted})).await?.take("snapshot")?;
    Reply::ok(&json!({"snapshot": view(&made)}))
}

/// `DELETE /os-snapshots/{id}`
pub async fn delete(app: Nova, ctx: Context, id: Path<String>) -> Result<Reply> {
    gone(app.cloud.volume.0.delete(&ctx.auth(), &path(&id.0)).await, || missing(&id.0))?;
    Ok(accepted())
}

fn view(snapshot: &Value) -> Value {
    json!({
        "id": snapshot["id"], "status": snapshot["status"], "size": snapshot["size"], "createdAt": snapshot["created_at"],
        "displayName": snapshot["name"], "displayDescription": snapshot["description"], "volumeId": snapshot["volume_id"],
    })
}

fn path(id: &str) -> String {
    format!("/v3/snapshots/{}", kit::call::percent_encode(id))
}

fn missing(id: &str) -> String {
    format!("Snapshot {id} could not be found.")
}
