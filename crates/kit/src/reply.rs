//! What a handler answers: a status, headers, and a body that is JSON, bytes or a stream.

use axum::body::Body;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use crate::Result;

/// An answer on its way.
#[derive(Debug)]
pub struct Reply(pub Response<Body>);

impl Reply {
    /// JSON with any status.
    pub fn json(status: StatusCode, body: &impl Serialize) -> Result<Reply> {
        let mut response = Response::new(Body::from(serde_json::to_vec(body)?));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(Reply(response))
    }

    /// 200 with JSON.
    pub fn ok(body: &impl Serialize) -> Result<Reply> {
        Reply::json(StatusCode::OK, body)
    }

    /// 201 with JSON.
    pub fn created(body: &impl Serialize) -> Result<Reply> {
        Reply::json(StatusCode::CREATED, body)
    }

    /// 202 with JSON.
    pub fn accepted(body: &impl Serialize) -> Result<Reply> {
        Reply::json(StatusCode::ACCEPTED, body)
    }

    /// A status and nothing else.
    pub fn empty(status: StatusCode) -> Reply {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        Reply(response)
    }

    /// 204
    pub fn no_content() -> Result<Reply> {
        Ok(Reply::empty(StatusCode::NO_CONTENT))
    }

    /// 200 with any body: bytes or a stream.
    pub fn body(content_type: &'static str, body: impl Into<Body>) -> Reply {
        let mut response = Response::new(body.into());
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        Reply(response)
    }

    /// The same answer with another status.
    pub fn status(mut self, status: StatusCode) -> Reply {
        *self.0.status_mut() = status;
        self
    }

    /// Sets a header; one whose value HTTP cannot carry is left out.
    pub fn header(mut self, name: &'static str, value: &str) -> Reply {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.0.headers_mut().insert(HeaderName::from_static(name), value);
        }
        self
    }
}
