//! A host's NUMA nodes: what the kernel says of this machine, or what a simulated host pretends to have, shared out as the operator wants it.

use std::fs;
use std::path::Path;

use kit::{Error, Result};
use rpc::numa::{CpuSet, HostCell, HostTopology, Pages, parse_cpus};

/// What the operator says of a host's processors and pages, under nova's names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The CPUs that guests may have for themselves, `cpu_dedicated_set`.
    pub dedicated: Option<CpuSet>,
    /// Those that guests share, `cpu_shared_set`; all where neither is set.
    pub shared: Option<CpuSet>,
    pub reserved_huge_pages: Vec<ReservedPages>,
    pub sim: SimCells,
}

/// Pages that no guest gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReservedPages {
    pub node: u32,
    pub size_kb: u64,
    pub count: u64,
}

/// What each simulated host pretends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SimCells {
    pub cells: u32,
    /// Of each core.
    pub threads: u32,
    /// Pages of 2 MiB in each cell.
    pub huge_pages: u64,
}

impl Default for SimCells {
    fn default() -> SimCells {
        SimCells { cells: 1, threads: 1, huge_pages: 0 }
    }
}

/// This machine's, in all of which guests may be.
pub fn of_machine(sys: &Path) -> Result<HostTopology> {
    let mut cells = Vec::new();
    for entry in fs::read_dir(sys.join("node")).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(id) = name.to_str().and_then(|name| name.strip_prefix("node")?.parse().ok()) else { continue };
        let dir = entry.path();
        let shared = cpus(&dir.join("cpulist"))?;
        let memory_kb = meminfo(&fs::read_to_string(dir.join("meminfo"))?);
        cells.push(cell(id, shared, memory_kb, huge_pages(&dir.join("hugepages"))?, sys)?);
    }
    if cells.is_empty() {
        // a kernel that knows no nodes has one
        let memory_kb = meminfo(&fs::read_to_string("/proc/meminfo")?);
        cells.push(cell(0, cpus(&sys.join("cpu/online"))?, memory_kb, Vec::new(), sys)?);
    }
    cells.sort_by_key(|cell| cell.id);
    Ok(HostTopology { cells })
}

fn cell(id: u32, shared: CpuSet, memory_kb: u64, huge: Vec<Pages>, sys: &Path) -> Result<HostCell> {
    let mut siblings: Vec<CpuSet> = Vec::new();
    for cpu in &shared {
        // what is not told has a core to itself
        let threads = cpus(&sys.join(format!("cpu/cpu{cpu}/topology/thread_siblings_list"))).unwrap_or_else(|_| CpuSet::from([*cpu]));
        if threads.len() > 1 && !siblings.contains(&threads) {
            siblings.push(threads);
        }
    }
    Ok(HostCell { id, shared, siblings, memory_mb: memory_kb / 1024, pages: with_small(memory_kb, huge), ..HostCell::default() })
}

/// The pages of a cell with the smallest, which are in what the others leave.
fn with_small(memory_kb: u64, mut huge: Vec<Pages>) -> Vec<Pages> {
    huge.sort_by_key(|pages| pages.size_kb);
    let taken: u64 = huge.iter().map(|pages| pages.size_kb * pages.total).sum();
    let small = Pages { size_kb: 4, total: memory_kb.saturating_sub(taken) / 4, ..Pages::default() };
    std::iter::once(small).chain(huge).collect()
}

fn cpus(file: &Path) -> Result<CpuSet> {
    parse_cpus(fs::read_to_string(file)?.trim()).map_err(Error::unavailable)
}

/// Of `MemTotal: N kB` or `Node 0 MemTotal: N kB`.
fn meminfo(text: &str) -> u64 {
    let total = text.lines().find_map(|line| line.split_once("MemTotal:"));
    total.and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// `hugepages-2048kB/nr_hugepages` and its like.
fn huge_pages(dir: &Path) -> Result<Vec<Pages>> {
    let mut pages = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let size = name.to_str().and_then(|name| name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok());
        let Some(size_kb) = size else { continue };
        let total = fs::read_to_string(entry.path().join("nr_hugepages"))?.trim().parse().unwrap_or_default();
        pages.push(Pages { size_kb, total, ..Pages::default() });
    }
    Ok(pages)
}

/// What a simulated host pretends to have.
pub fn pretended(vcpus: u32, memory_mb: u64, sim: SimCells) -> HostTopology {
    let cells = sim.cells.clamp(1, vcpus.max(1));
    let of_cell = |id: u32| {
        let shared: CpuSet = (id * vcpus / cells..(id + 1) * vcpus / cells).collect();
        let all: Vec<u32> = shared.iter().copied().collect();
        let threads = sim.threads.max(1) as usize;
        let cores = all.chunks(threads).filter(|core| core.len() > 1).map(|core| core.iter().copied().collect());
        let (siblings, memory_mb) = (cores.collect(), memory_mb / u64::from(cells));
        let huge = (sim.huge_pages > 0).then_some(Pages { size_kb: 2048, total: sim.huge_pages, ..Pages::default() });
        let pages = with_small(memory_mb * 1024, huge.into_iter().collect());
        HostCell { id, shared, siblings, memory_mb, pages, ..HostCell::default() }
    };
    HostTopology { cells: (0..cells).map(of_cell).collect() }
}

/// Shares its CPUs and pages out as the operator wants it. What is named and not there is an error, for it would be given to guests.
pub fn divide(mut host: HostTopology, settings: &Settings) -> Result<HostTopology> {
    let all = host.shared();
    for (set, name) in [(&settings.dedicated, "cpu_dedicated_set"), (&settings.shared, "cpu_shared_set")] {
        let missing = set.iter().flatten().find(|cpu| !all.contains(*cpu));
        if let Some(cpu) = missing {
            return Err(Error::unavailable(format!("{name} names the CPU {cpu}, which this host has not.")));
        }
    }
    let dedicated = settings.dedicated.clone().unwrap_or_default();
    let shared = match (&settings.shared, &settings.dedicated) {
        (Some(shared), _) => shared.clone(),
        (None, Some(_)) => CpuSet::new(),
        (None, None) => all,
    };
    for cell in &mut host.cells {
        cell.dedicated = cell.shared.intersection(&dedicated).copied().collect();
        cell.shared = cell.shared.intersection(&shared).copied().collect();
        for reserved in settings.reserved_huge_pages.iter().filter(|reserved| reserved.node == cell.id) {
            if let Some(pages) = cell.pages.iter_mut().find(|pages| pages.size_kb == reserved.size_kb) {
                pages.reserved = reserved.count;
            }
        }
    }
    Ok(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(dir: &Path, file: &str, text: &str) {
        let path = dir.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn the_kernel_says_what_there_is() {
        let sys = tempfile::tempdir().unwrap();
        for node in 0..2 {
            put(sys.path(), &format!("node/node{node}/cpulist"), &format!("{},{}\n", node, node + 2));
            put(
                sys.path(),
                &format!("node/node{node}/meminfo"),
                &format!("Node {node} MemTotal:       2097152 kB\nNode {node} MemFree: 1 kB\n"),
            );
            put(sys.path(), &format!("node/node{node}/hugepages/hugepages-1048576kB/nr_hugepages"), "0\n");
            put(sys.path(), &format!("node/node{node}/hugepages/hugepages-2048kB/nr_hugepages"), "512\n");
            for cpu in [node, node + 2] {
                put(sys.path(), &format!("cpu/cpu{cpu}/topology/thread_siblings_list"), &format!("{},{}\n", node, node + 2));
            }
        }
        put(sys.path(), "node/online", "0-1\n");
        let host = of_machine(sys.path()).unwrap();
        assert_eq!(host.cells.iter().map(|cell| cell.id).collect::<Vec<_>>(), [0, 1]);
        let cell = &host.cells[1];
        assert_eq!((&cell.shared, cell.memory_mb, &cell.siblings), (&CpuSet::from([1, 3]), 2048, &vec![CpuSet::from([1, 3])]));
        assert_eq!(
            cell.pages.iter().map(|pages| (pages.size_kb, pages.total)).collect::<Vec<_>>(),
            [(4, 262_144), (2048, 512), (1 << 20, 0)]
        );
    }

    #[test]
    fn this_machine_has_a_node() {
        let host = of_machine(Path::new("/sys/devices/system")).unwrap();
        assert!(!host.shared().is_empty() && host.cells.iter().any(|cell| cell.memory_mb > 0), "{host:?}");
    }

    #[test]
    fn processors_are_shared_or_not_as_the_operator_says() {
        let host = || pretended(8, 8192, SimCells { cells: 2, threads: 2, huge_pages: 64 });
        assert_eq!(host().cells[1].siblings, [CpuSet::from([4, 5]), CpuSet::from([6, 7])]);
        let set = |cpus: &[u32]| Some(cpus.iter().copied().collect::<CpuSet>());
        let nothing = divide(host(), &Settings::default()).unwrap();
        assert_eq!((nothing.shared().len(), nothing.dedicated().len()), (8, 0));
        let reserved_huge_pages = vec![ReservedPages { node: 1, size_kb: 2048, count: 60 }];
        let own = divide(host(), &Settings { dedicated: set(&[2, 3, 6]), reserved_huge_pages, ..Settings::default() }).unwrap();
        assert_eq!((own.shared().len(), own.cells[0].dedicated.len(), own.cells[1].dedicated.len()), (0, 2, 1));
        assert_eq!((own.cells[0].pages[1].reserved, own.cells[1].pages[1].reserved), (0, 60));
        let both = divide(host(), &Settings { dedicated: set(&[7]), shared: set(&[0]), ..Settings::default() }).unwrap();
        assert_eq!((both.shared(), both.dedicated()), (CpuSet::from([0]), CpuSet::from([7])));
        let wrong = divide(host(), &Settings { dedicated: set(&[8]), ..Settings::default() }).unwrap_err();
        assert_eq!(wrong.message, "cpu_dedicated_set names the CPU 8, which this host has not.");
    }
}
