//! How disks come to hold what they shall. QEMU writes what comes from elsewhere; what is on the storage already is cloned there.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use kit::{Error, Result};
use rpc::volume::Secret;
use serde_json::Value;

use super::{Pool, RawBackend, names};
use crate::backend::Origin;
use crate::connection::{layered, options};
use crate::file::disk::{self, qemu_img, qemu_img_in};
use crate::file::luks;
use crate::image::Image;

impl<P: Pool> RawBackend<P> {
    pub(super) async fn make(&self, volume_id: &str, bytes: u64, origin: Origin) -> Result<()> {
        let disk = names::volume(volume_id)?;
        if self.pool().size(&disk).await?.is_some() {
            return Ok(());
        }
        let part = names::part(&disk);
        // of an earlier try
        self.pool().remove(&part).await?;
        let made = self.fill_anew(&part, volume_id, bytes, origin).await;
        if made.is_err() {
            // what was begun is of no use to anybody; the error is what matters now
            let _ = self.pool().remove(&part).await;
        }
        made?;
        self.pool().rename(&part, &disk).await
    }

    async fn fill_anew(&self, disk: &str, volume_id: &str, bytes: u64, origin: Origin) -> Result<()> {
        let key = self.key_of(volume_id).await?;
        let key = key.as_ref();
        match origin {
            Origin::Blank => {
                let work = self.work(volume_id).await?;
                let made = self.blank(disk, bytes, key, &work).await;
                end(&work).await;
                made
            }
            Origin::Image(_) | Origin::Backup(_) => self.pour(disk, volume_id, bytes, origin, key).await,
            Origin::Volume(source) => {
                let (source, moment) = (self.existing(&source).await?, names::own_snapshot("clone", volume_id)?);
                self.pool().snapshot(&source, &moment).await?;
                let cloned = self.pool().clone_of(&source, &moment, false, disk).await;
                self.pool().remove_snapshot(&source, &moment).await?;
                cloned?;
                self.enlarge(disk, bytes, key).await
            }
            Origin::Snapshot { volume_id: source, snapshot_id } => {
                let (source, snapshot) = (self.existing(&source).await?, names::snapshot(&snapshot_id)?);
                self.pool().clone_of(&source, &snapshot, true, disk).await?;
                self.enlarge(disk, bytes, key).await
            }
        }
    }

    /// A new content for a volume that nobody uses.
    pub(super) async fn refill_with(&self, volume_id: &str, bytes: u64, origin: Origin) -> Result<()> {
        let (disk, key) = (self.unused(volume_id).await?, self.key_of(volume_id).await?);
        match origin {
            Origin::Image(_) | Origin::Backup(_) => self.pour(&disk, volume_id, bytes, origin, key.as_ref()).await,
            Origin::Blank | Origin::Volume(_) | Origin::Snapshot { .. } => {
                Err(Error::bad_request("A volume is refilled from images and backups only."))
            }
        }
    }

    pub(super) async fn go_back(&self, volume_id: &str, snapshot_id: &str, bytes: u64) -> Result<()> {
        let disk = self.unused(volume_id).await?;
        self.pool().roll_back(&disk, &names::snapshot(snapshot_id)?).await?;
        self.enlarge(&disk, bytes, self.key_of(volume_id).await?.as_ref()).await
    }

    /// Gives who uses the disk so many bytes, if they have fewer.
    pub(super) async fn enlarge(&self, disk: &str, bytes: u64, key: Option<&Secret>) -> Result<()> {
        let header = match key {
            Some(key) => self.header(disk, key).await?,
            None => 0,
        };
        self.pool().grow(disk, bytes + header).await
    }

    /// Bytes before those that LUKS shows.
    async fn header(&self, disk: &str, key: &Secret) -> Result<u64> {
        let node = format!("json:{}", layered(self.pool().node(disk, None), true));
        let arguments = ["-U", "--output=json", &node].map(OsStr::new);
        let info: Value = serde_json::from_slice(&qemu_img_in(&self.pool().environment(), "info", arguments, Some(key)).await?)?;
        let offset = info["format-specific"]["data"]["payload-offset"].as_u64();
        offset.ok_or_else(|| Error::internal(format!("{disk} should be encrypted, and is not")))
    }

    /// Puts an image or a backup into a disk that is new, or that nobody uses.
    async fn pour(&self, disk: &str, volume_id: &str, bytes: u64, origin: Origin, key: Option<&Secret>) -> Result<()> {
        let work = self.work(volume_id).await?;
        let poured = match origin {
            Origin::Image(image) => self.pour_image(disk, &image, bytes, key, &work).await,
            Origin::Backup(backup) => self.pour_backup(disk, volume_id, &backup, bytes, key, &work).await,
            Origin::Blank | Origin::Volume(_) | Origin::Snapshot { .. } => Err(Error::internal("what is poured comes from elsewhere")),
        };
        end(&work).await;
        poured
    }

    async fn pour_image(&self, disk: &str, image: &Image, bytes: u64, key: Option<&Secret>, work: &Path) -> Result<()> {
        let file = work.join("image");
        match disk::fetch(image, &file, bytes).await? {
            "luks" => {
                // of an encrypted volume, with the passphrase that this one has too
                let key = key.ok_or_else(disk::no_key_for_container)?;
                self.lay(&file, disk).await?;
                self.enlarge(disk, bytes, Some(key)).await
            }
            format => {
                self.blank(disk, bytes, key, work).await?;
                self.write(&file.to_string_lossy(), format, disk, bytes, key, work).await
            }
        }
    }

    async fn pour_backup(&self, disk: &str, volume_id: &str, backup: &str, bytes: u64, key: Option<&Secret>, work: &Path) -> Result<()> {
        let backup = self.0.backups.read(volume_id, backup, key.is_some()).await?;
        let content = backup.content();
        let poured = async {
            self.blank(disk, bytes, key, work).await?;
            self.write(content.name(), content.format(), disk, bytes, key, work).await
        };
        let poured = poured.await;
        backup.close().await;
        poured
    }

    /// A disk with nothing in it; one that is there loses what it has.
    async fn blank(&self, disk: &str, bytes: u64, key: Option<&Secret>, work: &Path) -> Result<()> {
        let Some(key) = key else { return self.clear(disk, bytes).await };
        let (file, size) = (work.join("luks"), bytes.to_string());
        let lock = luks::container(key);
        let options = ["-q", "-f", "luks"].into_iter().chain(lock.iter().map(String::as_str)).map(OsStr::new);
        qemu_img("create", options.chain([file.as_os_str(), OsStr::new(&size)]), Some(key)).await?;
        self.lay(&file, disk).await
    }

    async fn clear(&self, disk: &str, bytes: u64) -> Result<()> {
        match self.pool().size(disk).await? {
            Some(_) => self.pool().empty(disk, bytes).await,
            None => self.pool().create(disk, bytes).await,
        }
    }

    /// Makes the disk hold the bytes of a file.
    async fn lay(&self, file: &Path, disk: &str) -> Result<()> {
        let length = tokio::fs::metadata(file).await?.len();
        self.clear(disk, length.next_multiple_of(512)).await?;
        self.convert("raw", &file.to_string_lossy(), disk, None).await
    }

    /// Writes what QEMU reads under a name to a disk that is blank. What follows it is zeros, also where that must be written.
    async fn write(&self, name: &str, format: &str, disk: &str, bytes: u64, key: Option<&Secret>, work: &Path) -> Result<()> {
        let whole = work.join("whole");
        disk::overlay_on(&whole, format, name, bytes, None).await?;
        self.convert("qcow2", &whole.to_string_lossy(), disk, key).await
    }

    async fn convert(&self, format: &str, from: &str, disk: &str, key: Option<&Secret>) -> Result<()> {
        let to = options(&layered(self.pool().node(disk, None), key.is_some()));
        let blank = key.is_none().then_some("--target-is-zero");
        let arguments = ["-q", "-n", "--target-image-opts", "-f", format].into_iter().chain(blank).chain([from, &to]).map(OsStr::new);
        qemu_img_in(&self.pool().environment(), "convert", arguments, key).await.map(drop)
    }

    /// A directory for one piece of work.
    async fn work(&self, id: &str) -> Result<PathBuf> {
        let id = kit::ids::parse_uuid(id).ok_or_else(|| Error::bad_request(format!("{id} is no id.")))?;
        let dir = self.all_work().await?.join(id);
        end(&dir).await;
        tokio::fs::create_dir(&dir).await?;
        Ok(dir)
    }

    /// The directory of all such work.
    pub(super) async fn all_work(&self) -> Result<PathBuf> {
        let dir = self.0.state_dir.join("work");
        tokio::fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).await?;
        Ok(dir)
    }
}

/// What cannot be removed now is at the next start.
async fn end(work: &Path) {
    let _ = tokio::fs::remove_dir_all(work).await;
}
