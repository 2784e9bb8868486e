//! The error envelope: `{"itemNotFound": {"code": 404, "message": "..."}}`.

use http::StatusCode;
use kit::service::FaultContext;
use kit::{Error, Kind, Reply};
use serde_json::json;

/// An error in cinder's words. A method that a path does not have is not found: cinder finds resources by both together.
pub fn render(error: &Error, _: &FaultContext<'_>) -> Reply {
    let unfound = (error.kind == Kind::MethodNotAllowed).then(|| Error::not_found("The resource could not be found."));
    let error = unfound.as_ref().unwrap_or(error);
    let status = error.kind.status();
    let body = match error.kind {
        // keystonemiddleware answers this one, for all services alike
        Kind::Unauthorized => json!({"error": {"code": 401, "title": "Unauthorized", "message": error.message}}),
        kind => json!({name(kind): {"code": status.as_u16(), "message": error.message}}),
    };
    let reply = Reply::json(status, &body).unwrap_or_else(|_| Reply::empty(StatusCode::INTERNAL_SERVER_ERROR));
    match error.kind {
        Kind::TooLarge | Kind::TooManyRequests => reply.header("retry-after", "0"),
        _ => reply,
    }
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::BadRequest => "badRequest",
        Kind::Unauthorized => "unauthorized",
        Kind::Forbidden => "forbidden",
        Kind::NotFound => "itemNotFound",
        Kind::Conflict => "conflictingRequest",
        Kind::TooLarge | Kind::TooManyRequests => "overLimit",
        Kind::UnsupportedMediaType => "badMediaType",
        Kind::NotImplemented => "notImplemented",
        Kind::Unavailable => "serviceUnavailable",
        Kind::MethodNotAllowed
        | Kind::NotAcceptable
        | Kind::Gone
        | Kind::PreconditionFailed
        | Kind::RangeNotSatisfiable
        | Kind::Internal
        | Kind::TimedOut => "computeFault",
    }
}
