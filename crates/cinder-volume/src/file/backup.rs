//! Backups: whole copies of volumes in files of their own, beside the volumes. An incremental backup is a qcow2 file that stands on its
//! parent and holds only what differs from it; QEMU finds the difference.
//!
//! `STATE_DIR/backups/BACKUP/disk.qcow2`

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use kit::{Error, Result};
use rpc::volume::BackedUp;

use super::disk::{self, qemu_img};
use super::{FileBackend, Layout, layers, luks};
use crate::backend::{ImageFile, Original};

impl FileBackend {
    pub(super) async fn keep_backup(&self, backup_id: &str, original: Original) -> Result<BackedUp> {
        let place = self.backup_place(backup_id)?;
        let volume = self.existing(&original.volume_id).await?;
        let source = match &original.snapshot_id {
            Some(snapshot) => layers::path(self.state_dir(), &self.layer_of_snapshot(&volume, snapshot).await?),
            None => self.still(&volume, &original.volume_id, backup_id).await?,
        };
        match &original.parent_id {
            None => disk::make(&place, async |part| disk::convert(&["-f", "qcow2"], &source, part, None).await).await?,
            Some(parent) => {
                if !self.find_backup(parent).await? {
                    return Err(Error::not_found(format!("Backup {parent} could not be found.")));
                }
                disk::make(&place, async |part| difference(part, &source, parent).await).await?;
            }
        }
        self.sweep().await?;
        Ok(BackedUp { object_count: 1 })
    }

    pub(super) async fn drop_backup(&self, backup_id: &str) -> Result<()> {
        disk::remove(&self.backup_place(backup_id)?).await
    }

    pub(super) async fn find_backup(&self, backup_id: &str) -> Result<bool> {
        let place = self.backup_place(backup_id)?;
        Ok(tokio::fs::try_exists(&place.disk).await? && disk::info(&place.disk, Some("qcow2")).await.is_ok())
    }

    /// What the volume holds now, as a file of a glance disk format.
    pub(super) async fn convert_for_image(&self, volume_id: &str, image_id: &str, disk_format: &str) -> Result<ImageFile> {
        let volume = self.existing(volume_id).await?;
        let image = kit::ids::parse_uuid(image_id).ok_or_else(|| Error::bad_request(format!("{image_id} is no image id.")))?;
        let (source, file) = (self.still(&volume, volume_id, &image).await?, volume.dir.join(format!("upload-{image}")));
        let format = match disk_format {
            "vhd" => "vpc",
            other => other,
        };
        let arguments = ["-q", "-U", "-f", "qcow2", "-O", format].map(OsStr::new);
        qemu_img("convert", arguments.into_iter().chain([source.as_os_str(), file.as_os_str()]), None).await?;
        self.sweep().await?;
        Ok(ImageFile::Path(file))
    }

    /// Writes what a volume that nobody uses holds to another one's export, which must be on this machine.
    pub(super) async fn write_to(&self, volume_id: &str, connection: &serde_json::Value) -> Result<()> {
        let volume = self.unserved(volume_id).await?;
        let (socket, export) = (connection["data"]["socket_path"].as_str(), connection["data"]["export"].as_str());
        let (Some(socket), Some(export)) = (socket, export) else {
            return Err(Error::bad_request("The other volume cannot be written to from this host."));
        };
        if !tokio::fs::try_exists(socket).await? {
            return Err(Error::bad_request("The other volume is on another machine."));
        }
        let to = format!("nbd+unix:///{export}?socket={socket}");
        let (source, key) = (luks::source(&volume.disk).await?, self.key_of(&volume).await?);
        let arguments = ["-q", "-n", "-O", "raw"].into_iter().chain(source.iter().map(String::as_str)).chain([&*to]);
        qemu_img("convert", arguments.map(OsStr::new), key.as_ref()).await.map(drop)
    }

    /// Where a backup is kept; laid out as a volume is, of which it uses the disk only.
    pub(super) fn backup_place(&self, backup_id: &str) -> Result<Layout> {
        let id = kit::ids::parse_uuid(backup_id).ok_or_else(|| Error::bad_request(format!("{backup_id} is no backup id.")))?;
        Ok(Layout::beside(self.state_dir(), "backups", &id))
    }

    /// A file with what the volume holds at this moment, that does not change while it is read: the disk itself when nobody writes it,
    /// a layer otherwise.
    async fn still(&self, volume: &Layout, volume_id: &str, layer_id: &str) -> Result<PathBuf> {
        match self.exporter(volume_id) {
            None => Ok(volume.disk.clone()),
            served => {
                self.freeze(volume, layer_id, served).await?;
                Ok(layers::path(self.state_dir(), layer_id))
            }
        }
    }
}

/// Writes what differs between `source` and the parent: a disk that stands on the source is moved to stand on the parent, and QEMU copies
/// into it what the two do not have in common.
async fn difference(part: &Path, source: &Path, parent: &str) -> Result<()> {
    let bytes = disk::virtual_size(source).await?;
    disk::overlay(part, &source.to_string_lossy(), bytes, None).await?;
    let parent = format!("../../backups/{parent}/disk.qcow2");
    let arguments = ["-q", "-U", "-f", "qcow2", "-F", "qcow2", "-b", &parent].map(OsStr::new);
    qemu_img("rebase", arguments.into_iter().chain([part.as_os_str()]), None).await.map(drop)
}
