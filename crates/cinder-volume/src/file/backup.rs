//! Backups: whole copies of volumes in files of their own. An incremental backup is a qcow2 file that stands on its parent and holds only
//! what differs from it; QEMU finds the difference. [`shelf`](super::shelf) is where they are kept. All backends that have bytes keep theirs so.
//!
//! A backup of an encrypted volume is encrypted too, with a key of its own that all backups it builds on share.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use kit::{Error, Result};
use rpc::volume::{BackedUp, Secret};

use super::disk::{self, qemu_img};
use super::luks::{self, Keys};
use super::shelf::{self, Desk, Shelf, backup_layout};
use super::unlocked::Readable;
use super::{FileBackend, layers};
use crate::backend::Original;

/// The backups of a directory, or of a bucket.
pub struct Backups {
    home: PathBuf,
    keys: Keys,
    shelf: Option<Shelf>,
}

/// A backup on a desk.
pub struct Opened {
    desk: Desk,
    content: Readable,
}

impl Backups {
    /// Makes the directory. Blocks for a moment.
    pub fn open(home: PathBuf, keys: Keys, shelf: Option<Shelf>) -> Result<Backups> {
        let dir = home.join("backups");
        std::fs::create_dir_all(&dir)?;
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o700))?;
        // of work that a crash ended; it begins anew
        match std::fs::remove_dir_all(shelf::desks(&home)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        Ok(Backups { home, keys, shelf })
    }

    pub(super) fn home(&self) -> &Path {
        &self.home
    }

    pub(super) fn shelf(&self) -> Option<&Shelf> {
        self.shelf.as_ref()
    }

    /// Keeps what can be read of a volume, which may be encrypted.
    pub async fn keep(&self, backup_id: &str, source: Readable, encrypted: bool, parent: Option<&str>) -> Result<BackedUp> {
        let own = if encrypted { self.keys.of(backup_id).await? } else { None };
        if encrypted && own.is_none() {
            // nobody shall find in the clear what was encrypted
            return Err(Error::unavailable(format!("There is no key for the backup {backup_id} of an encrypted volume.")));
        }
        let desk = self.desk(backup_id).await?;
        let made = fill(&desk, backup_id, &source, own, parent).await;
        let put = match made {
            Ok(()) => desk.put(backup_id).await,
            Err(error) => Err(error),
        };
        desk.clear().await;
        put?;
        Ok(BackedUp { object_count: 1, container: self.shelf.as_ref().map(|shelf| shelf.name().to_owned()) })
    }

    /// A backup to be read for the work that `work_id` names, which may write to what is encrypted. It is to be closed afterwards.
    pub async fn read(&self, work_id: &str, backup_id: &str, to_encrypted: bool) -> Result<Opened> {
        let desk = self.desk(work_id).await?;
        match self.bring(&desk, backup_id, to_encrypted).await {
            Ok(content) => Ok(Opened { desk, content }),
            Err(error) => {
                desk.clear().await;
                Err(error)
            }
        }
    }

    async fn bring(&self, desk: &Desk, backup_id: &str, to_encrypted: bool) -> Result<Readable> {
        desk.bring(backup_id).await?;
        let disk = backup_layout(desk.root(), backup_id)?.disk;
        let own = self.keys.of_disk(&disk, backup_id).await?;
        if own.is_some() && !to_encrypted {
            return Err(Error::bad_request("An encrypted backup is restored to an encrypted volume only."));
        }
        Readable::open(&disk, own).await
    }

    pub async fn remove(&self, backup_id: &str) -> Result<()> {
        let place = backup_layout(&self.home, backup_id)?;
        if let Some(shelf) = &self.shelf {
            shelf.remove(backup_id).await?;
        }
        // also where a bucket was configured later
        disk::remove(&place).await
    }

    pub async fn has(&self, backup_id: &str) -> Result<bool> {
        let place = backup_layout(&self.home, backup_id)?;
        if tokio::fs::try_exists(&place.disk).await? {
            return Ok(disk::info(&place.disk, Some("qcow2")).await.is_ok());
        }
        match &self.shelf {
            Some(shelf) => shelf.has(backup_id).await,
            None => Ok(false),
        }
    }
}

impl Opened {
    pub fn content(&self) -> &Readable {
        &self.content
    }

    /// What was brought for this goes.
    pub async fn close(self) {
        drop(self.content);
        self.desk.clear().await;
    }
}

impl FileBackend {
    pub(super) async fn keep_backup(&self, backup_id: &str, original: Original) -> Result<BackedUp> {
        let volume = self.existing(&original.volume_id).await?;
        let source = match &original.snapshot_id {
            Some(snapshot) => layers::path(self.state_dir(), &self.layer_of_snapshot(&volume, snapshot).await?),
            None => self.still(&volume, &original.volume_id, backup_id).await?,
        };
        let key = self.key_of(&volume).await?;
        let encrypted = key.is_some();
        let source = Readable::open(&source, key).await?;
        let kept = self.backups().keep(backup_id, source, encrypted, original.parent_id.as_deref()).await?;
        self.sweep().await?;
        Ok(kept)
    }
}

async fn fill(desk: &Desk, backup_id: &str, source: &Readable, own: Option<Secret>, parent: Option<&str>) -> Result<()> {
    let place = backup_layout(desk.root(), backup_id)?;
    let Some(parent) = parent else {
        return disk::make(&place, async |part| source.convert(part, own.as_ref()).await).await;
    };
    desk.bring(parent).await?;
    let below = backup_layout(desk.root(), parent)?;
    let below = Readable::open(&below.disk, own.clone()).await?;
    disk::make(&place, async |part| difference(part, source, &below, parent, own.as_ref()).await).await
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
