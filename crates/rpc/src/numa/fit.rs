//! Whether a guest's cells fit a host's, and which goes where: each of the guest's on one of the host's of its own.

use super::{CpuPolicy, HostCell, HostTopology, PageSize, Placed, PlacedCell, Wanted, WantedCell, pack::pack};

/// How often what is shared may be given out.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub cpu_ratio: f64,
    pub ram_ratio: f64,
}

/// How a guest is put on this host; `None` when it does not fit. The emptier cells come first.
pub fn fit(host: &HostTopology, wanted: &Wanted, limits: Option<Limits>) -> Option<Placed> {
    let mut cells: Vec<&HostCell> = host.cells.iter().collect();
    if cells.len() > wanted.cells.len() {
        cells.sort_by_key(|cell| std::cmp::Reverse(cell.free_memory_mb()));
        match wanted.cpus {
            CpuPolicy::Shared => cells.sort_by_key(|cell| cell.shared_used),
            CpuPolicy::Dedicated | CpuPolicy::Mixed => cells.sort_by_key(|cell| std::cmp::Reverse(cell.free().len())),
        }
    }
    let on_each = |(index, cell): (usize, &WantedCell)| -> Vec<Option<PlacedCell>> {
        // the threads of devices are where the guest's first cell is
        let reserve = usize::from(index == 0 && wanted.isolates_emulator());
        cells.iter().map(|host| fit_cell(host, cell, wanted, reserve, limits)).collect()
    };
    let possible: Vec<Vec<Option<PlacedCell>>> = wanted.cells.iter().enumerate().map(on_each).collect();
    let mut given: Vec<Option<usize>> = vec![None; cells.len()];
    for guest in 0..possible.len() {
        if !settle(guest, &possible, &mut given, &mut vec![false; cells.len()]) {
            return None;
        }
    }
    let place = |guest: usize| {
        let host = given.iter().position(|taken| *taken == Some(guest))?;
        possible.get(guest)?.get(host)?.clone()
    };
    let cells = (0..possible.len()).map(place).collect::<Option<_>>()?;
    Some(Placed { wanted: wanted.clone(), cells })
}

/// Finds a host's cell for a guest's; who has it already moves to another if that can be.
fn settle(guest: usize, possible: &[Vec<Option<PlacedCell>>], given: &mut [Option<usize>], seen: &mut [bool]) -> bool {
    let Some(row) = possible.get(guest) else { return false };
    let mut hosts: Vec<usize> = row.iter().enumerate().filter(|(_, cell)| cell.is_some()).map(|(host, _)| host).collect();
    hosts.sort_by_key(|host| given.get(*host).is_some_and(Option::is_some));
    for host in hosts {
        let (Some(seen_it), Some(has)) = (seen.get_mut(host), given.get(host).copied()) else { continue };
        if std::mem::replace(seen_it, true) {
            continue;
        }
        if has.is_none_or(|other| settle(other, possible, given, seen)) {
            if let Some(place) = given.get_mut(host) {
                *place = Some(guest);
            }
            return true;
        }
    }
    false
}

fn fit_cell(host: &HostCell, cell: &WantedCell, wanted: &Wanted, reserve: usize, limits: Option<Limits>) -> Option<PlacedCell> {
    let page_kb = memory(host, cell, wanted)?;
    let mut placed = PlacedCell { host: host.id, page_kb, ..PlacedCell::default() };
    if wanted.cpus != CpuPolicy::Dedicated {
        // not even with itself a guest shares a CPU
        if cell.shared.len() > host.shared.len() {
            return None;
        }
        if let Some(limits) = limits {
            let cpus = f64::from(host.shared_used) + cell.shared.len() as f64;
            let memory = (host.memory_used_mb + cell.memory_mb) as f64;
            if cpus > host.shared.len() as f64 * limits.cpu_ratio || memory > host.memory_mb as f64 * limits.ram_ratio {
                return None;
            }
        }
    }
    if wanted.cpus != CpuPolicy::Shared {
        (placed.pins, placed.reserved) = pack(host, &cell.dedicated, wanted.threads, reserve)?;
    }
    Some(placed)
}

/// The pages that a guest gets which asked for some; `None` when there is not enough memory.
fn memory(host: &HostCell, cell: &WantedCell, wanted: &Wanted) -> Option<Option<u64>> {
    let needed = cell.memory_mb * 1024;
    let free = |pages: &super::Pages| pages.total.saturating_sub(pages.used + pages.reserved).saturating_mul(pages.size_kb);
    let from_all = |pages: &&super::Pages| needed <= free(pages) && pages.size_kb > 0 && needed.is_multiple_of(pages.size_kb);
    let (smallest, larger) = match host.pages.split_first() {
        Some((smallest, larger)) => (Some(smallest), larger),
        None => (None, &[][..]),
    };
    let size = |pages: &super::Pages| Some(pages.size_kb);
    match wanted.pages {
        Some(PageSize::Small) => smallest.filter(from_all).map(size),
        Some(PageSize::Large) => larger.iter().rev().find(from_all).map(size),
        Some(PageSize::Any) => host.pages.iter().rev().find(from_all).map(size),
        Some(PageSize::Kb(kb)) => host.pages.iter().filter(|pages| pages.size_kb == kb).find(from_all).map(size),
        None => {
            // memory can be given out more than once, but not that of pinned guests, and not twice to the same guest
            let available = match wanted.cpus {
                CpuPolicy::Shared => smallest.map_or(host.memory_mb * 1024, |pages| pages.total.saturating_mul(pages.size_kb)),
                CpuPolicy::Dedicated | CpuPolicy::Mixed => smallest.map_or(host.free_memory_mb() * 1024, free),
            };
            (needed <= available).then_some(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::{CpuSet, EmulatorPolicy, Pages};
    use super::*;

    /// Two cells of four CPUs and 4 GiB each, half of the CPUs dedicated, with 256 pages of 2 MiB.
    fn host() -> HostTopology {
        let cell = |id: u32| {
            let all: Vec<u32> = (id * 4..id * 4 + 4).collect();
            let pages = |size_kb, total| Pages { size_kb, total, reserved: 0, used: 0 };
            HostCell {
                id,
                shared: all[..2].iter().copied().collect(),
                dedicated: all[2..].iter().copied().collect(),
                siblings: all.iter().map(|cpu| CpuSet::from([*cpu])).collect(),
                memory_mb: 4096,
                pages: vec![pages(4, (4096 - 512) * 256), pages(2048, 256)],
                ..HostCell::default()
            }
        };
        HostTopology { cells: vec![cell(0), cell(1)] }
    }

    fn wanted(cells: &[(u32, u32)], memory_mb: u64) -> Wanted {
        let mut next = 0;
        let mut some = |number: u32| {
            next += number;
            (next - number..next).collect::<CpuSet>()
        };
        let cells: Vec<WantedCell> =
            cells.iter().map(|(shared, dedicated)| WantedCell { shared: some(*shared), dedicated: some(*dedicated), memory_mb }).collect();
        let any = |of: fn(&WantedCell) -> &CpuSet| cells.iter().any(|cell| !of(cell).is_empty());
        let cpus = match (any(|cell| &cell.shared), any(|cell| &cell.dedicated)) {
            (true, true) => CpuPolicy::Mixed,
            (false, true) => CpuPolicy::Dedicated,
            _ => CpuPolicy::Shared,
        };
        Wanted { cells, cpus, ..Wanted::default() }
    }

    #[test]
    fn pinned_guests_share_no_cpu() {
        let mut host = host();
        let mut taken = CpuSet::new();
        for _ in 0..2 {
            let placed = fit(&host, &wanted(&[(0, 2)], 512), None).unwrap();
            assert!(placed.taken().iter().all(|cpu| taken.insert(*cpu)));
            host.give(&placed);
        }
        assert_eq!(taken, CpuSet::from([2, 3, 6, 7]));
        assert_eq!(fit(&host, &wanted(&[(0, 1)], 512), None), None);
        assert!(fit(&host, &wanted(&[(2, 0)], 512), None).is_some(), "others have room");
    }

    #[test]
    fn each_cell_has_one_of_its_own() {
        let placed = fit(&host(), &wanted(&[(0, 2), (0, 2)], 512), None).unwrap();
        assert_eq!(placed.cells.iter().map(|cell| cell.host).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(placed.cells[1].pins, BTreeMap::from([(2, 6), (3, 7)]));
        assert_eq!(fit(&host(), &wanted(&[(0, 1); 3], 512), None), None);
        // the second fits the first of the host's only, so the first makes room
        let mut host = host();
        host.cells[1].taken = CpuSet::from([6]);
        let placed = fit(&host, &wanted(&[(0, 1), (0, 2)], 512), None).unwrap();
        assert_eq!(placed.cells.iter().map(|cell| cell.host).collect::<Vec<_>>(), [1, 0]);
    }

    #[test]
    fn the_emptier_cell_comes_first() {
        let mut host = host();
        host.give(&fit(&host, &wanted(&[(0, 1)], 512), None).unwrap());
        assert_eq!(fit(&host, &wanted(&[(0, 1)], 512), None).unwrap().cells[0].host, 1);
        host.cells[0].shared_used = 2;
        assert_eq!(fit(&host, &wanted(&[(1, 0)], 512), None).unwrap().cells[0].host, 1);
    }

    #[test]
    fn the_emulator_takes_a_cpu_of_the_first_cell() {
        let isolated = |cells| Wanted { emulator: Some(EmulatorPolicy::Isolate), ..wanted(cells, 512) };
        let placed = fit(&host(), &isolated(&[(0, 1), (0, 2)]), None).unwrap();
        assert_eq!((placed.cells[0].reserved.len(), placed.cells[1].reserved.len(), placed.taken().len()), (1, 0, 4));
        assert_eq!(fit(&host(), &isolated(&[(0, 2)]), None), None);
    }

    #[test]
    fn pages_are_there_or_not() {
        let asking = |pages, memory| Wanted { pages: Some(pages), ..wanted(&[(1, 0)], memory) };
        let page = |pages, memory| fit(&host(), &asking(pages, memory), None).map(|placed| placed.cells[0].page_kb);
        assert_eq!(page(PageSize::Large, 512), Some(Some(2048)));
        assert_eq!(page(PageSize::Large, 514), None);
        assert_eq!(page(PageSize::Any, 514), Some(Some(4)));
        assert_eq!(page(PageSize::Small, 512), Some(Some(4)));
        assert_eq!(page(PageSize::Kb(2048), 511), None, "no part of a page");
        assert_eq!(page(PageSize::Kb(1 << 20), 1024), None);
        let mut host = host();
        for cell in [0, 1] {
            let placed = fit(&host, &asking(PageSize::Large, 512), None).unwrap();
            assert_eq!(placed.cells[0].host, cell);
            host.give(&placed);
        }
        assert_eq!(fit(&host, &asking(PageSize::Large, 2), None), None);
    }

    #[test]
    fn what_is_shared_may_be_given_out_several_times() {
        let mut host = host();
        let limits = Some(Limits { cpu_ratio: 2.0, ram_ratio: 1.5 });
        for _ in 0..4 {
            host.give(&fit(&host, &wanted(&[(2, 0)], 1024), limits).unwrap());
        }
        assert_eq!(fit(&host, &wanted(&[(1, 0)], 1), limits), None, "all CPUs were given out twice");
        assert!(fit(&host, &wanted(&[(1, 0)], 1), None).is_some(), "the host itself does not count");
        assert_eq!(fit(&host, &wanted(&[(3, 0)], 1), None), None, "never twice to the same guest");
        assert_eq!(fit(&host, &wanted(&[(0, 1)], 2000), None), None, "pinned guests' memory is their own");
    }
}
