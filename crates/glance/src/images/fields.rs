//! The attributes a client may set, each checked in one place, for create and for patch.

use kit::{Error, Kind, Result};
use serde_json::Value;

use super::Image;
use crate::entity::{Status, Visibility};

pub const CONTAINER_FORMATS: &[&str] = &["ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed"];
pub const DISK_FORMATS: &[&str] = &["ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "ploop", "iso", "gpt"];

/// What only glance writes.
#[rustfmt::skip]
const READ_ONLY: &[&str] = &[
    "status", "checksum", "os_hash_algo", "os_hash_value", "size", "virtual_size", "created_at", "updated_at", "self", "file",
    "schema", "direct_url", "stores",
];
/// What an image always has.
#[rustfmt::skip]
const BASE: &[&str] = &[
    "id", "name", "visibility", "protected", "os_hidden", "owner", "container_format", "disk_format", "min_disk", "min_ram", "tags",
    "locations",
];
/// Custom properties, tags and members an image may have, of each.
pub const QUOTA: usize = 128;
/// Characters a name or a tag may have.
pub const NAME: usize = 255;
/// Characters the value of a property may have.
const VALUE: usize = 65_535;

/// Whether a key names an attribute rather than a custom property.
pub fn is_base(key: &str) -> bool {
    BASE.contains(&key) || READ_ONLY.contains(&key)
}

/// Refuses keys that clients may not write.
pub fn check_writable(key: &str) -> Result<()> {
    if READ_ONLY.contains(&key) {
        return Err(Error::forbidden(format!("Attribute '{key}' is read-only.")));
    }
    if key.starts_with("os_glance_") || matches!(key, "location" | "locations" | "deleted" | "deleted_at") {
        // of these, `locations` is changed by patches alone, which keep them apart
        return Err(Error::forbidden(format!("Attribute '{key}' is reserved.")));
    }
    Ok(())
}

/// Sets one attribute or custom property. Whether the caller may is asked elsewhere.
pub fn set(image: &mut Image, key: &str, value: &Value) -> Result<()> {
    check_writable(key)?;
    let row = &mut image.row;
    match key {
        "name" => row.name = text_or_null(key, value)?,
        "visibility" => {
            let known = || invalid(key, &format!("{value} is not one of ['community', 'public', 'private', 'shared']"));
            row.visibility = value.as_str().and_then(Visibility::parse).ok_or_else(known)?;
        }
        "protected" => row.protected = flag(key, value)?,
        "os_hidden" => row.os_hidden = flag(key, value)?,
        "min_disk" => row.min_disk = number(key, value)?,
        "min_ram" => row.min_ram = number(key, value)?,
        "container_format" => {
            while_queued(row.status, key)?;
            row.container_format = format(key, value, CONTAINER_FORMATS)?;
        }
        "disk_format" => {
            while_queued(row.status, key)?;
            row.disk_format = format(key, value, DISK_FORMATS)?;
        }
        "owner" => {
            let owner = text_or_null(key, value)?.filter(|owner| !owner.is_empty());
            row.owner = owner.ok_or_else(|| invalid(key, "an image has an owner"))?;
        }
        "tags" => {
            let list = value.as_array().ok_or_else(|| invalid(key, &format!("{value} is not of type 'array'")))?;
            image.tags = list.iter().map(tag).collect::<Result<_>>()?;
        }
        _ => {
            let (name, text) = property(key, value)?;
            image.properties.insert(name, text);
        }
    }
    Ok(())
}

/// 413 when the image has too much of something.
pub fn check_quota(image: &Image) -> Result<()> {
    for (what, n) in [("properties", image.properties.len()), ("tags", image.tags.len())] {
        if n > QUOTA {
            let message = format!("The limit has been exceeded on the number of allowed image {what}. Attempted: {n}, Maximum: {QUOTA}");
            return Err(Error::new(Kind::TooLarge, message));
        }
    }
    Ok(())
}

/// A tag as a client sends it.
pub fn tag(value: &Value) -> Result<String> {
    let text = value.as_str().filter(|text| is_text(text, NAME));
    text.map(str::to_owned).ok_or_else(|| invalid("tags", "a tag is text of at most 255 characters"))
}

fn property(key: &str, value: &Value) -> Result<(String, String)> {
    let text = value.as_str().ok_or_else(|| invalid(key, &format!("{value} is not of type 'string'")))?;
    if key.is_empty() || !is_text(key, NAME) || !is_text(text, VALUE) {
        return Err(invalid(key, "a property has a name of 1 to 255 characters and a value of at most 65535"));
    }
    Ok((key.to_owned(), text.to_owned()))
}

fn while_queued(status: Status, key: &str) -> Result<()> {
    if status == Status::Queued {
        return Ok(());
    }
    Err(Error::forbidden(format!("Attribute {key} can be only replaced for a queued image.")))
}

fn text_or_null(key: &str, value: &Value) -> Result<Option<String>> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) if is_text(text, NAME) => Ok(Some(text.clone())),
        _ => Err(invalid(key, &format!("{value} is not text of at most 255 characters"))),
    }
}

fn flag(key: &str, value: &Value) -> Result<bool> {
    value.as_bool().ok_or_else(|| invalid(key, &format!("{value} is not of type 'boolean'")))
}

fn number(key: &str, value: &Value) -> Result<i64> {
    let n = value.as_i64().ok_or_else(|| invalid(key, &format!("{value} is not of type 'integer'")))?;
    if n < 0 {
        return Err(Error::bad_request(format!("Invalid value '{n}' for parameter '{key}': Cannot be a negative value")));
    }
    if n > i64::from(i32::MAX) {
        return Err(Error::bad_request(format!("'{key}' value out of range, must not exceed {}.", i32::MAX)));
    }
    Ok(n)
}

fn format(key: &str, value: &Value, known: &[&str]) -> Result<Option<String>> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) if known.contains(&text.as_str()) => Ok(Some(text.clone())),
        _ => Err(invalid(key, &format!("{value} is not one of {known:?}"))),
    }
}

/// PostgreSQL cannot hold the character NUL in text, and no name needs it.
pub fn is_text(text: &str, longest: usize) -> bool {
    !text.contains('\0') && text.chars().count() <= longest
}

/// 400, as glance's schema validation says it.
pub fn invalid(key: &str, why: &str) -> Error {
    Error::bad_request(format!("Provided object does not match schema 'image': {why}. Failed validating '{key}'"))
}
