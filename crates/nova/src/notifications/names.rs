//! What nova's versioned notifications call an action: one table.

/// Names of the beginning, the end, and the end that was none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// `instance.NAME.start`, `.end` and `.error`.
    Phases(&'static str),
    /// `instance.NAME`, told once.
    Once(&'static str),
    /// Three different names.
    Parts([&'static str; 3]),
}

const LIVE_MIGRATION: Names = Names::Parts(["live_migration_pre.start", "live_migration_post.end", "live_migration_rollback.end"]);

/// By the name among the instance actions. What is not here (a new password, a larger volume) has no notification in nova either.
const NAMES: &[(&str, Names)] = &[
    ("create", Names::Phases("create")),
    ("delete", Names::Phases("delete")),
    ("forceDelete", Names::Phases("delete")),
    ("restore", Names::Phases("restore")),
    ("start", Names::Phases("power_on")),
    ("stop", Names::Phases("power_off")),
    ("reboot", Names::Phases("reboot")),
    ("pause", Names::Phases("pause")),
    ("unpause", Names::Phases("unpause")),
    ("suspend", Names::Phases("suspend")),
    ("resume", Names::Phases("resume")),
    ("rescue", Names::Phases("rescue")),
    ("unrescue", Names::Phases("unrescue")),
    ("rebuild", Names::Phases("rebuild")),
    ("resize", Names::Phases("resize")),
    ("migrate", Names::Phases("resize")),
    ("confirmResize", Names::Phases("resize_confirm")),
    ("revertResize", Names::Phases("resize_revert")),
    ("live-migration", LIVE_MIGRATION),
    ("live_migration_cancel", Names::Phases("live_migration_abort")),
    ("live_migration_force_complete", Names::Phases("live_migration_force_complete")),
    ("evacuate", Names::Phases("evacuate")),
    ("createImage", Names::Phases("snapshot")),
    ("createBackup", Names::Phases("snapshot")),
    ("shelve", Names::Phases("shelve")),
    ("shelveOffload", Names::Phases("shelve_offload")),
    ("unshelve", Names::Phases("unshelve")),
    ("attach_interface", Names::Phases("interface_attach")),
    ("detach_interface", Names::Phases("interface_detach")),
    ("attach_volume", Names::Phases("volume_attach")),
    ("detach_volume", Names::Phases("volume_detach")),
    ("swap_volume", Names::Phases("volume_swap")),
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

/// `instance.create.start`; `None` where there is nothing to tell. A deletion that can be taken back is another thing than one for good.
pub fn event_type(action: &str, moment: Moment, soft: bool) -> Option<String> {
    let (_, names) = NAMES.iter().find(|(name, _)| *name == action)?;
    let phase = match moment {
        Moment::Start => "start",
        Moment::End => "end",
        Moment::Error => "error",
    };
    match (names, moment) {
        (Names::Phases("delete"), _) if soft => Some(format!("instance.soft_delete.{phase}")),
        (Names::Phases(name), _) => Some(format!("instance.{name}.{phase}")),
        (Names::Once(name), Moment::Start) => Some(format!("instance.{name}")),
        (Names::Once(_), Moment::End | Moment::Error) => None,
        (Names::Parts([name, _, _]), Moment::Start) => Some(format!("instance.{name}")),
        (Names::Parts([_, name, _]), Moment::End) => Some(format!("instance.{name}")),
        (Names::Parts([_, _, name]), Moment::Error) => Some(format!("instance.{name}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers::states::rules;

    #[test]
    fn actions_have_novas_names() {
        let name = |action, moment| event_type(action, moment, false);
        assert_eq!(name("create", Moment::Start).unwrap(), "instance.create.start");
        assert_eq!(name("stop", Moment::End).unwrap(), "instance.power_off.end");
        assert_eq!(name("resize", Moment::Error).unwrap(), "instance.resize.error");
        assert_eq!(name("live-migration", Moment::Error).unwrap(), "instance.live_migration_rollback.end");
        assert_eq!((name("lock", Moment::Start).unwrap(), name("lock", Moment::End)), ("instance.lock".into(), None));
        assert_eq!(event_type("delete", Moment::End, true).unwrap(), "instance.soft_delete.end");
        assert_eq!(name("changePassword", Moment::Start), None);
    }

    #[test]
    fn every_action_that_changes_a_server_is_told() {
        let silent =
            ["changePassword", "getConsoleOutput", "getRemoteConsole", "getDiagnostics", "updateMetadata", "deleteMetadata", "updateTags"];
        for (row, rule) in rules::ALL.iter().filter(|(_, rule)| !silent.contains(&rule.record)) {
            let told = event_type(rule.record, Moment::Start, false).is_some();
            // security groups are neutron's, and leave no record
            assert!(told || rule.record == "changeSecurityGroups", "{row}");
        }
    }
}
