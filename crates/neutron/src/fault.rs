//! Errors in neutron's words: the envelope every client reads, and the errors that more than one room raises.

use http::StatusCode;
use kit::policy::Target;
use kit::service::FaultContext;
use kit::{Context, Error, Kind, Reply, Result};
use sea_orm::{DbErr, SqlErr};
use serde_json::json;

/// `{"NeutronError": {"type", "message", "detail"}}`; 401 has keystone middleware's shape, and what is no neutron path the server's.
pub fn envelope(error: &Error, context: &FaultContext<'_>) -> Reply {
    let status = error.kind.status();
    let body = if status == StatusCode::UNAUTHORIZED {
        json!({"error": {"code": 401, "title": "Unauthorized", "message": error.message}})
    } else if status == StatusCode::NOT_FOUND && !context.path.starts_with("/v2.0") {
        json!({"code": 404, "title": "Not Found", "description": null})
    } else {
        let kind = error.code.as_deref().unwrap_or_else(|| default_type(error.kind));
        json!({"NeutronError": {"type": kind, "message": message(error), "detail": ""}})
    };
    Reply::json(status, &body).unwrap_or_else(|_| Reply::empty(status))
}

/// A route's rule is refused in kit's words; neutron names the rule.
fn message(error: &Error) -> String {
    let rule = error.message.strip_prefix("Policy doesn't allow ").and_then(|rest| rest.strip_suffix(" to be performed."));
    rule.map_or_else(|| error.message.clone(), disallowed)
}

fn disallowed(rule: &str) -> String {
    format!("rule:{rule} is disallowed by policy")
}

fn default_type(kind: Kind) -> &'static str {
    match kind {
        Kind::BadRequest => "HTTPBadRequest",
        Kind::Unauthorized => "HTTPUnauthorized",
        Kind::Forbidden => "PolicyNotAuthorized",
        Kind::NotFound => "HTTPNotFound",
        Kind::MethodNotAllowed => "HTTPMethodNotAllowed",
        Kind::NotAcceptable => "HTTPNotAcceptable",
        Kind::Conflict => "Conflict",
        Kind::Gone => "HTTPGone",
        Kind::PreconditionFailed => "RevisionNumberConstraintFailed",
        Kind::TooLarge => "HTTPRequestEntityTooLarge",
        Kind::UnsupportedMediaType => "HTTPUnsupportedMediaType",
        Kind::RangeNotSatisfiable => "HTTPRequestRangeNotSatisfiable",
        Kind::TooManyRequests => "HTTPTooManyRequests",
        Kind::Internal => "HTTPInternalServerError",
        Kind::NotImplemented => "NotImplementedError",
        Kind::Unavailable => "ServiceUnavailable",
        Kind::TimedOut => "HTTPGatewayTimeout",
    }
}

/// 400 with the type most checks raise.
pub fn invalid_input(reason: impl std::fmt::Display) -> Error {
    Error::bad_request(format!("Invalid input for operation: {reason}.")).code("InvalidInput")
}

/// 400 for one attribute of a body.
pub fn invalid_attribute(name: &str, reason: impl std::fmt::Display) -> Error {
    Error::bad_request(format!("Invalid input for {name}. Reason: {reason}."))
}

/// 404: `Network <id> could not be found.`
pub fn not_found(code: &'static str, what: &str, id: &str) -> Error {
    Error::not_found(format!("{what} {id} could not be found.")).code(code)
}

/// 404 for what is there and not the caller's to change.
pub fn hidden() -> Error {
    Error::not_found("The resource could not be found.").code("HTTPNotFound")
}

/// 409 with a type of its own.
pub fn conflict(code: &'static str, message: impl Into<String>) -> Error {
    Error::conflict(message).code(code)
}

/// 400 with a type of its own.
pub fn bad_request(code: &'static str, message: impl Into<String>) -> Error {
    Error::bad_request(message).code(code)
}

/// What a row names went away while a change was under way, or what a change removes came into use: that is no fault of ours.
pub fn overtaken(error: Error) -> Error {
    let cause = error.source.as_ref().and_then(|source| source.downcast_ref::<DbErr>()).and_then(DbErr::sql_err);
    match cause {
        Some(SqlErr::ForeignKeyConstraintViolation(_)) => Error {
            source: error.source,
            ..conflict("Conflict", "Something that the request names was changed at the same time. Try again.")
        },
        Some(_) | None => error,
    }
}

/// 403 unless policy lets the caller do it.
pub fn enforce(ctx: &Context, rule: &str, target: &Target) -> Result<()> {
    if ctx.allows(rule, target) {
        return Ok(());
    }
    Err(Error::forbidden(disallowed(rule)).code("PolicyNotAuthorized"))
}
