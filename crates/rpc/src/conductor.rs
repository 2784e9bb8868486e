//! nova-compute (and nova-api) -> conductor, who serves the database to hosts that have none.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::compute::{Instance, NetworkInterface};
use crate::numa::{HostTopology, Placed};
use crate::{Caller, message};

pub const TOPIC: &str = "conductor";

/// What one of several conductors alone reads, for answers to what it began.
pub fn own_topic(conductor: &str) -> String {
    format!("{TOPIC}.{conductor}")
}

/// nova-compute: the instance, with its flavor, block devices and requested networks (steps 14 to 19 of the boot flow).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GetInstance {
    pub instance_id: String,
}
message!(GetInstance => Option<Instance>, "get_instance");

/// nova-compute: save what changed. Absent fields stay as they are. `expected_task_state` guards against a concurrent action.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SaveInstance {
    pub instance_id: String,
    /// The host that speaks; refused when the instance belongs to another.
    pub host: String,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::nullable")]
    pub expected_task_state: Option<Option<String>>,
    pub vm_state: Option<String>,
    /// `Some(None)` ends a task.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::nullable")]
    pub task_state: Option<Option<String>>,
    pub power_state: Option<u8>,
    pub launched: bool,
    pub root_device_name: Option<String>,
    /// The network info cache: what `addresses` shows.
    pub network_info: Option<Vec<NetworkInterface>>,
    /// `(volume_id, device_name, connection_info, attachment_id)` to record on block devices.
    pub block_devices: Vec<SavedBlockDevice>,
    /// A fault to show on the server.
    pub fault: Option<Fault>,
    /// What it was given of the host's NUMA nodes.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::nullable")]
    pub numa: Option<Option<Placed>>,
}
message!(SaveInstance => Saved, "save_instance", of host);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedBlockDevice {
    pub bdm_id: String,
    pub device_name: Option<String>,
    pub volume_id: Option<String>,
    pub attachment_id: Option<String>,
    pub connection_info: Option<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Saved {
    Saved,
    /// The instance is gone or being deleted: stop, and undo.
    Gone,
    /// `expected_task_state` did not hold: another action owns the instance.
    Conflict,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// HTTP-like code, 500 for what is not the user's doing.
    pub code: u16,
    pub message: String,
    /// For administrators.
    pub details: String,
}

/// Anybody in nova: a step of an action began, or ended. Kept as instance action events; `started_at` and `finished_at` are microseconds
/// since the epoch. Begun and ended in one message when it is short.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RecordEvents {
    pub instance_id: String,
    pub request_id: String,
    pub events: Vec<Event>,
}
message!(RecordEvents => (), "record_events");

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    /// The step, as in the boot flow: `compute_get_image`.
    pub event: String,
    /// Who: `nova-compute`, and whom it asked: `glance`.
    pub from: String,
    pub to: String,
    pub host: Option<String>,
    pub started_at: i64,
    pub finished_at: Option<i64>,
    /// `Success` or `Error`
    pub result: Option<String>,
    pub details: Option<String>,
}

/// nova-api -> conductor: run the long action that was promised in the database.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunFlow {
    pub flow_id: String,
    /// The server it is about.
    pub instance_id: String,
    /// Given to the API with the action; never stored in clear.
    pub admin_password: Option<String>,
}
message!(RunFlow => (), "run_flow");

/// nova-api -> conductor: run the long action that was promised, and answer once so many of its steps are done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReachFlow {
    pub flow_id: String,
    pub steps: usize,
}
message!(ReachFlow => (), "reach_flow");

/// nova-compute -> conductor: how a build ended. Conductor frees the claim and tries the next host when it was refused.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BuildFinished {
    pub caller: Caller,
    pub instance_id: String,
    pub host: String,
    pub outcome: BuildOutcome,
}
message!(BuildFinished => (), "build_finished", of host);

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BuildOutcome {
    /// The guest runs.
    Running,
    /// This host cannot; another may. What it did is undone.
    Refused(Fault),
    /// No host can (the image is bad, the port is gone). What it did is undone.
    Failed(Fault),
    /// The server was deleted meanwhile. What it did is undone.
    Gone,
}

/// nova-compute -> conductor: alive, and what the host has. Creates the service and the hypervisor record at the first one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReportHost {
    pub host: String,
    /// `None` when it is what conductor was told before.
    pub inventory: Option<HostInventory>,
    /// Guests on this host with their power state, for the power-state sync; `None` when not looked at this time.
    pub instances: Option<Vec<(String, u8)>>,
}
message!(ReportHost => Heard, "report_host", of host);

/// conductor -> nova-compute: what to do about a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// Whether it knows the host. If not, it is to be told everything.
    pub known: bool,
    /// Reported guests that were made anew elsewhere while the host was missed: it is to end what it has of them.
    #[serde(default)]
    pub evacuated: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostInventory {
    pub hypervisor_hostname: String,
    /// `QEMU`, `KVM` or `fake`
    pub hypervisor_type: String,
    /// 7.2.22 as 7002022
    pub hypervisor_version: u32,
    pub host_ip: String,
    pub vcpus: u32,
    /// Those that a guest can have for itself.
    #[serde(default)]
    pub pcpus: u32,
    pub memory_mb: u64,
    pub local_gb: u64,
    /// arch, model, vendor, topology, features
    pub cpu_info: Value,
    /// Traits for placement: `COMPUTE_...`, `CUSTOM_...`
    pub traits: Vec<String>,
    /// Its NUMA nodes, with what guests have of them.
    #[serde(default)]
    pub numa: Option<HostTopology>,
}

/// nova-compute -> conductor, at start: the instances that belong to this host, to adopt them or to finish what was begun.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HostInstances {
    pub host: String,
}
message!(HostInstances => Vec<Instance>, "host_instances", of host);

/// nova-compute's metadata service -> conductor: what the guest may know of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GetMetadata {
    pub instance_id: String,
    /// The address the guest asked from, for the EC2 view.
    pub address: Option<String>,
}
message!(GetMetadata => Option<crate::compute::InstanceMetadata>, "get_metadata");

/// nova-compute's metadata service -> conductor: the password that a guest made up and encrypted. Answers whether it is kept: the first one is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SavePassword {
    pub instance_id: String,
    pub password: String,
}
message!(SavePassword => bool, "save_password");
