//! Nova's error envelope: `{"itemNotFound": {"code": 404, "message": "..."}}`.

use kit::error::Kind;
use kit::service::FaultContext;
use kit::{Error, Reply};
use serde_json::json;

/// An error as a client of nova expects it.
pub fn fault(error: &Error, _: &FaultContext<'_>) -> Reply {
    let status = error.kind.status();
    let code = status.as_u16();
    if error.kind == Kind::Unauthorized {
        return envelope(status, &json!({"error": {"code": 401, "title": "Unauthorized", "message": error.message}}));
    }
    let mut fault = json!({"code": code, "message": error.message});
    if matches!(error.kind, Kind::TooLarge | Kind::TooManyRequests) {
        fault["retryAfter"] = json!("0");
    }
    let reply = envelope(status, &json!({ name(error.kind): fault }));
    match error.kind {
        Kind::TooLarge | Kind::TooManyRequests | Kind::Unavailable => reply.header("retry-after", "1"),
        _ => reply,
    }
}

pub fn envelope(status: http::StatusCode, body: &serde_json::Value) -> Reply {
    let reply = Reply::json(status, body).unwrap_or_else(|_| Reply::empty(status));
    reply.header("content-type", "application/json; charset=UTF-8")
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::BadRequest => "badRequest",
        Kind::Unauthorized => "unauthorized",
        Kind::Forbidden => "forbidden",
        Kind::NotFound => "itemNotFound",
        Kind::MethodNotAllowed => "badMethod",
        Kind::Conflict => "conflictingRequest",
        Kind::TooLarge | Kind::TooManyRequests => "overLimit",
        Kind::UnsupportedMediaType => "badMediaType",
        Kind::NotImplemented => "notImplemented",
        Kind::Unavailable => "serviceUnavailable",
        Kind::NotAcceptable | Kind::Gone | Kind::PreconditionFailed | Kind::RangeNotSatisfiable | Kind::Internal | Kind::TimedOut => {
            "computeFault"
        }
    }
}
