//! Which of a host's dedicated CPUs a guest's get: the threads of as few cores as can be, or no two of one core, as its thread policy says.

use std::collections::BTreeMap;

use super::{CpuSet, HostCell, ThreadPolicy};

/// The guest's CPUs with the host's that each gets, and those kept for the threads that emulate devices. `None` when there are not enough.
pub fn pack(cell: &HostCell, guest: &CpuSet, policy: Option<ThreadPolicy>, reserve: usize) -> Option<(BTreeMap<u32, u32>, CpuSet)> {
    let free = cell.free();
    let known = cell.siblings.iter().flatten().copied().collect();
    let lone = free.difference(&known).map(|cpu| vec![*cpu]);
    let threads = |core: &CpuSet| core.intersection(&free).copied().collect::<Vec<u32>>();
    let mut cores: Vec<Vec<u32>> = cell.siblings.iter().map(threads).chain(lone).collect();
    cores.retain(|core| !core.is_empty());
    let most = cell.threads_of_a_core();
    match policy {
        // a core with threads cannot be had whole: the trait HW_CPU_HYPERTHREADING keeps such guests from such hosts
        Some(ThreadPolicy::Isolate) if most > 1 => None,
        Some(ThreadPolicy::Require) => (2..=most).rev().find_map(|threads| take(&cores, threads, guest, reserve)),
        _ => {
            let together = (1..=most).rev().find_map(|threads| take(&cores, threads, guest, reserve));
            let each: Vec<Vec<u32>> = cores.iter().flatten().map(|cpu| vec![*cpu]).collect();
            together.or_else(|| take(&each, 1, guest, reserve))
        }
    }
}

/// So many threads of each core that has them.
fn take(cores: &[Vec<u32>], threads: usize, guest: &CpuSet, reserve: usize) -> Option<(BTreeMap<u32, u32>, CpuSet)> {
    let usable = cores.iter().filter(|core| core.len() >= threads).flat_map(|core| core.iter().take(threads));
    let pins: BTreeMap<u32, u32> = guest.iter().copied().zip(usable.copied()).collect();
    if pins.len() < guest.len() {
        return None;
    }
    let taken: CpuSet = pins.values().copied().collect();
    let reserved: CpuSet = cores.iter().flatten().filter(|cpu| !taken.contains(*cpu)).take(reserve).copied().collect();
    (reserved.len() == reserve).then_some((pins, reserved))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two cores with two threads each: 0 and 4, 1 and 5; and two more cores.
    fn cell(taken: &[u32]) -> HostCell {
        let siblings = [[0, 4], [1, 5], [2, 6], [3, 7]].map(CpuSet::from).to_vec();
        HostCell { dedicated: (0..8).collect(), siblings, taken: taken.iter().copied().collect(), ..HostCell::default() }
    }

    fn hosts(cell: &HostCell, guests: u32, policy: Option<ThreadPolicy>, reserve: usize) -> Option<(Vec<u32>, Vec<u32>)> {
        let (pins, reserved) = pack(cell, &(0..guests).collect(), policy, reserve)?;
        Some((pins.into_values().collect(), reserved.into_iter().collect()))
    }

    #[test]
    fn threads_of_one_core_go_together() {
        assert_eq!(hosts(&cell(&[]), 4, None, 0), Some((vec![0, 4, 1, 5], vec![])));
        assert_eq!(hosts(&cell(&[4]), 2, Some(ThreadPolicy::Prefer), 0), Some((vec![1, 5], vec![])));
        assert_eq!(hosts(&cell(&[4, 5, 6]), 3, Some(ThreadPolicy::Prefer), 0), Some((vec![0, 1, 2], vec![])), "one thread of each");
        assert_eq!(hosts(&cell(&[4, 5, 6]), 5, None, 0), Some((vec![0, 1, 2, 3, 7], vec![])), "whatever there is");
        assert_eq!(hosts(&cell(&[0, 4]), 7, None, 0), None);
        assert_eq!(hosts(&cell(&[]), 2, None, 1), Some((vec![0, 4], vec![1])));
        assert_eq!(hosts(&cell(&[]), 8, None, 1), None);
    }

    #[test]
    fn policies_are_kept() {
        assert_eq!(hosts(&cell(&[4, 5, 6, 7]), 2, Some(ThreadPolicy::Require), 0), None);
        assert_eq!(hosts(&cell(&[]), 2, Some(ThreadPolicy::Isolate), 0), None, "the other thread may be anybody's");
        let plain = HostCell { siblings: (0..8).map(|cpu| CpuSet::from([cpu])).collect(), ..cell(&[1]) };
        assert_eq!(hosts(&plain, 2, Some(ThreadPolicy::Isolate), 1), Some((vec![0, 2], vec![3])));
        assert_eq!(hosts(&plain, 2, Some(ThreadPolicy::Require), 0), None);
        let unknown = HostCell { siblings: Vec::new(), ..cell(&[]) };
        assert_eq!(hosts(&unknown, 2, None, 0), Some((vec![0, 1], vec![])));
    }
}
