//! What `status` shows: one table, read both ways.

use super::{TaskState, VmState};

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
