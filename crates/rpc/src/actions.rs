//! conductor and nova-api -> nova-compute of one host: what is done with a server that exists, beyond power, volumes and interfaces (which
//! are in [`crate::compute`], with the topic).
//!
//! A *cast* ends by what the host saves on the instance: the vm_state it promises and no task, or a fault. A *call* ends by its answer; the
//! asker, who runs a flow, saves what follows. All can be repeated.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::compute::Flavor;
use crate::numa::Wanted;
use crate::{Caller, message};

/// Boot the guest from another disk, with its own root disk second; a cast that ends in `rescued`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RescueInstance {
    pub caller: Caller,
    pub instance_id: String,
    /// The server's own image when not given.
    pub image_id: Option<String>,
    /// Put on the rescue system's config drive.
    pub admin_password: Option<String>,
}
message!(RescueInstance => (), "rescue_instance");

/// Boot the guest from its own disk again; a cast that ends in `active`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UnrescueInstance {
    pub caller: Caller,
    pub instance_id: String,
}
message!(UnrescueInstance => (), "unrescue_instance");

/// Make the guest anew from the image that the instance names by now; ports and volumes stay. A cast that ends in `active`, or in `stopped`
/// when it was that.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RebuildInstance {
    pub caller: Caller,
    pub instance_id: String,
    pub admin_password: Option<String>,
    pub preserve_ephemeral: bool,
    /// The image that the volume it boots from is filled with; otherwise the volume stays as it is.
    #[serde(default)]
    pub reimage: Option<String>,
}
message!(RebuildInstance => (), "rebuild_instance");

/// Upload the guest's root disk, as it is now, as the data of an image that is `queued` in glance. The guest stands still for a moment only. The
/// host notes its progress in task_state (`image_pending_upload`, `image_uploading`) and ends the task. A call: the answer means that the
/// image is active. (It is the asker's to delete the image when this fails.)
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SnapshotInstance {
    pub caller: Caller,
    pub instance_id: String,
    pub image_id: String,
}
message!(SnapshotInstance => (), "snapshot_instance");

/// Power the guest off, and upload its root disk as above; nothing is uploaded of one that boots from a volume (no `image_id`). Progress is
/// noted as `shelving_image_pending_upload` and `shelving_image_uploading`. A call: the asker saves `shelved`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ShelveInstance {
    pub caller: Caller,
    pub instance_id: String,
    pub image_id: Option<String>,
}
message!(ShelveInstance => (), "shelve_instance");

/// Remove the guest and its disks from the host; ports stay the server's but are bound nowhere, volumes stay reserved for it. A call: the asker
/// saves `shelved_offloaded`, and takes the host from the instance.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ShelveOffloadInstance {
    pub caller: Caller,
    pub instance_id: String,
}
message!(ShelveOffloadInstance => (), "shelve_offload_instance");

/// Make an offloaded guest on this host, which is the instance's by now, from the image it was shelved as (none when it boots from a volume). A
/// call; the host saves `active`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UnshelveInstance {
    pub caller: Caller,
    pub instance_id: String,
    pub image_id: Option<String>,
    /// Its host is lost, or cannot be reached, and may run it still: what that host has of its volumes must end first.
    #[serde(default)]
    pub evacuated: bool,
}
message!(UnshelveInstance => (), "unshelve_instance");

/// Resize and cold migration, 1 of 3, to the destination (which may be the source): can it be done? A call that changes nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PrepResize {
    pub caller: Caller,
    pub instance_id: String,
    /// The new one; the old one when the server only moves.
    pub flavor: Flavor,
    /// The NUMA nodes that it wants with its new flavor.
    #[serde(default)]
    pub numa: Option<Wanted>,
}
message!(PrepResize => (), "prep_resize");

/// 2 of 3, to the source: power the guest off, set its disks aside and offer them to the destination. Volumes are no longer exported to the source
/// but stay reserved. A call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ResizeInstance {
    pub caller: Caller,
    pub instance_id: String,
    pub dest_host: String,
}
message!(ResizeInstance => OfferedDisks, "resize_instance");

/// The disks of a guest on its way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferedDisks {
    /// Whether it ran, and is to run again.
    pub running: bool,
    pub disks: Vec<OfferedDisk>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferedDisk {
    /// The file's name in the instance's directory.
    pub name: String,
    /// A path when source and destination are one host, otherwise an `nbd://` address.
    pub url: String,
}

/// 3 of 3, to the destination, which is the instance's host by now, as the new flavor is its flavor: take the disks, grow the root disk, bind the
/// ports, start the guest if it ran. A call; the asker saves `resized`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FinishResize {
    pub caller: Caller,
    pub instance_id: String,
    pub source_host: String,
    pub offered: OfferedDisks,
}
message!(FinishResize => (), "finish_resize");

/// To the source: forget the disks that were set aside. A call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConfirmResize {
    pub caller: Caller,
    pub instance_id: String,
}
message!(ConfirmResize => (), "confirm_resize");

/// Back, 1 of 2, to the destination: end the guest and remove its disks; volumes stay reserved. A call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RevertResize {
    pub caller: Caller,
    pub instance_id: String,
}
message!(RevertResize => (), "revert_resize");

/// Back, 2 of 2, to the source, which is the instance's host again, as the old flavor is its flavor: put the disks back, bind the ports, start the
/// guest if it ran. Also what undoes a [`ResizeInstance`] whose destination failed. A call; the asker saves the vm_state.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FinishRevertResize {
    pub caller: Caller,
    pub instance_id: String,
    /// As [`OfferedDisks::running`] was.
    pub running: bool,
}
message!(FinishRevertResize => (), "finish_revert_resize");

/// Copy a volume to another under the guest, which goes on with the other. `bdm_id` is the block device's; the new volume is reserved. A call: the
/// host has saved the block device, ended the old attachment and completed the new.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SwapVolume {
    pub caller: Caller,
    pub instance_id: String,
    pub bdm_id: String,
    pub new_volume_id: String,
    pub new_attachment_id: String,
}
message!(SwapVolume => (), "swap_volume");

/// Show the guest that a volume of its grew. A call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExtendVolume {
    pub caller: Caller,
    pub instance_id: String,
    pub volume_id: String,
}
message!(ExtendVolume => (), "extend_volume");

/// Set the administrator's password in the running guest, by its agent. A call; 501 when it has none.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SetAdminPassword {
    pub caller: Caller,
    pub instance_id: String,
    pub password: String,
}
message!(SetAdminPassword => (), "set_admin_password");

/// Press the guest's NMI button, so that it dumps its memory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InjectNmi {
    pub instance_id: String,
}
message!(InjectNmi => (), "inject_nmi");

/// How the guest does, in the form of `GET /servers/{id}/diagnostics` since 2.48.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GetDiagnostics {
    pub instance_id: String,
}
message!(GetDiagnostics => Value, "get_diagnostics");

/// Open a console to a client who shows the token of the answer, once, and soon.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GetConsole {
    pub instance_id: String,
    pub kind: ConsoleKind,
}
message!(GetConsole => ConsoleAccess, "get_console");

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConsoleKind {
    /// protocol `vnc`, type `novnc`
    Vnc,
    /// protocol `serial`, type `serial`
    Serial,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleAccess {
    /// For the user's browser (or websocket client, where serial).
    pub url: String,
    pub token: String,
    /// For `os-console-auth-tokens`: where the host serves it.
    pub host: String,
    pub port: u16,
    /// Seconds since the epoch.
    pub expires_at: i64,
}
