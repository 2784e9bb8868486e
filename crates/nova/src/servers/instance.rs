//! The `instances` table: one row for each server, and the documents inside it.
//!
//! What is only shown or only needed by a build is kept as a document, so that a page of servers is one narrow query.

use std::collections::BTreeMap;

use kit::clock::Timestamp;
use kit::db::Json;
use rpc::compute::{BlockDevice, Flavor, Instance, KeyPair, NetworkInterface, RequestedNetworks};
use rpc::conductor::BuildOutcome;
use rpc::numa::Placed;
use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::numa;

/// A row.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "instances")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// Behind `instance-0000002a`.
    pub number: i64,
    pub deleted: bool,
    pub project_id: String,
    pub user_id: String,
    pub name: String,
    pub hostname: String,
    pub description: Option<String>,
    pub vm_state: String,
    pub task_state: Option<String>,
    pub power_state: i64,
    pub locked: bool,
    /// `owner` or `admin`
    pub locked_by: Option<String>,
    pub locked_reason: Option<String>,
    pub host: Option<String>,
    pub node: Option<String>,
    pub availability_zone: Option<String>,
    pub image_id: Option<String>,
    pub flavor_id: String,
    pub vcpus: i64,
    pub ram_mb: i64,
    pub key_name: Option<String>,
    pub config_drive: bool,
    pub disk_config: String,
    pub access_ip_v4: Option<String>,
    pub access_ip_v6: Option<String>,
    pub reservation_id: String,
    pub launch_index: i64,
    pub root_device_name: Option<String>,
    pub user_data: Option<String>,
    pub flavor: Json<Flavor>,
    pub metadata: Json<BTreeMap<String, String>>,
    pub tags: Json<Vec<String>>,
    /// As `security_groups` shows them.
    pub security_groups: Json<Vec<String>>,
    pub network_info: Json<Vec<NetworkInterface>>,
    /// [`addresses`] of `network_info`.
    pub addresses: String,
    pub fault: Option<Json<StoredFault>>,
    pub spec: Json<Spec>,
    /// How a build ended, when no flow was there to hear it.
    pub build_outcome: Option<Json<FinishedBuild>>,
    /// What a shelved server is unshelved from.
    pub shelved: Option<Json<Shelved>>,
    /// The state a soft-deleted server comes back to.
    pub kept_vm_state: Option<String>,
    /// What the guest made known, encrypted with the user's key.
    pub password: Option<String>,
    /// What it was given of its host's NUMA nodes.
    pub numa_topology: Option<Json<Placed>>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub launched_at: Option<Timestamp>,
    pub terminated_at: Option<Timestamp>,
    pub deleted_at: Option<Timestamp>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The fixed addresses between commas, as filters look for them.
pub fn addresses(network_info: &[NetworkInterface]) -> String {
    let all = network_info.iter().flat_map(|nic| &nic.fixed_ips).map(|ip| format!("{},", ip.address));
    std::iter::once(",".to_owned()).chain(all).collect()
}

/// A fault as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredFault {
    pub code: u16,
    pub message: String,
    pub details: String,
    pub created: Timestamp,
}

/// A shelved server: since when, and the image that was made of its disk (none when it boots from a volume).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shelved {
    pub image_id: Option<String>,
    pub at: Timestamp,
}

/// What a host said at the end of a build.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FinishedBuild {
    pub host: String,
    pub outcome: BuildOutcome,
}

impl PartialEq for FinishedBuild {
    fn eq(&self, other: &FinishedBuild) -> bool {
        self.host == other.host
    }
}

/// What a build needs beyond what is shown.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spec {
    pub image_properties: BTreeMap<String, String>,
    pub kernel_id: Option<String>,
    pub ramdisk_id: Option<String>,
    /// What the image asks of flavors: MiB of memory and GiB of disk.
    pub min_ram: u64,
    pub min_disk: u64,
    pub key: Option<KeyPair>,
    /// (path, contents in base64)
    pub injected_files: Vec<(String, String)>,
    /// `None` for automatic.
    pub requested_networks: Option<RequestedNetworks>,
    /// Names or ids for ports that nova makes.
    pub security_groups: Vec<String>,
    pub scheduler_hints: Value,
    /// What an administrator asked for after the zone: `host` or `host:node`.
    pub forced_host: Option<String>,
    /// The zone asked for; the server is then pinned to it.
    pub requested_zone: Option<String>,
    pub trusted_image_certificates: Option<Vec<String>>,
    /// The roles of who made it, between commas.
    pub boot_roles: String,
}

impl Model {
    /// `instance-0000002a`
    pub fn instance_name(&self) -> String {
        format!("instance-{:08x}", self.number)
    }

    /// As hosts see it.
    pub fn to_rpc(&self, block_devices: Vec<BlockDevice>) -> Instance {
        let spec = &self.spec.0;
        Instance {
            id: self.id.clone(),
            instance_name: self.instance_name(),
            name: self.name.clone(),
            hostname: self.hostname.clone(),
            project_id: self.project_id.clone(),
            user_id: self.user_id.clone(),
            host: self.host.clone(),
            availability_zone: self.availability_zone.clone(),
            vm_state: self.vm_state.clone(),
            task_state: self.task_state.clone(),
            power_state: u8::try_from(self.power_state).unwrap_or_default(),
            launch_index: u32::try_from(self.launch_index).unwrap_or_default(),
            reservation_id: self.reservation_id.clone(),
            image_id: self.image_id.clone(),
            image_properties: spec.image_properties.clone(),
            kernel_id: spec.kernel_id.clone(),
            ramdisk_id: spec.ramdisk_id.clone(),
            flavor: self.flavor.0.clone(),
            metadata: self.metadata.0.clone(),
            config_drive: self.config_drive,
            user_data: self.user_data.clone(),
            key: spec.key.clone(),
            injected_files: spec.injected_files.clone(),
            requested_networks: spec.requested_networks.clone().unwrap_or(RequestedNetworks::Auto),
            security_groups: spec.security_groups.clone(),
            block_devices,
            network_info: self.network_info.0.clone(),
            root_device_name: self.root_device_name.clone(),
            scheduler_hints: spec.scheduler_hints.clone(),
            forced_host: spec.forced_host.clone(),
            boot_roles: spec.boot_roles.clone(),
            numa_wanted: numa::of_server(&self.flavor.0, &spec.image_properties),
            numa: self.numa_topology.as_ref().map(|placed| placed.0.clone()),
            created_at: self.created_at.0,
        }
    }
}
