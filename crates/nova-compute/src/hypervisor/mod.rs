//! The driver seam: what a host can do with guests, whoever runs them.
//!
//! [`qemu`] runs real guests, [`sim`] pretends to, with the same states and the same honesty about them. A driver knows guests, disks and
//! interfaces; it knows nothing of images, ports, volumes or conductor, which `instances` sees to.

pub mod hardware;
pub mod qemu;
pub mod sim;
mod traffic;
mod traits;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::BoxFuture;
use kit::Result;
use rpc::live_migration::{Landing, Progress, Urge};
use rpc::numa::CpuSet;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;

pub use self::hardware::{DiskBus, DiskLimits, Hardware, VifModel};
use self::qemu::account::Account;
pub use self::traffic::{Diagnostics, DiskCounters, NicCounters};

/// What a host asks of its hypervisor. Every call may be repeated: what is already so is no error.
pub trait Hypervisor: Send + Sync + 'static {
    /// What it is, as inventory and traits tell it.
    fn about(&self) -> About;

    /// Who owns the files of guests; none where guests have none, and then no image is downloaded and no disk made.
    fn disk_owner(&self) -> Option<Account>;

    /// Takes over the guests of an earlier process. `expected` are the states the cloud last knew.
    fn adopt<'a>(&'a self, expected: &'a [(String, PowerState)]) -> BoxFuture<'a, Result<()>>;

    /// Makes the guest, stopped before its first instruction.
    fn create(&self, guest: Guest) -> BoxFuture<'_, Result<()>>;

    /// Stops the guest's processors; its memory stays.
    fn pause<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>>;

    /// Writes the guest's memory to disk and ends it. The next [`Hypervisor::create`] goes on from there, unless it is destroyed before.
    fn suspend<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>>;

    /// Lets the guest run.
    fn resume<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>>;

    /// Asks the guest to power off, and ends it when it has not within `grace`.
    fn stop<'a>(&'a self, id: &'a str, grace: Duration) -> BoxFuture<'a, Result<()>>;

    /// Ends the guest at once. Nothing of it runs when this answers.
    fn destroy<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>>;

    /// Forgets a guest that does not run.
    fn forget<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>>;

    fn state(&self, id: &str) -> PowerState;

    /// All guests it knows.
    fn guests(&self) -> Vec<(String, PowerState)>;

    /// What the guest wrote to its serial console, as far as it is kept.
    fn console<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<String>>;

    fn attach_disk<'a>(&'a self, id: &'a str, disk: Disk) -> BoxFuture<'a, Result<()>>;

    /// `disk_id` as in [`Disk::id`].
    fn detach_disk<'a>(&'a self, id: &'a str, disk_id: &'a str) -> BoxFuture<'a, Result<()>>;

    /// Shows a guest that runs that one of its disks grew.
    fn resize_disk<'a>(&'a self, id: &'a str, disk_id: &'a str, bytes: u64) -> BoxFuture<'a, Result<()>>;

    /// Copies a disk of a guest that runs, as it is at this moment, into a QCOW2 file of its size. The guest goes on meanwhile.
    /// One that `must_quiesce` is not copied while its file systems cannot be held still.
    fn copy_disk<'a>(&'a self, id: &'a str, disk_id: &'a str, to: &'a Path, must_quiesce: bool) -> BoxFuture<'a, Result<()>>;

    /// Copies a disk of a guest that runs to another, which the guest has in its place from then on.
    fn swap_disk<'a>(&'a self, id: &'a str, disk_id: &'a str, new: Disk) -> BoxFuture<'a, Result<()>>;

    /// Makes the host's end of an interface, before the guest has it.
    fn plug<'a>(&'a self, nic: &'a Nic) -> BoxFuture<'a, Result<()>>;

    /// Removes it.
    fn unplug<'a>(&'a self, tap: &'a str) -> BoxFuture<'a, Result<()>>;

    /// Of the model that the guest's image asks for.
    fn attach_nic<'a>(&'a self, id: &'a str, nic: Nic, model: VifModel) -> BoxFuture<'a, Result<()>>;

    fn detach_nic<'a>(&'a self, id: &'a str, port_id: &'a str) -> BoxFuture<'a, Result<()>>;

    fn diagnostics<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Diagnostics>>;

    /// Presses the NMI button.
    fn inject_nmi<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>>;

    /// Sets a user's password by the guest's agent.
    fn set_password<'a>(&'a self, id: &'a str, user: &'a str, password: &'a str) -> BoxFuture<'a, Result<()>>;

    /// Whether guests move to other hosts while they run.
    fn moves_guests(&self) -> bool;

    /// What a guest that runs is made of, in words for the driver of the host that shall receive it.
    fn describe<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Value>>;

    /// Makes a guest that waits for its memory and its disks, and answers where.
    fn receive(&self, guest: Guest, awaited: Awaited) -> BoxFuture<'_, Result<Landing>>;

    /// Sends a guest to where it is awaited, and tells how far it is. When this succeeds all of it is there, and it stands still here. When it
    /// fails it goes on here. One that was sent already by an earlier process is not sent again: it is told how that ended.
    fn migrate<'a>(&'a self, id: &'a str, journey: Journey) -> BoxFuture<'a, Result<()>>;

    /// A guest that was received goes on here; so does one that was sent and shall not go after all. Its peers are told where it is.
    fn land<'a>(&'a self, id: &'a str, run: bool) -> BoxFuture<'a, Result<()>>;

    /// Tells a guest's peers again where it is: they may not have been reached before.
    fn announce<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>>;

    /// The socket of a guest's screen or serial line, if it runs and has one.
    fn console_socket(&self, id: &str, console: Console) -> Option<PathBuf>;

    /// Told whenever a guest changed its state by itself.
    fn changes(&self) -> watch::Receiver<u64>;
}

/// A guest's way to another host.
pub struct Journey {
    /// Where it is awaited.
    pub landing: Landing,
    /// Whether an earlier process of ours may have begun it.
    pub begun: bool,
    /// What its owner wants of it meanwhile.
    pub urge: watch::Receiver<Urge>,
    /// Told how far it is.
    pub progress: watch::Sender<Progress>,
}

/// A guest that shall come.
#[derive(Clone, Debug)]
pub struct Awaited {
    /// As [`Hypervisor::describe`] told it.
    pub machine: Value,
    /// The address at which other hosts reach this one.
    pub address: String,
    /// The disks that come with it, by [`Disk::id`].
    pub disks: Vec<String>,
}

/// A hypervisor introduces itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// `QEMU`, `KVM` or `fake`
    pub hypervisor_type: String,
    /// 7.2.22 as 7002022
    pub version: u32,
    /// `COMPUTE_...` and `CUSTOM_...`
    pub traits: Vec<String>,
}

/// Power states with nova's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PowerState {
    NoState = 0,
    Running = 1,
    Paused = 3,
    Shutdown = 4,
    Crashed = 6,
    Suspended = 7,
}

impl PowerState {
    pub fn number(self) -> u8 {
        self as u8
    }

    pub fn from_number(number: u8) -> PowerState {
        match number {
            1 => PowerState::Running,
            3 => PowerState::Paused,
            4 => PowerState::Shutdown,
            6 => PowerState::Crashed,
            7 => PowerState::Suspended,
            _ => PowerState::NoState,
        }
    }
}

/// What a user may look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Console {
    /// The screen, which speaks RFB.
    Screen,
    /// The first serial line.
    Serial,
}

/// A guest to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guest {
    /// The server's id, also the guest's UUID.
    pub id: String,
    /// `instance-0000002a`
    pub name: String,
    pub vcpus: u32,
    pub memory_mb: u64,
    pub disks: Vec<Disk>,
    /// The disk to boot from, if it is not the first.
    pub boot_disk: Option<String>,
    pub nics: Vec<Nic>,
    pub hardware: Hardware,
    pub placement: Placement,
}

/// Where on its host a guest is; anywhere where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// Its NUMA nodes.
    pub cells: Vec<GuestCell>,
    /// The host's CPUs on which each of its own may run.
    pub vcpus: BTreeMap<u32, CpuSet>,
    /// Those for all its other threads.
    pub emulator: CpuSet,
}

/// A NUMA node of a guest, with memory of one of the host's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestCell {
    pub cpus: CpuSet,
    pub memory_mb: u64,
    /// The host's node.
    pub host: u32,
    /// Of large pages.
    pub page_kb: Option<u64>,
}

/// A disk of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Unique in the guest: `root`, `swap`, `config`, `eph0`, or the volume's id.
    pub id: String,
    pub source: DiskSource,
    pub bus: DiskBus,
    pub read_only: bool,
    /// Whether the guest sees a CD drive.
    pub cdrom: bool,
    /// Whether it may come and go while the guest runs.
    pub removable: bool,
    /// What the guest reads as the disk's serial number.
    pub serial: Option<String>,
    pub limits: DiskLimits,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskSource {
    File {
        path: PathBuf,
        format: DiskFormat,
    },
    /// A volume served over NBD.
    Nbd {
        server: NbdServer,
        export: String,
    },
    /// A volume of a Ceph cluster, which QEMU reaches by itself.
    Rbd(Box<RbdImage>),
}

/// An image in a Ceph pool, and how it is opened.
#[derive(Clone, PartialEq, Eq)]
pub struct RbdImage {
    pub pool: String,
    pub image: String,
    /// The monitors, each with its port.
    pub servers: Vec<(String, String)>,
    pub user: Option<String>,
    /// The user's, in base64.
    pub key: Option<String>,
    /// Of one that holds LUKS.
    pub passphrase: Option<String>,
}

impl std::fmt::Debug for RbdImage {
    /// Not for logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RbdImage({}/{})", self.pool, self.image)
    }
}

/// Where a volume is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NbdServer {
    /// On this host.
    Unix(PathBuf),
    /// On another, to those who have the key.
    Tcp { host: String, port: u16, key: Option<String> },
}

/// Formats that guests' disks have; images may come in more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskFormat {
    Raw,
    Qcow2,
}

impl DiskFormat {
    pub fn name(self) -> &'static str {
        match self {
            DiskFormat::Raw => "raw",
            DiskFormat::Qcow2 => "qcow2",
        }
    }
}

/// A network interface of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nic {
    pub port_id: String,
    pub mac: String,
    pub mtu: u32,
    /// The tap on the host.
    pub tap: String,
}
