//! Layers: frozen disks that others stand on, so that a snapshot or a clone of any size is a moment's work and copies nothing.
//!
//! ```text
//! STATE_DIR/layers/LAYER/disk.qcow2           never written again
//! STATE_DIR/volumes/VOLUME/disk.qcow2         stands on a layer once the volume was frozen
//!                         /snapshots/SNAPSHOT names the layer that holds the snapshot
//! ```
//! Freezing makes the volume's disk a layer and puts an empty disk on it. The steps are a link and a rename, so that a crash after any of
//! them leaves the volume whole. A layer that nothing stands on, that no snapshot names and that is kept for no image is swept away. Backing files are named by relative
//! paths (every disk is two directories deep), so the state directory can move.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use kit::{Error, Result};
use rpc::volume::Secret;

use super::disk::{self, blocking, qemu_img};
use super::export::{Change, Exporter};
use super::{FileBackend, Layout, luks};

/// Where disks are that may stand on layers.
const HOMES: [&str; 3] = ["volumes", "layers", "unmanaged"];
const DISKS: [&str; 2] = ["disk.qcow2", "disk.part"];

/// A layer's disk.
pub fn path(state_dir: &Path, layer_id: &str) -> PathBuf {
    state_dir.join("layers").join(layer_id).join("disk.qcow2")
}

/// How a disk that stands on the layer names it.
pub fn backing_name(layer_id: &str) -> String {
    format!("../..{}", tail(layer_id))
}

/// How every name of the layer's disk ends.
pub fn tail(layer_id: &str) -> String {
    format!("/layers/{layer_id}/disk.qcow2")
}

impl FileBackend {
    /// Makes what the volume holds now a layer, also while it is served. Repeating it finds the first one's work.
    pub(super) async fn freeze(&self, layout: &Layout, layer_id: &str, served: Option<Exporter>) -> Result<()> {
        let _alone = self.layers().lock().await;
        let (name, layer) = (backing_name(layer_id), path(self.state_dir(), layer_id));
        if backing(&layout.disk).await?.as_deref() != Some(&*name) {
            let bytes = disk::virtual_size(&layout.disk).await?;
            let part = layout.dir.join("disk.part");
            disk::overlay(&part, &name, bytes, self.key_of(layout).await?.as_ref()).await?;
            let (disk, dir) = (layout.disk.clone(), layout.dir.clone());
            blocking(move || put_below(&disk, &part, &layer, &dir)).await?;
        }
        match served {
            Some(exporter) => exporter.apply(Change::Stack(layer_id.to_owned())).await,
            None => Ok(()),
        }
    }

    /// A new disk that holds what the layer holds.
    pub(super) async fn stand_on(&self, layout: &Layout, layer_id: &str, bytes: u64, key: Option<&Secret>) -> Result<()> {
        let _alone = self.layers().lock().await;
        if !tokio::fs::try_exists(path(self.state_dir(), layer_id)).await? {
            return Err(Error::not_found(format!("The layer {layer_id} is not on this host.")));
        }
        disk::make(layout, async |part| disk::overlay(part, &backing_name(layer_id), bytes, key).await).await
    }

    /// The volume's disk is put aside for an empty one on the layer.
    pub(super) async fn fall_back_to(&self, layout: &Layout, layer_id: &str, bytes: u64) -> Result<()> {
        let _alone = self.layers().lock().await;
        let key = self.key_of(layout).await?;
        disk::replace(layout, async |part| disk::overlay(part, &backing_name(layer_id), bytes, key.as_ref()).await).await
    }

    /// Removes layers that nothing needs. Whatever cannot be read keeps everything: deleting on hearsay is not ours to do.
    pub(super) async fn sweep(&self) -> Result<()> {
        let _alone = self.layers().lock().await;
        let state_dir = self.state_dir().to_owned();
        blocking(move || sweep(&state_dir)).await
    }

    /// Merges a volume that nobody uses with the layers below it that nothing else needs, so that chains do not grow without end.
    pub(super) async fn collapse(&self, layout: &Layout) -> Result<()> {
        let _alone = self.layers().lock().await;
        while let Some(layer_id) = backing(&layout.disk).await?.as_deref().and_then(layer_of).map(str::to_owned) {
            let (state_dir, own) = (self.state_dir().to_owned(), layout.disk.clone());
            let wanted = layer_id.clone();
            if !blocking(move || only_below(&state_dir, &wanted, &own)).await? {
                return Ok(());
            }
            let (disk, key) = (luks::source(&layout.disk).await?, self.key_of(layout).await?);
            qemu_img("commit", ["-q", "-d"].map(OsStr::new).into_iter().chain(disk.iter().map(OsStr::new)), key.as_ref()).await?;
            let (layer, disk, dir) = (path(self.state_dir(), &layer_id), layout.disk.clone(), layout.dir.clone());
            blocking(move || {
                std::fs::File::open(&layer)?.sync_all()?;
                std::fs::rename(&layer, &disk)?;
                std::fs::File::open(dir)?.sync_all()
            })
            .await?;
        }
        Ok(())
    }
}

/// The layer's id in the name of a backing file.
pub fn layer_of(backing: &str) -> Option<&str> {
    backing.strip_prefix("../../layers/")?.strip_suffix("/disk.qcow2")
}

/// What a disk stands on, as its header says.
pub async fn backing(disk: &Path) -> Result<Option<String>> {
    let disk = disk.to_owned();
    blocking(move || header_backing(&disk)).await
}

/// The disk becomes the layer, and the empty disk takes its place. Each step may have been done before.
fn put_below(disk: &Path, part: &Path, layer: &Path, dir: &Path) -> std::io::Result<()> {
    let home = layer.parent().unwrap_or(layer);
    std::fs::create_dir_all(home)?;
    match std::fs::hard_link(disk, layer) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    std::fs::File::open(part)?.sync_all()?;
    std::fs::File::open(home)?.sync_all()?;
    std::fs::rename(part, disk)?;
    std::fs::File::open(dir)?.sync_all()
}

fn sweep(state_dir: &Path) -> std::io::Result<()> {
    loop {
        let (needed, layers) = (needed(state_dir, None)?, names(&state_dir.join("layers"))?);
        let gone: Vec<&String> = layers.iter().filter(|layer| !needed.contains(*layer)).collect();
        if gone.is_empty() {
            return Ok(());
        }
        for layer in gone {
            tracing::info!(layer, "nothing stands on it any more");
            std::fs::remove_dir_all(state_dir.join("layers").join(layer))?;
        }
    }
}

/// Whether a layer carries this disk and nothing else.
fn only_below(state_dir: &Path, layer_id: &str, disk: &Path) -> std::io::Result<bool> {
    Ok(path(state_dir, layer_id).exists() && !needed(state_dir, Some(disk))?.contains(layer_id))
}

/// The layers that snapshots name or disks stand on, one disk aside.
fn needed(state_dir: &Path, aside: Option<&Path>) -> std::io::Result<BTreeSet<String>> {
    let mut needed = BTreeSet::new();
    for home in HOMES {
        for name in names(&state_dir.join(home))? {
            let dir = state_dir.join(home).join(&name);
            if home == "layers" && super::from_image::mark_of(&dir).exists() {
                needed.insert(name);
            }
            for disk in DISKS.map(|disk| dir.join(disk)).iter().filter(|disk| Some(disk.as_path()) != aside && disk.exists()) {
                needed.extend(header_backing(disk)?.as_deref().and_then(layer_of).map(str::to_owned));
            }
            for snapshot in names(&dir.join("snapshots"))? {
                needed.insert(std::fs::read_to_string(dir.join("snapshots").join(snapshot))?.trim().to_owned());
            }
        }
    }
    Ok(needed)
}

/// The names in a directory; none where there is no directory.
pub fn names(dir: &Path) -> std::io::Result<Vec<String>> {
    match std::fs::read_dir(dir) {
        Ok(entries) => entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The name of the backing file in a qcow2 header: its place at byte 8, its length at byte 16.
pub fn header_backing(disk: &Path) -> std::io::Result<Option<String>> {
    let mut file = std::fs::File::open(disk)?;
    let mut header = [0u8; 20];
    file.read_exact(&mut header)?;
    let (magic, offset, length) = (&header[..4], &header[8..16], &header[16..20]);
    if magic != b"QFI\xfb" {
        return Err(std::io::Error::other(format!("{} is no qcow2 file", disk.display())));
    }
    let offset = offset.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    let length = length.iter().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte));
    if offset == 0 {
        return Ok(None);
    }
    let mut name = vec![0u8; length.min(1023)];
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(&mut name)?;
    Ok(Some(String::from_utf8_lossy(&name).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_layers_and_back() {
        assert_eq!(layer_of(&backing_name("one")), Some("one"));
        assert_eq!(layer_of("/etc/passwd"), None);
    }

    #[test]
    fn layers_go_when_nothing_needs_them() {
        let dir = tempfile::tempdir().unwrap();
        let disk = |home: &str, name: &str, backing: &str| {
            let dir = dir.path().join(home).join(name);
            std::fs::create_dir_all(&dir).unwrap();
            let mut bytes = b"QFI\xfb\0\0\0\x03\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
            if !backing.is_empty() {
                (bytes[15], bytes[19]) = (20, backing.len() as u8);
                bytes.extend_from_slice(backing.as_bytes());
            }
            std::fs::write(dir.join("disk.qcow2"), bytes).unwrap();
        };
        disk("layers", "a", "");
        disk("layers", "b", &backing_name("a"));
        disk("layers", "c", &backing_name("a"));
        disk("volumes", "v", &backing_name("b"));
        disk("layers", "kept", "");
        std::fs::create_dir_all(dir.path().join("volumes/v/snapshots")).unwrap();
        std::fs::write(dir.path().join("volumes/v/snapshots/s"), "kept").unwrap();
        let own = dir.path().join("volumes/v/disk.qcow2");
        assert!(only_below(dir.path(), "b", &own).unwrap());
        sweep(dir.path()).unwrap();
        let mut left = names(&dir.path().join("layers")).unwrap();
        left.sort();
        assert_eq!(left, ["a", "b", "kept"]);
        std::fs::remove_dir_all(dir.path().join("volumes/v")).unwrap();
        sweep(dir.path()).unwrap();
        assert!(names(&dir.path().join("layers")).unwrap().is_empty());
    }
}
