//! A thin pool of a volume group, driven with LVM's programs. Its volumes are block devices of this host, which serves them over NBD as it
//! does files.
//!
//! Snapshots are thin volumes of their own, which stay when what they were taken of is gone. They are called `_SNAPSHOT` (LVM keeps names
//! that begin with `snapshot` for itself) and bear a tag that says whose they are.

use std::time::Duration;

use kit::{Error, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::backend::{Capacity, Export};
use crate::file::disk::Environment;
use crate::programs::{LONG, Programs, SOON};
use crate::raw::Pool;

const GIB: f64 = (1u64 << 30) as f64;
const TAG: &str = "cumulo/";
/// How much of the volume group a pool gets that is not there yet; the rest is for its metadata and its repair, as in cinder.
const SHARE: &str = "95%FREE";

/// What cinder calls `volume_group` and `lvm_pool_name`.
#[derive(Clone, Debug)]
pub struct LvmConfig {
    pub volume_group: String,
    pub pool_name: String,
}

pub struct Lvm {
    config: LvmConfig,
    programs: Programs,
}

/// What LVM says of a volume.
#[derive(Debug, Deserialize)]
struct Row {
    lv_name: String,
    lv_size: String,
    #[serde(default)]
    lv_tags: String,
    #[serde(default)]
    pool_lv: String,
    #[serde(default)]
    data_percent: String,
}

impl Row {
    fn bytes(&self) -> u64 {
        self.lv_size.parse().unwrap_or_default()
    }

    /// The disk that a snapshot is of.
    fn of(&self) -> Option<&str> {
        self.lv_tags.split(',').find_map(|tag| tag.strip_prefix(TAG))
    }
}

impl Lvm {
    pub fn new(config: LvmConfig) -> Lvm {
        Lvm::driven_by(config, Programs::of_host(Environment::default()))
    }

    pub fn driven_by(config: LvmConfig, programs: Programs) -> Lvm {
        Lvm { config, programs }
    }

    fn at(&self, volume: &str) -> String {
        format!("{}/{volume}", self.config.volume_group)
    }

    fn device(&self, volume: &str) -> String {
        format!("/dev/{}", self.at(volume))
    }

    async fn must(&self, patience: Duration, program: &str, words: &[&str]) -> Result<()> {
        self.programs.must(patience, program, words).await.map(drop)
    }

    async fn rows(&self) -> Result<Vec<Row>> {
        let fields = "lv_name,lv_size,lv_tags,pool_lv,data_percent";
        let words = ["--reportformat", "json", "--units", "b", "--nosuffix", "-o", fields, &self.config.volume_group];
        let mut report = self.programs.json("lvs", &words).await?;
        Ok(serde_json::from_value(report["report"][0]["lv"].take())?)
    }

    async fn row(&self, volume: &str) -> Result<Option<Row>> {
        Ok(self.rows().await?.into_iter().find(|row| row.lv_name == volume))
    }

    /// The thin volumes that are no snapshots, or the snapshots of a disk.
    async fn volumes(&self, of: Option<&str>) -> Result<Vec<Row>> {
        let mut rows = self.rows().await?;
        rows.retain(|row| row.pool_lv == self.config.pool_name && row.of() == of);
        Ok(rows)
    }

    /// A thin volume that begins as another is now, of the same size. It is there after a restart, too, as a snapshot else is not.
    async fn thin_copy(&self, of: &str, name: &str, tag: Option<&str>) -> Result<()> {
        let of = self.at(of);
        let tag = tag.map(|disk| format!("{TAG}{disk}"));
        let tagged = tag.iter().flat_map(|tag| ["--addtag", tag]);
        let words: Vec<&str> = ["--snapshot", "--setactivationskip", "n", "--name", name].into_iter().chain(tagged).chain([&*of]).collect();
        self.must(SOON, "lvcreate", &words).await
    }

    async fn remove_volume(&self, volume: &str) -> Result<()> {
        self.must(LONG, "lvremove", &["--force", &self.at(volume)]).await
    }

    async fn rename_volume(&self, volume: &str, to: &str) -> Result<()> {
        self.must(SOON, "lvrename", &[&self.config.volume_group, volume, to]).await
    }
}

/// A snapshot's own volume.
fn name_of(snapshot: &str) -> String {
    format!("_{snapshot}")
}

/// What a disk is called while it goes back to a snapshot.
fn going_back(disk: &str) -> String {
    format!("{disk}.back")
}

impl Pool for Lvm {
    /// The word for how the volumes are served.
    fn protocol(&self) -> &'static str {
        "nbd"
    }

    async fn prepare(&self) -> Result<()> {
        let LvmConfig { volume_group, pool_name } = &self.config;
        let rows = self.rows().await?;
        if !rows.iter().any(|row| row.lv_name == *pool_name) {
            self.must(SOON, "lvcreate", &["--type", "thin-pool", "--extents", SHARE, "--name", pool_name, volume_group]).await?;
        }
        // where going back to a snapshot broke off between two steps
        for row in rows.iter().filter(|row| row.pool_lv == *pool_name) {
            if let Some(disk) = row.lv_name.strip_suffix(".back") {
                match rows.iter().any(|other| other.lv_name == disk) {
                    true => self.remove_volume(&row.lv_name).await?,
                    false => self.rename_volume(&row.lv_name, disk).await?,
                }
            }
        }
        Ok(())
    }

    fn node(&self, disk: &str, snapshot: Option<&str>) -> Value {
        let device = self.device(&snapshot.map_or_else(|| disk.to_owned(), name_of));
        json!({"driver": "host_device", "filename": device, "discard": "unmap", "cache": {"direct": true}})
    }

    fn environment(&self) -> Environment {
        Environment::default()
    }

    async fn connection(&self, _: &str, _: &Export) -> Result<Option<Value>> {
        Ok(None)
    }

    async fn is_watched(&self, _: &str) -> Result<bool> {
        Ok(false)
    }

    async fn names(&self) -> Result<Vec<String>> {
        Ok(self.volumes(None).await?.into_iter().map(|row| row.lv_name).collect())
    }

    async fn size(&self, disk: &str) -> Result<Option<u64>> {
        Ok(self.row(disk).await?.map(|row| row.bytes()))
    }

    async fn create(&self, disk: &str, bytes: u64) -> Result<()> {
        let (size, pool) = (format!("{bytes}b"), self.at(&self.config.pool_name));
        self.must(SOON, "lvcreate", &["--type", "thin", "--virtualsize", &size, "--name", disk, "--thinpool", &pool]).await
    }

    async fn remove(&self, disk: &str) -> Result<()> {
        for snapshot in self.volumes(Some(disk)).await? {
            self.remove_volume(&snapshot.lv_name).await?;
        }
        match self.row(disk).await? {
            Some(_) => self.remove_volume(disk).await,
            None => Ok(()),
        }
    }

    async fn rename(&self, disk: &str, to: &str) -> Result<()> {
        self.rename_volume(disk, to).await
    }

    async fn grow(&self, disk: &str, bytes: u64) -> Result<()> {
        match self.size(disk).await? {
            Some(size) if size >= bytes => Ok(()),
            _ => self.must(SOON, "lvextend", &["--size", &format!("{bytes}b"), &self.at(disk)]).await,
        }
    }

    /// What a thin volume gives back reads as zeros.
    async fn empty(&self, disk: &str, bytes: u64) -> Result<()> {
        self.must(LONG, "blkdiscard", &[&self.device(disk)]).await?;
        self.grow(disk, bytes).await
    }

    async fn snapshots(&self, disk: &str) -> Result<Vec<(String, u64)>> {
        let rows = self.volumes(Some(disk)).await?;
        Ok(rows.iter().filter_map(|row| Some((row.lv_name.strip_prefix('_')?.to_owned(), row.bytes()))).collect())
    }

    async fn snapshot(&self, disk: &str, snapshot: &str) -> Result<()> {
        let name = name_of(snapshot);
        match self.row(&name).await? {
            Some(_) => Ok(()),
            None => self.thin_copy(disk, &name, Some(disk)).await,
        }
    }

    async fn remove_snapshot(&self, _: &str, snapshot: &str) -> Result<()> {
        let name = name_of(snapshot);
        match self.row(&name).await? {
            Some(_) => self.remove_volume(&name).await,
            None => Ok(()),
        }
    }

    async fn rename_snapshot(&self, _: &str, snapshot: &str, to: &str) -> Result<()> {
        let to = name_of(to);
        match self.row(&to).await? {
            Some(_) => Ok(()),
            None => self.rename_volume(&name_of(snapshot), &to).await,
        }
    }

    async fn clone_of(&self, _: &str, snapshot: &str, _: bool, to: &str) -> Result<()> {
        self.thin_copy(&name_of(snapshot), to, None).await
    }

    /// A copy of the snapshot takes the place of the disk. (Merging would take the snapshot away.)
    async fn roll_back(&self, disk: &str, snapshot: &str) -> Result<()> {
        let (back, name) = (going_back(disk), name_of(snapshot));
        if self.row(&name).await?.is_none() {
            return Err(Error::not_found(format!("{snapshot} has no data on this storage.")));
        }
        if self.row(&back).await?.is_some() {
            self.remove_volume(&back).await?;
        }
        self.thin_copy(&name, &back, None).await?;
        self.remove_volume(disk).await?;
        self.rename_volume(&back, disk).await
    }

    async fn capacity(&self) -> Result<Capacity> {
        let pool = self.row(&self.config.pool_name).await?;
        let pool = pool.ok_or_else(|| Error::unavailable(format!("There is no thin pool {}.", self.at(&self.config.pool_name))))?;
        let (total, used) = (pool.bytes() as f64 / GIB, pool.data_percent.parse::<f64>().unwrap_or_default());
        Ok(Capacity { total, free: total * (100.0 - used) / 100.0 })
    }
}

#[cfg(test)]
mod tests;
