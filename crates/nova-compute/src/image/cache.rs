//! Images on this host: each downloaded once, checked while it streams in, looked into before use, and shared by all disks that begin as it.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use http_body_util::BodyExt;
use kit::{Error, Kind, Result};
use md5::Md5;
use sdk::image::{Image, ImageInfo};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256, Sha512};
use tokio::sync::mpsc;

use super::inspect::{Format, Inspection, inspect};
use super::{qemu_img, verify};
use crate::hypervisor::DiskFormat;
use crate::hypervisor::qemu::account::Account;

/// Chunks of a download that may wait to be written.
const CHUNKS: usize = 16;

/// The image cache of a host.
pub struct ImageCache {
    dir: PathBuf,
    account: Account,
    downloads: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
}

/// An image ready for use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    pub path: PathBuf,
    pub format: DiskFormat,
    /// Bytes of the disk.
    pub virtual_size: u64,
}

impl ImageCache {
    /// A cache in `dir`, whose files the account may read.
    pub fn open(dir: PathBuf, account: Account) -> Result<ImageCache> {
        std::fs::create_dir_all(&dir)?;
        account.may_read(&dir)?;
        Ok(ImageCache { dir, account, downloads: Mutex::default() })
    }

    /// The image, from the cache or from glance. Of those who ask at the same time one downloads and the others wait for him.
    pub async fn fetch(&self, glance: &Image, auth: &sdk::Auth, image: &ImageInfo) -> Result<Base> {
        if let Some(base) = self.cached(&image.id).await {
            return Ok(base);
        }
        let lock = self.lock(&image.id);
        let _one = lock.lock().await;
        if let Some(base) = self.cached(&image.id).await {
            return Ok(base);
        }
        let partial = self.dir.join(format!("{}.part", image.id));
        let made = self.download(glance, auth, image, &partial).await;
        if made.is_err() {
            // what cannot be removed now is overwritten by the next download
            let _ = tokio::fs::remove_file(&partial).await;
        }
        made
    }

    /// Whether an image can be used without asking glance for its data.
    pub async fn cached(&self, image_id: &str) -> Option<Base> {
        let described = tokio::fs::read(self.description(image_id)).await.ok()?;
        let base: Base = serde_json::from_slice(&described).ok()?;
        tokio::fs::try_exists(&base.path).await.unwrap_or(false).then_some(base)
    }

    /// The image whose file this is.
    pub fn image_of(&self, file: &Path) -> Option<String> {
        let name = file.file_name()?.to_str()?;
        (file.parent() == Some(&self.dir)).then(|| kit::ids::parse_uuid(name)).flatten()
    }

    async fn download(&self, glance: &Image, auth: &sdk::Auth, image: &ImageInfo, partial: &Path) -> Result<Base> {
        let began = std::time::Instant::now();
        let stream = glance.download(auth, &image.id).await?;
        write_checked(stream.body, partial.to_owned(), Expected::of(image)).await?;
        self.account.may_read(partial)?;
        let path = partial.to_owned();
        let found = tokio::task::spawn_blocking(move || inspect(&mut std::fs::File::open(path)?)).await.map_err(Error::internal)??;
        verify::check_content(&image.id, image.disk_format.as_deref(), &found)?;
        let base = self.settle(&image.id, partial, &found).await?;
        tracing::info!(image = image.id, bytes = image.size, seconds = began.elapsed().as_secs_f32(), "image downloaded");
        Ok(base)
    }

    /// Puts a checked file in its place. What is not raw or QCOW2 becomes QCOW2 first.
    async fn settle(&self, image_id: &str, partial: &Path, found: &Inspection) -> Result<Base> {
        let virtual_size = qemu_img::check(self.account, partial, found.format.driver()).await?;
        let path = self.dir.join(image_id);
        let format = match found.format {
            Format::Raw | Format::Iso => DiskFormat::Raw,
            _ => DiskFormat::Qcow2,
        };
        if matches!(found.format, Format::Raw | Format::Iso | Format::Qcow2) {
            tokio::fs::rename(partial, &path).await?;
        } else {
            let converted = self.dir.join(format!("{image_id}.converted"));
            tokio::fs::write(&converted, []).await?;
            self.account.own(&converted)?;
            qemu_img::convert(self.account, partial, found.format.driver(), &converted).await?;
            self.account.may_read(&converted)?;
            tokio::fs::rename(&converted, &path).await?;
            tokio::fs::remove_file(partial).await?;
        }
        let base = Base { path, format, virtual_size };
        // the description comes last: an image without one is not in the cache
        let temporary = self.dir.join(format!("{image_id}.json.part"));
        tokio::fs::write(&temporary, serde_json::to_vec(&base)?).await?;
        tokio::fs::rename(&temporary, self.description(image_id)).await?;
        Ok(base)
    }

    fn description(&self, image_id: &str) -> PathBuf {
        self.dir.join(format!("{image_id}.json"))
    }

    fn lock(&self, image_id: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut downloads = self.downloads.lock().unwrap_or_else(PoisonError::into_inner);
        downloads.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = downloads.get(image_id).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::new(tokio::sync::Mutex::new(()));
        downloads.insert(image_id.to_owned(), Arc::downgrade(&lock));
        lock
    }
}

/// What the bytes must amount to.
#[derive(Clone, Debug)]
struct Expected {
    size: Option<u64>,
    /// The algorithm and its result; glance gives at least one of the two.
    hash: Option<(Algorithm, String)>,
}

#[derive(Clone, Copy, Debug)]
enum Algorithm {
    Sha512,
    Sha256,
    Md5,
}

impl Expected {
    fn of(image: &ImageInfo) -> Expected {
        let strong = match image.os_hash_algo.as_deref() {
            Some("sha512") => image.os_hash_value.clone().map(|value| (Algorithm::Sha512, value)),
            Some("sha256") => image.os_hash_value.clone().map(|value| (Algorithm::Sha256, value)),
            _ => None,
        };
        let hash = strong.or_else(|| image.checksum.clone().map(|value| (Algorithm::Md5, value)));
        Expected { size: image.size, hash }
    }
}

/// Streams a body into a file and hashes it on the way, both off the async threads; a few chunks are in memory at a time.
async fn write_checked(mut body: sdk::Body, path: PathBuf, expected: Expected) -> Result<()> {
    let (chunks, mut incoming) = mpsc::channel::<bytes::Bytes>(CHUNKS);
    let algorithm = expected.hash.as_ref().map(|(algorithm, _)| *algorithm);
    let writer = tokio::task::spawn_blocking(move || -> std::io::Result<(u64, Option<String>)> {
        let mut file = std::fs::File::create(path)?;
        let (mut size, mut hash) = (0, algorithm.map(Hasher::new));
        while let Some(chunk) = incoming.blocking_recv() {
            file.write_all(&chunk)?;
            size += chunk.len() as u64;
            if let Some(hash) = &mut hash {
                hash.update(&chunk);
            }
        }
        file.sync_data()?;
        Ok((size, hash.map(Hasher::finish)))
    });
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Error::unavailable(format!("The image's download broke off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if chunks.send(data).await.is_err() {
            break; // the writer says why
        }
    }
    drop(chunks);
    let (size, hash) = writer.await.map_err(Error::internal)??;
    let whole = expected.size.is_none_or(|expected| expected == size);
    let sound = match (&expected.hash, hash) {
        (Some((_, expected)), Some(hash)) => expected.eq_ignore_ascii_case(&hash),
        _ => true,
    };
    match whole && sound {
        true => Ok(()),
        false => Err(Error::new(Kind::Unavailable, "The image's data is not what its checksum says.")),
    }
}

enum Hasher {
    Sha512(Box<Sha512>),
    Sha256(Sha256),
    Md5(Md5),
}

impl Hasher {
    fn new(algorithm: Algorithm) -> Hasher {
        match algorithm {
            Algorithm::Sha512 => Hasher::Sha512(Box::default()),
            Algorithm::Sha256 => Hasher::Sha256(Sha256::new()),
            Algorithm::Md5 => Hasher::Md5(Md5::new()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha512(hash) => hash.update(bytes),
            Hasher::Sha256(hash) => hash.update(bytes),
            Hasher::Md5(hash) => hash.update(bytes),
        }
    }

    fn finish(self) -> String {
        match self {
            Hasher::Sha512(hash) => hex(&hash.finalize()),
            Hasher::Sha256(hash) => hex(&hash.finalize()),
            Hasher::Md5(hash) => hex(&hash.finalize()),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(hash: &str) -> Expected {
        Expected { size: Some(5), hash: Some((Algorithm::Md5, hash.into())) }
    }

    #[tokio::test]
    async fn data_must_match_its_checksum_and_size() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let hello = "5d41402abc4b2a76b9719d911017c592";
        write_checked(sdk::Body::from("hello"), path.clone(), expected(hello)).await.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"hello");
        assert!(write_checked(sdk::Body::from("hellO"), path.clone(), expected(hello)).await.is_err());
        assert!(write_checked(sdk::Body::from("hell"), path, expected(hello)).await.is_err());
    }
}
