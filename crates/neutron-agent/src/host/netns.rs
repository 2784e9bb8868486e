//! Network namespaces, kept as files in a private directory below the state directory rather than in `/run/netns`, so that clouds on one machine
//! and clouds inside a test's namespace do not meet. To look in: `nsenter --net=STATE_DIR/neutron/netns/NAME ip address`.

use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::statfs::{FsType, statfs};

use super::{files, sysctl};
use crate::{Error, Result};

/// `NSFS_MAGIC`: a file that is a namespace, and not only the place for one.
const NSFS: FsType = FsType(0x6e73_6673);

/// Nothing done inside a namespace takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// The namespaces of this cloud on this host.
#[derive(Clone, Debug)]
pub struct Namespaces {
    dir: PathBuf,
}

/// An open namespace; it lives as long as it is named or held.
#[derive(Clone, Debug)]
pub struct Netns {
    pub name: String,
    file: Arc<File>,
}

impl Namespaces {
    pub fn new(state_dir: &Path) -> Namespaces {
        Namespaces { dir: state_dir.join("neutron/netns") }
    }

    /// The namespace of this name; made, with its loopback up, when there is none.
    pub async fn ensure(&self, name: &str) -> Result<Netns> {
        if let Some(netns) = self.open(name) {
            return Ok(netns);
        }
        files::make_dir(&self.dir)?;
        let path = self.dir.join(name);
        File::create(&path)?;
        in_thread(move || {
            unshare(CloneFlags::CLONE_NEWNET).map_err(|e| failed("unshare", &path, e))?;
            no_discovery();
            let own = Some("/proc/thread-self/ns/net");
            mount(own, &path, None::<&str>, MsFlags::MS_BIND, None::<&str>).map_err(|e| failed("mount", &path, e))
        })
        .await?;
        let netns = self.open(name).ok_or_else(|| Error::internal(format!("namespace {name} did not stay")))?;
        let kernel = netns.netlink().await?;
        kernel.set_up("lo").await?;
        Ok(netns)
    }

    pub fn open(&self, name: &str) -> Option<Netns> {
        let path = self.dir.join(name);
        let is_namespace = statfs(&path).is_ok_and(|fs| fs.filesystem_type() == NSFS);
        let file = if is_namespace { File::open(&path).ok()? } else { return None };
        Some(Netns { name: name.to_owned(), file: Arc::new(file) })
    }

    /// Forget the name; the kernel ends the namespace when nobody is in it any more.
    pub fn remove(&self, name: &str) -> Result<()> {
        let path = self.dir.join(name);
        while self.open(name).is_some() {
            umount2(&path, MntFlags::MNT_DETACH).map_err(|e| failed("umount", &path, e))?;
        }
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed("remove", &path, error)),
            _ => Ok(()),
        }
    }

    pub fn list(&self) -> Vec<String> {
        files::names_in(&self.dir)
    }
}

impl Netns {
    /// Run something that blocks inside the namespace, on a thread of its own; processes it starts are inside too.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let file = self.file.clone();
        let name = self.name.clone();
        in_thread(move || {
            setns(&*file, CloneFlags::CLONE_NEWNET).map_err(|e| failed("enter", Path::new(&name), e))?;
            work()
        })
        .await
    }

    /// What tells it from another of the same name, made later.
    pub fn inode(&self) -> Result<u64> {
        Ok(self.file.metadata()?.ino())
    }

    pub fn fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

/// Run something in a fresh, empty namespace that goes away with it.
pub async fn in_scratch<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    in_thread(move || {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|e| failed("unshare", Path::new("scratch"), e))?;
        work()
    })
    .await
}

/// A thread that changes its namespace must not go back to a pool. It keeps the caller's runtime, so that sockets it makes can be used by tasks.
async fn in_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let runtime = tokio::runtime::Handle::current();
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("netns".into()).spawn(move || {
        let _runtime = runtime.enter();
        let _ = sender.send(work());
    })?;
    match tokio::time::timeout(PATIENCE, receiver).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(Error::internal("a thread in a namespace panicked")),
        Err(_) => Err(Error::internal(format!("work in a namespace took longer than {} s", PATIENCE.as_secs()))),
    }
}

/// Links of a new namespace have the addresses we give them, at once and no others. Where the kernel has no IPv6 there is nothing to set.
fn no_discovery() {
    for (name, value) in [("accept_dad", "0"), ("dad_transmits", "0"), ("accept_ra", "0"), ("autoconf", "0")] {
        let name = format!("net/ipv6/conf/default/{name}");
        if sysctl::get(&name).is_some()
            && let Err(error) = sysctl::set(&name, value)
        {
            tracing::warn!(%error, "IPv6 addresses of a namespace may come late");
        }
    }
}

fn failed(verb: &str, path: &Path, error: impl std::fmt::Display) -> Error {
    Error::internal(format!("{verb} namespace {}: {error}", path.display()))
}
