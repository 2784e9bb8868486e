//! What is put right without anybody asking: what an earlier process of ours left half done in a guest, and a guest that stands still since a
//! disk of it failed.

use std::sync::atomic::Ordering;
use std::time::Duration;

use kit::Result;
use serde_json::{Value, json};

use super::agent;
use super::guest::Owner;
use super::mirror::concluded;
use super::storage::{COPY_NODE, SWAP_JOB};

/// How often a guest whose disk failed tries it again: a volume's server may be back, or there may be space on the host.
pub const TRY_AGAIN: Duration = Duration::from_secs(2);
/// The status of such a guest.
pub const FAILED: &str = "io-error";

impl Owner {
    /// Ends copies that nobody waits for any more, removes disks that no device has, and lets file systems go that are held still. Mirrors to
    /// another host are left to whoever asks how that journey ended.
    pub(super) async fn clear_leftovers(&self) -> Result<()> {
        let jobs = self.qmp.execute("query-jobs", json!({})).await?;
        for job in [COPY_NODE, SWAP_JOB].into_iter().filter(|name| has(&jobs, "id", name)) {
            tracing::info!(pid = self.process.pid, job, "a copy of a disk that nobody waits for is ended");
            // one that has concluded already cannot be cancelled
            let _ = self.qmp.execute("block-job-cancel", json!({"device": job, "force": true})).await;
            concluded(&self.qmp, job).await?;
        }
        let blocks = self.qmp.execute("query-block", json!({})).await?;
        let used = |node: &str| blocks.as_array().into_iter().flatten().any(|block| block["inserted"]["node-name"] == node);
        let nodes = self.qmp.execute("query-named-block-nodes", json!({"flat": true})).await?;
        for node in nodes.as_array().into_iter().flatten().filter_map(|node| node["node-name"].as_str()) {
            if (node == COPY_NODE || node.starts_with("d-")) && !used(node) {
                // one that is used otherwise, by a mirror for one, stays
                let _ = self.remove_node(node).await;
            }
        }
        if let Some(socket) = self.agent.clone() {
            // a guest that does not answer makes nobody else wait
            tokio::spawn(async move { agent::thaw_forgotten(&socket).await });
        }
        Ok(())
    }

    /// Lets a guest try its disk again, unless somebody wants it to stand still.
    pub(super) async fn try_again(&self) {
        let tried = async {
            if self.qmp.execute("query-status", json!({})).await?["status"] == FAILED {
                self.qmp.execute("cont", json!({})).await?;
            }
            self.look().await
        };
        if let Err(error) = tried.await {
            tracing::warn!(pid = self.process.pid, %error, "a guest whose disk failed cannot try it again");
        }
    }

    /// Whether it stands still since a disk failed, and not because it shall.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed) && !self.held
    }
}

fn has(list: &Value, field: &str, name: &str) -> bool {
    list.as_array().into_iter().flatten().any(|entry| entry[field] == name)
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::super::fake::{Fake, Mishap};
    use super::super::guest::{GuestHandle, Request};
    use super::super::launch::Connected;
    use super::super::process::Process;
    use super::super::qmp::Qmp;
    use crate::hypervisor::PowerState;

    /// A guest of which something is left over, and a child that stands for its process.
    async fn guest(dir: &std::path::Path, mishap: Mishap) -> (GuestHandle, std::sync::Arc<Fake>, tokio::process::Child) {
        let socket = dir.join("q");
        let fake = Fake::start(&socket, mishap);
        let child = tokio::process::Command::new("sleep").arg("60").kill_on_drop(true).spawn().unwrap();
        let process = Process::of_child(child.id().unwrap() as i32).unwrap();
        let connected = Connected { process, qmp: Qmp::connect(&socket).await.unwrap() };
        (GuestHandle::await_it(connected, None, watch::channel(0).0).await.unwrap(), fake, child)
    }

    #[tokio::test]
    async fn what_an_earlier_process_left_is_cleared() {
        let dir = tempfile::tempdir().unwrap();
        let (guest, fake, _child) = guest(dir.path(), Mishap::CopyLeft).await;
        guest.ask(Request::ClearLeftovers).await.unwrap();
        let told = fake.told();
        assert_eq!(told[..2], ["block-job-cancel", "job-dismiss"], "{told:?}");
        // the copy's and a disk's that no device has
        assert_eq!(told.iter().filter(|command| *command == "blockdev-del").count(), 2, "{told:?}");
    }

    #[tokio::test]
    async fn a_guest_whose_disk_failed_tries_again() {
        let dir = tempfile::tempdir().unwrap();
        let (guest, fake, _child) = guest(dir.path(), Mishap::DiskFailed).await;
        assert_eq!(guest.state(), PowerState::Paused);
        guest.becomes(PowerState::Running).await;
        assert_eq!(fake.told(), ["cont"]);
    }
}
