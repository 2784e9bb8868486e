//! What lies outside the cloud, over HTTP: pages that users name, and the object stores that operators name.
//!
//! [`web`] fetches what a user asks for and is kept away from everything internal; [`objects`] opens a place for objects, a directory or
//! an S3 bucket, through the crate `object_store`; [`bucket`] keeps files in the latter. All stand on one HTTP client of hyper and
//! rustls. Which image or backup is where is the services' to know.

pub mod bucket;
mod client;
pub mod objects;
mod reach;
pub mod web;

pub use object_store;
