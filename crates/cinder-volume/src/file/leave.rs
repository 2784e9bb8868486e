//! What leaves a volume: as an image's file, or over the network into another volume.

use std::ffi::OsStr;
use std::path::PathBuf;

use kit::{Error, Result};
use serde_json::Value;

use super::disk::qemu_img;
use super::unlocked::Readable;
use super::{FileBackend, Layout, layers, luks};
use crate::backend::ImageFile;
use crate::connection::Target;

impl FileBackend {
    /// What the volume holds now, as a file of a glance disk format. An encrypted volume becomes a LUKS file with the same passphrase.
    pub(super) async fn convert_for_image(&self, volume_id: &str, image_id: &str, disk_format: &str) -> Result<ImageFile> {
        let volume = self.existing(volume_id).await?;
        let image = kit::ids::parse_uuid(image_id).ok_or_else(|| Error::bad_request(format!("{image_id} is no image id.")))?;
        let key = self.key_of(&volume).await?;
        let format = upload_format(disk_format, key.is_some())?;
        let (disk, file) = (self.still(&volume, volume_id, &image).await?, volume.dir.join(format!("upload-{image}")));
        let (source, lock) = (luks::source(&disk).await?, key.as_ref().map(luks::container).unwrap_or_default());
        let options = ["-q", "-U", "-O", format].into_iter().chain(lock.iter().map(String::as_str));
        let arguments = options.chain(source.iter().map(String::as_str)).map(OsStr::new).chain([file.as_os_str()]);
        qemu_img("convert", arguments, key.as_ref()).await?;
        self.sweep().await?;
        Ok(ImageFile::Path(file))
    }

    /// Writes what a volume that nobody uses holds to another, wherever it is.
    pub(super) async fn write_to(&self, volume_id: &str, connection: &Value) -> Result<()> {
        let volume = self.unserved(volume_id).await?;
        let target = Target::open(connection, &self.0.ceph, self.keys()).await?;
        target.fill(&Readable::open(&volume.disk, self.key_of(&volume).await?).await?).await
    }

    /// A file with what the volume holds at this moment, that does not change while it is read: the disk itself when nobody writes it,
    /// a layer otherwise.
    pub(super) async fn still(&self, volume: &Layout, volume_id: &str, layer_id: &str) -> Result<PathBuf> {
        match self.exporter(volume_id) {
            None => Ok(volume.disk.clone()),
            served => {
                self.freeze(volume, layer_id, served).await?;
                Ok(layers::path(self.state_dir(), layer_id))
            }
        }
    }
}

/// QEMU's name of the format that a volume is uploaded in.
pub fn upload_format(disk_format: &str, locked: bool) -> Result<&str> {
    match (disk_format, locked) {
        ("vhd", false) => Ok("vpc"),
        (other, false) => Ok(other),
        ("raw", true) => Ok("luks"),
        (_, true) => Err(Error::bad_request("An encrypted volume can be uploaded as 'raw' only.")),
    }
}
