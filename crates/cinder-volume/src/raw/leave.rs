//! What leaves a volume: into an image's file, a backup, or another volume.

use std::ffi::OsStr;

use kit::{Error, Result};
use rpc::volume::BackedUp;
use serde_json::Value;

use super::{Pool, RawBackend, names};
use crate::backend::{ImageFile, Original};
use crate::connection::{Target, layered};
use crate::file::disk::qemu_img_in;
use crate::file::leave::upload_format;
use crate::file::unlocked::Readable;

impl<P: Pool> RawBackend<P> {
    /// What the volume holds now, as a file of a glance disk format. An encrypted volume is LUKS there, with the same passphrase.
    pub(super) async fn convert_for_image(&self, volume_id: &str, image_id: &str, disk_format: &str) -> Result<ImageFile> {
        let disk = self.existing(volume_id).await?;
        let format = match upload_format(disk_format, self.key_of(volume_id).await?.is_some())? {
            // as it is
            "luks" => "raw",
            other => other,
        };
        let moment = names::own_snapshot("upload", image_id)?;
        self.pool().snapshot(&disk, &moment).await?;
        let source = format!("json:{}", layered(self.pool().node(&disk, Some(&moment)), false));
        let file = self.all_work().await?.join(&moment);
        let arguments = ["-q", "-U", "-O", format, &source].map(OsStr::new).into_iter().chain([file.as_os_str()]);
        let converted = qemu_img_in(&self.pool().environment(), "convert", arguments, None).await;
        self.pool().remove_snapshot(&disk, &moment).await?;
        converted.map(|_| ImageFile::Path(file))
    }

    /// Writes what a volume that nobody uses holds to another, wherever it is.
    pub(super) async fn write_to(&self, volume_id: &str, connection: &Value) -> Result<()> {
        let disk = self.unused(volume_id).await?;
        let target = Target::open(connection, &self.0.ceph, &self.0.keys).await?;
        target.fill(&self.readable(volume_id, &disk, None).await?).await
    }

    pub(super) async fn keep_backup(&self, backup_id: &str, original: Original) -> Result<BackedUp> {
        let Original { volume_id, snapshot_id, parent_id } = original;
        let disk = self.existing(&volume_id).await?;
        let moment = match &snapshot_id {
            Some(id) => names::snapshot(id)?,
            None => names::own_snapshot("backup", backup_id)?,
        };
        if snapshot_id.is_none() {
            self.pool().snapshot(&disk, &moment).await?;
        }
        let kept = async {
            let source = self.readable(&volume_id, &disk, Some(&moment)).await?;
            let encrypted = self.key_of(&volume_id).await?.is_some();
            self.0.backups.keep(backup_id, source, encrypted, parent_id.as_deref()).await
        };
        let kept = kept.await;
        if snapshot_id.is_none() {
            self.pool().remove_snapshot(&disk, &moment).await?;
        }
        kept
    }

    /// What the volume shows, or showed at a snapshot.
    async fn readable(&self, volume_id: &str, disk: &str, snapshot: Option<&str>) -> Result<Readable> {
        if let Some(name) = snapshot
            && !self.pool().snapshots(disk).await?.iter().any(|(have, _)| have == name)
        {
            return Err(Error::not_found(format!("{name} has no data on this storage.")));
        }
        let key = self.key_of(volume_id).await?;
        let node = layered(self.pool().node(disk, snapshot), key.is_some());
        Readable::serve(node, key.as_ref(), &self.pool().environment()).await
    }
}
