//! A running guest moves to another host: what conductor asks of both, in this order, and what the source tells meanwhile.
//!
//! ```text
//!   destination: PreLiveMigration   -> ready to receive; the ports have a binding here that waits      (RollbackLiveMigration takes it back)
//!   source:      LiveMigration      -> the guest is not here any more; MigrationProgress meanwhile     (AbortLiveMigration ends it)
//!   destination: PostLiveMigration  -> the ports' bindings are in force here, the guest runs here
//! ```
//!
//! All can be repeated.

use serde::{Deserialize, Serialize};

use crate::{Caller, message};

/// Can the guest come, and whatever it needs to be received. A call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PreLiveMigration {
    pub caller: Caller,
    pub instance_id: String,
    pub source_host: String,
}
message!(PreLiveMigration => (), "pre_live_migration");

/// Move the guest there. A call: the answer means that nothing of it is left here. An error means that it goes on here; its code is
/// [`ABORTED`] when somebody wanted that.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LiveMigration {
    pub caller: Caller,
    pub instance_id: String,
    pub migration_id: String,
    pub dest_host: String,
}
message!(LiveMigration => (), "live_migration");

/// The code of the error of a migration that was aborted.
pub const ABORTED: &str = "live_migration_aborted";

/// The guest is here, whose host is this one by now. A call; the asker saves its state.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PostLiveMigration {
    pub caller: Caller,
    pub instance_id: String,
    pub source_host: String,
    /// It stood still at the source, and does so here.
    pub paused: bool,
}
message!(PostLiveMigration => (), "post_live_migration");

/// It does not come: forget what was made ready for it. A call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RollbackLiveMigration {
    pub caller: Caller,
    pub instance_id: String,
}
message!(RollbackLiveMigration => (), "rollback_live_migration");

/// To the source, about a migration under way. A call; a conflict when there is none.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UrgeLiveMigration {
    pub instance_id: String,
    pub urge: Urge,
}
message!(UrgeLiveMigration => (), "urge_live_migration");

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Urge {
    /// Take the time it takes.
    #[default]
    None,
    /// Let the guest wait until it is there.
    Complete,
    /// Leave the guest where it is.
    Abort,
}

/// The source tells conductor how far it is, in bytes. A cast.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MigrationProgress {
    pub migration_id: String,
    pub progress: Progress,
}
message!(MigrationProgress => (), "migration_progress");

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    pub memory_total: i64,
    pub memory_processed: i64,
    pub memory_remaining: i64,
    pub disk_total: i64,
    pub disk_processed: i64,
    pub disk_remaining: i64,
}
