//! What a handler may ask for as an argument: parts of the path, the query, the body.
//!
//! A handler is `async fn show(app: App, ctx: Context, id: Path<String>) -> Result<Reply>`: the service first, the request's context
//! second, then at most three of these.

use std::future::Future;
use std::sync::Arc;

use axum::body::Body;
use futures::future::BoxFuture;
use http::request::Parts;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::microversion::{Versioned, check_keys, unexpected};
use crate::{Context, Error, Reply, Result, exact};

/// A request that has found its route.
pub struct Call<S> {
    pub app: S,
    pub ctx: Context,
    pub params: Vec<String>,
    pub parts: Parts,
    pub body: Option<Body>,
    /// Bytes a JSON body may have.
    pub limit: usize,
}

/// Something a handler can ask for.
pub trait FromCall<S>: Sized + Send {
    /// Whether it looks at the query.
    const QUERY: bool = false;

    fn from_call(call: &mut Call<S>) -> impl Future<Output = Result<Self>> + Send;
}

/// The variable parts of the path, in their order: `Path<String>` or `Path<(String, String)>`.
pub struct Path<T>(pub T);

impl<S: Send> FromCall<S> for Path<String> {
    async fn from_call(call: &mut Call<S>) -> Result<Self> {
        Ok(Path(param(call, 0)?))
    }
}

impl<S: Send> FromCall<S> for Path<(String, String)> {
    async fn from_call(call: &mut Call<S>) -> Result<Self> {
        Ok(Path((param(call, 0)?, param(call, 1)?)))
    }
}

impl<S: Send> FromCall<S> for Path<(String, String, String)> {
    async fn from_call(call: &mut Call<S>) -> Result<Self> {
        Ok(Path((param(call, 0)?, param(call, 1)?, param(call, 2)?)))
    }
}

fn param<S>(call: &Call<S>, index: usize) -> Result<String> {
    let segment = call.params.get(index).ok_or_else(|| Error::not_found("The resource could not be found."))?;
    // a plus is a plus in a path
    Ok(if segment.contains('%') { percent_decode(&segment.replace('+', "%2B")) } else { segment.clone() })
}

/// The query, repeated keys and all, in order.
#[derive(Clone, Debug, Default)]
pub struct Query(pub Vec<(String, String)>);

impl Query {
    pub fn parse(text: &str) -> Query {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decode(key), percent_decode(value))
        });
        Query(pairs.collect())
    }

    /// The last value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().rev().find(|(have, _)| have == key).map(|(_, value)| value.as_str())
    }

    /// All values of a repeated key.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(have, _)| have == key).map(|(_, value)| value.as_str())
    }

    pub fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(have, _)| have == key)
    }

    /// OpenStack's booleans: 1, t, true, on, y, yes in any case, and a key alone; anything else is false.
    pub fn flag(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| value.is_empty() || truthy(value))
    }

    /// The query without some keys, as text again: for links to the next page.
    pub fn without(&self, keys: &[&str]) -> String {
        let kept = self.0.iter().filter(|(key, _)| !keys.contains(&key.as_str()));
        kept.map(|(key, value)| format!("{}={}", percent_encode(key), percent_encode(value))).collect::<Vec<_>>().join("&")
    }
}

impl<S: Send> FromCall<S> for Query {
    const QUERY: bool = true;

    async fn from_call(call: &mut Call<S>) -> Result<Self> {
        Ok(Query::parse(call.parts.uri.query().unwrap_or_default()))
    }
}

/// Whether text means true, as oslo.utils reads it.
pub fn truthy(text: &str) -> bool {
    matches!(text.to_ascii_lowercase().as_str(), "1" | "t" | "true" | "on" | "y" | "yes")
}

/// A JSON body of a known shape.
pub struct Json<T>(pub T);

impl<S: Send, T: DeserializeOwned + Send> FromCall<S> for Json<T> {
    async fn from_call(call: &mut Call<S>) -> Result<Self> {
        let bytes = read_body(call).await?;
        serde_json::from_slice(&bytes).map(Json).map_err(|error| malformed(&error))
    }
}

/// A JSON body that may be absent.
impl<S: Send, T: DeserializeOwned + Send> FromCall<S> for Option<Json<T>> {
    async fn from_call(call: &mut Call<S>) -> Result<Self> {
        let bytes = read_body(call).await?;
        if bytes.is_empty() {
            Ok(None)
        } else {
            serde_json::from_slice(&bytes).map(|body| Some(Json(body))).map_err(|error| malformed(&error))
        }
    }
}

/// `{"server": {...}}`: one object under one key, its fields checked against the caller's version; `beside` are other top-level keys the
/// type allows, such as scheduler hints.
pub struct Wrapped<T> {
    pub inner: T,
    pub beside: serde_json::Map<String, Value>,
}

/// The name under which a body's object stands, and what may stand beside it.
pub trait Wrapper {
    const KEY: &'static str;
    const BESIDE: &'static [&'static str] = &[];
    /// Null is told from nothing: fields that may be null are `Option<Option<T>>`.
    const EXACT: bool = false;
}

impl<S: Send, T: DeserializeOwned + Versioned + Wrapper + Send> FromCall<S> for Wrapped<T> {
    async fn from_call(call: &mut Call<S>) -> Result<Self> {
        let bytes = read_body(call).await?;
        let body: Value = serde_json::from_slice(&bytes).map_err(|error| malformed(&error))?;
        let not_an_object = |value: &Value| format!("{} is not of type 'object'", exact::Repr(value));
        let Value::Object(mut beside) = body else { return Err(Error::bad_request(not_an_object(&body))) };
        let Some(inner) = beside.remove(T::KEY) else {
            return Err(Error::bad_request(format!("'{}' is a required property", T::KEY)));
        };
        let Value::Object(mut inner) = inner else { return Err(exact::invalid(T::KEY, &inner, not_an_object(&inner))) };
        if call.ctx.strict {
            let others: Vec<&str> = beside.keys().map(String::as_str).filter(|key| !T::BESIDE.contains(key)).collect();
            unexpected(&others)?;
            check_keys::<T>(T::KEY, &inner, call.ctx.version)?;
        } else {
            inner.retain(|key, _| T::FIELDS.iter().any(|field| field.name == key && field.exists_at(call.ctx.version)));
        }
        let inner = if T::EXACT { exact::read(T::KEY, inner, call.ctx.strict)? } else { typed(inner)? };
        Ok(Wrapped { inner, beside })
    }
}

/// An object as a type. What does not fit is named by its field, as OpenStack's schema validation does.
pub fn typed<T: DeserializeOwned>(object: serde_json::Map<String, Value>) -> Result<T> {
    let whole = Value::Object(object);
    T::deserialize(&whole).map_err(|error| {
        // a field that fails alone is the one; when none does, it is one that must be there
        let alone = |(key, value): &(&String, &Value)| {
            let one = serde_json::Map::from_iter([((*key).clone(), (*value).clone())]);
            T::deserialize(Value::Object(one)).is_err_and(|error| !error.to_string().starts_with("missing field"))
        };
        match whole.as_object().and_then(|object| object.iter().find(alone)) {
            Some((key, value)) => {
                Error::bad_request(format!("Invalid input for field/attribute {key}. Value: {value}. {}", reason(value, &error)))
            }
            None => malformed(&error),
        }
    })
}

/// `1 is not of type 'string'`
fn reason(value: &Value, error: &serde_json::Error) -> String {
    let text = error.to_string();
    let expected = [
        ("expected a string", "string"),
        ("expected a sequence", "array"),
        ("expected a map", "object"),
        ("expected a boolean", "boolean"),
    ];
    match expected.iter().find(|(words, _)| text.contains(words)) {
        Some((_, kind)) => format!("{value} is not of type '{kind}'"),
        None => text,
    }
}

fn malformed(error: &serde_json::Error) -> Error {
    match error.classify() {
        serde_json::error::Category::Data => Error::bad_request(format!("Invalid input: {error}")),
        _ => Error::bad_request("The server could not comply with the request since it is either malformed or otherwise incorrect."),
    }
}

/// The request as it came, body unread: for uploads and for what asks for headers.
pub struct Raw {
    pub parts: Parts,
    pub body: Body,
}

impl<S: Send> FromCall<S> for Raw {
    const QUERY: bool = true;

    async fn from_call(call: &mut Call<S>) -> Result<Self> {
        Ok(Raw { parts: call.parts.clone(), body: call.body.take().unwrap_or_default() })
    }
}

/// Reads a bounded body.
async fn read_body<S>(call: &mut Call<S>) -> Result<bytes::Bytes> {
    let body = call.body.take().unwrap_or_default();
    match Limited::new(body, call.limit).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Error::too_large("Request is too large.")),
        Err(_) => Err(Error::bad_request("The request body ended early.")),
    }
}

/// A handler with its arguments' types forgotten, so that everything below it exists once.
pub type Boxed<S> = Arc<dyn Fn(Call<S>) -> BoxFuture<'static, Result<Reply>> + Send + Sync>;

/// Functions that can handle a call.
pub trait Handler<S, Args>: Send + Sync + 'static {
    /// Whether it looks at the query.
    const QUERY: bool;

    fn boxed(self) -> Boxed<S>;
}

macro_rules! handler {
    ($($arg:ident),*) => {
        #[allow(non_snake_case, unused_mut)]
        impl<S, F, Fut, $($arg),*> Handler<S, ($($arg,)*)> for F
        where
            S: Clone + Send + Sync + 'static,
            F: Fn(S, Context, $($arg),*) -> Fut + Send + Sync + 'static,
            Fut: Future<Output = Result<Reply>> + Send,
            $($arg: FromCall<S> + 'static,)*
        {
            const QUERY: bool = false $(|| $arg::QUERY)*;

            fn boxed(self) -> Boxed<S> {
                let handler = Arc::new(self);
                Arc::new(move |mut call: Call<S>| {
                    let handler = handler.clone();
                    Box::pin(async move {
                        $(let $arg = $arg::from_call(&mut call).await?;)*
                        handler(call.app, call.ctx, $($arg),*).await
                    })
                })
            }
        }
    };
}

handler!();
handler!(A1);
handler!(A1, A2);
handler!(A1, A2, A3);

/// Decodes `%xx` and `+`.
pub fn percent_decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let mut ahead = bytes.clone();
                let hex = |b: u8| (b as char).to_digit(16);
                match (ahead.next().and_then(hex), ahead.next().and_then(hex)) {
                    (Some(high), Some(low)) => {
                        out.push((high * 16 + low) as u8);
                        bytes = ahead;
                    }
                    _ => out.push(b'%'),
                }
            }
            _ => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Encodes what a query or a path segment cannot carry.
pub fn percent_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b':' | b',' => out.push(byte as char),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_named() {
        #[derive(Debug, serde::Deserialize)]
        #[allow(dead_code)]
        struct Body {
            name: Option<String>,
            tags: Option<Vec<String>>,
        }
        let words = |body: Value| typed::<Body>(body.as_object().unwrap().clone()).unwrap_err().message;
        let body = serde_json::json!({"name": 1, "tags": []});
        assert_eq!(words(body), "Invalid input for field/attribute name. Value: 1. 1 is not of type 'string'");
        let body = serde_json::json!({"name": "n", "tags": "t"});
        assert_eq!(words(body), "Invalid input for field/attribute tags. Value: \"t\". \"t\" is not of type 'array'");
    }

    #[test]
    fn queries_keep_repeats_and_decode() {
        let query = Query::parse("fields=id&fields=na%6De&flag&q=a+b%zz&limit=10");
        assert_eq!(query.all("fields").collect::<Vec<_>>(), ["id", "name"]);
        assert!(query.flag("flag") && !query.flag("absent"));
        assert_eq!(query.get("q"), Some("a b%zz"));
        assert_eq!(query.without(&["limit", "flag"]), "fields=id&fields=name&q=a%20b%25zz");
    }
}
