//! Where the files of one instance are.

use std::path::{Path, PathBuf};

/// The longest path a UNIX socket may have, without the final zero.
pub const SOCKET_PATH: usize = 107;

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

    pub fn vnc(&self) -> PathBuf {
        self.dir.join("vnc.sock")
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
