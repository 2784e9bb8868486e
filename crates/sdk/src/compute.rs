//! The calls that Cumulo's parts make to the compute API.

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::query::encode;
use crate::{Auth, Endpoint, Result, found};

/// Nova knows all the events that are sent since 2.93: `volume-reimaged` is the newest of them.
const VERSION: &[(&str, &str)] = &[("openstack-api-version", "compute 2.93")];

/// Nova.
#[derive(Clone)]
pub struct Compute(pub Endpoint);

impl Compute {
    pub fn new(endpoint: Endpoint) -> Compute {
        Compute(endpoint)
    }

    /// Tells nova what happened to ports or volumes of its servers. It answers 404 when it knows none of the servers.
    pub async fn external_events(&self, auth: &Auth, events: &[ExternalEvent]) -> Result<()> {
        let (path, body) = ("/v2.1/os-server-external-events", json!({"events": events}));
        self.0.call_with(auth, Method::POST, path, Some(&body), VERSION).await.map(drop)
    }

    /// Asks for another volume in the place of one that a server has; what became of that is told to cinder.
    pub async fn swap_volume(&self, auth: &Auth, server_id: &str, volume_id: &str, new_id: &str) -> Result<()> {
        let path = format!("/v2.1/servers/{}/os-volume_attachments/{}", encode(server_id), encode(volume_id));
        let body = json!({"volumeAttachment": {"volumeId": new_id}});
        self.0.call_with(auth, Method::PUT, &path, Some(&body), VERSION).await.map(drop)
    }

    /// How a server has a volume; nothing when there is no such server, or it does not have the volume.
    pub async fn server_volume(&self, auth: &Auth, server_id: &str, volume_id: &str) -> Result<Option<ServerVolume>> {
        let path = format!("/v2.1/servers/{}/os-volume_attachments/{}", encode(server_id), encode(volume_id));
        let answer = found(self.0.call_with(auth, Method::GET, &path, None::<&Value>, VERSION).await)?;
        answer.map(|answer| answer.take("volumeAttachment")).transpose()
    }
}

/// A volume of a server.
#[derive(Clone, Debug, Deserialize)]
pub struct ServerVolume {
    /// Cinder's attachment, by which the server has it.
    pub attachment_id: Option<String>,
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
