//! A bucket as a place for files: they go in by parts, and come out as streams or files. What is there under a name is whole.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path as Key;
use object_store::{Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutPayload, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::objects::{Place, S3, open};

/// Bytes of one part of an upload; S3 takes none smaller than 5 MiB, and no more than 10,000.
pub const PART: u64 = 8 << 20;
const PARTS: u64 = 10_000;

/// A bucket of an S3 server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Bucket {
    store: Arc<dyn ObjectStore>,
    name: String,
    root: String,
}

impl Bucket {
    /// The server is not asked before the first object.
    pub fn open(s3: &S3) -> Result<Bucket> {
        let host = s3.endpoint.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
        let root = format!("s3://{host}/{}", s3.bucket);
        Ok(Bucket { store: open(&Place::S3(s3.clone()))?, name: s3.bucket.clone(), root })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where an object is, for people.
    pub fn url(&self, name: &str) -> String {
        format!("{}/{name}", self.root)
    }

    /// Small files in one request, larger ones in parts; an upload that fails is taken back.
    pub async fn put(&self, file: &Path, name: &str) -> Result<()> {
        let key = Key::from(name);
        let mut file = tokio::fs::File::open(file).await.map_err(disk)?;
        let size = file.metadata().await.map_err(disk)?.len();
        if size <= PART {
            let payload = read(&mut file, size).await?;
            return self.store.put(&key, payload).await.map(drop);
        }
        let part = PART.max(size.div_ceil(PARTS).next_multiple_of(1 << 20));
        let mut upload = self.store.put_multipart(&key).await?;
        let mut left = size;
        while left > 0 {
            let sent = match read(&mut file, left.min(part)).await {
                Ok(payload) => {
                    left -= payload.content_length() as u64;
                    upload.put_part(payload).await
                }
                Err(error) => Err(error),
            };
            if let Err(error) = sent {
                // the reason it failed for may keep it from being taken back, too
                let _ = upload.abort().await;
                return Err(error);
            }
        }
        upload.complete().await.map(drop)
    }

    /// The bytes from the first to the one before the last.
    pub async fn get(&self, name: &str, from: u64, until: u64) -> Result<BoxStream<'static, Result<Bytes>>> {
        if from == until {
            return Ok(futures::stream::empty().boxed());
        }
        let range = Some(GetRange::Bounded(Range { start: from, end: until }));
        Ok(self.store.get_opts(&Key::from(name), GetOptions { range, ..GetOptions::default() }).await?.into_stream())
    }

    /// The whole object into a file, which is on disk when this returns.
    pub async fn fetch(&self, name: &str, file: &Path) -> Result<()> {
        let mut stream = self.store.get(&Key::from(name)).await?.into_stream();
        let mut file = tokio::fs::File::create(file).await.map_err(disk)?;
        while let Some(bytes) = stream.next().await {
            file.write_all(&bytes?).await.map_err(disk)?;
        }
        file.flush().await.map_err(disk)?;
        file.sync_all().await.map_err(disk)
    }

    pub async fn has(&self, name: &str) -> Result<bool> {
        match self.store.head(&Key::from(name)).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Fine when it is not there.
    pub async fn remove(&self, name: &str) -> Result<()> {
        match self.store.delete(&Key::from(name)).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

async fn read(file: &mut tokio::fs::File, length: u64) -> Result<PutPayload> {
    let mut bytes = Vec::with_capacity(length as usize);
    file.take(length).read_to_end(&mut bytes).await.map_err(disk)?;
    if bytes.len() as u64 != length {
        return Err(disk(std::io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(PutPayload::from(bytes))
}

/// What went wrong on this side.
fn disk(error: std::io::Error) -> Error {
    Error::Generic { store: "file", source: Box::new(error) }
}
