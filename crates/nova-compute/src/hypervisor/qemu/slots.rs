//! Which PCIe root port each device that may come and go sits in. A guest that starts cold gets them in order; one that goes on where it was
//! needs every device where it was.

use std::collections::BTreeMap;

use kit::Result;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::args::{disk_id, nic_id};
use super::qmp::Qmp;
use crate::hypervisor::Guest;

/// Root ports kept free for what is plugged in later.
pub const SPARE_PORTS: usize = 6;

/// The root ports of a guest, numbered from one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slots {
    pub ports: usize,
    /// The port of each device, by the device's id.
    devices: BTreeMap<String, usize>,
}

impl Slots {
    /// For a cold start: removable disks first, then interfaces, then room.
    pub fn of(guest: &Guest) -> Slots {
        let disks = guest.disks.iter().filter(|disk| disk.removable).map(|disk| disk_id(&disk.id));
        let devices: BTreeMap<_, _> = disks.chain(guest.nics.iter().map(|nic| nic_id(&nic.port_id))).zip(1..).collect();
        Slots { ports: devices.len() + SPARE_PORTS, devices }
    }

    /// As they are in a guest that runs.
    pub async fn ask(qmp: &Qmp) -> Result<Slots> {
        let mut slots = Slots::default();
        let devices = qmp.execute("qom-list", json!({"path": "/machine/peripheral"})).await?;
        for name in devices.as_array().into_iter().flatten().filter_map(|device| device["name"].as_str()) {
            if name.strip_prefix("rp").is_some_and(|number| number.parse::<usize>().is_ok()) {
                slots.ports += 1;
                continue;
            }
            let ask = json!({"path": format!("/machine/peripheral/{name}"), "property": "parent_bus"});
            let Ok(bus) = qmp.execute("qom-get", ask).await else { continue };
            if let Some(port) = bus.as_str().and_then(port_of_bus) {
                slots.devices.insert(name.to_owned(), port);
            }
        }
        Ok(slots)
    }

    pub fn port(&self, device: &str) -> Option<usize> {
        self.devices.get(device).copied()
    }
}

/// `/machine/peripheral/rp3/rp3` is the bus of root port 3.
fn port_of_bus(path: &str) -> Option<usize> {
    path.rsplit('/').next()?.strip_prefix("rp")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buses_tell_their_root_port() {
        assert_eq!(port_of_bus("/machine/peripheral/rp3/rp3"), Some(3));
        assert_eq!(port_of_bus("/machine/q35/pcie.0"), None);
    }
}
