//! How a refusal looks: `{"error": {"code", "title", "message"}}`.

use http::StatusCode;
use kit::service::FaultContext;
use kit::{Error, Kind, Reply};
use serde_json::json;

/// Keystone's error envelope.
pub fn envelope(error: &Error, _: &FaultContext<'_>) -> Reply {
    let status = error.kind.status();
    let body = match error.kind {
        Kind::MethodNotAllowed => json!({"message": error.message}),
        _ => json!({"error": {
            "code": status.as_u16(),
            "title": status.canonical_reason().unwrap_or_default(),
            "message": message(error),
        }}),
    };
    let reply = Reply::json(status, &body).unwrap_or_else(|_| Reply::empty(StatusCode::INTERNAL_SERVER_ERROR));
    if matches!(error.kind, Kind::Unavailable | Kind::TooManyRequests) { reply.header("retry-after", "1") } else { reply }
}

/// 404 at a path that is none: a page for people.
pub fn nowhere() -> Reply {
    let page = "<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n<p>The requested URL was not found on the \
                server. If you entered the URL manually please check your spelling and try again.</p>\n";
    Reply::body("text/html; charset=utf-8", page).status(StatusCode::NOT_FOUND)
}

/// Policy refusals have keystone's own sentence.
fn message(error: &Error) -> String {
    let rule = error.message.strip_prefix("Policy doesn't allow ").and_then(|m| m.strip_suffix(" to be performed."));
    match rule {
        Some(rule) if error.kind == Kind::Forbidden => forbidden(rule),
        _ => error.message.clone(),
    }
}

fn forbidden(rule: &str) -> String {
    format!("You are not authorized to perform the requested action: {rule}.")
}

/// 404 for a thing of a kind: `Could not find user: 1234.`
pub fn could_not_find(kind: &str, id: &str) -> Error {
    Error::not_found(format!("Could not find {kind}: {id}."))
}

/// 409 for a name that is taken.
pub fn duplicate(kind: &str, name: &str, domain_id: &str) -> Error {
    let place = if domain_id.is_empty() { String::new() } else { format!(" at domain ID {domain_id}") };
    Error::conflict(format!("Conflict occurred attempting to store {kind} - Duplicate entry found with name {name}{place}."))
}

/// 403 for an action that the state of things forbids.
pub fn refused(action: &str) -> Error {
    Error::forbidden(format!("You are not authorized to perform the requested action: {action}"))
}

/// 400 for a body in which something is missing.
pub fn expecting(what: &str, place: &str) -> Error {
    Error::bad_request(format!(
        "Expecting to find {what} in {place}. The server could not comply with the request since it is either malformed or otherwise \
         incorrect. The client is assumed to be in error."
    ))
}
