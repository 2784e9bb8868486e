//! The disks of a guest on its way to another host, served read-only until they were read once.
//!
//! One `qemu-nbd` for each disk, which ends by itself when its client leaves, and is ended by its pid file when none comes.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use kit::{Error, Kind, Result, daemons};
use tokio::process::Command;

use crate::host::Store;

const PROGRAM: &str = "qemu-nbd";
const PATIENCE: Duration = Duration::from_secs(20);
/// Of pid files.
const EXTENSION: &str = "nbd-pid";

/// Serves a disk to whoever can reach the address, and answers where. The caller's network keeps strangers from it.
pub async fn serve(store: &Store, address: &str, disk: &Path) -> Result<String> {
    let format = if disk.file_name().is_some_and(|name| name == super::disks::ROOT) { "qcow2" } else { "raw" };
    let pid_file = pid_file(disk);
    // a port nobody has at this moment; the start fails if somebody takes it, and is asked for again
    let port = std::net::TcpListener::bind((address, 0))?.local_addr()?.port();
    let mut command = Command::new(PROGRAM);
    command.args(["--read-only", "--fork", "--shared=1", "--format", format, "--bind", address, "--port", &port.to_string()]);
    command.arg("--pid-file").arg(&pid_file).arg(disk).stdin(Stdio::null()).stdout(Stdio::null()).current_dir("/");
    store.account.apply(&mut command);
    let output = tokio::time::timeout(PATIENCE, command.kill_on_drop(true).output()).await;
    let output = output.map_err(|_| Error::new(Kind::Internal, format!("{PROGRAM} did not start in time.")))??;
    match output.status.success() {
        true => Ok(format!("nbd://{address}:{port}")),
        false => {
            let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Err(Error::new(Kind::Internal, format!("{PROGRAM} failed: {why}")))
        }
    }
}

/// Of the server of a disk. A guest's disks differ in what follows the dot, so it is kept.
fn pid_file(disk: &Path) -> PathBuf {
    let mut name = disk.as_os_str().to_owned();
    name.push(".");
    name.push(EXTENSION);
    name.into()
}

/// Ends what still serves disks of a directory.
pub async fn end(dir: &Path) -> Result<()> {
    let mut entries = match tokio::fs::read_dir(dir).await {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    while let Some(entry) = entries.next_entry().await? {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != EXTENSION) {
            continue;
        }
        let pid_file = path.clone();
        let end = move || match daemons::read_pid(&pid_file) {
            Some(pid) => daemons::end(pid, PATIENCE, |line| is_ours(line, &pid_file)),
            None => true,
        };
        if !tokio::task::spawn_blocking(end).await.map_err(Error::internal)? {
            return Err(Error::internal(format!("{PROGRAM} does not end: {}", path.display())));
        }
        tokio::fs::remove_file(&path).await?;
    }
    Ok(())
}

/// Whether a process serves with this pid file.
fn is_ours(line: &[String], pid_file: &Path) -> bool {
    daemons::is_program(line, PROGRAM) && line.iter().any(|word| Path::new(word) == pid_file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_disk_of_a_guest_has_a_pid_file_of_its_own() {
        assert_eq!(pid_file(Path::new("/i/disk")), Path::new("/i/disk.nbd-pid"));
        assert_eq!(pid_file(Path::new("/i/disk.eph0")), Path::new("/i/disk.eph0.nbd-pid"));
    }
}
