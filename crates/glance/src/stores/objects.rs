//! A bucket as a store.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use futures::TryStreamExt;
use kit::{Error, Result};
use outside::object_store::path::Path as Key;
use outside::object_store::{self, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutPayload};
use outside::objects::{Place, S3, open};
use tokio::io::AsyncReadExt;

/// Bytes of one part of an upload; S3 takes none smaller than 5 MiB, and no more than 10,000.
const PART: u64 = 8 << 20;
const PARTS: u64 = 10_000;

pub struct Objects {
    store: Arc<dyn ObjectStore>,
    root: String,
}

impl Objects {
    pub fn open(s3: &S3) -> Result<Objects> {
        let store = open(&Place::S3(s3.clone())).map_err(|error| Error::unavailable(format!("An S3 store cannot be used: {error}")))?;
        Ok(Objects {
            store,
            root: format!("s3://{}/{}", s3.endpoint.trim_start_matches("https://").trim_start_matches("http://"), s3.bucket),
        })
    }

    pub fn url(&self, name: &str) -> String {
        format!("{}/{name}", self.root)
    }

    /// Small files in one request, larger ones in parts; an upload that fails is taken back.
    pub async fn put(&self, file: &Path, name: &str) -> Result<()> {
        let key = Key::from(name);
        let mut file = tokio::fs::File::open(file).await?;
        let size = file.metadata().await?.len();
        if size <= PART {
            let payload = read(&mut file, size).await?;
            self.store.put(&key, payload).await.map_err(failed)?;
            return Ok(());
        }
        let part = PART.max(size.div_ceil(PARTS).next_multiple_of(1 << 20));
        let mut upload = self.store.put_multipart(&key).await.map_err(failed)?;
        let mut left = size;
        while left > 0 {
            let payload = read(&mut file, left.min(part)).await?;
            left -= payload.content_length() as u64;
            if let Err(error) = upload.put_part(payload).await {
                // the reason it failed for may keep it from being taken back, too
                let _ = upload.abort().await;
                return Err(failed(error));
            }
        }
        upload.complete().await.map(drop).map_err(failed)
    }

    pub async fn get(&self, name: &str, from: u64, until: u64) -> Result<Body> {
        if from == until {
            return Ok(Body::empty());
        }
        let range = Some(GetRange::Bounded(Range { start: from, end: until }));
        let found = self.store.get_opts(&Key::from(name), GetOptions { range, ..GetOptions::default() }).await.map_err(failed)?;
        Ok(Body::from_stream(found.into_stream().map_err(std::io::Error::other)))
    }

    pub async fn remove(&self, name: &str) -> Result<()> {
        match self.store.delete(&Key::from(name)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }
}

async fn read(file: &mut tokio::fs::File, length: u64) -> Result<PutPayload> {
    let mut bytes = Vec::with_capacity(length as usize);
    file.take(length).read_to_end(&mut bytes).await?;
    if bytes.len() as u64 != length {
        return Err(Error::internal("a file became shorter while it was read"));
    }
    Ok(PutPayload::from(bytes))
}

fn failed(error: object_store::Error) -> Error {
    Error::unavailable("The image store cannot be used at the moment.").source(error)
}
