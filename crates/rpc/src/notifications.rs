//! nova -> whoever listens: what happened to servers, in the envelope and under the names of nova's versioned notifications.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::message;

pub const TOPIC: &str = "versioned_notifications";

/// One notification.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notification {
    pub message_id: String,
    /// `nova-conductor:HOST`
    pub publisher_id: String,
    /// `instance.create.end`
    pub event_type: String,
    /// `INFO` or `ERROR`
    pub priority: String,
    /// `nova_object.name`, `.version`, `.namespace` and `.data`
    pub payload: Value,
    /// `2026-01-31 10:20:30.123456`
    pub timestamp: String,
}
message!(Notification => (), "notification");
