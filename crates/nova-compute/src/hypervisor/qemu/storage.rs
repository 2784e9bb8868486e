//! Disks of a guest that runs: plugged, unplugged, grown, copied, exchanged.

use std::path::Path;
use std::time::Duration;

use kit::{Error, Kind, Result};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::guest::Owner;
use super::{args, nodes};
use crate::hypervisor::Disk;

/// The node that a disk is copied to, and the job that copies it.
pub(super) const COPY_NODE: &str = "copy";
/// The job that copies a disk to the one that comes in its place.
pub(super) const SWAP_JOB: &str = "swap";
/// How long a copy may take.
const COPY: Duration = Duration::from_secs(3600);
/// How long a grown volume's server may take to tell its new size.
const GROWN: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(200);

impl Owner {
    pub(super) async fn attach_disk(&mut self, disk: &Disk, keys: Vec<Value>) -> Result<()> {
        if self.device_of(&disk.id).await?.is_some() {
            return Ok(());
        }
        let node = args::node_name(&disk.id);
        self.add_node(disk, keys).await?;
        let plugged = self.plug(args::disk_device(disk)).await;
        if plugged.is_err() {
            // the node has no user yet, so it can go
            let _ = self.remove_node(&node).await;
        }
        plugged?;
        self.limit_disks(std::slice::from_ref(disk)).await
    }

    pub(super) async fn detach_disk(&mut self, disk: &str) -> Result<()> {
        if let Some(device) = self.device_of(disk).await? {
            self.unplug(&device).await?;
        }
        self.remove_node(&args::node_name(disk)).await
    }

    /// Keeps disks within their limits.
    pub(super) async fn limit_disks(&self, disks: &[Disk]) -> Result<()> {
        for disk in disks.iter().filter(|disk| !disk.limits.values.is_empty()) {
            let Some(path) = self.path_of(&disk.id).await? else { continue };
            let mut limit = json!({"id": path});
            for name in ["bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"] {
                limit[name] = json!(disk.limits.values.get(name).copied().unwrap_or(0));
            }
            for (name, value) in &disk.limits.values {
                limit[*name] = json!(value);
            }
            self.qmp.execute("block_set_io_throttle", limit).await?;
        }
        Ok(())
    }

    /// Shows the guest that a disk grew. An NBD server tells its new size when it is connected to again, which happens at the next access.
    pub(super) async fn resize_disk(&mut self, disk: &str, bytes: u64) -> Result<()> {
        let node = args::node_name(disk);
        let deadline = Instant::now() + GROWN;
        loop {
            let read = json!({"command-line": format!("qemu-io {node} \"read 0 512\"")});
            // only the access counts, whatever comes of it
            let _ = self.qmp.execute("human-monitor-command", read).await;
            match self.qmp.execute("block_resize", json!({"node-name": node, "size": bytes})).await {
                Err(error) if error.message.contains("Cannot grow") && Instant::now() < deadline => tokio::time::sleep(LOOK).await,
                done => return done.map(drop),
            }
        }
    }

    /// Copies a disk as it is at this moment into a file that is large enough, while the guest goes on writing.
    pub(super) async fn copy_disk(&mut self, disk: &str, to: &Path, must_quiesce: bool) -> Result<()> {
        let node = json!({"driver": "qcow2", "node-name": COPY_NODE, "file": {"driver": "file", "filename": to}});
        self.qmp.execute("blockdev-add", node).await?;
        let frozen = self.freeze().await;
        let job = json!({"job-id": COPY_NODE, "device": args::node_name(disk), "target": COPY_NODE, "sync": "full", "auto-dismiss": false});
        let begun = match frozen || !must_quiesce {
            true => self.qmp.execute("blockdev-backup", job).await,
            false => Err(Error::conflict("Quiescing is not supported in this instance: its guest agent does not answer.")),
        };
        if frozen {
            self.thaw().await;
        }
        let done = match begun {
            Ok(_) => self.job(COPY_NODE, None).await,
            Err(error) => Err(error),
        };
        self.remove_node(COPY_NODE).await?;
        done
    }

    /// Copies a disk to another, and gives the guest that one in its place.
    pub(super) async fn swap_disk(&mut self, old: &str, new: &Disk, keys: Vec<Value>) -> Result<()> {
        let (from, to) = (args::node_name(old), args::node_name(&new.id));
        if self.device_of(&new.id).await?.is_some() {
            return self.remove_node(&from).await;
        }
        self.add_node(new, keys).await?;
        let mirror = json!({"job-id": SWAP_JOB, "device": from, "target": to, "sync": "full", "auto-dismiss": false});
        let done = match self.qmp.execute("blockdev-mirror", mirror).await {
            Ok(_) => self.job(SWAP_JOB, Some("job-complete")).await,
            Err(error) => Err(error),
        };
        let left = if done.is_ok() { from } else { to };
        self.remove_node(&left).await?;
        done
    }

    /// Waits for a block job. One that becomes ready is told what to do then.
    async fn job(&self, id: &str, when_ready: Option<&str>) -> Result<()> {
        let deadline = Instant::now() + COPY;
        let mut told = false;
        loop {
            let jobs = self.qmp.execute("query-jobs", json!({})).await?;
            let job = jobs.as_array().into_iter().flatten().find(|job| job["id"] == id).cloned().unwrap_or(Value::Null);
            match (job["status"].as_str(), when_ready) {
                (Some("concluded"), _) => {
                    self.qmp.execute("job-dismiss", json!({"id": id})).await?;
                    return match job["error"].as_str() {
                        None => Ok(()),
                        Some(why) => Err(Error::new(Kind::Internal, format!("A disk could not be copied: {why}"))),
                    };
                }
                (Some("ready"), Some(command)) if !told => {
                    self.qmp.execute(command, json!({"id": id})).await?;
                    told = true;
                }
                (None, _) => return Err(Error::internal("a block job vanished")),
                _ if Instant::now() > deadline => {
                    self.qmp.execute("job-cancel", json!({"id": id})).await?;
                    return Err(Error::new(Kind::TimedOut, "A disk was not copied in time."));
                }
                _ => tokio::time::sleep(LOOK / 4).await,
            }
        }
    }

    /// The device that a disk is: one that was exchanged keeps the name of its predecessor.
    async fn device_of(&self, disk: &str) -> Result<Option<String>> {
        if let Some(device) = self.path_of(disk).await?.as_deref().and_then(device_of_path) {
            return Ok(Some(device.to_owned()));
        }
        let device = args::disk_id(disk);
        Ok(self.has_device(&device).await?.then_some(device))
    }

    /// The path of the half of a device that has the disk.
    async fn path_of(&self, disk: &str) -> Result<Option<String>> {
        let node = args::node_name(disk);
        let blocks = self.qmp.execute("query-block", json!({})).await?;
        let block = blocks.as_array().into_iter().flatten().find(|block| block["inserted"]["node-name"] == node.as_str());
        Ok(block.and_then(|block| block["qdev"].as_str()).map(str::to_owned))
    }

    async fn add_node(&self, disk: &Disk, keys: Vec<Value>) -> Result<()> {
        for key in keys {
            // one of an earlier attempt is in the way; usually there is none
            let _ = self.qmp.execute("object-del", json!({"id": key["id"]})).await;
            self.qmp.execute("object-add", key).await?;
        }
        self.qmp.execute("blockdev-add", nodes::block_node(disk)).await.map(drop)
    }

    pub(super) async fn remove_node(&self, node: &str) -> Result<()> {
        match self.qmp.execute("blockdev-del", json!({"node-name": node})).await {
            Err(error) if !error.message.contains("Failed to find node") => return Err(error),
            _ => {}
        }
        // its keys go with it, if it has any
        for name in nodes::key_names(node) {
            let _ = self.qmp.execute("object-del", json!({"id": name})).await;
        }
        Ok(())
    }
}

/// `/machine/peripheral/disk-root/virtio-backend` is the back half of `disk-root`.
pub(super) fn device_of_path(path: &str) -> Option<&str> {
    path.strip_prefix("/machine/peripheral/")?.split('/').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_of_a_path() {
        assert_eq!(device_of_path("/machine/peripheral/disk-a/virtio-backend"), Some("disk-a"));
        assert_eq!(device_of_path("/machine/peripheral/disk-a"), Some("disk-a"));
        assert_eq!(device_of_path("/machine/unattached/device[3]"), None);
    }
}
