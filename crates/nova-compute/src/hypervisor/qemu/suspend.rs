//! A guest's memory on disk: written by QEMU as a migration into a file, read again by a QEMU that is started with it.
//!
//! The files are ours, and QEMU gets them open. Besides the memory it is kept which device was where.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use kit::{Error, Kind, Result};
use serde_json::json;
use tokio::time::Instant;

use super::files::{Files, create_plain, open_plain};
use super::guest::Owner;
use super::qmp::Qmp;
use super::slots::Slots;

/// How long writing or reading may take.
const DEADLINE: Duration = Duration::from_secs(600);
const LOOK: Duration = Duration::from_millis(50);

/// What a suspended guest goes on from.
pub struct Saved {
    pub memory: OwnedFd,
    pub slots: Slots,
}

/// Opens what an earlier run left to go on from.
pub fn saved(files: &Files) -> io::Result<Option<Saved>> {
    if !is_suspended(files) {
        return Ok(None);
    }
    let memory = open_plain(&files.memory(), false)?.into();
    let slots = serde_json::from_reader(open_plain(&files.slots(), false)?)?;
    Ok(Some(Saved { memory, slots }))
}

pub fn is_suspended(files: &Files) -> bool {
    files.memory().exists()
}

/// Forgets it: the guest runs again, or is to start cold.
pub fn forget(files: &Files) {
    for file in [files.memory(), files.slots()] {
        // usually there is none
        let _ = std::fs::remove_file(file);
    }
}

impl Owner {
    /// Writes the guest's memory and ends it. A guest whose memory cannot be written goes on.
    pub async fn suspend(&mut self, files: &Files) -> Result<()> {
        let partial = files.memory().with_extension("part");
        let memory = create_plain(&partial)?;
        let written = self.write_memory(memory.try_clone()?.into()).await;
        let kept = match written {
            Ok(slots) => keep(files, &partial, memory, slots).await,
            Err(error) => Err(error),
        };
        if let Err(error) = kept {
            let _ = std::fs::remove_file(&partial);
            self.qmp.execute("cont", json!({})).await?;
            self.look().await?;
            return Err(error);
        }
        self.process.kill();
        self.process.exited().await;
        Ok(())
    }

    async fn write_memory(&self, memory: OwnedFd) -> Result<Slots> {
        let slots = Slots::ask(&self.qmp).await?;
        self.qmp.execute("stop", json!({})).await?;
        self.qmp.give("memory", &memory).await?;
        // to a disk, not past other traffic
        self.qmp.execute("migrate-set-parameters", json!({"max-bandwidth": 1u64 << 40})).await?;
        self.qmp.execute("migrate", json!({"uri": "fd:memory"})).await?;
        let deadline = Instant::now() + DEADLINE;
        loop {
            let progress = self.qmp.execute("query-migrate", json!({})).await?;
            match progress["status"].as_str().unwrap_or_default() {
                "completed" => return Ok(slots),
                "failed" | "cancelled" => {
                    let why = progress["error-desc"].as_str().unwrap_or("QEMU does not say why");
                    return Err(Error::new(Kind::Internal, format!("The guest's memory cannot be written: {why}")));
                }
                _ if Instant::now() > deadline => {
                    self.qmp.execute("migrate_cancel", json!({})).await?;
                    return Err(Error::new(Kind::TimedOut, "The guest's memory was not written in time."));
                }
                _ => tokio::time::sleep(LOOK).await,
            }
        }
    }
}

/// Waits until a QEMU that was started with a memory has it.
pub async fn arrived(qmp: &Qmp) -> Result<()> {
    let deadline = Instant::now() + DEADLINE;
    while is_incoming(qmp).await? {
        if Instant::now() > deadline {
            return Err(Error::new(Kind::TimedOut, "The guest's memory was not read in time."));
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Whether a QEMU has not all of its guest yet.
pub async fn is_incoming(qmp: &Qmp) -> Result<bool> {
    Ok(qmp.execute("query-status", json!({})).await?["status"] == "inmigrate")
}

/// What is not on disk is not kept; the memory gets its name last.
async fn keep(files: &Files, partial: &std::path::Path, memory: File, slots: Slots) -> Result<()> {
    let (files, partial) = (files.clone(), partial.to_owned());
    let keep = move || {
        serde_json::to_writer(create_plain(&files.slots())?, &slots)?;
        memory.sync_all()?;
        Ok(std::fs::rename(partial, files.memory())?)
    };
    tokio::task::spawn_blocking(keep).await.map_err(Error::internal)?
}
