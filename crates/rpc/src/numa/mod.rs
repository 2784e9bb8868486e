//! The NUMA nodes of hosts and guests: what a guest asks for, what a host has, and what of the host's a guest was given. Scheduler and host
//! decide by the same rule ([`fit`]) whether and how one fits the other; the scheduler so chooses the host, and the host its CPUs.

mod cpus;
mod fit;
mod pack;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use self::cpus::{MOST_CPUS, format_cpus, page_kb, parse_cpus};
pub use self::fit::{Limits, fit};

/// CPUs by their numbers, a host's or a guest's.
pub type CpuSet = BTreeSet<u32>;

/// Whose the CPUs are on which a guest's run: `hw:cpu_policy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CpuPolicy {
    #[default]
    Shared,
    Dedicated,
    /// Some of them are its own.
    Mixed,
}

/// What a guest makes of the threads of a core: `hw:cpu_thread_policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ThreadPolicy {
    /// Those of one core, if there are such.
    Prefer,
    /// No other thread may run on its cores.
    Isolate,
    Require,
}

/// Where the threads run that emulate a guest's devices: `hw:emulator_threads_policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EmulatorPolicy {
    /// On a CPU of the guest's own that none of its processors has.
    Isolate,
    /// On those that all guests share.
    Share,
}

/// Pages of memory as they are asked for: `hw:mem_page_size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PageSize {
    Small,
    Large,
    Any,
    /// Of so many KiB.
    Kb(u64),
}

/// The NUMA nodes that a guest asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    pub cells: Vec<WantedCell>,
    pub cpus: CpuPolicy,
    pub threads: Option<ThreadPolicy>,
    pub emulator: Option<EmulatorPolicy>,
    pub pages: Option<PageSize>,
}

/// One of them: CPUs by the guest's numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantedCell {
    /// Those that share the host's with other guests.
    pub shared: CpuSet,
    /// Those with a host's CPU of their own.
    pub dedicated: CpuSet,
    pub memory_mb: u64,
}

/// What a guest was given for that.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    pub wanted: Wanted,
    /// For each cell of the guest's.
    pub cells: Vec<PlacedCell>,
}

/// What a cell of a guest was given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacedCell {
    /// The host's cell.
    pub host: u32,
    /// The guest's dedicated CPUs, and which of the host's each has.
    pub pins: BTreeMap<u32, u32>,
    /// Of the host's CPUs, those for the threads that emulate devices.
    pub reserved: CpuSet,
    /// Of the memory's pages, where the guest asked for some.
    pub page_kb: Option<u64>,
}

/// A host's cells, and what guests have of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostTopology {
    pub cells: Vec<HostCell>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostCell {
    pub id: u32,
    /// The CPUs that guests share.
    #[serde(with = "cpus::text")]
    pub shared: CpuSet,
    /// The CPUs that one guest may have for itself.
    #[serde(with = "cpus::text")]
    pub dedicated: CpuSet,
    /// The threads of each core.
    pub siblings: Vec<CpuSet>,
    pub memory_mb: u64,
    /// From the smallest on.
    pub pages: Vec<Pages>,
    /// Shared CPUs of guests that are bound to this cell.
    pub shared_used: u32,
    pub memory_used_mb: u64,
    /// Dedicated CPUs that are taken.
    #[serde(with = "cpus::text")]
    pub taken: CpuSet,
}

/// A cell's pages of one size.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pages {
    pub size_kb: u64,
    pub total: u64,
    /// That no guest gets.
    pub reserved: u64,
    pub used: u64,
}

impl WantedCell {
    /// All its CPUs.
    pub fn all_cpus(&self) -> CpuSet {
        self.shared.union(&self.dedicated).copied().collect()
    }
}

impl Wanted {
    /// Whether a CPU more than the guest's own is needed to emulate devices on.
    pub fn isolates_emulator(&self) -> bool {
        self.emulator == Some(EmulatorPolicy::Isolate)
    }

    /// How many of the guest's CPUs are to be its own, less that for the emulator.
    pub fn dedicated(&self) -> usize {
        self.cells.iter().map(|cell| cell.dedicated.len()).sum()
    }
}

impl Placed {
    /// The host's CPUs that are this guest's alone.
    pub fn taken(&self) -> CpuSet {
        self.cells.iter().flat_map(|cell| cell.pins.values().chain(&cell.reserved)).copied().collect()
    }
}

impl HostCell {
    /// The dedicated CPUs that nobody has.
    pub fn free(&self) -> CpuSet {
        self.dedicated.difference(&self.taken).copied().collect()
    }

    pub(crate) fn free_memory_mb(&self) -> u64 {
        self.memory_mb.saturating_sub(self.memory_used_mb)
    }

    pub(crate) fn threads_of_a_core(&self) -> usize {
        self.siblings.iter().map(CpuSet::len).max().unwrap_or(1).max(1)
    }
}

impl HostTopology {
    /// Takes account of what a guest was given here.
    pub fn give(&mut self, placed: &Placed) {
        for (wanted, given) in placed.wanted.cells.iter().zip(&placed.cells) {
            let Some(cell) = self.cells.iter_mut().find(|cell| cell.id == given.host) else { continue };
            cell.memory_used_mb += wanted.memory_mb;
            cell.shared_used += wanted.shared.len() as u32;
            cell.taken.extend(given.pins.values().chain(&given.reserved));
            let smallest = cell.pages.first().map(|pages| pages.size_kb);
            let size = given.page_kb.or(smallest);
            if let Some(pages) = cell.pages.iter_mut().find(|pages| Some(pages.size_kb) == size) {
                pages.used += (wanted.memory_mb * 1024).div_ceil(pages.size_kb.max(1));
            }
        }
    }

    /// Every CPU that guests share.
    pub fn shared(&self) -> CpuSet {
        self.cells.iter().flat_map(|cell| &cell.shared).copied().collect()
    }

    /// Every CPU that one guest may have for itself.
    pub fn dedicated(&self) -> CpuSet {
        self.cells.iter().flat_map(|cell| &cell.dedicated).copied().collect()
    }

    /// Whether cores have more than one thread.
    pub fn has_threads(&self) -> bool {
        self.cells.iter().any(|cell| cell.threads_of_a_core() > 1)
    }
}
