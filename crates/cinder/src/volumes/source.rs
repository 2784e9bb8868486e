//! What a new volume is made from: looked up in the caller's name, so that nobody copies what they may not read, and how large the volume
//! must be to hold it.

use std::collections::BTreeMap;

use kit::{Context, Error, Result};
use rpc::volume::VolumeSource;
use sdk::image::ImageInfo;
use serde::Deserialize;

use super::create::NewVolume;
use super::store::{self, Kind};
use super::{Status, Volume, encryption};
use crate::microversions::NOVA_IMAGES;
use crate::{Cinder, backups, services, snapshots};

/// What it will be made from, and how large that is.
pub struct Source {
    pub from: VolumeSource,
    /// Where it must be made, and the zone of that.
    pub host: Option<String>,
    pub zone: Option<String>,
    pub least: i64,
    /// GiB of an image's file, where `least` may be more.
    pub file: i64,
    pub bootable: bool,
    pub image: BTreeMap<String, String>,
    /// The type of a volume that names none.
    pub kind: Option<String>,
    /// Of an encrypted volume.
    pub key: Option<String>,
}

impl Source {
    /// As a refusal names it.
    pub fn word(&self) -> &'static str {
        match self.from {
            VolumeSource::Snapshot { .. } => "snapshot",
            VolumeSource::Backup { .. } => "backup",
            VolumeSource::Blank | VolumeSource::Image { .. } | VolumeSource::Volume { .. } => "source volume",
        }
    }
}

pub async fn of(app: &Cinder, ctx: &Context, body: &NewVolume) -> Result<Source> {
    let image = body.image_ref.as_ref().or(body.image_id.as_ref()).filter(|id| !id.is_empty());
    let given = [image.is_some(), body.snapshot_id.is_some(), body.source_volid.is_some(), body.backup_id.is_some()];
    if given.iter().filter(|given| **given).count() > 1 {
        return Err(Error::bad_request("Invalid input received: Only one of snapshot, source volume, image or backup can be given."));
    }
    for (field, id) in [("snapshot_id", &body.snapshot_id), ("source_volid", &body.source_volid), ("backup_id", &body.backup_id)] {
        if let Some(id) = id.as_ref().filter(|id| kit::ids::parse_uuid(id).is_none()) {
            let sentence = format!("Invalid input for field/attribute {field}. Value: {id}.");
            return Err(Error::bad_request(format!("{sentence} '{id}' is not valid under any of the given schemas")));
        }
    }
    if let Some(id) = &body.backup_id {
        return of_backup(app, ctx, id).await;
    }
    if let Some(reference) = image {
        return of_image_or_its_snapshot(app, ctx, reference).await;
    }
    if let Some(id) = &body.snapshot_id {
        return of_snapshot(app, ctx, id).await;
    }
    if let Some(id) = &body.source_volid {
        return of_volume(app, ctx, id).await;
    }
    let from = VolumeSource::Blank;
    Ok(Source { from, host: None, zone: None, least: 1, file: 0, bootable: false, image: BTreeMap::new(), kind: None, key: None })
}

/// The size asked for, or that of the source.
pub fn size(asked: Option<i64>, source: &Source) -> Result<i64> {
    let refusal = |why: String| Err(Error::bad_request(format!("Invalid input received: {why}")));
    let size = match (asked, &source.from) {
        (Some(size), _) => size,
        (None, VolumeSource::Volume { .. } | VolumeSource::Snapshot { .. } | VolumeSource::Backup { .. }) => source.least,
        (None, VolumeSource::Blank | VolumeSource::Image { .. }) => {
            return refusal("Volume size 'None' must be an integer and greater than 0".into());
        }
    };
    if size < 1 {
        return refusal(format!("Volume size '{size}' must be an integer and greater than 0"));
    }
    if size >= source.least {
        return Ok(size);
    }
    let least = source.least;
    refusal(match &source.from {
        VolumeSource::Blank => format!("Volume size '{size}' must be an integer and greater than 0"),
        VolumeSource::Snapshot { .. } => {
            format!("Volume size '{size}'GB cannot be smaller than the snapshot size {least}GB. They must be >= original snapshot size.")
        }
        VolumeSource::Volume { .. } => {
            format!("Volume size '{size}'GB cannot be smaller than original volume size  {least}GB. They must be >= original volume size.")
        }
        VolumeSource::Backup { .. } => {
            format!("Volume size {size}GB cannot be smaller than the backup size {least}GB. It must be >= backup size.")
        }
        VolumeSource::Image { .. } if size < source.file => {
            format!("Size of specified image {}GB is larger than volume size {size}GB.", source.file)
        }
        VolumeSource::Image { .. } => format!("Volume size {size}GB cannot be smaller than the image minDisk size {least}GB."),
    })
}

/// GiB that a volume needs to hold an image that the caller may use, in place of what it holds.
pub async fn image_size(app: &Cinder, ctx: &Context, id: &str) -> Result<i64> {
    let source = of_image(find_image(app, ctx, id).await?)?;
    match source.key {
        None => Ok(source.least),
        Some(_) => Err(Error::bad_request(format!("Invalid input received: Image {id} is of an encrypted volume: make a new one of it."))),
    }
}

async fn of_backup(app: &Cinder, ctx: &Context, id: &str) -> Result<Source> {
    let backup = backups::api::find_for(app, ctx, id, "backup:restore").await?;
    if backup.status != backups::Status::Available {
        return Err(Error::bad_request("Invalid backup: Originating backup status must be one of 'available' values"));
    }
    let from = VolumeSource::Backup { backup_id: backup.data_id().to_owned() };
    // what is in a bucket can be brought anywhere
    let host = backup.bucket.is_none().then_some(backup.host);
    let zone = match &host {
        Some(host) => Some(services::store::zone_of(app, host).await?),
        None => None,
    };
    let about = backup.about.map(|about| about.0).unwrap_or_default();
    Ok(Source {
        from,
        host,
        zone,
        least: backup.size,
        file: 0,
        bootable: about.bootable,
        image: about.image_metadata,
        kind: about.type_id,
        key: backup.encryption_key_id,
    })
}

async fn of_snapshot(app: &Cinder, ctx: &Context, id: &str) -> Result<Source> {
    let snapshot = snapshots::api::find_for(app, ctx, id, "volume:get_snapshot").await?;
    if snapshot.status != snapshots::Status::Available {
        return Err(Error::bad_request("Invalid snapshot: Originating snapshot status must be one of 'available' values"));
    }
    let volume = store::fetch(app.db().read(), &snapshot.volume_id).await?;
    let from = VolumeSource::Snapshot { volume_id: volume.data_id().to_owned(), snapshot_id: snapshot.id };
    copy(app, volume, from, snapshot.size).await
}

/// One in use is copied as it is at that moment.
async fn of_volume(app: &Cinder, ctx: &Context, id: &str) -> Result<Source> {
    let volume = super::api::find_for(app, ctx, id, "volume:get").await?;
    if !matches!(volume.status, Status::Available | Status::InUse) {
        return Err(store::invalid("Originating source volume status must be one of 'available, in-use' values"));
    }
    let (from, size) = (VolumeSource::Volume { volume_id: volume.data_id().to_owned() }, volume.size);
    copy(app, volume, from, size).await
}

async fn copy(app: &Cinder, volume: Volume, from: VolumeSource, least: i64) -> Result<Source> {
    let image = store::metadata(app.db().read(), &volume.id, Kind::Image).await?;
    let (kind, key, zone) = (Some(volume.type_id), volume.encryption_key_id, Some(volume.availability_zone));
    Ok(Source { from, host: volume.host, zone, least, file: 0, bootable: volume.bootable, image, kind, key })
}

/// A disk in the `block_device_mapping` of an image.
#[derive(Deserialize)]
struct Mapped {
    boot_index: Option<i64>,
    source_type: Option<String>,
    snapshot_id: Option<String>,
}

/// An image that nova made of a server on a volume has no file: it names the volume's snapshot, which clients that know of this get.
async fn of_image_or_its_snapshot(app: &Cinder, ctx: &Context, reference: &str) -> Result<Source> {
    let image = find_image(app, ctx, reference).await?;
    let disks = image.properties().remove("block_device_mapping").and_then(|text| serde_json::from_str::<Vec<Mapped>>(&text).ok());
    let root = disks.into_iter().flatten().find(|disk| disk.boot_index == Some(0) && disk.source_type.as_deref() == Some("snapshot"));
    let Some(id) = root.and_then(|disk| disk.snapshot_id).filter(|_| ctx.speaks(NOVA_IMAGES)) else { return of_image(image) };
    of_snapshot(app, ctx, &id).await.map_err(|error| match error.kind {
        kit::Kind::NotFound => Error::not_found(format!("Nova specific image is found, but boot volume snapshot id:{id} not found.")),
        _ => error,
    })
}

/// By its id, the end of its address, or its name.
async fn find_image(app: &Cinder, ctx: &Context, reference: &str) -> Result<ImageInfo> {
    let id = reference.rsplit('/').next().unwrap_or_default();
    match app.images().find(&ctx.auth(), id).await {
        Ok(Some(image)) => Ok(image),
        Ok(None) => Err(Error::bad_request("Invalid image identifier or unable to access requested image.")),
        Err(error) if error.status == 409 => {
            Err(Error::conflict(format!("Multiple matches found for '{reference}', use an ID to be more specific.")))
        }
        Err(error) => Err(error.into()),
    }
}

fn of_image(image: ImageInfo) -> Result<Source> {
    if image.status != "active" {
        return Err(Error::bad_request(format!("Invalid input received: Image {} is not active.", image.id)));
    }
    let mut properties = image.properties();
    let key = properties.remove(encryption::IMAGE_KEY);
    let bytes = image.virtual_size.max(image.size).unwrap_or_default();
    // what was encrypted is larger than what is in it
    let file = if key.is_some() { 0 } else { bytes.div_ceil(1 << 30) };
    let gib = |size: u64| i64::try_from(size).unwrap_or(i64::MAX);
    let (least, file) = (gib(file.max(image.min_disk).max(1)), gib(file));
    let kind = properties.remove("cinder_img_volume_type");
    let from = VolumeSource::Image { image_id: image.id };
    Ok(Source { from, host: None, zone: None, least, file, bootable: true, image: BTreeMap::new(), kind, key })
}
