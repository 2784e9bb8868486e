//! A server as notifications show it: nova's versioned objects.

use kit::clock::Timestamp;
use rpc::compute::{Flavor, NetworkInterface};
use serde_json::{Value, json};

use super::updates::Update;
use crate::instance_actions;
use crate::servers::instance::{Model, StoredFault};

/// A versioned object.
fn object(name: &str, version: &str, data: Value) -> Value {
    json!({"nova_object.name": name, "nova_object.version": version, "nova_object.namespace": "nova", "nova_object.data": data})
}

/// The payload of an action's notifications.
pub fn of_action(server: &Model, action: &instance_actions::Model, failed: bool) -> Value {
    let mut data = instance(server, &action.request_id);
    put(&mut data, "action_initiator_user", json!(action.user_id));
    put(&mut data, "action_initiator_project", json!(action.project_id));
    put(&mut data, "fault", json!(server.fault.as_ref().filter(|_| failed).map(|fault| exception(&fault.0))));
    let certificates = json!(server.spec.0.trusted_image_certificates);
    match action.action.as_str() {
        "create" => {
            put(&mut data, "keypairs", server.spec.0.key.iter().map(|key| keypair(server, key)).collect());
            put(&mut data, "tags", json!(server.tags.0));
            put(&mut data, "trusted_image_certificates", certificates);
            put(&mut data, "instance_name", json!(server.instance_name()));
            object("InstanceCreatePayload", "1.13", data)
        }
        "rebuild" => {
            put(&mut data, "trusted_image_certificates", certificates);
            object("InstanceActionRebuildPayload", "1.10", data)
        }
        _ => object("InstanceActionPayload", "1.9", data),
    }
}

/// The payload of `instance.update`.
pub fn of_update(server: &Model, update: &Update) -> Value {
    let mut data = instance(server, &update.request_id);
    let states = json!({
        "old_state": update.vm_state, "state": server.vm_state, "old_task_state": update.task_state, "new_task_state": server.task_state,
    });
    put(&mut data, "state_update", object("InstanceStateUpdatePayload", "1.0", states));
    put(&mut data, "old_display_name", json!(update.name));
    put(&mut data, "tags", json!(server.tags.0));
    put(&mut data, "bandwidth", json!([]));
    object("InstanceUpdatePayload", "2.1", data)
}

fn put(data: &mut Value, key: &str, value: Value) {
    if let Some(data) = data.as_object_mut() {
        data.insert(key.to_owned(), value);
    }
}

/// What all of them show of a server.
fn instance(server: &Model, request_id: &str) -> Value {
    let time = |at: Option<Timestamp>| at.map(Timestamp::to_seconds_z);
    let spec = &server.spec.0;
    let property = |name: &str| spec.image_properties.get(name);
    json!({
        "uuid": server.id,
        "tenant_id": server.project_id,
        "user_id": server.user_id,
        "request_id": request_id,
        "display_name": server.name,
        "display_description": server.description,
        "host_name": server.hostname,
        "host": server.host,
        "node": server.node,
        "availability_zone": server.availability_zone,
        "state": server.vm_state,
        "task_state": server.task_state,
        "power_state": power_state(server.power_state),
        "progress": 0,
        "locked": server.locked,
        "locked_reason": server.locked_reason,
        "image_uuid": server.image_id,
        "kernel_id": spec.kernel_id.as_deref().unwrap_or_default(),
        "ramdisk_id": spec.ramdisk_id.as_deref().unwrap_or_default(),
        "architecture": property("hw_architecture").or_else(|| property("architecture")),
        "os_type": property("os_type"),
        "key_name": server.key_name,
        "metadata": server.metadata.0,
        "flavor": flavor(&server.flavor.0),
        "block_devices": [],
        "shares": [],
        "ip_addresses": server.network_info.0.iter().flat_map(addresses).collect::<Vec<_>>(),
        "reservation_id": server.reservation_id,
        "auto_disk_config": server.disk_config,
        "created_at": time(Some(server.created_at)),
        "updated_at": time(Some(server.updated_at)),
        "launched_at": time(server.launched_at),
        "terminated_at": time(server.terminated_at),
        "deleted_at": time(server.deleted_at),
    })
}

/// Nova's words for what hypervisors number.
fn power_state(number: i64) -> &'static str {
    match number {
        1 => "running",
        3 => "paused",
        4 => "shutdown",
        6 => "crashed",
        7 => "suspended",
        _ => "pending",
    }
}

fn flavor(flavor: &Flavor) -> Value {
    let data = json!({
        "flavorid": flavor.id, "name": flavor.name, "vcpus": flavor.vcpus, "memory_mb": flavor.ram_mb, "root_gb": flavor.root_gb,
        "ephemeral_gb": flavor.ephemeral_gb, "swap": flavor.swap_mb, "extra_specs": flavor.extra_specs, "rxtx_factor": 1.0,
        "vcpu_weight": 0, "disabled": false, "is_public": true, "projects": null, "description": null,
    });
    object("FlavorPayload", "1.4", data)
}

fn addresses(nic: &NetworkInterface) -> impl Iterator<Item = Value> {
    nic.fixed_ips.iter().map(move |ip| {
        let data = json!({
            "address": ip.address, "version": if ip.address.is_ipv4() { 4 } else { 6 }, "label": nic.network_name, "mac": nic.mac_address,
            "port_uuid": nic.port_id, "device_name": nic.device_name, "meta": {},
        });
        object("IpPayload", "1.0", data)
    })
}

fn keypair(server: &Model, key: &rpc::compute::KeyPair) -> Value {
    let data = json!({"user_id": server.user_id, "name": key.name, "type": key.key_type, "public_key": key.public_key});
    object("KeypairPayload", "1.0", data)
}

fn exception(fault: &StoredFault) -> Value {
    let data = json!({
        "exception": "InstanceFault", "exception_message": fault.message, "function_name": null, "module_name": null, "traceback": null,
    });
    object("ExceptionPayload", "1.1", data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers::tests::a_server;

    #[test]
    fn an_update_says_what_it_was_before() {
        let update = Update { vm_state: "building".into(), task_state: Some("spawning".into()), ..Update::default() };
        let payload = of_update(&a_server("s"), &update);
        assert_eq!(payload["nova_object.name"], "InstanceUpdatePayload");
        let data = &payload["nova_object.data"];
        assert_eq!((data["uuid"].as_str(), data["power_state"].as_str()), (Some("s"), Some("running")));
        let states = &data["state_update"]["nova_object.data"];
        assert_eq!((states["old_state"].as_str(), states["state"].as_str()), (Some("building"), Some("active")));
        assert_eq!(data["flavor"]["nova_object.data"]["memory_mb"], 512);
    }
}
