//! What the extra specs of a flavor may say, checked since 2.86. In namespaces that nova knows, a key it does not know is a mistake; keys
//! without a namespace, and those of other namespaces, are their operator's own.

use kit::{Error, Result};

/// Namespaces whose keys are all known.
const NAMESPACES: &[&str] = &["accel", "hw", "hw_rng", "hw_video", "os", "pci_passthrough", "quota"];

/// What a value may be.
#[derive(Clone, Copy, Debug)]
enum Rule {
    Any,
    Bool,
    /// At least this.
    Int(i64),
    OneOf(&'static [&'static str]),
    /// Numbers and ranges: `0-3,^2`
    CpuList,
}
use Rule::{Any, Bool, CpuList, Int, OneOf};

/// Keys and values; `{}` in a key stands for a number.
const RULES: &[(&str, Rule)] = &[
    ("accel:device_profile", Any),
    ("hide_hypervisor_id", Bool),
    ("group_policy", OneOf(&["none", "isolate"])),
    ("hw:boot_menu", Bool),
    ("hw:cpu_cores", Int(1)),
    ("hw:cpu_dedicated_mask", CpuList),
    ("hw:cpu_max_cores", Int(1)),
    ("hw:cpu_max_sockets", Int(1)),
    ("hw:cpu_max_threads", Int(1)),
    ("hw:cpu_policy", OneOf(&["dedicated", "shared", "mixed"])),
    ("hw:cpu_realtime", Bool),
    ("hw:cpu_realtime_mask", CpuList),
    ("hw:cpu_sockets", Int(1)),
    ("hw:cpu_thread_policy", OneOf(&["prefer", "isolate", "require"])),
    ("hw:cpu_threads", Int(1)),
    ("hw:emulator_threads_policy", OneOf(&["isolate", "share"])),
    ("hw:hide_hypervisor_id", Bool),
    ("hw:locked_memory", Bool),
    ("hw:maxphysaddr_bits", Int(0)),
    ("hw:maxphysaddr_mode", OneOf(&["emulate", "passthrough"])),
    ("hw:mem_encryption", Bool),
    ("hw:mem_page_size", Any),
    ("hw:numa_cpus.{}", CpuList),
    ("hw:numa_mem.{}", Int(1)),
    ("hw:numa_nodes", Int(1)),
    ("hw:pci_numa_affinity_policy", OneOf(&["required", "preferred", "legacy", "socket"])),
    ("hw:pmem", Any),
    ("hw:serial_port_count", Int(0)),
    ("hw:tpm_model", OneOf(&["tpm-tis", "tpm-crb"])),
    ("hw:tpm_version", OneOf(&["1.2", "2.0"])),
    ("hw:viommu_model", OneOf(&["intel", "smmuv3", "virtio", "auto"])),
    ("hw:vif_multiqueue_enabled", Bool),
    ("hw:watchdog_action", OneOf(&["none", "pause", "poweroff", "reset", "disabled"])),
    ("hw_rng:allowed", Bool),
    ("hw_rng:rate_bytes", Int(0)),
    ("hw_rng:rate_period", Int(0)),
    ("hw_video:ram_max_mb", Int(0)),
    ("os:monitors", Int(1)),
    ("os:secure_boot", OneOf(&["disabled", "required"])),
    ("pci_passthrough:alias", Any),
    ("quota:cpu_period", Int(0)),
    ("quota:cpu_quota", Int(0)),
    ("quota:cpu_shares", Int(0)),
    ("quota:cpu_limit", Int(0)),
    ("quota:cpu_reservation", Int(0)),
    ("quota:cpu_shares_level", OneOf(&["custom", "high", "normal", "low"])),
    ("quota:cpu_shares_share", Int(0)),
    ("quota:disk_read_bytes_sec", Int(0)),
    ("quota:disk_read_iops_sec", Int(0)),
    ("quota:disk_total_bytes_sec", Int(0)),
    ("quota:disk_total_iops_sec", Int(0)),
    ("quota:disk_write_bytes_sec", Int(0)),
    ("quota:disk_write_iops_sec", Int(0)),
    ("quota:memory_limit", Int(0)),
    ("quota:memory_reservation", Int(0)),
    ("quota:vif_inbound_average", Int(0)),
    ("quota:vif_inbound_burst", Int(0)),
    ("quota:vif_inbound_peak", Int(0)),
    ("quota:vif_outbound_average", Int(0)),
    ("quota:vif_outbound_burst", Int(0)),
    ("quota:vif_outbound_peak", Int(0)),
];

/// 400 unless nova could use this extra spec.
pub fn check(key: &str, value: &str) -> Result<()> {
    if let Some((_, rule)) = RULES.iter().find(|(pattern, _)| matches(pattern, key)) {
        return rule.admits(value).map_err(|reason| Error::bad_request(format!("Validation failed; {key}: {reason}")));
    }
    match key.split_once(':') {
        Some((namespace, class)) if is_group(namespace, "resources") => check_resource(key, class, value),
        Some((namespace, _)) if is_group(namespace, "trait") => match value {
            "required" | "forbidden" => Ok(()),
            _ => Err(Error::bad_request(format!("Validation failed; {key}: '{value}' is not one of required, forbidden"))),
        },
        Some((namespace, _)) if NAMESPACES.contains(&namespace) => {
            Err(Error::bad_request(format!("Validation failed; extra spec '{key}' does not exist; it is either misspelled or unsupported")))
        }
        _ => Ok(()),
    }
}

/// `resources`, `resources1` or `resources_GROUP`.
fn is_group(namespace: &str, word: &str) -> bool {
    namespace.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with('_') || rest.bytes().all(|b| b.is_ascii_digit()))
}

fn check_resource(key: &str, class: &str, value: &str) -> Result<()> {
    let known = !class.is_empty() && class.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    if known && value.parse::<u32>().is_ok() {
        return Ok(());
    }
    Err(Error::bad_request(format!("Validation failed; {key}: '{value}' is not an amount of a resource class")))
}

fn matches(pattern: &str, key: &str) -> bool {
    match pattern.strip_suffix("{}") {
        Some(prefix) => key.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit())),
        None => pattern == key,
    }
}

impl Rule {
    fn admits(self, value: &str) -> Result<(), String> {
        let good = match self {
            Any => !value.is_empty(),
            Bool => crate::validate::boolean("", &serde_json::json!(value)).is_ok(),
            Int(least) => value.parse::<i64>().is_ok_and(|n| n >= least),
            OneOf(values) => values.contains(&value),
            CpuList => !value.is_empty() && value.split(',').all(is_range),
        };
        if good { Ok(()) } else { Err(format!("'{value}' is not {}", self.words())) }
    }

    fn words(self) -> String {
        match self {
            Any => "a text".into(),
            Bool => "a boolean".into(),
            Int(least) => format!("a whole number of at least {least}"),
            OneOf(values) => format!("one of {}", values.join(", ")),
            CpuList => "a list of CPUs".into(),
        }
    }
}

/// `2`, `0-3` or `^2`.
fn is_range(text: &str) -> bool {
    let text = text.trim();
    let text = text.strip_prefix('^').unwrap_or(text);
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    matches!((from.parse::<u32>(), to.parse::<u32>()), (Ok(from), Ok(to)) if from <= to)
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
            ("hw:numa_cpus.0", "3-1"),
            ("hw:numa_nodes", "0"),
            ("quota:cpu_quota", "much"),
            ("hw_rng:allowed", "maybe"),
            ("resources:gold", "1"),
            ("trait:CUSTOM_FAST", "optional"),
        ] {
            assert!(check(key, value).is_err(), "{key}");
        }
    }
}
