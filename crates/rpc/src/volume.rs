//! Between cinder-api and the cinder-volume of a host.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Caller, message};

/// Read by cinder-api's database half, which answers for all cinder-volume processes.
pub const SERVER_TOPIC: &str = "cinder";

/// Read by the cinder-volume of one host (`HOST@BACKEND`).
pub fn volume_topic(host: &str) -> String {
    format!("volume.{host}")
}

/// Make the volume's storage. Repeating it finds what is already there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CreateVolume {
    pub caller: Caller,
    pub volume_id: String,
    /// GiB
    pub size: u64,
    pub source: VolumeSource,
}
message!(CreateVolume => Created, "create_volume");

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VolumeSource {
    Blank,
    Image { image_id: String },
    Volume { volume_id: String },
    Snapshot { volume_id: String, snapshot_id: String },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Created {
    /// Of the image it was made from: `volume_image_metadata`; empty otherwise.
    pub image_metadata: Value,
}

/// Remove the storage; succeeds when there is none.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeleteVolume {
    pub volume_id: String,
}
message!(DeleteVolume => (), "delete_volume");

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExtendVolume {
    pub volume_id: String,
    /// GiB
    pub new_size: u64,
}
message!(ExtendVolume => (), "extend_volume");

/// Export the volume to the host that `connector` describes; answers `connection_info`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InitializeConnection {
    pub volume_id: String,
    pub attachment_id: String,
    pub connector: Value,
    pub readonly: bool,
}
message!(InitializeConnection => Value, "initialize_connection");

/// End the export of this attachment; succeeds when there is none.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TerminateConnection {
    pub volume_id: String,
    pub attachment_id: String,
}
message!(TerminateConnection => (), "terminate_connection");

/// Keep the volume as it is now under the snapshot's id. Repeating it keeps the first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CreateSnapshot {
    pub volume_id: String,
    pub snapshot_id: String,
}
message!(CreateSnapshot => (), "create_snapshot");

/// Forget the snapshot; succeeds when there is none.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeleteSnapshot {
    pub volume_id: String,
    pub snapshot_id: String,
}
message!(DeleteSnapshot => (), "delete_snapshot");

/// cinder-volume -> cinder: alive, and how much room there is (GiB).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Heartbeat {
    pub host: String,
    pub total_capacity_gb: f64,
    pub free_capacity_gb: f64,
    pub storage_protocol: String,
}
message!(Heartbeat => (), "heartbeat");

/// cinder-volume -> cinder, at start: the volumes that should exist here and the attachments that must be exported again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FetchState {
    pub host: String,
}
message!(FetchState => HostVolumes, "fetch_state");

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HostVolumes {
    pub volume_ids: Vec<String>,
    pub exports: Vec<InitializeConnection>,
}
