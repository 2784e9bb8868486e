//! What a guest's machine is made of, as the image's `hw_*` properties and the flavor's extra specs ask for it.
//!
//! The flavor's word counts where both speak, for it is the administrator's. What is not understood is an error of the user's, not a guess.

mod devices;
mod firmware;
mod topology;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use kit::{Error, Result};

pub use self::devices::{Devices, InputBus, Sound};
pub use self::firmware::{Firmware, SecureBoot, Tpm, TpmVersion};
pub use self::topology::Topology;

/// The machine around processors, memory, disks and interfaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hardware {
    pub machine: MachineType,
    /// The machine by its whole name, where the image names a version of it.
    pub machine_version: Option<String>,
    pub firmware: Firmware,
    pub tpm: Option<Tpm>,
    /// Of the root disk, and of others that do not say.
    pub disk_bus: DiskBus,
    pub vif_model: VifModel,
    /// QEMU's name of the graphics card; none at all when there is to be none.
    pub video: Option<&'static str>,
    pub topology: Topology,
    /// Whether the guest has an agent that listens.
    pub agent: bool,
    /// Whether there is no snapshot of it unless the agent holds its file systems still.
    pub must_quiesce: bool,
    /// What happens when the guest stops to feed its watchdog; none when it has none.
    pub watchdog: Option<&'static str>,
    pub rng: bool,
    pub devices: Devices,
    /// Whether the firmware waits for somebody who chooses what to boot.
    pub boot_menu: bool,
    pub hpet: bool,
    /// Whether the guest may count what its processors do; as the processor's model has it where nobody says.
    pub pmu: Option<bool>,
    /// Whether the guest is not told that it is one.
    pub hidden: bool,
    /// Whether the clock shows local time, as Windows wants it.
    pub local_time: bool,
    pub cpu_limits: CpuLimits,
    /// For each of the guest's own disks.
    pub disk_limits: DiskLimits,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MachineType {
    #[default]
    Q35,
    /// The older one, without PCI Express.
    Pc,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DiskBus {
    #[default]
    Virtio,
    Scsi,
    /// SATA on a q35, IDE on a pc.
    Sata,
    Usb,
}

impl DiskBus {
    /// By nova's words.
    pub fn parse(word: &str) -> Result<DiskBus> {
        match word {
            "virtio" => Ok(DiskBus::Virtio),
            "scsi" => Ok(DiskBus::Scsi),
            "sata" | "ide" => Ok(DiskBus::Sata),
            "usb" => Ok(DiskBus::Usb),
            other => Err(unsupported("disk bus", other)),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VifModel {
    #[default]
    Virtio,
    E1000,
    E1000e,
    Ne2kPci,
    Pcnet,
    Rtl8139,
    Vmxnet3,
}

impl VifModel {
    /// QEMU's name of the card.
    pub fn driver(self) -> &'static str {
        match self {
            VifModel::Virtio => "virtio-net-pci",
            VifModel::E1000 => "e1000",
            VifModel::E1000e => "e1000e",
            VifModel::Ne2kPci => "ne2k_pci",
            VifModel::Pcnet => "pcnet",
            VifModel::Rtl8139 => "rtl8139",
            VifModel::Vmxnet3 => "vmxnet3",
        }
    }
}

/// What the guest's processors may take from the host's, nothing where there is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuLimits {
    /// Of the host, when there is not enough for all; 1024 for each virtual CPU when nobody says otherwise.
    pub shares: Option<u64>,
    /// So many microseconds of each period for each virtual CPU.
    pub quota_us: Option<u64>,
    pub period_us: Option<u64>,
}

/// A second's worth, nothing where there is no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskLimits {
    /// By QEMU's names: `bps`, `bps_rd`, `iops`, ...
    pub values: BTreeMap<&'static str, u64>,
}

impl DiskLimits {
    /// Of a volume: what its type's QoS specs leave to the host, in cinder's words.
    pub fn of_volume(specs: &serde_json::Value) -> DiskLimits {
        const NAMES: [(&str, &str); 13] = [
            ("read_bytes_sec", "bps_rd"),
            ("read_bytes_sec_max", "bps_rd_max"),
            ("read_iops_sec", "iops_rd"),
            ("read_iops_sec_max", "iops_rd_max"),
            ("size_iops_sec", "iops_size"),
            ("total_bytes_sec", "bps"),
            ("total_bytes_sec_max", "bps_max"),
            ("total_iops_sec", "iops"),
            ("total_iops_sec_max", "iops_max"),
            ("write_bytes_sec", "bps_wr"),
            ("write_bytes_sec_max", "bps_wr_max"),
            ("write_iops_sec", "iops_wr"),
            ("write_iops_sec_max", "iops_wr_max"),
        ];
        let value = |spec: &str| specs[spec].as_u64().or_else(|| specs[spec].as_str()?.parse().ok()).filter(|value| *value > 0);
        DiskLimits { values: NAMES.into_iter().filter_map(|(spec, name)| Some((name, value(spec)?))).collect() }
    }
}

impl Default for Hardware {
    fn default() -> Hardware {
        Hardware {
            machine: MachineType::Q35,
            machine_version: None,
            firmware: Firmware::Bios,
            tpm: None,
            disk_bus: DiskBus::Virtio,
            vif_model: VifModel::Virtio,
            video: Some("VGA"),
            topology: Topology::default(),
            agent: false,
            must_quiesce: false,
            watchdog: None,
            rng: true,
            devices: Devices::default(),
            boot_menu: false,
            hpet: true,
            pmu: None,
            hidden: false,
            local_time: false,
            cpu_limits: CpuLimits::default(),
            disk_limits: DiskLimits::default(),
        }
    }
}

impl Hardware {
    /// Of a server with `vcpus` processors.
    pub fn of(image: &BTreeMap<String, String>, flavor: &BTreeMap<String, String>, vcpus: u32) -> Result<Hardware> {
        let asked = Asked { image, flavor };
        let machine = asked.image("hw_machine_type").map_or(Ok(MachineType::Q35), machine)?;
        Ok(Hardware {
            machine,
            machine_version: asked.image("hw_machine_type").filter(|word| !["q35", "pc"].contains(word)).map(str::to_owned),
            firmware: firmware::firmware(&asked, machine)?,
            tpm: firmware::tpm(&asked)?,
            disk_bus: asked.image("hw_disk_bus").map_or(Ok(DiskBus::Virtio), DiskBus::parse)?,
            vif_model: asked.image("hw_vif_model").map_or(Ok(VifModel::Virtio), vif_model)?,
            video: asked.image("hw_video_model").map_or(Ok(Some("VGA")), video)?,
            topology: topology::topology(&asked, vcpus)?,
            agent: asked.image("hw_qemu_guest_agent").is_some_and(yes),
            must_quiesce: asked.image("os_require_quiesce").is_some_and(yes),
            watchdog: asked.either("hw:watchdog_action", "hw_watchdog_action").map_or(Ok(None), watchdog)?,
            rng: flavor.get("hw_rng:allowed").is_none_or(|word| yes(word)),
            devices: Devices::of(&asked)?,
            boot_menu: devices::boot_menu(&asked),
            hpet: asked.image("hw_time_hpet").is_none_or(yes),
            pmu: asked.agreed("hw:pmu", "hw_pmu")?.map(yes),
            hidden: asked.either("hide_hypervisor_id", "img_hide_hypervisor_id").is_some_and(yes),
            local_time: asked.image("os_type") == Some("windows"),
            cpu_limits: cpu_limits(flavor)?,
            disk_limits: disk_limits(flavor)?,
        })
    }
}

struct Asked<'a> {
    image: &'a BTreeMap<String, String>,
    flavor: &'a BTreeMap<String, String>,
}

impl<'a> Asked<'a> {
    fn image(&self, property: &str) -> Option<&'a str> {
        self.image.get(property).map(String::as_str).filter(|word| !word.is_empty())
    }

    fn either(&self, spec: &str, property: &str) -> Option<&'a str> {
        self.flavor.get(spec).map(String::as_str).or_else(|| self.image(property))
    }

    /// What must be the same where both speak.
    fn agreed(&self, spec: &str, property: &str) -> Result<Option<&'a str>> {
        match (self.flavor.get(spec).map(String::as_str), self.image(property)) {
            (Some(flavor), Some(image)) if flavor != image => Err(Error::bad_request(format!(
                "The flavor has the {spec} extra spec explicitly set to {flavor}, conflicting with the image, which has {property} explicitly \
                 set to {image}."
            ))),
            (flavor, image) => Ok(flavor.or(image)),
        }
    }

    fn number(&self, spec: &str, property: &str) -> Result<Option<u32>> {
        self.either(spec, property).map(|word| number(property, word)).transpose()
    }

    fn number_of_flavor(&self, spec: &str) -> Result<Option<u32>> {
        self.flavor.get(spec).map(|word| number(spec, word)).transpose()
    }

    fn number_of_image(&self, property: &str) -> Result<Option<u32>> {
        self.image(property).map(|word| number(property, word)).transpose()
    }
}

fn number(what: &str, word: &str) -> Result<u32> {
    word.parse().ok().filter(|number| *number > 0).ok_or_else(|| unsupported(what, word))
}

fn machine(word: &str) -> Result<MachineType> {
    // of a machine's name nothing may become an option
    let named = |prefix| word.strip_prefix(prefix).is_some_and(|version: &str| version.bytes().all(|b| b.is_ascii_digit() || b == b'.'));
    match word {
        _ if word == "q35" || named("pc-q35-") => Ok(MachineType::Q35),
        _ if word == "pc" || named("pc-i440fx-") => Ok(MachineType::Pc),
        other => Err(unsupported("machine type", other)),
    }
}

fn vif_model(word: &str) -> Result<VifModel> {
    match word {
        "virtio" => Ok(VifModel::Virtio),
        "e1000" => Ok(VifModel::E1000),
        "e1000e" => Ok(VifModel::E1000e),
        "ne2k_pci" | "ne2k-pci" => Ok(VifModel::Ne2kPci),
        "pcnet" => Ok(VifModel::Pcnet),
        "rtl8139" => Ok(VifModel::Rtl8139),
        "vmxnet3" => Ok(VifModel::Vmxnet3),
        other => Err(unsupported("vif model", other)),
    }
}

fn video(word: &str) -> Result<Option<&'static str>> {
    match word {
        "vga" => Ok(Some("VGA")),
        "virtio" => Ok(Some("virtio-vga")),
        "cirrus" => Ok(Some("cirrus-vga")),
        "bochs" => Ok(Some("bochs-display")),
        "none" => Ok(None),
        other => Err(unsupported("video model", other)),
    }
}

fn watchdog(word: &str) -> Result<Option<&'static str>> {
    match word {
        "disabled" => Ok(None),
        "reset" => Ok(Some("reset")),
        "poweroff" => Ok(Some("poweroff")),
        "pause" => Ok(Some("pause")),
        "none" => Ok(Some("none")),
        other => Err(unsupported("watchdog action", other)),
    }
}

/// `quota:cpu_shares` and its like.
fn cpu_limits(flavor: &BTreeMap<String, String>) -> Result<CpuLimits> {
    let limits = CpuLimits {
        shares: limit(flavor, "quota:cpu_shares")?,
        // without a limit is what -1 says
        quota_us: if flavor.get("quota:cpu_quota").is_some_and(|word| word == "-1") { None } else { limit(flavor, "quota:cpu_quota")? },
        period_us: limit(flavor, "quota:cpu_period")?,
    };
    let within = |value: Option<u64>, range: RangeInclusive<u64>| value.is_none_or(|value| range.contains(&value));
    if !(within(limits.shares, 2..=262_144) && within(limits.quota_us, 1000..=1 << 44) && within(limits.period_us, 1000..=1_000_000)) {
        return Err(Error::bad_request("The flavor's CPU shares, quota or period are out of range."));
    }
    Ok(limits)
}

/// `quota:disk_read_bytes_sec` and its like.
fn disk_limits(flavor: &BTreeMap<String, String>) -> Result<DiskLimits> {
    const NAMES: [(&str, &str); 6] = [
        ("quota:disk_read_bytes_sec", "bps_rd"),
        ("quota:disk_read_iops_sec", "iops_rd"),
        ("quota:disk_total_bytes_sec", "bps"),
        ("quota:disk_total_iops_sec", "iops"),
        ("quota:disk_write_bytes_sec", "bps_wr"),
        ("quota:disk_write_iops_sec", "iops_wr"),
    ];
    let mut values = BTreeMap::new();
    for (spec, name) in NAMES {
        values.extend(limit(flavor, spec)?.map(|value| (name, value)));
    }
    Ok(DiskLimits { values })
}

/// A limit, unless it is absent or 0.
fn limit(flavor: &BTreeMap<String, String>, spec: &str) -> Result<Option<u64>> {
    let Some(word) = flavor.get(spec) else { return Ok(None) };
    let value: u64 = word.parse().map_err(|_| unsupported(spec, word))?;
    Ok((value > 0).then_some(value))
}

fn yes(word: &str) -> bool {
    matches!(word.to_ascii_lowercase().as_str(), "yes" | "true" | "1" | "on")
}

fn unsupported(what: &str, word: &str) -> Error {
    Error::bad_request(format!("The {what} {word} is not supported by this host."))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub fn words(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn nothing_asked_is_the_default() {
        assert_eq!(Hardware::of(&words(&[]), &words(&[]), 2).unwrap(), Hardware::default());
    }

    #[test]
    fn images_and_flavors_are_heard_and_the_flavor_wins() {
        let image = words(&[
            ("hw_machine_type", "pc-i440fx-7.2"),
            ("hw_disk_bus", "scsi"),
            ("hw_vif_model", "e1000"),
            ("hw_video_model", "none"),
            ("hw_qemu_guest_agent", "yes"),
            ("hw_watchdog_action", "reset"),
        ]);
        let flavor = words(&[("hw:watchdog_action", "pause"), ("hw_rng:allowed", "False"), ("quota:disk_write_bytes_sec", "1024")]);
        let hardware = Hardware::of(&image, &flavor, 1).unwrap();
        assert_eq!((hardware.machine, hardware.disk_bus, hardware.vif_model), (MachineType::Pc, DiskBus::Scsi, VifModel::E1000));
        assert_eq!((hardware.video, hardware.watchdog, hardware.agent, hardware.rng), (None, Some("pause"), true, false));
        assert_eq!(hardware.disk_limits.values, BTreeMap::from([("bps_wr", 1024)]));
    }

    #[test]
    fn processors_are_limited_as_the_flavor_says() {
        let of = |pairs: &[(&str, &str)]| Hardware::of(&words(&[]), &words(pairs), 1).map(|hardware| hardware.cpu_limits);
        let half = CpuLimits { shares: Some(2048), quota_us: Some(10_000), period_us: Some(20_000) };
        assert_eq!(of(&[("quota:cpu_shares", "2048"), ("quota:cpu_quota", "10000"), ("quota:cpu_period", "20000")]).unwrap(), half);
        assert_eq!(of(&[("quota:cpu_quota", "-1")]).unwrap(), CpuLimits::default());
        assert!(of(&[("quota:cpu_period", "10")]).is_err());
    }

    #[test]
    fn a_volume_is_limited_as_its_type_says() {
        let specs = serde_json::json!({"total_iops_sec": "500", "total_iops_sec_max": 900, "write_bytes_sec": "0", "colour": "red"});
        assert_eq!(DiskLimits::of_volume(&specs).values, BTreeMap::from([("iops", 500), ("iops_max", 900)]));
        assert_eq!(DiskLimits::of_volume(&serde_json::Value::Null), DiskLimits::default());
    }

    #[test]
    fn a_machine_has_the_version_that_the_image_names() {
        let of = |word| Hardware::of(&words(&[("hw_machine_type", word)]), &words(&[]), 1);
        assert_eq!(of("pc-q35-6.2").unwrap().machine_version.as_deref(), Some("pc-q35-6.2"));
        assert_eq!(of("q35").unwrap().machine_version, None);
        assert!(of("pc-q35-6.2,firmware=/etc/shadow").is_err());
    }

    #[test]
    fn processors_show_what_they_are_asked_to() {
        let hardware = Hardware::of(&words(&[("hw_pmu", "no"), ("hw_time_hpet", "false")]), &words(&[("hide_hypervisor_id", "true")]), 1);
        let hardware = hardware.unwrap();
        assert_eq!((hardware.pmu, hardware.hpet, hardware.hidden), (Some(false), false, true));
    }

    #[test]
    fn what_is_not_understood_is_told() {
        let error = Hardware::of(&words(&[("hw_disk_bus", "lpt")]), &words(&[]), 1).unwrap_err();
        assert_eq!(error.message, "The disk bus lpt is not supported by this host.");
    }
}
