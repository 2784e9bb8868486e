//! The state machine of a server: its words here, what `status` shows in [`status`], what may be done when in [`rules`].
//!
//! ```text
//!            create              stop, start
//!   (none) ---------> building --> active <---> stopped          active --pause, suspend, rescue--> paused, suspended, rescued --> active
//!                        |           | ^                         active, stopped --resize, migrate--> resized --confirm, revert--> as before
//!                        v           v | reset-state, reboot     active, ... --shelve--> shelved --> shelved_offloaded --unshelve--> active
//!                      error <----- any                          any --delete--> (soft-delete --restore--> as before) --> deleted
//! ```

pub mod rules;
mod status;

use std::fmt;

pub use status::{overriding, states_of, status};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($variant),+ }

        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            pub const fn word(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }

            pub fn parse(word: &str) -> Option<$name> {
                $name::ALL.iter().copied().find(|state| state.word() == word)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}

words! {
    /// What a server is.
    VmState {
        Building = "building", Active = "active", Stopped = "stopped", Paused = "paused", Suspended = "suspended", Rescued = "rescued",
        Resized = "resized", Error = "error", SoftDeleted = "soft-delete", Deleted = "deleted", Shelved = "shelved",
        ShelvedOffloaded = "shelved_offloaded",
    }
}

words! {
    /// What is being done to it.
    TaskState {
        Scheduling = "scheduling", Networking = "networking", BlockDeviceMapping = "block_device_mapping", Spawning = "spawning",
        Deleting = "deleting", SoftDeleting = "soft-deleting", PoweringOff = "powering-off", PoweringOn = "powering-on",
        Rebooting = "rebooting", RebootPending = "reboot_pending", RebootStarted = "reboot_started",
        RebootingHard = "rebooting_hard", RebootPendingHard = "reboot_pending_hard", RebootStartedHard = "reboot_started_hard",
        Pausing = "pausing", Unpausing = "unpausing", Suspending = "suspending", Resuming = "resuming", Rescuing = "rescuing",
        Unrescuing = "unrescuing", Rebuilding = "rebuilding", RebuildBlockDeviceMapping = "rebuild_block_device_mapping",
        RebuildSpawning = "rebuild_spawning", ResizePrep = "resize_prep", ResizeMigrating = "resize_migrating",
        ResizeMigrated = "resize_migrated", ResizeFinish = "resize_finish", ResizeReverting = "resize_reverting",
        ResizeConfirming = "resize_confirming", Migrating = "migrating", UpdatingPassword = "updating_password",
        ImageSnapshot = "image_snapshot", ImageSnapshotPending = "image_snapshot_pending",
        ImagePendingUpload = "image_pending_upload", ImageUploading = "image_uploading", ImageBackup = "image_backup",
        Shelving = "shelving", ShelvingImagePendingUpload = "shelving_image_pending_upload",
        ShelvingImageUploading = "shelving_image_uploading", ShelvingOffloading = "shelving_offloading", Unshelving = "unshelving",
        Restoring = "restoring",
    }
}

/// `NOSTATE`, `RUNNING`, ... by their numbers.
pub mod power {
    pub const RUNNING: u8 = 1;
    pub const SHUTDOWN: u8 = 4;
    pub const CRASHED: u8 = 6;
}
