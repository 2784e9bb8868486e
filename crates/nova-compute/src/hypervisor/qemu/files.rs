//! Where the files of one instance are, and how to open them.
//!
//! The directory belongs to QEMU's user, and a guest that has broken out of QEMU is that user. So nothing there is opened by a link.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::libc;

/// The name of [`Files::vars`].
pub const VARS: &str = "uefi-vars";
/// The name of [`Files::tpm_state`].
pub const TPM_STATE: &str = "tpm";

/// The directory of an instance, and what lies in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    dir: PathBuf,
}

impl Files {
    pub fn new(dir: PathBuf) -> Files {
        Files { dir }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn pid(&self) -> PathBuf {
        self.dir.join("pid")
    }

    /// The control socket that this process uses.
    pub fn qmp(&self) -> PathBuf {
        self.dir.join("qmp.sock")
    }

    /// A second control socket, for people: QEMU serves one client per socket.
    pub fn diagnostics(&self) -> PathBuf {
        self.dir.join("diagnostics.sock")
    }

    /// What QEMU itself complains about.
    pub fn log(&self) -> PathBuf {
        self.dir.join("qemu.log")
    }

    pub fn serial(&self) -> PathBuf {
        self.dir.join("serial.sock")
    }

    /// Of a further serial port, from 1 on.
    pub fn serial_port(&self, number: u32) -> PathBuf {
        self.dir.join(format!("serial{number}.sock"))
    }

    pub fn vnc(&self) -> PathBuf {
        self.dir.join("vnc.sock")
    }

    /// The memory of a suspended guest.
    pub fn memory(&self) -> PathBuf {
        self.dir.join("memory")
    }

    /// Which device was where when it was suspended.
    pub fn slots(&self) -> PathBuf {
        self.dir.join("slots.json")
    }

    /// The port of the guest's agent.
    pub fn agent(&self) -> PathBuf {
        self.dir.join("agent.sock")
    }

    /// What the guest's UEFI firmware remembers.
    pub fn vars(&self) -> PathBuf {
        self.dir.join(VARS)
    }

    /// What the guest's trusted platform module holds.
    pub fn tpm_state(&self) -> PathBuf {
        self.dir.join(TPM_STATE)
    }

    pub fn tpm_socket(&self) -> PathBuf {
        self.dir.join("tpm.sock")
    }

    pub fn tpm_pid(&self) -> PathBuf {
        self.dir.join("tpm.pid")
    }

    /// All the guest writes to its serial port.
    pub fn console(&self) -> PathBuf {
        self.dir.join("console.log")
    }

    /// The end of what it wrote before `console` was last cut.
    pub fn old_console(&self) -> PathBuf {
        self.dir.join("console.log.1")
    }
}

/// Opens a regular file of an instance's directory to read it, or to cut it.
pub fn open_plain(path: &Path, write: bool) -> io::Result<File> {
    let file = OpenOptions::new().read(!write).write(write).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other(format!("{} is no regular file", path.display()))),
    }
}

/// Makes a file in an instance's directory that only we can read, in place of what was there.
pub fn create_plain(path: &Path) -> io::Result<File> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("secret"), dir.path().join("link"));
        std::fs::write(&target, "secret").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(open_plain(&link, false).is_err());
        assert!(open_plain(&link, true).is_err());
        create_plain(&link).unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"secret");
        assert!(open_plain(dir.path(), false).is_err());
    }
}
