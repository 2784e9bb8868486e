//! From a plan to a guest that can be spoken to: each phase is a type, so none can be left out.
//!
//! ```text
//! Planned --launch--> Launched --connect--> Connected
//!                        ^
//!   find (adoption) -----+
//! ```

use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::process::Stdio;

use kit::{Error, Kind, Result};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::unistd::{Gid, Uid, setgid, setgroups, setsid, setuid};
use tokio::process::{Child, Command};

use super::account::Account;
use super::args::{self, Incoming};
use super::files::{Files, create_plain, open_plain};
use super::process::Process;
use super::qmp::Qmp;
use super::slots::Slots;
use super::{Accel, BINARY, Machine, nodes, suspend, tap};
use crate::hypervisor::Guest;

/// Everything that is needed to start, nothing started.
pub struct Planned {
    files: Files,
    arguments: Vec<String>,
    /// What QEMU is handed open.
    handed: Vec<OwnedFd>,
}

/// There is a QEMU process of this instance.
pub struct Launched {
    files: Files,
    pub process: Process,
}

/// It answers.
pub struct Connected {
    pub process: Process,
    pub qmp: Qmp,
}

impl Planned {
    /// Opens what the guest will be handed and writes its command line.
    /// One that `comes` from another host has its devices where they were there.
    pub fn new(guest: &Guest, machine: &Machine, account: Account, files: Files, comes: Option<Slots>) -> Result<Planned> {
        for left in [files.pid(), files.qmp(), files.diagnostics(), files.serial(), files.vnc()] {
            // of an earlier run; usually there is none
            let _ = std::fs::remove_file(left);
        }
        let open = |nic: &crate::hypervisor::Nic| {
            tap::open(&nic.tap, account.uid, nic.mtu)
                .map_err(|error| Error::new(Kind::Internal, format!("The tap {} cannot be opened: {error}", nic.tap)))
        };
        let taps = guest.nics.iter().map(open).collect::<Result<Vec<_>>>()?;
        let control: OwnedFd = UnixListener::bind(files.qmp())?.into();
        for disk in &guest.disks {
            for key in nodes::keys(disk) {
                key.write(&files, account)?;
            }
        }
        let (slots, memory, awaited) = match (comes, suspend::saved(&files)?) {
            (Some(slots), _) => (slots, None, Incoming::Awaited),
            (None, Some(saved)) => (saved.slots, Some(saved.memory), Incoming::None),
            (None, None) => (Slots::of(guest), None, Incoming::None),
        };
        let numbers = args::Handed {
            control: control.as_raw_fd(),
            taps: taps.iter().map(AsRawFd::as_raw_fd).collect(),
            incoming: memory.as_ref().map_or(awaited, |memory| Incoming::File(memory.as_raw_fd())),
        };
        let flash = machine.firmware.flash(guest.hardware.firmware)?;
        if let Some(flash) = flash {
            flash.prepare(&files, account)?;
        }
        let arguments = args::arguments(guest, (machine, flash), &files, &slots, &numbers);
        let handed = std::iter::once(control).chain(taps).chain(memory).collect();
        Ok(Planned { files, arguments, handed })
    }

    /// Starts QEMU as the account, in a session of its own. (Its `-daemonize` would need the `fork` that its sandbox denies.)
    pub fn launch(self, account: Account, accel: Accel) -> Result<Launched> {
        let mut command = Command::new(BINARY);
        command.args(&self.arguments).current_dir(self.files.dir());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(create_plain(&self.files.log())?);
        let groups = match accel {
            Accel::Kvm => group_of("/dev/kvm").into_iter().collect(),
            Accel::Tcg => Vec::new(),
        };
        become_guest(&mut command, self.handed, account, groups);
        let child = command.spawn().map_err(|error| Error::new(Kind::Unavailable, format!("{BINARY} cannot be run: {error}")))?;
        let process = child.id().and_then(|pid| Process::of_child(pid as i32));
        reap(child);
        match process {
            Some(process) => Ok(Launched { files: self.files, process }),
            None => Err(could_not_start(&self.files)),
        }
    }
}

impl Launched {
    /// The process of an earlier launch, if it lives.
    pub fn find(files: Files, instance_id: &str) -> Option<Launched> {
        let process = Process::find(&files.pid(), instance_id)?;
        Some(Launched { files, process })
    }

    /// Waits until it greets: its control socket exists before QEMU does.
    pub async fn connect(self) -> Result<Connected> {
        let control = self.files.qmp();
        tokio::select! {
            _ = self.process.exited() => Err(could_not_start(&self.files)),
            connected = Qmp::connect(&control) => Ok(Connected { process: self.process, qmp: connected? }),
        }
    }
}

/// QEMU's last words as an error.
fn could_not_start(files: &Files) -> Error {
    let mut said = String::new();
    if let Ok(log) = open_plain(&files.log(), false) {
        // what cannot be read is not told
        let _ = log.take(64 << 10).read_to_string(&mut said);
    }
    let why = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it did not say why");
    Error::new(Kind::Internal, format!("QEMU could not start: {}", why.trim()))
}

/// A child that has ended stays a zombie until its parent looks.
fn reap(mut child: Child) {
    tokio::spawn(async move { child.wait().await });
}

/// The group that may open a device, unless that is root's, which owns more than one.
fn group_of(device: &str) -> Option<Gid> {
    use std::os::unix::fs::MetadataExt;
    let gid = std::fs::metadata(device).ok()?.gid();
    (gid != 0).then(|| Gid::from_raw(gid))
}

/// Lets the child, and only the child, keep these descriptors under their numbers, leave our session, and be nobody but the account.
fn become_guest(command: &mut Command, fds: Vec<OwnedFd>, account: Account, groups: Vec<Gid>) {
    let root = Uid::effective().is_root();
    let change = move || {
        for fd in &fds {
            fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()))?;
        }
        setsid()?;
        if root {
            setgroups(&groups)?;
            setgid(Gid::from_raw(account.gid))?;
            setuid(Uid::from_raw(account.uid))?;
        }
        Ok(())
    };
    #[allow(unsafe_code)] // between fork and exec the closure makes system calls only: it neither allocates nor locks
    unsafe {
        command.pre_exec(change);
    }
}
