//! A real guest with a processor of its own and large pages, on a machine whose operator sets some aside; and with a config drive in FAT.
//!
//! Needs what `real_build.rs` needs, two processors, and for the large pages a kernel that gives some.

#![allow(clippy::unwrap_used)]

mod neighbours;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use neighbours::real::{CleanUp, until, with_image};
use neighbours::{Cloud, HOST, ID, instance};
use nova_compute::config_drive::Format;
use nova_compute::hypervisor::qemu::{AccelChoice, Qemu};
use nova_compute::hypervisor::sim::Sim;
use nova_compute::hypervisor::{Hypervisor, PowerState};
use nova_compute::numa::machine::Settings;
use rpc::compute::*;
use rpc::conductor::BuildOutcome;
use rpc::numa::{CpuPolicy, CpuSet, EmulatorPolicy, PageSize, Wanted, WantedCell};

const DEADLINE: Duration = Duration::from_secs(60);
const MEMORY: u64 = 128;
const HUGE: &str = "/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages";

#[test]
fn a_real_guest_has_a_processor_of_its_own() {
    with_image(placed);
}

/// Large pages, as many as the guest needs and which nobody else is to miss afterwards.
struct HugePages(String);

impl HugePages {
    fn reserve() -> Option<HugePages> {
        let had = HugePages(fs::read_to_string(HUGE).ok()?.trim().to_owned());
        let wanted = MEMORY / 2 + had.0.parse::<u64>().ok()?;
        fs::write(HUGE, wanted.to_string()).ok()?;
        let has: u64 = fs::read_to_string(HUGE).ok()?.trim().parse().ok()?;
        (has >= wanted).then_some(had)
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        fs::write(HUGE, &self.0).unwrap();
    }
}

async fn host(state: &Path, instance: Instance, image: Vec<u8>) -> (Cloud, Arc<Qemu>) {
    let set = |cpu: u32| Some(CpuSet::from([cpu]));
    let mut config = nova_compute::Config::new(HOST, state);
    config.config_drive_format = Format::Vfat;
    config.numa = Settings { dedicated: set(1), shared: set(0), ..Settings::default() };
    let qemu = Qemu::open(AccelChoice::Tcg, state, &config.instances_dir()).await.unwrap();
    let cloud = Cloud::on(qemu.clone(), Arc::new(Sim::new()), config, instance, image).await;
    (cloud, qemu)
}

async fn placed(image: Vec<u8>) {
    let pages = HugePages::reserve();
    let state = tempfile::Builder::new().prefix("cumulo-place-test").tempdir().unwrap();
    let _nothing_left = CleanUp(state.path().to_owned());
    let mut wanted = instance();
    wanted.config_drive = true;
    wanted.hostname = "placed-by-test".into();
    wanted.flavor = Flavor { ram_mb: MEMORY, root_gb: 1, ..wanted.flavor };
    let cell = WantedCell { dedicated: CpuSet::from([0]), memory_mb: MEMORY, ..WantedCell::default() };
    wanted.numa_wanted = Some(Wanted {
        cells: vec![cell],
        cpus: CpuPolicy::Dedicated,
        emulator: Some(EmulatorPolicy::Share),
        pages: pages.is_some().then_some(PageSize::Large),
        ..Wanted::default()
    });
    let (cloud, qemu) = host(state.path(), wanted, image.clone()).await;
    let build = || BuildInstance { caller: rpc::Caller::default(), instance_id: ID.into(), admin_password: None, answer_to: None };
    cloud.bus.cast(&compute_topic(HOST), build()).await.unwrap();
    let outcome = cloud.finished().await;
    assert!(matches!(outcome, BuildOutcome::Running), "{outcome:?}");
    until("the guest's report", async || qemu.console(ID).await.unwrap().contains("host=placed-by-test")).await;
    assert!(qemu.console(ID).await.unwrap().contains("datasource=config-drive"));

    // its processor runs where nobody else does, and all else of it does not
    let pid: u32 = fs::read_to_string(state.path().join("instances").join(ID).join("pid")).unwrap().trim().parse().unwrap();
    let threads = threads(pid);
    let vcpus: BTreeSet<&str> = threads.iter().filter(|(name, _)| name.starts_with("CPU ")).map(|(_, cpus)| cpus.as_str()).collect();
    let others: BTreeSet<&str> = threads.iter().filter(|(name, _)| !name.starts_with("CPU ")).map(|(_, cpus)| cpus.as_str()).collect();
    assert_eq!((vcpus, others), (BTreeSet::from(["1"]), BTreeSet::from(["0"])), "{threads:?}");
    let numa = cloud.instance().numa.unwrap();
    assert_eq!((numa.taken(), numa.cells[0].page_kb), (CpuSet::from([1]), pages.is_some().then_some(2048)));
    let maps = fs::read_to_string(format!("/proc/{pid}/numa_maps")).unwrap();
    let memory = maps.lines().find(|line| line.contains("bind:0") && (line.contains("huge") == pages.is_some()));
    assert!(memory.is_some(), "its memory is not bound to the host's node: {maps}");

    // another process knows what is given, and that it is free when the guest is gone
    let built = cloud.instance();
    drop((cloud, qemu));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (cloud, qemu) = host(state.path(), built, image).await;
    until("adoption", async || qemu.state(ID) == PowerState::Running).await;
    let written = || fs::read_to_string(state.path().join("instances/_numa.json"));
    assert!(written().unwrap().contains(ID));
    let end = TerminateInstance { caller: rpc::Caller::default(), instance_id: ID.into() };
    cloud.bus.call(&compute_topic(HOST), end, DEADLINE).await.unwrap();
    assert!(written().is_err(), "{:?}", written());
}

/// Names of a process's threads, and the CPUs on which each may run.
fn threads(pid: u32) -> Vec<(String, String)> {
    let all = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let thread = |entry: fs::DirEntry| {
        let status = fs::read_to_string(entry.path().join("status")).ok()?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned());
        Some((field("Name:")?, field("Cpus_allowed_list:")?))
    };
    all.filter_map(thread).collect()
}
