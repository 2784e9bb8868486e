//! `/images/{id}/file`: the bytes of an image.

mod download;
pub mod files;
mod inspect;
pub mod recover;
pub mod upload;

pub use download::download;
pub use upload::upload;
