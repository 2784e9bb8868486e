//! Every action in every state, through the API: what may begin is answered as accepted, and what may not with 409 and nova's words. The states
//! are written into the database; what is accepted is only promised, as no conductor runs.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use support::{ADMIN, Behaviour, Cloud, MEMBER, NETWORK, SHARED_VOLUME, VOLUME};

const STATES: &[&str] = &[
    "building",
    "active",
    "paused",
    "suspended",
    "stopped",
    "rescued",
    "resized",
    "soft-delete",
    "deleted",
    "error",
    "shelved",
    "shelved_offloaded",
];
/// Of each kind of task some.
const TASKS: &[&str] = &[
    "scheduling",
    "spawning",
    "image_snapshot",
    "resize_prep",
    "rebooting",
    "reboot_started",
    "rebooting_hard",
    "powering-off",
    "rebuilding",
    "migrating",
    "deleting",
    "shelving",
];
const REBOOTING: &[&str] = &["rebooting", "reboot_started", "rebooting_hard"];

/// Which tasks an action tolerates.
enum Tasks {
    None,
    NoneOr(&'static [&'static str]),
    Only(&'static str),
    Any,
}

/// An action: its word in refusals, how it is asked for, by whom, the vm_states it may begin in, the tasks it tolerates, whether a lock refuses
/// it, and what it is answered with when nothing is in its way.
struct Row {
    word: &'static str,
    version: &'static str,
    method: &'static str,
    path: String,
    body: Value,
    states: &'static str,
    tasks: Tasks,
    lock: bool,
    status: u16,
}

fn row(word: &'static str, body: Value, states: &'static str, tasks: Tasks, lock: bool, status: u16) -> Row {
    Row { word, version: "2.79", method: "POST", path: "/action".into(), body, states, tasks, lock, status }
}

impl Row {
    fn at(self, method: &'static str, path: impl Into<String>) -> Row {
        Row { method, path: path.into(), ..self }
    }

    fn of(self, version: &'static str) -> Row {
        Row { version, ..self }
    }

    fn begins_in(&self, state: &str) -> bool {
        self.states == "*" || self.states.split(' ').any(|known| known == state)
    }

    fn tolerates(&self, task: Option<&str>) -> bool {
        match self.tasks {
            Tasks::None => task.is_none(),
            Tasks::NoneOr(tasks) => task.is_none_or(|task| tasks.contains(&task)),
            Tasks::Only(only) => task == Some(only),
            Tasks::Any => true,
        }
    }

    /// A state and a task that suit it.
    fn suited(&self) -> (&'static str, Option<&'static str>) {
        let state = STATES.iter().find(|state| **state != "building" && self.begins_in(state)).unwrap();
        (state, if let Tasks::Only(task) = self.tasks { Some(task) } else { None })
    }
}

const STILL: &str = "active stopped paused suspended";
const ATTACHABLE: &str = "active paused stopped resized soft-delete shelved shelved_offloaded";
const PLUGGABLE: &str = "active paused stopped";
const HAS_CONSOLE: &str = "active stopped paused suspended rescued resized error shelved";

/// All actions, on a server with this port and a live migration of this number.
fn rows(port: &str, migration: &Value) -> Vec<Row> {
    let volumes = "/os-volume_attachments";
    let attachment = |volume: &str| json!({"volumeAttachment": {"volumeId": volume}});
    vec![
        row("start", json!({"os-start": null}), "stopped", Tasks::None, true, 202),
        row("stop", json!({"os-stop": null}), "active error", Tasks::None, true, 202),
        row("reboot", json!({"reboot": {"type": "SOFT"}}), "active", Tasks::None, true, 202),
        row("reboot", json!({"reboot": {"type": "HARD"}}), "active stopped paused suspended error", Tasks::NoneOr(REBOOTING), true, 202),
        row("pause", json!({"pause": null}), "active", Tasks::None, true, 202),
        row("unpause", json!({"unpause": null}), "paused", Tasks::None, true, 202),
        row("suspend", json!({"suspend": null}), "active", Tasks::None, true, 202),
        row("resume", json!({"resume": null}), "suspended", Tasks::None, true, 202),
        row("rescue", json!({"rescue": null}), "active stopped error", Tasks::None, true, 200),
        row("unrescue", json!({"unrescue": null}), "rescued", Tasks::None, true, 202),
        row("rebuild", json!({"rebuild": {"imageRef": support::IMAGE}}), "active stopped error", Tasks::None, true, 202),
        row("resize", json!({"resize": {"flavorRef": "1"}}), "active stopped", Tasks::None, true, 202),
        row("migrate", json!({"migrate": null}), "active stopped", Tasks::None, true, 202),
        row("confirmResize", json!({"confirmResize": null}), "resized", Tasks::None, true, 204),
        row("revertResize", json!({"revertResize": null}), "resized", Tasks::None, true, 202),
        row(
            "os-migrateLive",
            json!({"os-migrateLive": {"host": null, "block_migration": "auto"}}),
            "active paused",
            Tasks::None,
            true,
            202,
        ),
        row("force_complete", json!({"force_complete": null}), "active", Tasks::Only("migrating"), true, 202)
            .at("POST", format!("/migrations/{migration}/action")),
        row("abort live migration", Value::Null, "*", Tasks::Only("migrating"), true, 202).at("DELETE", format!("/migrations/{migration}")),
        // the host is up, which is seen after the state
        row("evacuate", json!({"evacuate": {}}), "active stopped error", Tasks::Any, false, 400),
        row("createImage", json!({"createImage": {"name": "i"}}), STILL, Tasks::None, false, 202),
        row("createBackup", json!({"createBackup": {"name": "b", "backup_type": "daily", "rotation": 1}}), STILL, Tasks::None, false, 202),
        row("shelve", json!({"shelve": null}), STILL, Tasks::None, true, 202),
        row("shelveOffload", json!({"shelveOffload": null}), "shelved", Tasks::None, true, 202),
        row("unshelve", json!({"unshelve": null}), "shelved shelved_offloaded", Tasks::None, true, 202),
        row("changePassword", json!({"changePassword": {"adminPass": "secret"}}), "active", Tasks::None, true, 202),
        row("trigger_crash_dump", json!({"trigger_crash_dump": null}), "active paused rescued resized error", Tasks::None, true, 202),
        row("delete", Value::Null, "*", Tasks::Any, true, 204).at("DELETE", ""),
        row("forceDelete", json!({"forceDelete": null}), "*", Tasks::Any, true, 202),
        row("restore", json!({"restore": null}), "soft-delete", Tasks::None, true, 202),
        row("os-resetState", json!({"os-resetState": {"state": "active"}}), "*", Tasks::Any, false, 202),
        row("lock", json!({"lock": null}), "*", Tasks::Any, false, 202),
        row("unlock", json!({"unlock": null}), "*", Tasks::Any, false, 202),
        row("get_console_output", json!({"os-getConsoleOutput": {}}), HAS_CONSOLE, Tasks::Any, false, 200),
        row("get_remote_console", json!({"remote_console": {"protocol": "vnc", "type": "novnc"}}), HAS_CONSOLE, Tasks::Any, false, 200)
            .at("POST", "/remote-consoles"),
        row("get_diagnostics", Value::Null, "active paused suspended rescued resized error", Tasks::Any, false, 200)
            .at("GET", "/diagnostics"),
        row("update metadata", json!({"metadata": {"k": "v"}}), STILL, Tasks::Any, true, 200).at("POST", "/metadata"),
        row("update metadata", json!({"meta": {"k": "v"}}), STILL, Tasks::Any, true, 200).at("PUT", "/metadata/k"),
        row("delete metadata", Value::Null, STILL, Tasks::Any, true, 204).at("DELETE", "/metadata/k"),
        row("update tags", json!({"tags": ["a"]}), STILL, Tasks::Any, false, 200).at("PUT", "/tags"),
        // nobody plugs it, and the group is not there; both are seen after the state
        row("attach_interface", json!({"interfaceAttachment": {"net_id": NETWORK}}), PLUGGABLE, Tasks::None, true, 400)
            .at("POST", "/os-interface"),
        row("detach_interface", Value::Null, PLUGGABLE, Tasks::None, true, 202).at("DELETE", format!("/os-interface/{port}")),
        row("attach_volume", attachment(SHARED_VOLUME), ATTACHABLE, Tasks::None, true, 202).at("POST", volumes).of("2.101"),
        row("attach_volume", attachment(SHARED_VOLUME), "active paused stopped resized soft-delete", Tasks::None, true, 400)
            .at("POST", volumes)
            .of("2.19"),
        row("detach_volume", Value::Null, ATTACHABLE, Tasks::None, true, 202).at("DELETE", format!("{volumes}/{VOLUME}")),
        row("detach_volume", Value::Null, "active paused stopped resized soft-delete", Tasks::None, true, 202)
            .at("DELETE", format!("{volumes}/{VOLUME}"))
            .of("2.19"),
        row("swap_volume", attachment(SHARED_VOLUME), "active paused resized", Tasks::None, true, 202)
            .at("PUT", format!("{volumes}/{VOLUME}")),
        row("change security groups", json!({"addSecurityGroup": {"name": "web"}}), "*", Tasks::Any, false, 404),
    ]
}

/// The one server, whose row is written anew before each question.
struct Subject {
    cloud: Cloud,
    id: String,
    wrong: Vec<String>,
}

impl Subject {
    async fn set(&self, state: &str, task: Option<&str>, locked: bool) {
        let task = task.map_or("NULL".to_owned(), |task| format!("'{task}'"));
        let by = if locked { "'admin'" } else { "NULL" };
        let row = format!("vm_state = '{state}', task_state = {task}, locked = {locked}, locked_by = {by}, metadata = '{{\"k\":\"v\"}}'");
        self.cloud.sql(&format!("UPDATE instances SET {row}; DELETE FROM flows")).await;
    }

    /// Asks, and notes an answer that is not as it should be.
    async fn ask(&mut self, who: &str, row: &Row, why: &str, refusal: Option<String>) {
        let path = format!("/v2.1/servers/{}{}", self.id, row.path);
        let answer = self.cloud.ask(who, row.version, row.method, &path, row.body.clone()).await;
        let right = match &refusal {
            Some(words) => answer.status == 409 && answer.message() == words,
            None => answer.status == row.status,
        };
        if !right {
            let wanted = refusal.map_or_else(|| row.status.to_string(), |words| format!("409 {words}"));
            self.wrong.push(format!("{} {} {why}: {} {}, not {wanted}", row.method, row.body, answer.status, answer.body));
        }
    }

    fn refused(&self, row: &Row, attribute: &str, value: &str) -> Option<String> {
        Some(format!("Cannot '{}' instance {} while it is in {attribute} {value}", row.word, self.id))
    }
}

/// A server with a volume, a port, a live migration that runs and another that is finished.
async fn subject() -> (Subject, Vec<Row>) {
    let cloud = Cloud::start(&[("h1", Behaviour::Run), ("h2", Behaviour::Run)]).await;
    let id = cloud.active(MEMBER).await;
    let path = format!("/v2.1/servers/{id}");
    for (path, body) in [
        (format!("{path}/os-volume_attachments"), json!({"volumeAttachment": {"volumeId": VOLUME}})),
        (format!("{path}/os-interface"), json!({"interfaceAttachment": {"net_id": NETWORK}})),
    ] {
        assert_eq!(cloud.ask(MEMBER, "2.79", "POST", &path, body).await.status, 200);
    }
    let port = cloud.neighbours.0.lock().unwrap().ports.keys().next().unwrap().clone();
    let cloud = cloud.promising().await;
    let subject = Subject { cloud, id, wrong: Vec::new() };
    for (action, status) in
        [(json!({"os-migrateLive": {"host": null, "block_migration": "auto"}}), "running"), (json!({"migrate": null}), "finished")]
    {
        subject.set("active", None, false).await;
        assert_eq!(subject.cloud.act(ADMIN, "2.79", &subject.id, action).await.status, 202);
        let fresh = "status NOT IN ('running', 'finished')";
        subject.cloud.sql(&format!("UPDATE migrations SET status = '{status}' WHERE {fresh}")).await;
    }
    // the hosts report no more, and are up all the same
    subject.cloud.sql(&format!("UPDATE services SET reported_at = {}", i64::MAX / 2)).await;
    let migrations = subject.cloud.get("/v2.1/os-migrations?migration_type=live-migration").await.body;
    let rows = rows(&port, &migrations["migrations"][0]["id"]);
    (subject, rows)
}

#[tokio::test]
async fn every_action_in_every_state_through_the_api() {
    let (mut subject, rows) = subject().await;
    for row in &rows {
        let (suited, task) = row.suited();
        for state in STATES {
            subject.set(state, task, false).await;
            let refusal = if row.begins_in(state) { None } else { subject.refused(row, "vm_state", state) };
            subject.ask(ADMIN, row, state, refusal).await;
        }
        for task in std::iter::once(None).chain(TASKS.iter().copied().map(Some)) {
            subject.set(suited, task, false).await;
            let refusal = if row.tolerates(task) { None } else { subject.refused(row, "task_state", task.unwrap_or("None")) };
            subject.ask(ADMIN, row, task.unwrap_or("without a task"), refusal).await;
        }
        subject.set(suited, task, true).await;
        subject.ask(ADMIN, row, "locked", None).await;
        // what members may not do at all is refused for that
        subject.set(suited, task, true).await;
        let path = format!("/v2.1/servers/{}{}", subject.id, row.path);
        let answer = subject.cloud.ask(MEMBER, row.version, row.method, &path, row.body.clone()).await;
        let locked = answer.message() == format!("Instance {} is locked", subject.id);
        if answer.status != 403 && locked != row.lock {
            subject.wrong.push(format!("{} {} locked, to a member: {}", row.method, row.body, answer.body));
        }
    }
    assert!(subject.wrong.is_empty(), "{}", subject.wrong.join("\n"));
    subject.cloud.stop().await;
}
