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
    FORCE_COMPLETE = "force_complete", "live_migration_force_complete", &[Active], Tasks::Only(&[Migrating]), None, true;
    ABORT_MIGRATION = "abort live migration", "live_migration_cancel", ALIVE, Tasks::Only(&[Migrating]), None, true;
    EVACUATE = "evacuate", "evacuate", &[Active, Stopped, Error], Tasks::Any, Some(Rebuilding), false;
    CREATE_IMAGE = "createImage", "createImage", STILL, Tasks::Idle, Some(ImageSnapshotPending), false;
    CREATE_BACKUP = "createBackup", "createBackup", STILL, Tasks::Idle, Some(ImageBackup), false;
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
    TAGS = "update tags", "updateTags", STILL, Tasks::Any, None, false;
    INTERFACES = "attach_interface", "attach_interface", PLUGGABLE, Tasks::Idle, None, true;
    INTERFACES_DETACH = "detach_interface", "detach_interface", PLUGGABLE, Tasks::Idle, None, true;
    VOLUMES = "attach_volume", "attach_volume", ATTACHABLE, Tasks::Idle, None, true;
    VOLUMES_DETACH = "detach_volume", "detach_volume", ATTACHABLE, Tasks::Idle, None, true;
    VOLUMES_ON_A_HOST = "attach_volume", "attach_volume", ATTACHABLE_ON_A_HOST, Tasks::Idle, None, true;
    VOLUMES_DETACH_ON_A_HOST = "detach_volume", "detach_volume", ATTACHABLE_ON_A_HOST, Tasks::Idle, None, true;
    VOLUMES_SWAP = "swap_volume", "swap_volume", &[Active, Paused, Resized], Tasks::Idle, None, true;
    SECURITY_GROUPS = "change security groups", "changeSecurityGroups", ALIVE, Tasks::Any, None, false;
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

    const IDLE: &[Option<TaskState>] = &[None];
    #[rustfmt::skip]
    const IDLE_OR_REBOOTING: &[Option<TaskState>] = &[
        None, Some(Rebooting), Some(RebootPending), Some(RebootStarted), Some(RebootingHard), Some(RebootPendingHard), Some(RebootStartedHard),
    ];
    const LOCKABLE: bool = true;
    const OPEN: bool = false;
    type Row = (&'static str, &'static [VmState], Option<&'static [Option<TaskState>]>, bool);

    /// The rows of the API's reference: action, vm_states it may begin in, task_states it tolerates unless that is any, whether a lock refuses it.
    #[rustfmt::skip]
    const REFERENCE: &[Row] = &[
        ("START", &[Stopped], Some(IDLE), LOCKABLE),
        ("STOP", &[Active, Error], Some(IDLE), LOCKABLE),
        ("SOFT_REBOOT", &[Active], Some(IDLE), LOCKABLE),
        ("HARD_REBOOT", &[Active, Stopped, Paused, Suspended, Error], Some(IDLE_OR_REBOOTING), LOCKABLE),
        ("PAUSE", &[Active], Some(IDLE), LOCKABLE),
        ("UNPAUSE", &[Paused], Some(IDLE), LOCKABLE),
        ("SUSPEND", &[Active], Some(IDLE), LOCKABLE),
        ("RESUME", &[Suspended], Some(IDLE), LOCKABLE),
        ("RESCUE", &[Active, Stopped, Error], Some(IDLE), LOCKABLE),
        ("UNRESCUE", &[Rescued], Some(IDLE), LOCKABLE),
        ("REBUILD", &[Active, Stopped, Error], Some(IDLE), LOCKABLE),
        ("RESIZE", &[Active, Stopped], Some(IDLE), LOCKABLE),
        ("MIGRATE", &[Active, Stopped], Some(IDLE), LOCKABLE),
        ("CONFIRM_RESIZE", &[Resized], Some(IDLE), LOCKABLE),
        ("REVERT_RESIZE", &[Resized], Some(IDLE), LOCKABLE),
        ("LIVE_MIGRATE", &[Active, Paused], Some(IDLE), LOCKABLE),
        ("FORCE_COMPLETE", &[Active], Some(&[Some(Migrating)]), LOCKABLE),
        ("ABORT_MIGRATION", VmState::ALL, Some(&[Some(Migrating)]), LOCKABLE),
        ("EVACUATE", &[Active, Stopped, Error], None, OPEN),
        ("CREATE_IMAGE", &[Active, Stopped, Paused, Suspended], Some(IDLE), OPEN),
        ("CREATE_BACKUP", &[Active, Stopped, Paused, Suspended], Some(IDLE), OPEN),
        ("SHELVE", &[Active, Stopped, Paused, Suspended], Some(IDLE), LOCKABLE),
        ("SHELVE_OFFLOAD", &[Shelved], Some(IDLE), LOCKABLE),
        ("UNSHELVE", &[Shelved, ShelvedOffloaded], Some(IDLE), LOCKABLE),
        ("CHANGE_PASSWORD", &[Active], Some(IDLE), LOCKABLE),
        ("CRASH_DUMP", &[Active, Paused, Rescued, Resized, Error], Some(IDLE), LOCKABLE),
        ("SOFT_DELETE", VmState::ALL, None, LOCKABLE),
        ("DELETE", VmState::ALL, None, LOCKABLE),
        ("FORCE_DELETE", VmState::ALL, None, LOCKABLE),
        ("RESTORE", &[SoftDeleted], Some(IDLE), LOCKABLE),
        ("RESET_STATE", VmState::ALL, None, OPEN),
        ("LOCK", VmState::ALL, None, OPEN),
        ("UNLOCK", VmState::ALL, None, OPEN),
        ("CONSOLE", &[Active, Stopped, Paused, Suspended, Rescued, Resized, Error, Shelved], None, OPEN),
        ("REMOTE_CONSOLE", &[Active, Stopped, Paused, Suspended, Rescued, Resized, Error, Shelved], None, OPEN),
        ("DIAGNOSTICS", &[Active, Paused, Suspended, Rescued, Resized, Error], None, OPEN),
        ("METADATA", &[Active, Paused, Suspended, Stopped], None, LOCKABLE),
        ("METADATA_DELETE", &[Active, Paused, Suspended, Stopped], None, LOCKABLE),
        ("TAGS", &[Active, Paused, Suspended, Stopped], None, OPEN),
        ("INTERFACES", &[Active, Paused, Stopped], Some(IDLE), LOCKABLE),
        ("INTERFACES_DETACH", &[Active, Paused, Stopped], Some(IDLE), LOCKABLE),
        ("VOLUMES", &[Active, Paused, Stopped, Resized, SoftDeleted, Shelved, ShelvedOffloaded], Some(IDLE), LOCKABLE),
        ("VOLUMES_DETACH", &[Active, Paused, Stopped, Resized, SoftDeleted, Shelved, ShelvedOffloaded], Some(IDLE), LOCKABLE),
        ("VOLUMES_ON_A_HOST", &[Active, Paused, Stopped, Resized, SoftDeleted], Some(IDLE), LOCKABLE),
        ("VOLUMES_DETACH_ON_A_HOST", &[Active, Paused, Stopped, Resized, SoftDeleted], Some(IDLE), LOCKABLE),
        ("VOLUMES_SWAP", &[Active, Paused, Resized], Some(IDLE), LOCKABLE),
        ("SECURITY_GROUPS", VmState::ALL, None, OPEN),
    ];

    /// A server in the first state that suits an action, with which nothing is done but what it is about.
    fn suited(from: &[VmState], tasks: Option<&[Option<TaskState>]>) -> Model {
        let mut server = a_server("s");
        server.vm_state = from[0].word().into();
        server.task_state = tasks.and_then(|tasks| tasks[0]).map(|task| task.word().into());
        server
    }

    /// Every rule beside its row of the reference.
    fn rows() -> impl Iterator<Item = (&'static Rule, &'static Row)> {
        let names = |names: Vec<&'static str>| names.join(" ");
        assert_eq!(names(ALL.iter().map(|(name, _)| *name).collect()), names(REFERENCE.iter().map(|row| row.0).collect()));
        ALL.iter().map(|(_, rule)| rule).zip(REFERENCE)
    }

    #[test]
    fn every_action_from_every_state() {
        for (rule, (name, from, tasks, _)) in rows() {
            for state in VmState::ALL {
                let mut server = suited(from, *tasks);
                server.vm_state = state.word().into();
                let refusal = format!("Cannot '{}' instance s while it is in vm_state {state}", rule.action);
                let answer = rule.check(&server, false).map_err(|error| error.message);
                assert_eq!(answer, if from.contains(state) { Ok(()) } else { Err(refusal) }, "{name}");
            }
        }
    }

    #[test]
    fn every_action_during_every_task() {
        for (rule, (name, from, tasks, _)) in rows() {
            for task in std::iter::once(None).chain(TaskState::ALL.iter().copied().map(Some)) {
                let mut server = suited(from, *tasks);
                let word = task.map(TaskState::word);
                server.task_state = word.map(str::to_owned);
                let tolerated = tasks.is_none_or(|tasks| tasks.contains(&task));
                let refusal = format!("Cannot '{}' instance s while it is in task_state {}", rule.action, word.unwrap_or("None"));
                let answer = rule.check(&server, true).map_err(|error| error.message);
                assert_eq!(answer, if tolerated { Ok(()) } else { Err(refusal) }, "{name}");
            }
        }
    }

    #[test]
    fn a_lock_refuses_what_changes_a_server_to_all_but_administrators() {
        for (rule, (name, from, tasks, lockable)) in rows() {
            let mut server = suited(from, *tasks);
            server.locked = true;
            assert!(rule.check(&server, true).is_ok(), "{name}");
            let refusal = rule.check(&server, false).map_err(|error| error.message);
            assert_eq!(refusal, if *lockable { Err("Instance s is locked".into()) } else { Ok(()) }, "{name}");
        }
    }
}
