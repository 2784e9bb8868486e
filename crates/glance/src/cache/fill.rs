//! How images get into the cache: beside a download, or fetched because somebody asked for it.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt;
use kit::{Error, Result};
use tokio::task::spawn_blocking;

use super::Inner;
use crate::Glance;
use crate::data::scratch::blocking;
use crate::images::{Image, store};

/// A file that is being written beside a download. One that is not whole when this is dropped is removed.
struct Filling {
    inner: Arc<Inner>,
    id: String,
    path: PathBuf,
    file: Option<std::fs::File>,
    left: u64,
    size: u64,
}

/// The download, with a copy of it going to the cache, unless somebody does that already or it would not fit.
pub async fn through(app: &Glance, inner: &Arc<Inner>, image: &Image, body: Body) -> Body {
    let Some(filling) = Filling::begin(inner, image) else { return body };
    match local(app, image) {
        None => copying(filling, body),
        Some(path) => {
            if let Err(error) = blocking(move || filling.link(&path)).await {
                tracing::warn!(image = image.row.id, %error, "could not be cached");
            }
            body
        }
    }
}

/// Fetches an image that somebody queued.
pub async fn prefetch(app: &Glance, inner: &Arc<Inner>, id: &str) -> Result<()> {
    let Some(image) = store::fetch(app.db.read(), id).await? else { return Ok(()) };
    let Some(filling) = Filling::begin(inner, &image) else { return Ok(()) };
    if let Some(path) = local(app, &image) {
        return blocking(move || filling.link(&path)).await;
    }
    let body = crate::data::open(app, &image, 0, filling.size).await?;
    let mut copy = copying(filling, body).into_data_stream();
    while let Some(piece) = copy.next().await {
        piece.map_err(Error::internal)?;
    }
    Ok(())
}

/// The image as a file of this host, if a store has it as one.
fn local(app: &Glance, image: &Image) -> Option<PathBuf> {
    app.stores.order(&image.locations).iter().find_map(|(store, location)| store.local(&location.name))
}

/// A stream that leaves a copy.
fn copying(filling: Filling, body: Body) -> Body {
    let stream = futures::stream::unfold((body.into_data_stream(), Some(filling)), |(mut body, mut filling)| async move {
        let piece = match body.next().await? {
            Ok(piece) => piece,
            Err(error) => return Some((Err(error), (body, None))),
        };
        if let Some(writing) = filling.take() {
            filling = writing.take(piece.clone()).await;
        }
        Some((Ok(piece), (body, filling)))
    });
    Body::from_stream(stream)
}

impl Filling {
    fn begin(inner: &Arc<Inner>, image: &Image) -> Option<Filling> {
        let id = &image.row.id;
        let size = image.row.size.and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
        let mut state = inner.state();
        if size == 0 || size > inner.max || state.entries.contains_key(id.as_str()) || !state.filling.insert(id.clone()) {
            return None;
        }
        let path = inner.dir.join(format!("{id}.partial"));
        Some(Filling { inner: inner.clone(), id: id.clone(), path, file: None, left: size, size })
    }

    /// Writes a piece; the last one makes the file part of the cache. Nothing more comes of it when the disk refuses.
    async fn take(mut self, piece: Bytes) -> Option<Filling> {
        let done = spawn_blocking(move || {
            self.left = self.left.checked_sub(piece.len() as u64)?;
            if self.file.is_none() {
                self.file = std::fs::File::create(&self.path).ok();
            }
            self.file.as_mut()?.write_all(&piece).ok()?;
            if self.left == 0 {
                self.file = None;
                self.inner.admit(&self.id, &self.path, self.size).ok()?;
                return None;
            }
            Some(self)
        });
        done.await.ok().flatten()
    }

    /// A file of the same disk needs no copy.
    fn link(self, path: &std::path::Path) -> Result<()> {
        if std::fs::hard_link(path, &self.path).is_err() {
            std::fs::copy(path, &self.path)?;
        }
        self.inner.admit(&self.id, &self.path, self.size)?;
        Ok(())
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        self.inner.state().filling.shift_remove(&self.id);
        // gone already when it became part of the cache
        let _ = std::fs::remove_file(&self.path);
    }
}
