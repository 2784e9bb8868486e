//! Volumes for guests of other hosts: one `qemu-nbd` for each such use listens at this host's address and hands on to the volume's socket what
//! comes from who has the use's key (TLS with a pre-shared key). Detached, and found again by pid file and command line, as the daemon is.
//!
//! `STATE_DIR/nbd/gate-ATTACHMENT/`: the key, the port, which stays the same while the attachment lasts, and the pid.

use std::net::{IpAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use kit::{Error, Result, daemons};
use tokio::process::Command;

use super::disk::blocking;
use super::{Layout, escape};
use crate::backend::Export;

const PROGRAM: &str = "qemu-nbd";
/// Where QEMU looks for keys in a directory.
const KEYS: &str = "keys.psk";
/// Both ends call themselves so.
const USER: &str = "cumulo";
const PATIENCE: Duration = Duration::from_secs(10);
/// How often another port is tried when somebody took the one that was free.
const TRIES: usize = 5;

/// How this host lets others in.
#[derive(Clone, Debug)]
pub struct Gates {
    /// Where they reach it.
    pub address: IpAddr,
    /// The user and group that gates run as; our own when absent.
    pub account: Option<(u32, u32)>,
}

/// Where one use of a volume is let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    pub host: IpAddr,
    pub port: u16,
    /// Hexadecimal digits.
    pub key: String,
}

impl Gates {
    /// The gate of an export, opened if it is not.
    pub async fn open(&self, layout: &Layout, export: &Export) -> Result<Gate> {
        let dir = dir(layout, &export.attachment_id)?;
        let (gates, at) = (self.clone(), dir.clone());
        let (key, known) = blocking(move || gates.prepare(&at)).await?;
        if let (Some(port), true) = (known, running(&dir).is_some()) {
            return Ok(Gate { host: self.address, port, key });
        }
        let mut refusal = Error::internal("no port is free");
        for _ in 0..TRIES {
            let port = match known {
                Some(port) => port,
                None => TcpListener::bind((self.address, 0))?.local_addr()?.port(),
            };
            match self.start(layout, export, &dir, port).await {
                Ok(()) => {
                    tokio::fs::write(dir.join("port"), port.to_string()).await?;
                    return Ok(Gate { host: self.address, port, key });
                }
                Err(error) => refusal = error,
            }
        }
        Err(refusal)
    }

    /// Makes the directory with its key; answers that, and the port that an earlier start took.
    fn prepare(&self, dir: &Path) -> std::io::Result<(String, Option<u16>)> {
        let (key, port) = (dir.join(KEYS), dir.join("port"));
        if let Ok(written) = std::fs::read_to_string(&key)
            && let Some(known) = written.trim().strip_prefix(&format!("{USER}:"))
        {
            return Ok((known.to_owned(), std::fs::read_to_string(port).ok().and_then(|text| text.trim().parse().ok())));
        }
        std::fs::create_dir_all(dir)?;
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))?;
        let new = kit::ids::hex() + &kit::ids::hex();
        let part = dir.join("keys.part");
        write_private(&part, &new)?;
        if let Some((uid, gid)) = self.account {
            std::os::unix::fs::chown(dir, Some(uid), Some(gid))?;
            std::os::unix::fs::chown(&part, Some(uid), Some(gid))?;
        }
        std::fs::rename(part, key)?;
        Ok((new, None))
    }

    async fn start(&self, layout: &Layout, export: &Export, dir: &Path, port: u16) -> Result<()> {
        let mut command = Command::new(PROGRAM);
        command.args(arguments(layout, export, dir, self.address, port)).env("LC_ALL", "C").current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        if let Some((uid, gid)) = self.account {
            command.uid(uid).gid(gid);
        }
        let output = tokio::time::timeout(PATIENCE, command.output()).await;
        let output = output.map_err(|_| Error::unavailable(format!("{PROGRAM} did not start in time.")))??;
        match output.status.success() {
            true => Ok(()),
            false => {
                let words = String::from_utf8_lossy(&output.stderr).trim().chars().take(500).collect::<String>();
                Err(Error::internal(format!("{PROGRAM} does not start: {words}")))
            }
        }
    }
}

/// Writes the key of somebody else's gate into a directory for [`client`].
pub fn write_key(dir: &Path, key: &str) -> std::io::Result<()> {
    write_private(&dir.join(KEYS), key)
}

/// The object with which QEMU's programs pass a gate.
pub fn client(name: &str, dir: &Path) -> String {
    format!("tls-creds-psk,id={name},endpoint=client,username={USER},dir={}", escape(dir))
}

fn write_private(path: &Path, key: &str) -> std::io::Result<()> {
    std::fs::write(path, [])?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o400))?;
    std::fs::write(path, format!("{USER}:{key}\n"))
}

/// Ends the gate of an export if it has one. Blocks until it is gone.
pub fn end(layout: &Layout, attachment_id: &str) {
    if let Ok(dir) = dir(layout, attachment_id) {
        stop(&dir);
        // usually there is none
        let _ = std::fs::remove_dir_all(dir);
    }
}

/// Closes a gate for a moment: opened again, it shows the volume as it is then, on the same port.
pub fn close(layout: &Layout, attachment_id: &str) {
    if let Ok(dir) = dir(layout, attachment_id) {
        stop(&dir);
    }
}

/// Ends the gates below `state_dir` that `which` chooses by their attachments.
pub fn end_all(state_dir: &Path, which: impl Fn(&str) -> bool) {
    let Ok(entries) = std::fs::read_dir(state_dir.join("nbd")) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(attachment) = name.to_str().and_then(|name| name.strip_prefix("gate-")) else { continue };
        if which(attachment) {
            stop(&entry.path());
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn dir(layout: &Layout, attachment_id: &str) -> Result<PathBuf> {
    // ids become paths
    let id = kit::ids::parse_uuid(attachment_id).ok_or_else(|| Error::bad_request(format!("{attachment_id} is no attachment id.")))?;
    Ok(layout.socket.with_file_name(format!("gate-{id}")))
}

fn arguments(layout: &Layout, export: &Export, dir: &Path, address: IpAddr, port: u16) -> Vec<String> {
    let (name, socket) = (&export.attachment_id, escape(&layout.socket));
    let mut arguments: Vec<String> =
        ["--fork", "--persistent", "--shared=0", "--discard=unmap", "--tls-creds=key"].map(str::to_owned).into();
    arguments.extend(export.readonly.then(|| "--read-only".to_owned()));
    arguments.extend([
        pid_option(dir),
        format!("--bind={address}"),
        format!("--port={port}"),
        format!("--export-name={name}"),
        "--object".to_owned(),
        format!("tls-creds-psk,id=key,endpoint=server,dir={}", escape(dir)),
        "--image-opts".to_owned(),
        format!("driver=raw,file.driver=nbd,file.server.type=unix,file.server.path={socket},file.export={name},file.reconnect-delay=30"),
    ]);
    arguments
}

/// The word of its command line that tells whose gate it is.
fn pid_option(dir: &Path) -> String {
    format!("--pid-file={}", dir.join("pid").display())
}

fn is_gate(line: &[String], dir: &Path) -> bool {
    daemons::is_program(line, PROGRAM) && line.contains(&pid_option(dir))
}

/// The pid of the gate in a directory, if it runs.
fn running(dir: &Path) -> Option<i32> {
    daemons::read_pid(&dir.join("pid")).filter(|pid| daemons::command_line(*pid).is_some_and(|line| is_gate(&line, dir)))
}

fn stop(dir: &Path) {
    if let Some(pid) = running(dir)
        && !daemons::end(pid, PATIENCE, |line| is_gate(line, dir))
    {
        tracing::warn!(pid, "a volume's gate does not end");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_hands_on_to_the_socket_and_names_no_key() {
        let layout = Layout::new(Path::new("/s,t"), "v");
        let export = Export { attachment_id: kit::ids::uuid(), readonly: true, remote: true };
        let dir = dir(&layout, &export.attachment_id).unwrap();
        let line = arguments(&layout, &export, &dir, [10, 0, 0, 1].into(), 4711).join(" ");
        for part in
            ["--read-only", "--bind=10.0.0.1 --port=4711", "file.server.path=/s,,t/nbd/v.sock", "endpoint=server,dir=/s,,t/nbd/gate-"]
        {
            assert!(line.contains(part), "{part} is not in {line}");
        }
        assert!(super::dir(&layout, "../x").is_err());
    }
}
