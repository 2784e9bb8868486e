//! conductor and nova-api -> nova-compute of one host, and the instance as hosts see it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::numa::{Placed, Wanted};
use crate::{Caller, message};

/// Read by the nova-compute of one host.
pub fn compute_topic(host: &str) -> String {
    format!("compute.{host}")
}

/// Build this instance (step 12). A cast: the end is told by `conductor::BuildFinished`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BuildInstance {
    pub caller: Caller,
    pub instance_id: String,
    /// Set once, at the API; never stored in clear.
    pub admin_password: Option<String>,
    /// The topic of the conductor that waits for the end of it; any conductor when absent.
    #[serde(default)]
    pub answer_to: Option<String>,
}
message!(BuildInstance => (), "build_instance");

/// A power action on a guest; a cast, its end is saved on the instance.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PowerInstance {
    pub caller: Caller,
    pub instance_id: String,
    pub action: PowerAction,
}
message!(PowerInstance => (), "power_instance");

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PowerAction {
    Start,
    /// Ask the guest by ACPI, then end it after the grace period.
    Stop,
    SoftReboot,
    HardReboot,
    /// Ends in `paused`.
    Pause,
    Unpause,
    /// Memory goes to disk; ends in `suspended`.
    Suspend,
    Resume,
    /// Off, but kept; ends in `soft-delete`.
    SoftDelete,
    /// On again; ends in `active`.
    Restore,
}

/// End the guest and undo everything on the host: taps, disks, attachments, ports that nova made. A call: the answer means nothing is left.
/// Succeeds when there is nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TerminateInstance {
    pub caller: Caller,
    pub instance_id: String,
}
message!(TerminateInstance => (), "terminate_instance");

/// The last `length` lines of the console, or all that is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GetConsoleOutput {
    pub instance_id: String,
    pub length: Option<u64>,
}
message!(GetConsoleOutput => String, "get_console_output");

/// Bring these images to the host before a server needs them; a cast.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CacheImages {
    pub caller: Caller,
    pub image_ids: Vec<String>,
}
message!(CacheImages => (), "cache_images");

/// How long the host is up, as the command `uptime` says it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct GetHostUptime {}
message!(GetHostUptime => String, "get_host_uptime");

/// Attach a reserved volume to a guest; answers the device name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AttachVolume {
    pub caller: Caller,
    pub instance_id: String,
    pub bdm_id: String,
}
message!(AttachVolume => String, "attach_volume");

/// Detach a volume from a guest, then end its attachment; a cast.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DetachVolume {
    pub caller: Caller,
    pub instance_id: String,
    pub bdm_id: String,
}
message!(DetachVolume => (), "detach_volume");

/// Plug one more port into a guest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AttachInterface {
    pub caller: Caller,
    pub instance_id: String,
    pub requested: RequestedNetwork,
}
message!(AttachInterface => NetworkInterface, "attach_interface");

/// Unplug a port; a cast.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DetachInterface {
    pub caller: Caller,
    pub instance_id: String,
    pub port_id: String,
}
message!(DetachInterface => (), "detach_interface");

/// An external event that concerns a guest of this host (`network-vif-plugged`, `network-changed`, ...); a cast.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExternalEvent {
    pub instance_id: String,
    pub name: String,
    pub tag: Option<String>,
    pub status: String,
}
message!(ExternalEvent => (), "external_event");

/// All that a host needs to know of an instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    pub id: String,
    /// `instance-0000002a`
    pub instance_name: String,
    pub name: String,
    pub hostname: String,
    pub project_id: String,
    pub user_id: String,
    pub host: Option<String>,
    pub availability_zone: Option<String>,
    pub vm_state: String,
    pub task_state: Option<String>,
    pub power_state: u8,
    pub launch_index: u32,
    pub reservation_id: String,
    /// `None` when it boots from a volume.
    pub image_id: Option<String>,
    /// Of the image, as they were at create: `hw_disk_bus` and friends.
    pub image_properties: BTreeMap<String, String>,
    pub kernel_id: Option<String>,
    pub ramdisk_id: Option<String>,
    pub flavor: Flavor,
    pub metadata: BTreeMap<String, String>,
    pub config_drive: bool,
    /// base64, as given
    pub user_data: Option<String>,
    pub key: Option<KeyPair>,
    /// (path, contents in base64)
    pub injected_files: Vec<(String, String)>,
    pub requested_networks: RequestedNetworks,
    /// Names or ids, for ports that nova makes.
    pub security_groups: Vec<String>,
    pub block_devices: Vec<BlockDevice>,
    /// What was wired so far; the network info cache.
    pub network_info: Vec<NetworkInterface>,
    pub root_device_name: Option<String>,
    pub scheduler_hints: Value,
    /// A host (and node) the administrator asked for: `zone:host:node` or `host`.
    pub forced_host: Option<String>,
    /// The roles of who made it, between commas; for those who are asked for vendor data.
    #[serde(default)]
    pub boot_roles: String,
    /// The NUMA nodes, processors of its own and large pages that it wants.
    #[serde(default)]
    pub numa_wanted: Option<Wanted>,
    /// What of that it has on its host, as conductor was told last.
    #[serde(default)]
    pub numa: Option<Placed>,
    pub created_at: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Flavor {
    pub id: String,
    pub name: String,
    pub vcpus: u32,
    pub ram_mb: u64,
    pub root_gb: u64,
    pub ephemeral_gb: u64,
    pub swap_mb: u64,
    pub extra_specs: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPair {
    pub name: String,
    pub public_key: String,
    pub key_type: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestedNetworks {
    /// The one network the project can use, or none when there is none.
    Auto,
    /// The same, and one is made when there is none.
    Allocate,
    None,
    These(Vec<RequestedNetwork>),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestedNetwork {
    pub network_id: Option<String>,
    pub port_id: Option<String>,
    pub fixed_ip: Option<IpAddr>,
    pub tag: Option<String>,
}

/// A row of the block device mapping (v2 form).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlockDevice {
    pub bdm_id: String,
    /// `blank`, `image`, `volume`, `snapshot`
    pub source_type: String,
    /// `local` or `volume`
    pub destination_type: String,
    pub image_id: Option<String>,
    pub snapshot_id: Option<String>,
    pub volume_id: Option<String>,
    /// GiB
    pub volume_size: Option<u64>,
    pub volume_type: Option<String>,
    /// 0 is the root disk, below 0 or none is not bootable.
    pub boot_index: Option<i32>,
    pub delete_on_termination: bool,
    pub device_name: Option<String>,
    pub disk_bus: Option<String>,
    pub device_type: Option<String>,
    /// `swap`, or a file system for an ephemeral disk.
    pub guest_format: Option<String>,
    pub tag: Option<String>,
    pub attachment_id: Option<String>,
    pub connection_info: Option<Value>,
}

/// One wired port, as the network info cache keeps it and `addresses` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkInterface {
    pub port_id: String,
    pub network_id: String,
    pub network_name: String,
    pub mac_address: String,
    pub mtu: u32,
    pub fixed_ips: Vec<InterfaceAddress>,
    /// The tap on the host.
    pub device_name: String,
    /// Made by nova, so deleted with the server; a port the user gave stays.
    pub created_by_nova: bool,
    pub tag: Option<String>,
    /// The request that brought it to a guest that existed already.
    #[serde(default)]
    pub request_id: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceAddress {
    pub address: IpAddr,
    pub subnet_id: String,
    /// `10.0.0.0/24`
    pub cidr: String,
    pub gateway: Option<IpAddr>,
    pub dns: Vec<IpAddr>,
    /// destination and next hop
    pub routes: Vec<(String, IpAddr)>,
    pub dhcp: bool,
    pub floating_ips: Vec<IpAddr>,
}

/// The tap of a port, named after it, on every host: Cumulo's prefix for taps and the first eleven characters of the port's id.
/// nova-compute makes it, the neutron-agent wires it.
pub fn tap_name(port_id: &str) -> String {
    format!("cut{}", port_id.chars().take(11).collect::<String>())
}

/// What a guest may know of itself; the metadata service and the config drive render it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceMetadata {
    pub instance: Instance,
    /// Where it runs, as the guest may know it.
    pub availability_zone: String,
    /// Floating addresses by fixed address.
    pub floating_ips: BTreeMap<IpAddr, IpAddr>,
    /// What the guest itself gave to be kept for its owner.
    #[serde(default)]
    pub password: Option<String>,
}
