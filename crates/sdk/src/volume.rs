//! The calls that Cumulo's parts make to the volume API: volumes, and the attachments through which servers use them.
//!
//! Paths carry no project, and every call speaks one fixed version, so that answers have one shape whoever runs the service.

use std::collections::BTreeMap;

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{Auth, Endpoint, Result};

/// Attachments can be completed since 3.44, and a volume type decides about multiattach since 3.50.
const VERSION: &[(&str, &str)] = &[("openstack-api-version", "volume 3.54")];
/// Volumes can be filled anew.
const REIMAGE: &[(&str, &str)] = &[("openstack-api-version", "volume 3.68")];

/// Cinder.
#[derive(Clone)]
pub struct Volume(pub Endpoint);

/// A volume as `GET /volumes/{id}` shows it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Details {
    pub id: String,
    pub name: Option<String>,
    pub description: Option<String>,
    /// `creating`, `downloading`, `available`, `reserved`, `attaching`, `in-use`, `detaching`, `error`, ...
    pub status: String,
    /// GiB
    pub size: u64,
    /// `"true"` or `"false"`, as text.
    pub bootable: String,
    pub multiattach: bool,
    pub encrypted: bool,
    pub availability_zone: Option<String>,
    pub volume_type: Option<String>,
    pub snapshot_id: Option<String>,
    pub source_volid: Option<String>,
    pub attachments: Vec<AttachedTo>,
    pub metadata: BTreeMap<String, String>,
    /// Properties of the image a volume was made from.
    pub volume_image_metadata: BTreeMap<String, String>,
    #[serde(rename = "os-vol-tenant-attr:tenant_id")]
    pub project_id: Option<String>,
}

/// Where a volume is attached, as the volume tells it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct AttachedTo {
    pub attachment_id: String,
    pub server_id: Option<String>,
    pub device: Option<String>,
}

/// A snapshot of a volume.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct SnapshotDetails {
    pub id: String,
    pub volume_id: String,
    /// `creating`, `available`, `error`, ...
    pub status: String,
    /// GiB
    pub size: u64,
}

/// What a new volume is made from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Source {
    #[default]
    Blank,
    Image(String),
    Snapshot(String),
    Volume(String),
}

/// A volume to be.
#[derive(Clone, Debug, Default)]
pub struct NewVolume {
    pub name: Option<String>,
    pub description: Option<String>,
    /// GiB; may be left out for a snapshot or a volume.
    pub size: Option<u64>,
    pub source: Source,
    pub volume_type: Option<String>,
    pub availability_zone: Option<String>,
    pub metadata: BTreeMap<String, String>,
}

/// The use of a volume by a server. Created without a connector it only reserves the volume; with one, the volume is exported.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Attachment {
    pub id: String,
    pub volume_id: String,
    /// The server.
    pub instance: Option<String>,
    /// `reserved`, `attaching`, `attached`, `detached`.
    pub status: String,
    pub attach_mode: Option<String>,
    pub connection_info: ConnectionInfo,
}

/// How the host reaches the volume. On the wire it is one flat object; empty before there is a connector.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConnectionInfo {
    /// `nbd`, `iscsi`, `rbd`, ...
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver_volume_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attachment_id: Option<String>,
    #[serde(flatten)]
    pub data: Map<String, Value>,
}

/// A volume served over NBD: on a UNIX socket of the host that was asked for, or at an address that it reaches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Nbd {
    #[serde(default)]
    pub socket_path: Option<String>,
    #[serde(default)]
    pub host: Option<String>,
    #[serde(default)]
    pub port: Option<u16>,
    /// The key of TLS with a pre-shared key, in hexadecimal digits.
    #[serde(default)]
    pub auth_password: Option<String>,
    /// The name of the export.
    pub export: String,
    #[serde(default)]
    pub readonly: bool,
}

/// A volume of a Ceph cluster, which hosts reach by themselves.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Rbd {
    /// `POOL/IMAGE`
    pub name: String,
    /// The monitors, each with its port.
    pub hosts: Vec<String>,
    pub ports: Vec<String>,
    #[serde(default = "ceph")]
    pub cluster_name: String,
    /// Whose keyring the host has; none where the cluster asks for no keys.
    #[serde(default)]
    pub auth_username: Option<String>,
    #[serde(default)]
    pub volume_id: Option<String>,
    /// Whether it holds LUKS.
    #[serde(default)]
    pub encrypted: bool,
    /// `ro` or `rw`
    #[serde(default)]
    pub access_mode: Option<String>,
}

/// What clusters are called unless they are called otherwise.
fn ceph() -> String {
    "ceph".into()
}

impl Rbd {
    pub fn pool_and_image(&self) -> Option<(&str, &str)> {
        self.name.split_once('/')
    }

    pub fn servers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.hosts.iter().map(String::as_str).zip(self.ports.iter().map(String::as_str))
    }
}

impl ConnectionInfo {
    /// Under which id the storage keeps the volume, which is another than its own once it has moved.
    pub fn volume_id(&self) -> Option<&str> {
        self.data.get("volume_id")?.as_str()
    }

    /// As NBD, when it is that.
    pub fn nbd(&self) -> Option<Nbd> {
        let nbd = self.driver_volume_type.as_deref() == Some("nbd");
        nbd.then(|| serde_json::from_value(Value::Object(self.data.clone())).ok()).flatten()
    }

    /// As a volume of Ceph, when it is that.
    pub fn rbd(&self) -> Option<Rbd> {
        let rbd = self.driver_volume_type.as_deref() == Some("rbd");
        rbd.then(|| serde_json::from_value(Value::Object(self.data.clone())).ok()).flatten()
    }
}

impl Volume {
    pub fn new(endpoint: Endpoint) -> Volume {
        Volume(endpoint)
    }

    pub async fn show(&self, auth: &Auth, volume_id: &str) -> Result<Details> {
        self.ask(auth, Method::GET, &format!("/volumes/{volume_id}"), None).await?.take("volume")
    }

    /// Starts to make a volume: it is `creating` at first, then `available` or `error`.
    pub async fn create(&self, auth: &Auth, new: &NewVolume) -> Result<Details> {
        let mut volume = json!({"name": new.name, "description": new.description, "size": new.size, "metadata": new.metadata,
            "volume_type": new.volume_type, "availability_zone": new.availability_zone});
        match &new.source {
            Source::Blank => {}
            Source::Image(id) => volume["imageRef"] = json!(id),
            Source::Snapshot(id) => volume["snapshot_id"] = json!(id),
            Source::Volume(id) => volume["source_volid"] = json!(id),
        }
        // what is not given is not said: some deployments refuse null
        if let Value::Object(fields) = &mut volume {
            fields.retain(|_, value| !value.is_null());
        }
        self.ask(auth, Method::POST, "/volumes", Some(json!({"volume": volume}))).await?.take("volume")
    }

    /// Starts to delete a volume; it is gone when [`Volume::show`] answers 404.
    pub async fn delete(&self, auth: &Auth, volume_id: &str) -> Result<()> {
        self.ask(auth, Method::DELETE, &format!("/volumes/{volume_id}"), None).await.map(drop)
    }

    pub async fn extend(&self, auth: &Auth, volume_id: &str, new_size: u64) -> Result<()> {
        self.action(auth, volume_id, json!({"os-extend": {"new_size": new_size}})).await
    }

    /// Marks a volume as about to be attached (`attaching`), where no attachment is made yet.
    pub async fn reserve(&self, auth: &Auth, volume_id: &str) -> Result<()> {
        self.action(auth, volume_id, json!({"os-reserve": {}})).await
    }

    pub async fn unreserve(&self, auth: &Auth, volume_id: &str) -> Result<()> {
        self.action(auth, volume_id, json!({"os-unreserve": {}})).await
    }

    /// Marks an attached volume as about to be detached (`detaching`); 400 when it is not `in-use`.
    pub async fn begin_detaching(&self, auth: &Auth, volume_id: &str) -> Result<()> {
        self.action(auth, volume_id, json!({"os-begin_detaching": {}})).await
    }

    /// Takes [`Volume::begin_detaching`] back.
    pub async fn roll_detaching(&self, auth: &Auth, volume_id: &str) -> Result<()> {
        self.action(auth, volume_id, json!({"os-roll_detaching": {}})).await
    }

    /// Says that a server has one volume in place of another, or could not have it; answers which of the two it is to be known by. If that
    /// was for a migration of cinder's, the old one is from now on what the new one was.
    pub async fn complete_migration(&self, auth: &Auth, volume_id: &str, new_id: &str, error: bool) -> Result<String> {
        let body = json!({"os-migrate_volume_completion": {"new_volume": new_id, "error": error}});
        self.ask(auth, Method::POST, &format!("/volumes/{volume_id}/action"), Some(body)).await?.take("save_volume_id")
    }

    /// Fills a volume that is reserved with an image: it is `downloading` at first, then what it was, or `error`.
    pub async fn reimage(&self, auth: &Auth, volume_id: &str, image_id: &str) -> Result<()> {
        let body = json!({"os-reimage": {"image_id": image_id, "reimage_reserved": true}});
        self.0.call_with(auth, Method::POST, &format!("/v3/volumes/{volume_id}/action"), Some(&body), REIMAGE).await.map(drop)
    }

    /// Says how a snapshot stands that somebody else takes or removes for cinder.
    pub async fn update_snapshot_status(&self, auth: &Auth, snapshot_id: &str, status: &str) -> Result<()> {
        let body = json!({"os-update_snapshot_status": {"status": status}});
        self.ask(auth, Method::POST, &format!("/snapshots/{snapshot_id}/action"), Some(body)).await.map(drop)
    }

    /// Keeps a volume as it is now, also while it is in use.
    pub async fn create_snapshot(&self, auth: &Auth, volume_id: &str, name: &str) -> Result<SnapshotDetails> {
        let body = json!({"snapshot": {"volume_id": volume_id, "name": name, "force": true}});
        self.ask(auth, Method::POST, "/snapshots", Some(body)).await?.take("snapshot")
    }

    pub async fn show_snapshot(&self, auth: &Auth, snapshot_id: &str) -> Result<SnapshotDetails> {
        self.ask(auth, Method::GET, &format!("/snapshots/{snapshot_id}"), None).await?.take("snapshot")
    }

    pub async fn delete_snapshot(&self, auth: &Auth, snapshot_id: &str) -> Result<()> {
        self.ask(auth, Method::DELETE, &format!("/snapshots/{snapshot_id}"), None).await.map(drop)
    }

    /// Reserves a volume for a server: 400 when it is in use. The attachment is exported later, by [`Volume::update_attachment`].
    pub async fn create_attachment(&self, auth: &Auth, volume_id: &str, server_id: &str) -> Result<Attachment> {
        let body = json!({"attachment": {"volume_uuid": volume_id, "instance_uuid": server_id}});
        self.ask(auth, Method::POST, "/attachments", Some(body)).await?.take("attachment")
    }

    /// Exports the volume to the host that `connector` describes (`{"host": ..., "mountpoint": "/dev/vdb"}` at least).
    pub async fn update_attachment(&self, auth: &Auth, attachment_id: &str, connector: &Value) -> Result<Attachment> {
        let body = json!({"attachment": {"connector": connector}});
        self.ask(auth, Method::PUT, &format!("/attachments/{attachment_id}"), Some(body)).await?.take("attachment")
    }

    /// The server has the volume: it is `in-use` now.
    pub async fn complete_attachment(&self, auth: &Auth, attachment_id: &str) -> Result<()> {
        let path = format!("/attachments/{attachment_id}/action");
        self.ask(auth, Method::POST, &path, Some(json!({"os-complete": {}}))).await.map(drop)
    }

    /// Ends the export and frees the volume.
    pub async fn delete_attachment(&self, auth: &Auth, attachment_id: &str) -> Result<()> {
        self.ask(auth, Method::DELETE, &format!("/attachments/{attachment_id}"), None).await.map(drop)
    }

    pub async fn show_attachment(&self, auth: &Auth, attachment_id: &str) -> Result<Attachment> {
        self.ask(auth, Method::GET, &format!("/attachments/{attachment_id}"), None).await?.take("attachment")
    }

    /// The attachments of a volume.
    pub async fn attachments_of_volume(&self, auth: &Auth, volume_id: &str) -> Result<Vec<Attachment>> {
        self.attachments(auth, &format!("volume_id={volume_id}")).await
    }

    /// The attachments of a server.
    pub async fn attachments_of_server(&self, auth: &Auth, server_id: &str) -> Result<Vec<Attachment>> {
        self.attachments(auth, &format!("instance_id={server_id}")).await
    }

    async fn attachments(&self, auth: &Auth, query: &str) -> Result<Vec<Attachment>> {
        let path = format!("/attachments/detail?all_tenants=1&{query}");
        self.ask(auth, Method::GET, &path, None).await?.take("attachments")
    }

    async fn action(&self, auth: &Auth, volume_id: &str, body: Value) -> Result<()> {
        self.ask(auth, Method::POST, &format!("/volumes/{volume_id}/action"), Some(body)).await.map(drop)
    }

    async fn ask(&self, auth: &Auth, method: Method, path: &str, body: Option<Value>) -> Result<crate::Answer> {
        self.0.call_with(auth, method, &format!("/v3{path}"), body.as_ref(), VERSION).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flat_connection_is_read_as_nbd() {
        let flat = json!({"driver_volume_type": "nbd", "attachment_id": "a", "socket_path": "/run/v.sock", "export": "v"});
        let info: ConnectionInfo = serde_json::from_value(flat.clone()).unwrap();
        assert_eq!(info.nbd().unwrap(), Nbd { socket_path: Some("/run/v.sock".into()), export: "v".into(), ..Nbd::default() });
        assert_eq!(serde_json::to_value(&info).unwrap(), flat);
        assert_eq!(ConnectionInfo::default().nbd(), None);
    }

    #[test]
    fn a_flat_connection_is_read_as_a_volume_of_ceph() {
        let flat = json!({"driver_volume_type": "rbd", "name": "volumes/volume-1", "hosts": ["10.0.0.1"], "ports": ["6789"],
            "auth_username": "cinder", "auth_enabled": true, "secret_type": "ceph", "volume_id": "1"});
        let rbd = serde_json::from_value::<ConnectionInfo>(flat).unwrap().rbd().unwrap();
        assert_eq!(rbd.pool_and_image(), Some(("volumes", "volume-1")));
        assert_eq!(rbd.servers().collect::<Vec<_>>(), [("10.0.0.1", "6789")]);
        assert_eq!((rbd.cluster_name.as_str(), rbd.encrypted), ("ceph", false));
        assert_eq!(ConnectionInfo::default().rbd(), None);
    }
}
