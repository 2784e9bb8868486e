//! Checks of request bodies that several resources share, in the words of nova's schema validation.

use std::collections::BTreeMap;

use kit::exact::Repr;
use kit::microversion::Microversion;
use kit::{Context, Error, Query, Result};
use serde_json::{Map, Value};

/// `Invalid input for field/attribute name. Value: . '' is too short`
pub fn invalid(path: &str, value: impl std::fmt::Display, reason: impl std::fmt::Display) -> Error {
    Error::bad_request(format!("Invalid input for field/attribute {path}. Value: {value}. {reason}"))
}

/// `Invalid input for query parameters name. Value: *. '*' is not a 'regex'`
pub fn invalid_query(key: &str, value: &str, reason: impl std::fmt::Display) -> Error {
    Error::bad_request(format!("Invalid input for query parameters {key}. Value: {value}. {reason}"))
}

/// `1 is not of type 'string'`
pub fn not_a(kind: &str, path: &str, value: &Value) -> Error {
    kit::exact::invalid(path, value, format!("{} is not of type '{kind}'", Repr(value)))
}

/// A value that none of several forms fits.
pub fn unfit(path: &str, value: &Value) -> Error {
    kit::exact::invalid(path, value, format!("{} is not valid under any of the given schemas", Repr(value)))
}

/// A name of 1 to 255 characters, without blanks around it.
pub fn name(path: &str, text: &str) -> Result<()> {
    if text.trim() != text || text.chars().any(char::is_control) {
        return Err(Error::bad_request(
            "An invalid 'name' value was provided. The name must be: printable characters. Can not start or end with whitespace.",
        ));
    }
    if text.is_empty() {
        return Err(invalid(path, text, "'' is too short"));
    }
    length(path, text, 255)
}

/// The name of a machine, in which underscores happen.
pub fn fqdn(path: &str, text: String) -> Result<String> {
    let known = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if !text.chars().all(known) {
        return Err(invalid(path, &text, format!("'{text}' does not match '^[a-zA-Z0-9-._]*$'")));
    }
    if text.is_empty() {
        return Err(invalid(path, "", "'' is too short"));
    }
    length(path, &text, 255).map(|()| text)
}

/// Up to 255 characters that can be printed, or line breaks.
pub fn description(text: Option<&str>) -> Result<()> {
    long_description(text, 255)
}

/// Up to so many characters that can be printed, or line breaks.
pub fn long_description(text: Option<&str>, most: usize) -> Result<()> {
    let Some(text) = text else { return Ok(()) };
    length("description", text, most)?;
    let bad = text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'));
    if bad { Err(invalid("description", text, "It has characters that cannot be printed")) } else { Ok(()) }
}

/// A tag of 1 to 60 characters without `,` and `/`.
pub fn tag(path: &str, tag: &str) -> Result<()> {
    tag_fault(tag).map_or(Ok(()), |fault| Err(invalid(path, tag, fault)))
}

/// What is wrong with a tag.
pub fn tag_fault(tag: &str) -> Option<String> {
    match tag {
        "" => Some("'' is too short".to_owned()),
        _ if tag.contains([',', '/']) => Some(format!("'{tag}' does not match '^[^,/]*$'")),
        _ if tag.chars().count() > 60 => Some(format!("'{tag}' is too long")),
        _ => None,
    }
}

/// The older API took names with blanks around them, and stripped them.
pub fn relaxed_name(strict: bool, path: &str, text: &str) -> Result<String> {
    let text = if strict { text } else { text.trim() };
    if text.is_empty() && !strict {
        return Err(Error::bad_request(
            "An invalid 'name' value was provided. The name must be: printable characters with at least one non space character",
        ));
    }
    name(path, text)?;
    Ok(text.to_owned())
}

pub fn length(path: &str, text: &str, most: usize) -> Result<()> {
    if text.chars().count() > most { Err(invalid(path, text, format!("'{text}' is too long"))) } else { Ok(()) }
}

/// Keys of 1 to 255 characters of a certain alphabet, values of up to 255 characters.
pub fn metadata(path: &str, items: &BTreeMap<String, String>) -> Result<()> {
    for (key, value) in items {
        let known = |c: char| c.is_ascii_alphanumeric() || "-_:. ".contains(c);
        if key.is_empty() || key.chars().count() > 255 || !key.chars().all(known) {
            return Err(Error::bad_request(format!(
                "Invalid input for field/attribute {path}. Value: {{'{key}': '{value}'}}. '{key}' does not match any of the regexes: '^[a-zA-Z0-9-_:. ]{{1,255}}$'"
            )));
        }
        length(key, value, 255)?;
    }
    Ok(())
}

/// Reads an object of texts.
pub fn texts(path: &str, value: &Value) -> Result<BTreeMap<String, String>> {
    let object = value.as_object().ok_or_else(|| not_a("object", path, value))?;
    let text = |(key, value): (&String, &Value)| match value {
        Value::String(text) => Ok((key.clone(), text.clone())),
        other => Err(not_a("string", key, other)),
    };
    object.iter().map(text).collect()
}

/// Refuses query keys that an operation does not have, from the version on in which it began to; older versions ignore them.
pub fn query_keys(ctx: &Context, query: &Query, since: Microversion, known: &[&str]) -> Result<()> {
    if !ctx.speaks(since) {
        return Ok(());
    }
    kit::microversion::unexpected(&query.0.iter().map(|(key, _)| key.as_str()).filter(|key| !known.contains(key)).collect::<Vec<_>>())
}

/// A whole number, also as text.
pub fn integer(path: &str, value: &Value, least: i64, most: i64) -> Result<i64> {
    let number = match value {
        Value::Number(n) => n.as_i64(),
        Value::String(text) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'-') => text.parse().ok(),
        _ => None,
    };
    let number = number.ok_or_else(|| not_a("integer', 'string", path, value))?;
    if number < least {
        return Err(invalid(path, number, format!("{number} is less than the minimum of {least}")));
    }
    if number > most {
        return Err(invalid(path, number, format!("{number} is greater than the maximum of {most}")));
    }
    Ok(number)
}

/// A boolean, also as one of the texts OpenStack takes for one.
pub fn boolean(path: &str, value: &Value) -> Result<bool> {
    let read = match value {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "on" | "yes" => Some(true),
            "false" | "0" | "off" | "no" => Some(false),
            _ => None,
        },
        _ => None,
    };
    read.ok_or_else(|| invalid(path, value, format!("{value} is not one of [True, 'True', 'TRUE', 'true', '1', 'ON', 'On', 'on', 'YES', 'Yes', 'yes', False, 'False', 'FALSE', 'false', '0', 'OFF', 'Off', 'off', 'NO', 'No', 'no']")))
}

/// A boolean of a query, which may be a letter too.
pub fn strict_word(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "t" | "true" | "on" | "y" | "yes" => Some(true),
        "0" | "f" | "false" | "off" | "n" | "no" => Some(false),
        _ => None,
    }
}

/// Takes the object under `key` of a body that must have nothing else.
pub fn only(body: Value, key: &str, strict: bool) -> Result<Map<String, Value>> {
    let Value::Object(mut body) = body else {
        return Err(Error::bad_request(format!("{} is not of type 'object'", Repr(&body))));
    };
    let inner = body.remove(key).ok_or_else(|| Error::bad_request(format!("'{key}' is a required property")))?;
    if strict {
        kit::microversion::unexpected(&body.keys().map(String::as_str).collect::<Vec<_>>())?;
    }
    match inner {
        Value::Object(inner) => Ok(inner),
        other => Err(not_a("object", key, &other)),
    }
}

/// The id at the end of a reference that may be a link.
pub fn id_of(reference: &str) -> &str {
    reference.trim_end_matches('/').rsplit('/').next().unwrap_or(reference)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn refusals_name_the_field() {
        assert_eq!(name("name", "").unwrap_err().message, "Invalid input for field/attribute name. Value: . '' is too short");
        assert!(name("name", &"x".repeat(256)).unwrap_err().message.ends_with("is too long"));
        assert!(name("name", " a").is_err() && name("name", "a b").is_ok());
        assert!(integer("ram", &json!(0), 1, 10).unwrap_err().message.contains("less than the minimum of 1"));
        assert_eq!(integer("ram", &json!("7"), 1, 10).unwrap(), 7);
        assert!(boolean("x", &json!("maybe")).is_err() && boolean("x", &json!("on")).unwrap());
        assert_eq!(id_of("http://h/v2.1/flavors/42"), "42");
    }
}
