//! Servers: what the user owns. The row is in `instance.rs`, the state machine in `states.rs`, what clients see in `view.rs`; each
//! operation that is more than a row change has a file of its own.

pub mod actions;
pub mod api;
pub mod begin;
pub mod block_devices;
mod console;
pub mod create;
pub mod delete;
pub mod diagnostics;
mod evacuate;
mod filters;
mod fixed_ips;
pub mod floating_ips;
pub mod images;
pub mod instance;
pub mod ips;
pub mod list;
mod live_migration;
mod lock;
pub mod metadata;
pub mod os_interface;
pub mod os_volume_attachments;
pub mod password;
mod power;
mod rebuild;
pub mod remote_consoles;
mod rescue;
mod reset_state;
mod resize;
pub mod security_groups;
pub mod server_migrations;
pub mod shares;
mod shelve;
pub mod states;
pub mod store;
pub mod tags;
pub mod topology;
pub mod view;

#[cfg(test)]
pub mod tests {
    use std::collections::BTreeMap;

    use kit::clock::Timestamp;
    use kit::db::Json;
    use rpc::compute::Flavor;

    use super::instance::{Model, Spec};

    /// A flavor of one vCPU.
    pub fn a_flavor(ram_mb: u64, root_gb: u64) -> Flavor {
        Flavor { id: "f".into(), name: "f".into(), vcpus: 1, ram_mb, root_gb, ephemeral_gb: 0, swap_mb: 0, extra_specs: BTreeMap::new() }
    }

    /// An active server.
    pub fn a_server(id: &str) -> Model {
        Model {
            id: id.into(),
            number: 1,
            deleted: false,
            project_id: "p".into(),
            user_id: "u".into(),
            name: "s".into(),
            hostname: "s".into(),
            description: None,
            vm_state: "active".into(),
            task_state: None,
            power_state: 1,
            locked: false,
            locked_by: None,
            locked_reason: None,
            host: Some("h".into()),
            node: Some("h".into()),
            availability_zone: None,
            image_id: None,
            flavor_id: "f".into(),
            vcpus: 1,
            ram_mb: 512,
            key_name: None,
            config_drive: false,
            disk_config: "MANUAL".into(),
            access_ip_v4: None,
            access_ip_v6: None,
            reservation_id: "r-1".into(),
            launch_index: 0,
            root_device_name: None,
            user_data: None,
            flavor: Json(a_flavor(512, 1)),
            metadata: Json(BTreeMap::new()),
            tags: Json(vec![]),
            security_groups: Json(vec![]),
            network_info: Json(vec![]),
            addresses: String::new(),
            fault: None,
            spec: Json(Spec::default()),
            build_outcome: None,
            shelved: None,
            kept_vm_state: None,
            password: None,
            numa_topology: None,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
            launched_at: None,
            terminated_at: None,
            deleted_at: None,
        }
    }
}
