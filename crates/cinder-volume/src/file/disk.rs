//! The file of a volume while nobody serves it: made, grown, copied, removed by `qemu-img` in a child with limits. A new disk is made
//! under another name, synced, and renamed, so that it is whole or absent whatever happens.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use kit::{Error, Result};
use rpc::volume::Secret;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::{GIB, Layout, inspect, luks};
use crate::image::Image;

/// An image that makes `qemu-img` take more than this is not one to be believed: seconds of CPU, KiB of address space.
const LIMITS: &str = "ulimit -t 1200; ulimit -v 2097152; exec qemu-img \"$@\"";
const PATIENCE: Duration = Duration::from_secs(3600);
/// What QEMU says when it makes something encrypted and no tick of the clock fell into the moment in which it tried how fast the processor
/// is. On a fast one that is often so; it did nothing yet, and the next moment is as good.
const UNMEASURED: &str = "Unable to get accurate CPU usage";
const UNMEASURED_TRIES: u32 = 20;

/// What QEMU's programs find in their environment.
pub type Environment = Vec<(&'static str, PathBuf)>;

/// An empty disk.
pub async fn create(layout: &Layout, bytes: u64, key: Option<&Secret>) -> Result<()> {
    make(layout, async |path| {
        let (size, lock) = (bytes.to_string(), lock(key));
        let options = ["-q", "-f", "qcow2"].into_iter().chain(lock.iter().map(String::as_str)).map(OsStr::new);
        qemu_img("create", options.chain([path.as_os_str(), OsStr::new(&size)]), key).await.map(drop)
    })
    .await
}

/// A disk that holds an image.
pub async fn from_image(layout: &Layout, image: &Image, bytes: u64, key: Option<&Secret>) -> Result<()> {
    make(layout, async |part| fill_from_image(layout, image, bytes, part, key).await).await
}

/// Puts an image into a file, by way of a download beside it, with room for so many bytes.
pub async fn fill_from_image(layout: &Layout, image: &Image, bytes: u64, part: &Path, key: Option<&Secret>) -> Result<()> {
    fill_as_is(layout, image, bytes, part, key).await?;
    resize(part, bytes, key).await
}

/// The same with no more room than the image has, which must not be more than so many bytes.
pub async fn fill_as_is(layout: &Layout, image: &Image, bytes: u64, part: &Path, key: Option<&Secret>) -> Result<()> {
    let file = layout.dir.join("image.part");
    match fetch(image, &file, bytes).await? {
        "luks" => fill_from_container(&file, part, key).await?,
        format => convert(&["-f", format], &file, part, key).await?,
    }
    Ok(tokio::fs::remove_file(&file).await?)
}

/// Downloads an image that may become a volume of so many bytes; answers its format, in QEMU's words.
pub async fn fetch(image: &Image, file: &Path, bytes: u64) -> Result<&'static str> {
    image.fetch(file).await?;
    if image.is_locked() {
        inspect::check_size(&info(file, Some("luks")).await?, bytes)?;
        return Ok("luks");
    }
    let format = inspect::format(image.info.disk_format.as_deref().unwrap_or_default())?;
    inspect::check(&info(file, Some(format)).await?, format, file, bytes)?;
    Ok(format)
}

/// The image of an encrypted volume is LUKS, with the passphrase that the new volume has too.
async fn fill_from_container(file: &Path, part: &Path, key: Option<&Secret>) -> Result<()> {
    let key = key.ok_or_else(no_key_for_container)?;
    convert(&[], Path::new(&luks::contained(file)), part, Some(key)).await
}

/// What is said where the image of an encrypted volume would come into the clear.
pub fn no_key_for_container() -> Error {
    Error::bad_request("The image of an encrypted volume needs an encrypted volume.")
}

/// An empty disk on another, which need not be there yet.
pub async fn overlay(part: &Path, backing: &str, bytes: u64, key: Option<&Secret>) -> Result<()> {
    overlay_on(part, "qcow2", backing, bytes, key).await
}

/// The same on one of another format.
pub async fn overlay_on(part: &Path, format: &str, backing: &str, bytes: u64, key: Option<&Secret>) -> Result<()> {
    let (size, lock) = (bytes.to_string(), lock(key));
    let options = ["-q", "-u", "-f", "qcow2", "-F", format, "-b", backing].into_iter().chain(lock.iter().map(String::as_str));
    qemu_img("create", options.map(OsStr::new).chain([part.as_os_str(), OsStr::new(&size)]), key).await.map(drop)
}

/// Grows a disk; one that is as large already stays.
pub async fn resize(disk: &Path, bytes: u64, key: Option<&Secret>) -> Result<()> {
    if virtual_size(disk).await? >= bytes {
        return Ok(());
    }
    let (size, source) = (bytes.to_string(), luks::source(disk).await?);
    let arguments = ["-q"].into_iter().chain(source.iter().map(String::as_str)).chain([&*size]);
    qemu_img("resize", arguments.map(OsStr::new), key).await?;
    sync(disk.to_owned()).await
}

/// Bytes the disk shows to who uses it.
pub async fn virtual_size(disk: &Path) -> Result<u64> {
    let size = info(disk, Some("qcow2")).await?["virtual-size"].as_u64();
    size.ok_or_else(|| Error::internal(format!("{} has no size", disk.display())))
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
pub async fn make(layout: &Layout, fill: impl AsyncFnOnce(&Path) -> Result<()>) -> Result<()> {
    if tokio::fs::try_exists(&layout.disk).await? {
        return Ok(());
    }
    tokio::fs::create_dir_all(&layout.dir).await?;
    let made = replace(layout, fill).await;
    if made.is_err() {
        // what was begun is of no use to anybody; the error is what matters now
        let _ = tokio::fs::remove_dir_all(&layout.dir).await;
    }
    made
}

/// The same where a disk is there: until the new one is whole, the old one stays.
pub async fn replace(layout: &Layout, fill: impl AsyncFnOnce(&Path) -> Result<()>) -> Result<()> {
    let part = layout.dir.join("disk.part");
    fill(&part).await?;
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
    let arguments = ["-U", "--output=json"].map(OsStr::new).into_iter().chain(format).chain([file.as_os_str()]);
    Ok(serde_json::from_slice(&qemu_img("info", arguments, None).await?)?)
}

/// Writes a disk of any format that is in the clear to a new one.
pub async fn convert(options: &[&str], from: &Path, to: &Path, key: Option<&Secret>) -> Result<()> {
    let lock = lock(key);
    let arguments = ["-q", "-O", "qcow2"].iter().chain(options).copied().chain(lock.iter().map(String::as_str)).map(OsStr::new);
    qemu_img("convert", arguments.chain([from.as_os_str(), to.as_os_str()]), key).await.map(drop)
}

/// The option that makes a new disk an encrypted one.
fn lock(key: Option<&Secret>) -> Vec<String> {
    key.map_or_else(Vec::new, |key| vec!["-o".to_owned(), luks::options(key)])
}

/// Runs `qemu-img` within limits, with the key of the encrypted disks that its arguments name; its words are the error's source.
pub async fn qemu_img<'a>(word: &str, arguments: impl IntoIterator<Item = &'a OsStr>, key: Option<&Secret>) -> Result<Vec<u8>> {
    qemu_img_in(&Environment::default(), word, arguments, key).await
}

/// The same where disks are reached that need something of the environment.
pub async fn qemu_img_in<'a>(
    environment: &Environment,
    word: &str,
    arguments: impl IntoIterator<Item = &'a OsStr>,
    key: Option<&Secret>,
) -> Result<Vec<u8>> {
    let arguments: Vec<&OsStr> = arguments.into_iter().collect();
    let mut tries = 0..UNMEASURED_TRIES;
    loop {
        let mut command = Command::new("sh");
        command.args(["-c", LIMITS, "qemu-img", word]).kill_on_drop(true).env("LC_ALL", "C");
        command.envs(environment.iter().cloned());
        if key.is_some() {
            command.args(["--object", luks::OBJECT]);
        }
        command.args(&arguments);
        let output = tokio::time::timeout(PATIENCE, told(command, key)).await;
        let output = output.map_err(|_| Error::unavailable("qemu-img did not finish in time."))??;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let words = String::from_utf8_lossy(&output.stderr).trim().chars().take(500).collect::<String>();
        if !(words.contains(UNMEASURED) && tries.next().is_some()) {
            return Err(Error::internal(format!("qemu-img failed ({}): {words}", output.status)));
        }
    }
}

/// Runs a program to its end, with the key on its standard input.
pub async fn told(mut command: Command, key: Option<&Secret>) -> std::io::Result<std::process::Output> {
    let Some(key) = key else { return command.stdin(Stdio::null()).output().await };
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if let Some(mut input) = child.stdin.take() {
        // a program that does not want it says why on its way out
        let _ = input.write_all(key.passphrase.as_bytes()).await;
    }
    child.wait_with_output().await
}

async fn sync(path: PathBuf) -> Result<()> {
    blocking(move || std::fs::File::open(path)?.sync_all()).await
}

pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> Result<T> {
    Ok(tokio::task::spawn_blocking(work).await.map_err(Error::internal)??)
}

/// GiB that hold so many bytes.
pub fn gib(bytes: u64) -> u64 {
    bytes.div_ceil(GIB)
}
