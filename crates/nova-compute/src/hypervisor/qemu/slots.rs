//! Where each device that may come and go sits. On PCI Express it is behind a root port: a guest that starts cold gets them in order, and a few
//! stay free for hot-plug. One that goes on where it was needs every device where it was.

use std::collections::BTreeMap;

use kit::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::args::{nic_id, node_name, root_port};
use super::qmp::Qmp;
use super::storage::device_of_path;
use crate::hypervisor::Guest;
use crate::hypervisor::hardware::{DiskBus, MachineType};

/// Root ports kept free for what is plugged in later.
pub const SPARE_PORTS: usize = 6;
/// More than a root bus has room for.
const MOST_PORTS: usize = 64;

/// The root ports of a guest, numbered from one, and who is where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slots {
    pub ports: usize,
    /// The machine by its whole name: the short one means another with every version of QEMU.
    #[serde(default)]
    pub machine: Option<String>,
    /// Disks by their node, for a device may outlive an exchange of its disk; interfaces by the device's id.
    places: BTreeMap<String, Place>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Place {
    /// Behind a root port.
    Port(usize),
    /// On the root bus, at this address.
    Address(String),
}

impl Slots {
    /// For a cold start: removable disks first, then interfaces, then room.
    pub fn of(guest: &Guest) -> Slots {
        if guest.hardware.machine == MachineType::Pc {
            return Slots::default();
        }
        let disks = guest.disks.iter().filter(|disk| disk.removable && disk.bus == DiskBus::Virtio).map(|disk| node_name(&disk.id));
        let devices = disks.chain(guest.nics.iter().map(|nic| nic_id(&nic.port_id)));
        let places: BTreeMap<_, _> = devices.zip((1..).map(Place::Port)).collect();
        Slots { ports: places.len() + SPARE_PORTS, machine: None, places }
    }

    /// As they are in a guest that runs.
    pub async fn ask(qmp: &Qmp) -> Result<Slots> {
        let machine = qmp.execute("qom-get", json!({"path": "/machine", "property": "type"})).await?;
        let machine = machine.as_str().and_then(|name| name.strip_suffix("-machine")).filter(|name| is_machine(name));
        let mut slots = Slots { machine: machine.map(str::to_owned), ..Slots::default() };
        let blocks = qmp.execute("query-block", json!({})).await?;
        let node = |device: &str| {
            let of = |block: &&Value| block["qdev"].as_str().and_then(device_of_path) == Some(device);
            blocks.as_array()?.iter().find(of)?["inserted"]["node-name"].as_str()
        };
        let devices = qmp.execute("qom-list", json!({"path": "/machine/peripheral"})).await?;
        for name in devices.as_array().into_iter().flatten().filter_map(|device| device["name"].as_str()) {
            if port_number(name).is_some() {
                slots.ports += 1;
            } else if name.starts_with("disk-") || name.starts_with("net-") {
                let place = place(qmp, name).await?;
                slots.places.extend(place.map(|place| (node(name).unwrap_or(name).to_owned(), place)));
            }
        }
        Ok(slots)
    }

    /// As another host told them, which is believed no more than it must be.
    pub fn told(description: &Value) -> Result<Slots> {
        let slots: Slots = serde_json::from_value(description.clone())?;
        match slots.machine.as_deref().is_none_or(is_machine) && slots.ports <= MOST_PORTS {
            true => Ok(slots),
            false => Err(Error::bad_request("The guest's machine is none of this hypervisor.")),
        }
    }

    /// Puts a device where it belongs. `name` is a disk's node or an interface's id.
    pub fn place(&self, name: &str, device: &mut Value) {
        match self.places.get(name) {
            Some(Place::Port(port)) => device["bus"] = json!(root_port(*port)),
            Some(Place::Address(address)) => device["addr"] = json!(address),
            None => {}
        }
    }
}

/// `pc-q35-7.2`: a name, and nothing that could be an option.
fn is_machine(name: &str) -> bool {
    name.starts_with("pc-") && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

async fn place(qmp: &Qmp, device: &str) -> Result<Option<Place>> {
    let property = |property| json!({"path": format!("/machine/peripheral/{device}"), "property": property});
    let bus = qmp.execute("qom-get", property("parent_bus")).await?;
    let bus = bus.as_str().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    Ok(match port_number(bus) {
        Some(port) => Some(Place::Port(port)),
        None if bus.starts_with("pci") => qmp.execute("qom-get", property("addr")).await?.as_str().map(|a| Place::Address(a.to_owned())),
        // on a controller, which is always in its place
        None => None,
    })
}

/// `rp3` is root port 3, and its bus.
fn port_number(name: &str) -> Option<usize> {
    name.strip_prefix("rp")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_go_where_they_were() {
        let places = BTreeMap::from([("d-a".to_owned(), Place::Port(3)), ("net-b".to_owned(), Place::Address("05.0".into()))]);
        let slots = Slots { ports: 7, places, ..Slots::default() };
        let put = |name: &str| {
            let mut device = json!({});
            slots.place(name, &mut device);
            device
        };
        assert_eq!((put("d-a"), put("net-b"), put("d-c")), (json!({"bus": "rp3"}), json!({"addr": "05.0"}), json!({})));
        assert_eq!((port_number("rp12"), port_number("pcie.0")), (Some(12), None));
    }

    #[test]
    fn another_hosts_word_is_checked() {
        let slots = Slots { ports: 7, machine: Some("pc-q35-7.2".into()), ..Slots::default() };
        assert_eq!(Slots::told(&serde_json::to_value(&slots).unwrap()).unwrap(), slots);
        let wrong = Slots { machine: Some("pc-q35-7.2,firmware=/etc/shadow".into()), ..slots.clone() };
        assert!(Slots::told(&serde_json::to_value(&wrong).unwrap()).is_err());
        assert!(Slots::told(&serde_json::to_value(&Slots { ports: 1000, ..slots }).unwrap()).is_err());
    }
}
