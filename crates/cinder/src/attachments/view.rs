//! An attachment as JSON: as itself, and as its volume tells it.

use kit::Context;
use serde_json::{Map, Value, json};

use super::Attachment;

/// `{id, status, instance, volume_id}`
pub fn brief(attachment: &Attachment) -> Value {
    json!({
        "id": attachment.id, "status": attachment.status.text(), "instance": attachment.instance_id, "volume_id": attachment.volume_id,
    })
}

pub fn detail(attachment: &Attachment) -> Value {
    let mut view = brief(attachment);
    view["attached_at"] = json!(attachment.attached_at.map_or_else(String::new, |at| at.to_micros()));
    view["detached_at"] = json!("");
    view["attach_mode"] = json!(attachment.mode);
    view["connection_info"] = flat(attachment);
    view
}

/// As an entry of a volume's `attachments`.
pub fn of_volume(ctx: &Context, attachment: &Attachment) -> Value {
    let mut view = json!({
        "id": attachment.volume_id, "attachment_id": attachment.id, "volume_id": attachment.volume_id,
        "server_id": attachment.instance_id, "device": attachment.mountpoint, "host_name": null,
        "attached_at": attachment.attached_at.map(|at| at.to_micros()),
    });
    if ctx.is_service_or_admin() {
        view["host_name"] = json!(attachment.host);
    }
    view
}

/// The connection in one flat object, as attachments show it: the driver's data, its name and the attachment's id.
fn flat(attachment: &Attachment) -> Value {
    let Some(info) = &attachment.connection_info else { return json!({}) };
    let mut flat: Map<String, Value> = info.0["data"].as_object().cloned().unwrap_or_default();
    flat.insert("driver_volume_type".into(), info.0["driver_volume_type"].clone());
    flat.insert("attachment_id".into(), json!(attachment.id));
    Value::Object(flat)
}
