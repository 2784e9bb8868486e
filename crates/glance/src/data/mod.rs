//! `/images/{id}/file`: the bytes of an image, and how they get from a client to the stores.

pub mod bring;
mod download;
pub mod inspect;
pub mod leftovers;
pub mod probe;
pub mod recover;
pub mod scratch;
pub mod transfer;
mod upload;

pub use download::{download, open};
pub use upload::{check_formats, check_length, upload};
