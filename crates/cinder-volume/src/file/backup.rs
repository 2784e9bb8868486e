//! Backups: whole copies of volumes in files of their own. An incremental backup is a qcow2 file that stands on its parent and holds only
//! what differs from it; QEMU finds the difference. [`shelf`](super::shelf) is where they are kept.
//!
//! A backup of an encrypted volume is encrypted too, with a key of its own that all backups it builds on share.

use std::ffi::OsStr;
use std::path::Path;

use kit::{Error, Result};
use rpc::volume::{BackedUp, Secret};

use super::disk::{self, qemu_img};
use super::shelf::{Desk, backup_layout};
use super::unlocked::Readable;
use super::{FileBackend, Layout, layers, luks};
use crate::backend::Original;

impl FileBackend {
    pub(super) async fn keep_backup(&self, backup_id: &str, original: Original) -> Result<BackedUp> {
        let volume = self.existing(&original.volume_id).await?;
        let source = match &original.snapshot_id {
            Some(snapshot) => layers::path(self.state_dir(), &self.layer_of_snapshot(&volume, snapshot).await?),
            None => self.still(&volume, &original.volume_id, backup_id).await?,
        };
        let desk = self.desk(backup_id).await?;
        let made = self.fill_backup(&desk, backup_id, &source, &volume, original.parent_id.as_deref()).await;
        let put = match made {
            Ok(()) => desk.put(backup_id).await,
            Err(error) => Err(error),
        };
        desk.clear().await;
        put?;
        self.sweep().await?;
        Ok(BackedUp { object_count: 1, container: self.shelf().map(|shelf| shelf.name().to_owned()) })
    }

    async fn fill_backup(&self, desk: &Desk, backup_id: &str, source: &Path, volume: &Layout, parent: Option<&str>) -> Result<()> {
        let place = backup_layout(desk.root(), backup_id)?;
        let (of_volume, own) = match self.key_of(volume).await? {
            Some(key) => (Some(key), self.keys().of(backup_id).await?),
            None => (None, None),
        };
        if of_volume.is_some() && own.is_none() {
            // nobody shall find in the clear what was encrypted
            return Err(Error::unavailable(format!("There is no key for the backup {backup_id} of an encrypted volume.")));
        }
        let source = Readable::open(source, of_volume).await?;
        match parent {
            None => disk::make(&place, async |part| source.convert(part, own.as_ref()).await).await,
            Some(parent) => {
                desk.bring(parent).await?;
                let below = backup_layout(desk.root(), parent)?;
                let below = Readable::open(&below.disk, own.clone()).await?;
                disk::make(&place, async |part| difference(part, &source, &below, parent, own.as_ref()).await).await
            }
        }
    }

    /// What a backup holds, into a new disk.
    pub(super) async fn fill_from_backup(&self, desk: &Desk, backup_id: &str, bytes: u64, part: &Path, key: Option<&Secret>) -> Result<()> {
        desk.bring(backup_id).await?;
        let disk = backup_layout(desk.root(), backup_id)?.disk;
        let own = self.keys().of_disk(&disk, backup_id).await?;
        if own.is_some() && key.is_none() {
            return Err(Error::bad_request("An encrypted backup is restored to an encrypted volume only."));
        }
        Readable::open(&disk, own).await?.convert(part, key).await?;
        disk::resize(part, bytes, key).await
    }

    pub(super) async fn drop_backup(&self, backup_id: &str) -> Result<()> {
        let place = backup_layout(self.state_dir(), backup_id)?;
        if let Some(shelf) = self.shelf() {
            shelf.remove(backup_id).await?;
        }
        // also where a bucket was configured later
        disk::remove(&place).await
    }

    pub(super) async fn find_backup(&self, backup_id: &str) -> Result<bool> {
        let place = backup_layout(self.state_dir(), backup_id)?;
        if tokio::fs::try_exists(&place.disk).await? {
            return Ok(disk::info(&place.disk, Some("qcow2")).await.is_ok());
        }
        match self.shelf() {
            Some(shelf) => shelf.has(backup_id).await,
            None => Ok(false),
        }
    }
}

/// Writes what differs between `source` and the parent: a disk that stands on the source is moved to stand on the parent, and QEMU copies
/// into it what the two do not have in common.
async fn difference(part: &Path, source: &Readable, below: &Readable, parent: &str, key: Option<&Secret>) -> Result<()> {
    let bytes = source.virtual_size().await?;
    disk::overlay_on(part, source.format(), source.name(), bytes, key).await?;
    let to = ["-F", below.format(), "-b", below.name()];
    rebase(part, &["-q", "-U"], &to, key).await?;
    // the same content by the name it has wherever both are kept
    let name = format!("../../backups/{parent}/disk.qcow2");
    rebase(part, &["-q", "-u"], &["-F", "qcow2", "-b", &name], key).await
}

async fn rebase(part: &Path, how: &[&str], to: &[&str], key: Option<&Secret>) -> Result<()> {
    let own = luks::top(part, key);
    let arguments = how.iter().copied().chain(to.iter().copied()).chain(own.iter().map(String::as_str)).map(OsStr::new);
    qemu_img("rebase", arguments, key).await.map(drop)
}
