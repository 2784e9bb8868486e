//! What leaves a volume: as an image's file, or over the network into another volume.

use std::ffi::OsStr;
use std::net::IpAddr;
use std::path::PathBuf;

use kit::{Error, Result};
use serde::Deserialize;

use super::disk::qemu_img;
use super::unlocked::PrivateDir;
use super::{FileBackend, Layout, escape, gate, layers, luks};
use crate::backend::ImageFile;

/// The part of a `connection_info` that says how a volume is reached.
#[derive(Deserialize)]
struct Nbd {
    export: String,
    socket_path: Option<PathBuf>,
    host: Option<IpAddr>,
    port: Option<u16>,
    auth_password: Option<String>,
}

impl Nbd {
    /// The key of the other's gate, in a directory where QEMU finds it.
    fn credentials(&self) -> Result<Option<PrivateDir>> {
        let Some(key) = self.auth_password.as_ref().filter(|_| self.socket_path.is_none()) else { return Ok(None) };
        let dir = PrivateDir::new()?;
        gate::write_key(dir.path(), key)?;
        Ok(Some(dir))
    }

    /// As `qemu-img` is to open it, with the credentials of this name.
    fn image_options(&self, credentials: &str) -> Result<String> {
        let export = &self.export;
        match (&self.socket_path, self.host, self.port) {
            (Some(path), _, _) => Ok(format!("driver=nbd,server.type=unix,server.path={},export={export}", escape(path))),
            (None, Some(host), Some(port)) => {
                Ok(format!("driver=nbd,server.type=inet,server.host={host},server.port={port},export={export},tls-creds={credentials}"))
            }
            (None, _, _) => Err(Error::bad_request("The other volume is reached by no socket and at no address.")),
        }
    }
}

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

    /// Writes what a volume that nobody uses holds to another one's export: on this machine, or through the gate of another.
    pub(super) async fn write_to(&self, volume_id: &str, connection: &serde_json::Value) -> Result<()> {
        let volume = self.unserved(volume_id).await?;
        let to: Nbd = serde_json::from_value(connection["data"].clone())
            .map_err(|error| Error::bad_request("The other volume cannot be written to from this host.").source(error))?;
        let (source, key) = (luks::source(&volume.disk).await?, self.key_of(&volume).await?);
        let credentials = to.credentials()?;
        let arguments = ["-q", "-n", "--target-image-opts"].into_iter().map(str::to_owned);
        let object = credentials.iter().flat_map(|dir| ["--object".to_owned(), gate::client("gate", dir.path())]);
        let arguments: Vec<String> = arguments.chain(object).chain(source).chain([to.image_options("gate")?]).collect();
        qemu_img("convert", arguments.iter().map(OsStr::new), key.as_ref()).await.map(drop)
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
