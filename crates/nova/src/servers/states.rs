//! The state machine of a server, in one table each: what `status` shows, and what may be done when.
//!
//! ```text
//!            create                  stop            start
//!   (none) ---------> building ----> active <------> stopped
//!                        |             |  ^
//!                        v             v  | reset-state, hard reboot, stop
//!                      error <--------- any
//!   any --delete--> deleted
//! ```

use std::fmt;

use kit::{Error, Result};

use super::instance::Model;

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

/// A status, its vm_state, and the task_states that replace the plain one.
type StatusRow = (VmState, &'static str, &'static [(&'static str, &'static [TaskState])]);

const REBOOT: &[TaskState] = &[TaskState::Rebooting, TaskState::RebootPending, TaskState::RebootStarted];
const HARD_REBOOT: &[TaskState] = &[TaskState::RebootingHard, TaskState::RebootPendingHard, TaskState::RebootStartedHard];
const REBUILD: &[TaskState] = &[TaskState::Rebuilding, TaskState::RebuildBlockDeviceMapping, TaskState::RebuildSpawning];
const RESIZE: &[TaskState] = &[TaskState::ResizePrep, TaskState::ResizeMigrating, TaskState::ResizeMigrated, TaskState::ResizeFinish];

/// What `status` shows.
const STATUSES: &[StatusRow] = &[
    (
        VmState::Active,
        "ACTIVE",
        &[
            ("REBOOT", REBOOT),
            ("HARD_REBOOT", HARD_REBOOT),
            ("PASSWORD", &[TaskState::UpdatingPassword]),
            ("REBUILD", REBUILD),
            ("MIGRATING", &[TaskState::Migrating]),
            ("RESIZE", RESIZE),
        ],
    ),
    (VmState::Building, "BUILD", &[]),
    (VmState::Stopped, "SHUTOFF", &[("RESIZE", RESIZE), ("REBUILD", REBUILD)]),
    (VmState::Resized, "VERIFY_RESIZE", &[("REVERT_RESIZE", &[TaskState::ResizeReverting])]),
    (VmState::Paused, "PAUSED", &[("MIGRATING", &[TaskState::Migrating])]),
    (VmState::Suspended, "SUSPENDED", &[]),
    (VmState::Rescued, "RESCUE", &[]),
    (VmState::Error, "ERROR", &[("REBUILD", REBUILD)]),
    (VmState::Deleted, "DELETED", &[]),
    (VmState::SoftDeleted, "SOFT_DELETED", &[]),
    (VmState::Shelved, "SHELVED", &[]),
    (VmState::ShelvedOffloaded, "SHELVED_OFFLOADED", &[]),
];

/// `ACTIVE`, `BUILD`, ...
pub fn status(vm_state: &str, task_state: Option<&str>) -> &'static str {
    let Some((_, plain, overrides)) = STATUSES.iter().find(|(vm, _, _)| vm.word() == vm_state) else { return "UNKNOWN" };
    let Some(task) = task_state else { return plain };
    overrides.iter().find(|(_, tasks)| tasks.iter().any(|t| t.word() == task)).map_or(plain, |(status, _)| status)
}

/// The vm_states and task_states that show as `status`: for filters. `None` in place of task_states means any.
pub fn states_of(status: &str) -> Vec<(VmState, Option<&'static [TaskState]>)> {
    let mut states = Vec::new();
    for (vm, plain, overrides) in STATUSES {
        if plain.eq_ignore_ascii_case(status) {
            states.push((*vm, None));
        }
        states.extend(overrides.iter().filter(|(name, _)| name.eq_ignore_ascii_case(status)).map(|(_, tasks)| (*vm, Some(*tasks))));
    }
    states
}

/// The task_states that replace the plain status of a vm_state.
pub fn overriding(vm: VmState) -> impl Iterator<Item = TaskState> {
    let rows = STATUSES.iter().filter(move |(state, _, _)| *state == vm);
    rows.flat_map(|(_, _, overrides)| overrides.iter().flat_map(|(_, tasks)| tasks.iter().copied()))
}

/// Which task_states an action tolerates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tasks {
    /// Nothing else may be going on.
    Idle,
    /// Nothing, or one of these.
    IdleOr(&'static [TaskState]),
    Any,
}

/// When an action may begin.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// The word in `Cannot '<word>' instance`.
    pub action: &'static str,
    pub from: &'static [VmState],
    pub tasks: Tasks,
    /// Refused on a locked server unless an administrator asks.
    pub needs_unlocked: bool,
}

const fn rule(action: &'static str, from: &'static [VmState], tasks: Tasks) -> Rule {
    Rule { action, from, tasks, needs_unlocked: true }
}

pub const START: Rule = rule("start", &[VmState::Stopped], Tasks::Idle);
pub const STOP: Rule = rule("stop", &[VmState::Active, VmState::Error], Tasks::Idle);
pub const SOFT_REBOOT: Rule = rule("reboot", &[VmState::Active], Tasks::Idle);
pub const HARD_REBOOT_RULE: Rule = rule(
    "reboot",
    &[VmState::Active, VmState::Stopped, VmState::Paused, VmState::Suspended, VmState::Error],
    Tasks::IdleOr(&[
        TaskState::Rebooting,
        TaskState::RebootPending,
        TaskState::RebootStarted,
        TaskState::RebootingHard,
        TaskState::RebootPendingHard,
        TaskState::RebootStartedHard,
    ]),
);
pub const DELETE: Rule = rule("delete", VmState::ALL, Tasks::Any);
pub const CONSOLE: Rule = Rule {
    needs_unlocked: false,
    ..rule(
        "get_console_output",
        &[
            VmState::Active,
            VmState::Stopped,
            VmState::Paused,
            VmState::Suspended,
            VmState::Rescued,
            VmState::Resized,
            VmState::Error,
            VmState::Shelved,
        ],
        Tasks::Any,
    )
};
pub const METADATA: Rule = rule("update metadata", &[VmState::Active, VmState::Paused, VmState::Suspended, VmState::Stopped], Tasks::Idle);
pub const METADATA_DELETE: Rule = Rule { action: "delete metadata", ..METADATA };
pub const INTERFACES: Rule = rule("attach_interface", &[VmState::Active, VmState::Paused, VmState::Stopped], Tasks::Idle);
pub const INTERFACES_DETACH: Rule = Rule { action: "detach_interface", ..INTERFACES };
pub const VOLUMES: Rule = rule(
    "attach_volume",
    &[
        VmState::Active,
        VmState::Paused,
        VmState::Stopped,
        VmState::Resized,
        VmState::SoftDeleted,
        VmState::Shelved,
        VmState::ShelvedOffloaded,
    ],
    Tasks::Idle,
);
pub const VOLUMES_DETACH: Rule = Rule { action: "detach_volume", ..VOLUMES };
pub const SECURITY_GROUPS: Rule = rule("change security groups", VmState::ALL, Tasks::Any);

impl Rule {
    /// 409 unless the action may begin now.
    pub fn check(&self, server: &Model, is_admin: bool) -> Result<()> {
        if self.needs_unlocked && server.locked && !is_admin {
            return Err(Error::conflict(format!("Instance {} is locked", server.id)));
        }
        let cannot = |attribute: &str, value: &str| {
            Err(Error::conflict(format!("Cannot '{}' instance {} while it is in {attribute} {value}", self.action, server.id)))
        };
        if !self.from.iter().any(|state| state.word() == server.vm_state) {
            return cannot("vm_state", &server.vm_state);
        }
        let Some(task) = server.task_state.as_deref() else { return Ok(()) };
        let tolerated = match self.tasks {
            Tasks::Any => true,
            Tasks::Idle => false,
            Tasks::IdleOr(tasks) => tasks.iter().any(|t| t.word() == task),
        };
        if tolerated { Ok(()) } else { cannot("task_state", task) }
    }
}

/// `NOSTATE`, `RUNNING`, ... by their numbers.
pub mod power {
    pub const RUNNING: u8 = 1;
    pub const SHUTDOWN: u8 = 4;
    pub const CRASHED: u8 = 6;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers::tests::a_server;

    #[test]
    fn every_status_row() {
        for (vm, task, expected) in [
            ("active", None, "ACTIVE"),
            ("active", Some("powering-off"), "ACTIVE"),
            ("active", Some("reboot_started"), "REBOOT"),
            ("active", Some("reboot_started_hard"), "HARD_REBOOT"),
            ("active", Some("updating_password"), "PASSWORD"),
            ("active", Some("rebuild_spawning"), "REBUILD"),
            ("active", Some("migrating"), "MIGRATING"),
            ("active", Some("resize_prep"), "RESIZE"),
            ("building", Some("spawning"), "BUILD"),
            ("building", None, "BUILD"),
            ("stopped", None, "SHUTOFF"),
            ("stopped", Some("resize_finish"), "RESIZE"),
            ("stopped", Some("rebuilding"), "REBUILD"),
            ("resized", None, "VERIFY_RESIZE"),
            ("resized", Some("resize_reverting"), "REVERT_RESIZE"),
            ("paused", None, "PAUSED"),
            ("paused", Some("migrating"), "MIGRATING"),
            ("suspended", None, "SUSPENDED"),
            ("rescued", None, "RESCUE"),
            ("error", None, "ERROR"),
            ("error", Some("rebuilding"), "REBUILD"),
            ("deleted", None, "DELETED"),
            ("soft-delete", None, "SOFT_DELETED"),
            ("shelved", None, "SHELVED"),
            ("shelved_offloaded", None, "SHELVED_OFFLOADED"),
            ("melted", None, "UNKNOWN"),
        ] {
            assert_eq!(status(vm, task), expected, "{vm} {task:?}");
        }
    }

    #[test]
    fn every_action_from_every_state() {
        use VmState::*;
        let table: &[(Rule, &[VmState])] = &[
            (START, &[Stopped]),
            (STOP, &[Active, Error]),
            (SOFT_REBOOT, &[Active]),
            (HARD_REBOOT_RULE, &[Active, Stopped, Paused, Suspended, Error]),
            (DELETE, VmState::ALL),
            (METADATA, &[Active, Paused, Suspended, Stopped]),
            (INTERFACES, &[Active, Paused, Stopped]),
            (VOLUMES, &[Active, Paused, Stopped, Resized, SoftDeleted, Shelved, ShelvedOffloaded]),
        ];
        for (rule, allowed) in table {
            for state in VmState::ALL {
                let mut server = a_server("s");
                server.vm_state = state.word().into();
                assert_eq!(rule.check(&server, false).is_ok(), allowed.contains(state), "{} from {state}", rule.action);
            }
        }
    }

    #[test]
    fn refusals_say_what_is_in_the_way() {
        let mut server = a_server("s");
        server.vm_state = "building".into();
        let words = |rule: &Rule, server: &Model, admin| rule.check(server, admin).unwrap_err().message;
        assert_eq!(words(&STOP, &server, false), "Cannot 'stop' instance s while it is in vm_state building");
        server.vm_state = "active".into();
        server.task_state = Some("powering-off".into());
        assert_eq!(words(&STOP, &server, true), "Cannot 'stop' instance s while it is in task_state powering-off");
        server.locked = true;
        assert_eq!(words(&STOP, &server, false), "Instance s is locked");
        assert!(DELETE.check(&server, true).is_ok());
        server.task_state = Some("rebooting".into());
        assert!(HARD_REBOOT_RULE.check(&server, true).is_ok() && SOFT_REBOOT.check(&server, true).is_err());
    }
}
