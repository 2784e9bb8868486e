//! A running guest moves to another host: what conductor asks of both, in this order, and what the source tells meanwhile.
//!
//! ```text
//!   source:      DescribeGuest      -> what it is made of
//!   destination: PreLiveMigration   -> ready to receive; ports and volumes have a way here that waits  (RollbackLiveMigration takes it back)
//!   source:      LiveMigration      -> the guest stands still for good; MigrationProgress meanwhile    (UrgeLiveMigration hurries or ends it)
//!   destination: LandGuest          -> the guest runs here, and its ports' bindings are in force here
//!   destination: PostLiveMigration  -> all that is its own is here
//!   source:      ForgetDeparted     -> nothing of it is left here
//! ```
//!
//! All can be repeated.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::conductor::SavedBlockDevice;
use crate::{Caller, message};

/// What is the guest that shall move made of? A call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DescribeGuest {
    pub caller: Caller,
    pub instance_id: String,
}
message!(DescribeGuest => Departure, "describe_guest");

/// A guest as its destination must make it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Departure {
    /// The machine in the words of the source's hypervisor, for one of its kind.
    pub machine: Value,
    /// Its own disks, which are files of the source.
    pub disks: Vec<LocalDisk>,
    /// The end of what it wrote to its serial console.
    pub console: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LocalDisk {
    /// The file's name in the instance's directory.
    pub name: String,
    /// What the guest sees.
    pub bytes: u64,
    /// The image that it stands on.
    pub image_id: Option<String>,
    /// Where one that does not change is to be copied from, an `nbd://` address. The others come with the guest.
    pub url: Option<String>,
}

/// Can the guest come, and whatever it needs to be received. A call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PreLiveMigration {
    pub caller: Caller,
    pub instance_id: String,
    pub source_host: String,
    #[serde(default)]
    pub departure: Departure,
}
message!(PreLiveMigration => Landing, "pre_live_migration");

/// Where and how a guest is awaited.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Landing {
    /// The address of the destination.
    pub address: String,
    /// The port to which its memory is to be sent.
    pub memory: u16,
    /// The port where its disks are to be written, over NBD.
    pub disks: u16,
    /// Which disks those are; the name of an export is the disk's.
    pub mirrors: Vec<Mirror>,
    /// The key under which all of that is sent, in hexadecimal digits; none where it is sent in the clear.
    pub key: Option<String>,
    /// Its volumes as the destination reaches them, by attachments of their own.
    pub block_devices: Vec<SavedBlockDevice>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mirror {
    /// `root`, `swap`, `eph0`
    pub disk: String,
    /// With all that it stands on, which the destination has not.
    pub whole: bool,
}

/// Move the guest there. A call: the answer means that the guest does not run here any more, and has arrived there with all its memory and disks;
/// it is kept here, standing still, until [`ForgetDeparted`]. An error means that it goes on here; its code is [`ABORTED`] when somebody wanted that.
/// Asked a second time, the source tells how it ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LiveMigration {
    pub caller: Caller,
    pub instance_id: String,
    pub migration_id: String,
    pub dest_host: String,
    #[serde(default)]
    pub landing: Landing,
}
message!(LiveMigration => (), "live_migration");

/// The code of the error of a migration that was aborted.
pub const ABORTED: &str = "live_migration_aborted";

/// The source has let the guest go: let it run. A call, and the shorter it takes the less the guest's peers notice.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LandGuest {
    pub caller: Caller,
    pub instance_id: String,
    pub paused: bool,
}
message!(LandGuest => (), "land_guest");

/// The guest is here, whose host is this one by now; or is here again, after a migration that failed late. A call; the asker saves its state.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PostLiveMigration {
    pub caller: Caller,
    pub instance_id: String,
    /// Where it was before.
    pub source_host: String,
    /// It stood still at the source, and does so here.
    pub paused: bool,
    /// Its volumes as this host reaches them.
    #[serde(default)]
    pub block_devices: Vec<SavedBlockDevice>,
}
message!(PostLiveMigration => (), "post_live_migration");

/// To the source: the guest is another host's, and well there. A call; what it still had here goes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ForgetDeparted {
    pub caller: Caller,
    pub instance_id: String,
    /// The attachments by which this host reached its volumes.
    pub attachments: Vec<String>,
}
message!(ForgetDeparted => (), "forget_departed");

/// It does not come: forget what was made ready for it. A call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RollbackLiveMigration {
    pub caller: Caller,
    pub instance_id: String,
    /// The attachments that were made ahead.
    #[serde(default)]
    pub attachments: Vec<String>,
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
    /// Take the time it takes. Said to a source, it only asks whether the migration is under way.
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
