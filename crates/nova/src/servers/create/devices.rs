//! The block device mapping of a new server: both forms read into one, and checked.

use kit::{Context, Error, Result, ids};
use rpc::compute::{BlockDevice, Flavor};
use sdk::image::ImageInfo;
use serde_json::{Map, Value};

use super::device_fields;
use super::request::Devices;
use crate::validate;

/// The disks of a server: the root disk from the image if it has one, what was asked for, what the image is a snapshot of, then the flavor's
/// ephemeral and swap disks.
pub fn read(ctx: &Context, devices: &Devices, image: Option<&ImageInfo>, flavor: &Flavor) -> Result<Vec<BlockDevice>> {
    let kept = image.map_or(Ok(Vec::new()), of_image)?;
    let image = image.map(|image| image.id.as_str());
    device_fields::check(ctx, devices)?;
    let mut all = match devices {
        Devices::V1(devices) => devices.iter().enumerate().filter_map(|(n, d)| first_form(n, d, image).transpose()).collect(),
        Devices::V2(devices) => devices.iter().map(second_form).collect::<Result<Vec<_>>>(),
    }?;
    all.retain(|device: &BlockDevice| device.source_type != "no_device");
    let replaced = |device: &BlockDevice| device.boot_index.is_some() && all.iter().any(|asked| asked.boot_index == device.boot_index);
    let kept: Vec<BlockDevice> = kept.into_iter().filter(|device| !replaced(device)).collect();
    all.extend(kept);
    let roots = all.iter().filter(|d| d.boot_index == Some(0)).count();
    if roots > 1 {
        return Err(bad("Boot sequence for the instance and image/block device mapping combination is not valid."));
    }
    match image {
        Some(image) if roots == 0 => all.insert(0, root_of_image(image)),
        None if roots == 0 => {
            return Err(bad("Boot sequence for the instance and image/block device mapping combination is not valid."));
        }
        _ => {}
    }
    let asked = |swap: bool| {
        all.iter().any(|d| d.source_type == "blank" && d.destination_type == "local" && (d.guest_format.as_deref() == Some("swap")) == swap)
    };
    let (ephemeral, swap) = (asked(false), asked(true));
    if flavor.ephemeral_gb > 0 && !ephemeral {
        all.push(blank(Some(flavor.ephemeral_gb), None));
    }
    if flavor.swap_mb > 0 && !swap {
        all.push(blank(None, Some("swap")));
    }
    Ok(all)
}

/// The volumes that an image of a volume-booted server is made of: it has no data of its own, but snapshots.
fn of_image(image: &ImageInfo) -> Result<Vec<BlockDevice>> {
    let properties = image.properties();
    let Some(mapping) = properties.get("block_device_mapping") else { return Ok(Vec::new()) };
    let entries: Vec<Map<String, Value>> =
        serde_json::from_str(mapping).map_err(|_| bad("the image's block_device_mapping cannot be read."))?;
    let one = |entry: &Map<String, Value>| {
        let text = |key: &str| entry.get(key).and_then(Value::as_str).map(str::to_owned);
        let source = text("source_type").filter(|source| matches!(source.as_str(), "snapshot" | "volume" | "image" | "blank"))?;
        Some(BlockDevice {
            image_id: text("image_id"),
            snapshot_id: text("snapshot_id"),
            volume_id: text("volume_id"),
            volume_size: entry.get("volume_size").and_then(Value::as_u64),
            boot_index: entry.get("boot_index").and_then(Value::as_i64).and_then(|index| i32::try_from(index).ok()),
            delete_on_termination: entry.get("delete_on_termination").and_then(Value::as_bool).unwrap_or(false),
            device_name: text("device_name"),
            disk_bus: text("disk_bus"),
            device_type: text("device_type"),
            guest_format: text("guest_format"),
            tag: text("tag"),
            ..device(&source, &text("destination_type").unwrap_or_else(|| "volume".to_owned()))
        })
    };
    Ok(entries.iter().filter_map(one).collect())
}

/// What every device has, to be changed.
fn device(source: &str, destination: &str) -> BlockDevice {
    BlockDevice {
        bdm_id: String::new(),
        source_type: source.into(),
        destination_type: destination.into(),
        image_id: None,
        snapshot_id: None,
        volume_id: None,
        volume_size: None,
        volume_type: None,
        boot_index: None,
        delete_on_termination: false,
        device_name: None,
        disk_bus: None,
        device_type: None,
        guest_format: None,
        tag: None,
        attachment_id: None,
        connection_info: None,
    }
}

fn root_of_image(image: &str) -> BlockDevice {
    BlockDevice { image_id: Some(image.to_owned()), boot_index: Some(0), delete_on_termination: true, ..device("image", "local") }
}

fn blank(size: Option<u64>, format: Option<&str>) -> BlockDevice {
    BlockDevice {
        volume_size: size,
        guest_format: format.map(str::to_owned),
        boot_index: Some(-1),
        delete_on_termination: true,
        ..device("blank", "local")
    }
}

/// An attached volume.
pub fn volume(volume_id: &str) -> BlockDevice {
    BlockDevice { volume_id: Some(volume_id.to_owned()), ..device("volume", "volume") }
}

fn first_form(index: usize, entry: &Map<String, Value>, image: Option<&str>) -> Result<Option<BlockDevice>> {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).filter(|t| !t.is_empty()).map(str::to_owned);
    if no_device(entry) {
        return Ok(None);
    }
    let (volume_id, snapshot_id) = (text("volume_id"), text("snapshot_id"));
    let mut read = match (&volume_id, &snapshot_id) {
        (Some(_), _) => device("volume", "volume"),
        (None, Some(_)) => device("snapshot", "volume"),
        (None, None) => {
            let swap = text("virtual_name").is_some_and(|name| name == "swap");
            if text("virtual_name").is_none() {
                return Err(bad("Unrecognized legacy format."));
            }
            blank(None, swap.then_some("swap"))
        }
    };
    read.volume_size = size(entry);
    read.delete_on_termination = ends(entry).unwrap_or(false);
    // without an image, the first one is the root disk
    if image.is_none() && index == 0 {
        read.boot_index = Some(0);
    }
    (read.volume_id, read.snapshot_id, read.device_name) = (volume_id, snapshot_id, text("device_name"));
    Ok(Some(read))
}

fn second_form(entry: &Map<String, Value>) -> Result<BlockDevice> {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).filter(|t| !t.is_empty()).map(str::to_owned);
    if no_device(entry) {
        return Ok(device("no_device", "local"));
    }
    let source = text("source_type").ok_or_else(|| bad("Missing source_type."))?;
    let uuid = text("uuid");
    let destination = match (source.as_str(), text("destination_type")) {
        ("volume" | "snapshot", None) => "volume".to_owned(),
        (_, None) => "local".to_owned(),
        (_, Some(given)) => given,
    };
    let fits = match source.as_str() {
        "blank" | "image" => matches!(destination.as_str(), "local" | "volume"),
        "volume" | "snapshot" => destination == "volume",
        _ => return Err(bad(&format!("Invalid source_type field: {source}."))),
    };
    if !fits {
        return Err(bad("Invalid source and destination type combination."));
    }
    if source != "blank" && uuid.as_deref().and_then(ids::parse_uuid).is_none() {
        return Err(bad("Missing device UUID."));
    }
    let volume_size = size(entry);
    if destination == "volume" && volume_size.is_none() && matches!(source.as_str(), "blank" | "image") {
        return Err(bad(if source == "image" {
            "Images with destination_type 'volume' need to have a non-zero size specified"
        } else {
            "Blank volumes (source: 'blank', dest: 'volume') need to have non-zero size"
        }));
    }
    let mut read = device(&source, &destination);
    match source.as_str() {
        "image" => read.image_id = uuid,
        "volume" => read.volume_id = uuid,
        "snapshot" => read.snapshot_id = uuid,
        _ => {}
    }
    Ok(BlockDevice {
        volume_size,
        boot_index: entry.get("boot_index").and_then(whole).map(|index| i32::try_from(index).unwrap_or(i32::MAX)),
        delete_on_termination: ends(entry).unwrap_or(destination == "local"),
        volume_type: text("volume_type"),
        device_name: text("device_name"),
        disk_bus: text("disk_bus"),
        device_type: text("device_type"),
        guest_format: text("guest_format"),
        tag: text("tag"),
        ..read
    })
}

fn size(entry: &Map<String, Value>) -> Option<u64> {
    entry.get("volume_size").and_then(whole).and_then(|size| u64::try_from(size).ok())
}

fn ends(entry: &Map<String, Value>) -> Option<bool> {
    entry.get("delete_on_termination").and_then(|value| validate::boolean("delete_on_termination", value).ok())
}

/// A number, also as text; what it may be was checked before.
fn whole(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str().and_then(|text| text.parse().ok()))
}

/// Whether an entry only takes a device of the image away. Any value may say so that Python takes for true.
fn no_device(entry: &Map<String, Value>) -> bool {
    match entry.get("no_device") {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(fields)) => !fields.is_empty(),
        Some(Value::Bool(true)) => true,
    }
}

fn bad(reason: &str) -> Error {
    Error::bad_request(format!("Block Device Mapping is Invalid: {reason}"))
}
