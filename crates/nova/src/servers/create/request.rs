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
    pub name: String,
    #[serde(rename = "flavorRef")]
    pub flavor_ref: Value,
    #[serde(rename = "imageRef")]
    pub image_ref: Option<String>,
    pub networks: Option<Value>,
    pub key_name: Option<String>,
    pub security_groups: Option<Vec<SecurityGroupRef>>,
    pub availability_zone: Option<String>,
    pub metadata: Option<Value>,
    /// Null is the older API's only.
    pub user_data: Option<Option<String>>,
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
    pub description: Option<Option<String>>,
    #[since(2.52)]
    pub tags: Option<Vec<String>>,
    #[since(2.63)]
    pub trusted_image_certificates: Option<Option<Vec<String>>>,
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
    const EXACT: bool = true;
}

#[derive(Deserialize, Serialize)]
pub struct SecurityGroupRef {
    pub name: Option<String>,
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
    let name = validate::relaxed_name(ctx.strict, "name", &body.name)?;
    let name_of = |field: &str, value: Option<String>| value.map(|text| validate::relaxed_name(ctx.strict, field, &text)).transpose();
    let flavor_ref = flavor(body.flavor_ref)?;
    let devices = match (body.block_device_mapping, body.block_device_mapping_v2) {
        (Some(_), Some(_)) => {
            return Err(Error::bad_request("Using different block_device_mapping syntaxes is not allowed in the same request."));
        }
        (Some(v1), None) => Devices::V1(v1),
        (None, v2) => Devices::V2(v2.unwrap_or_default()),
    };
    let image_ref = image(body.image_ref, !devices.is_empty())?;
    let hostname = body.hostname.map(|name| checked_hostname(ctx, name)).transpose()?;
    let count = |field: &str, value: Option<Value>, otherwise: i64| {
        value.map_or(Ok(otherwise), |value| validate::integer(field, &value, 1, i64::from(i32::MAX)))
    };
    let min_count = count("min_count", body.min_count, 1)?;
    let max_count = count("max_count", body.max_count, min_count)?;
    if min_count > max_count {
        return Err(Error::bad_request("min_count must be <= max_count"));
    }
    if hostname.is_some() && max_count > 1 {
        return Err(Error::bad_request("Unable to allocate a single hostname to multiple instances"));
    }
    let metadata = body.metadata.map_or(Ok(BTreeMap::new()), |m| validate::texts("metadata", &m))?;
    validate::metadata("metadata", &metadata)?;
    let description = body.description.flatten();
    validate::description(description.as_deref())?;
    let flag = |field: &str, value: Option<Value>| value.map_or(Ok(false), |value| validate::boolean(field, &value));
    if body.user_data == Some(None) && ctx.strict {
        return Err(validate::not_a("string", "user_data", &Value::Null));
    }
    Ok(Wanted {
        name,
        flavor_ref: validate::id_of(&flavor_ref).to_owned(),
        image_ref,
        networks: body.networks,
        key_name: name_of("key_name", body.key_name)?,
        security_groups: security_groups(ctx, body.security_groups.unwrap_or_default())?,
        availability_zone: name_of("availability_zone", body.availability_zone)?,
        metadata,
        user_data: user_data(body.user_data.flatten())?,
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
        host: body.host.map(|host| validate::fqdn("host", host)).transpose()?,
        node: body.hypervisor_hostname.map(|node| validate::fqdn("hypervisor_hostname", node)).transpose()?,
        hostname,
        trusted_image_certificates: certificates(body.trusted_image_certificates.flatten())?,
    })
}

/// Scheduler hints: known ones have a form, unknown ones are let through.
fn hints(beside: &Map<String, Value>) -> Result<Value> {
    let Some(hints) = HINTS.iter().find_map(|key| beside.get(*key)) else { return Ok(Value::Object(Map::new())) };
    let object = hints.as_object().ok_or_else(|| validate::not_a("object", "os:scheduler_hints", hints))?;
    let uuid = |value: &Value| value.as_str().is_some_and(|id| kit::ids::parse_uuid(id).is_some());
    let each = |value: &Value, good: &dyn Fn(&Value) -> bool| value.as_array().is_some_and(|items| items.iter().all(good));
    for (key, value) in object {
        let good = match key.as_str() {
            "group" | "different_host" => uuid(value) || each(value, &uuid),
            "same_host" => value.is_string() || each(value, &uuid),
            "different_cell" => value.is_string() || each(value, &Value::is_string),
            "query" => value.is_string() || value.is_object(),
            "build_near_host_ip" => value.as_str().is_some_and(|ip| ip.parse::<std::net::IpAddr>().is_ok()),
            "cidr" => value.as_str().and_then(|cidr| cidr.strip_prefix('/')).is_some_and(is_mask),
            "target_cell" => value.as_str().is_some_and(|cell| validate::name(key, cell).is_ok()),
            _ => true,
        };
        if !good {
            return Err(validate::unfit(key, value));
        }
    }
    Ok(hints.clone())
}

fn is_mask(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f' | '.' | ':'))
}

fn security_groups(ctx: &Context, groups: Vec<SecurityGroupRef>) -> Result<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    for name in groups.into_iter().filter_map(|group| group.name) {
        let name = validate::relaxed_name(ctx.strict, "name", &name)?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Text, or a number that older clients send for an id.
pub fn flavor(reference: Value) -> Result<String> {
    match reference {
        Value::String(text) if text.is_empty() => Err(invalid("flavorRef", "", "'' is too short")),
        Value::String(text) => Ok(text),
        Value::Number(number) if number.is_i64() => Ok(number.to_string()),
        other => Err(validate::not_a("string', 'integer", "flavorRef", &other)),
    }
}

fn image(reference: Option<String>, has_devices: bool) -> Result<Option<String>> {
    match reference.filter(|r| !r.is_empty()) {
        None if has_devices => Ok(None),
        None => Err(Error::bad_request("Missing imageRef attribute")),
        Some(reference) => {
            let id = validate::id_of(&reference);
            kit::ids::parse_uuid(id).map(Some).ok_or_else(|| validate::unfit("imageRef", &Value::String(reference.clone())))
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
    let Some(text) = value else { return Ok(None) };
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
            return Err(invalid(&index.to_string(), id, format!("'{id}' is not 1 to 255 characters long")));
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
        let tags = Value::from(tags);
        return Err(kit::exact::invalid("tags", &tags, format!("{} is too long", kit::exact::Repr(&tags))));
    }
    tags.iter().enumerate().try_for_each(|(index, tag)| validate::tag(&index.to_string(), tag))?;
    let mut seen = Vec::new();
    for tag in tags {
        if !seen.contains(&tag) {
            seen.push(tag);
        }
    }
    Ok(seen)
}
