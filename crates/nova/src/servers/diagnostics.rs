//! How a guest does.

use std::time::Duration;

use kit::{Context, Error, Kind, Path, Reply, Result};
use rpc::actions::GetDiagnostics;
use rpc::compute::compute_topic;
use serde_json::{Value, json};

use super::begin::host_of;
use super::states::rules::DIAGNOSTICS;
use super::store;
use crate::Nova;
use crate::microversions::DIAGNOSTICS_SCHEMA;

/// How long the host may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// `GET /servers/{id}/diagnostics`
pub async fn show(app: Nova, ctx: Context, id: Path<String>) -> Result<Reply> {
    let server = store::fetch(&app, &ctx, &id.0).await?;
    DIAGNOSTICS.check(&server, ctx.is_admin())?;
    let host = host_of(&server)?;
    let message = GetDiagnostics { instance_id: server.id.clone() };
    let answer = app.bus.call(&compute_topic(&host), message, DEADLINE).await.map_err(|error| match error.kind {
        Kind::NotFound => Error::conflict(format!("Instance {} is not ready", server.id)),
        Kind::TimedOut => Error::unavailable(format!("The host of instance {} does not answer.", server.id)),
        _ => error,
    })?;
    if ctx.speaks(DIAGNOSTICS_SCHEMA) { Reply::ok(&answer) } else { Reply::ok(&flat(&answer)) }
}

/// The free form of older versions, as libvirt's driver had it: one number for each name.
fn flat(diagnostics: &Value) -> Value {
    let list = |key: &str| diagnostics.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut flat = serde_json::Map::new();
    if let Some(memory) = diagnostics.pointer("/memory_details/maximum") {
        flat.insert("memory".into(), memory.clone());
    }
    for (index, cpu) in list("cpu_details").iter().enumerate() {
        flat.insert(format!("cpu{index}_time"), cpu.get("time").cloned().unwrap_or(Value::Null));
    }
    let disk = [
        ("read_bytes", "read"),
        ("read_requests", "read_req"),
        ("write_bytes", "write"),
        ("write_requests", "write_req"),
        ("errors_count", "errors"),
    ];
    for (index, details) in list("disk_details").iter().enumerate() {
        let name = format!("vd{}", char::from(b'a' + u8::try_from(index).unwrap_or(25).min(25)));
        flat.extend(disk.iter().map(|(from, to)| (format!("{name}_{to}"), details.get(*from).cloned().unwrap_or(json!(-1)))));
    }
    let nic = [
        ("rx_octets", "rx"),
        ("rx_packets", "rx_packets"),
        ("rx_drop", "rx_drop"),
        ("rx_errors", "rx_errors"),
        ("tx_octets", "tx"),
        ("tx_packets", "tx_packets"),
        ("tx_drop", "tx_drop"),
        ("tx_errors", "tx_errors"),
    ];
    for (index, details) in list("nic_details").iter().enumerate() {
        flat.extend(nic.iter().map(|(from, to)| (format!("vnet{index}_{to}"), details.get(*from).cloned().unwrap_or(json!(-1)))));
    }
    Value::Object(flat)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_versions_see_numbers_by_name() {
        let new = json!({
            "memory_details": {"maximum": 128}, "cpu_details": [{"id": 0, "time": 5}],
            "disk_details": [{"read_bytes": 1, "read_requests": 2, "write_bytes": 3, "write_requests": 4, "errors_count": 0}],
            "nic_details": [{"rx_octets": 7}],
        });
        let old = flat(&new);
        assert_eq!(
            (&old["memory"], &old["cpu0_time"], &old["vda_read_req"], &old["vnet0_rx"]),
            (&json!(128), &json!(5), &json!(2), &json!(7))
        );
        assert_eq!(old["vnet0_tx"], -1);
    }
}
