//! A guest that leaves for another host. Its own disks are mirrored to where it is awaited while it goes on; then its memory follows; and in the
//! moment in which it stands still, the mirrors are ended and the rest of the memory is sent.
//!
//! ```text
//!   mirror each disk -> all alike -> migrate -> (pre-switchover: the guest stands still) -> end the mirrors -> migrate-continue -> completed
//!          |                 |           |                |
//!          +-----------------+-----------+----------------+-- aborted, failed --> the guest goes on here
//! ```
//!
//! QEMU pauses by itself before the switch-over, so that a process of ours that dies meanwhile never leaves two guests.

use std::time::Duration;

use kit::{Error, Kind, Result};
use rpc::live_migration::{ABORTED, Progress, Urge};
use serde_json::{Value, json};
use tokio::sync::broadcast::Receiver;
use tokio::time::Instant;

use super::files::Files;
use super::guest::Owner;
use super::mirror::{self, Mirrors};
use super::qmp::{Event, Qmp};
use super::secure;
use crate::hypervisor::{Journey, PowerState};

/// How long all of it may take.
const DEADLINE: Duration = Duration::from_secs(3300);
/// How long a migration that is not wanted any more may take to end.
const ENDING: Duration = Duration::from_secs(30);
/// Between two looks, unless something happens.
const LOOK: Duration = Duration::from_millis(200);
/// As much as the network takes.
const BANDWIDTH: u64 = 1 << 40;

impl Owner {
    /// Sends the guest. It stands still when all of it is there, and goes on otherwise.
    pub(super) async fn depart(&mut self, files: &Files, journey: Journey) -> Result<()> {
        if journey.begun {
            return self.how_it_ended().await;
        }
        let runs = *self.state.borrow() == PowerState::Running;
        let travelled = self.travel(files, &journey, runs).await;
        let outcome = match travelled {
            Ok(()) => Ok(()),
            Err(error) => match self.stay(runs).await {
                // it went all the same, in the last moment
                Ok(true) => Ok(()),
                Ok(false) => Err(error),
                Err(worse) => Err(worse.source(error)),
            },
        };
        self.look().await?;
        outcome
    }

    async fn travel(&self, files: &Files, journey: &Journey, runs: bool) -> Result<()> {
        let landing = &journey.landing;
        let mut events = self.qmp.events();
        let mut trip = Trip { journey, deadline: Instant::now() + DEADLINE, told: Progress::default(), hurried: !runs };
        if landing.key.is_some() {
            secure::give(&self.qmp, files, secure::CLIENT).await?;
        }
        let mirrors = Mirrors::begin(&self.qmp, landing).await?;
        while !mirrors.are_alike(&self.qmp, &mut trip.told).await? {
            trip.heed(&self.qmp).await?;
            tick(&mut events).await;
        }
        set_capabilities(&self.qmp, true).await?;
        self.qmp.execute("migrate-set-parameters", parameters(landing.key.is_some())).await?;
        self.qmp.execute("migrate", json!({"uri": format!("tcp:{}", place(&landing.address, landing.memory))})).await?;
        let mut switching = false;
        loop {
            let seen = self.qmp.execute("query-migrate", json!({})).await?;
            trip.tell(&seen);
            match seen["status"].as_str().unwrap_or_default() {
                "completed" => return Ok(()),
                "failed" => return Err(failed(&seen)),
                "cancelled" => return Err(aborted()),
                "pre-switchover" if !switching => {
                    mirrors.end(&self.qmp).await?;
                    switching = true;
                    self.qmp.execute("migrate-continue", json!({"state": "pre-switchover"})).await?;
                    continue;
                }
                _ if switching => {}
                _ => {
                    mirrors.are_alike(&self.qmp, &mut trip.told).await?;
                    trip.heed(&self.qmp).await?;
                }
            }
            tick(&mut events).await;
        }
    }

    /// Ends a migration that is under way, with all that belongs to it; the guest goes on if it ran. True when it had left already.
    async fn stay(&self, runs: bool) -> Result<bool> {
        if end(&self.qmp).await? == Ended::Completed {
            return Ok(true);
        }
        mirror::give_up(&self.qmp).await?;
        secure::take_back(&self.qmp).await;
        set_capabilities(&self.qmp, false).await?;
        if runs {
            self.qmp.execute("cont", json!({})).await?;
        }
        Ok(false)
    }

    /// A migration that an earlier process of ours began: it has ended well, or it ends now.
    async fn how_it_ended(&mut self) -> Result<()> {
        // QEMU itself lets a guest go on whose migration is cancelled
        let left = self.stay(false).await?;
        self.look().await?;
        if left { Ok(()) } else { Err(Error::new(Kind::Conflict, "The migration was interrupted.")) }
    }
}

/// What is told of a guest on its way, and heard.
struct Trip<'a> {
    journey: &'a Journey,
    deadline: Instant,
    told: Progress,
    /// It stands still already.
    hurried: bool,
}

impl Trip<'_> {
    fn tell(&mut self, seen: &Value) {
        let ram = |field: &str| seen["ram"][field].as_i64().unwrap_or(0);
        self.told.memory_total = ram("total");
        self.told.memory_processed = ram("transferred");
        self.told.memory_remaining = ram("remaining");
        self.journey.progress.send_replace(self.told);
    }

    async fn heed(&mut self, qmp: &Qmp) -> Result<()> {
        self.journey.progress.send_replace(self.told);
        let urge = *self.journey.urge.borrow();
        match urge {
            Urge::Abort => return Err(aborted()),
            Urge::Complete if !self.hurried => {
                qmp.execute("stop", json!({})).await?;
                self.hurried = true;
            }
            Urge::Complete | Urge::None => {}
        }
        match Instant::now() < self.deadline {
            true => Ok(()),
            false => Err(Error::new(Kind::TimedOut, "The guest did not reach its destination in time.")),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Ended {
    Completed,
    Not,
}

/// Cancels what is under way, and waits until nothing is.
async fn end(qmp: &Qmp) -> Result<Ended> {
    let deadline = Instant::now() + ENDING;
    loop {
        let seen = qmp.execute("query-migrate", json!({})).await?;
        match seen["status"].as_str().unwrap_or("none") {
            // of one by which the guest came here, QEMU tells as well until another begins
            "completed" if has_left(qmp).await? => return Ok(Ended::Completed),
            "completed" | "none" | "failed" | "cancelled" => return Ok(Ended::Not),
            status if Instant::now() > deadline => {
                return Err(Error::new(Kind::TimedOut, format!("The migration does not end: it is {status}.")));
            }
            "cancelling" => {}
            _ => drop(qmp.execute("migrate_cancel", json!({})).await?),
        }
        tokio::time::sleep(LOOK / 8).await;
    }
}

/// Whether the guest stands still because it was sent.
async fn has_left(qmp: &Qmp) -> Result<bool> {
    Ok(qmp.execute("query-status", json!({})).await?["status"] == "postmigrate")
}

async fn set_capabilities(qmp: &Qmp, on: bool) -> Result<()> {
    let names = ["pause-before-switchover", "auto-converge", "return-path", "events"];
    let capabilities = names.map(|name| json!({"capability": name, "state": on}));
    qmp.execute("migrate-set-capabilities", json!({"capabilities": capabilities})).await.map(drop)
}

fn parameters(secured: bool) -> Value {
    let credentials = if secured { secure::NAME } else { "" };
    json!({"max-bandwidth": BANDWIDTH, "downtime-limit": 200, "tls-creds": credentials})
}

/// `10.0.0.1:49152`, `[fd00::1]:49152`
pub(super) fn place(address: &str, port: u16) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

fn aborted() -> Error {
    Error::conflict("The migration was aborted.").code(ABORTED)
}

fn failed(seen: &Value) -> Error {
    let why = seen["error-desc"].as_str().unwrap_or("QEMU does not say why");
    Error::new(Kind::Internal, format!("The guest's memory could not be sent: {why}"))
}

/// Until something happens, or a while has passed.
async fn tick(events: &mut Receiver<Event>) {
    let _ = tokio::time::timeout(LOOK, events.recv()).await;
}

#[cfg(test)]
mod tests {
    use rpc::live_migration::{Landing, Mirror};
    use tokio::sync::watch;

    use super::super::fake::{Fake, Mishap};
    use super::super::guest::{GuestHandle, Request};
    use super::super::launch::Connected;
    use super::super::process::Process;
    use super::*;

    /// A guest that is sent, how that ended, what its QEMU was told, and how far it said it was.
    async fn sent(mishap: Mishap, urge: Urge) -> (Result<()>, Vec<String>, bool, Progress) {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("q");
        let fake = Fake::start(&socket, mishap);
        let mut child = tokio::process::Command::new("sleep").arg("60").kill_on_drop(true).spawn().unwrap();
        let process = Process::of_child(child.id().unwrap() as i32).unwrap();
        let connected = Connected { process, qmp: Qmp::connect(&socket).await.unwrap() };
        let guest = GuestHandle::await_it(connected, None, watch::channel(0).0).await.unwrap();
        let mirrors = vec![Mirror { disk: "root".into(), whole: false }];
        let landing = Landing { address: "10.0.0.2".into(), memory: 1, disks: 2, mirrors, ..Landing::default() };
        let ((_keep, urge), (progress, told)) = (watch::channel(urge), watch::channel(Progress::default()));
        let journey = Journey { landing, begun: false, urge, progress };
        let outcome = guest.ask(Request::Depart(Files::new(dir.path().to_owned()), journey)).await;
        child.kill().await.unwrap();
        (outcome, fake.told(), fake.runs(), *told.borrow())
    }

    #[tokio::test]
    async fn the_mirrors_end_when_the_guest_stands_still_and_before_it_switches_over() {
        let (outcome, told, runs, progress) = sent(Mishap::None, Urge::None).await;
        outcome.unwrap();
        let expected = [
            "blockdev-add",
            "blockdev-mirror",
            "migrate-set-capabilities",
            "migrate-set-parameters",
            "migrate",
            "block-job-cancel",
            "job-dismiss",
            "migrate-continue",
        ];
        assert_eq!(told, expected);
        assert!(!runs, "it never runs again here");
        assert_eq!((progress.memory_total, progress.memory_remaining), (10, 6));
    }

    #[tokio::test]
    async fn whatever_fails_the_guest_goes_on_here() {
        for (mishap, urge, words) in [
            (Mishap::MigrationFails, Urge::None, "no route"),
            (Mishap::MirrorFails, Urge::None, "No space"),
            (Mishap::Endless, Urge::Abort, "aborted"),
        ] {
            let (outcome, told, runs, _) = sent(mishap, urge).await;
            let error = outcome.unwrap_err();
            assert!(error.message.contains(words), "{error}");
            assert!(runs && told.iter().any(|command| command == "blockdev-del"), "{mishap:?}: {told:?}");
            assert_eq!(told.last().map(String::as_str), Some("cont"), "{mishap:?}");
        }
    }

    #[test]
    fn places_have_their_form() {
        assert_eq!(place("10.0.0.1", 7), "10.0.0.1:7");
        assert_eq!(place("fd00::1", 7), "[fd00::1]:7");
    }
}
