//! What may be done when: one table, a row for each action, used by every action and by nothing else.

use kit::Result;

use super::TaskState::{self, *};
use super::VmState::{self, *};
use crate::servers::instance::Model;

/// Which task_states an action tolerates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tasks {
    /// Nothing else may be going on.
    Idle,
    /// Nothing, or one of these.
    IdleOr(&'static [TaskState]),
    /// One of these: the action is about it.
    Only(&'static [TaskState]),
    Any,
}

/// When an action may begin, and what it is called.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// The word in `Cannot '<word>' instance`.
    pub action: &'static str,
    /// Its name among the instance actions.
    pub record: &'static str,
    pub from: &'static [VmState],
    pub tasks: Tasks,
    /// The task that it begins, where it begins one.
    pub begins: Option<TaskState>,
    /// Refused on a locked server unless an administrator asks.
    pub needs_unlocked: bool,
}

/// Each row: name = word in refusals, name among instance actions, allowed vm_states, tolerated tasks, the task it begins, whether a lock refuses it.
macro_rules! table {
    ($($name:ident = $action:literal, $record:literal, $from:expr, $tasks:expr, $begins:expr, $lock:expr;)+) => {
        $(pub const $name: Rule = Rule {
            action: $action, record: $record, from: $from, tasks: $tasks, begins: $begins, needs_unlocked: $lock,
        };)+
        /// The whole table.
        #[cfg(test)]
        pub const ALL: &[(&str, Rule)] = &[$((stringify!($name), $name)),+];
    };
}

const REBOOTING: &[TaskState] = &[Rebooting, RebootPending, RebootStarted, RebootingHard, RebootPendingHard, RebootStartedHard];
const STILL: &[VmState] = &[Active, Stopped, Paused, Suspended];
const ATTACHABLE: &[VmState] = &[Active, Paused, Stopped, Resized, SoftDeleted, Shelved, ShelvedOffloaded];
/// Until 2.19.
const ATTACHABLE_ON_A_HOST: &[VmState] = &[Active, Paused, Stopped, Resized, SoftDeleted];
const PLUGGABLE: &[VmState] = &[Active, Paused, Stopped];
const HAS_CONSOLE: &[VmState] = &[Active, Stopped, Paused, Suspended, Rescued, Resized, Error, Shelved];
const LIVE: &[VmState] = &[Active, Paused, Suspended, Rescued, Resized, Error];
const DUMPABLE: &[VmState] = &[Active, Paused, Rescued, Resized, Error];
const ALIVE: &[VmState] = VmState::ALL;

table! {
    START = "start", "start", &[Stopped], Tasks::Idle, Some(PoweringOn), true;
    STOP = "stop", "stop", &[Active, Error], Tasks::Idle, Some(PoweringOff), true;
    SOFT_REBOOT = "reboot", "reboot", &[Active], Tasks::Idle, Some(Rebooting), true;
    HARD_REBOOT = "reboot", "reboot", &[Active, Stopped, Paused, Suspended, Error], Tasks::IdleOr(REBOOTING), Some(RebootingHard), true;
    PAUSE = "pause", "pause", &[Active], Tasks::Idle, Some(Pausing), true;
    UNPAUSE = "unpause", "unpause", &[Paused], Tasks::Idle, Some(Unpausing), true;
    SUSPEND = "suspend", "suspend", &[Active], Tasks::Idle, Some(Suspending), true;
    RESUME = "resume", "resume", &[Suspended], Tasks::Idle, Some(Resuming), true;
    RESCUE = "rescue", "rescue", &[Active, Stopped, Error], Tasks::Idle, Some(Rescuing), true;
    UNRESCUE = "unrescue", "unrescue", &[Rescued], Tasks::Idle, Some(Unrescuing), true;
    REBUILD = "rebuild", "rebuild", &[Active, Stopped, Error], Tasks::Idle, Some(Rebuilding), true;
    RESIZE = "resize", "resize", &[Active, Stopped], Tasks::Idle, Some(ResizePrep), true;
    MIGRATE = "migrate", "migrate", &[Active, Stopped], Tasks::Idle, Some(ResizePrep), true;
    CONFIRM_RESIZE = "confirmResize", "confirmResize", &[Resized], Tasks::Idle, Some(ResizeConfirming), true;
    REVERT_RESIZE = "revertResize", "revertResize", &[Resized], Tasks::Idle, Some(ResizeReverting), true;
    LIVE_MIGRATE = "os-migrateLive", "live-migration", &[Active, Paused], Tasks::Idle, Some(Migrating), true;
    FORCE_COMPLETE = "force_complete", "live_migration_force_complete", &[Active, Paused], Tasks::Only(&[Migrating]), None, false;
    ABORT_MIGRATION = "abort live migration", "live_migration_cancel", &[Active, Paused], Tasks::Only(&[Migrating]), None, false;
    EVACUATE = "evacuate", "evacuate", &[Active, Stopped, Error], Tasks::Any, Some(Rebuilding), true;
    CREATE_IMAGE = "createImage", "createImage", STILL, Tasks::Idle, Some(ImageSnapshotPending), true;
    CREATE_BACKUP = "createBackup", "createBackup", STILL, Tasks::Idle, Some(ImageBackup), true;
    SHELVE = "shelve", "shelve", STILL, Tasks::Idle, Some(Shelving), true;
    SHELVE_OFFLOAD = "shelveOffload", "shelveOffload", &[Shelved], Tasks::Idle, Some(ShelvingOffloading), true;
    UNSHELVE = "unshelve", "unshelve", &[Shelved, ShelvedOffloaded], Tasks::Idle, Some(Unshelving), true;
    CHANGE_PASSWORD = "changePassword", "changePassword", &[Active], Tasks::Idle, Some(UpdatingPassword), true;
    CRASH_DUMP = "trigger_crash_dump", "trigger_crash_dump", DUMPABLE, Tasks::Idle, None, true;
    SOFT_DELETE = "delete", "delete", ALIVE, Tasks::Any, Some(SoftDeleting), true;
    DELETE = "delete", "delete", ALIVE, Tasks::Any, Some(Deleting), true;
    FORCE_DELETE = "forceDelete", "forceDelete", ALIVE, Tasks::Any, Some(Deleting), true;
    RESTORE = "restore", "restore", &[SoftDeleted], Tasks::Idle, Some(Restoring), true;
    RESET_STATE = "os-resetState", "resetState", ALIVE, Tasks::Any, None, false;
    LOCK = "lock", "lock", ALIVE, Tasks::Any, None, false;
    UNLOCK = "unlock", "unlock", ALIVE, Tasks::Any, None, false;
    CONSOLE = "get_console_output", "getConsoleOutput", HAS_CONSOLE, Tasks::Any, None, false;
    REMOTE_CONSOLE = "get_remote_console", "getRemoteConsole", HAS_CONSOLE, Tasks::Any, None, false;
    DIAGNOSTICS = "get_diagnostics", "getDiagnostics", LIVE, Tasks::Any, None, false;
    METADATA = "update metadata", "updateMetadata", STILL, Tasks::Any, None, true;
    METADATA_DELETE = "delete metadata", "deleteMetadata", STILL, Tasks::Any, None, true;
    INTERFACES = "attach_interface", "attach_interface", PLUGGABLE, Tasks::Idle, None, true;
    INTERFACES_DETACH = "detach_interface", "detach_interface", PLUGGABLE, Tasks::Idle, None, true;
    VOLUMES = "attach_volume", "attach_volume", ATTACHABLE, Tasks::Idle, None, true;
    VOLUMES_DETACH = "detach_volume", "detach_volume", ATTACHABLE, Tasks::Idle, None, true;
    VOLUMES_ON_A_HOST = "attach_volume", "attach_volume", ATTACHABLE_ON_A_HOST, Tasks::Idle, None, true;
    VOLUMES_DETACH_ON_A_HOST = "detach_volume", "detach_volume", ATTACHABLE_ON_A_HOST, Tasks::Idle, None, true;
    VOLUMES_SWAP = "swap_volume", "swap_volume", &[Active, Paused, Resized], Tasks::Idle, None, true;
    SECURITY_GROUPS = "change security groups", "changeSecurityGroups", ALIVE, Tasks::Any, None, true;
}

impl Rule {
    /// 409 unless the action may begin now.
    pub fn check(&self, server: &Model, is_admin: bool) -> Result<()> {
        if self.needs_unlocked && server.locked && !is_admin {
            return Err(kit::Error::conflict(format!("Instance {} is locked", server.id)));
        }
        if !self.from.iter().any(|state| state.word() == server.vm_state) {
            return Err(self.refusal(&server.id, "vm_state", &server.vm_state));
        }
        let task = server.task_state.as_deref();
        let among = |tasks: &[TaskState]| tasks.iter().any(|t| Some(t.word()) == task);
        let tolerated = match self.tasks {
            Tasks::Any => true,
            Tasks::Idle => task.is_none(),
            Tasks::IdleOr(tasks) => task.is_none() || among(tasks),
            Tasks::Only(tasks) => among(tasks),
        };
        if tolerated { Ok(()) } else { Err(self.refusal(&server.id, "task_state", task.unwrap_or("None"))) }
    }

    /// `Cannot 'stop' instance <id> while it is in vm_state building`
    pub fn refusal(&self, id: &str, attribute: &str, value: &str) -> kit::Error {
        kit::Error::conflict(format!("Cannot '{}' instance {id} while it is in {attribute} {value}", self.action))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers::tests::a_server;

    /// The rows of the API's reference: action, vm_states it may begin in.
    const REFERENCE: &[(&str, &[VmState])] = &[
        ("START", &[Stopped]),
        ("STOP", &[Active, Error]),
        ("SOFT_REBOOT", &[Active]),
        ("HARD_REBOOT", &[Active, Stopped, Paused, Suspended, Error]),
        ("PAUSE", &[Active]),
        ("UNPAUSE", &[Paused]),
        ("SUSPEND", &[Active]),
        ("RESUME", &[Suspended]),
        ("RESCUE", &[Active, Stopped, Error]),
        ("UNRESCUE", &[Rescued]),
        ("REBUILD", &[Active, Stopped, Error]),
        ("RESIZE", &[Active, Stopped]),
        ("MIGRATE", &[Active, Stopped]),
        ("CONFIRM_RESIZE", &[Resized]),
        ("REVERT_RESIZE", &[Resized]),
        ("LIVE_MIGRATE", &[Active, Paused]),
        ("FORCE_COMPLETE", &[Active, Paused]),
        ("ABORT_MIGRATION", &[Active, Paused]),
        ("EVACUATE", &[Active, Stopped, Error]),
        ("CREATE_IMAGE", &[Active, Stopped, Paused, Suspended]),
        ("CREATE_BACKUP", &[Active, Stopped, Paused, Suspended]),
        ("SHELVE", &[Active, Stopped, Paused, Suspended]),
        ("SHELVE_OFFLOAD", &[Shelved]),
        ("UNSHELVE", &[Shelved, ShelvedOffloaded]),
        ("CHANGE_PASSWORD", &[Active]),
        ("CRASH_DUMP", &[Active, Paused, Rescued, Resized, Error]),
        ("SOFT_DELETE", VmState::ALL),
        ("DELETE", VmState::ALL),
        ("FORCE_DELETE", VmState::ALL),
        ("RESTORE", &[SoftDeleted]),
        ("RESET_STATE", VmState::ALL),
        ("LOCK", VmState::ALL),
        ("UNLOCK", VmState::ALL),
        ("CONSOLE", &[Active, Stopped, Paused, Suspended, Rescued, Resized, Error, Shelved]),
        ("REMOTE_CONSOLE", &[Active, Stopped, Paused, Suspended, Rescued, Resized, Error, Shelved]),
        ("DIAGNOSTICS", &[Active, Paused, Suspended, Rescued, Resized, Error]),
        ("METADATA", &[Active, Paused, Suspended, Stopped]),
        ("METADATA_DELETE", &[Active, Paused, Suspended, Stopped]),
        ("INTERFACES", &[Active, Paused, Stopped]),
        ("INTERFACES_DETACH", &[Active, Paused, Stopped]),
        ("VOLUMES", &[Active, Paused, Stopped, Resized, SoftDeleted, Shelved, ShelvedOffloaded]),
        ("VOLUMES_DETACH", &[Active, Paused, Stopped, Resized, SoftDeleted, Shelved, ShelvedOffloaded]),
        ("VOLUMES_ON_A_HOST", &[Active, Paused, Stopped, Resized, SoftDeleted]),
        ("VOLUMES_DETACH_ON_A_HOST", &[Active, Paused, Stopped, Resized, SoftDeleted]),
        ("VOLUMES_SWAP", &[Active, Paused, Resized]),
        ("SECURITY_GROUPS", VmState::ALL),
    ];

    /// A server with which nothing is done but what the action is about.
    fn during(rule: &Rule) -> Model {
        let mut server = a_server("s");
        if let Tasks::Only(tasks) = rule.tasks {
            server.task_state = Some(tasks[0].word().into());
        }
        server
    }

    #[test]
    fn every_action_from_every_state() {
        assert_eq!(ALL.len(), REFERENCE.len());
        for ((name, rule), (expected, allowed)) in ALL.iter().zip(REFERENCE) {
            assert_eq!(name, expected);
            for state in VmState::ALL {
                let mut server = during(rule);
                server.vm_state = state.word().into();
                let refusal = format!("Cannot '{}' instance s while it is in vm_state {state}", rule.action);
                let answer = rule.check(&server, false).map_err(|error| error.message);
                assert_eq!(answer, if allowed.contains(state) { Ok(()) } else { Err(refusal) }, "{name}");
            }
        }
    }

    #[test]
    fn every_action_during_every_task() {
        for (name, rule) in ALL {
            for task in TaskState::ALL {
                let mut server = a_server("s");
                server.vm_state = rule.from[0].word().into();
                server.task_state = Some(task.word().into());
                let tolerated = match rule.tasks {
                    Tasks::Any => true,
                    Tasks::Idle => false,
                    Tasks::IdleOr(tasks) | Tasks::Only(tasks) => tasks.contains(task),
                };
                let refusal = format!("Cannot '{}' instance s while it is in task_state {task}", rule.action);
                let answer = rule.check(&server, true).map_err(|error| error.message);
                assert_eq!(answer, if tolerated { Ok(()) } else { Err(refusal) }, "{name}");
            }
        }
    }

    #[test]
    fn a_lock_refuses_what_changes_a_server_to_all_but_administrators() {
        for (name, rule) in ALL {
            let mut server = during(rule);
            server.vm_state = rule.from[0].word().into();
            server.locked = true;
            assert!(rule.check(&server, true).is_ok(), "{name}");
            let refusal = rule.check(&server, false).map_err(|error| error.message);
            assert_eq!(refusal, if rule.needs_unlocked { Err("Instance s is locked".into()) } else { Ok(()) }, "{name}");
        }
    }
}
