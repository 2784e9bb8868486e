//! Neutron's API, in process: as clients, nova and agents see it. On PostgreSQL with `CUMULO_TEST_DATABASE=postgres://...`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on shall panic")]

mod agents;
mod claims;
mod crowds;
mod everybody;
mod harness;
mod lists;
mod parts;
mod pools;
mod ports;
mod refusals;
mod replies;
mod rooms;
mod routers;
mod schedulers;
mod segments;
mod sharing;
mod words;
