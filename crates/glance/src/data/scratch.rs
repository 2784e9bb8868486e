//! Files on their way: coming in, hashed while they do, or staged until they are imported.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;
use kit::{Error, Result, ids};
use md5::{Digest, Md5};
use sha2::Sha512;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

/// Pieces of a body that wait for the disk.
const PIECES: usize = 8;
/// A client that sends nothing for this long has gone.
const SILENCE: Duration = Duration::from_secs(120);

/// The directory of files on their way.
#[derive(Clone)]
pub struct Scratch(Arc<Dirs>);

struct Dirs {
    /// This process's own.
    incoming: PathBuf,
    /// Shared by the processes that share the images.
    staging: PathBuf,
}

/// A whole file that came in. What was only on its way is removed when this is dropped; a store has it by then, or never will.
pub struct Received {
    path: PathBuf,
    /// Nobody else needs the file.
    temporary: bool,
    pub size: u64,
    pub md5: String,
    pub sha512: String,
}

impl Received {
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        if self.temporary {
            // gone already when it was moved to its place
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Scratch {
    /// Opens the directory; what was coming in when this process last ended is removed.
    pub async fn open(root: &Path, node: &str) -> Result<Scratch> {
        let dirs = Dirs { incoming: root.join("incoming").join(node), staging: root.join("staging") };
        let scratch = Scratch(Arc::new(dirs));
        let dirs = scratch.0.clone();
        blocking(move || {
            for dir in [&dirs.incoming, &dirs.staging] {
                fs::create_dir_all(dir)
                    .map_err(|error| Error::unavailable(format!("The image directory {} cannot be used: {error}", dir.display())))?;
            }
            for entry in fs::read_dir(&dirs.incoming)? {
                remove(&entry?.path())?;
            }
            Ok(())
        })
        .await?;
        Ok(scratch)
    }

    pub fn staged(&self, id: &str) -> PathBuf {
        self.0.staging.join(id)
    }

    /// A name for a file that comes in.
    pub fn incoming(&self) -> PathBuf {
        self.0.incoming.join(ids::uuid())
    }

    /// Takes a body in, at most `cap` bytes of it, in memory that does not grow with it.
    pub async fn receive(&self, mut body: Body, cap: u64) -> Result<Received> {
        let path = self.incoming();
        let (pieces, rest) = mpsc::channel::<Bytes>(PIECES);
        let writer = tokio::spawn(blocking(move || write(path, rest, cap)));
        let ended = loop {
            let frame = match tokio::time::timeout(SILENCE, body.frame()).await {
                Err(_) => break Err(Error::bad_request("The upload stopped: no data came for too long.")),
                Ok(None) => break Ok(()),
                Ok(Some(Err(_))) => break Err(Error::bad_request("The upload ended early.")),
                Ok(Some(Ok(frame))) => frame,
            };
            let Ok(bytes) = frame.into_data() else { continue };
            if pieces.send(bytes).await.is_err() {
                // the writer has given up, and says why
                break Ok(());
            }
        };
        drop(pieces);
        let received = writer.await.map_err(Error::internal)??;
        ended.map(|()| received)
    }

    /// Takes a copy of a file of this host in.
    pub async fn adopt(&self, source: &Path) -> Result<Received> {
        let (source, path) = (source.to_owned(), self.incoming());
        let copy = path.clone();
        blocking(move || {
            fs::copy(&source, &copy).map_err(disk)?;
            File::open(&copy)?.sync_all().map_err(disk)
        })
        .await?;
        self.read(path).await
    }

    /// A file that is here, hashed. It is removed with what this returns only when it lies among the incoming.
    pub async fn read(&self, path: PathBuf) -> Result<Received> {
        let temporary = path.starts_with(&self.0.incoming);
        blocking(move || {
            let (size, md5, sha512) = digest(&path)?;
            Ok(Received { path, temporary, size, md5, sha512 })
        })
        .await
    }

    /// Keeps a whole file as the staged data of an image; when this returns, it is there also after a power cut.
    pub async fn stage(&self, received: Received, id: &str) -> Result<()> {
        let (to, dir) = (self.staged(id), self.0.staging.clone());
        blocking(move || {
            fs::rename(&received.path, &to).map_err(disk)?;
            File::open(dir)?.sync_all().map_err(disk)
        })
        .await
    }

    /// Removes an image's staged data, if it has some.
    pub async fn unstage(&self, id: &str) -> Result<()> {
        let path = self.staged(id);
        blocking(move || remove(&path)).await
    }
}

/// The writer's half: to disk and through both hashes, then to stable storage.
fn write(path: PathBuf, mut pieces: mpsc::Receiver<Bytes>, cap: u64) -> Result<Received> {
    let mut file = File::create_new(&path).map_err(disk)?;
    let mut received = Received { path, temporary: true, size: 0, md5: String::new(), sha512: String::new() };
    let mut sha512 = Sha512::new();
    // one hash beside the other: each alone is slower than a disk
    let (to_md5, for_md5) = std::sync::mpsc::sync_channel::<Bytes>(PIECES);
    let md5 = std::thread::spawn(move || {
        let mut md5 = Md5::new();
        for_md5.iter().for_each(|piece| md5.update(&piece));
        hex(&md5.finalize())
    });
    while let Some(piece) = pieces.blocking_recv() {
        received.size += piece.len() as u64;
        if received.size > cap {
            return Err(Error::too_large(format!("Image exceeds the storage quota: it has more than {cap} bytes.")));
        }
        file.write_all(&piece).map_err(disk)?;
        sha512.update(&piece);
        to_md5.send(piece).map_err(Error::internal)?;
    }
    drop(to_md5);
    file.sync_all().map_err(disk)?;
    received.md5 = md5.join().map_err(|_| Error::internal("hashing panicked"))?;
    received.sha512 = hex(&sha512.finalize());
    Ok(received)
}

/// Size, MD5 and SHA-512 of a file.
pub fn digest(path: &Path) -> Result<(u64, String, String)> {
    let mut file = File::open(path)?;
    let (mut md5, mut sha512, mut size) = (Md5::new(), Sha512::new(), 0);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = file.read(&mut buffer)?;
        let piece = buffer.get(..n).unwrap_or_default();
        if piece.is_empty() {
            return Ok((size, hex(&md5.finalize()), hex(&sha512.finalize())));
        }
        size += n as u64;
        md5.update(piece);
        sha512.update(piece);
    }
}

/// Runs what waits for the disk where waiting is allowed.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    spawn_blocking(work).await.map_err(Error::internal)?
}

/// Removes a file, if it is there.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A full disk is the operator's to mend, and the client's to know.
pub fn disk(error: std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            Error::too_large("Image storage media is full.").source(error)
        }
        _ => error.into(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
