//! For tests: something that answers on a control socket as a QEMU does whose guest leaves for another host, and remembers what it was told.

use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixListener;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    None,
    /// The memory cannot be sent.
    MigrationFails,
    /// A disk cannot be written.
    MirrorFails,
    /// A process of ours ended while it copied a disk.
    CopyLeft,
    /// The guest stands still since a disk failed.
    DiskFailed,
    /// It never gets past sending memory.
    Endless,
}

pub struct Fake {
    mishap: Mishap,
    told: Mutex<Vec<String>>,
    state: Mutex<State>,
}

struct State {
    migration: &'static str,
    mirror: &'static str,
    runs: bool,
}

impl Fake {
    /// Serves one connection. The guest came by a migration, of which QEMU tells until another begins.
    pub fn start(socket: &Path, mishap: Mishap) -> Arc<Fake> {
        let mirror = if mishap == Mishap::CopyLeft { "running" } else { "none" };
        let state = State { migration: "completed", mirror, runs: mishap != Mishap::DiskFailed };
        let fake = Arc::new(Fake { mishap, told: Mutex::default(), state: Mutex::new(state) });
        let (listener, serving) = (UnixListener::bind(socket).unwrap(), fake.clone());
        tokio::spawn(async move {
            let (reader, mut writer) = listener.accept().await.unwrap().0.into_split();
            writer.write_all(b"{\"QMP\": {}}\n").await.unwrap();
            let mut lines = BufReader::new(reader).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let command: Value = serde_json::from_str(&line).unwrap();
                let answer = json!({"return": serving.answer(command["execute"].as_str().unwrap()), "id": command["id"]});
                writer.write_all(format!("{answer}\n").as_bytes()).await.unwrap();
            }
        });
        fake
    }

    /// What it was told to do, in that order.
    pub fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }

    pub fn runs(&self) -> bool {
        self.state.lock().unwrap().runs
    }

    fn answer(&self, command: &str) -> Value {
        let mut state = self.state.lock().unwrap();
        if !command.starts_with("query-") && command != "qmp_capabilities" {
            self.told.lock().unwrap().push(command.to_owned());
        }
        let job = |status| json!([{"id": "mirror-root", "device": "mirror-root", "status": status, "ready": status == "ready", "len": 100, "offset": 60}]);
        match command {
            "query-status" if self.mishap == Mishap::DiskFailed && !state.runs => json!({"status": "io-error"}),
            "query-jobs" if self.mishap == Mishap::CopyLeft => match state.mirror {
                "none" => json!([]),
                status => json!([{"id": "copy", "status": status}]),
            },
            "query-block" => json!([{"qdev": "/machine/peripheral/disk-root/virtio-backend", "inserted": {"node-name": "d-root"}}]),
            "query-named-block-nodes" if self.mishap == Mishap::CopyLeft => {
                json!([{"node-name": "d-root"}, {"node-name": "copy"}, {"node-name": "d-lost"}, {"node-name": "#block1"}])
            }
            "query-status" => json!({"status": if state.runs { "running" } else { "postmigrate" }}),
            "query-jobs" | "query-block-jobs" => match state.mirror {
                "none" => json!([]),
                status => {
                    let seen = job(status);
                    state.mirror = if status == "running" { "ready" } else { status };
                    match self.mishap {
                        Mishap::MirrorFails => {
                            json!([{"id": "mirror-root", "device": "mirror-root", "status": "concluded", "error": "No space"}])
                        }
                        Mishap::None | Mishap::MigrationFails | Mishap::Endless | Mishap::CopyLeft | Mishap::DiskFailed => seen,
                    }
                }
            },
            "query-named-block-nodes" => json!([{"node-name": "d-root"}, {"node-name": "mirror-root"}]),
            "query-migrate" => {
                let seen =
                    json!({"status": state.migration, "error-desc": "no route", "ram": {"total": 10, "transferred": 4, "remaining": 6}});
                state.migration = match (state.migration, self.mishap) {
                    ("active", Mishap::MigrationFails) => "failed",
                    ("active", Mishap::Endless) => "active",
                    ("active", _) => {
                        state.runs = false;
                        "pre-switchover"
                    }
                    ("device", _) => "completed",
                    (status, _) => status,
                };
                seen
            }
            _ => {
                match command {
                    "blockdev-mirror" => state.mirror = "running",
                    "block-job-cancel" => state.mirror = "concluded",
                    "job-dismiss" => state.mirror = "none",
                    "migrate" => state.migration = "active",
                    "migrate-continue" => state.migration = "device",
                    "migrate_cancel" => state.migration = "cancelled",
                    "cont" => state.runs = true,
                    _ => {}
                }
                json!({})
            }
        }
    }
}
