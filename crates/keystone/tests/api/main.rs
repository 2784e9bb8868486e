//! Keystone's API, driven in process on a temporary SQLite file.
#![allow(clippy::unwrap_used)]

mod authorization;
mod catalog;
mod common;
mod federation;
mod grants;
mod lifecycle;
mod oauth;
mod passwords;
mod places;
mod policy;
mod secrets;
mod shapes;
mod tokens;
mod upgrades;
mod v2;
