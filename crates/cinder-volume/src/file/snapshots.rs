//! Snapshots: a note in the volume's folder says which layer holds it.

use std::path::PathBuf;

use kit::{Error, Result};

use super::{FileBackend, GIB, Layout, disk};

impl FileBackend {
    pub(super) async fn keep_snapshot(&self, volume_id: &str, snapshot_id: &str) -> Result<()> {
        let layout = self.existing(volume_id).await?;
        let note = snapshot_note(&layout, snapshot_id)?;
        if tokio::fs::try_exists(&note).await? {
            return Ok(());
        }
        self.freeze(&layout, snapshot_id, self.exporter(volume_id)).await?;
        let (dir, layer) = (layout.snapshots.clone(), snapshot_id.to_owned());
        disk::blocking(move || {
            std::fs::create_dir_all(&dir)?;
            let mut file = std::fs::File::create(&note)?;
            std::io::Write::write_all(&mut file, layer.as_bytes())?;
            file.sync_all()?;
            std::fs::File::open(&dir)?.sync_all()
        })
        .await
    }

    /// What only the snapshot needed goes with it.
    pub(super) async fn drop_snapshot(&self, volume_id: &str, snapshot_id: &str) -> Result<()> {
        let layout = self.layout(volume_id)?;
        let note = snapshot_note(&layout, snapshot_id)?;
        match tokio::fs::remove_file(&note).await {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        }
        self.sweep().await?;
        match self.exporter(volume_id) {
            Some(_) => Ok(()),
            None => self.collapse(&layout).await,
        }
    }

    /// The layer that holds a snapshot.
    pub(super) async fn layer_of_snapshot(&self, volume: &Layout, snapshot_id: &str) -> Result<String> {
        match tokio::fs::read_to_string(snapshot_note(volume, snapshot_id)?).await {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(Error::not_found(format!("Snapshot {snapshot_id} has no data on this host.")))
            }
            other => Ok(other?.trim().to_owned()),
        }
    }

    pub(super) async fn go_back(&self, volume_id: &str, snapshot_id: &str, size: u64) -> Result<()> {
        let layout = self.unserved(volume_id).await?;
        let layer = self.layer_of_snapshot(&layout, snapshot_id).await?;
        self.fall_back_to(&layout, &layer, size * GIB).await?;
        self.sweep().await
    }
}

/// The file that says which layer holds a snapshot.
pub(super) fn snapshot_note(volume: &Layout, snapshot_id: &str) -> Result<PathBuf> {
    let id = kit::ids::parse_uuid(snapshot_id).ok_or_else(|| Error::bad_request(format!("{snapshot_id} is no snapshot id.")))?;
    Ok(volume.snapshots.join(id))
}
