//! Reading what clients define: each field checked in one place.

use kit::{Error, Result};
use serde_json::{Map, Value};

/// Characters a name may have, and a description.
const NAME: usize = 80;
const TEXT: usize = 65_535;

/// A JSON object, or 400.
pub fn object(body: Value) -> Result<Map<String, Value>> {
    match body {
        Value::Object(fields) => Ok(fields),
        other => Err(invalid("body", &format!("{other} is not of type 'object'"))),
    }
}

/// A name that must be there.
pub fn name(fields: &Map<String, Value>, key: &str) -> Result<String> {
    let text = optional(fields, key, NAME)?.filter(|text| !text.is_empty());
    text.ok_or_else(|| invalid(key, &format!("'{key}' is a required property")))
}

pub fn text(fields: &Map<String, Value>, key: &str) -> Result<Option<String>> {
    optional(fields, key, TEXT)
}

pub fn short(fields: &Map<String, Value>, key: &str) -> Result<Option<String>> {
    optional(fields, key, NAME)
}

fn optional(fields: &Map<String, Value>, key: &str, longest: usize) -> Result<Option<String>> {
    match fields.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if crate::images::is_text(text, longest) => Ok(Some(text.clone())),
        Some(other) => Err(invalid(key, &format!("{other} is not text of at most {longest} characters"))),
    }
}

pub fn flag(fields: &Map<String, Value>, key: &str) -> Result<Option<bool>> {
    match fields.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(other) => Err(invalid(key, &format!("{other} is not of type 'boolean'"))),
    }
}

/// A list of objects; empty when absent.
pub fn list(fields: &Map<String, Value>, key: &str) -> Result<Vec<Map<String, Value>>> {
    match fields.get(key) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(list)) => list.iter().cloned().map(object).collect(),
        Some(other) => Err(invalid(key, &format!("{other} is not of type 'array'"))),
    }
}

/// The keys that a definition may have.
pub fn known(fields: &Map<String, Value>, known: &[&str]) -> Result<()> {
    match fields.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(invalid(key, &format!("Additional properties are not allowed ('{key}' was unexpected)"))),
        None => Ok(()),
    }
}

pub fn invalid(key: &str, why: &str) -> Error {
    Error::bad_request(format!("Provided object does not match schema: {why}. Failed validating '{key}'"))
}

const TYPES: &[&str] = &["array", "boolean", "integer", "number", "object", "string"];
#[rustfmt::skip]
const PROPERTY: &[&str] = &[
    "name", "title", "description", "type", "operators", "required", "minimum", "maximum", "maxLength", "minLength", "pattern", "enum",
    "readonly", "default", "items", "maxItems", "minItems", "uniqueItems", "additionalItems", "created_at", "updated_at", "schema", "self",
];

/// Checks a property's definition: a fragment of JSON schema.
pub fn property(fields: &Map<String, Value>) -> Result<()> {
    known(fields, PROPERTY)?;
    let title = text(fields, "title")?;
    title.ok_or_else(|| invalid("title", "'title' is a required property"))?;
    text(fields, "description")?;
    text(fields, "pattern")?;
    for key in ["readonly", "uniqueItems", "additionalItems"] {
        flag(fields, key)?;
    }
    for key in ["maxLength", "minLength", "maxItems", "minItems"] {
        if let Some(value) = fields.get(key)
            && value.as_u64().is_none()
        {
            return Err(invalid(key, &format!("{value} is not a number that is not negative")));
        }
    }
    for key in ["minimum", "maximum"] {
        if let Some(value) = fields.get(key)
            && !value.is_number()
        {
            return Err(invalid(key, &format!("{value} is not of type 'number'")));
        }
    }
    for key in ["operators", "enum", "required"] {
        if let Some(value) = fields.get(key)
            && !value.is_array()
        {
            return Err(invalid(key, &format!("{value} is not of type 'array'")));
        }
    }
    kind(fields.get("type"))?;
    match fields.get("items") {
        None => Ok(()),
        Some(Value::Object(items)) => kind(items.get("type").or(fields.get("type"))),
        Some(other) => Err(invalid("items", &format!("{other} is not of type 'object'"))),
    }
}

fn kind(value: Option<&Value>) -> Result<()> {
    let value = value.ok_or_else(|| invalid("type", "'type' is a required property"))?;
    if value.as_str().is_some_and(|kind| TYPES.contains(&kind)) {
        Ok(())
    } else {
        Err(invalid("type", &format!("{value} is not one of {TYPES:?}")))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn properties_are_schema_fragments() {
        let read = |value: Value| property(&object(value).unwrap());
        assert!(
            read(json!({"title": "Bus", "type": "string", "enum": ["ide"], "operators": ["<or>"], "items": {"type": "string"}})).is_ok()
        );
        for bad in [
            json!({"type": "string"}),
            json!({"title": "x"}),
            json!({"title": "x", "type": "text"}),
            json!({"title": "x", "type": "string", "minLength": -1}),
            json!({"title": "x", "type": "string", "minimum": "1"}),
            json!({"title": "x", "type": "string", "enum": "a"}),
            json!({"title": "x", "type": "string", "colour": "red"}),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }
}
