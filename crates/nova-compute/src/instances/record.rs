//! What this host must remember of an instance beyond conductor's record: a build under way, and the taps it made.
//!
//! One small file in the instance's directory, written before the thing it tells of is done, so that after a crash nothing is forgotten.

use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use kit::Result;
use rpc::compute::BuildInstance;
use serde::{Deserialize, Serialize};

use crate::host::{Host, Store};
use crate::hypervisor::qemu::files::{create_plain, open_plain};

const FILE: &str = "host.json";

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Record {
    /// The request that is being fulfilled, without its password.
    pub building: Option<BuildInstance>,
    pub taps: Vec<String>,
    /// The guest comes from another host, whose it still is.
    #[serde(default)]
    pub arriving: bool,
    /// The live migration by which it was last to go.
    #[serde(default)]
    pub leaving: Option<String>,
}

impl Record {
    /// What was remembered; nothing where guests are only simulated.
    pub async fn load(host: &Host, instance_id: &str) -> Record {
        let Some(store) = &host.store else { return Record::default() };
        let path = path(store, instance_id);
        let read = tokio::task::spawn_blocking(move || read(&path)).await;
        read.ok().and_then(io::Result::ok).unwrap_or_default()
    }

    /// Makes the instance's directory if need be, and remembers.
    pub async fn save(&self, host: &Host, instance_id: &str) -> Result<()> {
        let Some(store) = &host.store else { return Ok(()) };
        let path = path(store, instance_id);
        let (dir, temporary) = (store.instances.join(instance_id), path.with_extension("part"));
        let (account, bytes) = (store.account, serde_json::to_vec(self)?);
        let write = move || {
            account.private_dir(&dir)?;
            let mut file = create_plain(&temporary)?;
            file.write_all(&bytes)?;
            file.sync_data()?;
            std::fs::rename(&temporary, &path)?;
            Ok(())
        };
        tokio::task::spawn_blocking(write).await.map_err(kit::Error::internal)?
    }

    /// The build is over.
    pub async fn built(host: &Host, instance_id: &str) -> Result<()> {
        let mut record = Record::load(host, instance_id).await;
        if record.building.take().is_some() { record.save(host, instance_id).await } else { Ok(()) }
    }
}

fn path(store: &Store, instance_id: &str) -> PathBuf {
    store.instances.join(instance_id).join(FILE)
}

/// Reads what only we can have written.
fn read(path: &Path) -> io::Result<Record> {
    let file = open_plain(path, false)?;
    if file.metadata()?.uid() != nix::unistd::geteuid().as_raw() {
        return Err(io::Error::other(format!("{} was not written by us", path.display())));
    }
    Ok(serde_json::from_reader(io::BufReader::new(file))?)
}

/// The taps of an instance's directory, for clean-up.
pub fn recorded_taps(dir: &Path) -> Vec<String> {
    read(&dir.join(FILE)).unwrap_or_default().taps
}
