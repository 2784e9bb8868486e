//! How a guest does, as QEMU and the host see it.

use std::path::Path;

use kit::Result;
use serde_json::{Value, json};

use super::guest::Owner;
use crate::hypervisor::{Diagnostics, DiskCounters, NicCounters};

impl Owner {
    pub(super) async fn diagnose(&self) -> Result<Diagnostics> {
        let pid = self.process.pid;
        let cpus = self.qmp.execute("query-cpus-fast", json!({})).await?;
        let threads = cpus.as_array().into_iter().flatten().filter_map(|cpu| cpu["thread-id"].as_i64());
        let blocks = self.qmp.execute("query-blockstats", json!({})).await?;
        let disks = blocks.as_array().into_iter().flatten().filter(|block| block["qdev"].is_string()).map(disk);
        Ok(Diagnostics {
            uptime: uptime(pid),
            memory_mb: resident_mb(pid),
            cpu_nanoseconds: threads.map(|thread| thread_time(pid, thread)).collect(),
            disks: disks.collect(),
            nics: self.nics().await?,
        })
    }

    async fn nics(&self) -> Result<Vec<NicCounters>> {
        let devices = self.qmp.execute("qom-list", json!({"path": "/machine/peripheral"})).await?;
        let table = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
        let mut nics = Vec::new();
        for name in devices.as_array().into_iter().flatten().filter_map(|device| device["name"].as_str()) {
            let Some(port) = name.strip_prefix("net-") else { continue };
            let ask = json!({"path": format!("/machine/peripheral/{name}"), "property": "mac"});
            let mac = self.qmp.execute("qom-get", ask).await?.as_str().unwrap_or_default().to_lowercase();
            nics.push(NicCounters { mac, ..counters(&table, &rpc::compute::tap_name(port)) });
        }
        Ok(nics)
    }
}

fn disk(block: &Value) -> DiskCounters {
    let stats = &block["stats"];
    let number = |name: &str| stats[name].as_u64().unwrap_or_default();
    DiskCounters {
        read_bytes: number("rd_bytes"),
        read_requests: number("rd_operations"),
        write_bytes: number("wr_bytes"),
        write_requests: number("wr_operations"),
        errors: number("failed_rd_operations") + number("failed_wr_operations"),
    }
}

/// A line of `/proc/net/dev`, seen from the other end: what the tap sends, the guest receives.
fn counters(table: &str, tap: &str) -> NicCounters {
    let line = table.lines().find_map(|line| line.trim().strip_prefix(tap)?.strip_prefix(':'));
    let numbers: Vec<u64> = line.unwrap_or_default().split_whitespace().map(|number| number.parse().unwrap_or(0)).collect();
    let at = |index: usize| numbers.get(index).copied().unwrap_or_default();
    NicCounters {
        mac: String::new(),
        tx_octets: at(0),
        tx_packets: at(1),
        tx_errors: at(2),
        tx_drop: at(3),
        rx_octets: at(8),
        rx_packets: at(9),
        rx_errors: at(10),
        rx_drop: at(11),
    }
}

/// Processor time of a thread. The kernel counts it in nanoseconds.
fn thread_time(pid: i32, thread: i64) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{thread}/schedstat")).unwrap_or_default();
    text.split_whitespace().next().and_then(|time| time.parse().ok()).unwrap_or_default()
}

fn resident_mb(pid: i32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default() / 1024
}

/// The process is as old as its directory.
fn uptime(pid: i32) -> Option<std::time::Duration> {
    std::fs::metadata(Path::new("/proc").join(pid.to_string())).ok()?.modified().ok()?.elapsed().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tap_counts_the_other_way_round() {
        let table = "Inter-|   Receive\n face |bytes\n cutabc: 10 1 0 2 0 0 0 0 20 3 0 4 0 0 0 0\n";
        let nic = counters(table, "cutabc");
        assert_eq!((nic.tx_octets, nic.tx_packets, nic.tx_drop), (10, 1, 2));
        assert_eq!((nic.rx_octets, nic.rx_packets, nic.rx_drop), (20, 3, 4));
        assert_eq!(counters(table, "cutxyz"), NicCounters::default());
    }
}
