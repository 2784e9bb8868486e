//! One qemu-storage-daemon: its command line, its start, and how to find and end it by pid file and command line. It detaches itself, so it
//! lives on when this process dies.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use kit::{Error, Result, daemons};
use rpc::volume::Secret;
use serde_json::Value;
use tokio::process::Command;

use super::disk::{blocking, told};
use super::{Layout, escape, luks};
use crate::backend::Export;

const PROGRAM: &str = "qemu-storage-daemon";
/// How long a start may take, and an end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts the daemon of a volume; when this returns, its sockets answer, but not yet to [QEMU](let_in).
pub async fn start(layout: &Layout, exports: &[Export], key: Option<&Secret>) -> Result<()> {
    for path in [&layout.socket, &layout.qmp] {
        // the socket of a daemon that died is in the way of the next
        let _ = tokio::fs::remove_file(path).await;
    }
    let mut command = Command::new(PROGRAM);
    let disk = match (&layout.node, key) {
        (Some(node), _) => Some(node.clone()),
        (None, Some(_)) => Some(encrypted(layout).await?),
        (None, None) => None,
    };
    if key.is_some() {
        command.args(["--object", luks::OBJECT]);
    }
    command.args(arguments(layout, exports, disk)).env("LC_ALL", "C");
    let output = tokio::time::timeout(PATIENCE, told(command, key)).await;
    let output = output.map_err(|_| Error::unavailable("The storage daemon did not start in time."))??;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr).trim().chars().take(500).collect::<String>();
        return Err(Error::internal(format!("{PROGRAM} does not start: {words}")));
    }
    Ok(())
}

/// Lets QEMU's group open the socket of a daemon that runs. Blocks for a moment.
pub fn let_in(layout: &Layout, qemu_gid: Option<u32>) -> std::io::Result<()> {
    std::os::unix::fs::chown(&layout.socket, None, qemu_gid)?;
    std::fs::set_permissions(&layout.socket, std::fs::Permissions::from_mode(0o660))
}

/// The disk, and all it stands on, as a daemon that has the key is to open it.
async fn encrypted(layout: &Layout) -> Result<Value> {
    let disk = layout.disk.clone();
    blocking(move || luks::node(&disk)).await
}

/// The daemon's command line; `disk` describes what is not simply the file.
pub fn arguments(layout: &Layout, exports: &[Export], disk: Option<Value>) -> Vec<String> {
    let mut arguments = vec![
        "--daemonize".to_owned(),
        "--pidfile".to_owned(),
        layout.pid.to_string_lossy().into_owned(),
        "--chardev".to_owned(),
        format!("socket,id=monitor,path={},server=on,wait=off", escape(&layout.qmp)),
        "--monitor".to_owned(),
        "chardev=monitor".to_owned(),
    ];
    arguments.extend(match disk {
        None => vec![
            "--blockdev".to_owned(),
            format!("driver=file,node-name=file,filename={},discard=unmap", escape(&layout.disk)),
            "--blockdev".to_owned(),
            "driver=qcow2,node-name=volume,file=file,discard=unmap".to_owned(),
        ],
        Some(mut disk) => {
            disk["node-name"] = "volume".into();
            vec!["--blockdev".to_owned(), disk.to_string()]
        }
    });
    arguments.extend(["--nbd-server".to_owned(), format!("addr.type=unix,addr.path={},max-connections=0", escape(&layout.socket))]);
    for export in exports {
        let writable = if export.readonly { "off" } else { "on" };
        let (id, name) = (export_id(&export.attachment_id), &export.attachment_id);
        arguments.extend(["--export".to_owned(), format!("type=nbd,id={id},node-name=volume,name={name},writable={writable}")]);
    }
    arguments
}

/// QEMU wants identifiers that begin with a letter.
pub fn export_id(attachment_id: &str) -> String {
    format!("a-{attachment_id}")
}

/// The pid of the volume's daemon, if it runs.
pub fn running(layout: &Layout) -> Option<i32> {
    let pid = daemons::read_pid(&layout.pid)?;
    (pid_file_of(&daemons::command_line(pid)?)? == layout.pid.to_string_lossy()).then_some(pid)
}

/// Ends the volume's daemon if it runs, and removes its traces. Blocks until it is gone.
pub fn end(layout: &Layout) {
    if let Some(pid) = running(layout) {
        end_pid(pid, &layout.pid.to_string_lossy());
    }
    for path in [&layout.socket, &layout.qmp, &layout.pid] {
        // absent is as good as removed
        let _ = std::fs::remove_file(path);
    }
}

/// Ends the daemons of volumes below `state_dir` that `which` chooses, also of volumes whose files are gone.
pub fn end_all(state_dir: &Path, which: impl Fn(&str) -> bool) {
    let Ok(processes) = std::fs::read_dir("/proc") else { return };
    let volumes = state_dir.join("volumes");
    for pid in processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()) {
        let Some(pid_file) = daemons::command_line(pid).and_then(|line| pid_file_of(&line).map(str::to_owned)) else { continue };
        let Ok(inside) = Path::new(&pid_file).strip_prefix(&volumes) else { continue };
        let Some(volume_id) = inside.iter().next().and_then(|name| name.to_str()) else { continue };
        if which(volume_id) {
            tracing::info!(volume = volume_id, pid, "ending a storage daemon");
            end_pid(pid, &pid_file);
            end(&Layout::new(state_dir, volume_id));
        }
    }
}

/// The pid file in the command line of a storage daemon; nothing for any other process.
fn pid_file_of(line: &[String]) -> Option<&str> {
    let at = line.iter().position(|word| word == "--pidfile").filter(|_| daemons::is_program(line, PROGRAM))?;
    line.get(at + 1).map(String::as_str)
}

/// SIGTERM lets the daemon flush and close its file.
fn end_pid(pid: i32, pid_file: &str) {
    if !daemons::end(pid, PATIENCE, |line| pid_file_of(line) == Some(pid_file)) {
        tracing::warn!(pid, "a storage daemon does not end");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_names_each_export() {
        let layout = Layout::new(Path::new("/s,t"), "v");
        let line = arguments(&layout, &[Export { attachment_id: "1".into(), readonly: true, remote: false }], None).join(" ");
        assert!(line.contains("filename=/s,,t/volumes/v/disk.qcow2,discard=unmap"), "{line}");
        assert!(line.contains("--pidfile /s,t/volumes/v/nbd.pid"), "{line}");
        assert!(line.ends_with("--export type=nbd,id=a-1,node-name=volume,name=1,writable=off"), "{line}");
    }
}
