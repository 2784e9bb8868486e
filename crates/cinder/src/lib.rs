//! Cinder: volumes, and what servers do with them.
//!
//! - [`routes`]: the index of the API; [`actions`](volumes::actions): what `POST /volumes/{id}/action` can do; [`policies`]: who may.
//! - [`volumes`], [`attachments`], [`snapshots`], [`backups`], [`transfers`], [`groups`], [`group_snapshots`], [`types`], [`group_types`], [`consistencygroups`],
//!   [`qos`], [`quotas`], [`messages`], [`manageable`], [`services`]: a room per resource.
//! - [`page`], [`filter`], [`body`]: how lists and bodies are read; [`reconcile`]: what repairs.
//! - [`scheduler`]: which host gets a volume, by its [`capabilities`]; [`hosts`]: what the cinder-volume processes ask and say.
//! - [`microversions`], [`fault`], [`discovery`]: the shape of the API.
//!
//! What takes time is a flow: it is written with the promise it fulfils, and goes on after a crash.

pub mod app;
pub mod attachments;
pub mod backups;
pub mod body;
pub mod capabilities;
pub mod consistencygroups;
pub mod discovery;
pub mod fault;
pub mod filter;
pub mod group_snapshots;
pub mod group_types;
pub mod groups;
pub mod hosts;
pub mod keys;
pub mod manageable;
pub mod messages;
pub mod microversions;
pub mod page;
pub mod policies;
pub mod qos;
pub mod quotas;
pub mod reconcile;
pub mod routes;
pub mod scheduler;
pub mod services;
pub mod snapshots;
pub mod transfers;
pub mod types;
pub mod volumes;

pub use app::{Cinder, Config, open};
pub use keys::rotate as rotate_master_key;
