//! Limits on what a guest's process may take from the host, where the host lets us set them: cgroup v1 or v2, or none.
//!
//! A guest without limits still runs; that is logged once, at start.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::hypervisor::hardware::CpuLimits;

const ROOT: &str = "/sys/fs/cgroup";
/// All our groups are below one of this name.
const OURS: &str = "cumulo";
/// What QEMU itself may take beside the guest's memory.
const OVERHEAD_MB: u64 = 512;
/// Threads: virtual CPUs, I/O workers, VNC.
const THREADS: u32 = 256;
/// How much of the host's processors a virtual one is worth beside others, and how long the periods are that quotas are for.
const SHARES: u64 = 1024;
const PERIOD_US: u64 = 100_000;

/// What this host offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cgroups {
    V2(PathBuf),
    /// The controllers that can be used, each with its own tree.
    V1(Vec<&'static str>),
    None,
}

/// What one guest is promised.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub memory_mb: u64,
    pub vcpus: u32,
    pub cpu: CpuLimits,
}

impl Limits {
    fn shares(&self) -> u64 {
        self.cpu.shares.unwrap_or(SHARES * u64::from(self.vcpus)).clamp(2, 262_144)
    }

    /// Microseconds of each period, and the period; QEMU's own work counts.
    fn quota(&self) -> Option<(u64, u64)> {
        Some((self.cpu.quota_us? * u64::from(self.vcpus), self.cpu.period_us.unwrap_or(PERIOD_US)))
    }
}

impl Cgroups {
    /// Tries what works here, by making our own group.
    pub fn detect() -> Cgroups {
        let root = Path::new(ROOT);
        if root.join("cgroup.controllers").exists() {
            let ours = root.join(OURS);
            let ready = fs::create_dir_all(&ours).and_then(|()| enable(&ours));
            return if ready.is_ok() { Cgroups::V2(ours) } else { Cgroups::None };
        }
        let usable = |controller: &&str| {
            let tree = root.join(controller);
            tree.join("cgroup.procs").exists() && fs::create_dir_all(tree.join(OURS)).is_ok()
        };
        let controllers: Vec<&str> = ["memory", "cpu", "pids"].into_iter().filter(usable).collect();
        if controllers.is_empty() { Cgroups::None } else { Cgroups::V1(controllers) }
    }

    /// For the log.
    pub fn name(&self) -> &'static str {
        match self {
            Cgroups::V2(_) => "v2",
            Cgroups::V1(_) => "v1",
            Cgroups::None => "none",
        }
    }

    /// Puts a guest's process under its limits.
    pub fn confine(&self, instance_id: &str, pid: i32, limits: Limits) -> io::Result<()> {
        for (dir, settings) in self.settings(instance_id, limits) {
            fs::create_dir_all(&dir)?;
            for (file, value) in settings {
                fs::write(dir.join(file), value)?;
            }
            fs::write(dir.join("cgroup.procs"), pid.to_string())?;
        }
        Ok(())
    }

    /// Removes a guest's groups, once its process has ended.
    pub fn release(&self, instance_id: &str) {
        for (dir, _) in self.settings(instance_id, Limits { memory_mb: 0, vcpus: 0, cpu: CpuLimits::default() }) {
            // absent, or the process takes a moment to leave: an empty group left over costs nothing and is found again
            let _ = fs::remove_dir(dir);
        }
    }

    fn settings(&self, instance_id: &str, limits: Limits) -> Vec<(PathBuf, Vec<(&'static str, String)>)> {
        let memory = ((limits.memory_mb + OVERHEAD_MB) << 20).to_string();
        let pids = ("pids.max", THREADS.to_string());
        match self {
            Cgroups::None => Vec::new(),
            Cgroups::V2(ours) => {
                // the scale of v2, as the kernel's documentation converts it
                let mut settings =
                    vec![("memory.max", memory), pids, ("cpu.weight", (1 + (limits.shares() - 2) * 9999 / 262_142).to_string())];
                settings.extend(limits.quota().map(|(quota, period)| ("cpu.max", format!("{quota} {period}"))));
                vec![(ours.join(instance_id), settings)]
            }
            Cgroups::V1(controllers) => controllers
                .iter()
                .map(|controller| {
                    let settings = match *controller {
                        "memory" => vec![("memory.limit_in_bytes", memory.clone())],
                        "cpu" => cpu_v1(&limits),
                        _ => vec![pids.clone()],
                    };
                    (Path::new(ROOT).join(controller).join(OURS).join(instance_id), settings)
                })
                .collect(),
        }
    }
}

fn cpu_v1(limits: &Limits) -> Vec<(&'static str, String)> {
    let mut settings = vec![("cpu.shares", limits.shares().to_string())];
    if let Some((quota, period)) = limits.quota() {
        settings.extend([("cpu.cfs_period_us", period.to_string()), ("cpu.cfs_quota_us", quota.to_string())]);
    }
    settings
}

/// Hands the controllers down to the guests' groups; fails where the host keeps them from us.
fn enable(ours: &Path) -> io::Result<()> {
    let offered = fs::read_to_string(ours.join("cgroup.controllers"))?;
    for controller in ["memory", "cpu", "pids"] {
        if !offered.split_whitespace().any(|have| have == controller) {
            return Err(io::Error::other(format!("the {controller} controller is not given to us")));
        }
    }
    fs::write(ours.join("cgroup.subtree_control"), "+memory +cpu +pids")
}

/// Removes the groups of all guests, after their processes: for clean-up.
pub fn remove_all(instance_ids: &[String]) {
    let found = Cgroups::detect();
    instance_ids.iter().for_each(|id| found.release(id));
    match &found {
        Cgroups::V2(ours) => drop(fs::remove_dir(ours)),
        Cgroups::V1(controllers) => controllers.iter().for_each(|c| drop(fs::remove_dir(Path::new(ROOT).join(c).join(OURS)))),
        Cgroups::None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_the_flavor_and_a_margin() {
        let limits = Limits { memory_mb: 128, vcpus: 2, cpu: CpuLimits::default() };
        let [(dir, v2)] = &Cgroups::V2("/c/cumulo".into()).settings("i", limits)[..] else { panic!() };
        assert_eq!(dir, Path::new("/c/cumulo/i"));
        assert_eq!(v2[0], ("memory.max", (640u64 << 20).to_string()));
        assert_eq!(v2[2], ("cpu.weight", "79".to_string()));
        assert_eq!(v2.len(), 3, "no quota unless the flavor has one");
        let v1 = Cgroups::V1(vec!["memory", "pids"]).settings("i", limits);
        assert_eq!(v1[1], (PathBuf::from("/sys/fs/cgroup/pids/cumulo/i"), vec![("pids.max", "256".to_string())]));
    }

    #[test]
    fn a_quota_is_for_each_virtual_cpu() {
        let cpu = CpuLimits { shares: Some(512), quota_us: Some(5000), period_us: Some(20_000) };
        let limits = Limits { memory_mb: 128, vcpus: 2, cpu };
        let [(_, v2)] = &Cgroups::V2("/c".into()).settings("i", limits)[..] else { panic!() };
        assert_eq!(v2[3], ("cpu.max", "10000 20000".to_string()));
        let v1: Vec<String> = cpu_v1(&limits).into_iter().map(|(_, value)| value).collect();
        assert_eq!(v1, ["512", "20000", "10000"]);
    }
}
