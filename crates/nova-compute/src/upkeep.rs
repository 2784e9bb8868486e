//! Before the first guest and after the last: what the host must have, and how to remove all that was made on it.

use std::path::Path;

use crate::config::instances_dir;
use crate::hypervisor::qemu::files::Files;
use crate::hypervisor::qemu::{BINARY, account, cgroup, process, tap};

/// One sentence that says what is missing and what to do. Makes the user that QEMU runs as, where there is none.
pub fn preflight() -> Result<(), String> {
    for (program, package) in
        [(BINARY, "qemu-system-x86"), ("qemu-img", "qemu-utils"), ("mkfs.ext4", "e2fsprogs"), ("mkswap", "util-linux")]
    {
        if !kit::daemons::is_installed(program) {
            return Err(format!("{program} is missing: apt-get install {package}"));
        }
    }
    if !nix::unistd::geteuid().is_root() {
        return Err("Guests need root for their networks: run cumulo as root, or with --sim-hosts to simulate them.".into());
    }
    if !Path::new("/dev/net/tun").exists() {
        return Err("/dev/net/tun is missing: modprobe tun".into());
    }
    account::ensure().map_err(|error| error.to_string())
}

/// Ends all guests of a state directory; their disks stay.
pub fn cleanup_guests(state_dir: &Path) -> std::io::Result<()> {
    for id in instances(state_dir)? {
        process::end_now(&Files::new(instances_dir(state_dir).join(&id)).pid(), &id);
    }
    Ok(())
}

/// Ends all guests of a state directory and removes their taps, cgroups and files.
pub fn cleanup(state_dir: &Path) -> std::io::Result<()> {
    cleanup_guests(state_dir)?;
    let ids = instances(state_dir)?;
    for id in &ids {
        for name in crate::instances::recorded_taps(&instances_dir(state_dir).join(id)) {
            tap::remove(&name)?;
        }
    }
    cgroup::remove_all(&ids);
    match std::fs::remove_dir_all(instances_dir(state_dir)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn instances(state_dir: &Path) -> std::io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(instances_dir(state_dir)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    Ok(names.filter(|name| kit::ids::parse_uuid(name).is_some()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleaning_up_nothing_is_done_at_once() {
        let dir = tempfile::tempdir().unwrap();
        cleanup(dir.path()).unwrap();
        cleanup_guests(dir.path()).unwrap();
    }
}
