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
    Backup { backup_id: String },
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

/// Make the volume hold again what it held at the snapshot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RevertVolume {
    pub volume_id: String,
    pub snapshot_id: String,
    /// GiB
    pub size: u64,
}
message!(RevertVolume => (), "revert_volume");

/// Make the volume hold an image instead of what it held.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReimageVolume {
    pub caller: Caller,
    pub volume_id: String,
    pub image_id: String,
    /// GiB
    pub size: u64,
}
message!(ReimageVolume => Created, "reimage_volume");

/// Give an image that is there and has no file yet what the volume holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UploadVolume {
    pub caller: Caller,
    pub volume_id: String,
    pub image_id: String,
    /// Glance's word: `raw`, `qcow2`, `vmdk`, `vdi`, `vhd`, `vhdx`.
    pub disk_format: String,
}
message!(UploadVolume => (), "upload_volume");

/// Write what the volume holds to another that is exported as `connection` tells: on the same machine, or to this one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CopyVolume {
    pub volume_id: String,
    /// The `connection_info` of the other volume.
    pub connection: Value,
}
message!(CopyVolume => (), "copy_volume");

/// Keep what the volume, or its snapshot, holds in a place of its own; with a parent, only what differs from that backup.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CreateBackup {
    pub backup_id: String,
    pub volume_id: String,
    pub snapshot_id: Option<String>,
    pub parent_id: Option<String>,
}
message!(CreateBackup => BackedUp, "create_backup");

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct BackedUp {
    /// Files it consists of.
    pub object_count: i64,
    /// The bucket it is in, from which every host can read it; absent where only this one can.
    #[serde(default)]
    pub container: Option<String>,
}

/// Make an existing volume hold what the backup holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RestoreBackup {
    pub backup_id: String,
    pub volume_id: String,
    /// GiB
    pub size: u64,
}
message!(RestoreBackup => (), "restore_backup");

/// Forget the backup; succeeds when there is none.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeleteBackup {
    pub backup_id: String,
}
message!(DeleteBackup => (), "delete_backup");

/// Whether a backup is here, and readable.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FindBackup {
    pub backup_id: String,
}
message!(FindBackup => bool, "find_backup");

/// What is on the storage that cinder could take over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListManageable {}
message!(ListManageable => Vec<Manageable>, "list_manageable");

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manageable {
    /// The storage's own name of it.
    pub name: String,
    /// GiB
    pub size: u64,
}

/// Make what the storage calls `name` this volume; answers GiB.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ManageVolume {
    pub volume_id: String,
    pub name: String,
}
message!(ManageVolume => u64, "manage_volume");

/// Leave the volume's data on the storage, under the name `volume-ID`, and forget the volume.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UnmanageVolume {
    pub volume_id: String,
}
message!(UnmanageVolume => (), "unmanage_volume");

/// The snapshots on the storage that cinder could take over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListManageableSnapshots {}
message!(ListManageableSnapshots => Vec<ManageableSnapshot>, "list_manageable_snapshots");

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManageableSnapshot {
    /// The storage's own name of it.
    pub name: String,
    pub volume_id: String,
    /// GiB
    pub size: u64,
}

/// Make what the storage calls `name` this snapshot of the volume; answers GiB.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ManageSnapshot {
    pub volume_id: String,
    pub snapshot_id: String,
    pub name: String,
}
message!(ManageSnapshot => u64, "manage_snapshot");

/// Leave the snapshot's data on the storage, under the name `_snapshot-ID`, and forget the snapshot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UnmanageSnapshot {
    pub volume_id: String,
    pub snapshot_id: String,
}
message!(UnmanageSnapshot => (), "unmanage_snapshot");

/// cinder-volume -> cinder: alive, and how much room there is (GiB).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Heartbeat {
    pub host: String,
    pub total_capacity_gb: f64,
    pub free_capacity_gb: f64,
    pub storage_protocol: String,
    /// The operator's words on which volumes this storage is for, and how glad it is of one; see cinder's scheduler.
    #[serde(default)]
    pub filter_function: Option<String>,
    #[serde(default)]
    pub goodness_function: Option<String>,
    /// How many times what it has this storage may promise, and how much of it, in percent, no volume is to have; cinder's usual if absent.
    #[serde(default)]
    pub max_over_subscription_ratio: Option<f64>,
    #[serde(default)]
    pub reserved_percentage: Option<i64>,
    /// Where it is, if not where the others are.
    #[serde(default)]
    pub availability_zone: Option<String>,
}
message!(Heartbeat => (), "heartbeat", of host);

/// cinder-volume -> cinder, at start: the volumes that should exist here and the attachments that must be exported again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FetchState {
    pub host: String,
}
message!(FetchState => HostVolumes, "fetch_state", of host);

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HostVolumes {
    pub volume_ids: Vec<String>,
    pub exports: Vec<InitializeConnection>,
}

/// cinder-volume -> cinder: with what the data of a volume, a snapshot or a backup is encrypted; nothing where it is in the clear.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FetchSecret {
    pub id: String,
}
message!(FetchSecret => Option<Secret>, "fetch_secret");

/// The passphrase of LUKS, and the cipher of what is new, as `aes-256`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    pub passphrase: String,
    pub cipher: String,
}

impl std::fmt::Debug for Secret {
    /// Not for logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secret({})", self.cipher)
    }
}
