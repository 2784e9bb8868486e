//! The error envelope: a page of HTML, or JSON for who accepts that.

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use kit::error::{Error, Kind};
use kit::service::FaultContext;
use kit::{Reply, Result};
use serde_json::json;

/// What `kit` says of a body that is no JSON.
const MALFORMED: &str = "The server could not comply with the request since it is either malformed or otherwise incorrect.";

/// Turns an error into what glance's clients know.
pub fn fault(error: &Error, context: &FaultContext<'_>) -> Reply {
    let status = error.kind.status();
    let title = status.canonical_reason().unwrap_or_default();
    let code = format!("{} {title}", status.as_u16());
    let words = words(error);
    let accepts = context.headers.get(ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if accepts.contains("application/json") || status == StatusCode::UNAUTHORIZED {
        let message = if error.kind == Kind::Unauthorized {
            "This server could not verify that you are authorized to access the document you requested. Either you supplied the wrong \
             credentials (e.g., bad password), or your browser does not understand how to supply the credentials required.<br /><br />\n\n\n"
                .to_owned()
        } else {
            format!("{words}<br /><br />\n\n\n")
        };
        let body = json!({"message": message, "code": code, "title": title});
        return Reply::json(status, &body).unwrap_or_else(|_| Reply::empty(status));
    }
    let text = escape(&words);
    let page = format!(
        "<html>\n <head>\n  <title>{code}</title>\n </head>\n <body>\n  <h1>{code}</h1>\n  {text}<br /><br />\n\n\n </body>\n</html>"
    );
    Reply::body("text/html; charset=UTF-8", page).status(status)
}

/// What is said in general, in glance's words.
fn words(error: &Error) -> String {
    let rule = error.message.strip_prefix("Policy doesn't allow ").and_then(|rest| rest.strip_suffix(" to be performed."));
    match rule {
        Some(rule) => format!("You are not authorized to complete {rule} action."),
        None if error.kind == Kind::BadRequest && error.message == MALFORMED => "Malformed JSON in request body.".to_owned(),
        None => error.message.clone(),
    }
}

/// What a client wrote must not become markup of the page.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// 404 for an image that is not there, or not for the caller's eyes.
pub fn no_image(id: &str) -> Error {
    Error::not_found(format!("No image found with ID {id}"))
}

/// 403 for a change of something one may see but does not own.
pub fn not_yours(action: &str) -> Error {
    Error::forbidden(format!("You are not authorized to complete {action} action."))
}

/// 409 for an image in the wrong state.
pub fn transition(from: &str, to: &str) -> Error {
    Error::conflict(format!("Image status transition from {from} to {to} is not allowed"))
}

/// The media type of a request, without parameters.
pub fn media_type(parts: &http::request::Parts) -> &str {
    let value: Option<&HeaderValue> = parts.headers.get(CONTENT_TYPE);
    value.and_then(|v| v.to_str().ok()).unwrap_or_default().split(';').next().unwrap_or_default().trim()
}

/// 415 unless the request carries bytes.
pub fn require_bytes(parts: &http::request::Parts) -> Result<()> {
    if media_type(parts) == "application/octet-stream" {
        return Ok(());
    }
    Err(unsupported(media_type(parts)))
}

/// 415 for a body of another kind.
pub fn unsupported(media_type: &str) -> Error {
    let named = if media_type.is_empty() { "None" } else { media_type };
    Error::new(Kind::UnsupportedMediaType, format!("The request media type {named} is not supported by this server."))
}
