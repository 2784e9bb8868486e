//! A guest's own disks when it moves while it runs: described where it is, made where it comes to. What they hold comes with the guest, but for
//! what never changes, which is copied, and for the image, which every host gets from glance.

use std::path::Path;

use kit::{Error, Result};
use rpc::Caller;
use rpc::compute::Instance;
use rpc::live_migration::{LocalDisk, Mirror};

use super::disks::{self, CONFIG, ROOT};
use super::{disk_changes, images, nbd};
use crate::host::{Host, Store};
use crate::image::cache::Base;
use crate::image::qemu_img;

/// The disks of a guest that runs here.
pub async fn describe(host: &Host, store: &Store, instance: &Instance) -> Result<Vec<LocalDisk>> {
    let dir = store.instances.join(&instance.id);
    // of an earlier attempt
    nbd::end(&dir).await?;
    let mut found = Vec::new();
    for name in disk_changes::files(&dir).await? {
        let path = dir.join(&name);
        found.push(match name.as_str() {
            ROOT => root(store, name, &path).await?,
            CONFIG => {
                let bytes = tokio::fs::metadata(&path).await?.len();
                LocalDisk { name, bytes, url: Some(nbd::serve(store, &host.config.host_ip, &path).await?), ..LocalDisk::default() }
            }
            _ => LocalDisk { name, bytes: tokio::fs::metadata(&path).await?.len(), ..LocalDisk::default() },
        });
    }
    Ok(found)
}

async fn root(store: &Store, name: String, path: &Path) -> Result<LocalDisk> {
    let bytes = qemu_img::virtual_size(store.account, path).await?;
    let backing = qemu_img::backing(store.account, path).await?;
    let image_id = backing.as_deref().and_then(|file| store.images.image_of(file));
    Ok(LocalDisk { name, bytes, image_id, url: None })
}

/// Makes them here, as large as they are there; answers those that come with the guest.
pub async fn make(host: &Host, store: &Store, caller: &Caller, instance: &Instance, there: &[LocalDisk]) -> Result<Vec<Mirror>> {
    let dir = store.instances.join(&instance.id);
    store.account.private_dir(&dir)?;
    let mut mirrors = Vec::new();
    for disk in there {
        // a name comes from another host and becomes a path
        if !disks::is_disk(&disk.name) {
            return Err(Error::bad_request(format!("{} is no disk of an instance.", disk.name)));
        }
        let path = dir.join(&disk.name);
        if let Some(url) = &disk.url {
            store.prepare(&path).await?;
            qemu_img::copy_from(store.account, url, &path, "raw").await?;
            continue;
        }
        let base = match &disk.image_id {
            Some(image) => base(host, caller, image).await,
            None => None,
        };
        match (disk.name.as_str(), &base) {
            (ROOT, Some(base)) => qemu_img::overlay(store.account, &path, &base.path, base.format, Some(disk.bytes)).await?,
            (ROOT, None) => qemu_img::create(store.account, &path, disk.bytes).await?,
            _ => {
                store.prepare(&path).await?;
                tokio::fs::OpenOptions::new().write(true).open(&path).await?.set_len(disk.bytes).await?;
            }
        }
        mirrors.push(Mirror { disk: disks::id_of(&disk.name).to_owned(), whole: base.is_none() });
    }
    Ok(mirrors)
}

/// The image that a disk stands on there. One that cannot be had any more is no hindrance: then all of the disk is sent.
async fn base(host: &Host, caller: &Caller, image: &str) -> Option<Base> {
    match images::fetch(host, caller, image).await {
        Ok(base) => base,
        Err(error) => {
            tracing::info!(image, %error, "an image cannot be had, so all of the disk is sent");
            None
        }
    }
}
