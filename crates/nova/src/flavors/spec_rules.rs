//! What the extra specs of a flavor may say, checked since 2.86. In namespaces that nova knows, a key it does not know is a mistake; keys
//! without a namespace, and those of other namespaces, are their operator's own.

use std::sync::LazyLock;

use kit::{Error, Result};
use regex::Regex;
use sdk::standard;

use crate::validate;

/// What a value may be.
#[derive(Clone, Copy, Debug)]
enum Rule {
    Text,
    Bool,
    /// From here to there.
    Int(i64, i64),
    OneOf(&'static [&'static str]),
    /// Wholly of this form.
    Fits(&'static str),
}
use Rule::{Bool, Fits, Int, OneOf, Text};

const MOST: i64 = i64::MAX;
/// Numbers and ranges: `0-3,^2`
const CPUS: &str = r"\^?\d+((-\d+)?(,\^?\d+(-\d+)?)?)*";

/// Keys, as regular expressions, and values.
const RULES: &[(&str, Rule)] = &[
    ("accel:device_profile", Text),
    ("aggregate_instance_extra_specs:.+", Text),
    ("capabilities:(cell_uuid|updated)", Text),
    (r"capabilities:(cpu_info|metrics|stats|numa_topology|supported_hv_specs|pci_device_pools|nodename|pci_stats)(:\w+)*", Text),
    ("capabilities:(host_ip|mapped|cpu_allocation_ratio|ram_allocation_ratio|disk_allocation_ratio|total_usable_ram_mb)", Text),
    (
        "capabilities:(hypervisor_version|hypervisor_hostname|free_ram_mb|free_disk_gb|current_workload|running_vms|disk_available_least)",
        Text,
    ),
    ("capabilities:(id|uuid|service_id|host|vcpus|memory_mb|local_gb|vcpus_used|memory_mb_used|local_gb_used|hypervisor_type)", Text),
    (r"capabilities:(supported_instances|limits|instances)(:\w+)*", Text),
    ("capabilities:(total_usable_disk_gb|disk_mb_used|free_disk_mb|vcpus_total|num_instances|num_io_ops|failed_builds|aggregates)", Text),
    ("group_policy", OneOf(&["isolate", "none"])),
    ("hide_hypervisor_id", Bool),
    ("hw:boot_menu", Bool),
    ("hw:cpu_(dedicated|realtime)_mask", Fits(CPUS)),
    ("hw:cpu_(max_)?(cores|sockets|threads)", Int(1, MOST)),
    ("hw:cpu_policy", OneOf(&["dedicated", "shared", "mixed"])),
    ("hw:cpu_realtime", Bool),
    ("hw:cpu_thread_policy", OneOf(&["prefer", "isolate", "require"])),
    ("hw:emulator_threads_policy", OneOf(&["isolate", "share"])),
    ("hw:ephemeral_encryption", Bool),
    ("hw:ephemeral_encryption_format", OneOf(&["plain", "luks", "luksv2"])),
    ("hw:hide_hypervisor_id", Bool),
    ("hw:locked_memory", Bool),
    ("hw:maxphysaddr_bits", Int(0, MOST)),
    ("hw:maxphysaddr_mode", OneOf(&["emulate", "passthrough"])),
    ("hw:mem_encryption", Bool),
    ("hw:mem_encryption_model", OneOf(&["amd-sev", "amd-sev-es", "amd-sev-snp"])),
    ("hw:mem_page_size", Fits(r"(large|small|any|\d+([kKMGT]i?)?(b|bit|B)?)")),
    (r"hw:numa_cpus\.\d+", Fits(CPUS)),
    (r"hw:numa_mem\.\d+", Int(1, MOST)),
    ("hw:numa_nodes", Int(1, MOST)),
    ("hw:pci_numa_affinity_policy", OneOf(&["required", "preferred", "legacy", "socket"])),
    ("hw:pmem", Fits("([a-zA-Z0-9_]+(,)?)+")),
    ("hw:pmu", Bool),
    ("hw:redirected_usb_ports", Int(0, 15)),
    ("hw:serial_port_count", Int(0, MOST)),
    ("hw:sound_model", OneOf(&["sb16", "es1370", "pcspk", "ac97", "ich6", "ich9", "usb", "virtio"])),
    ("hw:tpm_model", OneOf(&["tpm-tis", "tpm-crb"])),
    ("hw:tpm_secret_security", OneOf(&["user", "host", "deployment"])),
    ("hw:tpm_version", OneOf(&["1.2", "2.0"])),
    ("hw:usb_model", OneOf(&["none", "nec-xhci", "qemu-xhci"])),
    ("hw:vif_multiqueue_enabled", Bool),
    ("hw:viommu_model", OneOf(&["intel", "smmuv3", "virtio", "auto"])),
    ("hw:virtio_packed_ring", Bool),
    ("hw:watchdog_action", OneOf(&["none", "pause", "poweroff", "reset", "disabled"])),
    ("hw_rng:allowed", Bool),
    ("hw_rng:rate_(bytes|period)", Int(0, MOST)),
    ("hw_video:ram_max_mb", Int(0, MOST)),
    ("os:secure_boot", OneOf(&["disabled", "required"])),
    ("pci_passthrough:alias", Fits(r"[^:]+:\d+(?:\s*,\s*[^:]+:\d+)*")),
    ("quota:(cpu|memory|disk_io|vif)_(limit|shares_share)", Int(0, MOST)),
    ("quota:(cpu|memory|disk_io|vif)_reservation", Int(-MOST, MOST)),
    ("quota:(cpu|memory|disk_io|vif)_shares_level", OneOf(&["custom", "high", "normal", "low"])),
    ("quota:cpu_(shares|period)", Int(0, MOST)),
    ("quota:cpu_quota", Int(-MOST, MOST)),
    ("quota:disk_(read|write|total)_(bytes|iops)_sec", Int(0, MOST)),
    ("quota:vif_(inbound|outbound)_(average|peak|burst)", Int(0, MOST)),
    ("vmware:(hw_version|storage_policy)", Text),
];

/// Namespaces whose keys are all known, beside those of resources and traits.
const NAMESPACES: &[&str] =
    &["accel", "aggregate_instance_extra_specs", "capabilities", "hw", "hw_rng", "hw_video", "os", "pci_passthrough", "quota", "vmware"];

/// The rules with their keys ready to be looked for.
static KNOWN: LazyLock<Vec<(Regex, Rule)>> =
    LazyLock::new(|| RULES.iter().filter_map(|(key, rule)| whole(key).map(|key| (key, *rule))).collect());

/// 400 unless nova could use this extra spec.
pub fn check(key: &str, value: &str) -> Result<()> {
    if let Some((_, rule)) = KNOWN.iter().find(|(known, _)| known.is_match(key)) {
        return rule.admit(value);
    }
    let Some((namespace, name)) = key.split_once(':') else { return Ok(()) };
    let resource = || custom(name) || standard::RESOURCE_CLASSES.contains(&name);
    let a_trait = || custom(name) || standard::traits().any(|known| known == name);
    if is_group(namespace, "resources") && resource() {
        return Int(-MOST, MOST).admit(value);
    }
    if is_group(namespace, "trait") && a_trait() {
        return OneOf(&["required", "forbidden"]).admit(value);
    }
    if NAMESPACES.contains(&namespace) || is_group(namespace, "resources") || is_group(namespace, "trait") {
        return Err(refusal(format!("extra spec '{key}' does not appear to be a valid extra spec.")));
    }
    Ok(())
}

/// `resources`, `resources1` or `resources_GROUP`.
fn is_group(namespace: &str, word: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    namespace.strip_prefix(word).is_some_and(|group| group.len() <= 64 && group.chars().all(known))
}

fn custom(name: &str) -> bool {
    let known = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    name.strip_prefix("CUSTOM_").is_some_and(|rest| !rest.is_empty() && rest.chars().all(known))
}

/// An expression that a text must fit from end to end.
fn whole(pattern: &str) -> Option<Regex> {
    Regex::new(&format!("^(?:{pattern})$")).ok()
}

fn refusal(words: impl std::fmt::Display) -> Error {
    Error::bad_request(format!("Validation failed; {words}"))
}

impl Rule {
    fn admit(self, value: &str) -> Result<()> {
        match self {
            Text => Ok(()),
            Bool if validate::strict_word(value).is_some() => Ok(()),
            Bool => Err(refusal(format!("'{value}' is not a valid boolean-like value."))),
            Int(least, most) => match value.trim().parse::<i64>() {
                Err(_) => Err(refusal(format!("'{value}' is not a valid integer value."))),
                Ok(number) if number > most => Err(refusal(format!("'{number}' is greater than the max value of '{most}'."))),
                Ok(number) if number < least => Err(refusal(format!("'{number}' is less than the min value of '{least}'."))),
                Ok(_) => Ok(()),
            },
            OneOf(values) if values.contains(&value) => Ok(()),
            OneOf(values) => Err(refusal(format!("'{value}' is not one of: {}.", values.join(", ")))),
            Fits(pattern) if whole(pattern).is_some_and(|pattern| pattern.is_match(value)) => Ok(()),
            Fits(pattern) => Err(refusal(format!("'{value}' is not of the format '{pattern}'."))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_namespaces_are_checked_and_others_are_not() {
        for (key, value) in [
            ("hw:cpu_policy", "dedicated"),
            ("hw:numa_cpus.0", "0-3,^2"),
            ("hw:mem_page_size", "large"),
            ("quota:cpu_quota", "100"),
            ("hw_rng:allowed", "True"),
            ("resources:CUSTOM_GOLD", "1"),
            ("resources1:VGPU", "2"),
            ("trait:HW_CPU_X86_AVX", "required"),
            ("trait_GPU:CUSTOM_FAST", "forbidden"),
            ("resources_FAST-1:VCPU", "2"),
            ("hw:pmu", "yes"),
            ("hw:sound_model", "ich9"),
            ("hw:usb_model", "qemu-xhci"),
            ("hw:redirected_usb_ports", "15"),
            ("hw:tpm_secret_security", "host"),
            ("hw:ephemeral_encryption_format", "luks"),
            ("hw:mem_encryption_model", "amd-sev-es"),
            ("quota:disk_io_limit", "10"),
            ("quota:vif_shares_level", "high"),
            ("quota:cpu_quota", "-1"),
            ("pci_passthrough:alias", "a1:2, b:1"),
            ("vmware:hw_version", "v"),
            ("capabilities:cpu_info:features", "<in> aes"),
            ("ssd", "true"),
            ("capabilities:vcpus", ">= 6"),
            ("aggregate_instance_extra_specs:rack", "a"),
            ("acme:anything", "goes"),
        ] {
            assert!(check(key, value).is_ok(), "{key}");
        }
        for (key, value) in [
            ("hw:cpu_policy", "sharedd"),
            ("hw:cpu_polciy", "shared"),
            ("hw:numa_cpus.x", "0"),
            ("hw:redirected_usb_ports", "16"),
            ("hw:virtio_packed_ring", "maybe"),
            ("pci_passthrough:alias", "a1"),
            ("capabilities:colour", "red"),
            ("resources:GOLD", "1"),
            ("resources:VCPU", "much"),
            ("trait:HW_CPU_X86_AVXX", "required"),
            ("hw:numa_nodes", "0"),
            ("quota:cpu_quota", "much"),
            ("hw_rng:allowed", "maybe"),
            ("resources:gold", "1"),
            ("trait:CUSTOM_FAST", "optional"),
        ] {
            assert!(check(key, value).is_err(), "{key}");
        }
        assert_eq!(KNOWN.len(), RULES.len());
    }
}
