//! Filters: who may? Each is a pure function of a host and a request; what each left is recorded.

use std::collections::{BTreeMap, HashMap};

use rpc::conductor::HostInventory;
use rpc::scheduler::FilterResult;

use super::cache::Candidate;

/// A host as nova knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Host {
    pub host: String,
    pub node: String,
    /// Its resource provider.
    pub provider: String,
    pub zone: String,
    pub up: bool,
    pub enabled: bool,
    pub inventory: HostInventory,
}

/// A host that has room.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    pub host: Host,
    pub candidate: Candidate,
}

/// What a server asks of its host.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub zone: Option<String>,
    /// `host` or `host:node`
    pub forced_host: Option<String>,
    pub ignore_hosts: Vec<String>,
    pub image_properties: BTreeMap<String, String>,
    pub extra_specs: BTreeMap<String, String>,
    pub group: Option<Group>,
    pub same_hosts: Option<Vec<String>>,
    pub different_hosts: Vec<String>,
}

/// A server group: its policy, and how many of its members are on which host.
#[derive(Clone, Debug, Default)]
pub struct Group {
    pub policy: String,
    pub max_per_host: usize,
    pub members: HashMap<String, usize>,
}

type Filter = fn(&Choice, &Request) -> bool;

const FILTERS: &[(&str, Filter)] = &[
    ("ComputeFilter", compute),
    ("RetryFilter", not_ignored),
    ("ForcedHostFilter", forced_host),
    ("AvailabilityZoneFilter", availability_zone),
    ("ImagePropertiesFilter", image_properties),
    ("ComputeCapabilitiesFilter", capabilities),
    ("SameHostFilter", same_host),
    ("DifferentHostFilter", different_host),
    ("ServerGroupAffinityFilter", affinity),
    ("ServerGroupAntiAffinityFilter", anti_affinity),
];

/// Applies all filters; stops when nothing is left.
pub fn apply(mut choices: Vec<Choice>, request: &Request, results: &mut Vec<FilterResult>) -> Vec<Choice> {
    for (name, filter) in FILTERS {
        if choices.is_empty() {
            break;
        }
        let start = choices.len();
        choices.retain(|choice| filter(choice, request));
        results.push(FilterResult { filter: (*name).to_owned(), start, end: choices.len() });
    }
    choices
}

fn compute(choice: &Choice, _: &Request) -> bool {
    choice.host.up && choice.host.enabled
}

fn not_ignored(choice: &Choice, request: &Request) -> bool {
    !request.ignore_hosts.contains(&choice.host.host)
}

fn forced_host(choice: &Choice, request: &Request) -> bool {
    let Some(forced) = &request.forced_host else { return true };
    let (host, node) = forced.split_once(':').unwrap_or((forced, ""));
    let right = host == choice.host.host || host == choice.host.node;
    right && (node.is_empty() || node == choice.host.node)
}

fn availability_zone(choice: &Choice, request: &Request) -> bool {
    request.zone.as_ref().is_none_or(|zone| *zone == choice.host.zone)
}

/// An image may ask for an architecture, a hypervisor and a kind of guest.
fn image_properties(choice: &Choice, request: &Request) -> bool {
    let asked = |names: [&str; 2]| names.iter().find_map(|name| request.image_properties.get(*name));
    let inventory = &choice.host.inventory;
    let arch = inventory.cpu_info.get("arch").and_then(serde_json::Value::as_str).unwrap_or("x86_64");
    let arch_fits = asked(["hw_architecture", "architecture"]).is_none_or(|wanted| same_arch(wanted, arch));
    let simulated = inventory.hypervisor_type.eq_ignore_ascii_case("fake");
    let hypervisor_fits = asked(["img_hv_type", "hypervisor_type"]).is_none_or(|wanted| {
        let wanted = wanted.to_ascii_lowercase();
        simulated || matches!(wanted.as_str(), "qemu" | "kvm")
    });
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
fn capabilities(choice: &Choice, request: &Request) -> bool {
    let inventory = &choice.host.inventory;
    request.extra_specs.iter().filter_map(|(key, value)| Some((key.strip_prefix("capabilities:")?, value))).all(|(key, wanted)| {
        let have = match key {
            "hypervisor_type" => Some(inventory.hypervisor_type.clone()),
            "hypervisor_version" => Some(inventory.hypervisor_version.to_string()),
            "hypervisor_hostname" => Some(inventory.hypervisor_hostname.clone()),
            _ => key.strip_prefix("cpu_info:").and_then(|key| inventory.cpu_info.get(key)).map(|value| match value {
                serde_json::Value::String(text) => text.clone(),
                other => other.to_string(),
            }),
        };
        have.is_some_and(|have| matches_spec(&have, wanted))
    })
}

/// The comparisons of extra specs: `>= 5`, `s== x`, `<in> x`, `<or> a <or> b`, or plain equality.
fn matches_spec(have: &str, wanted: &str) -> bool {
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

fn same_host(choice: &Choice, request: &Request) -> bool {
    request.same_hosts.as_ref().is_none_or(|hosts| hosts.contains(&choice.host.host))
}

fn different_host(choice: &Choice, request: &Request) -> bool {
    !request.different_hosts.contains(&choice.host.host)
}

fn affinity(choice: &Choice, request: &Request) -> bool {
    match &request.group {
        Some(group) if group.policy == "affinity" => group.members.is_empty() || group.members.contains_key(&choice.host.host),
        _ => true,
    }
}

fn anti_affinity(choice: &Choice, request: &Request) -> bool {
    match &request.group {
        Some(group) if group.policy == "anti-affinity" => {
            group.members.get(&choice.host.host).copied().unwrap_or(0) < group.max_per_host.max(1)
        }
        _ => true,
    }
}

#[cfg(test)]
pub mod tests {
    use serde_json::json;

    use super::*;

    /// A host with some memory left.
    pub fn choice(name: &str, free_ram: i64) -> Choice {
        let inventory = HostInventory {
            hypervisor_hostname: format!("{name}.local"),
            hypervisor_type: "QEMU".into(),
            hypervisor_version: 7_002_022,
            host_ip: "10.0.0.1".into(),
            vcpus: 8,
            memory_mb: 8192,
            local_gb: 100,
            cpu_info: json!({"arch": "x86_64"}),
            traits: vec![],
        };
        let host = Host {
            host: name.into(),
            node: format!("{name}.local"),
            provider: format!("p-{name}"),
            zone: "nova".into(),
            up: true,
            enabled: true,
            inventory,
        };
        let free = [("VCPU", 8), ("MEMORY_MB", free_ram), ("DISK_GB", 100)].map(|(class, n)| (class.to_owned(), n)).into();
        Choice { candidate: Candidate { provider: host.provider.clone(), free, traits: vec![] }, host }
    }

    fn left(choices: Vec<Choice>, request: &Request) -> (Vec<String>, Option<String>) {
        let mut results = Vec::new();
        let left = apply(choices, request, &mut results);
        let killer = results.iter().find(|r| r.end == 0).map(|r| r.filter.clone());
        (left.into_iter().map(|o| o.host.host).collect(), killer)
    }

    #[test]
    fn only_living_enabled_hosts() {
        let (mut dead, mut disabled) = (choice("dead", 1), choice("disabled", 1));
        (dead.host.up, disabled.host.enabled) = (false, false);
        assert_eq!(left(vec![dead.clone(), disabled, choice("a", 1)], &Request::default()).0, ["a"]);
        assert_eq!(left(vec![dead], &Request::default()).1.unwrap(), "ComputeFilter");
    }

    #[test]
    fn zones_hosts_and_retries() {
        let hosts = || vec![choice("a", 1), choice("b", 1)];
        let forced = |text: &str| Request { forced_host: Some(text.into()), ..Request::default() };
        assert_eq!(left(hosts(), &forced("b")).0, ["b"]);
        assert_eq!(left(hosts(), &forced("b:b.local")).0, ["b"]);
        assert_eq!(left(hosts(), &forced("b:x")).1.unwrap(), "ForcedHostFilter");
        assert_eq!(left(hosts(), &Request { zone: Some("moon".into()), ..Request::default() }).1.unwrap(), "AvailabilityZoneFilter");
        assert_eq!(left(hosts(), &Request { ignore_hosts: vec!["a".into()], ..Request::default() }).0, ["b"]);
    }

    #[test]
    fn images_and_flavors_ask_for_machines() {
        let image = |key: &str, value: &str| Request { image_properties: [(key.into(), value.into())].into(), ..Request::default() };
        assert_eq!(left(vec![choice("a", 1)], &image("hw_architecture", "aarch64")).1.unwrap(), "ImagePropertiesFilter");
        assert_eq!(left(vec![choice("a", 1)], &image("hw_architecture", "amd64")).0, ["a"]);
        let spec =
            |value: &str| Request { extra_specs: [("capabilities:hypervisor_version".into(), value.into())].into(), ..Request::default() };
        assert_eq!(left(vec![choice("a", 1)], &spec(">= 7000000")).0, ["a"]);
        assert_eq!(left(vec![choice("a", 1)], &spec("<= 7000000")).1.unwrap(), "ComputeCapabilitiesFilter");
    }

    #[test]
    fn groups_keep_together_or_apart() {
        let group = |policy: &str, on: &[(&str, usize)]| Request {
            group: Some(Group {
                policy: policy.into(),
                max_per_host: 1,
                members: on.iter().map(|(host, n)| ((*host).to_owned(), *n)).collect(),
            }),
            ..Request::default()
        };
        let hosts = || vec![choice("a", 1), choice("b", 1)];
        assert_eq!(left(hosts(), &group("affinity", &[("b", 1)])).0, ["b"]);
        assert_eq!(left(hosts(), &group("affinity", &[])).0, ["a", "b"]);
        assert_eq!(left(hosts(), &group("anti-affinity", &[("b", 1)])).0, ["a"]);
        let both = group("anti-affinity", &[("a", 1), ("b", 1)]);
        assert_eq!(left(hosts(), &both).1.unwrap(), "ServerGroupAntiAffinityFilter");
    }
}
