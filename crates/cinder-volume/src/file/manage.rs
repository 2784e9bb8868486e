//! Taking over disks that lie in `STATE_DIR/unmanaged/NAME/disk.qcow2`, and leaving them there again; the same for snapshots, whose notes
//! stay with their volume under another name.

use std::path::{Path, PathBuf};

use kit::{Error, Result};
use rpc::volume::{Manageable, ManageableSnapshot};

use super::disk::{self, blocking, gib};
use super::snapshots::snapshot_note;
use super::{FileBackend, GIB, layers};

/// How the names of snapshots begin that nobody manages.
const STRAY: &str = "_snapshot-";

impl FileBackend {
    pub(super) async fn strays(&self) -> Result<Vec<Manageable>> {
        let home = self.state_dir().join("unmanaged");
        let dir = home.clone();
        let mut found = Vec::new();
        for name in blocking(move || layers::names(&dir)).await? {
            if let Ok(bytes) = acceptable(&home.join(&name).join("disk.qcow2")).await {
                found.push(Manageable { name, size: gib(bytes) });
            }
        }
        Ok(found)
    }

    /// Makes a stray disk the volume's; answers GiB. Its size is rounded up to a whole number of them.
    pub(super) async fn take_over(&self, volume_id: &str, name: &str) -> Result<u64> {
        let layout = self.layout(volume_id)?;
        if !tokio::fs::try_exists(&layout.disk).await? {
            let stray = self.stray(name)?;
            acceptable(&stray.join("disk.qcow2")).await?;
            let (to, home) = (layout.dir.clone(), self.state_dir().join("volumes"));
            blocking(move || {
                std::fs::rename(stray, to)?;
                std::fs::File::open(home)?.sync_all()
            })
            .await?;
        }
        let size = gib(disk::virtual_size(&layout.disk).await?).max(1);
        disk::resize(&layout.disk, size * GIB, None).await?;
        Ok(size)
    }

    pub(super) async fn let_go(&self, volume_id: &str) -> Result<()> {
        if self.exporter(volume_id).is_some() {
            return Err(Error::conflict(format!("Volume {volume_id} is still exported.")));
        }
        let (layout, home) = (self.layout(volume_id)?, self.state_dir().join("unmanaged"));
        let to = home.join(format!("volume-{volume_id}"));
        blocking(move || {
            std::fs::create_dir_all(&home)?;
            match std::fs::rename(&layout.dir, &to) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            std::fs::File::open(&home)?.sync_all()
        })
        .await
    }

    /// Notes of snapshots that bear no snapshot's id.
    pub(super) async fn stray_snapshots(&self) -> Result<Vec<ManageableSnapshot>> {
        let home = self.state_dir().join("volumes");
        let dir = home.clone();
        let mut found = Vec::new();
        for volume_id in blocking(move || layers::names(&dir)).await? {
            let notes = home.join(&volume_id).join("snapshots");
            let dir = notes.clone();
            for name in blocking(move || layers::names(&dir)).await?.into_iter().filter(|name| name.starts_with(STRAY)) {
                let size = self.size_of_note(&notes.join(&name)).await?;
                found.push(ManageableSnapshot { name, volume_id: volume_id.clone(), size });
            }
        }
        Ok(found)
    }

    /// Gives a stray note the snapshot's id; answers GiB.
    pub(super) async fn take_over_snapshot(&self, volume_id: &str, snapshot_id: &str, name: &str) -> Result<u64> {
        let volume = self.existing(volume_id).await?;
        let note = snapshot_note(&volume, snapshot_id)?;
        if !tokio::fs::try_exists(&note).await? {
            let stray = volume.snapshots.join(plain(name)?);
            if !name.starts_with(STRAY) || !tokio::fs::try_exists(&stray).await? {
                return Err(refused(name, "it is no snapshot of the volume that nobody manages"));
            }
            rename(stray, note.clone()).await?;
        }
        self.size_of_note(&note).await
    }

    pub(super) async fn let_go_snapshot(&self, volume_id: &str, snapshot_id: &str) -> Result<()> {
        let volume = self.existing(volume_id).await?;
        let note = snapshot_note(&volume, snapshot_id)?;
        if tokio::fs::try_exists(&note).await? {
            rename(note, volume.snapshots.join(format!("{STRAY}{snapshot_id}"))).await?;
        }
        Ok(())
    }

    /// GiB of the layer that a snapshot's note names.
    async fn size_of_note(&self, note: &Path) -> Result<u64> {
        let layer = tokio::fs::read_to_string(note).await?;
        Ok(gib(disk::virtual_size(&layers::path(self.state_dir(), layer.trim())).await?))
    }

    fn stray(&self, name: &str) -> Result<PathBuf> {
        Ok(self.state_dir().join("unmanaged").join(plain(name)?))
    }
}

/// A name that leads nowhere else.
fn plain(name: &str) -> Result<&str> {
    match !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0']) {
        true => Ok(name),
        false => Err(refused(name, "it is no name of a file")),
    }
}

async fn rename(from: PathBuf, to: PathBuf) -> Result<()> {
    blocking(move || {
        std::fs::rename(from, &to)?;
        to.parent().map_or(Ok(()), |dir| std::fs::File::open(dir)?.sync_all())
    })
    .await
}

/// The bytes of a disk that stands on nothing but layers of ours.
async fn acceptable(disk: &Path) -> Result<u64> {
    let name = disk.display().to_string();
    let info = disk::info(disk, Some("qcow2")).await.map_err(|_| refused(&name, "it is no readable qcow2 disk"))?;
    let on_layers = info["backing-filename"].as_str().is_none_or(|backing| layers::layer_of(backing).is_some());
    if !on_layers || !info["format-specific"]["data"]["data-file"].is_null() {
        return Err(refused(&name, "it refers to another file"));
    }
    info["virtual-size"].as_u64().ok_or_else(|| refused(&name, "its size is unknown"))
}

fn refused(name: &str, why: &str) -> Error {
    Error::bad_request(format!("Manage existing volume failed due to invalid backend reference {name}: {why}."))
}
