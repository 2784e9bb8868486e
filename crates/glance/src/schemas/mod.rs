//! `/schemas`: the JSON schemas clients build their models from.

pub mod metadefs;
pub mod tasks;

use kit::{Context, Reply, Result};
use serde_json::{Value, json};

use crate::Glance;
use crate::images::{CONTAINER_FORMATS, DISK_FORMATS};

pub async fn image(_: Glance, _: Context) -> Result<Reply> {
    Reply::ok(&image_schema())
}

pub async fn images(_: Glance, _: Context) -> Result<Reply> {
    Reply::ok(&list_of("images", image_schema()))
}

pub async fn member(_: Glance, _: Context) -> Result<Reply> {
    Reply::ok(&member_schema())
}

pub async fn members(_: Glance, _: Context) -> Result<Reply> {
    Reply::ok(&json!({
        "name": "members",
        "properties": {"members": {"type": "array", "items": member_schema()}, "schema": {"type": "string"}},
        "links": [{"rel": "describedby", "href": "{schema}"}],
    }))
}

fn list_of(name: &str, item: Value) -> Value {
    json!({
        "name": name,
        "properties": {
            name: {"type": "array", "items": item},
            "first": {"type": "string"},
            "next": {"type": "string"},
            "schema": {"type": "string"},
        },
        "links": [
            {"rel": "first", "href": "{first}"},
            {"rel": "next", "href": "{next}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
    })
}

fn image_schema() -> Value {
    let text = |what: &str| json!({"type": ["null", "string"], "maxLength": 255, "description": what});
    let read_only = |kind: Value, what: &str| json!({"type": kind, "readOnly": true, "description": what});
    let formats = |known: &[&str], what: &str| {
        let known: Vec<Value> = std::iter::once(Value::Null).chain(known.iter().map(|f| json!(f))).collect();
        json!({"type": ["null", "string"], "enum": known, "description": what})
    };
    let maybe = |kind: &str| json!(["null", kind]);
    let digest = |longest: u64, what: &str| json!({"type": maybe("string"), "readOnly": true, "maxLength": longest, "description": what});
    json!({
        "name": "image",
        "properties": {
            "id": {"type": "string", "description": "An identifier for the image",
                "pattern": "^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$"},
            "name": text("Descriptive name for the image"),
            "status": {"type": "string", "readOnly": true, "description": "Status of the image",
                "enum": ["queued", "saving", "active", "killed", "deleted", "uploading", "importing", "pending_delete", "deactivated"]},
            "visibility": {"type": "string", "enum": ["community", "public", "private", "shared"], "description": "Scope of image accessibility"},
            "protected": {"type": "boolean", "description": "If true, image will not be deletable."},
            "os_hidden": {"type": "boolean", "description": "If true, image will not appear in default image list response."},
            "checksum": digest(32, "md5 hash of image contents."),
            "os_hash_algo": digest(64, "Algorithm to calculate the os_hash_value"),
            "os_hash_value": digest(128, "Hexdigest of the image contents using the algorithm specified by the os_hash_algo"),
            "owner": text("Owner of the image"),
            "size": read_only(maybe("integer"), "Size of image file in bytes"),
            "virtual_size": read_only(maybe("integer"), "Virtual size of image in bytes"),
            "container_format": formats(CONTAINER_FORMATS, "Format of the container"),
            "disk_format": formats(DISK_FORMATS, "Format of the disk"),
            "created_at": read_only(json!("string"), "Date and time of image registration"),
            "updated_at": read_only(json!("string"), "Date and time of the last image modification"),
            "tags": {"type": "array", "items": {"type": "string", "maxLength": 255}, "description": "List of strings related to the image"},
            "min_ram": {"type": "integer", "description": "Amount of ram (in MB) required to boot image."},
            "min_disk": {"type": "integer", "description": "Amount of disk space (in GB) required to boot image."},
            "stores": read_only(json!("string"), "Store in which image data resides. Only present when the operator has enabled multiple stores."),
            "direct_url": read_only(json!("string"), "URL to access the image file kept in external store"),
            "locations": locations_schema(),
            "self": read_only(json!("string"), "An image self url"),
            "file": read_only(json!("string"), "An image file url"),
            "schema": read_only(json!("string"), "An image schema url"),
        },
        "additionalProperties": {"type": "string"},
        "links": [
            {"rel": "self", "href": "{self}"},
            {"rel": "enclosure", "href": "{file}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
    })
}

fn locations_schema() -> Value {
    json!({
        "type": "array",
        "description": "A set of URLs to access the image file kept in external store",
        "items": {
            "type": "object",
            "properties": {
                "url": {"type": "string", "maxLength": 255},
                "metadata": {"type": "object"},
                "validation_data": {
                    "type": "object",
                    "description": "Values to be used to populate the corresponding image properties.",
                    "additionalProperties": false,
                    "required": ["os_hash_algo", "os_hash_value"],
                    "properties": {
                        "checksum": {"type": "string", "minLength": 32, "maxLength": 32},
                        "os_hash_algo": {"type": "string", "maxLength": 64},
                        "os_hash_value": {"type": "string", "maxLength": 128},
                    },
                },
            },
            "required": ["url", "metadata"],
        },
    })
}

fn member_schema() -> Value {
    json!({
        "name": "member",
        "properties": {
            "member_id": {"type": "string", "description": "An identifier for the image member (tenantId)"},
            "image_id": {"type": "string", "description": "An identifier for the image"},
            "status": {"type": "string", "enum": ["pending", "accepted", "rejected"], "description": "The status of this image member"},
            "created_at": {"type": "string", "description": "Date and time of image member creation"},
            "updated_at": {"type": "string", "description": "Date and time of last modification of image member"},
            "schema": {"type": "string", "readOnly": true},
        },
    })
}
