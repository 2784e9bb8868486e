//! The fields of a block device mapping: which there are in either form, since when, and what each may be.

use kit::{Context, Error, Result, ids};
use serde_json::{Map, Value};

use super::request::Devices;
use crate::microversions::VOLUME_TYPES;
use crate::validate::{self, invalid};

/// What a field may be.
#[derive(Clone, Copy)]
enum Form {
    Anything,
    Boolean,
    Uuid,
    /// Text of up to so many characters.
    Text(usize),
    /// Text of at least one of certain characters.
    Letters(&'static str),
    OneOf(&'static [&'static str]),
    /// In GB.
    Size,
    BootIndex,
    Tag,
    VolumeType,
}

const BOTH: &[(&str, Form)] = &[
    ("virtual_name", Form::Text(255)),
    ("volume_id", Form::Uuid),
    ("snapshot_id", Form::Uuid),
    ("volume_size", Form::Size),
    ("device_name", Form::Letters("._/-")),
    ("delete_on_termination", Form::Boolean),
    ("no_device", Form::Anything),
    ("connection_info", Form::Text(16_777_215)),
];

const SECOND: &[(&str, Form)] = &[
    ("source_type", Form::OneOf(&["volume", "image", "snapshot", "blank"])),
    ("uuid", Form::Letters("._-")),
    ("image_id", Form::Uuid),
    ("destination_type", Form::OneOf(&["local", "volume"])),
    ("guest_format", Form::Text(255)),
    ("device_type", Form::Text(255)),
    ("disk_bus", Form::Text(255)),
    ("boot_index", Form::BootIndex),
];

/// Refuses fields that are unknown, and those that are not what they may be.
pub fn check(ctx: &Context, devices: &Devices) -> Result<()> {
    let (devices, second) = match devices {
        Devices::V1(devices) => (devices, false),
        Devices::V2(devices) => (devices, true),
    };
    let form = |key: &str| match key {
        "tag" if second => tags_exist(ctx).then_some(Form::Tag),
        "volume_type" if second => ctx.speaks(VOLUME_TYPES).then_some(Form::VolumeType),
        _ => BOTH.iter().chain(SECOND.iter().filter(|_| second)).find(|(name, _)| *name == key).map(|(_, form)| *form),
    };
    devices.iter().enumerate().try_for_each(|(index, entry)| check_entry(ctx, &index.to_string(), entry, form))
}

fn check_entry(ctx: &Context, place: &str, entry: &Map<String, Value>, form: impl Fn(&str) -> Option<Form>) -> Result<()> {
    if ctx.strict {
        kit::microversion::only(place, entry, |key| form(key).is_some())?;
    }
    entry.iter().try_for_each(|(key, value)| form(key).map_or(Ok(()), |form| check_value(form, key, value)))
}

/// The tags of devices came, were lost at once, and came back.
fn tags_exist(ctx: &Context) -> bool {
    matches!(ctx.version.1, 32 | 42..)
}

fn check_value(form: Form, key: &str, value: &Value) -> Result<()> {
    let text = || value.as_str().ok_or_else(|| validate::not_a("string", key, value));
    match form {
        Form::Anything => Ok(()),
        Form::Boolean => validate::boolean(key, value).map(drop),
        Form::Size => validate::integer(key, value, 1, i64::from(i32::MAX)).map(drop),
        Form::Text(most) => validate::length(key, text()?, most),
        Form::Tag => validate::tag(key, text()?),
        Form::Uuid => {
            let text = text()?;
            ids::parse_uuid(text).map(drop).ok_or_else(|| invalid(key, text, format!("'{text}' is not a 'uuid'")))
        }
        Form::Letters(signs) => letters(key, text()?, signs),
        Form::OneOf(words) => {
            let text = text()?;
            let known = || Value::from(words);
            words.contains(&text).then_some(()).ok_or_else(|| not_one_of(key, text, &known()))
        }
        Form::BootIndex | Form::VolumeType if value.is_null() => Ok(()),
        Form::VolumeType => validate::length(key, text()?, 255),
        Form::BootIndex => validate::integer(key, value, i64::MIN, i64::MAX).map(drop),
    }
}

fn letters(key: &str, text: &str, signs: &str) -> Result<()> {
    if text.is_empty() {
        return Err(invalid(key, "", "'' is too short"));
    }
    if !text.chars().all(|c| c.is_ascii_alphanumeric() || signs.contains(c)) {
        return Err(invalid(key, text, format!("'{text}' does not match '^[a-zA-Z0-9{signs}]*$'")));
    }
    validate::length(key, text, 255)
}

fn not_one_of(key: &str, text: &str, known: &Value) -> Error {
    invalid(key, text, format!("'{text}' is not one of {}", kit::exact::Repr(known)))
}
