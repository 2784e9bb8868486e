//! Where on the host a guest's memory is and its threads run. QEMU's sandbox lets it choose none of that for its threads, so we do.

use std::collections::BTreeMap;

use kit::{Error, Kind, Result};
use nix::sched::{CpuSet as Mask, sched_setaffinity};
use nix::unistd::Pid;
use rpc::numa::{CpuSet, format_cpus};
use serde_json::{Value, json};

use super::qmp::Qmp;
use crate::hypervisor::{GuestCell, Placement};

/// The guest's cells, each with memory of one of the host's, as options of QEMU and their values.
pub fn memory(cells: &[GuestCell]) -> Vec<(&'static str, String)> {
    let options = cells.iter().enumerate().flat_map(|(index, cell)| {
        let mut backend = json!({
            "qom-type": "memory-backend-ram", "id": format!("ram-node{index}"), "size": cell.memory_mb << 20,
            "host-nodes": [cell.host], "policy": "bind",
        });
        if let Some(page_kb) = cell.page_kb {
            backend["qom-type"] = json!("memory-backend-memfd");
            backend["hugetlb"] = json!(true);
            backend["hugetlbsize"] = json!(page_kb << 10);
            // what is not there is missed now and not when the guest touches it
            backend["prealloc"] = json!(true);
        }
        let cpus = format_cpus(&cell.cpus);
        let cpus: String = cpus.split(',').filter(|range| !range.is_empty()).map(|range| format!(",cpus={range}")).collect();
        [("-object", backend.to_string()), ("-numa", format!("node,nodeid={index}{cpus},memdev=ram-node{index}"))]
    });
    options.collect()
}

/// Binds the threads of a guest that does not run yet. Those that QEMU starts later run where the one does that starts them.
pub async fn bind(qmp: &Qmp, pid: i32, placement: &Placement) -> Result<()> {
    if placement.vcpus.is_empty() && placement.emulator.is_empty() {
        return Ok(());
    }
    let threads = processors(&qmp.execute("query-cpus-fast", json!({})).await?);
    for thread in threads_of(pid)? {
        set(thread, &placement.emulator)?;
    }
    for (thread, cpus) in of_processors(&threads, &placement.vcpus) {
        set(thread, &cpus)?;
    }
    Ok(())
}

/// The guest's processors by number, with the thread of each.
fn processors(answer: &Value) -> Vec<(u32, i32)> {
    let processor = |cpu: &Value| Some((cpu["cpu-index"].as_u64()?.try_into().ok()?, cpu["thread-id"].as_i64()?.try_into().ok()?));
    answer.as_array().into_iter().flatten().filter_map(processor).collect()
}

/// A thread may have several processors, and then the CPUs of all of them.
fn of_processors(threads: &[(u32, i32)], vcpus: &BTreeMap<u32, CpuSet>) -> BTreeMap<i32, CpuSet> {
    let mut all: BTreeMap<i32, CpuSet> = BTreeMap::new();
    for (cpu, thread) in threads {
        all.entry(*thread).or_default().extend(vcpus.get(cpu).into_iter().flatten());
    }
    all
}

fn threads_of(pid: i32) -> Result<Vec<i32>> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/task"))?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

fn set(thread: i32, cpus: &CpuSet) -> Result<()> {
    if cpus.is_empty() {
        return Ok(());
    }
    let refused = |error: nix::Error| {
        let cpus = format_cpus(cpus);
        Error::new(Kind::Internal, format!("A thread of the guest cannot be bound to the CPUs {cpus}: {error}"))
    };
    let mut mask = Mask::new();
    for cpu in cpus {
        mask.set(*cpu as usize).map_err(refused)?;
    }
    match sched_setaffinity(Pid::from_raw(thread), &mask) {
        // a thread of QEMU's pool has ended meanwhile
        Err(nix::Error::ESRCH) => Ok(()),
        done => done.map_err(refused),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cell_has_its_memory() {
        let cell = |cpus: &[u32], host, page_kb| GuestCell { cpus: cpus.iter().copied().collect(), memory_mb: 64, host, page_kb };
        let options = memory(&[cell(&[0, 1, 3], 1, None), cell(&[2], 0, Some(2048))]);
        let text: Vec<String> = options.iter().map(|(option, value)| format!("{option} {value}")).collect();
        assert!(
            text[0].starts_with("-object {") && text[0].contains("\"memory-backend-ram\"") && text[0].contains("\"host-nodes\":[1]"),
            "{text:?}"
        );
        assert_eq!(text[1], "-numa node,nodeid=0,cpus=0-1,cpus=3,memdev=ram-node0");
        assert!(text[2].contains("\"hugetlbsize\":2097152") && text[2].contains("\"size\":67108864"), "{text:?}");
        assert_eq!(text[3], "-numa node,nodeid=1,cpus=2,memdev=ram-node1");
        assert!(memory(&[]).is_empty());
    }

    #[test]
    fn processors_of_one_thread_run_where_any_of_them_may() {
        let answer = json!([{"cpu-index": 0, "thread-id": 7}, {"cpu-index": 1, "thread-id": 7}, {"cpu-index": 2, "thread-id": 8}]);
        let vcpus = BTreeMap::from([(0, CpuSet::from([2])), (1, CpuSet::from([3])), (2, CpuSet::from([4]))]);
        let expected = BTreeMap::from([(7, CpuSet::from([2, 3])), (8, CpuSet::from([4]))]);
        assert_eq!(of_processors(&processors(&answer), &vcpus), expected);
    }
}
