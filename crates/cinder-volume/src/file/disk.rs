//! The file of a volume while nobody serves it: made, grown, copied, removed by `qemu-img` in a child with limits. A new disk is made
//! under another name, synced, and renamed, so that it is whole or absent whatever happens.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use kit::{Error, Result};
use serde_json::Value;
use tokio::process::Command;

use super::{GIB, Layout, inspect};
use crate::image::Image;

/// An image that makes `qemu-img` take more than this is not one to be believed: seconds of CPU, KiB of address space.
const LIMITS: &str = "ulimit -t 1200; ulimit -v 2097152; exec qemu-img \"$@\"";
const PATIENCE: Duration = Duration::from_secs(3600);

/// An empty disk.
pub async fn create(layout: &Layout, bytes: u64) -> Result<()> {
    make(layout, async |path| {
        let size = bytes.to_string();
        qemu_img(["create", "-q", "-f", "qcow2"].map(OsStr::new).into_iter().chain([path.as_os_str(), OsStr::new(&size)])).await.map(drop)
    })
    .await
}

/// A disk that holds an image.
pub async fn from_image(layout: &Layout, image: &Image, bytes: u64) -> Result<()> {
    make(layout, async |path| {
        let file = layout.dir.join("image.part");
        image.fetch(&file).await?;
        let format = inspect::format(image.info.disk_format.as_deref().unwrap_or_default())?;
        let found = info(&file, Some(format)).await?;
        inspect::check(&found, format, &file, bytes)?;
        convert(&["-f", format], &file, path).await?;
        resize(path, bytes).await?;
        Ok(tokio::fs::remove_file(&file).await?)
    })
    .await
}

/// A disk that holds what another holds, or held at a snapshot.
pub async fn clone(layout: &Layout, source: &Layout, snapshot: Option<&str>, bytes: u64) -> Result<()> {
    make(layout, async |path| {
        match snapshot {
            // a snapshot's clusters never change, so it can be read below a daemon that writes
            Some(id) => convert(&["-U", "-f", "qcow2", "-l", &format!("snapshot.name={id}")], &source.disk, path).await?,
            None => convert(&["-f", "qcow2"], &source.disk, path).await?,
        }
        resize(path, bytes).await
    })
    .await
}

/// Grows a disk; one that is as large already stays.
pub async fn resize(disk: &Path, bytes: u64) -> Result<()> {
    let have = info(disk, Some("qcow2")).await?["virtual-size"].as_u64().unwrap_or_default();
    if have >= bytes {
        return Ok(());
    }
    let size = bytes.to_string();
    qemu_img(["resize", "-q", "-f", "qcow2"].map(OsStr::new).into_iter().chain([disk.as_os_str(), OsStr::new(&size)])).await?;
    sync(disk.to_owned()).await
}

/// Keeps what the disk holds under a name.
pub async fn snapshot(disk: &Path, name: &str) -> Result<()> {
    if has_snapshot(disk, name).await? {
        return Ok(());
    }
    qemu_img(["snapshot", "-q", "-c", name].map(OsStr::new).into_iter().chain([disk.as_os_str()])).await?;
    sync(disk.to_owned()).await
}

pub async fn delete_snapshot(disk: &Path, name: &str) -> Result<()> {
    if !has_snapshot(disk, name).await? {
        return Ok(());
    }
    qemu_img(["snapshot", "-q", "-d", name].map(OsStr::new).into_iter().chain([disk.as_os_str()])).await?;
    sync(disk.to_owned()).await
}

/// Removes all a volume has here. Its blocks go back to the file system, which gives them to nobody unwiped.
pub async fn remove(layout: &Layout) -> Result<()> {
    let (dir, socket) = (layout.dir.clone(), layout.socket.clone());
    blocking(move || {
        for gone in [std::fs::remove_file(&socket), std::fs::remove_dir_all(&dir)] {
            match gone {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        dir.parent().map_or(Ok(()), |parent| std::fs::File::open(parent)?.sync_all())
    })
    .await
}

/// Lets `fill` write a new disk under a name of its own, and puts it in place when it is on disk. A disk that is there stays.
async fn make(layout: &Layout, fill: impl AsyncFnOnce(&Path) -> Result<()>) -> Result<()> {
    if tokio::fs::try_exists(&layout.disk).await? {
        return Ok(());
    }
    tokio::fs::create_dir_all(&layout.dir).await?;
    let part = layout.dir.join("disk.part");
    if let Err(error) = fill(&part).await {
        // what was begun is of no use to anybody; the error is what matters now
        let _ = tokio::fs::remove_dir_all(&layout.dir).await;
        return Err(error);
    }
    let (disk, dir) = (layout.disk.clone(), layout.dir.clone());
    blocking(move || {
        std::fs::File::open(&part)?.sync_all()?;
        std::fs::rename(&part, &disk)?;
        std::fs::File::open(&dir)?.sync_all()?;
        dir.parent().map_or(Ok(()), |parent| std::fs::File::open(parent)?.sync_all())
    })
    .await
}

/// What `qemu-img` says about a file.
pub async fn info(file: &Path, format: Option<&str>) -> Result<Value> {
    let format = format.map_or(vec![], |format| vec![OsStr::new("-f"), OsStr::new(format)]);
    let arguments = ["info", "-U", "--output=json"].map(OsStr::new).into_iter().chain(format).chain([file.as_os_str()]);
    Ok(serde_json::from_slice(&qemu_img(arguments).await?)?)
}

async fn has_snapshot(disk: &Path, name: &str) -> Result<bool> {
    let found = info(disk, Some("qcow2")).await?;
    Ok(inspect::snapshots(&found).any(|have| have == name))
}

async fn convert(options: &[&str], from: &Path, to: &Path) -> Result<()> {
    let arguments = ["convert", "-q", "-O", "qcow2"].iter().chain(options).map(OsStr::new);
    qemu_img(arguments.chain([from.as_os_str(), to.as_os_str()])).await.map(drop)
}

/// Runs `qemu-img` within limits; its words are the error's source.
async fn qemu_img<'a>(arguments: impl IntoIterator<Item = &'a OsStr>) -> Result<Vec<u8>> {
    let mut command = Command::new("sh");
    command.args(["-c", LIMITS, "qemu-img"]).args(arguments).stdin(Stdio::null()).kill_on_drop(true).env("LC_ALL", "C");
    let output = tokio::time::timeout(PATIENCE, command.output()).await;
    let output = output.map_err(|_| Error::unavailable("qemu-img did not finish in time."))??;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let words = String::from_utf8_lossy(&output.stderr).trim().chars().take(500).collect::<String>();
    Err(Error::internal(format!("qemu-img failed ({}): {words}", output.status)))
}

async fn sync(path: PathBuf) -> Result<()> {
    blocking(move || std::fs::File::open(path)?.sync_all()).await
}

async fn blocking(work: impl FnOnce() -> std::io::Result<()> + Send + 'static) -> Result<()> {
    Ok(tokio::task::spawn_blocking(work).await.map_err(Error::internal)??)
}

/// GiB that hold so many bytes.
pub fn gib(bytes: u64) -> u64 {
    bytes.div_ceil(GIB)
}
