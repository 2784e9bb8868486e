//! The NUMA nodes, processors of its own and large pages that a server asks for by its flavor and its image: whether nova would take the request,
//! in nova's words, and what it comes to.

mod cpus;

use std::collections::BTreeMap;

use kit::{Error, Result};
use rpc::compute::Flavor;
use rpc::numa::{CpuPolicy, CpuSet, PageSize, ThreadPolicy, Wanted, WantedCell, page_kb, parse_cpus};
use sdk::placement::Resources;

pub type Words = BTreeMap<String, String>;

/// Nodes that a guest may have.
const MOST_NODES: usize = 128;
/// Says of a host that its cores have several threads.
pub const HYPERTHREADING: &str = "HW_CPU_HYPERTHREADING";

/// What the server's host is to give it; `None` when it asks for nothing of that kind. 400 for what contradicts itself.
pub fn wanted(flavor: &Flavor, image: &Words) -> Result<Option<Wanted>> {
    let cpus = cpus::asked(flavor, image)?;
    let nodes = nodes(flavor, image)?;
    let pages = pages(flavor, image)?;
    if nodes.is_none() && pages.is_none() && cpus.policy == CpuPolicy::Shared {
        return Ok(None);
    }
    let cells = match (cpus_of_nodes(flavor, image)?, memory_of_nodes(flavor, image)?) {
        (None, None) => evenly(nodes.unwrap_or(1), flavor)?,
        (Some(cpus), Some(memory)) if cpus.len() == nodes.unwrap_or(1) && memory.len() == cpus.len() => {
            as_told(flavor, cpus.into_iter().zip(memory).collect())?
        }
        _ => return Err(refused("CPU and memory allocation must be provided for all NUMA nodes")),
    };
    let cell = |(all, memory_mb): (CpuSet, u64)| WantedCell {
        shared: all.difference(&cpus.dedicated).copied().collect(),
        dedicated: all.intersection(&cpus.dedicated).copied().collect(),
        memory_mb,
    };
    Ok(Some(Wanted {
        cells: cells.into_iter().map(cell).collect(),
        cpus: cpus.policy,
        threads: cpus.threads,
        emulator: cpus.emulator,
        pages,
    }))
}

/// The same of a server that was taken already: what contradicts itself now asks for nothing.
pub fn of_server(flavor: &Flavor, image: &Words) -> Option<Wanted> {
    wanted(flavor, image).unwrap_or_default()
}

/// Puts processors of the server's own in the place of those it would share.
pub fn translate(flavor: &Flavor, image: &Words, resources: &mut Resources) {
    // who names the classes is taken at the word
    let Some(wanted) = of_server(flavor, image).filter(|_| cpus::named(flavor) == (0, 0)) else { return };
    if wanted.cpus != CpuPolicy::Shared {
        let dedicated = wanted.dedicated();
        resources.insert("VCPU".to_owned(), i64::from(flavor.vcpus) - dedicated as i64);
        resources.insert("PCPU".to_owned(), (dedicated + usize::from(wanted.isolates_emulator())) as i64);
    }
}

/// What the thread policy requires of a host, or forbids it.
pub fn required_trait(flavor: &Words, image: &Words) -> Option<String> {
    match cpus::threads(flavor, image).ok()?? {
        ThreadPolicy::Isolate => Some(format!("!{HYPERTHREADING}")),
        ThreadPolicy::Require => Some(HYPERTHREADING.to_owned()),
        ThreadPolicy::Prefer => None,
    }
}

fn refused(words: impl Into<String>) -> Error {
    Error::bad_request(words.into())
}

/// What the flavor says, and what the image.
fn both<'a>(flavor: &'a Words, image: &'a Words, key: &str) -> (Option<&'a str>, Option<&'a str>) {
    let text = |words: &'a Words, key: String| words.get(&key).map(String::as_str).filter(|text| !text.is_empty());
    (text(flavor, format!("hw:{key}")), text(image, format!("hw_{key}")))
}

fn overridden(name: &str) -> Error {
    refused(format!("Image property '{name}' is not permitted to override NUMA configuration set against the flavor"))
}

fn nodes(flavor: &Flavor, image: &Words) -> Result<Option<usize>> {
    let nodes = match both(&flavor.extra_specs, image, "numa_nodes") {
        (Some(_), Some(_)) => return Err(overridden("hw_numa_nodes")),
        (of_flavor, of_image) => of_flavor.or(of_image),
    };
    let Some(text) = nodes else { return Ok(None) };
    match text.trim().parse::<usize>() {
        Ok(nodes @ 1..=MOST_NODES) => Ok(Some(nodes)),
        _ => Err(refused(format!("The property 'numa_nodes' cannot be '{text}'. It must be a number greater than 0"))),
    }
}

fn pages(flavor: &Flavor, image: &Words) -> Result<Option<PageSize>> {
    let read = |text: &str| match text {
        "small" => Ok(PageSize::Small),
        "large" => Ok(PageSize::Large),
        "any" => Ok(PageSize::Any),
        other => page_kb(other).map(PageSize::Kb).ok_or_else(|| refused(format!("Invalid memory page size '{other}'"))),
    };
    let forbidden = |image: &str, flavor: &str| refused(format!("Page size {image} forbidden against '{flavor}'"));
    match both(&flavor.extra_specs, image, "mem_page_size") {
        (None, None) => Ok(None),
        (None, Some(image)) => Err(forbidden(image, "<empty>")),
        (Some(flavor), None) => read(flavor).map(Some),
        (Some(flavor), Some(image)) => match read(flavor)? {
            PageSize::Any | PageSize::Large => read(image).map(Some),
            PageSize::Small | PageSize::Kb(_) => Err(forbidden(image, flavor)),
        },
    }
}

/// What is said of each node, from the first on.
fn of_nodes<'a, T>(words: &'a Words, key: &str, read: impl Fn(&'a str) -> Result<T>) -> Result<Option<Vec<T>>> {
    let texts = (0..MOST_NODES).map_while(|node| words.get(&format!("{key}.{node}")));
    let all = texts.map(|text| read(text)).collect::<Result<Vec<T>>>()?;
    Ok(Some(all).filter(|all| !all.is_empty()))
}

fn of_either<T>(flavor: &Words, image: &Words, key: &str, read: impl Fn(&str) -> Result<T>) -> Result<Option<Vec<T>>> {
    match (of_nodes(flavor, &format!("hw:{key}"), &read)?, of_nodes(image, &format!("hw_{key}"), &read)?) {
        (Some(_), Some(_)) => Err(overridden(&format!("hw_{key}"))),
        (flavor, image) => Ok(flavor.or(image)),
    }
}

fn cpus_of_nodes(flavor: &Flavor, image: &Words) -> Result<Option<Vec<CpuSet>>> {
    of_either(&flavor.extra_specs, image, "numa_cpus", |text| parse_cpus(text).map_err(refused))
}

fn memory_of_nodes(flavor: &Flavor, image: &Words) -> Result<Option<Vec<u64>>> {
    let number = |text: &str| text.trim().parse().map_err(|_| refused(format!("'{text}' is not a valid integer value.")));
    of_either(&flavor.extra_specs, image, "numa_mem", number)
}

fn evenly(nodes: usize, flavor: &Flavor) -> Result<Vec<(CpuSet, u64)>> {
    let nodes = nodes as u32;
    if !flavor.vcpus.is_multiple_of(nodes) || !flavor.ram_mb.is_multiple_of(u64::from(nodes)) {
        return Err(refused(
            "Instance CPUs and/or memory cannot be evenly distributed across instance NUMA nodes. Explicit assignment of CPUs and memory to nodes is \
             required",
        ));
    }
    let (cpus, memory) = (flavor.vcpus / nodes, flavor.ram_mb / u64::from(nodes));
    Ok((0..nodes).map(|node| ((node * cpus..(node + 1) * cpus).collect(), memory)).collect())
}

fn as_told(flavor: &Flavor, cells: Vec<(CpuSet, u64)>) -> Result<Vec<(CpuSet, u64)>> {
    let mut left: CpuSet = (0..flavor.vcpus).collect();
    for cpu in cells.iter().flat_map(|(cpus, _)| cpus) {
        if *cpu >= flavor.vcpus {
            return Err(refused(format!("CPU number {cpu} is larger than max {}", flavor.vcpus.saturating_sub(1))));
        }
        if !left.remove(cpu) {
            return Err(refused(format!("CPU number {cpu} is assigned to two nodes")));
        }
    }
    if !left.is_empty() {
        let left: Vec<String> = left.iter().map(u32::to_string).collect();
        return Err(refused(format!("CPU number {{{}}} is not assigned to any node", left.join(", "))));
    }
    let memory = cells.iter().fold(0, |sum: u64, (_, memory)| sum.saturating_add(*memory));
    if memory != flavor.ram_mb {
        return Err(refused(format!("{memory} MB of memory assigned, but expected {} MB", flavor.ram_mb)));
    }
    Ok(cells)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers::tests::a_flavor;

    fn flavor(specs: &[(&str, &str)]) -> Flavor {
        let extra_specs = specs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Flavor { vcpus: 4, extra_specs, ..a_flavor(1024, 1) }
    }

    fn of(specs: &[(&str, &str)], image: &[(&str, &str)]) -> std::result::Result<Option<Wanted>, String> {
        let image = image.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        wanted(&flavor(specs), &image).map_err(|error| error.message)
    }

    #[test]
    fn who_asks_for_nothing_gets_nothing() {
        assert_eq!(of(&[("hw:cpu_policy", "shared")], &[("hw_cpu_policy", "shared")]), Ok(None));
        assert_eq!(of(&[("hw:emulator_threads_policy", "share")], &[]), Ok(None));
        assert_eq!(of(&[("resources:VCPU", "2")], &[]), Ok(None));
    }

    #[test]
    fn nodes_are_shared_out_evenly_or_as_told() {
        let even = of(&[("hw:numa_nodes", "2")], &[]).unwrap().unwrap();
        assert_eq!(even.cells.iter().map(|cell| (cell.shared.len(), cell.memory_mb)).collect::<Vec<_>>(), [(2, 512), (2, 512)]);
        let told = [
            ("hw:numa_nodes", "2"),
            ("hw:numa_cpus.0", "0,^1,2-3"),
            ("hw:numa_cpus.1", "1"),
            ("hw:numa_mem.0", "1000"),
            ("hw:numa_mem.1", "24"),
        ];
        let told = of(&told, &[]).unwrap().unwrap();
        assert_eq!((told.cells[0].shared.clone(), told.cells[1].memory_mb), (CpuSet::from([0, 2, 3]), 24));
        let image = [("hw_numa_nodes", "1"), ("hw_numa_cpus.0", "0-3"), ("hw_numa_mem.0", "1024")];
        assert_eq!(of(&[], &image).unwrap().unwrap().cells.len(), 1);
    }

    #[test]
    fn pages_are_the_flavors_to_ask_for() {
        let pages = |specs: &[(&str, &str)], image: &[(&str, &str)]| of(specs, image).map(|wanted| wanted.and_then(|wanted| wanted.pages));
        assert_eq!(pages(&[("hw:mem_page_size", "large")], &[]), Ok(Some(PageSize::Large)));
        assert_eq!(pages(&[("hw:mem_page_size", "any")], &[("hw_mem_page_size", "2MB")]), Ok(Some(PageSize::Kb(2048))));
        assert_eq!(pages(&[("hw:mem_page_size", "1048576")], &[]), Ok(Some(PageSize::Kb(1 << 20))));
    }

    #[test]
    fn what_contradicts_itself_is_refused_in_novas_words() {
        for (specs, image, words) in [
            (&[("hw:numa_nodes", "0")][..], &[][..], "The property 'numa_nodes' cannot be '0'. It must be a number greater than 0"),
            (
                &[("hw:numa_nodes", "2")],
                &[("hw_numa_nodes", "2")],
                "Image property 'hw_numa_nodes' is not permitted to override NUMA configuration set against the flavor",
            ),
            (&[("hw:numa_nodes", "3")], &[], "Instance CPUs and/or memory cannot be evenly distributed across instance NUMA nodes"),
            (&[("hw:numa_nodes", "1"), ("hw:numa_cpus.0", "0-3")], &[], "CPU and memory allocation must be provided for all NUMA nodes"),
            (&[("hw:numa_nodes", "1"), ("hw:numa_cpus.0", "0-4"), ("hw:numa_mem.0", "1024")], &[], "CPU number 4 is larger than max 3"),
            (
                &[("hw:numa_nodes", "1"), ("hw:numa_cpus.0", "0-1"), ("hw:numa_mem.0", "1024")],
                &[],
                "CPU number {2, 3} is not assigned to any node",
            ),
            (
                &[("hw:numa_nodes", "1"), ("hw:numa_cpus.0", "0-3"), ("hw:numa_mem.0", "1000")],
                &[],
                "1000 MB of memory assigned, but expected 1024 MB",
            ),
            (
                &[
                    ("hw:numa_nodes", "2"),
                    ("hw:numa_cpus.0", "0-2"),
                    ("hw:numa_cpus.1", "2-3"),
                    ("hw:numa_mem.0", "512"),
                    ("hw:numa_mem.1", "512"),
                ],
                &[],
                "CPU number 2 is assigned to two nodes",
            ),
            (&[], &[("hw_mem_page_size", "large")], "Page size large forbidden against '<empty>'"),
            (&[("hw:mem_page_size", "small")], &[("hw_mem_page_size", "large")], "Page size large forbidden against 'small'"),
            (&[("hw:mem_page_size", "huge")], &[], "Invalid memory page size 'huge'"),
        ] {
            assert!(of(specs, image).unwrap_err().starts_with(words), "{specs:?} {image:?}: {:?}", of(specs, image));
        }
    }

    #[test]
    fn processors_of_ones_own_are_claimed_as_such() {
        let claimed = |specs: &[(&str, &str)]| {
            let mut resources = Resources::from([("VCPU".to_owned(), 4)]);
            translate(&flavor(specs), &Words::new(), &mut resources);
            (resources["VCPU"], resources.get("PCPU").copied())
        };
        assert_eq!(claimed(&[("hw:numa_nodes", "2")]), (4, None));
        assert_eq!(claimed(&[("hw:cpu_policy", "dedicated")]), (0, Some(4)));
        assert_eq!(claimed(&[("hw:cpu_policy", "dedicated"), ("hw:emulator_threads_policy", "isolate")]), (0, Some(5)));
        assert_eq!(claimed(&[("hw:cpu_policy", "mixed"), ("hw:cpu_dedicated_mask", "^0")]), (1, Some(3)));
        assert_eq!(claimed(&[("resources:PCPU", "4")]), (4, None), "that is granular's");
    }
}
