//! The user that QEMU runs as: a guest that breaks out of QEMU finds itself there, and owns nothing but its own files.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use kit::{Error, Kind, Result};
use nix::unistd::{Uid, User};
use tokio::process::Command;

/// Made by [`ensure`] where there is none.
pub const USER: &str = "cumulo-qemu";
/// Taken where the other cannot be made; it shares files with whatever else runs as nobody.
const FALLBACK: &str = "nobody";

/// The user and group of QEMU processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    pub uid: u32,
    pub gid: u32,
}

impl Account {
    /// QEMU's own user when we are root, ourselves otherwise.
    pub fn find() -> Result<Account> {
        if !Uid::effective().is_root() {
            return Ok(Account { uid: Uid::effective().as_raw(), gid: nix::unistd::Gid::effective().as_raw() });
        }
        let named = |name| User::from_name(name).ok().flatten();
        let user = named(USER).or_else(|| named(FALLBACK));
        let user =
            user.ok_or_else(|| Error::new(Kind::Unavailable, format!("There is neither a user {USER} nor {FALLBACK} on this host.")))?;
        Ok(Account { uid: user.uid.as_raw(), gid: user.gid.as_raw() })
    }

    /// Lets a command run as this account; it must be started by root or by the account itself.
    pub fn apply(self, command: &mut Command) {
        if Uid::effective().is_root() {
            command.uid(self.uid).gid(self.gid);
        }
    }

    /// Gives a file or directory to this account.
    pub fn own(self, path: &Path) -> Result<()> {
        if Uid::effective().is_root() {
            std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid))?;
        }
        Ok(())
    }

    /// Makes a directory that nobody but this account (and root) can look into.
    pub fn private_dir(self, path: &Path) -> Result<()> {
        std::fs::create_dir_all(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))?;
        self.own(path)
    }

    /// Lets this account read a file or directory that stays root's: guests that share the account cannot change it for each other.
    pub fn may_read(self, path: &Path) -> Result<()> {
        let mode = if path.is_dir() { 0o750 } else { 0o640 };
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
        if Uid::effective().is_root() {
            std::os::unix::fs::chown(path, Some(0), Some(self.gid))?;
        }
        Ok(())
    }

    /// Lets this account pass through a directory of ours to what it owns below, without seeing what else is there. Fails, and says so, when
    /// a directory above is closed, for that one is not ours to open.
    pub fn pass_through(self, dir: &Path) -> Result<()> {
        if self.uid == Uid::effective().as_raw() {
            return Ok(());
        }
        let mode = std::fs::metadata(dir)?.permissions().mode();
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(mode | 0o001))?;
        match closed_above(dir) {
            Some(closed) => Err(Error::new(
                Kind::Unavailable,
                format!("QEMU's user cannot pass {}: allow it with chmod o+x, or choose another state directory.", closed.display()),
            )),
            None => Ok(()),
        }
    }
}

/// The first directory above `dir` through which others may not pass.
fn closed_above(dir: &Path) -> Option<PathBuf> {
    let closed = |path: &&Path| std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o001 == 0);
    dir.ancestors().skip(1).find(closed).map(Path::to_path_buf)
}

/// Makes the user where there is none and we may.
pub fn ensure() -> Result<()> {
    if !Uid::effective().is_root() || User::from_name(USER).ok().flatten().is_some() {
        return Ok(());
    }
    let made = std::process::Command::new("useradd")
        .args(["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", USER])
        .output();
    match made {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            tracing::warn!(why, "the user {USER} cannot be made; guests run as {FALLBACK}");
            Ok(())
        }
        Err(error) => {
            tracing::warn!(%error, "the user {USER} cannot be made; guests run as {FALLBACK}");
            Ok(())
        }
    }
}
