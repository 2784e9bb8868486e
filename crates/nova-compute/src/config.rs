//! What nova-compute is told about its host.

use std::path::PathBuf;
use std::time::Duration;

use crate::config_drive;
use crate::metadata::VendorData;
use crate::numa;

#[derive(Clone, Debug)]
pub struct Config {
    /// The name of this host, as the scheduler chooses it and neutron binds ports to it.
    pub host: String,
    /// Instances are in `instances/` below it.
    pub state_dir: PathBuf,
    /// The address other hosts reach this one at.
    pub host_ip: String,
    /// Where consoles are served, if nobody has the port.
    pub console_port: u16,
    /// Consoles are private with it.
    pub tls: Option<kit::tls::Tls>,
    /// What every guest is told besides what concerns it.
    pub vendor_data: VendorData,
    /// What is on config drives that are made from now on.
    pub config_drive_format: config_drive::Format,
    /// How long a guest waits for neutron to wire its ports before it may run.
    pub vif_plugging_timeout: Duration,
    /// Whether a guest whose ports are not wired in time fails, or runs anyway.
    pub vif_plugging_is_fatal: bool,
    /// How long a guest that was asked to power off may take.
    pub shutdown_timeout: Duration,
    /// How long cinder may take to make a volume that a guest boots from.
    pub volume_timeout: Duration,
    /// Where this host has the keyrings of Ceph's users whose volumes its guests have.
    pub ceph_directory: PathBuf,
    /// How often conductor is told that the host is alive.
    pub report_interval: Duration,
    /// How its processors and its large pages are shared out.
    pub numa: numa::machine::Settings,
    /// Simulated hosts say they have this many CPUs, and memory and disk to match; real ones say what they have.
    pub sim_vcpus: u32,
}

impl Config {
    /// A host named `host` with nova's defaults.
    pub fn new(host: impl Into<String>, state_dir: impl Into<PathBuf>) -> Config {
        Config {
            host: host.into(),
            state_dir: state_dir.into(),
            host_ip: "127.0.0.1".into(),
            console_port: 6080,
            tls: None,
            vendor_data: VendorData::default(),
            config_drive_format: config_drive::Format::default(),
            vif_plugging_timeout: Duration::from_secs(300),
            vif_plugging_is_fatal: true,
            shutdown_timeout: Duration::from_secs(60),
            volume_timeout: Duration::from_secs(300),
            ceph_directory: "/etc/ceph".into(),
            report_interval: Duration::from_secs(10),
            numa: numa::machine::Settings::default(),
            sim_vcpus: 64,
        }
    }

    /// The memory that a simulated host says it has.
    pub fn sim_memory_mb(&self) -> u64 {
        u64::from(self.sim_vcpus) * 4096
    }

    /// Where the directories of instances are.
    pub fn instances_dir(&self) -> PathBuf {
        instances_dir(&self.state_dir)
    }
}

pub(crate) fn instances_dir(state_dir: &std::path::Path) -> PathBuf {
    state_dir.join("instances")
}
