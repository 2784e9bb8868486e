//! Filters by what a host is: its architecture and hypervisor, and what of its processors, memory and devices a guest can have to itself.

use super::{Choice, Request};

/// An image may ask for an architecture, a hypervisor and a kind of guest.
pub fn image_properties(choice: &Choice, request: &Request) -> bool {
    let asked = |names: [&str; 2]| names.iter().find_map(|name| request.image_properties.get(*name));
    let arch = || choice.host.cpu.get("arch").and_then(serde_json::Value::as_str).unwrap_or("x86_64");
    let arch_fits = asked(["hw_architecture", "architecture"]).is_none_or(|wanted| same_arch(wanted, arch()));
    let simulated = || choice.host.inventory.hypervisor_type.eq_ignore_ascii_case("fake");
    let hypervisor_fits = asked(["img_hv_type", "hypervisor_type"])
        .is_none_or(|wanted| matches!(wanted.to_ascii_lowercase().as_str(), "qemu" | "kvm") || simulated());
    let mode_fits = asked(["hw_vm_mode", "vm_mode"]).is_none_or(|mode| mode == "hvm");
    arch_fits && hypervisor_fits && mode_fits
}

fn same_arch(wanted: &str, have: &str) -> bool {
    let canonical = |arch: &str| match arch.to_ascii_lowercase().as_str() {
        "amd64" | "x64" => "x86_64".to_owned(),
        "arm64" => "aarch64".to_owned(),
        "i386" | "i586" => "i686".to_owned(),
        other => other.to_owned(),
    };
    let (wanted, have) = (canonical(wanted), canonical(have));
    // a 64 bit PC runs 32 bit guests too
    wanted == have || (wanted == "i686" && have == "x86_64")
}

/// `capabilities:hypervisor_type` and friends of the flavor.
pub fn capabilities(choice: &Choice, request: &Request) -> bool {
    let inventory = &choice.host.inventory;
    request.extra_specs.iter().filter_map(|(key, value)| Some((key.strip_prefix("capabilities:")?, value))).all(|(key, wanted)| {
        let have = match key {
            "hypervisor_type" => Some(inventory.hypervisor_type.clone()),
            "hypervisor_version" => Some(inventory.hypervisor_version.to_string()),
            "hypervisor_hostname" => Some(inventory.hypervisor_hostname.clone()),
            _ => key.strip_prefix("cpu_info:").and_then(|key| choice.host.cpu.get(key)).map(|value| match value {
                serde_json::Value::String(text) => text.clone(),
                other => other.to_string(),
            }),
        };
        have.is_some_and(|have| matches_spec(&have, wanted))
    })
}

/// The comparisons of extra specs: `>= 5`, `s== x`, `<in> x`, `<or> a <or> b`, or plain equality.
pub fn matches_spec(have: &str, wanted: &str) -> bool {
    let number = |text: &str| text.trim().parse::<f64>().ok();
    let (operator, value) = wanted.split_once(' ').unwrap_or(("", wanted));
    let both = || Some((number(have)?, number(value)?));
    match operator {
        "=" | ">=" => both().is_some_and(|(have, wanted)| have >= wanted),
        "<=" => both().is_some_and(|(have, wanted)| have <= wanted),
        "==" => both().is_some_and(|(have, wanted)| have == wanted),
        "!=" => both().is_some_and(|(have, wanted)| have != wanted),
        "s==" => have == value,
        "s!=" => have != value,
        "<in>" => have.contains(value.trim()),
        "<or>" => value.split("<or>").any(|choice| choice.trim() == have),
        _ => have == wanted,
    }
}

/// Guests get no device of the host's, so who asks for one finds no host.
pub fn pci_passthrough(_: &Choice, request: &Request) -> bool {
    !request.extra_specs.keys().any(|key| key == "pci_passthrough:alias")
}

/// A guest may have as many NUMA nodes as its host; processors of its own, or large pages, it cannot have.
pub fn numa_topology(choice: &Choice, request: &Request) -> bool {
    let asked = |spec: &str, property: &str| request.extra_specs.get(spec).or_else(|| request.image_properties.get(property));
    let cells = || choice.host.cpu.pointer("/topology/cells").and_then(serde_json::Value::as_u64).unwrap_or(1);
    let nodes = asked("hw:numa_nodes", "hw_numa_nodes").is_none_or(|nodes| nodes.parse::<u64>().is_ok_and(|nodes| nodes <= cells()));
    let shared = asked("hw:cpu_policy", "hw_cpu_policy").is_none_or(|policy| policy == "shared");
    let small = |size: &String| matches!(size.as_str(), "small" | "any" | "4" | "4KB" | "4K");
    nodes && shared && asked("hw:mem_page_size", "hw_mem_page_size").is_none_or(small)
}

#[cfg(test)]
mod tests {
    use super::super::tests::choice;
    use super::*;

    #[test]
    fn what_a_host_cannot_give_is_refused() {
        let spec = |key: &str, value: &str| Request { extra_specs: [(key.to_owned(), value.to_owned())].into(), ..Request::default() };
        let host = choice("a", 1);
        assert!(numa_topology(&host, &spec("hw:numa_nodes", "1")) && !numa_topology(&host, &spec("hw:numa_nodes", "2")));
        assert!(numa_topology(&host, &spec("hw:cpu_policy", "shared")) && !numa_topology(&host, &spec("hw:cpu_policy", "dedicated")));
        assert!(numa_topology(&host, &spec("hw:mem_page_size", "small")) && !numa_topology(&host, &spec("hw:mem_page_size", "1GB")));
        assert!(pci_passthrough(&host, &spec("hw:cpu_cores", "1")) && !pci_passthrough(&host, &spec("pci_passthrough:alias", "gpu:1")));
    }
}
