//! The body of `POST /servers`: its fields by version, and the checks that need nobody else.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kit::call::Wrapper;
use kit::{Context, Error, Result, Versioned};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::write::checked_hostname;
use crate::validate::{self, invalid};

/// User data has at most so many characters of base64.
const USER_DATA: usize = 65_535;
/// A server has at most so many tags.
pub const MOST_TAGS: usize = 50;
const HINTS: &[&str] = &["os:scheduler_hints", "OS-SCH-HNT:scheduler_hints"];

/// The object under `server`.
#[derive(Deserialize, Serialize, Versioned)]
pub struct CreateServer {
    pub name: Option<Value>,
    #[serde(rename = "flavorRef")]
    pub flavor_ref: Option<Value>,
    #[serde(rename = "imageRef")]
    pub image_ref: Option<Value>,
    pub networks: Option<Value>,
    pub key_name: Option<String>,
    pub security_groups: Option<Vec<SecurityGroupRef>>,
    pub availability_zone: Option<String>,
    pub metadata: Option<Value>,
    pub user_data: Option<String>,
    pub config_drive: Option<Value>,
    #[serde(rename = "adminPass")]
    pub admin_pass: Option<String>,
    #[serde(rename = "accessIPv4")]
    pub access_ip_v4: Option<String>,
    #[serde(rename = "accessIPv6")]
    pub access_ip_v6: Option<String>,
    #[serde(rename = "OS-DCF:diskConfig")]
    pub disk_config: Option<String>,
    pub min_count: Option<Value>,
    pub max_count: Option<Value>,
    pub return_reservation_id: Option<Value>,
    pub block_device_mapping_v2: Option<Vec<Map<String, Value>>>,
    pub block_device_mapping: Option<Vec<Map<String, Value>>>,
    #[until(2.56)]
    pub personality: Option<Vec<PersonalityFile>>,
    #[since(2.19)]
    pub description: Option<String>,
    #[since(2.52)]
    pub tags: Option<Vec<String>>,
    #[since(2.63)]
    pub trusted_image_certificates: Option<Vec<String>>,
    #[since(2.74)]
    pub host: Option<String>,
    #[since(2.74)]
    pub hypervisor_hostname: Option<String>,
    #[since(2.90)]
    pub hostname: Option<String>,
}

impl Wrapper for CreateServer {
    const KEY: &'static str = "server";
    const BESIDE: &'static [&'static str] = HINTS;
}

#[derive(Deserialize, Serialize)]
pub struct SecurityGroupRef {
    pub name: String,
}

#[derive(Deserialize, Serialize)]
pub struct PersonalityFile {
    pub path: String,
    #[serde(default)]
    pub contents: String,
}

/// The same, read.
pub struct Wanted {
    pub name: String,
    pub flavor_ref: String,
    /// `None` when it boots from a volume.
    pub image_ref: Option<String>,
    pub networks: Option<Value>,
    pub key_name: Option<String>,
    pub security_groups: Vec<String>,
    pub availability_zone: Option<String>,
    pub metadata: BTreeMap<String, String>,
    pub user_data: Option<String>,
    pub config_drive: bool,
    pub admin_password: Option<String>,
    pub access_ip_v4: Option<String>,
    pub access_ip_v6: Option<String>,
    pub disk_config: String,
    pub min_count: i64,
    pub max_count: i64,
    pub return_reservation_id: bool,
    pub devices: Devices,
    pub injected_files: Vec<(String, String)>,
    pub description: Option<String>,
    pub tags: Vec<String>,
    pub hints: Value,
    pub host: Option<String>,
    pub node: Option<String>,
    pub trusted_image_certificates: Option<Vec<String>>,
    pub hostname: Option<String>,
}

/// The block device mapping in the form it came in.
pub enum Devices {
    V1(Vec<Map<String, Value>>),
    V2(Vec<Map<String, Value>>),
}

impl Devices {
    pub fn is_empty(&self) -> bool {
        match self {
            Devices::V1(devices) | Devices::V2(devices) => devices.is_empty(),
        }
    }
}

/// Checks what the body alone can tell.
pub fn read(ctx: &Context, body: CreateServer, beside: &Map<String, Value>) -> Result<Wanted> {
    let name = text("name", body.name)?.ok_or_else(|| required("name"))?;
    let name = validate::relaxed_name(ctx.strict, "name", &name)?;
    let flavor_ref = text("flavorRef", body.flavor_ref)?.ok_or_else(|| required("flavorRef"))?;
    let devices = match (body.block_device_mapping, body.block_device_mapping_v2) {
        (Some(_), Some(_)) => {
            return Err(Error::bad_request("Using different block_device_mapping syntaxes is not allowed in the same request."));
        }
        (Some(v1), None) => Devices::V1(v1),
        (None, v2) => Devices::V2(v2.unwrap_or_default()),
    };
    let image_ref = image(text("imageRef", body.image_ref)?, !devices.is_empty())?;
    let hostname = body.hostname.map(|name| checked_hostname(ctx, name)).transpose()?;
    let count = |field: &str, value: Option<Value>, otherwise: i64| {
        value.filter(|v| !v.is_null()).map_or(Ok(otherwise), |v| validate::integer(field, &v, 1, 1000))
    };
    let min_count = count("min_count", body.min_count, 1)?;
    let max_count = count("max_count", body.max_count, min_count)?;
    if min_count > max_count {
        return Err(Error::bad_request("min_count must be <= max_count"));
    }
    let metadata = body.metadata.filter(|m| !m.is_null()).map_or(Ok(BTreeMap::new()), |m| validate::texts("metadata", &m))?;
    validate::metadata("metadata", &metadata)?;
    let description = body.description;
    validate::description(description.as_deref())?;
    let flag = |field: &str, value: Option<Value>| match value {
        None | Some(Value::Null) => Ok(false),
        Some(Value::String(text)) if text.is_empty() => Ok(false),
        Some(value) => validate::boolean(field, &value),
    };
    Ok(Wanted {
        name,
        flavor_ref: validate::id_of(&flavor_ref).to_owned(),
        image_ref,
        networks: body.networks.filter(|n| !n.is_null()),
        key_name: body.key_name.filter(|k| !k.is_empty()),
        security_groups: security_groups(body.security_groups.unwrap_or_default())?,
        availability_zone: bounded("availability_zone", body.availability_zone)?,
        metadata,
        user_data: user_data(body.user_data)?,
        config_drive: flag("config_drive", body.config_drive)?,
        admin_password: body.admin_pass,
        access_ip_v4: address("accessIPv4", body.access_ip_v4)?,
        access_ip_v6: address("accessIPv6", body.access_ip_v6)?,
        disk_config: disk_config(body.disk_config)?,
        min_count,
        max_count,
        return_reservation_id: flag("return_reservation_id", body.return_reservation_id)?,
        devices,
        injected_files: personality(body.personality.unwrap_or_default())?,
        description,
        tags: tags(body.tags.unwrap_or_default())?,
        hints: hints(beside)?,
        host: bounded("host", body.host)?,
        node: bounded("hypervisor_hostname", body.hypervisor_hostname)?,
        hostname,
        trusted_image_certificates: certificates(body.trusted_image_certificates)?,
    })
}

/// Scheduler hints: known ones have a form, unknown ones are let through.
fn hints(beside: &Map<String, Value>) -> Result<Value> {
    let Some(hints) = HINTS.iter().find_map(|key| beside.get(*key)).filter(|hints| !hints.is_null()) else {
        return Ok(Value::Object(Map::new()));
    };
    let Some(object) = hints.as_object() else {
        return Err(invalid("os:scheduler_hints", hints, format!("{hints} is not of type 'object'")));
    };
    let uuid = |value: &Value| value.as_str().is_some_and(|id| kit::ids::parse_uuid(id).is_some());
    for (key, value) in object {
        let good = match key.as_str() {
            "group" => uuid(value),
            "same_host" | "different_host" => uuid(value) || value.as_array().is_some_and(|ids| ids.iter().all(uuid)),
            "query" => value.is_string() || value.is_object() || value.is_array(),
            "build_near_host_ip" => value.as_str().is_some_and(|ip| ip.parse::<std::net::IpAddr>().is_ok()),
            "cidr" => value.as_str().is_some_and(|cidr| cidr.starts_with('/')),
            "target_cell" => value.is_string(),
            _ => true,
        };
        if !good {
            return Err(invalid(key, value, format!("{value} is not valid under any of the given schemas")));
        }
    }
    Ok(hints.clone())
}

fn required(field: &str) -> Error {
    Error::bad_request(format!("Invalid input for field/attribute server. '{field}' is a required property"))
}

/// A text of 1 to 255 characters.
fn bounded(field: &str, value: Option<String>) -> Result<Option<String>> {
    match &value {
        Some(text) if text.is_empty() => Err(invalid(field, "", "'' is too short")),
        Some(text) => validate::length(field, text, 255).map(|()| value),
        None => Ok(None),
    }
}

fn security_groups(groups: Vec<SecurityGroupRef>) -> Result<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    for group in groups {
        validate::name("security_groups.name", &group.name)?;
        if !names.contains(&group.name) {
            names.push(group.name);
        }
    }
    Ok(names)
}

/// Text, or a number that older clients send for an id.
fn text(field: &str, value: Option<Value>) -> Result<Option<String>> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Number(number)) if field == "flavorRef" => Ok(Some(number.to_string())),
        Some(other) => Err(invalid(field, &other, format!("{other} is not of type 'string'"))),
    }
}

fn image(reference: Option<String>, has_devices: bool) -> Result<Option<String>> {
    match reference.filter(|r| !r.is_empty()) {
        None if has_devices => Ok(None),
        None => Err(Error::bad_request("Missing imageRef attribute")),
        Some(reference) => {
            let id = validate::id_of(&reference);
            kit::ids::parse_uuid(id).map(Some).ok_or_else(|| Error::bad_request("Invalid imageRef provided."))
        }
    }
}

/// Base64 of a bounded length.
pub fn user_data(data: Option<String>) -> Result<Option<String>> {
    let Some(data) = data.filter(|d| !d.is_empty()) else { return Ok(None) };
    if data.len() > USER_DATA {
        return Err(invalid("user_data", "(too long to repeat)", format!("It is longer than {USER_DATA} characters: it is too long")));
    }
    let clean: String = data.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    STANDARD.decode(&clean).map_err(|_| invalid("user_data", &data, format!("'{data}' is not a 'base64'")))?;
    Ok(Some(clean))
}

/// An address of the family that the field's name ends with.
pub fn address(field: &str, value: Option<String>) -> Result<Option<String>> {
    let Some(text) = value.filter(|v| !v.is_empty()) else { return Ok(None) };
    let four = field.ends_with('4');
    let address = text.parse::<std::net::IpAddr>().ok().filter(|address| address.is_ipv4() == four);
    let family = if four { "ipv4" } else { "ipv6" };
    // told in its shortest form, however it was written
    let address = address.ok_or_else(|| invalid(field, &text, format!("'{text}' is not a '{family}'")))?;
    Ok(Some(address.to_string()))
}

/// `AUTO` or `MANUAL`
pub fn disk_config(value: Option<String>) -> Result<String> {
    match value.as_deref() {
        None => Ok("MANUAL".into()),
        Some("AUTO" | "MANUAL") => Ok(value.unwrap_or_default()),
        Some(other) => Err(invalid("OS-DCF:diskConfig", other, format!("'{other}' is not one of ['AUTO', 'MANUAL']"))),
    }
}

/// Files put into the guest, until 2.56.
pub fn personality(files: Vec<PersonalityFile>) -> Result<Vec<(String, String)>> {
    if files.len() > 5 {
        return Err(Error::forbidden("Quota exceeded, too many injected files"));
    }
    for file in &files {
        validate::length("personality.path", &file.path, 255)?;
        let clean: String = file.contents.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        let bytes = STANDARD.decode(clean).map_err(|_| invalid("personality.contents", &file.contents, "It is not a 'base64'"))?;
        if bytes.len() > 10 * 1024 {
            return Err(Error::forbidden("Quota exceeded, injected file content too large"));
        }
    }
    Ok(files.into_iter().map(|file| (file.path, file.contents)).collect())
}

/// At most 50 ids of certificates, each once.
pub fn certificates(ids: Option<Vec<String>>) -> Result<Option<Vec<String>>> {
    let Some(ids) = ids else { return Ok(None) };
    let path = "trusted_image_certificates";
    if ids.is_empty() || ids.len() > 50 {
        return Err(invalid(path, format!("{ids:?}"), format!("{ids:?} is too {}", if ids.is_empty() { "short" } else { "long" })));
    }
    for (index, id) in ids.iter().enumerate() {
        if id.is_empty() || id.chars().count() > 255 {
            return Err(invalid(&format!("{path}.{index}"), id, format!("'{id}' is not 1 to 255 characters long")));
        }
        if ids.iter().filter(|other| *other == id).count() > 1 {
            return Err(invalid(path, format!("{ids:?}"), format!("{ids:?} has non-unique elements")));
        }
    }
    Ok(Some(ids))
}

/// Tags of 1 to 60 characters without `,` and `/`, not too many of them.
pub fn tags(tags: Vec<String>) -> Result<Vec<String>> {
    if tags.len() > MOST_TAGS {
        return Err(invalid("tags", format!("{tags:?}"), format!("{tags:?} is too long")));
    }
    tags.iter().try_for_each(|tag| validate::tag("tags", tag))?;
    let mut seen = Vec::new();
    for tag in tags {
        if !seen.contains(&tag) {
            seen.push(tag);
        }
    }
    Ok(seen)
}
