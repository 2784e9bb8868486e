//! Disks as `qemu-img` can read them beside others: a disk in the clear is its file; an encrypted one is opened by a `qemu-nbd` of our own,
//! so that every program knows one key at most, whatever it reads and writes. So is what is no file.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use kit::{Error, Result};
use rpc::volume::Secret;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use super::disk::{self, Environment, blocking, qemu_img};
use super::luks;

/// How long a `qemu-nbd` may take to open a disk, and how often somebody looks.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(10);

/// A disk that nobody writes to, with all it stands on.
pub enum Readable {
    File(String),
    Served(Box<Served>),
}

/// One that a `qemu-nbd` decrypts as long as this lives.
pub struct Served {
    url: String,
    _child: Child,
    _dir: PrivateDir,
}

impl Readable {
    /// `key` is that of the disk, if it has one.
    pub async fn open(disk: &Path, key: Option<Secret>) -> Result<Readable> {
        match key {
            Some(key) if luks::is_locked(disk).await? => {
                let file = disk.to_owned();
                let node = blocking(move || luks::node(&file)).await?;
                Readable::serve(node, Some(&key), &Environment::default()).await
            }
            _ => Ok(Readable::File(disk.to_string_lossy().into_owned())),
        }
    }

    /// What QEMU opens so, with the key that it names.
    pub async fn serve(node: Value, key: Option<&Secret>, environment: &Environment) -> Result<Readable> {
        Served::start(node, key, environment).await.map(|served| Readable::Served(Box::new(served)))
    }

    pub fn name(&self) -> &str {
        match self {
            Readable::File(path) => path,
            Readable::Served(served) => &served.url,
        }
    }

    /// What is to be read under the name.
    pub fn format(&self) -> &'static str {
        match self {
            Readable::File(_) => "qcow2",
            Readable::Served(_) => "raw",
        }
    }

    pub async fn virtual_size(&self) -> Result<u64> {
        let arguments = ["-U", "--output=json", "-f", self.format(), self.name()].map(OsStr::new);
        let info: Value = serde_json::from_slice(&qemu_img("info", arguments, None).await?)?;
        info["virtual-size"].as_u64().ok_or_else(|| Error::internal(format!("{} has no size", self.name())))
    }

    /// Writes all of it to a new disk, which is encrypted with `key`.
    pub async fn convert(&self, to: &Path, key: Option<&Secret>) -> Result<()> {
        disk::convert(&["-U", "-f", self.format()], Path::new(self.name()), to, key).await
    }
}

impl Served {
    async fn start(mut node: Value, key: Option<&Secret>, environment: &Environment) -> Result<Served> {
        let dir = PrivateDir::new()?;
        let socket = dir.0.join("nbd.sock");
        // others may write what this one only reads: cinder sees to it that they do not
        (node["read-only"], node["force-share"]) = (true.into(), true.into());
        let mut child = Command::new("qemu-nbd")
            .args(key.map_or(&[][..], |_| &["--object", luks::OBJECT]))
            .args(["--read-only", "--persistent", "--shared", "4", "--socket"])
            .arg(&socket)
            .arg(format!("json:{node}"))
            .envs(environment.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        if let (Some(mut input), Some(key)) = (child.stdin.take(), key) {
            // a program that does not want it says why by ending
            let _ = input.write_all(key.passphrase.as_bytes()).await;
        }
        let ready = async {
            loop {
                if tokio::fs::try_exists(&socket).await? {
                    return Ok(());
                }
                if let Some(status) = child.try_wait()? {
                    return Err(Error::internal(format!("qemu-nbd ended ({status})")));
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(PATIENCE, ready).await.map_err(|_| Error::unavailable("qemu-nbd did not start in time."))??;
        Ok(Served { url: format!("nbd+unix:///?socket={}", socket.display()), _child: child, _dir: dir })
    }
}

/// A directory for a socket, short enough for its name, or for a key, that goes with what is in it.
pub struct PrivateDir(std::path::PathBuf);

impl PrivateDir {
    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn new() -> std::io::Result<PrivateDir> {
        use std::os::unix::fs::DirBuilderExt;
        let dir = std::env::temp_dir().join(format!("cumulo-nbd-{}", kit::ids::hex()));
        std::fs::DirBuilder::new().mode(0o700).create(&dir)?;
        Ok(PrivateDir(dir))
    }
}

impl Drop for PrivateDir {
    fn drop(&mut self) {
        // a socket that nobody listens on any more, or a key that nobody needs
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
