//! Volumes from images. What an image holds is kept as a layer, so that the next volume of it is a clone and a moment's work. Who asks for
//! a volume has been asked whether they may read the image; the layer is known by the image's id, format and hash, so it is never another's.
//!
//! `STATE_DIR/layers/LAYER/image` marks a layer that is kept for its image, and says when it was last of use. The layer of an image that is
//! not kept any more stays as long as volumes stand on it.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use kit::Result;
use rpc::volume::Secret;

use super::disk::{self, blocking};
use super::{FileBackend, Layout, inspect, layers};
use crate::image::Image;

/// Images that are kept.
const KEPT: usize = 10;

impl FileBackend {
    pub(super) async fn make_from_image(&self, layout: &Layout, image: &Image, bytes: u64, key: Option<&Secret>) -> Result<()> {
        let Some(layer) = layer_of(image).filter(|_| key.is_none() && !image.is_locked()) else {
            // what is encrypted is so with a key of its own, and shares nothing
            return disk::from_image(layout, image, bytes, key).await;
        };
        if tokio::fs::try_exists(&layout.disk).await? {
            return Ok(());
        }
        let lock = self.images().of(&layer);
        let kept = {
            let _alone = lock.lock().await;
            self.keep_image(&layer, image, bytes).await
        };
        self.images().tidy(&layer, lock);
        kept?;
        self.stand_on(layout, &layer, bytes, None).await
    }

    /// Sees to it that the layer is there, and fits.
    async fn keep_image(&self, layer: &str, image: &Image, bytes: u64) -> Result<()> {
        let place = Layout::beside(self.state_dir(), "layers", layer);
        self.mark(&place.dir, &image.info.id).await?;
        disk::make(&place, async |part| disk::fill_as_is(&place, image, bytes, part, None).await).await?;
        // made for a larger volume, perhaps
        inspect::check_size(&disk::info(&place.disk, Some("qcow2")).await?, bytes)?;
        self.let_go_of_others().await
    }

    /// Alone, so that nobody sweeps what is about to be filled.
    async fn mark(&self, dir: &Path, image_id: &str) -> Result<()> {
        let _alone = self.layers().lock().await;
        let (dir, text) = (dir.to_owned(), image_id.to_owned());
        blocking(move || {
            std::fs::create_dir_all(&dir)?;
            std::fs::write(mark_of(&dir), text)
        })
        .await
    }

    /// The images that were of use longest ago are not kept.
    async fn let_go_of_others(&self) -> Result<()> {
        let home = self.state_dir().join("layers");
        let gone = blocking(move || {
            let gone = surplus(marks(&home)?);
            gone.iter().try_for_each(std::fs::remove_file).map(|()| gone.len())
        });
        if gone.await? > 0 { self.sweep().await } else { Ok(()) }
    }
}

/// What says that a layer is kept for its image.
pub fn mark_of(layer: &Path) -> PathBuf {
    layer.join("image")
}

/// The layer of an image whose hash is known.
fn layer_of(image: &Image) -> Option<String> {
    let (hash, format) = (image.info.os_hash_value.as_ref()?, image.info.disk_format.as_ref()?);
    Some(kit::ids::derived("volumes of images", &format!("{} {format} {hash}", image.info.id)))
}

fn marks(home: &Path) -> std::io::Result<Vec<(SystemTime, PathBuf)>> {
    let mut marks = Vec::new();
    for name in layers::names(home)? {
        let mark = mark_of(&home.join(name));
        match std::fs::metadata(&mark) {
            Ok(metadata) => marks.push((metadata.modified()?, mark)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(marks)
}

fn surplus(mut marks: Vec<(SystemTime, PathBuf)>) -> Vec<PathBuf> {
    marks.sort();
    let count = marks.len().saturating_sub(KEPT);
    marks.into_iter().take(count).map(|(_, mark)| mark).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_oldest_go() {
        let at = |n: u64| (SystemTime::UNIX_EPOCH + Duration::from_secs(n), PathBuf::from(format!("{n}")));
        assert!(surplus((0..KEPT as u64).map(at).collect()).is_empty());
        let many: Vec<_> = (0..KEPT as u64 + 2).rev().map(at).collect();
        assert_eq!(surplus(many), [PathBuf::from("0"), PathBuf::from("1")]);
    }
}
