//! Looking at a guest, and the buttons on its case: diagnostics, NMI, the administrator's password.

use kit::Result;
use rpc::actions::{GetDiagnostics, InjectNmi, SetAdminPassword};
use serde_json::{Value, json};

use super::action::Subject;
use crate::host::Host;
use crate::hypervisor::{Diagnostics, PowerState};

/// The user whose password is set, in guests that do not say another.
const ADMIN: &str = "root";

pub async fn diagnostics(host: Host, request: GetDiagnostics) -> Result<Value> {
    let instance = host.must_have(&request.instance_id).await?;
    let state = host.hypervisor.state(&instance.id);
    let seen = host.hypervisor.diagnostics(&instance.id).await?;
    Ok(render(&seen, state, instance.config_drive, instance.flavor.ram_mb, &host.hypervisor.about().hypervisor_type))
}

/// In the form of microversion 2.48.
fn render(seen: &Diagnostics, state: PowerState, config_drive: bool, memory_mb: u64, hypervisor: &str) -> Value {
    let state = match state {
        PowerState::Running => "running",
        PowerState::Paused => "paused",
        PowerState::Shutdown => "shutdown",
        PowerState::Crashed => "crashed",
        PowerState::Suspended => "suspended",
        PowerState::NoState => "pending",
    };
    let disks = seen.disks.iter().map(|disk| {
        json!({"read_bytes": disk.read_bytes, "read_requests": disk.read_requests, "write_bytes": disk.write_bytes,
               "write_requests": disk.write_requests, "errors_count": disk.errors})
    });
    let nics = seen.nics.iter().map(|nic| {
        json!({"mac_address": nic.mac, "rx_octets": nic.rx_octets, "rx_errors": nic.rx_errors, "rx_drop": nic.rx_drop,
               "rx_packets": nic.rx_packets, "rx_rate": null, "tx_octets": nic.tx_octets, "tx_errors": nic.tx_errors,
               "tx_drop": nic.tx_drop, "tx_packets": nic.tx_packets, "tx_rate": null})
    });
    let cpus = seen.cpu_nanoseconds.iter().enumerate().map(|(id, time)| json!({"id": id, "time": time, "utilisation": null}));
    json!({
        "state": state,
        // one of the names the API knows; ours speaks to the same QEMU
        "driver": "libvirt", "hypervisor": hypervisor.to_lowercase(), "hypervisor_os": std::env::consts::OS,
        "uptime": seen.uptime.map(|uptime| uptime.as_secs()), "config_drive": config_drive,
        "num_cpus": seen.cpu_nanoseconds.len(), "num_disks": seen.disks.len(), "num_nics": seen.nics.len(),
        "memory_details": {"maximum": memory_mb, "used": seen.memory_mb},
        "cpu_details": cpus.collect::<Value>(), "disk_details": disks.collect::<Value>(), "nic_details": nics.collect::<Value>(),
    })
}

pub async fn nmi(host: Host, request: InjectNmi) -> Result<()> {
    let instance = host.must_have(&request.instance_id).await?;
    host.hypervisor.inject_nmi(&instance.id).await
}

/// Sets the password in the guest that runs. The image says for whom.
pub async fn set_password(host: Host, request: SetAdminPassword) -> Result<()> {
    let subject = Subject { host: &host, caller: &request.caller, instance_id: &request.instance_id };
    let work = async {
        let instance = host.must_have(&request.instance_id).await?;
        let user = instance.image_properties.get("os_admin_user").map_or(ADMIN, String::as_str);
        host.hypervisor.set_password(&instance.id, user, &request.password).await
    };
    subject.call("compute_set_admin_password", work).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_is_described_in_the_apis_words() {
        let seen = Diagnostics { cpu_nanoseconds: vec![5], ..Diagnostics::default() };
        let said = render(&seen, PowerState::Running, true, 128, "QEMU");
        assert_eq!((said["state"].as_str(), said["hypervisor"].as_str()), (Some("running"), Some("qemu")));
        assert_eq!(said["cpu_details"], json!([{"id": 0, "time": 5, "utilisation": null}]));
        assert_eq!(said["memory_details"], json!({"maximum": 128, "used": 0}));
    }
}
