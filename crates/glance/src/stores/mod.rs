//! Where images are kept: directories of this host, and buckets of S3 servers.
//!
//! An object has a name that is used once, so what a slow or dead process still writes never lands in another image. Which image is
//! where is in the table of locations.

mod delete;
mod directory;
pub mod info;
mod objects;

use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use kit::{Error, Result};
use outside::bucket::PART;
use outside::objects::Place;
use serde_json::{Value, json};

use crate::config::StoreConfig;
use crate::entity::location;
pub use delete::{delete, take_away};
use directory::Directory;
use objects::Objects;

/// All stores, the default one first.
#[derive(Clone)]
pub struct Stores(Arc<Vec<Store>>);

/// One store.
pub struct Store {
    pub id: String,
    pub description: String,
    pub read_only: bool,
    backend: Backend,
}

enum Backend {
    Directory(Directory),
    Objects(Objects),
}

impl Stores {
    pub async fn open(configs: &[StoreConfig]) -> Result<Stores> {
        let mut stores = Vec::new();
        for config in configs {
            let backend = match &config.place {
                Place::Directory(path) => Backend::Directory(Directory::open(path.clone()).await?),
                Place::S3(s3) => Backend::Objects(Objects::open(s3)?),
            };
            let (id, description) = (config.id.clone(), config.description.clone());
            stores.push(Store { id, description, read_only: config.read_only, backend });
        }
        if stores.iter().all(|store| store.read_only) {
            return Err(Error::unavailable("Glance needs a store that can be written."));
        }
        Ok(Stores(Arc::new(stores)))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Store> {
        self.0.iter()
    }

    pub fn find(&self, id: &str) -> Option<&Store> {
        self.iter().find(|store| store.id == id)
    }

    /// The store a client named, or the first that can be written.
    pub fn chosen(&self, id: Option<&str>) -> Result<&Store> {
        let found = match id {
            Some(id) => self.find(id).filter(|store| !store.read_only),
            None => self.iter().find(|store| !store.read_only),
        };
        found.ok_or_else(|| Error::bad_request(format!("Store for identifier {} not found", id.unwrap_or("default"))))
    }

    /// The ids of the stores that can be written.
    pub fn writable(&self) -> Vec<String> {
        self.iter().filter(|store| !store.read_only).map(|store| store.id.clone()).collect()
    }

    /// Those of an image's locations that are in stores we have, in the stores' order.
    pub fn order<'l>(&self, locations: &'l [location::Model]) -> Vec<(&Store, &'l location::Model)> {
        self.iter().filter_map(|store| Some((store, locations.iter().find(|location| location.store == store.id)?))).collect()
    }

    /// Removes an object; fine when it is not there, or its store is no longer ours.
    pub async fn remove(&self, store: &str, name: &str) -> Result<()> {
        match self.find(store) {
            Some(store) => store.remove(name).await,
            None => {
                tracing::warn!(store, name, "an object cannot be removed: its store is not configured any more");
                Ok(())
            }
        }
    }
}

impl Store {
    /// What kind of store it is, as glance calls it.
    pub fn kind(&self) -> &'static str {
        match &self.backend {
            Backend::Directory(_) => "file",
            Backend::Objects(_) => "s3",
        }
    }

    /// Where an object is, for administrators and services.
    pub fn url(&self, name: &str) -> String {
        match &self.backend {
            Backend::Directory(directory) => format!("file://{}", directory.path(name).display()),
            Backend::Objects(objects) => objects.url(name),
        }
    }

    /// An object as one of an image's `locations`.
    pub fn place(&self, location: &location::Model) -> Value {
        json!({"url": self.url(&location.name), "metadata": {"store": self.id}})
    }

    /// What a store of its kind says of itself in glance.
    pub fn properties(&self) -> Value {
        match &self.backend {
            Backend::Directory(directory) => {
                json!({"data_dir": directory.path(""), "chunk_size": directory::PIECE, "thin_provisioning": false})
            }
            Backend::Objects(_) => json!({
                "s3_store_large_object_size": PART >> 20,
                "s3_store_large_object_chunk_size": PART >> 20,
                "s3_store_thread_pools": 1,
            }),
        }
    }

    /// Copies a whole file in. When this returns, it is there also after a power cut.
    pub async fn put(&self, file: &Path, name: &str) -> Result<()> {
        match &self.backend {
            Backend::Directory(directory) => directory.put(file, name).await,
            Backend::Objects(objects) => objects.put(file, name).await,
        }
    }

    /// The bytes from the first to the one before the last.
    pub async fn get(&self, name: &str, from: u64, until: u64) -> Result<Body> {
        match &self.backend {
            Backend::Directory(directory) => directory.get(name, from, until).await,
            Backend::Objects(objects) => objects.get(name, from, until).await,
        }
    }

    /// The object as a file of this host, where it is one.
    pub fn local(&self, name: &str) -> Option<std::path::PathBuf> {
        match &self.backend {
            Backend::Directory(directory) => Some(directory.path(name)),
            Backend::Objects(_) => None,
        }
    }

    pub async fn remove(&self, name: &str) -> Result<()> {
        match &self.backend {
            Backend::Directory(directory) => directory.remove(name).await,
            Backend::Objects(objects) => objects.remove(name).await,
        }
    }
}
