//! The error envelope, and the errors that have a code of their own.

use kit::Reply;
use kit::error::{Error, Kind};
use kit::service::FaultContext;
use serde_json::json;

use crate::microversions::{ERROR_CODE, VERSIONS};

/// Turns an error into `{"errors": [...]}`.
pub fn fault(error: &Error, context: &FaultContext<'_>) -> Reply {
    let status = error.kind.status();
    if error.kind == Kind::Unauthorized {
        let body = json!({"error": {"code": 401, "title": "Unauthorized", "message": error.message}});
        return Reply::json(status, &body).unwrap_or_else(|_| Reply::empty(status));
    }
    let mut fault = json!({
        "status": status.as_u16(),
        "title": status.canonical_reason().unwrap_or_default(),
        "detail": detail(error),
        "request_id": context.request_id,
    });
    if let Some(fault) = fault.as_object_mut() {
        if context.version >= ERROR_CODE {
            let code = error.code.as_deref().filter(|code| code.starts_with("placement.")).unwrap_or("placement.undefined_code");
            fault.insert("code".into(), code.into());
        }
        if error.kind == Kind::NotAcceptable {
            fault.insert("max_version".into(), VERSIONS.max.to_string().into());
            fault.insert("min_version".into(), VERSIONS.min.to_string().into());
        }
    }
    Reply::json(status, &json!({"errors": [fault]})).unwrap_or_else(|_| Reply::empty(status))
}

/// The sentence of the status, a blank line, and what happened.
fn detail(error: &Error) -> String {
    let general = match error.kind {
        Kind::BadRequest => "The server could not comply with the request since it is either malformed or otherwise incorrect.",
        Kind::Forbidden => "Access was denied to this resource.",
        Kind::NotFound => "The resource could not be found.",
        Kind::MethodNotAllowed => "The method specified is not allowed for this resource.",
        Kind::NotAcceptable => {
            "The resource could not be generated that was acceptable to your browser (content of type application/json)."
        }
        Kind::Conflict => "There was a conflict when trying to complete your request.",
        Kind::UnsupportedMediaType => "The request media type is not supported by this server.",
        Kind::Unauthorized
        | Kind::Gone
        | Kind::PreconditionFailed
        | Kind::TooLarge
        | Kind::RangeNotSatisfiable
        | Kind::TooManyRequests
        | Kind::Internal
        | Kind::NotImplemented
        | Kind::Unavailable
        | Kind::TimedOut => "The request could not be completed.",
    };
    let words = error.message.replacen("Policy doesn't allow", "Policy does not allow", 1);
    if words == general { words } else { format!("{general}\n\n {words}  ") }
}

/// 409: somebody else's write came first; read again, and retry.
pub fn concurrent_update(message: impl Into<String>) -> Error {
    Error::conflict(message).code("placement.concurrent_update")
}

/// 409: something with this name exists.
pub fn duplicate_name(message: impl Into<String>) -> Error {
    Error::conflict(message).code("placement.duplicate_name")
}

/// 409: an inventory that consumers draw on cannot go.
pub fn inventory_in_use(classes: &str, provider: &str) -> Error {
    let message =
        format!("Unable to delete inventory for resource provider: Inventory for '{classes}' on resource provider '{provider}' in use.");
    Error::conflict(message).code("placement.inventory.inuse")
}

/// 400: a query parameter has a value it cannot have.
pub fn bad_value(message: impl Into<String>) -> Error {
    Error::bad_request(message).code("placement.query.bad_value")
}
