//! A QEMU process: found by its pid file, recognised by its command line, watched by a pidfd.
//!
//! A guest survives us. The process that finds it again later stands no further from it than the one that started it.

use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use kit::daemons;
use nix::libc;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::files::open_plain;

/// A process that is certainly the one meant, also after its number is used again.
#[derive(Debug)]
pub struct Process {
    pub pid: i32,
    pidfd: AsyncFd<OwnedFd>,
}

impl Process {
    /// The process of a pid file, if it lives and its command line names the instance.
    pub fn find(pid_file: &Path, instance_id: &str) -> Option<Process> {
        let pid = read_pid(pid_file)?;
        // opened before its command line is read: from here on the number cannot come to mean another process
        let pidfd = pidfd_open(pid).ok()?;
        if !is_guest(&daemons::command_line(pid)?, instance_id) {
            return None;
        }
        Process::watch(pid, pidfd)
    }

    /// A child just started; nobody has waited for it yet, so its number is its own.
    pub fn of_child(pid: i32) -> Option<Process> {
        Process::watch(pid, pidfd_open(pid).ok()?)
    }

    fn watch(pid: i32, pidfd: OwnedFd) -> Option<Process> {
        #[allow(unsafe_code)] // the descriptor is owned by what registers it, so it stays open as long as it is registered
        let pidfd = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) }.ok()?;
        Some(Process { pid, pidfd })
    }

    /// Waits until the process has ended.
    pub async fn exited(&self) {
        // the only error is a runtime that shuts down, which ends the waiter as well
        let _ = self.pidfd.readable().await;
    }

    /// Ends it by force; it may have ended already.
    pub fn kill(&self) {
        let _ = pidfd_signal(self.pidfd.get_ref(), libc::SIGKILL);
    }
}

/// Ends the guest of a pid file and waits until it is gone, without a runtime: for clean-up. Answers whether there was one.
pub fn end_now(pid_file: &Path, instance_id: &str) -> bool {
    let Some((pid, pidfd)) = read_pid(pid_file).and_then(|pid| Some((pid, pidfd_open(pid).ok()?))) else { return false };
    if !daemons::command_line(pid).is_some_and(|line| is_guest(&line, instance_id)) {
        return false;
    }
    let _ = pidfd_signal(&pidfd, libc::SIGKILL);
    let mut waits = [nix::poll::PollFd::new(std::os::fd::AsFd::as_fd(&pidfd), nix::poll::PollFlags::POLLIN)];
    let _ = nix::poll::poll(&mut waits, 5_000u16);
    true
}

fn read_pid(pid_file: &Path) -> Option<i32> {
    let mut text = String::new();
    open_plain(pid_file, false).ok()?.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok().filter(|pid| *pid > 1)
}

/// Whether a command line is QEMU's for this instance.
fn is_guest(line: &[String], instance_id: &str) -> bool {
    let qemu = line.first().is_some_and(|program| program.contains("qemu-system"));
    qemu && line.iter().skip(1).any(|argument| argument == instance_id)
}

#[allow(unsafe_code)] // no safe wrapper of pidfd_open exists in our dependencies; the descriptor is owned from here on
fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, libc::PIDFD_NONBLOCK) };
    if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) }) }
}

#[allow(unsafe_code)] // as above; the null pointer is the documented "no siginfo"
fn pidfd_signal(pidfd: &OwnedFd, signal: i32) -> io::Result<()> {
    let done = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, std::ptr::null::<u8>(), 0) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_qemu_with_the_instance_is_the_guest() {
        let line = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert!(is_guest(&line(&["/usr/bin/qemu-system-x86_64", "-uuid", "abc"]), "abc"));
        assert!(!is_guest(&line(&["/usr/bin/qemu-system-x86_64", "-uuid", "abcd"]), "abc"));
        assert!(!is_guest(&line(&["vim", "abc"]), "abc"));
    }

    #[tokio::test]
    async fn a_stale_pid_file_finds_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        std::fs::write(&file, std::process::id().to_string()).unwrap();
        assert!(Process::find(&file, "abc").is_none());
        assert!(!end_now(&file, "abc"));
    }
}
