//! Guests that exist in memory only: instant, without root, honest about their power state.
//!
//! A whole cloud runs on it in tests and demos, a hundred hosts in one process, so a guest here is one entry in a map: no task, no
//! buffer. Tests may make it slow or make it fail.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use kit::{Error, Result};
use rpc::live_migration::{ABORTED, Landing, Progress, Urge};
use serde_json::Value;
use tokio::sync::watch;

use super::qemu::account::Account;
use super::{
    About, Awaited, Console, Diagnostics, Disk, DiskCounters, Guest, Hypervisor, Journey, Nic, NicCounters, PowerState, VifModel, traits,
};

/// A guest's memory moves to another host in so many parts, each of which takes so long.
const ROUNDS: i64 = 10;
const ROUND: Duration = Duration::from_millis(30);

/// A hypervisor that pretends.
pub struct Sim {
    guests: Mutex<HashMap<String, SimGuest>>,
    behaviour: Mutex<Behaviour>,
    changes: watch::Sender<u64>,
}

struct SimGuest {
    name: String,
    state: PowerState,
    boots: u32,
    /// Made, and never run since.
    fresh: bool,
    vcpus: u32,
    /// Bytes.
    memory: i64,
    disks: Vec<String>,
    nics: Vec<String>,
}

/// How the next guests behave.
#[derive(Clone, Debug, Default)]
pub struct Behaviour {
    pub boot_delay: Duration,
    /// Creating a guest fails with this sentence.
    pub fail_create: Option<String>,
}

impl Default for Sim {
    fn default() -> Sim {
        Sim { guests: Mutex::default(), behaviour: Mutex::default(), changes: watch::channel(0).0 }
    }
}

impl Sim {
    pub fn new() -> Sim {
        Sim::default()
    }

    /// Changes how guests behave from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        *self.behaviour.lock().unwrap_or_else(PoisonError::into_inner) = behaviour;
    }

    /// The guest powers itself off, as a user inside it could.
    pub fn power_off_inside(&self, id: &str) {
        if let Some(guest) = self.guests_mut().get_mut(id) {
            guest.state = PowerState::Shutdown;
        }
        self.changes.send_modify(|count| *count += 1);
    }

    fn guests_mut(&self) -> MutexGuard<'_, HashMap<String, SimGuest>> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn become_state(&self, id: &str, state: PowerState) -> Result<()> {
        self.with(id, |guest| guest.state = state)
    }

    /// Does something to a guest that must exist.
    fn with<T>(&self, id: &str, act: impl FnOnce(&mut SimGuest) -> T) -> Result<T> {
        self.guests_mut().get_mut(id).map(act).ok_or_else(|| Error::not_found(format!("Instance {id} could not be found.")))
    }
}

impl Hypervisor for Sim {
    fn about(&self) -> About {
        About { hypervisor_type: "fake".into(), version: 1_000_000, traits: traits::pretended("CUSTOM_CUMULO_SIM") }
    }

    fn disk_owner(&self) -> Option<Account> {
        None
    }

    fn adopt<'a>(&'a self, expected: &'a [(String, PowerState)]) -> BoxFuture<'a, Result<()>> {
        let mut guests = self.guests_mut();
        for (id, state) in expected {
            // what the cloud last knew is all there is to know of a simulated guest
            let guest = SimGuest {
                name: id.clone(),
                state: *state,
                boots: 1,
                fresh: false,
                vcpus: 1,
                memory: 0,
                disks: Vec::new(),
                nics: Vec::new(),
            };
            guests.entry(id.clone()).or_insert(guest);
        }
        Box::pin(async { Ok(()) })
    }

    fn create(&self, guest: Guest) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let behaviour = self.behaviour.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if !behaviour.boot_delay.is_zero() {
                tokio::time::sleep(behaviour.boot_delay).await;
            }
            if let Some(reason) = behaviour.fail_create {
                return Err(Error::unavailable(reason));
            }
            let (boots, fresh) = match self.guests_mut().get(&guest.id) {
                Some(old) => (old.boots, old.state != PowerState::Suspended),
                None => (0, true),
            };
            let made = SimGuest {
                name: guest.name,
                state: PowerState::Paused,
                boots,
                fresh,
                vcpus: guest.vcpus,
                memory: i64::try_from(guest.memory_mb << 20).unwrap_or(i64::MAX),
                disks: guest.disks.into_iter().map(|disk| disk.id).collect(),
                nics: guest.nics.into_iter().map(|nic| nic.port_id).collect(),
            };
            self.guests_mut().insert(guest.id, made);
            Ok(())
        })
    }

    fn pause<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>> {
        let done = self.become_state(id, PowerState::Paused);
        Box::pin(async { done })
    }

    fn suspend<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>> {
        let done = self.become_state(id, PowerState::Suspended);
        Box::pin(async { done })
    }

    fn resume<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>> {
        let done = self.with(id, |guest| {
            guest.boots += u32::from(std::mem::take(&mut guest.fresh));
            guest.state = PowerState::Running;
        });
        Box::pin(async { done })
    }

    fn stop<'a>(&'a self, id: &'a str, _grace: Duration) -> BoxFuture<'a, Result<()>> {
        self.destroy(id)
    }

    fn destroy<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>> {
        if let Some(guest) = self.guests_mut().get_mut(id) {
            guest.state = PowerState::Shutdown;
        }
        Box::pin(async { Ok(()) })
    }

    fn forget<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>> {
        self.guests_mut().remove(id);
        Box::pin(async { Ok(()) })
    }

    fn state(&self, id: &str) -> PowerState {
        self.guests_mut().get(id).map_or(PowerState::NoState, |guest| guest.state)
    }

    fn guests(&self) -> Vec<(String, PowerState)> {
        self.guests_mut().iter().map(|(id, guest)| (id.clone(), guest.state)).collect()
    }

    fn console<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<String>> {
        let text = self.with(id, |guest| console(&guest.name, guest.boots));
        Box::pin(async { text })
    }

    fn attach_disk<'a>(&'a self, id: &'a str, disk: Disk) -> BoxFuture<'a, Result<()>> {
        let done = self.with(id, |guest| {
            if !guest.disks.contains(&disk.id) {
                guest.disks.push(disk.id);
            }
        });
        Box::pin(async { done })
    }

    fn detach_disk<'a>(&'a self, id: &'a str, disk_id: &'a str) -> BoxFuture<'a, Result<()>> {
        let done = self.with(id, |guest| guest.disks.retain(|have| have != disk_id));
        Box::pin(async { done })
    }

    fn resize_disk<'a>(&'a self, id: &'a str, _disk_id: &'a str, _bytes: u64) -> BoxFuture<'a, Result<()>> {
        let done = self.with(id, |_| ());
        Box::pin(async { done })
    }

    fn copy_disk<'a>(&'a self, id: &'a str, _disk_id: &'a str, _to: &'a Path, _must_quiesce: bool) -> BoxFuture<'a, Result<()>> {
        let done = self.with(id, |_| ());
        Box::pin(async { done })
    }

    fn swap_disk<'a>(&'a self, id: &'a str, disk_id: &'a str, new: Disk) -> BoxFuture<'a, Result<()>> {
        let done = self.with(id, |guest| {
            guest.disks.retain(|have| have != disk_id && *have != new.id);
            guest.disks.push(new.id);
        });
        Box::pin(async { done })
    }

    fn plug<'a>(&'a self, _nic: &'a Nic) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn unplug<'a>(&'a self, _tap: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn attach_nic<'a>(&'a self, id: &'a str, nic: Nic, _model: VifModel) -> BoxFuture<'a, Result<()>> {
        let done = self.with(id, |guest| {
            if !guest.nics.contains(&nic.port_id) {
                guest.nics.push(nic.port_id);
            }
        });
        Box::pin(async { done })
    }

    fn detach_nic<'a>(&'a self, id: &'a str, port_id: &'a str) -> BoxFuture<'a, Result<()>> {
        let done = self.with(id, |guest| guest.nics.retain(|have| have != port_id));
        Box::pin(async { done })
    }

    fn diagnostics<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Diagnostics>> {
        let seen = self.with(id, |guest| Diagnostics {
            cpu_nanoseconds: vec![0; guest.vcpus as usize],
            disks: vec![DiskCounters::default(); guest.disks.len()],
            nics: vec![NicCounters::default(); guest.nics.len()],
            ..Diagnostics::default()
        });
        Box::pin(async { seen })
    }

    fn inject_nmi<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>> {
        let done = self.with(id, |_| ());
        Box::pin(async { done })
    }

    fn set_password<'a>(&'a self, id: &'a str, _user: &'a str, _password: &'a str) -> BoxFuture<'a, Result<()>> {
        let done = self.with(id, |_| ());
        Box::pin(async { done })
    }

    fn moves_guests(&self) -> bool {
        true
    }

    fn describe<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Value>> {
        let done = self.with(id, |_| Value::Null);
        Box::pin(async { done })
    }

    fn receive(&self, guest: Guest, _awaited: Awaited) -> BoxFuture<'_, Result<Landing>> {
        Box::pin(async move { self.create(guest).await.map(|()| Landing::default()) })
    }

    fn migrate<'a>(&'a self, id: &'a str, journey: Journey) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let total = self.with(id, |guest| guest.memory)?;
            for round in 1..=ROUNDS {
                let urge = *journey.urge.borrow();
                match urge {
                    Urge::None => tokio::time::sleep(ROUND).await,
                    Urge::Complete => {}
                    Urge::Abort => return Err(Error::conflict("The migration was aborted.").code(ABORTED)),
                }
                let processed = total / ROUNDS * round;
                let progress = Progress {
                    memory_total: total,
                    memory_processed: processed,
                    memory_remaining: total - processed,
                    ..Progress::default()
                };
                journey.progress.send_replace(progress);
            }
            self.become_state(id, PowerState::Paused)
        })
    }

    fn land<'a>(&'a self, id: &'a str, run: bool) -> BoxFuture<'a, Result<()>> {
        let done = self.with(id, |guest| {
            guest.fresh = false;
            guest.state = if run { PowerState::Running } else { PowerState::Paused };
        });
        Box::pin(async { done })
    }

    fn announce<'a>(&'a self, _id: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn console_socket(&self, _id: &str, _console: Console) -> Option<PathBuf> {
        None
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

/// What a guest that booted this many times would have written. Made when asked for.
fn console(name: &str, boots: u32) -> String {
    let boot = format!(
        "[    0.000000] Linux version 6.1.0-cumulo-sim\n[    0.000000] Command line: console=ttyS0\n\
         [    0.412000] virtio_blk virtio1: [vda] simulated disk\n[    0.498000] EXT4-fs (vda1): mounted filesystem\n\
         [    0.731000] {name}: simulated guest, nothing runs here\n\n{name} login: \n"
    );
    boot.repeat(boots.min(8) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hypervisor::{Hardware, Placement};

    fn guest(id: &str) -> Guest {
        Guest {
            id: id.into(),
            name: "instance-00000001".into(),
            vcpus: 1,
            memory_mb: 128,
            disks: vec![],
            boot_disk: None,
            nics: vec![],
            hardware: Hardware::default(),
            placement: Placement::default(),
        }
    }

    #[tokio::test]
    async fn a_guest_has_the_states_of_a_real_one() {
        let sim = Sim::new();
        assert_eq!(sim.state("a"), PowerState::NoState);
        sim.create(guest("a")).await.unwrap();
        assert_eq!(sim.state("a"), PowerState::Paused);
        sim.resume("a").await.unwrap();
        assert_eq!(sim.state("a"), PowerState::Running);
        assert_eq!(sim.console("a").await.unwrap().matches("login:").count(), 1);
        sim.stop("a", Duration::ZERO).await.unwrap();
        assert_eq!(sim.guests(), [("a".to_owned(), PowerState::Shutdown)]);
        sim.create(guest("a")).await.unwrap();
        sim.resume("a").await.unwrap();
        assert_eq!(sim.console("a").await.unwrap().matches("login:").count(), 2);
        sim.destroy("a").await.unwrap();
        sim.forget("a").await.unwrap();
        sim.destroy("a").await.unwrap();
        assert!(sim.resume("a").await.unwrap_err().is_not_found());
    }

    #[tokio::test]
    async fn it_fails_when_told_to() {
        let sim = Sim::new();
        sim.behave(Behaviour { fail_create: Some("no room".into()), ..Behaviour::default() });
        assert_eq!(sim.create(guest("a")).await.unwrap_err().message, "no room");
        assert_eq!(sim.state("a"), PowerState::NoState);
    }

    #[tokio::test]
    async fn it_remembers_what_the_cloud_remembers() {
        let sim = Sim::new();
        sim.adopt(&[("a".into(), PowerState::Running)]).await.unwrap();
        assert_eq!(sim.state("a"), PowerState::Running);
    }
}
