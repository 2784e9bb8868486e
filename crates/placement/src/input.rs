//! What a client may send: bodies and queries, checked in the words of placement's own schemas.

use kit::call::{Call, FromCall};
use kit::{Error, Json, Kind, Query, Result, ids};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Placement;

/// The most of anything.
pub const MOST: i64 = i32::MAX as i64;

/// A JSON body of a known shape; unknown keys are refused by the type itself.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned + Send> FromCall<Placement> for Body<T> {
    async fn from_call(call: &mut Call<Placement>) -> Result<Self> {
        let sends = call.parts.headers.get(http::header::CONTENT_LENGTH).is_some_and(|length| length != "0");
        if sends && !call.parts.headers.contains_key(http::header::CONTENT_TYPE) {
            return Err(Error::bad_request("content-type header required when content-length > 0"));
        }
        let media = call.parts.headers.get(http::header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        if media.split(';').next().unwrap_or_default().trim() != "application/json" {
            let message =
                format!("The media type {} is not supported, use application/json", if media.is_empty() { "None" } else { media });
            return Err(Error::new(Kind::UnsupportedMediaType, message));
        }
        let Json(value): Json<Value> = Json::from_call(call).await?;
        shaped(value).map(Body)
    }
}

/// A JSON value as a known shape.
pub fn shaped<T: DeserializeOwned>(value: Value) -> Result<T> {
    serde_json::from_value(value)
        .map_err(|error| Error::bad_request(format!("JSON does not validate: {}", in_schema_words(&error.to_string()))))
}

/// What a type says of a value, as a schema says it where the two are about the same.
fn in_schema_words(error: &str) -> String {
    let quoted = |start: &str| error.strip_prefix(start).and_then(|rest| rest.split('`').next());
    if let Some(key) = quoted("unknown field `") {
        return format!("Additional properties are not allowed ('{key}' was unexpected)");
    }
    match quoted("missing field `") {
        Some(key) => format!("'{key}' is a required property"),
        None => error.to_owned(),
    }
}

/// Refuses parameters an operation does not have at the caller's version.
pub fn only(query: &Query, known: &[&str]) -> Result<()> {
    match query.0.iter().find(|(key, _)| !known.contains(&key.as_str())) {
        Some((key, _)) => Err(unexpected(key)),
        None => Ok(()),
    }
}

/// 400: no such parameter.
pub fn unexpected(key: &str) -> Error {
    Error::bad_request(format!("Invalid query string parameters: Additional properties are not allowed ('{key}' was unexpected)"))
}

/// A uuid in its canonical form.
pub fn uuid(what: &str, text: &str) -> Result<String> {
    ids::parse_uuid(text).ok_or_else(|| Error::bad_request(format!("JSON does not validate: '{text}' is not a 'uuid' ({what})")))
}

/// A uuid of a query.
pub fn query_uuid(what: &str, text: &str) -> Result<String> {
    let bad =
        || Error::bad_request(format!("Invalid query string parameters: Expected '{what}' parameter to be a format of uuid. Got: {text}"));
    ids::parse_uuid(text).ok_or_else(bad)
}

/// An id of a project or a user: anything that is not empty, up to what the column holds. `whose` is what the sentence begins with.
pub fn check_owner(whose: &str, id: &str) -> Result<()> {
    match id.chars().count() {
        0 => Err(Error::bad_request(format!("{whose}: '' should be non-empty"))),
        1..=255 => Ok(()),
        _ => Err(Error::bad_request(format!("{whose}: '{id}' is too long"))),
    }
}

/// Refuses an amount below `least`, or above what anything can be.
pub fn in_range(n: i64, least: i64) -> Result<()> {
    if n < least {
        return Err(Error::bad_request(format!("JSON does not validate: {n} is less than the minimum of {least}")));
    }
    if n > MOST {
        return Err(Error::bad_request(format!("JSON does not validate: {n} is greater than the maximum of {MOST}")));
    }
    Ok(())
}

/// `CUSTOM_` and capitals, digits, underscores.
pub fn is_custom(name: &str) -> bool {
    let rest = name.strip_prefix("CUSTOM_").unwrap_or_default();
    !rest.is_empty() && name.len() <= 255 && rest.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_in_the_words_of_a_schema() {
        let unknown = in_schema_words("unknown field `x`, expected one of `name`, `uuid`");
        assert_eq!(unknown, "Additional properties are not allowed ('x' was unexpected)");
        assert_eq!(in_schema_words("missing field `name`"), "'name' is a required property");
        assert_eq!(in_schema_words("invalid type: null"), "invalid type: null");
    }

    #[test]
    fn custom_names() {
        assert!(is_custom("CUSTOM_GOLD_1"));
        assert!(!is_custom("CUSTOM_") && !is_custom("CUSTOM_gold") && !is_custom("GOLD"));
    }
}
