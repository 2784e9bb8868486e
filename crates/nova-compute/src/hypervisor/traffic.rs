//! What a hypervisor tells of a guest's work.

use std::time::Duration;

/// How a guest does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics {
    /// None when it does not run.
    pub uptime: Option<Duration>,
    /// What it holds of the host's memory.
    pub memory_mb: u64,
    /// Of each virtual processor.
    pub cpu_nanoseconds: Vec<u64>,
    pub disks: Vec<DiskCounters>,
    pub nics: Vec<NicCounters>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskCounters {
    pub read_bytes: u64,
    pub read_requests: u64,
    pub write_bytes: u64,
    pub write_requests: u64,
    pub errors: u64,
}

/// As the guest sees it: it receives what its tap sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NicCounters {
    pub mac: String,
    pub rx_octets: u64,
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub rx_drop: u64,
    pub tx_octets: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub tx_drop: u64,
}
