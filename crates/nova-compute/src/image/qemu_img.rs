//! `qemu-img`, run as the guests' user under limits of memory, time and file size: it reads what strangers wrote.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use kit::{Error, Kind, Result};
use nix::sys::resource::{Resource, setrlimit};
use serde_json::Value;
use tokio::process::Command;

use crate::hypervisor::DiskFormat;
use crate::hypervisor::qemu::account::Account;

const PROGRAM: &str = "qemu-img";
/// Nova's limits for the same: a gigabyte of memory, thirty seconds of processor.
const MEMORY: u64 = 1 << 30;
const CPU_SECONDS: u64 = 30;
const PATIENCE: Duration = Duration::from_secs(60);
/// Converting copies the whole disk.
const CONVERT_CPU_SECONDS: u64 = 1800;
const CONVERT_PATIENCE: Duration = Duration::from_secs(3600);

/// Asks QEMU what an image is and refuses one that it sees reach outside itself. The second opinion, after our own.
pub async fn check(account: Account, image: &Path, driver: &str) -> Result<u64> {
    let arguments =
        ["info".as_ref(), "--output=json".as_ref(), "--force-share".as_ref(), "-f".as_ref(), driver.as_ref(), image.as_os_str()];
    let info: Value = serde_json::from_slice(&run(account, &arguments, CPU_SECONDS, PATIENCE).await?)?;
    let reaches_out = info.get("backing-filename").is_some() || info.get("full-backing-filename").is_some();
    let specific = info.get("format-specific").map(|specific| &specific["data"]);
    let data_file = specific.is_some_and(|data| data.get("data-file").is_some());
    if reaches_out || data_file {
        return Err(Error::bad_request("The image is unacceptable: it refers to another file."));
    }
    info["virtual-size"].as_u64().ok_or_else(|| Error::bad_request("The image is unacceptable: it has no size."))
}

/// Makes an overlay that begins as `base` and has `size` bytes (that of the base if none).
pub async fn overlay(account: Account, disk: &Path, base: &Path, base_format: DiskFormat, size: Option<u64>) -> Result<()> {
    let size = size.map(|size| size.to_string());
    let mut arguments =
        vec!["create".as_ref(), "-q".as_ref(), "-f".as_ref(), "qcow2".as_ref(), "-b".as_ref(), base.as_os_str(), "-F".as_ref()];
    arguments.extend([base_format.name().as_ref(), disk.as_os_str()]);
    arguments.extend(size.as_deref().map(std::ffi::OsStr::new));
    run(account, &arguments, CPU_SECONDS, PATIENCE).await.map(drop)
}

/// Copies an image of another format into a QCOW2.
pub async fn convert(account: Account, from: &Path, driver: &str, to: &Path) -> Result<()> {
    convert_to(account, from, driver, to, DiskFormat::Qcow2).await
}

/// Copies an image, with all it stands on, into one that stands by itself.
pub async fn convert_to(account: Account, from: &Path, driver: &str, to: &Path, format: DiskFormat) -> Result<()> {
    let arguments =
        ["convert".as_ref(), "-f".as_ref(), driver.as_ref(), "-O".as_ref(), format.name().as_ref(), from.as_os_str(), to.as_os_str()];
    run(account, &arguments, CONVERT_CPU_SECONDS, CONVERT_PATIENCE).await.map(drop)
}

/// Copies what an NBD server serves.
pub async fn copy_from(account: Account, url: &str, to: &Path, format: &str) -> Result<()> {
    let arguments = ["convert".as_ref(), "-f".as_ref(), "raw".as_ref(), "-O".as_ref(), format.as_ref(), url.as_ref(), to.as_os_str()];
    run(account, &arguments, CONVERT_CPU_SECONDS, CONVERT_PATIENCE).await.map(drop)
}

/// Makes an empty QCOW2.
pub async fn create(account: Account, disk: &Path, size: u64) -> Result<()> {
    let size = size.to_string();
    let arguments = ["create".as_ref(), "-q".as_ref(), "-f".as_ref(), "qcow2".as_ref(), disk.as_os_str(), size.as_ref()];
    run(account, &arguments, CPU_SECONDS, PATIENCE).await.map(drop)
}

/// Bytes of a QCOW2's disk, also of one in use.
pub async fn virtual_size(account: Account, disk: &Path) -> Result<u64> {
    let info = info(account, disk).await?;
    info["virtual-size"].as_u64().ok_or_else(|| Error::internal("a disk without size"))
}

/// What a QCOW2 stands on, also one in use.
pub async fn backing(account: Account, disk: &Path) -> Result<Option<PathBuf>> {
    Ok(info(account, disk).await?["full-backing-filename"].as_str().map(PathBuf::from))
}

async fn info(account: Account, disk: &Path) -> Result<Value> {
    let arguments =
        ["info".as_ref(), "--output=json".as_ref(), "--force-share".as_ref(), "-f".as_ref(), "qcow2".as_ref(), disk.as_os_str()];
    Ok(serde_json::from_slice(&run(account, &arguments, CPU_SECONDS, PATIENCE).await?)?)
}

/// Grows a QCOW2 that is smaller.
pub async fn grow(account: Account, disk: &Path, size: u64) -> Result<()> {
    if virtual_size(account, disk).await? >= size {
        return Ok(());
    }
    let size = size.to_string();
    let arguments = ["resize".as_ref(), "-q".as_ref(), "-f".as_ref(), "qcow2".as_ref(), disk.as_os_str(), size.as_ref()];
    run(account, &arguments, CPU_SECONDS, PATIENCE).await.map(drop)
}

async fn run(account: Account, arguments: &[&std::ffi::OsStr], cpu_seconds: u64, patience: Duration) -> Result<Vec<u8>> {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true).current_dir("/");
    // each thread's arena would reserve a part of the address space that the limit leaves, until no further thread can begin
    command.env("MALLOC_ARENA_MAX", "1");
    account.apply(&mut command);
    #[allow(unsafe_code)] // between fork and exec the closure makes system calls only: it neither allocates nor locks
    unsafe {
        command.pre_exec(move || {
            setrlimit(Resource::RLIMIT_AS, MEMORY, MEMORY)?;
            setrlimit(Resource::RLIMIT_CPU, cpu_seconds, cpu_seconds)?;
            Ok(())
        });
    }
    let output = tokio::time::timeout(patience, command.output())
        .await
        .map_err(|_| Error::new(Kind::Internal, format!("{PROGRAM} did not finish in time.")))?
        .map_err(|error| Error::unavailable(format!("{PROGRAM} cannot be run: {error}")))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let why = said.lines().last().map_or_else(|| output.status.to_string(), |line| line.trim().to_owned());
    Err(Error::new(Kind::Internal, format!("A disk could not be prepared: {why}")))
}
