//! `POST /os-server-external-events`: what happened to ports and volumes of servers, told by neutron and cinder.

use kit::{Context, Error, Json, Reply, Result};
use rpc::compute::{ExternalEvent, compute_topic};
use serde_json::{Value, json};

use crate::Nova;
use crate::conductor::extend_volume::Extend;
use crate::conductor::reconcile;
use crate::servers::{begin, store};

/// Events and the version they came with.
const KNOWN: &[(&str, u16)] = &[
    ("network-changed", 1),
    ("network-vif-plugged", 1),
    ("network-vif-unplugged", 1),
    ("network-vif-deleted", 1),
    ("volume-extended", 51),
    ("power-update", 76),
    ("accelerator-request-bound", 82),
    ("volume-reimaged", 93),
];

/// `POST /os-server-external-events`
pub async fn create(app: Nova, ctx: Context, body: Json<Value>) -> Result<Reply> {
    let missing = || Error::bad_request("Invalid input for field/attribute body. 'events' is a required property");
    let events = body.0.get("events").and_then(Value::as_array).filter(|events| !events.is_empty()).ok_or_else(missing)?;
    let read: Vec<(ExternalEvent, &Value)> = events.iter().map(|event| Ok((read(&ctx, event)?, event))).collect::<Result<_>>()?;
    let mut answers = Vec::new();
    let (mut accepted, mut refused) = (false, false);
    for (event, raw) in read {
        let code = dispatch(&app, &ctx, event).await?;
        accepted |= code == 200;
        refused |= code != 200;
        let mut answer = raw.clone();
        answer["code"] = json!(code);
        answer["status"] = if code == 200 { raw.get("status").cloned().unwrap_or(json!("completed")) } else { json!("failed") };
        answers.push(answer);
    }
    if !accepted {
        return Err(Error::not_found("No instances found for any event"));
    }
    let status = if refused { http::StatusCode::MULTI_STATUS } else { http::StatusCode::OK };
    Reply::json(status, &json!({"events": answers}))
}

fn read(ctx: &Context, event: &Value) -> Result<ExternalEvent> {
    let object =
        event.as_object().ok_or_else(|| Error::bad_request(format!("Invalid input for field/attribute events. Value: {event}.")))?;
    kit::microversion::only("events", object, |key| matches!(key, "name" | "status" | "tag" | "server_uuid"))?;
    let text = |key: &str| event.get(key).and_then(Value::as_str).map(str::to_owned);
    let name = text("name").unwrap_or_default();
    if !KNOWN.iter().any(|(known, since)| *known == name && ctx.version.1 >= *since) {
        return Err(Error::bad_request(format!("Invalid input for field/attribute name. Value: {name}. '{name}' is not a known event")));
    }
    let status = text("status").unwrap_or_else(|| "completed".into());
    if !matches!(status.as_str(), "completed" | "failed" | "in-progress") {
        return Err(Error::bad_request(format!("Invalid event status `{status}`")));
    }
    let id = text("server_uuid").and_then(|id| kit::ids::parse_uuid(&id));
    let instance_id = id.ok_or_else(|| Error::bad_request("Invalid input for field/attribute server_uuid. It is not a 'uuid'"))?;
    Ok(ExternalEvent { instance_id, name, tag: text("tag"), status })
}

/// Tells the host; 404 for a server that is not there, 422 for one that is on no host yet.
async fn dispatch(app: &Nova, ctx: &Context, event: ExternalEvent) -> Result<u16> {
    let Some(server) = store::standing(app.db.read(), &event.instance_id).await? else { return Ok(404) };
    let Some(host) = server.host else { return Ok(422) };
    if event.name == "network-changed" {
        let (app, id) = (app.clone(), server.id.clone());
        tokio::spawn(async move {
            if let Err(error) = reconcile::refresh_addresses(&app, &id).await {
                tracing::warn!(instance = id, %error, "the addresses could not be refreshed");
            }
        });
    }
    if event.name == "volume-extended" {
        let Some(volume_id) = event.tag else { return Ok(400) };
        let flow = Extend { caller: ctx.caller(), instance_id: server.id.clone(), volume_id };
        begin::beside(app, ctx, &server.id, "extend_volume", flow).await?;
        return Ok(200);
    }
    app.bus.cast(&compute_topic(&host), event).await?;
    Ok(200)
}
