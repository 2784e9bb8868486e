//! Taking over disks that lie in `STATE_DIR/unmanaged/NAME/disk.qcow2`, and leaving them there again.

use std::path::{Path, PathBuf};

use kit::{Error, Result};
use rpc::volume::Manageable;

use super::disk::{self, blocking, gib};
use super::{FileBackend, GIB, layers};

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
        disk::resize(&layout.disk, size * GIB).await?;
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

    fn stray(&self, name: &str) -> Result<PathBuf> {
        let plain = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0']);
        if !plain {
            return Err(refused(name, "it is no name of a directory"));
        }
        Ok(self.state_dir().join("unmanaged").join(name))
    }
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
