//! How a call gets to an API, and what comes back.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Limited};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

pub use axum::body::Body;

use crate::wire;

pub type Result<T> = std::result::Result<T, Error>;

/// JSON answers are read up to this size.
const ANSWER: usize = 64 << 20;
/// An API that says nothing for this long is taken for gone.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long an upload may take, answer included.
pub(crate) const UPLOAD: Duration = Duration::from_secs(6 * 3600);

/// Something in this process that answers requests.
pub trait LocalService: Send + Sync {
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Response<Body>>;
}

/// Where an API answers.
#[derive(Clone)]
pub struct Endpoint {
    wire: Wire,
    /// What stands before every path: `http://host:9292`, or nothing in process.
    base: Arc<str>,
}

#[derive(Clone)]
enum Wire {
    Http(wire::Http),
    Local(Arc<dyn LocalService>),
}

impl Endpoint {
    /// Over HTTP: `http://127.0.0.1:9292`, with a path if the API lives below one. With https, whom this host trusts is trusted.
    pub fn http(url: &str) -> Endpoint {
        Endpoint::over(wire::client(wire::authorities_for(url), wire::CONNECT), url)
    }

    /// The same for an https server whose certificate comes from the authorities in a PEM file.
    pub fn trusting(authorities: &Path, url: &str) -> Result<Endpoint> {
        Ok(Endpoint::over(wire::client(wire::authorities_in(authorities)?, wire::CONNECT), url))
    }

    /// Somebody else's: the whole address is asked, and reaching it takes no longer than this. With https, whom that PEM file names is trusted, or
    /// whom this host trusts.
    pub fn reached_within(connect: Duration, authorities: Option<&Path>, url: &str) -> Result<Endpoint> {
        let authorities = authorities.map_or_else(|| Ok(wire::authorities_for(url)), wire::authorities_in)?;
        Ok(Endpoint { wire: Wire::Http(wire::client(authorities, connect)), base: url.into() })
    }

    fn over(client: wire::Http, url: &str) -> Endpoint {
        Endpoint { wire: Wire::Http(client), base: url.trim_end_matches('/').into() }
    }

    /// In process. Links in answers then begin with `public_url`, the address clients use.
    pub fn local(service: Arc<dyn LocalService>, public_url: &str) -> Endpoint {
        Endpoint { wire: Wire::Local(service), base: public_url.trim_end_matches('/').into() }
    }

    /// The address clients use.
    pub fn public_url(&self) -> &str {
        &self.base
    }

    /// Sends a request and answers what came, whatever its status.
    pub async fn send(&self, method: Method, path: &str, headers: HeaderMap, body: Body) -> Result<Response<Body>> {
        self.send_within(PATIENCE, method, path, headers, body).await
    }

    /// The same with another limit on the time until the answer begins, for long request bodies.
    pub async fn send_within(
        &self,
        patience: Duration,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Body,
    ) -> Result<Response<Body>> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.headers_mut() = headers;
        let url = format!("{}{path}", self.base);
        *request.uri_mut() = url.parse().map_err(|error| Error::silent(format!("{url} is no address: {error}")))?;
        if let Some(host) = request.uri().authority().and_then(|a| HeaderValue::from_str(a.as_str()).ok()) {
            request.headers_mut().insert(http::header::HOST, host);
        }
        let answer = async {
            match &self.wire {
                Wire::Local(service) => Ok(service.call(request).await),
                Wire::Http(client) => {
                    let silent = |error| Error::silent(format!("{url} does not answer: {}", wire::cause(&error)));
                    let answer = client.request(request).await.map_err(silent)?;
                    Ok(answer.map(Body::new))
                }
            }
        };
        tokio::time::timeout(patience, answer).await.unwrap_or_else(|_| Err(Error::silent(format!("{url} did not answer in time"))))
    }

    /// Sends JSON (or nothing) in the caller's name and reads the JSON answer. Any status from 400 is an error.
    pub async fn call(&self, auth: &Auth, method: Method, path: &str, body: Option<&(impl Serialize + Sync)>) -> Result<Answer> {
        self.call_with(auth, method, path, body, &[]).await
    }

    /// The same with extra headers: a microversion, a media type.
    pub async fn call_with(
        &self,
        auth: &Auth,
        method: Method,
        path: &str,
        body: Option<&(impl Serialize + Sync)>,
        extra: &[(&'static str, &str)],
    ) -> Result<Answer> {
        let mut headers = auth.headers();
        headers.insert(http::header::ACCEPT, HeaderValue::from_static("application/json"));
        let body = match body {
            Some(body) => {
                headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                Body::from(serde_json::to_vec(body).map_err(|error| Error::silent(error.to_string()))?)
            }
            None => Body::empty(),
        };
        for (name, value) in extra {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(*name, value);
            }
        }
        let answer = self.send(method, path, headers, body).await?;
        self.answer(answer).await
    }

    /// Reads a whole answer. Any status from 400 is an error.
    pub(crate) async fn answer(&self, answer: Response<Body>) -> Result<Answer> {
        let (parts, body) = answer.into_parts();
        let bytes = Limited::new(body, ANSWER).collect().await.map_err(|error| Error::silent(error.to_string()))?.to_bytes();
        let answer =
            Answer { status: parts.status.as_u16(), headers: parts.headers, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) };
        if answer.status >= 400 { Err(answer.into_error(&bytes)) } else { Ok(answer) }
    }

    pub async fn get(&self, auth: &Auth, path: &str) -> Result<Answer> {
        self.call(auth, Method::GET, path, None::<&Value>).await
    }

    pub async fn post(&self, auth: &Auth, path: &str, body: &(impl Serialize + Sync)) -> Result<Answer> {
        self.call(auth, Method::POST, path, Some(body)).await
    }

    pub async fn put(&self, auth: &Auth, path: &str, body: &(impl Serialize + Sync)) -> Result<Answer> {
        self.call(auth, Method::PUT, path, Some(body)).await
    }

    pub async fn delete(&self, auth: &Auth, path: &str) -> Result<Answer> {
        self.call(auth, Method::DELETE, path, None::<&Value>).await
    }
}

/// In whose name a call is made.
#[derive(Clone, Default)]
pub struct Auth {
    token: String,
    service_token: Option<String>,
    request_id: Option<String>,
}

impl Auth {
    /// Nobody, for discovery and logins.
    pub fn nobody() -> Auth {
        Auth::default()
    }

    pub fn token(token: &str) -> Auth {
        Auth { token: token.to_owned(), ..Auth::default() }
    }

    /// A user's token, with the request id that the other service's logs shall name.
    pub fn user(token: &str, request_id: &str) -> Auth {
        Auth { token: token.to_owned(), request_id: Some(request_id.to_owned()), service_token: None }
    }

    /// With a service's own token beside the user's.
    pub fn with_service(mut self, token: &str) -> Auth {
        self.service_token = Some(token.to_owned());
        self
    }

    /// As headers.
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut set = |name: &'static str, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        if !self.token.is_empty() {
            set("x-auth-token", &self.token);
        }
        if let Some(token) = &self.service_token {
            set("x-service-token", token);
        }
        if let Some(id) = &self.request_id {
            set("x-openstack-request-id", id);
        }
        headers
    }
}

/// A JSON answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    /// The object under `key`, as `T`.
    pub fn take<T: DeserializeOwned>(mut self, key: &str) -> Result<T> {
        let value = self.body.get_mut(key).map(Value::take).unwrap_or(Value::Null);
        serde_json::from_value(value).map_err(|error| Error::silent(format!("the answer's {key} cannot be read: {error}")))
    }

    /// The whole body, as `T`.
    pub fn whole<T: DeserializeOwned>(self) -> Result<T> {
        serde_json::from_value(self.body).map_err(|error| Error::silent(format!("the answer cannot be read: {error}")))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Finds the words of whichever envelope the service uses.
    fn into_error(self, bytes: &[u8]) -> Error {
        let inner = match &self.body {
            Value::Object(map) => match map.get("errors").and_then(|e| e.get(0)) {
                Some(first) => first.clone(),
                None => map.values().find(|v| v.is_object()).cloned().unwrap_or_else(|| self.body.clone()),
            },
            _ => Value::Null,
        };
        let text = |key: &str| inner.get(key).and_then(Value::as_str).map(str::to_owned);
        let message =
            text("message").or_else(|| text("detail")).unwrap_or_else(|| String::from_utf8_lossy(bytes).chars().take(500).collect());
        Error { status: self.status, code: text("type").or_else(|| text("code")), message }
    }
}

/// A refusal, or silence (`status` 0).
#[derive(Clone, Debug)]
pub struct Error {
    pub status: u16,
    /// The API's own name of the error, where it gives one.
    pub code: Option<String>,
    pub message: String,
}

impl Error {
    pub fn silent(message: impl Into<String>) -> Error {
        Error { status: 0, code: None, message: message.into() }
    }

    pub fn is_not_found(&self) -> bool {
        self.status == 404
    }

    pub fn is_conflict(&self) -> bool {
        self.status == 409
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            0 => f.write_str(&self.message),
            status => write!(f, "{status}: {}", self.message),
        }
    }
}

impl std::error::Error for Error {}

/// `Ok(None)` for 404.
pub fn found<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}
