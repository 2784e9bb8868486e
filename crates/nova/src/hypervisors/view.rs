//! Hypervisors as clients see them.

use std::collections::HashMap;

use kit::{Context, Versioned};
use serde::Serialize;
use serde_json::{Value, json};

use super::node::Model;
use crate::microversions::{CPU_INFO_OBJECT, UUIDS};
use crate::os_services;
use crate::{Config, Nova};

/// What the servers of a host take.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    pub vcpus: i64,
    pub ram_mb: i64,
    pub disk_gb: i64,
    pub servers: i64,
    /// Servers with something going on.
    pub busy: i64,
}

/// Everything about a hypervisor, by version.
#[derive(Serialize, Versioned)]
pub struct Detail {
    pub id: Value,
    pub hypervisor_hostname: String,
    pub state: &'static str,
    pub status: &'static str,
    pub service: Value,
    pub host_ip: String,
    pub hypervisor_type: String,
    pub hypervisor_version: u32,
    #[since(2.88)]
    pub uptime: Option<String>,
    #[until(2.87)]
    pub cpu_info: Value,
    #[until(2.87)]
    pub vcpus: i64,
    #[until(2.87)]
    pub vcpus_used: i64,
    #[until(2.87)]
    pub memory_mb: i64,
    #[until(2.87)]
    pub memory_mb_used: i64,
    #[until(2.87)]
    pub free_ram_mb: i64,
    #[until(2.87)]
    pub local_gb: i64,
    #[until(2.87)]
    pub local_gb_used: i64,
    #[until(2.87)]
    pub free_disk_gb: i64,
    #[until(2.87)]
    pub disk_available_least: i64,
    #[until(2.87)]
    pub running_vms: i64,
    #[until(2.87)]
    pub current_workload: i64,
    #[since(2.53)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub servers: Option<Value>,
}

/// The parts a hypervisor is shown from.
pub struct Shown<'a> {
    pub services: &'a HashMap<String, os_services::Model>,
    pub used: &'a HashMap<String, Used>,
    pub servers: Option<&'a HashMap<String, Vec<Value>>>,
    /// By host, of those that said it.
    pub uptimes: &'a HashMap<String, String>,
}

/// In a brief list.
pub fn brief(app: &Nova, ctx: &Context, node: &Model, shown: &Shown<'_>) -> Value {
    let (state, status) = standing(&app.config, shown.services.get(&node.service_id));
    let mut brief = json!({"id": id(ctx, node), "hypervisor_hostname": node.hypervisor_hostname, "state": state, "status": status});
    if let Some(servers) = shown.servers {
        brief["servers"] = json!(servers.get(&node.host).cloned().unwrap_or_default());
    }
    brief
}

pub fn detail(app: &Nova, ctx: &Context, node: &Model, shown: &Shown<'_>) -> Detail {
    let service = shown.services.get(&node.service_id);
    let (state, status) = standing(&app.config, service);
    let used = shown.used.get(&node.host).copied().unwrap_or_default();
    let inventory = &node.inventory.0;
    let (memory_mb, local_gb) = (inventory.memory_mb as i64, inventory.local_gb as i64);
    Detail {
        id: id(ctx, node),
        hypervisor_hostname: node.hypervisor_hostname.clone(),
        state,
        status,
        service: json!({
            "id": service.map(|s| if ctx.speaks(UUIDS) { json!(s.id) } else { json!(s.number) }),
            "host": node.host,
            "disabled_reason": service.and_then(|s| s.disabled_reason.clone()),
        }),
        host_ip: inventory.host_ip.clone(),
        hypervisor_type: inventory.hypervisor_type.clone(),
        hypervisor_version: inventory.hypervisor_version,
        uptime: shown.uptimes.get(&node.host).cloned(),
        cpu_info: if ctx.speaks(CPU_INFO_OBJECT) { inventory.cpu_info.clone() } else { json!(inventory.cpu_info.to_string()) },
        vcpus: i64::from(inventory.vcpus),
        vcpus_used: used.vcpus,
        memory_mb,
        memory_mb_used: used.ram_mb,
        free_ram_mb: memory_mb - used.ram_mb,
        local_gb,
        local_gb_used: used.disk_gb,
        free_disk_gb: local_gb - used.disk_gb,
        disk_available_least: local_gb - used.disk_gb,
        running_vms: used.servers,
        current_workload: used.busy,
        servers: shown.servers.map(|servers| json!(servers.get(&node.host).cloned().unwrap_or_default())),
    }
}

/// The number it was called before 2.53, or its uuid.
pub fn id(ctx: &Context, node: &Model) -> Value {
    if ctx.speaks(UUIDS) { json!(node.id) } else { json!(node.number) }
}

/// Whether it lives, and whether it takes new servers.
pub fn standing(config: &Config, service: Option<&os_services::Model>) -> (&'static str, &'static str) {
    let up = service.is_some_and(|service| service.is_up(config.service_down_time));
    let enabled = service.is_some_and(|service| !service.disabled);
    (if up { "up" } else { "down" }, if enabled { "enabled" } else { "disabled" })
}
