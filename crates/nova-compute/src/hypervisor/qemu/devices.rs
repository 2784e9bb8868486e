//! Devices that only some guests have, in QEMU's words: those for people, and those with limits.

use serde_json::{Value, json};

use crate::hypervisor::hardware::{Devices, InputBus, Sound};

/// The controller of what is on USB.
pub const USB: &str = "usb";
/// Where sound goes.
pub const SOUND: &str = "sound";

/// Whether there must be a controller for them.
pub fn need_usb(devices: &Devices) -> bool {
    [devices.tablet, devices.keyboard].contains(&Some(InputBus::Usb)) || devices.sound == Some(Sound::Usb)
}

/// What people use a machine by.
pub fn people(devices: &Devices) -> Vec<Value> {
    let input = |bus, what: &str| match bus {
        InputBus::Usb => {
            json!({"driver": format!("usb-{}", if what == "keyboard" { "kbd" } else { what }), "id": what, "bus": format!("{USB}.0")})
        }
        InputBus::Virtio => json!({"driver": format!("virtio-{what}-pci"), "id": what}),
    };
    let mut all: Vec<Value> = devices.tablet.map(|bus| input(bus, "tablet")).into_iter().collect();
    all.extend(devices.keyboard.map(|bus| input(bus, "keyboard")));
    match devices.sound {
        None => {}
        Some(Sound::Card(card)) => all.push(json!({"driver": card, "audiodev": SOUND})),
        Some(Sound::Hda(controller)) => {
            all.push(json!({"driver": controller, "id": "hda"}));
            all.push(json!({"driver": "hda-duplex", "audiodev": SOUND, "bus": "hda.0"}));
        }
        Some(Sound::Usb) => all.push(json!({"driver": "usb-audio", "audiodev": SOUND, "bus": format!("{USB}.0")})),
    }
    all
}

/// A graphics card; not every one has memory of its own that can be chosen.
pub fn screen(driver: &str, mb: Option<u32>) -> Value {
    let mut device = json!({"driver": driver, "id": "video"});
    match (driver, mb) {
        ("VGA" | "cirrus-vga", Some(mb)) => device["vgamem_mb"] = json!(mb),
        ("bochs-display", Some(mb)) => device["vgamem"] = json!(u64::from(mb) << 20),
        _ => {}
    }
    device
}

/// A source of randomness, which may be kept within bytes for each so many milliseconds.
pub fn rng(limit: Option<(u32, u32)>) -> Value {
    let mut device = json!({"driver": "virtio-rng-pci", "id": "rng"});
    if let Some((bytes, period)) = limit {
        (device["max-bytes"], device["period"]) = (json!(bytes), json!(period));
    }
    device
}
