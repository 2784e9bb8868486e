//! The files of images in a directory. A file is written aside, hashed on the way, and moved to its place when it is whole.

use std::fs::{self, File};
use std::io::Write;
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

/// The directory.
#[derive(Clone)]
pub struct Files(Arc<PathBuf>);

/// A whole file that has no place yet; removed when it gets none.
pub struct Received {
    path: PathBuf,
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
        // gone already when it was moved to its place
        let _ = fs::remove_file(&self.path);
    }
}

impl Files {
    pub async fn open(root: PathBuf) -> Result<Files> {
        let files = Files(Arc::new(root));
        let dirs = [files.0.to_path_buf(), files.incoming(), files.staging()];
        blocking(move || {
            for dir in dirs {
                fs::create_dir_all(&dir)
                    .map_err(|error| Error::unavailable(format!("The image directory {} cannot be used: {error}", dir.display())))?;
            }
            Ok(())
        })
        .await?;
        Ok(files)
    }

    pub fn path(&self, id: &str) -> PathBuf {
        self.0.join(id)
    }

    pub fn staged(&self, id: &str) -> PathBuf {
        self.staging().join(id)
    }

    fn staging(&self) -> PathBuf {
        self.0.join("staging")
    }

    fn incoming(&self) -> PathBuf {
        self.0.join("incoming")
    }

    /// Takes a body in, at most `cap` bytes of it, in memory that does not grow with it.
    pub async fn receive(&self, mut body: Body, cap: u64) -> Result<Received> {
        let path = self.incoming().join(ids::uuid());
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
        let (source, path) = (source.to_owned(), self.incoming().join(ids::uuid()));
        blocking(move || {
            let (size, md5, sha512) = digest(&source)?;
            let received = Received { path, size, md5, sha512 };
            fs::copy(&source, &received.path).map_err(disk)?;
            File::open(&received.path)?.sync_all().map_err(disk)?;
            Ok(received)
        })
        .await
    }

    /// A staged file, hashed.
    pub async fn unstage(&self, id: &str) -> Result<Received> {
        let path = self.staged(id);
        blocking(move || {
            let (size, md5, sha512) = digest(&path)?;
            Ok(Received { path, size, md5, sha512 })
        })
        .await
    }

    /// Moves a whole file to its place; when this returns, it is there also after a power cut.
    pub async fn place(&self, received: Received, to: PathBuf) -> Result<()> {
        blocking(move || {
            fs::rename(&received.path, &to).map_err(disk)?;
            match to.parent() {
                Some(dir) => File::open(dir)?.sync_all().map_err(disk),
                None => Ok(()),
            }
        })
        .await
    }

    /// Removes what an image has here.
    pub async fn remove(&self, id: &str) -> Result<()> {
        let paths = [self.path(id), self.staged(id)];
        blocking(move || paths.iter().try_for_each(|path| remove(path))).await
    }

    /// Removes uploads that never ended, and files whose image `keeps` does not know: `(id, staged)`.
    pub async fn sweep(&self, keeps: impl Fn(&str, bool) -> bool + Send + 'static) -> Result<()> {
        let (root, staging, incoming) = (self.0.to_path_buf(), self.staging(), self.incoming());
        blocking(move || {
            for (dir, staged) in [(incoming, None), (staging, Some(true)), (root, Some(false))] {
                for entry in fs::read_dir(dir)? {
                    let entry = entry?;
                    let name = entry.file_name().to_string_lossy().into_owned();
                    // only what has an image's name is ours
                    let ours = entry.file_type()?.is_file() && ids::parse_uuid(&name).is_some();
                    if ours && !staged.is_some_and(|staged| keeps(&name, staged)) {
                        remove(&entry.path())?;
                    }
                }
            }
            Ok(())
        })
        .await
    }
}

/// The writer's half: to disk and through both hashes, then to stable storage.
fn write(path: PathBuf, mut pieces: mpsc::Receiver<Bytes>, cap: u64) -> Result<Received> {
    let mut file = File::create_new(&path).map_err(disk)?;
    let mut received = Received { path, size: 0, md5: String::new(), sha512: String::new() };
    let (mut md5, mut sha512) = (Md5::new(), Sha512::new());
    while let Some(piece) = pieces.blocking_recv() {
        received.size += piece.len() as u64;
        if received.size > cap {
            return Err(Error::too_large(format!("Image exceeds the storage quota: it has more than {cap} bytes.")));
        }
        file.write_all(&piece).map_err(disk)?;
        md5.update(&piece);
        sha512.update(&piece);
    }
    file.sync_all().map_err(disk)?;
    received.md5 = hex(&md5.finalize());
    received.sha512 = hex(&sha512.finalize());
    Ok(received)
}

/// Size, MD5 and SHA-512 of a file.
pub fn digest(path: &Path) -> Result<(u64, String, String)> {
    use std::io::Read;
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

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A full disk is the operator's to mend, and the client's to know.
fn disk(error: std::io::Error) -> Error {
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
