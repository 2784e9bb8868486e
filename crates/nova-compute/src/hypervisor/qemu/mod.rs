//! Real guests, in QEMU, through its control protocol.
//!
//! A guest is a QEMU process of its own that outlives us; a task here owns it ([`guest`]). Its life begins in [`launch`], whose phases are
//! types; its command line is pure data ([`args`]). A guest that is off is a directory without process.

pub mod account;
mod affinity;
mod agent;
mod args;
mod arrive;
pub mod cgroup;
mod console;
mod depart;
mod devices;
mod diagnose;
#[cfg(test)]
mod fake;
pub mod files;
pub mod firmware;
mod guest;
mod launch;
mod mirror;
mod nodes;
pub mod probe;
pub mod process;
mod processor;
mod qmp;
mod recover;
mod secure;
mod slots;
mod storage;
mod suspend;
pub mod tap;
mod tpm;
mod travel;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures::future::BoxFuture;
use kit::{Error, Kind, Result};
use rpc::live_migration::Landing;
use serde_json::Value;
use tokio::sync::{oneshot, watch};

use self::account::Account;
use self::cgroup::{Cgroups, Limits};
use self::files::Files;
use self::firmware::Installed;
use self::guest::{GuestHandle, Request};
use self::launch::{Launched, Planned};
pub use self::probe::{Accel, AccelChoice};
use self::slots::Slots;
use super::{About, Awaited, Console, Diagnostics, Disk, Guest, Hypervisor, Journey, Nic, Placement, PowerState, VifModel, traits};

/// The program.
pub const BINARY: &str = "qemu-system-x86_64";
/// How often consoles are looked at for their length.
const TEND: Duration = Duration::from_secs(10);

/// The kind of machine guests get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    pub accel: Accel,
    /// 7.2.22 as 7002022
    pub version: u32,
    pub firmware: Installed,
    /// Whether guests can have a trusted platform module.
    pub tpm: bool,
}

/// The QEMU driver of a host.
pub struct Qemu {
    machine: Machine,
    account: Account,
    cgroups: Cgroups,
    /// The directories of all instances, by id.
    instances: PathBuf,
    /// Those that run.
    running: Mutex<HashMap<String, GuestHandle>>,
    changes: watch::Sender<u64>,
}

impl Qemu {
    /// Finds out what this host can do. Instances live below `instances`.
    pub async fn open(choice: AccelChoice, state_dir: &Path, instances: &Path) -> Result<Arc<Qemu>> {
        // of all the sockets of a guest it has the longest name
        kit::files::fits_socket(&Files::new(instances.join(kit::ids::uuid())).diagnostics())?;
        let version = probe::version().await?;
        let accel = probe::choose(choice, state_dir).await?;
        let account = Account::find()?;
        std::fs::create_dir_all(instances)?;
        account.pass_through(state_dir)?;
        account.pass_through(instances)?;
        let cgroups = Cgroups::detect();
        let machine = Machine { accel, version, firmware: Installed::find(), tpm: tpm::is_installed() };
        tracing::info!(version, ?accel, uid = account.uid, cgroups = cgroups.name(), "QEMU is ready");
        let qemu = Arc::new(Qemu {
            machine,
            account,
            cgroups,
            instances: instances.to_owned(),
            running: Mutex::default(),
            changes: watch::channel(0).0,
        });
        tokio::spawn(tend(Arc::downgrade(&qemu)));
        Ok(qemu)
    }

    fn files(&self, id: &str) -> Files {
        Files::new(self.instances.join(id))
    }

    fn running(&self) -> MutexGuard<'_, HashMap<String, GuestHandle>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The guest if it has a process; a handle of one that ended is dropped on the way.
    fn live(&self, id: &str) -> Option<GuestHandle> {
        let mut running = self.running();
        let handle = running.get(id)?.clone();
        if handle.state() == PowerState::Shutdown {
            running.remove(id);
            return None;
        }
        Some(handle)
    }

    fn must_live(&self, id: &str) -> Result<GuestHandle> {
        self.live(id).ok_or_else(|| Error::conflict(format!("The guest of instance {id} does not run.")))
    }

    async fn start(&self, guest: Guest) -> Result<()> {
        if self.live(&guest.id).is_some() {
            return Ok(());
        }
        let files = self.files(&guest.id);
        self.account.private_dir(files.dir())?;
        let launched = match Launched::find(files.clone(), &guest.id) {
            Some(launched) => launched,
            None => self.launch(&guest, files, None).await?,
        };
        let pid = launched.process.pid;
        self.confine(&guest, pid);
        self.take(&guest.id, launched, Some(&guest.placement)).await?;
        self.limit_disks(&guest).await?;
        tracing::info!(instance = guest.id, pid, "guest made");
        Ok(())
    }

    /// Starts the processes of a guest that has none. One that `comes` from another host has its devices where they were there.
    async fn launch(&self, guest: &Guest, files: Files, comes: Option<Slots>) -> Result<Launched> {
        if guest.hardware.tpm.is_some() && !self.machine.tpm {
            return Err(Error::unavailable("Emulated TPM support is not enabled on this host."));
        }
        tpm::start(guest.hardware.tpm, &files, self.account).await?;
        let planned = Planned::new(guest, &self.machine, self.account, files.clone(), comes);
        let launched = planned.and_then(|planned| planned.launch(self.account, self.machine.accel));
        if launched.is_err() {
            tpm::end(&files).await?;
        }
        launched
    }

    fn confine(&self, guest: &Guest, pid: i32) {
        let limits = Limits { memory_mb: guest.memory_mb, vcpus: guest.vcpus, cpu: guest.hardware.cpu_limits };
        if let Err(error) = self.cgroups.confine(&guest.id, pid, limits) {
            tracing::warn!(instance = guest.id, %error, "the guest runs without limits of its own");
        }
    }

    async fn limit_disks(&self, guest: &Guest) -> Result<()> {
        self.must_live(&guest.id)?.ask(Request::Limit(guest.disks.clone())).await
    }

    /// The keys of a disk that needs some, written down, as objects for QEMU.
    fn keys_of(&self, id: &str, disk: &Disk) -> Result<Vec<Value>> {
        let files = self.files(id);
        let keys = nodes::keys(disk);
        keys.iter().map(|key| key.write(&files, self.account).map(|()| key.object(&files))).collect()
    }

    /// Takes a process into care; one that cannot be spoken to is ended, for nobody could ever end it otherwise.
    async fn take(&self, id: &str, launched: Launched, placement: Option<&Placement>) -> Result<()> {
        let files = self.files(id);
        let agent = files.agent();
        let own = async {
            let connected = launched.connect().await?;
            if let Some(placement) = placement {
                affinity::bind(&connected.qmp, connected.process.pid, placement).await?;
            }
            if !suspend::is_suspended(&files) && suspend::is_incoming(&connected.qmp).await? {
                return Err(Error::conflict("Nobody waits any more for this guest to arrive."));
            }
            GuestHandle::own(connected, agent.exists().then_some(agent), self.changes.clone()).await
        };
        match own.await {
            Ok(handle) => {
                // it has its memory back
                suspend::forget(&files);
                self.running().insert(id.to_owned(), handle);
                Ok(())
            }
            Err(error) => {
                self.end_by_pid_file(id).await;
                Err(error)
            }
        }
    }

    async fn end_by_pid_file(&self, id: &str) {
        if let Some(process) = process::Process::find(&self.files(id).pid(), id) {
            process.kill();
            process.exited().await;
        }
        if let Err(error) = tpm::end(&self.files(id)).await {
            tracing::error!(instance = id, %error, "the guest's trusted platform module could not be ended");
        }
    }

    /// Ids of the instances that have a directory.
    fn known(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(&self.instances) else { return Vec::new() };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(|name| kit::ids::parse_uuid(name).as_deref() == Some(name)).collect()
    }
}

impl Hypervisor for Qemu {
    fn about(&self) -> About {
        let (hypervisor_type, accel) = match self.machine.accel {
            Accel::Kvm => ("KVM", "CUSTOM_CUMULO_KVM"),
            Accel::Tcg => ("QEMU", "CUSTOM_CUMULO_TCG"),
        };
        About { hypervisor_type: hypervisor_type.into(), version: self.machine.version, traits: traits::of(&self.machine, accel) }
    }

    fn disk_owner(&self) -> Option<Account> {
        Some(self.account)
    }

    fn adopt<'a>(&'a self, _expected: &'a [(String, PowerState)]) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            for id in self.known() {
                let Some(launched) = Launched::find(self.files(&id), &id) else { continue };
                let pid = launched.process.pid;
                match self.take(&id, launched, None).await {
                    Ok(()) => {
                        tracing::info!(instance = id, pid, "guest adopted");
                        if let Err(error) = self.must_live(&id)?.ask(Request::ClearLeftovers).await {
                            tracing::warn!(instance = id, %error, "something of an earlier process may be left in the guest");
                        }
                    }
                    Err(error) => tracing::error!(instance = id, pid, %error, "guest could not be adopted, so it was ended"),
                }
            }
            Ok(())
        })
    }

    fn create(&self, guest: Guest) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.start(guest))
    }

    fn pause<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.must_live(id)?.ask(Request::Pause).await })
    }

    fn suspend<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            match self.live(id) {
                Some(guest) => guest.ask(Request::Suspend(self.files(id))).await,
                None if self.state(id) == PowerState::Suspended => Ok(()),
                None => self.must_live(id).map(drop),
            }
        })
    }

    fn resume<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.must_live(id)?.ask(Request::Resume).await })
    }

    fn stop<'a>(&'a self, id: &'a str, grace: Duration) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            match self.live(id) {
                Some(guest) => guest.ask(Request::Stop(grace)).await.or_else(|error| match self.live(id) {
                    // it ended by itself meanwhile
                    None => Ok(()),
                    Some(_) => Err(error),
                }),
                None => Ok(()),
            }
        })
    }

    fn destroy<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let handle = self.running().remove(id);
            match handle {
                Some(guest) => guest.kill().await?,
                None => self.end_by_pid_file(id).await,
            }
            suspend::forget(&self.files(id));
            self.cgroups.release(id);
            Ok(())
        })
    }

    fn forget<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.cgroups.release(id);
            match tokio::fs::remove_dir_all(self.files(id).dir()).await {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
                _ => Ok(()),
            }
        })
    }

    fn state(&self, id: &str) -> PowerState {
        match self.live(id) {
            Some(guest) => guest.state(),
            None if suspend::is_suspended(&self.files(id)) => PowerState::Suspended,
            None if self.files(id).dir().exists() => PowerState::Shutdown,
            None => PowerState::NoState,
        }
    }

    fn guests(&self) -> Vec<(String, PowerState)> {
        let known = self.known();
        known.into_iter().map(|id| (id.clone(), self.state(&id))).collect()
    }

    fn console<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<String>> {
        let files = self.files(id);
        Box::pin(async move { tokio::task::spawn_blocking(move || Ok(console::read(&files)?)).await.map_err(Error::internal)? })
    }

    fn attach_disk<'a>(&'a self, id: &'a str, disk: Disk) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let keys = self.keys_of(id, &disk)?;
            self.must_live(id)?.ask(Request::AttachDisk(disk, keys)).await
        })
    }

    fn detach_disk<'a>(&'a self, id: &'a str, disk_id: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            match self.live(id) {
                Some(guest) => guest.ask(Request::DetachDisk(disk_id.to_owned())).await,
                None => Ok(()),
            }
        })
    }

    fn resize_disk<'a>(&'a self, id: &'a str, disk_id: &'a str, bytes: u64) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.must_live(id)?.ask(Request::ResizeDisk(disk_id.to_owned(), bytes)).await })
    }

    fn copy_disk<'a>(&'a self, id: &'a str, disk_id: &'a str, to: &'a Path, must_quiesce: bool) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.must_live(id)?.ask(Request::CopyDisk(disk_id.to_owned(), to.to_owned(), must_quiesce)).await })
    }

    fn swap_disk<'a>(&'a self, id: &'a str, disk_id: &'a str, new: Disk) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let keys = self.keys_of(id, &new)?;
            self.must_live(id)?.ask(Request::SwapDisk(disk_id.to_owned(), new, keys)).await
        })
    }

    fn plug<'a>(&'a self, nic: &'a Nic) -> BoxFuture<'a, Result<()>> {
        let made = tap::make(&nic.tap, self.account.uid, nic.mtu)
            .map_err(|error| Error::new(Kind::Internal, format!("The tap {} cannot be made: {error}", nic.tap)));
        Box::pin(async { made })
    }

    fn unplug<'a>(&'a self, tap: &'a str) -> BoxFuture<'a, Result<()>> {
        let removed = tap::remove(tap).map_err(|error| Error::new(Kind::Internal, format!("The tap {tap} cannot be removed: {error}")));
        Box::pin(async { removed })
    }

    fn attach_nic<'a>(&'a self, id: &'a str, nic: Nic, model: VifModel) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let guest = self.must_live(id)?;
            let fd = tap::open(&nic.tap, self.account.uid, nic.mtu)?;
            guest.ask(Request::AttachNic(nic, model, fd)).await
        })
    }

    fn detach_nic<'a>(&'a self, id: &'a str, port_id: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            match self.live(id) {
                Some(guest) => guest.ask(Request::DetachNic(port_id.to_owned())).await,
                None => Ok(()),
            }
        })
    }

    fn diagnostics<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Diagnostics>> {
        Box::pin(async move {
            let Some(guest) = self.live(id) else { return Ok(Diagnostics::default()) };
            let (reply, answer) = oneshot::channel();
            guest.ask(Request::Diagnose(reply)).await?;
            answer.await.map_err(|_| Error::conflict("The guest has ended."))
        })
    }

    fn inject_nmi<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.must_live(id)?.ask(Request::Nmi).await })
    }

    fn set_password<'a>(&'a self, id: &'a str, user: &'a str, password: &'a str) -> BoxFuture<'a, Result<()>> {
        let request = Request::SetPassword { user: user.to_owned(), password: password.to_owned() };
        Box::pin(async move { self.must_live(id)?.ask(request).await })
    }

    fn moves_guests(&self) -> bool {
        true
    }

    fn describe<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Value>> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            self.must_live(id)?.ask(Request::Describe(reply)).await?;
            let slots = answer.await.map_err(|_| Error::conflict("The guest has ended."))?;
            Ok(serde_json::to_value(slots)?)
        })
    }

    fn receive(&self, guest: Guest, awaited: Awaited) -> BoxFuture<'_, Result<Landing>> {
        Box::pin(self.expect(guest, awaited))
    }

    fn migrate<'a>(&'a self, id: &'a str, journey: Journey) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.send(id, journey))
    }

    fn land<'a>(&'a self, id: &'a str, run: bool) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.must_live(id)?.ask(Request::Land(run)).await })
    }

    fn announce<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.must_live(id)?.ask(Request::Announce).await })
    }

    fn console_socket(&self, id: &str, console: Console) -> Option<PathBuf> {
        self.live(id)?;
        let files = self.files(id);
        Some(match console {
            Console::Screen => files.vnc(),
            Console::Serial => files.serial(),
        })
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

/// Keeps consoles short for as long as there is a driver.
async fn tend(qemu: Weak<Qemu>) {
    loop {
        tokio::time::sleep(TEND).await;
        let Some(qemu) = qemu.upgrade() else { return };
        let all: Vec<Files> = qemu.known().iter().map(|id| qemu.files(id)).collect();
        let rotated = tokio::task::spawn_blocking(move || {
            for files in all {
                if let Err(error) = console::rotate(&files) {
                    tracing::warn!(dir = %files.dir().display(), %error, "a console log cannot be cut");
                }
            }
        });
        // a panic there would be logged by the runtime; the next round tries again
        let _ = rotated.await;
    }
}
