//! Which of the host's NUMA nodes, CPUs and pages each guest has: given when a guest is made, kept while it is off, written down before it is used.
//!
//! What a guest had before a resize is kept beside what it has, until somebody confirms or goes back, as its disks are.

pub mod machine;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kit::{Error, Result};
use rpc::compute::Instance;
use rpc::numa::{CpuSet, EmulatorPolicy, HostTopology, Placed, Wanted, fit};

use crate::config::Config;
use crate::hypervisor::{GuestCell, Placement};

/// What stands behind an instance's id when it is what it had before.
const ASIDE: &str = "_resize";

/// In the directory of all instances.
const FILE: &str = "_numa.json";

/// What guests have of a host.
pub struct Numa {
    host: HostTopology,
    /// Whether the operator said which CPUs guests share: then no guest runs on others.
    bounded: bool,
    /// Where it is written down; simulated guests are remembered by conductor alone.
    file: Option<PathBuf>,
    given: Mutex<Given>,
    /// Held by the one that changes it.
    turn: tokio::sync::Mutex<()>,
}

/// By instance.
type Given = BTreeMap<String, Placed>;

impl Numa {
    pub fn new(host: HostTopology, bounded: bool, file: Option<PathBuf>) -> Numa {
        Numa { host, bounded, file, given: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// Those of this machine, or of a simulated host.
    pub fn open(config: &Config, is_machine: bool) -> Result<Numa> {
        let (settings, vcpus) = (&config.numa, config.sim_vcpus);
        let host = match is_machine {
            true => machine::of_machine(Path::new("/sys/devices/system")).unwrap_or_else(|error| {
                tracing::warn!(%error, "this machine does not say what NUMA nodes it has, so no guest gets any");
                HostTopology::default()
            }),
            false => machine::pretended(vcpus, config.sim_memory_mb(), settings.sim),
        };
        let bounded = settings.shared.is_some() || settings.dedicated.is_some();
        let file = is_machine.then(|| config.instances_dir().join(FILE));
        Ok(Numa::new(machine::divide(host, settings)?, bounded, file))
    }

    /// How many CPUs guests may share, where the operator said which.
    pub fn shared_cpus(&self) -> Option<u32> {
        self.bounded.then(|| self.host.shared().len() as u32)
    }

    fn given(&self) -> MutexGuard<'_, Given> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The host with what its guests have.
    pub fn used(&self) -> HostTopology {
        self.used_by(&self.given())
    }

    fn used_by(&self, given: &Given) -> HostTopology {
        let mut host = self.host.clone();
        given.values().for_each(|placed| host.give(placed));
        host
    }

    /// Goes on with what an earlier process gave. Of those that are neither known nor set aside nothing is kept.
    pub async fn restore(&self, known: &HashMap<String, Instance>, others: &HashSet<String>) -> Result<()> {
        let _turn = self.turn.lock().await;
        let mut given = match &self.file {
            Some(file) => read(file).await?,
            None => known.iter().filter_map(|(id, instance)| Some((id.clone(), instance.numa.clone()?))).collect(),
        };
        given.retain(|id, _| known.contains_key(id.trim_end_matches(ASIDE)) || others.contains(id));
        // what conductor knows may be of another host, and what was written down of another machine
        let mut taken = CpuSet::new();
        given.retain(|id, placed| {
            let cpus = placed.taken();
            let good = cpus.is_subset(&self.host.dedicated()) && cpus.is_disjoint(&taken);
            if !good {
                tracing::warn!(instance = id, "what this guest has of the host's CPUs cannot be; it gets others when it starts");
            }
            taken.extend(cpus);
            good
        });
        self.keep(given).await
    }

    /// What a guest that wants something has; given now if it has nothing yet, or something else.
    pub async fn take(&self, id: &str, wanted: Option<&Wanted>) -> Result<Option<Placed>> {
        let _turn = self.turn.lock().await;
        let has = self.given().get(id).cloned();
        if has.as_ref().map(|placed| &placed.wanted) == wanted {
            return Ok(has);
        }
        let mut given = self.given().clone();
        given.remove(id);
        let placed = wanted.map(|wanted| fit(&self.used_by(&given), wanted, None).ok_or_else(no_room)).transpose()?;
        given.extend(placed.clone().map(|placed| (id.to_owned(), placed)));
        self.keep(given).await?;
        Ok(placed)
    }

    /// Whether there is room for one that is not here yet, or for one that is here beside what it has.
    pub fn has_room(&self, wanted: Option<&Wanted>) -> Result<()> {
        match wanted.is_none_or(|wanted| fit(&self.used(), wanted, None).is_some()) {
            true => Ok(()),
            false => Err(no_room()),
        }
    }

    /// Nothing is the instance's any more but what was set aside. Answers whether anything was.
    pub async fn release(&self, id: &str) -> Result<bool> {
        let had = self.given().contains_key(id);
        self.change(|given| drop(given.remove(id))).await.map(|()| had)
    }

    /// What it has is what it had: it may get something else now.
    pub async fn set_aside(&self, id: &str) -> Result<()> {
        self.change(|given| {
            if let Some(placed) = given.remove(id) {
                given.insert(format!("{id}{ASIDE}"), placed);
            }
        })
        .await
    }

    /// What it had is what it has.
    pub async fn put_back(&self, id: &str) -> Result<()> {
        self.change(|given| {
            if let Some(placed) = given.remove(&format!("{id}{ASIDE}")) {
                given.insert(id.to_owned(), placed);
            }
        })
        .await
    }

    /// What it had is free. Answers whether it had anything.
    pub async fn forget_aside(&self, id: &str) -> Result<bool> {
        self.release(&format!("{id}{ASIDE}")).await
    }

    async fn change(&self, change: impl FnOnce(&mut Given)) -> Result<()> {
        let _turn = self.turn.lock().await;
        let mut given = self.given().clone();
        change(&mut given);
        if *self.given() == given { Ok(()) } else { self.keep(given).await }
    }

    /// Written down first, then so.
    async fn keep(&self, given: Given) -> Result<()> {
        if let Some(file) = self.file.clone() {
            let (bytes, nothing) = (serde_json::to_vec(&given)?, given.is_empty());
            let write = move || if nothing { remove(&file) } else { kit::files::write_private(&file, &bytes) };
            tokio::task::spawn_blocking(write).await.map_err(Error::internal)??;
        }
        *self.given() = given;
        Ok(())
    }

    /// The same for its hypervisor: where on this host its memory is, and where its threads run.
    pub fn placement(&self, vcpus: u32, placed: Option<&Placed>) -> Placement {
        let shared = self.host.shared();
        let Some(placed) = placed else {
            let everywhere = if self.bounded { shared } else { CpuSet::new() };
            let all = (0..vcpus).filter(|_| !everywhere.is_empty()).map(|cpu| (cpu, everywhere.clone())).collect();
            return Placement { cells: Vec::new(), vcpus: all, emulator: everywhere };
        };
        let mut placement = Placement::default();
        for (wanted, given) in placed.wanted.cells.iter().zip(&placed.cells) {
            let host = self.host.cells.iter().find(|cell| cell.id == given.host);
            let of_cell = host.map(|cell| cell.shared.clone()).unwrap_or_default();
            placement.vcpus.extend(wanted.shared.iter().map(|cpu| (*cpu, of_cell.clone())));
            placement.vcpus.extend(given.pins.iter().map(|(cpu, pin)| (*cpu, CpuSet::from([*pin]))));
            let (cpus, memory_mb) = (wanted.all_cpus(), wanted.memory_mb);
            placement.cells.push(GuestCell { cpus, memory_mb, host: given.host, page_kb: given.page_kb.filter(|kb| *kb > 4) });
        }
        let own = placement.vcpus.values().flatten().copied().collect();
        let reserved: CpuSet = placed.cells.iter().flat_map(|cell| &cell.reserved).copied().collect();
        placement.emulator = match placed.wanted.emulator {
            Some(EmulatorPolicy::Isolate) if !reserved.is_empty() => reserved,
            Some(EmulatorPolicy::Share) if !shared.is_empty() => shared,
            _ => own,
        };
        placement
    }
}

fn no_room() -> Error {
    Error::unavailable("Insufficient compute resources: Requested instance NUMA topology cannot fit the given host NUMA topology.")
}

fn remove(file: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

async fn read(file: &Path) -> Result<Given> {
    match tokio::fs::read(file).await {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Given::new()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use rpc::numa::{CpuPolicy, WantedCell};

    use super::machine::{Settings, SimCells, divide, pretended};
    use super::*;
    use crate::metadata::fixtures;

    fn numa(file: Option<PathBuf>) -> Numa {
        let set = |cpus: &[u32]| Some(cpus.iter().copied().collect::<CpuSet>());
        let settings = Settings { dedicated: set(&[2, 3, 6, 7]), shared: set(&[0, 1, 4, 5]), ..Settings::default() };
        let sim = SimCells { cells: 2, threads: 1, huge_pages: 256 };
        Numa::new(divide(pretended(8, 8192, sim), &settings).unwrap(), true, file)
    }

    fn pinned(cpus: u32) -> Wanted {
        let cell = WantedCell { dedicated: (0..cpus).collect(), memory_mb: 512, ..WantedCell::default() };
        Wanted { cells: vec![cell], cpus: CpuPolicy::Dedicated, ..Wanted::default() }
    }

    fn knows(ids: &[&str]) -> HashMap<String, Instance> {
        let instance = |id: &&str| ((*id).to_owned(), Instance { id: (*id).to_owned(), ..fixtures::documents().about.instance });
        ids.iter().map(instance).collect()
    }

    #[tokio::test]
    async fn no_cpu_is_given_twice_also_not_by_another_process() {
        let dir = tempfile::tempdir().unwrap();
        let file = || Some(dir.path().join("numa.json"));
        let first = numa(file());
        let a = first.take("a", Some(&pinned(2))).await.unwrap().unwrap();
        assert_eq!(first.take("a", Some(&pinned(2))).await.unwrap(), Some(a.clone()), "the same when it starts again");
        let again = numa(file());
        again.restore(&knows(&["a"]), &HashSet::new()).await.unwrap();
        let b = again.take("b", Some(&pinned(2))).await.unwrap().unwrap();
        assert!(a.taken().is_disjoint(&b.taken()));
        let error = again.take("c", Some(&pinned(1))).await.unwrap_err();
        assert!(error.message.contains("Requested instance NUMA topology cannot fit"), "{error}");
        assert!(!error.kind.status().is_client_error(), "another host may");
        again.release("a").await.unwrap();
        assert_eq!(again.take("c", Some(&pinned(2))).await.unwrap().unwrap().taken(), a.taken());
        // nobody knows b any more, and c has gone
        let last = numa(file());
        last.restore(&knows(&["d"]), &HashSet::new()).await.unwrap();
        assert_eq!(last.used(), numa(None).used());
    }

    #[tokio::test]
    async fn what_a_guest_had_is_kept_until_its_resize_is_over() {
        let numa = numa(None);
        let had = numa.take("a", Some(&pinned(2))).await.unwrap().unwrap();
        numa.set_aside("a").await.unwrap();
        let has = numa.take("a", Some(&pinned(1))).await.unwrap().unwrap();
        assert!(had.taken().is_disjoint(&has.taken()));
        numa.release("a").await.unwrap();
        numa.put_back("a").await.unwrap();
        assert_eq!(numa.take("a", Some(&pinned(2))).await.unwrap(), Some(had));
        numa.set_aside("a").await.unwrap();
        assert_eq!(numa.take("a", None).await.unwrap(), None);
        assert_eq!(numa.used().cells.iter().map(|cell| cell.taken.len()).sum::<usize>(), 2);
        numa.forget_aside("a").await.unwrap();
        assert!(numa.has_room(Some(&pinned(2))).is_ok() && numa.has_room(Some(&pinned(3))).is_err());
        assert!(numa.used().cells.iter().all(|cell| cell.taken.is_empty()));
    }

    #[tokio::test]
    async fn simulated_hosts_are_told_by_conductor() {
        let numa = numa(None);
        let placed = numa.take("a", Some(&pinned(2))).await.unwrap();
        let mut known = knows(&["a", "b"]);
        known.values_mut().for_each(|instance| instance.numa = placed.clone());
        let again = self::numa(None);
        again.restore(&known, &HashSet::new()).await.unwrap();
        assert_eq!(again.used(), numa.used(), "of two that claim the same one is believed");
    }

    #[test]
    fn threads_run_where_the_guest_has_cpus() {
        let numa = numa(None);
        let free = numa.placement(1, None);
        assert_eq!((free.vcpus[&0].clone(), free.emulator), (CpuSet::from([0, 1, 4, 5]), CpuSet::from([0, 1, 4, 5])));
        let placed = |emulator| fit(&numa.used(), &Wanted { emulator, ..pinned(1) }, None).unwrap();
        let default = numa.placement(1, Some(&placed(None)));
        assert_eq!((default.vcpus[&0].clone(), default.emulator), (CpuSet::from([2]), CpuSet::from([2])));
        assert_eq!(numa.placement(1, Some(&placed(Some(EmulatorPolicy::Share)))).emulator, CpuSet::from([0, 1, 4, 5]));
        assert_eq!(numa.placement(1, Some(&placed(Some(EmulatorPolicy::Isolate)))).emulator, CpuSet::from([3]));
        let shared =
            Wanted { cpus: CpuPolicy::Shared, cells: vec![WantedCell { shared: [0].into(), ..WantedCell::default() }], ..pinned(0) };
        let placement = numa.placement(1, Some(&fit(&numa.used(), &shared, None).unwrap()));
        assert_eq!((placement.vcpus[&0].clone(), placement.cells[0].host), (CpuSet::from([0, 1]), 0));
    }
}
