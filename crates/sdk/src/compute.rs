//! The calls that Cumulo's parts make to the compute API.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{Auth, Endpoint, Result};

/// Nova.
#[derive(Clone)]
pub struct Compute(pub Endpoint);

impl Compute {
    pub fn new(endpoint: Endpoint) -> Compute {
        Compute(endpoint)
    }

    /// Tells nova what happened to ports or volumes of its servers. It answers 404 when it knows none of the servers.
    pub async fn external_events(&self, auth: &Auth, events: &[ExternalEvent]) -> Result<()> {
        self.0.post(auth, "/v2.1/os-server-external-events", &json!({"events": events})).await.map(drop)
    }
}

/// One event of `os-server-external-events`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalEvent {
    /// `network-vif-plugged`, `network-vif-unplugged`, `network-vif-deleted`, `network-changed` ...
    pub name: String,
    pub server_uuid: String,
    /// `completed` or `failed`
    pub status: String,
    /// The port it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}
