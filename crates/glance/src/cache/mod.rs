//! Copies of images on this host, so that what is downloaded often does not come from a store far away each time.
//!
//! An image that is downloaded whole is kept on the way; one that somebody queued is fetched in the next round. The least recently used
//! ones make room. The directory is the cache: what is in it at start is in it; only who used it how often is forgotten. Each process has
//! its own.

mod api;
mod fill;

use std::collections::HashMap;
use std::io::SeekFrom;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use indexmap::IndexSet;
use kit::clock::Timestamp;
use kit::{Result, ids};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use crate::Glance;
use crate::data::scratch::{blocking, remove};
use crate::entity::{Status, image};
use crate::images::Image;
pub use api::{clear, delete, list, queue};

/// Bytes read at once.
const PIECE: usize = 256 << 10;
/// Images that may wait to be fetched.
const QUEUE: usize = 1000;

/// The cache; nothing is kept in one without a directory.
#[derive(Clone, Default)]
pub struct Cache(Option<Arc<Inner>>);

struct Inner {
    dir: PathBuf,
    max: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: HashMap<String, Entry>,
    queued: IndexSet<String>,
    /// Images that somebody is writing to the cache.
    filling: IndexSet<String>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    size: u64,
    hits: u64,
    last_accessed: Timestamp,
    last_modified: Timestamp,
}

impl Cache {
    /// Opens the directory, when there may be something in it at all.
    pub async fn open(dir: PathBuf, max: Option<u64>) -> Result<Cache> {
        let Some(max) = max else { return Ok(Cache::default()) };
        let path = dir.clone();
        let entries = blocking(move || read(&path)).await?;
        let state = Mutex::new(State { entries, ..State::default() });
        Ok(Cache(Some(Arc::new(Inner { dir, max, state }))))
    }

    /// An image's bytes, if they are here.
    pub async fn get(&self, id: &str, from: u64, until: u64) -> Option<Body> {
        let inner = self.0.as_ref()?;
        {
            let mut state = inner.state();
            let entry = state.entries.get_mut(id)?;
            entry.hits += 1;
            entry.last_accessed = Timestamp::now();
        }
        let opened = async {
            let mut file = tokio::fs::File::open(inner.dir.join(id)).await?;
            file.seek(SeekFrom::Start(from)).await?;
            Ok::<_, std::io::Error>(file)
        };
        match opened.await {
            Ok(file) => Some(Body::from_stream(ReaderStream::with_capacity(file.take(until - from), PIECE))),
            Err(error) => {
                tracing::warn!(image = id, %error, "a cached image cannot be read");
                inner.state().entries.remove(id);
                None
            }
        }
    }

    /// A whole download on its way out, kept here as it passes.
    pub async fn through(&self, app: &Glance, image: &Image, body: Body) -> Body {
        match &self.0 {
            Some(inner) => fill::through(app, inner, image, body).await,
            None => body,
        }
    }

    /// Forgets an image that is no more.
    pub async fn remove(&self, id: &str) -> Result<()> {
        match &self.0 {
            Some(inner) => inner.remove(id).await.map(drop),
            None => Ok(()),
        }
    }

    /// Now and then: fetches what is queued, and forgets what was deleted through another process.
    pub async fn tidy(&self, app: &Glance) -> Result<()> {
        let Some(inner) = &self.0 else { return Ok(()) };
        let have: Vec<String> = inner.state().entries.keys().cloned().collect();
        if have.is_empty() && inner.state().queued.is_empty() {
            return Ok(());
        }
        let live = image::Entity::find().select_only().column(image::Column::Id);
        let live = live.filter(image::Column::Id.is_in(have.iter().map(String::as_str)));
        let live = live.filter(image::Column::Status.is_in([Status::Active, Status::Deactivated]));
        let live: Vec<String> = live.into_tuple().all(app.db.read()).await?;
        for id in have.iter().filter(|id| !live.contains(id)) {
            inner.remove(id).await?;
        }
        let queued: Vec<String> = inner.state().queued.iter().cloned().collect();
        for id in queued {
            if let Err(error) = fill::prefetch(app, inner, &id).await {
                tracing::warn!(image = id, %error, "could not be cached");
            }
            inner.state().queued.shift_remove(&id);
        }
        Ok(())
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there was something to remove.
    async fn remove(&self, id: &str) -> Result<bool> {
        let known = {
            let mut state = self.state();
            state.queued.shift_remove(id) | state.entries.remove(id).is_some()
        };
        let path = self.dir.join(id);
        blocking(move || remove(&path)).await?;
        Ok(known)
    }

    /// Takes a whole file in, and makes room for it.
    fn admit(&self, id: &str, file: &Path, size: u64) -> std::io::Result<()> {
        std::fs::rename(file, self.dir.join(id))?;
        let now = Timestamp::now();
        let mut state = self.state();
        state.queued.shift_remove(id);
        state.entries.insert(id.to_owned(), Entry { size, hits: 0, last_accessed: now, last_modified: now });
        let mut total: u64 = state.entries.values().map(|entry| entry.size).sum();
        while total > self.max {
            let oldest = state.entries.iter().filter(|(other, _)| *other != id).min_by_key(|(_, entry)| entry.last_accessed);
            let Some((oldest, size)) = oldest.map(|(oldest, entry)| (oldest.clone(), entry.size)) else { break };
            state.entries.remove(&oldest);
            total -= size;
            // who reads it now keeps it open
            let _ = std::fs::remove_file(self.dir.join(&oldest));
        }
        Ok(())
    }
}

/// What the directory has; what is not whole is removed.
fn read(dir: &Path) -> Result<HashMap<String, Entry>> {
    std::fs::create_dir_all(dir)?;
    let mut entries = HashMap::new();
    for file in std::fs::read_dir(dir)? {
        let file = file?;
        let (metadata, name) = (file.metadata()?, file.file_name().to_string_lossy().into_owned());
        if ids::parse_uuid(&name).is_none() {
            remove(&file.path())?;
            continue;
        }
        let modified = metadata.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let modified = Timestamp(modified.as_micros() as i64);
        entries.insert(name, Entry { size: metadata.len(), hits: 0, last_accessed: modified, last_modified: modified });
    }
    Ok(entries)
}
