//! `/os-volumes`, until 2.35: cinder's volumes in nova's form.

use kit::{Context, Json, Path, Query, Reply, Result};
use serde_json::{Map, Value, json};

use super::{accepted, gone, one, paged};
use crate::{Nova, validate};

/// `GET /os-volumes` and `GET /os-volumes/detail`, which are the same.
pub async fn list(app: Nova, ctx: Context, query: Query) -> Result<Reply> {
    let volumes: Vec<Value> = app.cloud.volume.0.get(&ctx.auth(), "/v3/volumes/detail").await?.take("volumes")?;
    Reply::ok(&json!({"volumes": paged(&app, &query, volumes.iter().map(view).collect())?}))
}

/// `GET /os-volumes/{id}`
pub async fn show(app: Nova, ctx: Context, id: Path<String>) -> Result<Reply> {
    let volume = one(app.cloud.volume.0.get(&ctx.auth(), &path(&id.0)).await, "volume", || missing(&id.0))?;
    Reply::ok(&json!({"volume": view(&volume)}))
}

/// `POST /os-volumes`
pub async fn create(app: Nova, ctx: Context, body: Json<Value>) -> Result<Reply> {
    let asked = validate::only(body.0, "volume", ctx.strict)?;
    let wanted = renamed(asked, &["size", "snapshot_id", "volume_type", "metadata", "availability_zone"])?;
    let made = app.cloud.volume.0.post(&ctx.auth(), "/v3/volumes", &json!({"volume": wanted})).await?.take::<Value>("volume")?;
    Reply::ok(&json!({"volume": view(&made)}))
}

/// `DELETE /os-volumes/{id}`
pub async fn delete(app: Nova, ctx: Context, id: Path<String>) -> Result<Reply> {
    gone(app.cloud.volume.0.delete(&ctx.auth(), &path(&id.0)).await, || missing(&id.0))?;
    Ok(accepted())
}

/// What was asked for, with `display_name` and `display_description` by the names cinder gives them now.
pub fn renamed(asked: Map<String, Value>, known: &[&str]) -> Result<Map<String, Value>> {
    let mut wanted = Map::new();
    let mut unknown = Vec::new();
    for (key, value) in asked {
        match key.as_str() {
            "display_name" => drop(wanted.insert("name".into(), value)),
            "display_description" => drop(wanted.insert("description".into(), value)),
            name if known.contains(&name) => drop(wanted.insert(key, value)),
            _ => unknown.push(key),
        }
    }
    kit::microversion::unexpected(&unknown.iter().map(String::as_str).collect::<Vec<_>>())?;
    Ok(wanted)
}

fn view(volume: &Value) -> Value {
    let attached = volume["attachments"].as_array().map_or(&[][..], Vec::as_slice);
    let attachment = |a: &Value| json!({"id": volume["id"], "volumeId": volume["id"], "serverId": a["server_id"], "device": a["device"]});
    let attachments: Vec<Value> = attached.iter().map(attachment).collect();
    json!({
        "id": volume["id"], "status": volume["status"], "size": volume["size"], "availabilityZone": volume["availability_zone"],
        "createdAt": volume["created_at"], "displayName": volume["name"], "displayDescription": volume["description"],
        "volumeType": volume["volume_type"], "snapshotId": volume["snapshot_id"], "metadata": volume["metadata"],
        // one empty attachment stands for none
        "attachments": if attachments.is_empty() { vec![json!({})] } else { attachments },
    })
}

fn path(id: &str) -> String {
    format!("/v3/volumes/{}", kit::call::percent_encode(id))
}

fn missing(id: &str) -> String {
    format!("Volume {id} could not be found.")
}
