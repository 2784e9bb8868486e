//! Where backups are kept: beside the volumes, or in a bucket that several hosts share. QEMU works with files, so what is in a bucket is
//! brought to a desk first, with all it builds on; the desk is cleared when the work is done, or at the next start.
//!
//! ```text
//! STATE_DIR/backups/BACKUP/disk.qcow2             kept here
//! STATE_DIR/desks/WORK/backups/BACKUP/disk.qcow2  on a desk, with the same names below
//! BUCKET/backups/BACKUP.qcow2                     kept in a bucket; there only when it is whole
//! ```

use std::path::{Path, PathBuf};

use kit::{Error, Result};
use outside::bucket::Bucket;
use outside::object_store;

use super::backup::Backups;
use super::{Layout, disk, layers};

/// Backups a backup may stand on, one on another: more than that is a circle.
const DEPTH: usize = 1000;

/// A bucket of backups.
#[derive(Clone, Debug)]
pub struct Shelf(Bucket);

impl Shelf {
    pub fn new(bucket: Bucket) -> Shelf {
        Shelf(bucket)
    }

    pub fn name(&self) -> &str {
        self.0.name()
    }

    pub async fn has(&self, backup_id: &str) -> Result<bool> {
        self.0.has(&key(backup_id)?).await.map_err(failed)
    }

    pub async fn remove(&self, backup_id: &str) -> Result<()> {
        self.0.remove(&key(backup_id)?).await.map_err(failed)
    }
}

/// Where one piece of work finds backups and leaves them.
pub struct Desk {
    root: PathBuf,
    /// Absent where backups are kept in the directory itself.
    shelf: Option<Shelf>,
    home: PathBuf,
}

impl Backups {
    /// A desk for the work that `id` names.
    pub(super) async fn desk(&self, id: &str) -> Result<Desk> {
        let home = self.home().to_owned();
        let Some(shelf) = self.shelf() else { return Ok(Desk { root: home.clone(), shelf: None, home }) };
        let id = kit::ids::parse_uuid(id).ok_or_else(|| Error::bad_request(format!("{id} is no id.")))?;
        let root = desks(&home).join(id);
        // of an earlier try
        remove_all(&root).await?;
        tokio::fs::create_dir_all(root.join("backups")).await?;
        Ok(Desk { root, shelf: Some(shelf.clone()), home })
    }
}

impl Desk {
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes a backup and all it builds on readable here.
    pub async fn bring(&self, backup_id: &str) -> Result<()> {
        let mut next = Some(backup_id.to_owned());
        for _ in 0..DEPTH {
            let Some(id) = next else { return Ok(()) };
            let place = backup_layout(&self.root, &id)?;
            if !tokio::fs::try_exists(&place.disk).await? {
                self.fetch(&id, &place).await?;
            }
            let backing = layers::backing(&place.disk).await?;
            next = match backing {
                Some(name) => Some(backup_of(&name).ok_or_else(|| Error::internal(format!("{id} stands on {name}")))?.to_owned()),
                None => None,
            };
        }
        Err(Error::internal(format!("the backup {backup_id} stands on too many others")))
    }

    async fn fetch(&self, backup_id: &str, place: &Layout) -> Result<()> {
        let missing = || Error::not_found(format!("Backup {backup_id} could not be found."));
        let Some(shelf) = &self.shelf else { return Err(missing()) };
        // one that was kept here before there was a bucket
        let kept = backup_layout(&self.home, backup_id)?;
        if tokio::fs::try_exists(&kept.disk).await? {
            tokio::fs::create_dir_all(&place.dir).await?;
            return Ok(tokio::fs::hard_link(&kept.disk, &place.disk).await?);
        }
        disk::make(place, async |part| match shelf.0.fetch(&key(backup_id)?, part).await {
            Err(object_store::Error::NotFound { .. }) => Err(missing()),
            other => other.map_err(failed),
        })
        .await
    }

    /// Keeps what was made here; when this returns, it is there for good.
    pub async fn put(&self, backup_id: &str) -> Result<()> {
        let Some(shelf) = &self.shelf else { return Ok(()) };
        shelf.0.put(&backup_layout(&self.root, backup_id)?.disk, &key(backup_id)?).await.map_err(failed)
    }

    /// What was only brought goes. What cannot be removed now is at the next start.
    pub async fn clear(self) {
        if self.shelf.is_some()
            && let Err(error) = remove_all(&self.root).await
        {
            tracing::warn!(desk = %self.root.display(), %error, "is not cleared yet");
        }
    }
}

/// All desks of a state directory.
pub fn desks(state_dir: &Path) -> PathBuf {
    state_dir.join("desks")
}

/// Where a backup is below `root`; laid out as a volume is, of which it uses the disk only.
pub fn backup_layout(root: &Path, backup_id: &str) -> Result<Layout> {
    let id = kit::ids::parse_uuid(backup_id).ok_or_else(|| Error::bad_request(format!("{backup_id} is no backup id.")))?;
    Ok(Layout::beside(root, "backups", &id))
}

/// The backup's id in the name of a backing file.
fn backup_of(backing: &str) -> Option<&str> {
    backing.strip_prefix("../../backups/")?.strip_suffix("/disk.qcow2")
}

/// What a backup is called in the bucket.
fn key(backup_id: &str) -> Result<String> {
    let id = kit::ids::parse_uuid(backup_id).ok_or_else(|| Error::bad_request(format!("{backup_id} is no backup id.")))?;
    Ok(format!("backups/{id}.qcow2"))
}

async fn remove_all(dir: &Path) -> std::io::Result<()> {
    match tokio::fs::remove_dir_all(dir).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn failed(error: object_store::Error) -> Error {
    Error::unavailable("The backup store cannot be used at the moment.").source(error)
}
