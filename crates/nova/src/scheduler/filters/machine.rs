//! Filters by what a host is: its architecture and hypervisor, and what of its processors, memory and devices a guest can have to itself.

use rpc::numa::fit;

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

/// What a guest wants of NUMA nodes, processors of its own and large pages, the host must have left.
pub fn numa_topology(choice: &Choice, request: &Request) -> bool {
    let Some(wanted) = &request.numa else { return true };
    choice.host.inventory.numa.as_ref().is_some_and(|host| fit(host, wanted, request.numa_limits).is_some())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rpc::numa::{CpuPolicy, CpuSet, HostCell, HostTopology, Wanted, WantedCell};

    use super::super::tests::choice;
    use super::*;

    #[test]
    fn a_host_must_have_the_nodes_left_that_a_guest_wants() {
        let wants = |dedicated: u32| {
            let cell = WantedCell { dedicated: (0..dedicated).collect(), memory_mb: 512, ..WantedCell::default() };
            Request { numa: Some(Wanted { cells: vec![cell], cpus: CpuPolicy::Dedicated, ..Wanted::default() }), ..Request::default() }
        };
        let mut host = choice("a", 1);
        assert!(numa_topology(&host, &Request::default()) && !numa_topology(&host, &wants(1)), "it does not say what it has");
        let cell = HostCell { dedicated: CpuSet::from([2, 3]), taken: CpuSet::from([2]), memory_mb: 1024, ..HostCell::default() };
        let inventory = Arc::make_mut(&mut Arc::make_mut(&mut host.host).inventory);
        inventory.numa = Some(HostTopology { cells: vec![cell] });
        assert!(numa_topology(&host, &wants(1)) && !numa_topology(&host, &wants(2)));
    }

    #[test]
    fn what_a_host_cannot_give_is_refused() {
        let spec = |key: &str, value: &str| Request { extra_specs: [(key.to_owned(), value.to_owned())].into(), ..Request::default() };
        let host = choice("a", 1);
        assert!(pci_passthrough(&host, &spec("hw:cpu_cores", "1")) && !pci_passthrough(&host, &spec("pci_passthrough:alias", "gpu:1")));
    }
}
