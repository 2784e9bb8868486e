//! What every Cumulo service stands on. It knows how an API, a database, a message bus and a durable flow work, and no OpenStack resource.
//!
//! A tour, in the order a request meets things:
//! - [`serve`]: sockets to requests, bounded, with graceful shutdown; [`tls`]: those that are private.
//! - [`service`]: one API: authentication, version negotiation, routing, policy, the handler, the error envelope.
//! - [`routes`]: the route table, which is the index of an API; [`call`]: what a handler may ask for as an argument; [`exact`]: bodies as types.
//! - [`auth`]: who is calling, asked of keystone; [`policy`]: may they; [`context`]: what every handler knows of its request.
//! - [`microversion`]: which fields exist at which version; [`collection`]: filters, order and pages of lists.
//! - [`error`]: one error type from the database to the wire.
//! - [`db`]: a service's database, with grouped commits; [`clock`]: times as it keeps them.
//! - [`bus`]: calls and casts between processes; [`flow`]: durable steps with undo; [`undo`]: the same in memory, for hosts;
//!   [`lease`]: what only one of several processes does; [`gather`]: what many want, done in one go.
//! - [`reconcile`]: what runs now and then and repairs; [`telemetry`]: logs, one file for each component; [`files`]: keys and secrets on disk;
//!   [`daemons`]: programs that outlive us.

mod answers;
pub mod auth;
pub mod bus;
pub mod call;
pub mod clock;
pub mod collection;
pub mod context;
pub mod daemons;
pub mod db;
pub mod error;
pub mod exact;
pub mod files;
pub mod flow;
pub mod gather;
pub mod ids;
pub mod lease;
pub mod microversion;
pub mod policy;
pub mod reconcile;
pub mod reply;
pub mod routes;
pub mod serve;
pub mod service;
pub mod telemetry;
pub mod tls;
pub mod undo;

pub use call::{Json, Path, Query, Raw};
pub use context::Context;
pub use error::{Error, Kind, Result};
pub use kit_derive::Versioned;
pub use reply::Reply;
pub use routes::Routes;
