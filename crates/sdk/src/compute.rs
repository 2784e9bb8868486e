//! The calls that Cumulo's parts make to the compute API.

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{Auth, Endpoint, Result};

/// Nova knows `volume-extended` since 2.51.
const VERSION: &[(&str, &str)] = &[("openstack-api-version", "compute 2.51")];
/// And `volume-reimaged` since 2.93.
const REIMAGED: &[(&str, &str)] = &[("openstack-api-version", "compute 2.93")];

/// Nova.
#[derive(Clone)]
pub struct Compute(pub Endpoint);

impl Compute {
    pub fn new(endpoint: Endpoint) -> Compute {
        Compute(endpoint)
    }

    /// Tells nova what happened to ports or volumes of its servers. It answers 404 when it knows none of the servers.
    pub async fn external_events(&self, auth: &Auth, events: &[ExternalEvent]) -> Result<()> {
        let version = if events.iter().any(|event| event.name == "volume-reimaged") { REIMAGED } else { VERSION };
        let (path, body) = ("/v2.1/os-server-external-events", json!({"events": events}));
        self.0.call_with(auth, Method::POST, path, Some(&body), version).await.map(drop)
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
