//! A server as notifications show it: nova's versioned objects.

use kit::clock::Timestamp;
use rpc::compute::{Flavor, NetworkInterface};
use serde_json::{Value, json};

use super::updates::Update;
use crate::instance_actions;
use crate::servers::block_devices;
use crate::servers::instance::{Model, StoredFault};
use crate::usage_audit_log::period::Period;

/// A versioned object.
fn object(name: &str, version: &str, data: Value) -> Value {
    json!({"nova_object.name": name, "nova_object.version": version, "nova_object.namespace": "nova", "nova_object.data": data})
}

/// A server that is told of.
#[derive(Clone, Copy)]
pub struct Subject<'s> {
    pub server: &'s Model,
    /// Its volumes.
    pub devices: &'s [block_devices::Model],
}

/// The payload of one of an action's notifications.
pub fn of_action(subject: Subject, event_type: &str, action: &instance_actions::Model, failed: bool) -> Value {
    let server = subject.server;
    let mut data = instance(subject, Some(&action.request_id));
    put(&mut data, "action_initiator_user", json!(action.user_id));
    put(&mut data, "action_initiator_project", json!(action.project_id));
    put(&mut data, "fault", json!(server.fault.as_ref().filter(|_| failed).map(|fault| exception(&fault.0))));
    let details = action.details.as_ref().map(|details| &details.0);
    let detail = |key: &str| details.and_then(|details| details.get(key)).cloned().unwrap_or_default();
    if event_type.starts_with("instance.resize_prep.") {
        let wanted = serde_json::from_value(detail("new_flavor")).ok();
        put(&mut data, "new_flavor", json!(wanted.map(|wanted: Flavor| flavor(&wanted))));
        return object("InstanceActionResizePrepPayload", "1.4", data);
    }
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
        "attach_volume" | "detach_volume" => {
            put(&mut data, "volume_id", detail("volume_id"));
            object("InstanceActionVolumePayload", "1.7", data)
        }
        "swap_volume" => {
            put(&mut data, "old_volume_id", detail("old_volume_id"));
            put(&mut data, "new_volume_id", detail("new_volume_id"));
            object("InstanceActionVolumeSwapPayload", "1.9", data)
        }
        "createImage" | "createBackup" => {
            put(&mut data, "snapshot_image_id", detail("snapshot_image_id"));
            object("InstanceActionSnapshotPayload", "1.10", data)
        }
        "rescue" => {
            put(&mut data, "rescue_image_ref", detail("rescue_image_ref"));
            object("InstanceActionRescuePayload", "1.4", data)
        }
        _ => object("InstanceActionPayload", "1.9", data),
    }
}

/// The payload of `instance.update`.
pub fn of_update(subject: Subject, update: &Update, period: Period) -> Value {
    let server = subject.server;
    let mut data = instance(subject, Some(&update.request_id));
    let states = json!({
        "old_state": update.vm_state, "state": server.vm_state, "old_task_state": update.task_state, "new_task_state": server.task_state,
    });
    put(&mut data, "state_update", object("InstanceStateUpdatePayload", "1.0", states));
    put(&mut data, "old_display_name", json!(update.name));
    put(&mut data, "tags", json!(server.tags.0));
    put(&mut data, "audit_period", audit_period(period));
    object("InstanceUpdatePayload", "2.1", data)
}

/// The payload of `instance.exists`: by itself, or because an action begins that changes what is counted.
pub fn of_existence(subject: Subject, action: Option<&instance_actions::Model>, period: Period) -> Value {
    let mut data = instance(subject, action.map(|action| action.request_id.as_str()));
    put(&mut data, "action_initiator_user", json!(action.map(|action| &action.user_id)));
    put(&mut data, "action_initiator_project", json!(action.map(|action| &action.project_id)));
    put(&mut data, "audit_period", audit_period(period));
    object("InstanceExistsPayload", "2.1", data)
}

fn audit_period(period: Period) -> Value {
    let data = json!({"audit_period_beginning": period.begin.to_seconds_z(), "audit_period_ending": period.end.to_seconds_z()});
    object("AuditPeriodPayload", "1.0", data)
}

fn put(data: &mut Value, key: &str, value: Value) {
    if let Some(data) = data.as_object_mut() {
        data.insert(key.to_owned(), value);
    }
}

/// What all of them show of a server.
fn instance(Subject { server, devices }: Subject, request_id: Option<&str>) -> Value {
    let time = |at: Option<Timestamp>| at.map(Timestamp::to_seconds_z);
    let spec = &server.spec.0;
    let property = |name: &str| spec.image_properties.get(name);
    json!({
        "uuid": server.id,
        "tenant_id": server.project_id,
        "user_id": server.user_id,
        "request_id": request_id,
        "action_initiator_user": null,
        "action_initiator_project": null,
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
        "block_devices": devices.iter().filter(|device| device.volume_id.is_some()).map(block_device).collect::<Vec<_>>(),
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

fn block_device(device: &block_devices::Model) -> Value {
    let data = json!({
        "device_name": device.device_name, "boot_index": device.boot_index, "delete_on_termination": device.delete_on_termination,
        "volume_id": device.volume_id, "tag": device.tag,
    });
    object("BlockDevicePayload", "1.0", data)
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
    use crate::AuditPeriod;
    use crate::servers::tests::a_server;

    #[test]
    fn an_update_says_what_it_was_before() {
        let update = Update { vm_state: "building".into(), task_state: Some("spawning".into()), ..Update::default() };
        let server = a_server("s");
        let period = AuditPeriod::default().current(Timestamp::from_secs(1_767_225_600 + 60));
        let payload = of_update(Subject { server: &server, devices: &[] }, &update, period);
        assert_eq!(payload["nova_object.name"], "InstanceUpdatePayload");
        let data = &payload["nova_object.data"];
        assert_eq!((data["uuid"].as_str(), data["power_state"].as_str()), (Some("s"), Some("running")));
        let states = &data["state_update"]["nova_object.data"];
        assert_eq!((states["old_state"].as_str(), states["state"].as_str()), (Some("building"), Some("active")));
        let audited = &data["audit_period"]["nova_object.data"];
        assert_eq!(audited, &json!({"audit_period_beginning": "2026-01-01T00:00:00Z", "audit_period_ending": "2026-01-01T00:01:00Z"}));
        assert_eq!(data["flavor"]["nova_object.data"]["memory_mb"], 512);
    }
}
