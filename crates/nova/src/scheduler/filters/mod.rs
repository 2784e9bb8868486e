//! Filters: who may? Each is a pure function of a host and a request; what each left is recorded. They bear nova's names.

mod aggregates;
mod json;
mod machine;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use rpc::numa::{Limits, Wanted};
use rpc::scheduler::FilterResult;
use serde_json::Value;

use super::cache::Candidate;
use super::hosts::Host;
use super::settings::FilterScheduler;

/// A host that has room.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    pub host: Arc<Host>,
    pub candidate: Arc<Candidate>,
}

/// What a server asks of its host.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub zone: Option<String>,
    /// `host` or `host:node`
    pub forced_host: Option<String>,
    pub ignore_hosts: Vec<String>,
    /// None of a server that boots from a volume.
    pub image: Option<String>,
    pub image_properties: BTreeMap<String, String>,
    pub extra_specs: BTreeMap<String, String>,
    pub group: Option<Group>,
    pub same_hosts: Option<Vec<String>>,
    pub different_hosts: Vec<String>,
    pub project_id: String,
    /// The flavor's name.
    pub flavor: String,
    /// The hint `query`.
    pub query: Option<Value>,
    /// Only hosts in this network: an address of it, and the bits that they share.
    pub near: Option<(IpAddr, u8)>,
    /// What the operator limits, where aggregates say nothing else.
    pub max_instances_per_host: Option<usize>,
    pub max_io_ops_per_host: Option<usize>,
    pub settings: Arc<FilterScheduler>,
    /// The NUMA nodes that it wants, and how often what they share may be given out.
    pub numa: Option<Wanted>,
    pub numa_limits: Option<Limits>,
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
    ("IsolatedHostsFilter", isolated),
    ("ImagePropertiesFilter", machine::image_properties),
    ("ComputeCapabilitiesFilter", machine::capabilities),
    ("PciPassthroughFilter", machine::pci_passthrough),
    ("NUMATopologyFilter", machine::numa_topology),
    ("AggregateInstanceExtraSpecsFilter", aggregates::extra_specs),
    ("AggregateImagePropertiesIsolation", aggregates::image_properties),
    ("AggregateMultiTenancyIsolation", aggregates::multi_tenancy),
    ("AggregateTypeAffinityFilter", aggregates::type_affinity),
    ("AggregateNumInstancesFilter", aggregates::num_instances),
    ("AggregateIoOpsFilter", aggregates::io_ops),
    ("JsonFilter", json::query),
    ("SimpleCIDRAffinityFilter", near),
    ("SameHostFilter", same_host),
    ("DifferentHostFilter", different_host),
    ("ServerGroupAffinityFilter", affinity),
    ("ServerGroupAntiAffinityFilter", anti_affinity),
];

/// Those that look at images: they are asked again about the host of a server that gets another one.
const OF_IMAGES: &[&str] = &["IsolatedHostsFilter", "ImagePropertiesFilter", "AggregateImagePropertiesIsolation"];

/// Applies all filters; stops when nothing is left.
pub fn apply(choices: Vec<Choice>, request: &Request, results: &mut Vec<FilterResult>) -> Vec<Choice> {
    apply_these(FILTERS.iter(), choices, request, results)
}

/// Applies the filters that look at images.
pub fn apply_of_images(choices: Vec<Choice>, request: &Request, results: &mut Vec<FilterResult>) -> Vec<Choice> {
    apply_these(FILTERS.iter().filter(|(name, _)| OF_IMAGES.contains(name)), choices, request, results)
}

fn apply_these<'f>(
    filters: impl Iterator<Item = &'f (&'static str, Filter)>,
    mut choices: Vec<Choice>,
    request: &Request,
    results: &mut Vec<FilterResult>,
) -> Vec<Choice> {
    for (name, filter) in filters {
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

/// Isolated images go to isolated hosts only, and others do not go there unless the operator lets them.
fn isolated(choice: &Choice, request: &Request) -> bool {
    let settings = &request.settings;
    let host = settings.isolated_hosts.contains(&choice.host.host);
    let image = request.image.as_ref().is_some_and(|image| settings.isolated_images.contains(image));
    if settings.restrict_isolated_hosts_to_isolated_images { image == host } else { host || !image }
}

/// The hints `build_near_host_ip` and `cidr`.
fn near(choice: &Choice, request: &Request) -> bool {
    let Some((near, bits)) = request.near else { return true };
    let number = |address: IpAddr| match address {
        IpAddr::V4(v4) => (u128::from(u32::from(v4)) << 96, true),
        IpAddr::V6(v6) => (u128::from(v6), false),
    };
    let mask = u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0);
    choice.host.inventory.host_ip.parse().is_ok_and(|own| {
        let ((own, own_kind), (near, kind)) = (number(own), number(near));
        own_kind == kind && own & mask == near & mask
    })
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
    use rpc::conductor::HostInventory;
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
            pcpus: 0,
            memory_mb: 8192,
            local_gb: 100,
            cpu_info: Value::Null,
            traits: vec![],
            numa: None,
        };
        let host = Host {
            host: name.into(),
            node: format!("{name}.local"),
            provider: format!("p-{name}"),
            zone: "nova".into(),
            up: true,
            enabled: true,
            inventory: inventory.into(),
            cpu: Arc::new(json!({"arch": "x86_64"})),
            aggregates: Vec::new(),
            busy: 0,
            servers: 0,
            images: HashMap::new(),
            failed_builds: 0,
        };
        let free = [("VCPU", 8), ("MEMORY_MB", free_ram), ("DISK_GB", 100)].map(|(class, n)| (class.to_owned(), n)).into();
        let candidate = Candidate::new(&host.provider, free, BTreeMap::new());
        Choice { candidate: Arc::new(candidate), host: Arc::new(host) }
    }

    fn left(choices: Vec<Choice>, request: &Request) -> (Vec<String>, Option<String>) {
        let mut results = Vec::new();
        let left = apply(choices, request, &mut results);
        let killer = results.iter().find(|r| r.end == 0).map(|r| r.filter.clone());
        (left.into_iter().map(|o| o.host.host.clone()).collect(), killer)
    }

    #[test]
    fn only_living_enabled_hosts() {
        let (mut dead, mut disabled) = (choice("dead", 1), choice("disabled", 1));
        Arc::make_mut(&mut dead.host).up = false;
        Arc::make_mut(&mut disabled.host).enabled = false;
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
    fn isolated_images_have_hosts_of_their_own() {
        let hosts = || vec![choice("apart", 1), choice("b", 1)];
        for (image, restrict, expected) in [
            ("secret", true, &["apart"] as &[&str]),
            ("plain", true, &["b"]),
            ("secret", false, &["apart"]),
            ("plain", false, &["apart", "b"]),
        ] {
            let settings = FilterScheduler {
                isolated_hosts: vec!["apart".into()],
                isolated_images: vec!["secret".into()],
                restrict_isolated_hosts_to_isolated_images: restrict,
                ..FilterScheduler::default()
            };
            let request = Request { image: Some(image.into()), settings: settings.into(), ..Request::default() };
            assert_eq!(left(hosts(), &request).0, expected, "{image} {restrict}");
        }
        assert_eq!(left(hosts(), &Request { image: Some("any".into()), ..Request::default() }).0, ["apart", "b"]);
    }

    #[test]
    fn near_is_in_the_same_network() {
        let near = |ip: &str, bits: u8| Request { near: Some((ip.parse().unwrap(), bits)), ..Request::default() };
        assert_eq!(left(vec![choice("a", 1)], &near("10.0.0.200", 24)).0, ["a"]);
        assert_eq!(left(vec![choice("a", 1)], &near("10.0.1.1", 24)).1.unwrap(), "SimpleCIDRAffinityFilter");
        assert_eq!(left(vec![choice("a", 1)], &near("10.0.1.1", 0)).0, ["a"]);
        assert_eq!(left(vec![choice("a", 1)], &near("fd00::1", 8)).1.unwrap(), "SimpleCIDRAffinityFilter");
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
