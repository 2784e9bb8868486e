//! What conductor is told of this host: that it lives, what it has, and what its guests do.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;
use std::time::Duration;

use kit::Result;
use rpc::conductor::{HostInventory, ReportHost};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::config::Config;
use crate::host::Host;
use crate::hypervisor::Hypervisor;
use crate::instances;
use crate::numa::Numa;

/// Changes that come together are reported together.
const GATHER: Duration = Duration::from_millis(200);

/// Of hosts whose cores have several threads.
const HYPERTHREADING: &str = "HW_CPU_HYPERTHREADING";

/// Simulated hosts come by the thousand in one process, and what each has is some kilobytes: so many say it at once.
static ARRIVING: Semaphore = Semaphore::const_new(64);

/// Reports at once, then regularly, and soon after a guest changed by itself.
pub async fn run(host: Host) {
    let mut changes = host.hypervisor.changes();
    let mut told = None;
    loop {
        // boxed, as the loop waits far longer than it reports
        if let Err(error) = Box::pin(report(&host, &mut told)).await {
            tracing::warn!(%error, "conductor could not be told that this host lives");
            // what was decided meanwhile may concern any of its guests: conductor compares all of them when a host says what it has
            told = None;
        }
        tokio::select! {
            _ = tokio::time::sleep(host.config.report_interval) => {}
            _ = host.report_now.notified() => tokio::time::sleep(GATHER).await,
            Ok(()) = changes.changed() => tokio::time::sleep(GATHER).await,
        }
    }
}

/// `told` is the digest of what conductor was last told the host has. It is told again when that changed, when conductor could not be reached, or
/// when it knows no such host.
async fn report(host: &Host, told: &mut Option<u64>) -> Result<()> {
    let has = || inventory(&host.config, &*host.hypervisor, &host.numa);
    let digest = digest(&has())?;
    let mut guests = host.hypervisor.guests();
    guests.retain(|(id, _)| !host.is_busy(id));
    let instances: Vec<_> = guests.into_iter().map(|(id, state)| (id, state.number())).collect();
    let tell = async |inventory, instances| -> Result<bool> {
        let heard = host.ask(ReportHost { host: host.name().to_owned(), inventory, instances }).await?;
        for id in heard.evacuated {
            tokio::spawn(instances::end_evacuated(host.clone(), id));
        }
        Ok(heard.known)
    };
    if *told == Some(digest) && tell(None, Some(instances.clone())).await? {
        return Ok(());
    }
    let _turn = ARRIVING.acquire().await;
    tell(Some(has()), Some(instances)).await?;
    *told = Some(digest);
    Ok(())
}

fn digest(inventory: &HostInventory) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    serde_json::to_vec(inventory)?.hash(&mut hasher);
    Ok(hasher.finish())
}

/// What the host has.
pub fn inventory(config: &Config, hypervisor: &dyn Hypervisor, numa: &Numa) -> HostInventory {
    let (mut about, numa_now) = (hypervisor.about(), numa.used());
    let (vcpus, memory_mb, local_gb) = match hypervisor.disk_owner() {
        Some(_) => (cpus(), memory_mb(), local_gb(config)),
        None => (config.sim_vcpus, config.sim_memory_mb(), u64::from(config.sim_vcpus) * 100),
    };
    if numa_now.has_threads() {
        about.traits.push(HYPERTHREADING.to_owned());
    }
    HostInventory {
        hypervisor_hostname: config.host.clone(),
        hypervisor_type: about.hypervisor_type,
        hypervisor_version: about.version,
        host_ip: config.host_ip.clone(),
        vcpus: numa.shared_cpus().unwrap_or(vcpus),
        pcpus: numa_now.dedicated().len() as u32,
        memory_mb,
        local_gb,
        cpu_info: cpu_info(vcpus, numa_now.cells.len()),
        traits: about.traits,
        numa: Some(numa_now),
    }
}

fn cpus() -> u32 {
    std::thread::available_parallelism().map_or(1, |count| count.get() as u32)
}

fn memory_mb() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    total.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn local_gb(config: &Config) -> u64 {
    nix::sys::statvfs::statvfs(&config.state_dir).map_or(0, |disk| (disk.blocks() * disk.fragment_size()) >> 30)
}

fn cpu_info(vcpus: u32, cells: usize) -> Value {
    json!({"arch": std::env::consts::ARCH, "model": CPU.model, "vendor": CPU.vendor, "features": CPU.features,
           "topology": {"sockets": 1, "cores": vcpus, "threads": 1, "cells": cells}})
}

/// What this machine's processor says of itself.
struct Cpu {
    model: String,
    vendor: String,
    features: Vec<String>,
}

static CPU: LazyLock<Cpu> = LazyLock::new(|| {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let value = text.lines().find(|line| line.starts_with(name)).and_then(|line| line.split_once(':'));
        value.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let features = field("flags").split_whitespace().map(str::to_owned).collect();
    Cpu { model: field("model name"), vendor: field("vendor_id"), features }
});
