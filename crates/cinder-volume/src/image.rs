//! An image's file on its way into a volume, or out of one: streamed, and on the way in believed only when its hash and length are what
//! glance says.

use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use kit::auth::ServiceSession;
use kit::{Error, Result};
use md5::Md5;
use sdk::image::{Download, ImageInfo};
use serde_json::{Value, json};
use sha2::{Digest, Sha256, Sha512};
use tokio::io::AsyncWriteExt;

use crate::backend::ImageFile;

/// Bytes read at once from a file on its way to glance.
const CHUNK: usize = 256 * 1024;
/// Glance may be silent for this long in the middle of a file.
const SILENCE: Duration = Duration::from_secs(60);

/// The property that says which of cinder's keys an image is encrypted with.
const KEY: &str = "cinder_encryption_key_id";
/// What becomes of the key; of no use to a volume.
const KEY_POLICY: &str = "cinder_encryption_key_deletion_policy";

/// An image that the caller may read.
#[derive(Clone)]
pub struct Image {
    pub info: ImageInfo,
    images: sdk::image::Image,
    session: ServiceSession,
    caller: rpc::Caller,
}

impl Image {
    /// Looks the image up in the caller's name.
    pub async fn find(images: &sdk::image::Image, session: &ServiceSession, caller: &rpc::Caller, id: &str) -> Result<Image> {
        let info = images.show(&session.on_behalf(caller).await?, id).await?;
        if info.status != "active" {
            return Err(Error::bad_request(format!("Image {id} is not active: its status is {}.", info.status)));
        }
        Ok(Image { info, images: images.clone(), session: session.clone(), caller: caller.clone() })
    }

    /// `volume_image_metadata` of a volume that is made from it.
    pub fn metadata(&self) -> Value {
        let info = &self.info;
        let mut metadata = json!({"image_id": info.id, "min_disk": info.min_disk.to_string(), "min_ram": info.min_ram.to_string()});
        let size = info.size.map(|n| n.to_string());
        let texts = [
            ("image_name", &info.name),
            ("checksum", &info.checksum),
            ("container_format", &info.container_format),
            ("disk_format", &info.disk_format),
            ("size", &size),
        ];
        for (key, value) in texts {
            if let Some(value) = value {
                metadata[key] = json!(value);
            }
        }
        for (key, value) in info.properties().into_iter().filter(|(key, _)| key != KEY && key != KEY_POLICY) {
            metadata[key] = json!(value);
        }
        metadata
    }

    /// Whether it is of an encrypted volume, and encrypted itself.
    pub fn is_locked(&self) -> bool {
        self.info.properties().contains_key(KEY)
    }

    /// Writes the image's file to `path`.
    pub async fn fetch(&self, path: &Path) -> Result<()> {
        let download = self.images.download(&self.session.on_behalf(&self.caller).await?, &self.info.id).await?;
        let mut hash = Hash::expected(&self.info, &download);
        let (mut file, mut length) = (tokio::fs::File::create(path).await?, 0u64);
        let mut stream = download.body.into_data_stream();
        loop {
            let next = tokio::time::timeout(SILENCE, stream.next()).await;
            let chunk =
                match next.map_err(|_| Error::unavailable(format!("Glance fell silent in the middle of image {}.", self.info.id)))? {
                    None => break,
                    Some(chunk) => chunk.map_err(|error| Error::unavailable("The download of the image broke off.").source(error))?,
                };
            length += chunk.len() as u64;
            if self.info.size.is_some_and(|size| length > size) {
                break;
            }
            hash.update(&chunk);
            file.write_all(&chunk).await?;
        }
        file.flush().await?;
        let whole = self.info.size.is_none_or(|size| size == length);
        if whole && hash.holds() { Ok(()) } else { Err(Error::bad_request(format!("Image {} arrived corrupted.", self.info.id))) }
    }
}

/// Gives an image its file, and removes the file.
pub async fn upload(images: &sdk::image::Image, auth: &sdk::Auth, image_id: &str, file: ImageFile) -> Result<()> {
    match file {
        ImageFile::Bytes(bytes) => {
            let size = bytes.len() as u64;
            Ok(images.upload(auth, image_id, bytes.into(), Some(size)).await?)
        }
        ImageFile::Path(path) => {
            let sent = send(images, auth, image_id, &path).await;
            // it was made for this
            let _ = tokio::fs::remove_file(&path).await;
            sent
        }
    }
}

async fn send(images: &sdk::image::Image, auth: &sdk::Auth, image_id: &str, path: &Path) -> Result<()> {
    let file = tokio::fs::File::open(path).await?;
    let size = file.metadata().await?.len();
    let body = sdk::Body::from_stream(tokio_util::io::ReaderStream::with_capacity(file, CHUNK));
    Ok(images.upload(auth, image_id, body, Some(size)).await?)
}

/// The strongest hash glance gave, on its way to be compared.
enum Hash {
    Sha512(Sha512, String),
    Sha256(Sha256, String),
    Md5(Md5, String),
    /// Glance gave none: the length must do.
    None,
}

impl Hash {
    fn expected(info: &ImageInfo, download: &Download) -> Hash {
        let md5 = || info.checksum.clone().or_else(|| download.md5.clone());
        match (info.os_hash_algo.as_deref(), &info.os_hash_value) {
            (Some("sha512"), Some(value)) => Hash::Sha512(Sha512::new(), value.clone()),
            (Some("sha256"), Some(value)) => Hash::Sha256(Sha256::new(), value.clone()),
            _ => md5().map_or(Hash::None, |value| Hash::Md5(Md5::new(), value)),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Hash::Sha512(hash, _) => hash.update(bytes),
            Hash::Sha256(hash, _) => hash.update(bytes),
            Hash::Md5(hash, _) => hash.update(bytes),
            Hash::None => {}
        }
    }

    fn holds(self) -> bool {
        match self {
            Hash::Sha512(hash, expected) => hex(&hash.finalize()) == expected.to_ascii_lowercase(),
            Hash::Sha256(hash, expected) => hex(&hash.finalize()) == expected.to_ascii_lowercase(),
            Hash::Md5(hash, expected) => hex(&hash.finalize()) == expected.to_ascii_lowercase(),
            Hash::None => true,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
