//! The error envelope: a page of HTML, or JSON for who accepts that.

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use kit::error::{Error, Kind};
use kit::service::FaultContext;
use kit::{Reply, Result};
use serde_json::json;

/// Turns an error into what glance's clients know.
pub fn fault(error: &Error, context: &FaultContext<'_>) -> Reply {
    let status = error.kind.status();
    let title = status.canonical_reason().unwrap_or_default();
    let code = format!("{} {title}", status.as_u16());
    let accepts = context.headers.get(ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if accepts.contains("application/json") || status == StatusCode::UNAUTHORIZED {
        let message = if error.kind == Kind::Unauthorized {
            "This server could not verify that you are authorized to access the document you requested. Either you supplied the wrong \
             credentials (e.g., bad password), or your browser does not understand how to supply the credentials required.<br /><br />\n\n\n"
                .to_owned()
        } else {
            format!("{}<br /><br />\n\n\n", error.message)
        };
        let body = json!({"message": message, "code": code, "title": title});
        return Reply::json(status, &body).unwrap_or_else(|_| Reply::empty(status));
    }
    let text = escape(&error.message);
    let page = format!(
        "<html>\n <head>\n  <title>{code}</title>\n </head>\n <body>\n  <h1>{code}</h1>\n  {text}<br /><br />\n\n\n </body>\n</html>"
    );
    let mut reply = Reply::body("text/html; charset=UTF-8", page);
    *reply.0.status_mut() = status;
    reply
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
    Err(Error::new(Kind::UnsupportedMediaType, "The request's media type must be application/octet-stream"))
}
