//! A bucket as a store.

use std::path::Path;

use axum::body::Body;
use futures::TryStreamExt;
use kit::{Error, Result};
use outside::bucket::Bucket;
use outside::object_store;
use outside::objects::S3;

pub struct Objects(Bucket);

impl Objects {
    pub fn open(s3: &S3) -> Result<Objects> {
        Bucket::open(s3).map(Objects).map_err(|error| Error::unavailable(format!("An S3 store cannot be used: {error}")))
    }

    pub fn url(&self, name: &str) -> String {
        self.0.url(name)
    }

    pub async fn put(&self, file: &Path, name: &str) -> Result<()> {
        self.0.put(file, name).await.map_err(failed)
    }

    pub async fn get(&self, name: &str, from: u64, until: u64) -> Result<Body> {
        let stream = self.0.get(name, from, until).await.map_err(failed)?;
        Ok(Body::from_stream(stream.map_err(std::io::Error::other)))
    }

    pub async fn remove(&self, name: &str) -> Result<()> {
        self.0.remove(name).await.map_err(failed)
    }
}

fn failed(error: object_store::Error) -> Error {
    Error::unavailable("The image store cannot be used at the moment.").source(error)
}
