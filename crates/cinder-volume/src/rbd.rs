//! A pool of a Ceph cluster, driven with `rbd` and `ceph`. Guests' QEMU reads and writes it by itself: nothing of this host is in between.
//!
//! A snapshot that goes while clones stand on it, and a disk that goes with such snapshots, stay in Ceph's own trash until the last clone is
//! gone or holds all its data itself (clones of version 2). A disk waits there under its name with `.deleted`, and every removal looks
//! whether something can leave.

use std::path::PathBuf;
use std::time::Duration;

use kit::{Error, Result};
use serde_json::{Value, json};

use crate::backend::{Capacity, Export};
use crate::connection::CephDir;
use crate::file::disk::Environment;
use crate::programs::{LONG, Output, Programs, SOON, failed};
use crate::raw::{Pool, names};

const GIB: f64 = (1u64 << 30) as f64;
/// How many trashed disks a removal tries to let go, one standing on another.
const ROUNDS: usize = 64;

/// Which pool, and who we are there: what cinder calls `rbd_pool`, `rbd_user` and so on.
#[derive(Clone, Debug)]
pub struct RbdConfig {
    pub pool: String,
    pub user: String,
    pub cluster_name: String,
    pub ceph_conf: PathBuf,
    /// What libvirt's hosts know the user's key by; the cluster's id if absent.
    pub secret_uuid: Option<String>,
    pub flatten_volume_from_snapshot: bool,
    /// A clone that would stand on so many disks holds all its data itself instead; 0 is without end.
    pub max_clone_depth: usize,
    /// Where the user's keyring is.
    pub ceph: CephDir,
}

pub struct Rbd {
    config: RbdConfig,
    programs: Programs,
}

impl Rbd {
    pub fn new(config: RbdConfig) -> Rbd {
        let programs = Programs::of_host(config.ceph.environment(&config.cluster_name, &config.user));
        Rbd::driven_by(config, programs)
    }

    pub fn driven_by(config: RbdConfig, programs: Programs) -> Rbd {
        Rbd { config, programs }
    }

    fn at(&self, disk: &str) -> String {
        format!("{}/{disk}", self.config.pool)
    }

    fn at_snapshot(&self, disk: &str, snapshot: &str) -> String {
        format!("{}/{disk}@{snapshot}", self.config.pool)
    }

    async fn rbd(&self, patience: Duration, words: &[&str]) -> Result<Output> {
        let conf = self.config.ceph_conf.to_string_lossy();
        let arguments: Vec<&str> = ["--conf", &conf, "--id", &self.config.user].into_iter().chain(words.iter().copied()).collect();
        self.programs.run(patience, "rbd", &arguments).await
    }

    async fn must(&self, patience: Duration, words: &[&str]) -> Result<String> {
        let output = self.rbd(patience, words).await?;
        if output.code == 0 { Ok(output.stdout) } else { Err(failed("rbd", words, &output)) }
    }

    async fn look(&self, words: &[&str]) -> Result<Value> {
        let words: Vec<&str> = words.iter().copied().chain(["--format", "json"]).collect();
        Ok(serde_json::from_str(&self.must(SOON, &words).await?)?)
    }

    async fn ceph(&self, words: &[&str]) -> Result<Value> {
        let conf = self.config.ceph_conf.to_string_lossy();
        let arguments: Vec<&str> =
            ["--conf", &conf, "--id", &self.config.user, "--format", "json"].into_iter().chain(words.iter().copied()).collect();
        self.programs.json("ceph", &arguments).await
    }

    /// What the pool says of a disk. A cluster that cannot be reached says 2, too, but not of the image.
    async fn info(&self, disk: &str) -> Result<Option<Value>> {
        let at = self.at(disk);
        let words = ["info", &at, "--format", "json"];
        let output = self.rbd(SOON, &words).await?;
        match output.code {
            0 => Ok(Some(serde_json::from_str(&output.stdout)?)),
            2 if output.stderr.contains("error opening image") => Ok(None),
            _ => Err(failed("rbd", &words, &output)),
        }
    }

    async fn has_snapshot(&self, disk: &str, snapshot: &str) -> Result<bool> {
        Ok(self.snapshots(disk).await?.iter().any(|(name, _)| name == snapshot))
    }

    /// How many disks this one stands on.
    async fn depth(&self, disk: &str) -> Result<usize> {
        let mut depth = 0;
        let mut info = self.info(disk).await?.unwrap_or_default();
        while let Some(parent) = info["parent"]["id"].as_str() {
            depth += 1;
            // its name may be in the trash, its id stays
            let (pool, id) = (info["parent"]["pool"].as_str().unwrap_or(&self.config.pool).to_owned(), parent.to_owned());
            info = self.look(&["info", "--pool", &pool, "--image-id", &id]).await?;
        }
        Ok(depth)
    }

    /// Removes a disk that is there: at once, or as soon as nothing stands on it.
    async fn discard(&self, disk: &str) -> Result<()> {
        for (snapshot, _) in self.snapshots(disk).await? {
            self.remove_snapshot(disk, &snapshot).await?;
        }
        let at = self.at(disk);
        if self.rbd(LONG, &["rm", "--no-progress", &at]).await?.code == 0 || self.info(disk).await?.is_none() {
            return Ok(());
        }
        let gone = format!("{disk}{DELETED}");
        self.must(SOON, &["rename", &at, &self.at(&gone)]).await?;
        self.bin(&gone).await
    }

    async fn bin(&self, disk: &str) -> Result<()> {
        self.must(SOON, &["trash", "mv", &self.at(disk)]).await.map(drop)
    }

    /// Removes what waited for others to go, and what a removal that broke off has left.
    async fn empty_bin(&self, own: &str) -> Result<()> {
        for _ in 0..ROUNDS {
            let waiting = self.look(&["trash", "ls", "--all", "--pool", &self.config.pool]).await?;
            let mut gone = 0;
            for entry in waiting.as_array().into_iter().flatten() {
                let (Some(id), Some(name)) = (entry["id"].as_str(), entry["name"].as_str()) else { continue };
                let ours = name == own || names::volume_of(name).is_some() && name.ends_with(DELETED);
                // one that others stand on is refused, and waits on
                if ours && self.rbd(LONG, &["trash", "rm", "--no-progress", &self.at(id)]).await?.code == 0 {
                    gone += 1;
                }
            }
            if gone == 0 {
                break;
            }
        }
        Ok(())
    }
}

/// How the names of disks end that are gone for users.
const DELETED: &str = ".deleted";

impl Pool for Rbd {
    fn protocol(&self) -> &'static str {
        "rbd"
    }

    async fn prepare(&self) -> Result<()> {
        self.look(&["ls", &self.config.pool]).await.map(drop)
    }

    fn node(&self, disk: &str, snapshot: Option<&str>) -> Value {
        let RbdConfig { pool, user, ceph_conf, .. } = &self.config;
        let mut node = json!({"driver": "rbd", "pool": pool, "image": disk, "user": user, "conf": ceph_conf});
        if let Some(snapshot) = snapshot {
            node["snapshot"] = json!(snapshot);
        }
        node
    }

    fn environment(&self) -> Environment {
        self.config.ceph.environment(&self.config.cluster_name, &self.config.user)
    }

    /// As cinder's driver gives it. Keys are no part of it (OSSN-0085): each host has the user's keyring, or libvirt's secret.
    async fn connection(&self, disk: &str, _: &Export) -> Result<Option<Value>> {
        let map = self.ceph(&["mon", "dump"]).await?;
        let addresses = map["mons"].as_array().into_iter().flatten().filter_map(|monitor| monitor["addr"].as_str());
        let (hosts, ports): (Vec<&str>, Vec<&str>) = addresses.filter_map(host_and_port).unzip();
        Ok(Some(json!({
            "name": self.at(disk), "hosts": hosts, "ports": ports, "cluster_name": self.config.cluster_name,
            "auth_enabled": true, "auth_username": self.config.user, "secret_type": "ceph",
            "secret_uuid": self.config.secret_uuid.as_deref().or(map["fsid"].as_str()), "discard": true,
        })))
    }

    async fn is_watched(&self, disk: &str) -> Result<bool> {
        let status = self.look(&["status", &self.at(disk)]).await?;
        Ok(status["watchers"].as_array().is_some_and(|watchers| !watchers.is_empty()))
    }

    async fn names(&self) -> Result<Vec<String>> {
        Ok(serde_json::from_value(self.look(&["ls", &self.config.pool]).await?)?)
    }

    async fn size(&self, disk: &str) -> Result<Option<u64>> {
        Ok(self.info(disk).await?.and_then(|info| info["size"].as_u64()))
    }

    async fn create(&self, disk: &str, bytes: u64) -> Result<()> {
        self.must(SOON, &["create", "--size", &format!("{bytes}B"), &self.at(disk)]).await.map(drop)
    }

    async fn remove(&self, disk: &str) -> Result<()> {
        if self.info(disk).await?.is_some() {
            self.discard(disk).await?;
        }
        let gone = format!("{disk}{DELETED}");
        if self.info(&gone).await?.is_some() {
            // where an earlier removal broke off
            self.bin(&gone).await?;
        }
        self.empty_bin(disk).await
    }

    async fn rename(&self, disk: &str, to: &str) -> Result<()> {
        self.must(SOON, &["rename", &self.at(disk), &self.at(to)]).await.map(drop)
    }

    async fn grow(&self, disk: &str, bytes: u64) -> Result<()> {
        match self.size(disk).await? {
            Some(size) if size >= bytes => Ok(()),
            _ => self.must(SOON, &["resize", "--no-progress", "--size", &format!("{bytes}B"), &self.at(disk)]).await.map(drop),
        }
    }

    async fn empty(&self, disk: &str, bytes: u64) -> Result<()> {
        if self.size(disk).await? != Some(0) {
            self.must(LONG, &["resize", "--no-progress", "--allow-shrink", "--size", "0", &self.at(disk)]).await?;
        }
        self.grow(disk, bytes).await
    }

    async fn snapshots(&self, disk: &str) -> Result<Vec<(String, u64)>> {
        let all = self.look(&["snap", "ls", &self.at(disk)]).await?;
        let known = |snap: &Value| Some((snap["name"].as_str()?.to_owned(), snap["size"].as_u64()?));
        Ok(all.as_array().into_iter().flatten().filter_map(known).collect())
    }

    async fn snapshot(&self, disk: &str, snapshot: &str) -> Result<()> {
        if self.has_snapshot(disk, snapshot).await? {
            return Ok(());
        }
        self.must(SOON, &["snap", "create", "--no-progress", &self.at_snapshot(disk, snapshot)]).await.map(drop)
    }

    async fn remove_snapshot(&self, disk: &str, snapshot: &str) -> Result<()> {
        let all = self.look(&["snap", "ls", &self.at(disk)]).await?;
        let Some(found) = all.as_array().into_iter().flatten().find(|snap| snap["name"] == snapshot) else { return Ok(()) };
        let at = self.at_snapshot(disk, snapshot);
        // as those of others are, that were taken over; a snapshot that clones of version 1 stand on stays so, and cannot go
        if found["protected"] == "true" {
            self.must(SOON, &["snap", "unprotect", &at]).await?;
        }
        self.must(LONG, &["snap", "rm", "--no-progress", &at]).await.map(drop)
    }

    async fn rename_snapshot(&self, disk: &str, snapshot: &str, to: &str) -> Result<()> {
        if self.has_snapshot(disk, to).await? {
            return Ok(());
        }
        self.must(SOON, &["snap", "rename", &self.at_snapshot(disk, snapshot), &self.at_snapshot(disk, to)]).await.map(drop)
    }

    async fn clone_of(&self, disk: &str, snapshot: &str, kept: bool, to: &str) -> Result<()> {
        let (from, to) = (self.at_snapshot(disk, snapshot), self.at(to));
        self.must(SOON, &["clone", "--rbd-default-clone-format", "2", &from, &to]).await?;
        let limit = self.config.max_clone_depth;
        if kept && self.config.flatten_volume_from_snapshot || limit > 0 && self.depth(disk).await? >= limit {
            self.must(LONG, &["flatten", "--no-progress", &to]).await?;
        }
        Ok(())
    }

    async fn roll_back(&self, disk: &str, snapshot: &str) -> Result<()> {
        self.must(LONG, &["snap", "rollback", "--no-progress", &self.at_snapshot(disk, snapshot)]).await.map(drop)
    }

    /// With a quota the quota is all there is; without one, what is free and what is used (`report_dynamic_total_capacity`).
    async fn capacity(&self) -> Result<Capacity> {
        let df = self.ceph(&["df"]).await?;
        let pool = df["pools"].as_array().into_iter().flatten().find(|pool| pool["name"] == self.config.pool.as_str());
        let stats = pool.map(|pool| &pool["stats"]).ok_or_else(|| Error::unavailable(format!("There is no pool {}.", self.config.pool)))?;
        let bytes = |name: &str| stats[name].as_f64().unwrap_or_default();
        let used = if stats["stored"].is_null() { bytes("bytes_used") } else { bytes("stored") };
        let quota = self.ceph(&["osd", "pool", "get-quota", &self.config.pool]).await?["quota_max_bytes"].as_f64().unwrap_or_default();
        let free = if quota > 0.0 { (quota - used).min(bytes("max_avail")).max(0.0) } else { bytes("max_avail") };
        Ok(Capacity { total: (free + used) / GIB, free: free / GIB })
    }
}

/// Of `10.0.0.1:6789/0` and `[fd00::1]:6789/0`.
fn host_and_port(address: &str) -> Option<(&str, &str)> {
    let (host, port) = address.split('/').next()?.rsplit_once(':')?;
    Some((host.trim_matches(['[', ']']), port))
}

#[cfg(test)]
mod tests;
