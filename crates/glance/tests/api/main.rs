//! Glance over its API, as the API's page describes it: one program, so that it is linked once.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;

mod authorization;
mod coverage;
mod crashes;
mod images;
mod import;
mod limits;
mod locations;
mod metadefs;
mod pending;
mod regions;
mod s3;
mod words;
