//! A guest's own disks on their way to another host: each is mirrored to an export there until both are alike, and stays so until it is ended.

use std::time::Duration;

use kit::{Error, Kind, Result};
use rpc::live_migration::{Landing, Mirror, Progress};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::args;
use super::qmp::Qmp;
use super::secure;

/// Jobs of this kind, and the nodes they write to, have names that begin so.
const PREFIX: &str = "mirror-";
/// How long ending one may take.
const ENDING: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(10);

/// The mirrors of one guest, by the names of their jobs.
pub struct Mirrors(Vec<String>);

impl Mirrors {
    pub async fn begin(qmp: &Qmp, landing: &Landing) -> Result<Mirrors> {
        let mut jobs = Vec::new();
        for mirror in &landing.mirrors {
            let name = format!("{PREFIX}{}", mirror.disk);
            qmp.execute("blockdev-add", target(&name, mirror, landing)).await?;
            qmp.execute("blockdev-mirror", job(&name, mirror)).await?;
            jobs.push(name);
        }
        Ok(Mirrors(jobs))
    }

    /// Whether all disks are alike by now; an error when one cannot be.
    pub async fn are_alike(&self, qmp: &Qmp, told: &mut Progress) -> Result<bool> {
        let jobs = qmp.execute("query-block-jobs", json!({})).await?;
        let ours: Vec<&Value> = jobs.as_array().into_iter().flatten().filter(|job| is_ours(&job["device"])).collect();
        let sum = |field: &str| ours.iter().filter_map(|job| job[field].as_i64()).sum::<i64>();
        (told.disk_total, told.disk_processed) = (sum("len"), sum("offset"));
        told.disk_remaining = told.disk_total - told.disk_processed;
        if let Some(failed) = ours.iter().find(|job| job["status"] == "concluded") {
            return Err(broken(failed["error"].as_str()));
        }
        Ok(ours.len() == self.0.len() && ours.iter().all(|job| job["ready"] == true))
    }

    /// Ends them while the guest stands still: what is at the other end is whole.
    pub async fn end(&self, qmp: &Qmp) -> Result<()> {
        if !self.are_alike(qmp, &mut Progress::default()).await? {
            return Err(broken(None));
        }
        for name in &self.0 {
            qmp.execute("block-job-cancel", json!({"device": name})).await?;
        }
        for name in &self.0 {
            if let Some(why) = concluded(qmp, name).await? {
                return Err(broken(Some(&why)));
            }
        }
        Ok(())
    }
}

/// Ends all mirrors there are, of this process or an earlier one, whatever is at the other end.
pub async fn give_up(qmp: &Qmp) -> Result<()> {
    let jobs = qmp.execute("query-jobs", json!({})).await?;
    let names: Vec<&str> =
        jobs.as_array().into_iter().flatten().filter(|job| is_ours(&job["id"])).filter_map(|job| job["id"].as_str()).collect();
    for name in &names {
        // one that has concluded already cannot be cancelled
        let _ = qmp.execute("block-job-cancel", json!({"device": name, "force": true})).await;
    }
    for name in &names {
        concluded(qmp, name).await?;
    }
    let nodes = qmp.execute("query-named-block-nodes", json!({"flat": true})).await?;
    for node in nodes.as_array().into_iter().flatten().map(|node| &node["node-name"]).filter(|name| is_ours(name)) {
        qmp.execute("blockdev-del", json!({"node-name": node})).await?;
    }
    Ok(())
}

/// Waits until a job is over, dismisses it, and answers what it complains about.
pub(super) async fn concluded(qmp: &Qmp, name: &str) -> Result<Option<String>> {
    let deadline = Instant::now() + ENDING;
    loop {
        let jobs = qmp.execute("query-jobs", json!({})).await?;
        let Some(job) = jobs.as_array().into_iter().flatten().find(|job| job["id"] == name) else { return Ok(None) };
        if job["status"] == "concluded" {
            let why = job["error"].as_str().map(str::to_owned);
            qmp.execute("job-dismiss", json!({"id": name})).await?;
            return Ok(why);
        }
        if Instant::now() > deadline {
            return Err(Error::new(Kind::TimedOut, "A disk's mirror does not end."));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The node that a disk is written to.
fn target(name: &str, mirror: &Mirror, landing: &Landing) -> Value {
    let server = json!({"type": "inet", "host": landing.address, "port": landing.disks.to_string()});
    let mut node = json!({"driver": "nbd", "node-name": name, "server": server, "export": mirror.disk, "discard": "unmap"});
    if landing.key.is_some() {
        node["tls-creds"] = json!(secure::NAME);
    }
    node
}

/// What stands on an image that the destination has, too, is copied without that.
fn job(name: &str, mirror: &Mirror) -> Value {
    json!({
        "job-id": name, "device": args::node_name(&mirror.disk), "target": name, "sync": if mirror.whole { "full" } else { "top" },
        // so that a guest that writes faster than the network takes it cannot run away
        "copy-mode": "write-blocking", "auto-dismiss": false,
    })
}

fn is_ours(name: &Value) -> bool {
    name.as_str().is_some_and(|name| name.starts_with(PREFIX))
}

fn broken(why: Option<&str>) -> Error {
    let why = why.unwrap_or("its mirror ended before its time");
    Error::new(Kind::Internal, format!("A disk could not be sent: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_mirrored_with_what_the_destination_lacks() {
        let landing = Landing { address: "10.0.0.2".into(), disks: 4711, key: Some("00".into()), ..Landing::default() };
        let mirror = |whole| Mirror { disk: "root".into(), whole };
        let node = target("mirror-root", &mirror(true), &landing);
        assert_eq!((&node["server"]["port"], &node["export"], &node["tls-creds"]), (&json!("4711"), &json!("root"), &json!(secure::NAME)));
        assert_eq!(job("mirror-root", &mirror(false))["sync"], "top");
        let whole = job("mirror-root", &mirror(true));
        assert_eq!((&whole["sync"], &whole["device"]), (&json!("full"), &json!("d-root")));
    }
}
