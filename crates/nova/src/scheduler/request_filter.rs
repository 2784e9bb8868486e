//! What a flavor and an image need of a host, in placement's words: so that only hosts that can are candidates at all.

use std::collections::{BTreeMap, BTreeSet};

use crate::numa;

type Words = BTreeMap<String, String>;

/// Of hosts that get no new servers.
pub const DISABLED: &str = "COMPUTE_STATUS_DISABLED";

/// Image properties that name a model, the traits that say who has it, and the models that have one.
const MODELS: [(&str, &str, &[&str]); 6] = [
    ("hw_cdrom_bus", "COMPUTE_STORAGE_BUS", BUSES),
    ("hw_disk_bus", "COMPUTE_STORAGE_BUS", BUSES),
    ("hw_video_model", "COMPUTE_GRAPHICS_MODEL", &["BOCHS", "CIRRUS", "GOP", "NONE", "QXL", "VGA", "VIRTIO", "VMVGA", "XEN"]),
    ("hw_vif_model", "COMPUTE_NET_VIF_MODEL", VIFS),
    ("hw_firmware_type", "COMPUTE_FIRMWARE", &["BIOS", "UEFI"]),
    ("hw_sound_model", "COMPUTE_SOUND_MODEL", &["AC97", "ES1370", "ICH6", "ICH9", "PCSPK", "SB16", "USB", "VIRTIO"]),
];
const BUSES: &[&str] = &["FDC", "IDE", "LXC", "SATA", "SCSI", "UML", "USB", "VIRTIO", "XEN"];
const VIFS: &[&str] = &[
    "E1000",
    "E1000E",
    "IGB",
    "LAN9118",
    "NE2K_PCI",
    "NETFRONT",
    "PCNET",
    "RTL8139",
    "SPAPR_VLAN",
    "SRIOV",
    "VIRTIO",
    "VMXNET",
    "VMXNET3",
];

/// Traits that a server's host must have, or, with an exclamation mark, must not: for the flavor's extra specs and the image's properties.
pub fn required(flavor: &Words, image: &Words) -> Vec<String> {
    let mut traits: BTreeSet<String> = flavor.iter().chain(image).filter_map(named).collect();
    traits.insert(format!("!{DISABLED}"));
    traits.extend(MODELS.iter().filter_map(|(property, prefix, models)| {
        let model = image.get(*property)?.replace('-', "_").to_uppercase();
        models.contains(&model.as_str()).then(|| format!("{prefix}_{model}"))
    }));
    traits.extend(security(flavor, image).into_iter().map(str::to_owned));
    traits.extend(numa::required_trait(flavor, image));
    if either(flavor, image, "hw:virtio_packed_ring", "hw_virtio_packed_ring").is_some_and(|word| word.eq_ignore_ascii_case("true")) {
        traits.insert("COMPUTE_NET_VIRTIO_PACKED".into());
    }
    if flavor.contains_key("accel:device_profile") {
        traits.insert("COMPUTE_ACCELERATORS".into());
    }
    traits.into_iter().collect()
}

/// `trait:NAME=required` and `trait:NAME=forbidden`.
fn named((key, value): (&String, &String)) -> Option<String> {
    let name = key.strip_prefix("trait:")?;
    match value.as_str() {
        "required" => Some(name.to_owned()),
        "forbidden" => Some(format!("!{name}")),
        _ => None,
    }
}

/// Secure boot, and a trusted platform module of a version and a model.
fn security(flavor: &Words, image: &Words) -> Vec<&'static str> {
    let mut traits = Vec::new();
    if either(flavor, image, "os:secure_boot", "os_secure_boot") == Some("required") {
        traits.push("COMPUTE_SECURITY_UEFI_SECURE_BOOT");
    }
    if image.get("hw_firmware_stateless").is_some_and(|word| word.eq_ignore_ascii_case("true")) {
        traits.push("COMPUTE_SECURITY_STATELESS_FIRMWARE");
    }
    let Some(version) = either(flavor, image, "hw:tpm_version", "hw_tpm_version") else { return traits };
    traits.push(if version == "1.2" { "COMPUTE_SECURITY_TPM_1_2" } else { "COMPUTE_SECURITY_TPM_2_0" });
    traits.push(match either(flavor, image, "hw:tpm_model", "hw_tpm_model") {
        Some("tpm-crb") => "COMPUTE_SECURITY_TPM_CRB",
        _ => "COMPUTE_SECURITY_TPM_TIS",
    });
    // nova takes "user" for granted; here only who names a way to keep the secrets waits for a host that has it
    traits.extend(match flavor.get("hw:tpm_secret_security").map(String::as_str) {
        Some("user") => Some("COMPUTE_SECURITY_TPM_SECRET_SECURITY_USER"),
        Some("host") => Some("COMPUTE_SECURITY_TPM_SECRET_SECURITY_HOST"),
        Some("deployment") => Some("COMPUTE_SECURITY_TPM_SECRET_SECURITY_DEPLOYMENT"),
        _ => None,
    });
    traits
}

fn either<'a>(flavor: &'a Words, image: &'a Words, spec: &str, property: &str) -> Option<&'a str> {
    flavor.get(spec).or_else(|| image.get(property)).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(flavor: &[(&str, &str)], image: &[(&str, &str)]) -> Vec<String> {
        let words = |pairs: &[(&str, &str)]| pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        required(&words(flavor), &words(image))
    }

    #[test]
    fn a_server_that_needs_nothing_goes_to_any_host_that_is_enabled() {
        assert_eq!(asked(&[("hw:cpu_sockets", "1")], &[("hw_disk_bus", "nvme")]), ["!COMPUTE_STATUS_DISABLED"]);
    }

    #[test]
    fn what_image_and_flavor_need_is_a_trait() {
        let traits = asked(
            &[("os:secure_boot", "required"), ("hw:tpm_version", "2.0"), ("trait:CUSTOM_FAST", "forbidden")],
            &[("hw_firmware_type", "uefi"), ("hw_tpm_model", "tpm-crb"), ("hw_vif_model", "ne2k-pci"), ("hw_virtio_packed_ring", "true")],
        );
        for wanted in [
            "!CUSTOM_FAST",
            "COMPUTE_FIRMWARE_UEFI",
            "COMPUTE_NET_VIF_MODEL_NE2K_PCI",
            "COMPUTE_NET_VIRTIO_PACKED",
            "COMPUTE_SECURITY_TPM_2_0",
            "COMPUTE_SECURITY_TPM_CRB",
            "COMPUTE_SECURITY_UEFI_SECURE_BOOT",
        ] {
            assert!(traits.iter().any(|name| name == wanted), "{wanted} is not in {traits:?}");
        }
    }
}
