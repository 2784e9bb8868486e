//! The one task that owns a guest's QEMU. Everybody else queues requests to it, so that no two of them meet halfway.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt;
use kit::{Error, Kind, Result};
use serde_json::{Value, json};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::Instant;

use super::files::Files;
use super::launch::Connected;
use super::process::Process;
use super::qmp::{Event, Qmp};
use super::recover::{self, TRY_AGAIN};
use super::slots::Slots;
use super::{agent, args, suspend};
use crate::hypervisor::{Diagnostics, Disk, Journey, Nic, PowerState, VifModel};

/// Requests that may wait for a guest.
const QUEUE: usize = 32;
/// A guest that runs lets a device go within this time.
const UNPLUG: Duration = Duration::from_secs(20);
const PRESS_AGAIN: Duration = Duration::from_secs(10);

/// How to ask the task.
#[derive(Clone)]
pub struct GuestHandle {
    requests: mpsc::Sender<(Request, oneshot::Sender<Result<()>>)>,
    state: watch::Receiver<PowerState>,
    process: Arc<Process>,
}

/// What a guest can be asked for.
pub enum Request {
    Resume,
    Pause,
    Suspend(Files),
    Stop(Duration),
    /// With the key to it.
    AttachDisk(Disk, Vec<Value>),
    DetachDisk(String),
    ResizeDisk(String, u64),
    /// Whether its file systems must be held still.
    CopyDisk(String, PathBuf, bool),
    SwapDisk(String, Disk, Vec<Value>),
    /// Of an earlier process.
    ClearLeftovers,
    /// These disks, each to its own limits.
    Limit(Vec<Disk>),
    AttachNic(Nic, VifModel, OwnedFd),
    DetachNic(String),
    Diagnose(oneshot::Sender<Diagnostics>),
    Nmi,
    /// To another host.
    Depart(Files, Journey),
    /// From another host, or not to it after all; whether it is to run.
    Land(bool),
    Announce,
    Describe(oneshot::Sender<Slots>),
    SetPassword {
        user: String,
        password: String,
    },
}

/// The task itself.
pub struct Owner {
    pub(super) process: Arc<Process>,
    pub(super) qmp: Qmp,
    /// The port of the guest's agent, where it has one.
    pub(super) agent: Option<PathBuf>,
    events: broadcast::Receiver<Event>,
    pub(super) state: watch::Sender<PowerState>,
    /// Whether it stands still since a disk failed.
    pub(super) stalled: AtomicBool,
    /// Whether somebody wants it to stand still.
    pub(super) held: bool,
    changes: watch::Sender<u64>,
}

impl GuestHandle {
    /// Takes a guest into care. `changes` is told when it changes its state by itself.
    pub async fn own(connected: Connected, agent: Option<PathBuf>, changes: watch::Sender<u64>) -> Result<GuestHandle> {
        tokio::select! {
            _ = connected.process.exited() => return Err(Error::conflict("The guest has ended.")),
            arrived = suspend::arrived(&connected.qmp) => arrived?,
        }
        GuestHandle::await_it(connected, agent, changes).await
    }

    /// The same for one whose memory may be still to come.
    pub async fn await_it(connected: Connected, agent: Option<PathBuf>, changes: watch::Sender<u64>) -> Result<GuestHandle> {
        let Connected { process, qmp } = connected;
        let events = qmp.events();
        let (state, watched) = watch::channel(PowerState::Paused);
        let process = Arc::new(process);
        let stalled = AtomicBool::new(false);
        let owner = Owner { process: process.clone(), qmp, agent, events, state, stalled, held: false, changes };
        owner.look().await?;
        let (requests, queue) = mpsc::channel(QUEUE);
        tokio::spawn(owner.run(queue));
        Ok(GuestHandle { requests, state: watched, process })
    }

    pub async fn ask(&self, request: Request) -> Result<()> {
        let gone = |_| Error::conflict("The guest has ended.");
        let (reply, answer) = oneshot::channel();
        let full = |_| Error::unavailable("The guest is busy with earlier requests.");
        self.requests.send_timeout((request, reply), UNPLUG).await.map_err(full)?;
        answer.await.map_err(gone)?
    }

    pub fn state(&self) -> PowerState {
        *self.state.borrow()
    }

    #[cfg(test)]
    pub async fn becomes(&self, state: PowerState) {
        self.state.clone().wait_for(|is| *is == state).await.unwrap();
    }

    /// Ends the guest, whatever it is doing, and waits until nothing of it runs.
    pub async fn kill(&self) -> Result<()> {
        self.process.kill();
        tokio::time::timeout(UNPLUG, self.process.exited())
            .await
            .map_err(|_| Error::new(Kind::Internal, format!("Process {} of the guest does not end.", self.process.pid)))
    }
}

impl Owner {
    async fn run(mut self, mut queue: mpsc::Receiver<(Request, oneshot::Sender<Result<()>>)>) {
        loop {
            let process = self.process.clone();
            tokio::select! {
                _ = process.exited() => break,
                event = self.events.recv() => match event {
                    Ok(event) => self.note(&event).await,
                    Err(broadcast::error::RecvError::Lagged(_)) => drop(self.look().await),
                    Err(broadcast::error::RecvError::Closed) => process.exited().await,
                },
                () = tokio::time::sleep(TRY_AGAIN), if self.is_stalled() => self.try_again().await,
                next = queue.recv() => {
                    let Some((request, reply)) = next else { break };
                    let outcome = self.act(request).await;
                    // whoever had it ended sees that it has
                    if process.exited().now_or_never().is_some() {
                        self.become_state(PowerState::Shutdown);
                    }
                    // who asked may have stopped waiting
                    let _ = reply.send(outcome);
                }
            }
        }
        self.become_state(PowerState::Shutdown);
    }

    async fn act(&mut self, request: Request) -> Result<()> {
        match request {
            Request::Resume => {
                self.held = false;
                self.qmp.execute("cont", json!({})).await?;
                self.look().await
            }
            Request::Pause => {
                self.held = true;
                self.qmp.execute("stop", json!({})).await?;
                self.look().await
            }
            Request::Suspend(files) => self.suspend(&files).await,
            Request::Stop(grace) => self.stop(grace).await,
            Request::AttachDisk(disk, keys) => self.attach_disk(&disk, keys).await,
            Request::DetachDisk(id) => self.detach_disk(&id).await,
            Request::ResizeDisk(id, bytes) => self.resize_disk(&id, bytes).await,
            Request::CopyDisk(id, to, must_quiesce) => self.copy_disk(&id, &to, must_quiesce).await,
            Request::ClearLeftovers => self.clear_leftovers().await,
            Request::Limit(disks) => self.limit_disks(&disks).await,
            Request::SwapDisk(id, new, keys) => self.swap_disk(&id, &new, keys).await,
            Request::Diagnose(answer) => {
                // who asked may have stopped waiting
                let _ = answer.send(self.diagnose().await?);
                Ok(())
            }
            Request::Depart(files, journey) => self.depart(&files, journey).await,
            Request::Land(run) => self.land(run).await,
            Request::Announce => self.announce().await,
            Request::Describe(answer) => {
                // as above
                let _ = answer.send(Slots::ask(&self.qmp).await?);
                Ok(())
            }
            Request::Nmi => self.qmp.execute("inject-nmi", json!({})).await.map(drop),
            Request::SetPassword { user, password } => match &self.agent {
                Some(agent) => agent::set_password(agent, &user, &password).await,
                None => Err(Error::new(Kind::NotImplemented, "QEMU guest agent is not enabled")),
            },
            Request::AttachNic(nic, model, tap) => self.attach_nic(&nic, model, &tap).await,
            Request::DetachNic(port) => self.detach_nic(&port).await,
        }
    }

    /// ACPI's power button first; force when the guest does not hear it.
    async fn stop(&mut self, grace: Duration) -> Result<()> {
        let deadline = Instant::now() + grace;
        while Instant::now() < deadline && *self.state.borrow() == PowerState::Running {
            // one that cannot be asked any more is ending already, or is ended by force below
            let _ = self.qmp.execute("system_powerdown", json!({})).await;
            // a guest that is still starting does not hear the button, so it is pressed again
            let patience = PRESS_AGAIN.min(deadline - Instant::now());
            if tokio::time::timeout(patience, self.process.exited()).await.is_ok() {
                return Ok(());
            }
        }
        self.process.kill();
        self.process.exited().await;
        Ok(())
    }

    async fn attach_nic(&mut self, nic: &Nic, model: VifModel, tap: &OwnedFd) -> Result<()> {
        if self.has_device(&args::nic_id(&nic.port_id)).await? {
            return Ok(());
        }
        let netdev = args::netdev_id(&nic.port_id);
        self.qmp.give(&netdev, tap).await?;
        self.qmp.execute("netdev_add", json!({"type": "tap", "id": netdev, "fd": netdev})).await?;
        let plugged = self.plug(args::nic_device(nic, model)).await;
        if plugged.is_err() {
            let _ = self.qmp.execute("netdev_del", json!({"id": netdev})).await;
        }
        plugged
    }

    async fn detach_nic(&mut self, port: &str) -> Result<()> {
        self.unplug(&args::nic_id(port)).await?;
        match self.qmp.execute("netdev_del", json!({"id": args::netdev_id(port)})).await {
            Err(error) if !error.message.contains("not found") => Err(error),
            _ => Ok(()),
        }
    }

    /// Puts a device into the first root port that is free: QEMU knows which are, so nobody else keeps a list. A machine without root ports, and
    /// a controller that the device names itself, find a place of their own.
    pub(super) async fn plug(&self, mut device: Value) -> Result<()> {
        if device.get("bus").is_some() || !self.has_device(&args::root_port(1)).await? {
            return self.qmp.execute("device_add", device).await.map(drop);
        }
        let mut port = 1;
        // without it QEMU would rather take the second slot of a port in use, where no guest looks
        device["addr"] = json!("0");
        loop {
            device["bus"] = json!(args::root_port(port));
            match self.qmp.execute("device_add", device.clone()).await {
                Err(error) if error.message.contains("in use by") || error.message.contains("not available") => port += 1,
                Err(error) if error.message.contains("not found") => {
                    return Err(Error::conflict("No more devices can be attached to this instance.").source(error));
                }
                done => return done.map(drop),
            }
        }
    }

    /// Takes a device out, and waits until the guest has let it go.
    pub(super) async fn unplug(&mut self, device: &str) -> Result<()> {
        let mut events = self.qmp.events();
        if !self.has_device(device).await? {
            return Ok(());
        }
        match self.qmp.execute("device_del", json!({"id": device})).await {
            // asked before, the guest is still thinking
            Err(error) if !error.message.contains("in the process of unplug") => return Err(error),
            _ => {}
        }
        let gone = async {
            while let Ok(event) = events.recv().await {
                if event.name == "DEVICE_DELETED" && event.data["device"] == device {
                    return;
                }
            }
        };
        // an event may be lost among too many, so the last word has QEMU itself
        let _ = tokio::time::timeout(UNPLUG, gone).await;
        match self.has_device(device).await? {
            false => Ok(()),
            true => Err(Error::conflict("The guest does not let the device go.")),
        }
    }

    pub(super) async fn has_device(&self, id: &str) -> Result<bool> {
        let devices = self.qmp.execute("qom-list", json!({"path": "/machine/peripheral"})).await?;
        Ok(devices.as_array().is_some_and(|devices| devices.iter().any(|device| device["name"] == id)))
    }

    async fn note(&self, event: &Event) {
        match event.name.as_str() {
            "STOP" | "RESUME" | "SUSPEND" | "WAKEUP" => drop(self.look().await),
            "GUEST_PANICKED" => self.become_state(PowerState::Crashed),
            "BLOCK_IO_ERROR" => {
                let (node, reason, action) = (&event.data["node-name"], &event.data["reason"], &event.data["action"]);
                let full = event.data["nospace"] == true;
                tracing::warn!(pid = self.process.pid, %node, %reason, %action, full, "a disk of the guest fails");
            }
            _ => {}
        }
    }

    /// Asks QEMU for the state.
    pub(super) async fn look(&self) -> Result<()> {
        let status = self.qmp.execute("query-status", json!({})).await?;
        let status = status["status"].as_str().unwrap_or_default();
        self.stalled.store(status == recover::FAILED, Ordering::Relaxed);
        self.become_state(match status {
            "running" => PowerState::Running,
            "suspended" => PowerState::Suspended,
            "shutdown" => PowerState::Shutdown,
            "guest-panicked" | "internal-error" => PowerState::Crashed,
            _ => PowerState::Paused,
        });
        Ok(())
    }

    fn become_state(&self, state: PowerState) {
        if self.state.send_replace(state) != state {
            self.changes.send_modify(|count| *count += 1);
        }
    }
}
