//! The trusted platform module of a guest: a `swtpm` of its own, whose state is a file among the guest's.
//!
//! It starts before its guest's QEMU and ends by itself when that hangs up, so a guest that is adopted has it still. What it holds travels
//! with a guest that moves while it runs; one that is off takes the file along.

use std::process::Stdio;
use std::time::Duration;

use kit::{Error, Kind, Result, daemons};
use serde_json::{Value, json};
use tokio::process::Command;

use super::account::Account;
use super::files::Files;
use crate::hypervisor::hardware::{Tpm, TpmVersion};

const PROGRAM: &str = "swtpm";
const PATIENCE: Duration = Duration::from_secs(10);
/// What QEMU calls it.
pub const ID: &str = "tpm";

pub fn is_installed() -> bool {
    daemons::is_installed(PROGRAM)
}

/// Starts it, if the guest is to have one.
pub async fn start(tpm: Option<Tpm>, files: &Files, account: Account) -> Result<()> {
    let Some(tpm) = tpm else { return Ok(()) };
    end(files).await?;
    let mut command = Command::new(PROGRAM);
    command.args(arguments(tpm, files)).current_dir(files.dir()).stdin(Stdio::null());
    account.apply(&mut command);
    let output = tokio::time::timeout(PATIENCE, command.kill_on_drop(true).output()).await;
    let output = output.map_err(|_| Error::new(Kind::Unavailable, format!("{PROGRAM} did not start in time.")))?;
    let output = output.map_err(|error| Error::unavailable(format!("{PROGRAM} cannot be run: {error}")))?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Err(Error::new(Kind::Internal, format!("{PROGRAM} failed: {why}")))
        }
    }
}

/// Ends one whose guest did not come, and waits for one whose guest has just gone.
pub async fn end(files: &Files) -> Result<()> {
    let pid_file = files.tpm_pid();
    let end = move || match daemons::read_pid(&pid_file) {
        Some(pid) => daemons::end(pid, PATIENCE, |line| is_ours(line, &format!("file={}", pid_file.display()))),
        None => true,
    };
    match tokio::task::spawn_blocking(end).await.map_err(Error::internal)? {
        true => Ok(()),
        false => Err(Error::internal(format!("{PROGRAM} does not end: {}", files.dir().display()))),
    }
}

/// The device, with what it stands on: `-chardev`, `-tpmdev`, `-device`.
pub fn device(tpm: Tpm, socket: &str) -> (String, String, Value) {
    let chardev = format!("socket,id={ID}-socket,path={socket}");
    (chardev, format!("emulator,id={ID},chardev={ID}-socket"), json!({"driver": tpm.model, "tpmdev": ID}))
}

fn arguments(tpm: Tpm, files: &Files) -> Vec<String> {
    let mut arguments = vec!["socket".to_owned()];
    match tpm.version {
        TpmVersion::V2_0 => arguments.push("--tpm2".into()),
        TpmVersion::V1_2 => {}
    }
    let pairs = [
        ("--tpmstate", format!("backend-uri=file://{},mode=0600", files.tpm_state().display())),
        ("--ctrl", format!("type=unixio,path={},mode=0600", files.tpm_socket().display())),
        ("--pid", format!("file={}", files.tpm_pid().display())),
    ];
    arguments.extend(pairs.into_iter().flat_map(|(name, value)| [name.to_owned(), value]));
    arguments.extend(["--terminate".to_owned(), "--daemon".to_owned()]);
    arguments
}

fn is_ours(line: &[String], pid_file: &str) -> bool {
    daemons::is_program(line, PROGRAM) && line.iter().any(|word| word == pid_file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_is_another_program_and_each_guest_has_its_own() {
        let line = |version| arguments(Tpm { version, model: "tpm-tis" }, &Files::new("/i".into()));
        let (old, new) = (line(TpmVersion::V1_2), line(TpmVersion::V2_0));
        assert!(new.contains(&"--tpm2".to_owned()) && !old.contains(&"--tpm2".to_owned()));
        assert!(old.contains(&"backend-uri=file:///i/tpm,mode=0600".to_owned()));
        let running: Vec<String> = [PROGRAM.to_owned()].into_iter().chain(old).collect();
        assert!(is_ours(&running, "file=/i/tpm.pid") && !is_ours(&running, "file=/other/tpm.pid"));
    }
}
