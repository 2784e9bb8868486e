//! A directory as a store. `object_store` has one too, but copies what is already on the same disk and does not wait for it; here a file
//! that has come in gets a second name instead, and is on stable storage before anybody relies on it.

use std::fs::{self, File};
use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};

use axum::body::Body;
use kit::{Error, Result};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use crate::data::scratch::{blocking, disk, remove};

/// Bytes read at once.
pub const PIECE: usize = 256 << 10;

pub struct Directory(PathBuf);

impl Directory {
    pub async fn open(root: PathBuf) -> Result<Directory> {
        let dir = root.clone();
        blocking(move || {
            fs::create_dir_all(&dir)
                .map_err(|error| Error::unavailable(format!("The image directory {} cannot be used: {error}", dir.display())))
        })
        .await?;
        Ok(Directory(root))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub async fn put(&self, file: &Path, name: &str) -> Result<()> {
        let (from, to, dir) = (file.to_owned(), self.path(name), self.0.clone());
        blocking(move || {
            match fs::hard_link(&from, &to) {
                Ok(()) => {}
                // an earlier try of this step
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(_) => copy(&from, &to)?,
            }
            File::open(&dir)?.sync_all().map_err(disk)
        })
        .await
    }

    pub async fn get(&self, name: &str, from: u64, until: u64) -> Result<Body> {
        let mut file = tokio::fs::File::open(self.path(name)).await?;
        if from > 0 {
            file.seek(SeekFrom::Start(from)).await?;
        }
        Ok(Body::from_stream(ReaderStream::with_capacity(file.take(until - from), PIECE)))
    }

    pub async fn remove(&self, name: &str) -> Result<()> {
        let path = self.path(name);
        blocking(move || remove(&partial(&path)).and_then(|()| remove(&path))).await
    }
}

/// Onto another disk: under a name of its own until it is whole.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let partial = partial(to);
    fs::copy(from, &partial).map_err(disk)?;
    File::open(&partial)?.sync_all().map_err(disk)?;
    fs::rename(&partial, to).map_err(disk)
}

fn partial(path: &Path) -> PathBuf {
    path.with_added_extension("partial")
}
