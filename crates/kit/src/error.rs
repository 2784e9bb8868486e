//! One error type from the database to the wire.
//!
//! `kind` decides the status, `message` speaks to the caller in the API's own words, `source` goes to the log only.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use http::StatusCode;
use serde::{Deserialize, Serialize};

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, and for whom.
#[derive(Clone, Debug)]
pub struct Error {
    pub kind: Kind,
    /// The API's own name of the error where it has one: `NetworkNotFound`, `placement.concurrent_update`.
    pub code: Option<Cow<'static, str>>,
    /// For the caller.
    pub message: String,
    /// For the log.
    pub source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// The classes of errors, one HTTP status each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    NotAcceptable,
    Conflict,
    Gone,
    PreconditionFailed,
    TooLarge,
    UnsupportedMediaType,
    RangeNotSatisfiable,
    TooManyRequests,
    Internal,
    NotImplemented,
    Unavailable,
    /// No answer in time: it may have happened or not, so look before you retry.
    TimedOut,
}

impl Kind {
    pub fn status(self) -> StatusCode {
        match self {
            Kind::BadRequest => StatusCode::BAD_REQUEST,
            Kind::Unauthorized => StatusCode::UNAUTHORIZED,
            Kind::Forbidden => StatusCode::FORBIDDEN,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Kind::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Kind::Conflict => StatusCode::CONFLICT,
            Kind::Gone => StatusCode::GONE,
            Kind::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Kind::RangeNotSatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
            Kind::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Kind::NotImplemented => StatusCode::NOT_IMPLEMENTED,
            Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Kind::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The kind of an answer of another service.
    pub fn from_status(status: u16) -> Kind {
        match status {
            401 => Kind::Unauthorized,
            403 => Kind::Forbidden,
            404 => Kind::NotFound,
            405 => Kind::MethodNotAllowed,
            406 => Kind::NotAcceptable,
            409 => Kind::Conflict,
            410 => Kind::Gone,
            412 => Kind::PreconditionFailed,
            413 => Kind::TooLarge,
            415 => Kind::UnsupportedMediaType,
            416 => Kind::RangeNotSatisfiable,
            429 => Kind::TooManyRequests,
            501 => Kind::NotImplemented,
            503 => Kind::Unavailable,
            504 => Kind::TimedOut,
            400..=499 => Kind::BadRequest,
            _ => Kind::Internal,
        }
    }
}

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Error {
        Error { kind, code: None, message: message.into(), source: None }
    }

    pub fn bad_request(message: impl Into<String>) -> Error {
        Error::new(Kind::BadRequest, message)
    }

    /// 401, with the sentence every service uses; it never says why.
    pub fn unauthorized() -> Error {
        Error::new(Kind::Unauthorized, "The request you have made requires authentication.")
    }

    pub fn forbidden(message: impl Into<String>) -> Error {
        Error::new(Kind::Forbidden, message)
    }

    pub fn not_found(message: impl Into<String>) -> Error {
        Error::new(Kind::NotFound, message)
    }

    pub fn conflict(message: impl Into<String>) -> Error {
        Error::new(Kind::Conflict, message)
    }

    pub fn too_large(message: impl Into<String>) -> Error {
        Error::new(Kind::TooLarge, message)
    }

    pub fn unavailable(message: impl Into<String>) -> Error {
        Error::new(Kind::Unavailable, message)
    }

    /// A fault of ours: the caller learns nothing but that.
    pub fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error {
            kind: Kind::Internal,
            code: None,
            message: "Unexpected API Error. The request id leads to the cause in the logs.".into(),
            source: Some(Arc::from(source.into())),
        }
    }

    /// Names the error as its API does.
    pub fn code(mut self, code: impl Into<Cow<'static, str>>) -> Error {
        self.code = Some(code.into());
        self
    }

    /// Keeps the cause for the log.
    pub fn source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Error {
        self.source = Some(Arc::new(source));
        self
    }

    pub fn is_not_found(&self) -> bool {
        self.kind == Kind::NotFound
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(source) => write!(f, "{} ({source})", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Error {}

impl From<sea_orm::DbErr> for Error {
    fn from(error: sea_orm::DbErr) -> Error {
        if is_no_text(&error) { Error::bad_request("Text with a NUL character in it cannot be kept.") } else { Error::internal(error) }
    }
}

/// PostgreSQL keeps, and looks for, no text that has a NUL character in it. Such text comes from the caller, so it is the caller's mistake.
fn is_no_text(error: &sea_orm::DbErr) -> bool {
    use sea_orm::{DbErr, RuntimeErr};
    let (DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error))) = error else { return false };
    // character_not_in_repertoire
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "22021")
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Error {
        Error::internal(error)
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Error {
        Error::internal(error)
    }
}

/// What another service answered becomes the caller's error with the same status and words.
impl From<sdk::Error> for Error {
    fn from(error: sdk::Error) -> Error {
        let kind = if error.status == 0 { Kind::Unavailable } else { Kind::from_status(error.status) };
        Error { kind, code: error.code.clone().map(Cow::Owned), message: error.message.clone(), source: None }
    }
}

/// An error as it crosses the bus.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct WireError {
    kind: Kind,
    code: Option<String>,
    message: String,
    source: Option<String>,
}

impl From<Error> for WireError {
    fn from(error: Error) -> WireError {
        WireError {
            kind: error.kind,
            code: error.code.map(Cow::into_owned),
            message: error.message,
            source: error.source.map(|s| s.to_string()),
        }
    }
}

impl From<WireError> for Error {
    fn from(error: WireError) -> Error {
        Error {
            kind: error.kind,
            code: error.code.map(Cow::Owned),
            message: error.message,
            source: error.source.map(|s| Arc::from(Box::<dyn std::error::Error + Send + Sync>::from(s))),
        }
    }
}
