//! Statuses and bodies of the API, over a simulated host: a file for each family of resources.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod actions;
mod backups;
mod coverage;
mod encryption;
mod groups;
mod manageable;
mod matrix;
mod messages;
mod migration;
mod random;
mod services;
mod shapes;
mod snapshots;
mod transfers;
mod types;
mod volumes;
mod words;
