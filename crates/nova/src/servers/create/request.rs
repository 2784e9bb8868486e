//! The body of `POST /servers`: its fields by version, and the checks that need nobody else.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kit::call::Wrapper;
use kit::{Context, Error, Result, Versioned};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::validate::{self, invalid};

/// User data has at most so many characters of base64.
const USER_DATA: usize = 65_535;
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
    if let Some(text) = &description {
        validate::length("description", text, 255)?;
    }
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
        security_groups: body.security_groups.unwrap_or_default().into_iter().map(|g| g.name).collect(),
        availability_zone: body.availability_zone.filter(|zone| !zone.is_empty()),
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
        hints: HINTS.iter().find_map(|key| beside.get(*key)).cloned().unwrap_or_else(|| Value::Object(Map::new())),
        host: body.host,
        node: body.hypervisor_hostname,
    })
}

fn required(field: &str) -> Error {
    Error::bad_request(format!("Invalid input for field/attribute server. '{field}' is a required property"))
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

fn user_data(data: Option<String>) -> Result<Option<String>> {
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
    let good = text.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_ipv4() == four);
    let family = if four { "ipv4" } else { "ipv6" };
    if good { Ok(Some(text)) } else { Err(invalid(field, &text, format!("'{text}' is not a '{family}'"))) }
}

/// `AUTO` or `MANUAL`
pub fn disk_config(value: Option<String>) -> Result<String> {
    match value.as_deref() {
        None => Ok("MANUAL".into()),
        Some("AUTO" | "MANUAL") => Ok(value.unwrap_or_default()),
        Some(other) => Err(invalid("OS-DCF:diskConfig", other, format!("'{other}' is not one of ['AUTO', 'MANUAL']"))),
    }
}

fn personality(files: Vec<PersonalityFile>) -> Result<Vec<(String, String)>> {
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

/// Tags of 1 to 60 characters without `,` and `/`, at most 50 of them.
pub fn tags(tags: Vec<String>) -> Result<Vec<String>> {
    if tags.len() > 50 {
        return Err(Error::bad_request("The number of tags exceeded the per-server limit 50"));
    }
    for tag in &tags {
        let good = !tag.is_empty() && tag.chars().count() <= 60 && !tag.contains([',', '/']);
        if !good {
            return Err(invalid("tags", tag, format!("'{tag}' does not match '^[^,/]*$', or is not 1 to 60 characters long")));
        }
    }
    let mut seen = Vec::new();
    for tag in tags {
        if !seen.contains(&tag) {
            seen.push(tag);
        }
    }
    Ok(seen)
}
