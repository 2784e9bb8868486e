//! Which QEMU is here, and which accelerator guests get.
//!
//! A host can have `/dev/kvm`, let a machine be made with it, run real and 32-bit mode, and still hang when a guest enters long mode. So
//! the only answer believed is that of a small kernel that does it and says so through its exit status. It is asked once a boot.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use kit::{Error, Result};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

/// The kernel; its source is beside it.
const LONG_MODE: &[u8] = include_bytes!("../../../probe/longmode.elf");
/// What QEMU exits with when the kernel writes 0x10.
const SUCCESS: i32 = 33;
const PATIENCE: Duration = Duration::from_secs(3);

/// What executes guests' instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Accel {
    Kvm,
    Tcg,
}

impl Accel {
    pub fn argument(self) -> &'static str {
        match self {
            Accel::Kvm => "kvm",
            // the translation cache would otherwise grow to an eighth of the guest's memory and more
            Accel::Tcg => "tcg,thread=multi,tb-size=64",
        }
    }

    pub fn cpu(self) -> &'static str {
        match self {
            Accel::Kvm => "host",
            // `max` costs a guest up to a second of boot time
            Accel::Tcg => "qemu64",
        }
    }
}

/// What the configuration says: `accel = auto|kvm|tcg`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccelChoice {
    #[default]
    Auto,
    Kvm,
    Tcg,
}

#[derive(Serialize, Deserialize)]
struct Verdict {
    boot_id: String,
    accel: Accel,
    reason: String,
}

/// Chooses as configured; `auto` asks the probe, or what it said since the host started.
pub async fn choose(choice: AccelChoice, state_dir: &Path) -> Result<Accel> {
    match choice {
        AccelChoice::Tcg => Ok(Accel::Tcg),
        AccelChoice::Kvm => match probe().await {
            Ok(()) => Ok(Accel::Kvm),
            Err(reason) => Err(Error::unavailable(format!("accel = kvm is configured, but KVM cannot be used here: {reason}."))),
        },
        AccelChoice::Auto => {
            let verdict = remembered_or_probed(state_dir).await;
            tracing::info!(accel = ?verdict.accel, reason = verdict.reason, "accelerator chosen");
            Ok(verdict.accel)
        }
    }
}

async fn remembered_or_probed(state_dir: &Path) -> Verdict {
    let boot_id = tokio::fs::read_to_string("/proc/sys/kernel/random/boot_id").await.unwrap_or_default().trim().to_owned();
    let file = state_dir.join("kvm-probe.json");
    let remembered = tokio::fs::read(&file).await.ok().and_then(|bytes| serde_json::from_slice::<Verdict>(&bytes).ok());
    if let Some(verdict) = remembered.filter(|verdict| verdict.boot_id == boot_id) {
        return verdict;
    }
    let (accel, reason) = match probe().await {
        Ok(()) => (Accel::Kvm, "a guest in long mode answered".to_owned()),
        Err(reason) => (Accel::Tcg, reason),
    };
    let verdict = Verdict { boot_id, accel, reason };
    if let Ok(bytes) = serde_json::to_vec(&verdict)
        && let Err(error) = tokio::fs::write(&file, bytes).await
    {
        tracing::warn!(%error, "the probe's answer cannot be kept; it will be asked again");
    }
    verdict
}

/// Runs the kernel under KVM with the CPU that guests will get.
async fn probe() -> std::result::Result<(), String> {
    if tokio::fs::metadata("/dev/kvm").await.is_err() {
        return Err("there is no /dev/kvm".into());
    }
    let kernel = std::env::temp_dir().join(format!("cumulo-probe-{}-{}", std::process::id(), kit::ids::hex()));
    tokio::fs::write(&kernel, LONG_MODE).await.map_err(|error| format!("the probe cannot be written: {error}"))?;
    let run = Command::new(super::BINARY)
        .args(["-M", "pc", "-accel", "kvm", "-cpu", Accel::Kvm.cpu(), "-m", "16", "-nodefaults", "-no-user-config", "-display", "none"])
        .args(["-no-reboot", "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-kernel"])
        .arg(&kernel)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .status();
    let outcome = match tokio::time::timeout(PATIENCE, run).await {
        Err(_) => Err("a guest hangs in long mode".to_owned()),
        Ok(Err(error)) => Err(format!("{} cannot be run: {error}", super::BINARY)),
        Ok(Ok(status)) if status.code() == Some(SUCCESS) => Ok(()),
        Ok(Ok(status)) => Err(format!("a guest in long mode failed: {status}")),
    };
    // a file of some kilobytes left in the temporary directory would harm nobody
    let _ = tokio::fs::remove_file(&kernel).await;
    outcome
}

/// `QEMU emulator version 7.2.22 (Debian ...)` as 7002022.
pub async fn version() -> Result<u32> {
    let asked = Command::new(super::BINARY).arg("--version").output();
    let output = asked.await.map_err(|error| Error::unavailable(format!("{} cannot be run: {error}", super::BINARY)))?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
        .ok_or_else(|| Error::unavailable(format!("{} does not tell its version.", super::BINARY)))
}

fn parse_version(text: &str) -> Option<u32> {
    let number = text.split_once("version ")?.1.split([' ', '\n']).next()?;
    let mut parts = number.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    Some(parts.next()? * 1_000_000 + parts.next()? * 1000 + parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers() {
        assert_eq!(parse_version("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)\nCopyright"), Some(7_002_022));
        assert_eq!(parse_version("QEMU emulator version 10.0.0\n"), Some(10_000_000));
        assert_eq!(parse_version("nothing"), None);
    }
}
