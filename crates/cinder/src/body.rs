//! Bodies as cinder reads them: lenient about unknown keys before 3.53, strict since.

use kit::call::{Call, FromCall, Wrapped, Wrapper};
use kit::microversion::Versioned;
use kit::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::Cinder;
use crate::microversions::STRICT_SCHEMAS;

/// `{"volume": {...}}`
pub struct Body<T>(pub T);

impl<T: DeserializeOwned + Versioned + Wrapper + Send> FromCall<Cinder> for Body<T> {
    async fn from_call(call: &mut Call<Cinder>) -> Result<Self> {
        call.ctx.strict = call.ctx.version >= STRICT_SCHEMAS;
        Ok(Body(Wrapped::<T>::from_call(call).await?.inner))
    }
}

/// The same, with what stands beside it: scheduler hints.
pub struct BodyAndHints<T>(pub T, pub Value);

impl<T: DeserializeOwned + Versioned + Wrapper + Send> FromCall<Cinder> for BodyAndHints<T> {
    async fn from_call(call: &mut Call<Cinder>) -> Result<Self> {
        call.ctx.strict = call.ctx.version >= STRICT_SCHEMAS;
        let mut wrapped = Wrapped::<T>::from_call(call).await?;
        Ok(BodyAndHints(wrapped.inner, wrapped.beside.remove("OS-SCH-HNT:scheduler_hints").unwrap_or_default()))
    }
}

/// A whole number that clients also send as text.
pub fn integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::Number(number) if number.is_i64() => Ok(number.as_i64()),
        Value::String(text) if text.parse::<i64>().is_ok() => Ok(text.parse().ok()),
        other => Err(serde::de::Error::custom(format!("{other} is not of type 'integer'"))),
    }
}

/// A truth value that clients also send as text or number.
pub fn boolean<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        value => truth(&value).map(Some).ok_or_else(|| serde::de::Error::custom(format!("{value} is not of type 'boolean'"))),
    }
}

/// 400 for an action that is none of the resource's.
pub fn no_such_action(request: &Value) -> Error {
    let key = request.as_object().and_then(|request| request.keys().next()).map_or("None", String::as_str);
    Error::bad_request(format!("There is no such action: {key}. Verify the request body and Content-Type header and try again."))
}

/// What is given, if only as null.
pub fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Reads `true`, `"True"`, `1`, `"off"`; nothing for anything else.
pub fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::Number(number) => number.as_i64().filter(|n| (0..=1).contains(n)).map(|n| n == 1),
        Value::String(text) if kit::call::truthy(text) => Some(true),
        Value::String(text) => matches!(text.to_ascii_lowercase().as_str(), "0" | "f" | "false" | "off" | "n" | "no").then_some(false),
        _ => None,
    }
}

/// A name or description of at most 255 characters, without the blanks around it.
pub fn text(field: &str, value: Option<String>) -> Result<Option<String>> {
    match value.map(|text| text.trim().to_owned()) {
        Some(text) if text.chars().count() > 255 => {
            Err(Error::bad_request(format!("Invalid input for field/attribute {field}. Value: {text}. '{text}' is too long")))
        }
        // PostgreSQL keeps no such character
        Some(text) if text.contains('\0') => {
            Err(Error::bad_request(format!("Invalid input for field/attribute {field}. It contains a null character.")))
        }
        value => Ok(value),
    }
}
