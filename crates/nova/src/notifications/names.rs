//! What nova's versioned notifications call an action: one table.

/// What is told of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// `instance.NAME.start` and `.end`. That it failed is seen from the server only.
    Phases(&'static str),
    /// The same, and `.error` where it failed.
    Fallible(&'static str),
    /// `instance.NAME`, told once.
    Once(&'static str),
    /// Several at its beginning, its end, and the end that was none. What is counted is told as `exists` before it changes.
    Parts([&'static [&'static str]; 3]),
}

const DELETE: Names = Names::Parts([&["delete.start", "shutdown.start"], &["shutdown.end", "delete.end"], &[]]);
const RESIZE: Names = Names::Parts([
    &["exists", "resize_prep.start", "resize_prep.end", "resize.start"],
    &["resize.end", "resize_finish.start", "resize_finish.end"],
    &["resize.error"],
]);
const LIVE_MIGRATION: Names = Names::Parts([
    &["live_migration_pre.start"],
    &[
        "live_migration_pre.end",
        "live_migration_post.start",
        "live_migration_post_dest.start",
        "live_migration_post_dest.end",
        "live_migration_post.end",
    ],
    &["live_migration_rollback.start", "live_migration_rollback.end"],
]);

/// By the name among the instance actions. What is not here (a new password, a larger volume) has no notification in nova either.
const NAMES: &[(&str, Names)] = &[
    ("create", Names::Fallible("create")),
    ("delete", DELETE),
    ("forceDelete", DELETE),
    ("restore", Names::Phases("restore")),
    ("start", Names::Phases("power_on")),
    ("stop", Names::Phases("power_off")),
    ("reboot", Names::Fallible("reboot")),
    ("pause", Names::Phases("pause")),
    ("unpause", Names::Phases("unpause")),
    ("suspend", Names::Phases("suspend")),
    ("resume", Names::Phases("resume")),
    ("rescue", Names::Parts([&["rescue.start", "exists"], &["rescue.end"], &[]])),
    ("unrescue", Names::Phases("unrescue")),
    ("rebuild", Names::Parts([&["rebuild_scheduled", "exists", "rebuild.start"], &["rebuild.end"], &["rebuild.error"]])),
    ("resize", RESIZE),
    ("migrate", RESIZE),
    ("confirmResize", Names::Phases("resize_confirm")),
    ("revertResize", Names::Parts([&["exists", "resize_revert.start"], &["resize_revert.end"], &[]])),
    ("live-migration", LIVE_MIGRATION),
    ("live_migration_cancel", Names::Phases("live_migration_abort")),
    ("live_migration_force_complete", Names::Phases("live_migration_force_complete")),
    ("evacuate", Names::Once("evacuate")),
    ("createImage", Names::Phases("snapshot")),
    ("createBackup", Names::Phases("snapshot")),
    ("shelve", Names::Parts([&["exists", "shelve.start"], &["shelve.end"], &[]])),
    ("shelveOffload", Names::Phases("shelve_offload")),
    ("unshelve", Names::Phases("unshelve")),
    ("attach_interface", Names::Fallible("interface_attach")),
    ("detach_interface", Names::Phases("interface_detach")),
    ("attach_volume", Names::Fallible("volume_attach")),
    ("detach_volume", Names::Phases("volume_detach")),
    ("swap_volume", Names::Fallible("volume_swap")),
    ("trigger_crash_dump", Names::Phases("trigger_crash_dump")),
    ("lock", Names::Once("lock")),
    ("unlock", Names::Once("unlock")),
    ("resetState", Names::Once("update")),
];

/// A moment of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    Start,
    End,
    Error,
}

/// `instance.create.start`; none where there is nothing to tell. A deletion that can be taken back is another thing than one for good.
pub fn event_types(action: &str, moment: Moment, soft: bool) -> Vec<String> {
    let Some((_, names)) = NAMES.iter().find(|(name, _)| *name == action) else { return Vec::new() };
    let phase = match moment {
        Moment::Start => "start",
        Moment::End => "end",
        Moment::Error => "error",
    };
    let told = match (*names, moment) {
        (DELETE, Moment::Start | Moment::End) if soft => vec![format!("soft_delete.{phase}")],
        (Names::Phases(_), Moment::Error) | (Names::Once(_), Moment::End | Moment::Error) => Vec::new(),
        (Names::Phases(name) | Names::Fallible(name), _) => vec![format!("{name}.{phase}")],
        (Names::Once(name), Moment::Start) => vec![name.to_owned()],
        (Names::Parts([start, _, _]), Moment::Start) => start.iter().map(|name| (*name).to_owned()).collect(),
        (Names::Parts([_, end, _]), Moment::End) => end.iter().map(|name| (*name).to_owned()).collect(),
        (Names::Parts([_, _, error]), Moment::Error) => error.iter().map(|name| (*name).to_owned()).collect(),
    };
    told.into_iter().map(|name| format!("instance.{name}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers::states::rules;

    #[test]
    fn actions_have_novas_names() {
        for (action, moment, names) in [
            ("create", Moment::Start, vec!["instance.create.start"]),
            ("create", Moment::Error, vec!["instance.create.error"]),
            ("stop", Moment::End, vec!["instance.power_off.end"]),
            ("stop", Moment::Error, vec![]),
            ("delete", Moment::Start, vec!["instance.delete.start", "instance.shutdown.start"]),
            (
                "resize",
                Moment::Start,
                vec!["instance.exists", "instance.resize_prep.start", "instance.resize_prep.end", "instance.resize.start"],
            ),
            ("resize", Moment::End, vec!["instance.resize.end", "instance.resize_finish.start", "instance.resize_finish.end"]),
            ("resize", Moment::Error, vec!["instance.resize.error"]),
            ("live-migration", Moment::Error, vec!["instance.live_migration_rollback.start", "instance.live_migration_rollback.end"]),
            ("evacuate", Moment::Start, vec!["instance.evacuate"]),
            ("evacuate", Moment::End, vec![]),
            ("lock", Moment::Start, vec!["instance.lock"]),
            ("lock", Moment::End, vec![]),
            ("changePassword", Moment::Start, vec![]),
        ] {
            assert_eq!(event_types(action, moment, false), names, "{action} {moment:?}");
        }
        assert_eq!(event_types("delete", Moment::End, true), ["instance.soft_delete.end"]);
    }

    #[test]
    fn every_action_that_changes_a_server_is_told() {
        let silent =
            ["changePassword", "getConsoleOutput", "getRemoteConsole", "getDiagnostics", "updateMetadata", "deleteMetadata", "updateTags"];
        for (row, rule) in rules::ALL.iter().filter(|(_, rule)| !silent.contains(&rule.record)) {
            let told = !event_types(rule.record, Moment::Start, false).is_empty();
            // security groups are neutron's, and leave no record
            assert!(told || rule.record == "changeSecurityGroups", "{row}");
        }
    }
}
