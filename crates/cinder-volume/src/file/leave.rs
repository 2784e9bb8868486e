//! What leaves a volume: as an image's file, or over the network into another volume.

use std::ffi::OsStr;
use std::path::PathBuf;

use kit::{Error, Result};

use super::disk::qemu_img;
use super::{FileBackend, Layout, layers, luks};
use crate::backend::ImageFile;

impl FileBackend {
    /// What the volume holds now, as a file of a glance disk format. An encrypted volume becomes a LUKS file with the same passphrase.
    pub(super) async fn convert_for_image(&self, volume_id: &str, image_id: &str, disk_format: &str) -> Result<ImageFile> {
        let volume = self.existing(volume_id).await?;
        let image = kit::ids::parse_uuid(image_id).ok_or_else(|| Error::bad_request(format!("{image_id} is no image id.")))?;
        let key = self.key_of(&volume).await?;
        let format = match (disk_format, &key) {
            ("vhd", None) => "vpc",
            (other, None) => other,
            ("raw", Some(_)) => "luks",
            (_, Some(_)) => return Err(Error::bad_request("An encrypted volume can be uploaded as 'raw' only.")),
        };
        let (disk, file) = (self.still(&volume, volume_id, &image).await?, volume.dir.join(format!("upload-{image}")));
        let (source, lock) = (luks::source(&disk).await?, key.as_ref().map(luks::container).unwrap_or_default());
        let options = ["-q", "-U", "-O", format].into_iter().chain(lock.iter().map(String::as_str));
        let arguments = options.chain(source.iter().map(String::as_str)).map(OsStr::new).chain([file.as_os_str()]);
        qemu_img("convert", arguments, key.as_ref()).await?;
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
