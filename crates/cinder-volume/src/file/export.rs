//! One task owns the storage daemon of an attached volume, and everybody else queues changes to it. It notices the daemon's death at once,
//! by the end of the monitor connection, and starts it again on the same socket: guests wait and reconnect.

use std::time::{Duration, Instant};

use kit::{Error, Kind, Result};
use rpc::volume::Secret;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::disk::blocking;
use super::gate::{self, Gates};
use super::qmp::Qmp;
use super::{Layout, daemon, layers, luks};
use crate::backend::Export;

/// Pauses before a daemon that keeps dying is started again.
const PAUSES: [Duration; 4] = [Duration::ZERO, Duration::from_millis(100), Duration::from_millis(300), Duration::from_secs(1)];
/// How often gates for other hosts are looked after.
const TEND: Duration = Duration::from_secs(1);
/// A daemon that lived this long is taken for healthy.
const HEALTHY: Duration = Duration::from_secs(10);
const QUEUE: usize = 64;
/// How long QEMU may take to end what it was told to end.
const LETTING_GO: Duration = Duration::from_secs(10);
const LETTING_GO_LOOK: Duration = Duration::from_millis(2);

/// Something to be done to a served volume.
#[derive(Clone, Debug)]
pub enum Change {
    Export(Export),
    /// bytes
    Resize(u64),
    /// The volume's disk stands on this layer now: write to the disk, no longer to what has become the layer.
    Stack(String),
    /// The attachment; the daemon ends with its last export.
    Withdraw(String),
}

struct Request {
    change: Change,
    reply: oneshot::Sender<Result<bool>>,
}

/// The way to the task of one volume.
#[derive(Clone)]
pub struct Exporter(mpsc::Sender<Request>);

impl Exporter {
    /// Begins to serve a volume: takes on a daemon that runs, starts one otherwise, with the first change.
    pub fn start(layout: Layout, qemu_gid: Option<u32>, key: Option<Secret>, gates: Option<Gates>) -> Exporter {
        let (sender, requests) = mpsc::channel(QUEUE);
        let served = Served { layout, qemu_gid, key, gates, exports: Vec::new(), requests, falls: 0, born: Instant::now() };
        tokio::spawn(served.run());
        Exporter(sender)
    }

    pub async fn apply(&self, change: Change) -> Result<()> {
        self.ask(change).await.map(drop)
    }

    /// Ends one export; true when it was the last, and with it the daemon and the task have ended.
    pub async fn withdraw(&self, attachment_id: &str) -> Result<bool> {
        self.ask(Change::Withdraw(attachment_id.to_owned())).await
    }

    async fn ask(&self, change: Change) -> Result<bool> {
        let (reply, answer) = oneshot::channel();
        let ended = || Error::unavailable("The volume is no longer served.");
        self.0.send(Request { change, reply }).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}

struct Served {
    layout: Layout,
    qemu_gid: Option<u32>,
    /// Of an encrypted volume: a daemon that dies must come back whether or not cinder can be asked then.
    key: Option<Secret>,
    /// For guests of other hosts.
    gates: Option<Gates>,
    exports: Vec<Export>,
    requests: mpsc::Receiver<Request>,
    /// Deaths of the daemon in a row, and when it was last found alive.
    falls: usize,
    born: Instant,
}

impl Served {
    async fn run(mut self) {
        let mut monitor: Option<Qmp> = None;
        loop {
            if monitor.is_none() && !self.exports.is_empty() {
                monitor = self.revive().await;
            }
            let request = match &mut monitor {
                Some(qmp) => tokio::select! {
                    request = self.requests.recv() => request,
                    _ = tokio::time::sleep(TEND), if self.exports.iter().any(|export| export.remote) => {
                        self.tend_gates().await;
                        continue;
                    }
                    _ = qmp.closed() => {
                        tracing::warn!(disk = %self.layout.disk.display(), "the storage daemon died; starting it again");
                        self.falls = if self.born.elapsed() > HEALTHY { 0 } else { self.falls + 1 };
                        monitor = None;
                        continue;
                    }
                },
                // a daemon that cannot be started is tried again after the pause, or when somebody asks for something
                None if self.exports.is_empty() => self.requests.recv().await,
                None => match tokio::time::timeout(Duration::from_secs(1), self.requests.recv()).await {
                    Ok(request) => request,
                    Err(_) => continue,
                },
            };
            let Some(Request { change, reply }) = request else { return };
            let outcome = self.change(&mut monitor, change).await;
            let over = matches!(outcome, Ok(true));
            // whoever asked may have gone away
            let _ = reply.send(outcome);
            if over {
                return;
            }
        }
    }

    /// Starts the dead daemon again with all its exports.
    async fn revive(&mut self) -> Option<Qmp> {
        let pause = PAUSES.get(self.falls).or(PAUSES.last()).copied().unwrap_or_default();
        tokio::time::sleep(pause).await;
        match self.connect().await {
            Ok(qmp) => {
                self.born = Instant::now();
                Some(qmp)
            }
            Err(error) => {
                self.falls += 1;
                tracing::error!(disk = %self.layout.disk.display(), %error, "the volume is not served");
                None
            }
        }
    }

    /// Makes one change; once more if the daemon dies over it. True when nothing is left to serve.
    async fn change(&mut self, monitor: &mut Option<Qmp>, change: Change) -> Result<bool> {
        match &change {
            Change::Export(export) => {
                self.exports.retain(|have| have.attachment_id != export.attachment_id);
                self.exports.push(export.clone());
            }
            Change::Withdraw(id) => {
                self.exports.retain(|have| have.attachment_id != *id);
                self.gate(id, gate::end).await?;
            }
            Change::Resize(_) | Change::Stack(_) => {}
        }
        if self.exports.is_empty() {
            *monitor = None;
            let layout = self.layout.clone();
            tokio::task::spawn_blocking(move || daemon::end(&layout)).await.map_err(Error::internal)?;
            return Ok(true);
        }
        for last in [false, true] {
            let qmp = match monitor {
                Some(qmp) => qmp,
                None => monitor.insert(self.connect().await?),
            };
            match self.carry_out(qmp, &change).await {
                Err(error) if error.kind == Kind::Unavailable && !last => *monitor = None,
                Err(error) => return Err(error),
                Ok(()) => break,
            }
        }
        self.let_in(&change).await.map(|()| false)
    }

    /// What other hosts notice of a change.
    async fn let_in(&self, change: &Change) -> Result<()> {
        let remote = self.exports.iter().filter(|export| export.remote);
        match (change, &self.gates) {
            (Change::Export(export), Some(gates)) if export.remote => gates.open(&self.layout, export).await.map(drop),
            // it was another host's before, which must not write to it any more
            (Change::Export(export), _) => self.gate(&export.attachment_id, gate::end).await,
            (Change::Resize(_), Some(gates)) => {
                for export in remote {
                    // a client of the volume's server does not see that it grew
                    self.gate(&export.attachment_id, gate::close).await?;
                    gates.open(&self.layout, export).await?;
                }
                Ok(())
            }
            (Change::Resize(_) | Change::Stack(_) | Change::Withdraw(_), _) => Ok(()),
        }
    }

    async fn gate(&self, attachment_id: &str, act: fn(&Layout, &str)) -> Result<()> {
        let (layout, id) = (self.layout.clone(), attachment_id.to_owned());
        tokio::task::spawn_blocking(move || act(&layout, &id)).await.map_err(Error::internal)
    }

    /// Opens the gates again that fell shut.
    async fn tend_gates(&self) {
        let Some(gates) = &self.gates else { return };
        for export in self.exports.iter().filter(|export| export.remote) {
            if let Err(error) = gates.open(&self.layout, export).await {
                tracing::error!(disk = %self.layout.disk.display(), %error, "the volume is not served to another host");
            }
        }
    }

    /// A monitor of the daemon, which then exports what it should to whom it should.
    async fn connect(&self) -> Result<Qmp> {
        let qmp = match self.adopt().await? {
            Some(qmp) => qmp,
            None => {
                daemon::start(&self.layout, &self.exports, self.key.as_ref()).await?;
                Qmp::connect(&self.layout.qmp).await?
            }
        };
        // also when adopted: who started it may have died before it came to this
        let (layout, gid) = (self.layout.clone(), self.qemu_gid);
        blocking(move || daemon::let_in(&layout, gid)).await?;
        Ok(qmp)
    }

    /// The daemon that runs already, unless it is of no use, and then it is ended.
    async fn adopt(&self) -> Result<Option<Qmp>> {
        let layout = self.layout.clone();
        if tokio::task::spawn_blocking(move || daemon::running(&layout)).await.map_err(Error::internal)?.is_none() {
            return Ok(None);
        }
        if let Ok(mut qmp) = Qmp::connect(&self.layout.qmp).await
            && !exported(&mut qmp).await?.is_empty()
        {
            self.agree(&mut qmp).await?;
            return Ok(Some(qmp));
        }
        // it does not speak, or serves nobody and so does not show which node is the volume
        let layout = self.layout.clone();
        tokio::task::spawn_blocking(move || daemon::end(&layout)).await.map_err(Error::internal)?;
        Ok(None)
    }

    async fn carry_out(&self, qmp: &mut Qmp, change: &Change) -> Result<()> {
        match change {
            Change::Export(_) | Change::Withdraw(_) => self.agree(qmp).await,
            Change::Resize(bytes) => self.resize(qmp, *bytes).await,
            Change::Stack(layer_id) => self.stack(qmp, layer_id).await,
        }
    }

    /// Removes exports that should not be and adds those that should.
    async fn agree(&self, qmp: &mut Qmp) -> Result<()> {
        let top = top(qmp).await?;
        self.agree_on(qmp, &top).await
    }

    async fn agree_on(&self, qmp: &mut Qmp, top: &str) -> Result<()> {
        let wanted = |id: &String| self.exports.iter().any(|export| daemon::export_id(&export.attachment_id) == *id);
        let (have, gone): (Vec<_>, Vec<_>) = exported(qmp).await?.into_iter().partition(wanted);
        withdraw(qmp, &gone).await?;
        for export in &self.exports {
            let id = daemon::export_id(&export.attachment_id);
            if !have.contains(&id) {
                let new = json!({"type": "nbd", "id": id, "node-name": top, "name": export.attachment_id, "writable": !export.readonly});
                qmp.execute("block-export-add", new).await?;
            }
        }
        Ok(())
    }

    /// QEMU refuses to grow what is exported, so the exports go for a moment; guests reconnect by themselves.
    async fn resize(&self, qmp: &mut Qmp, bytes: u64) -> Result<()> {
        let top = top(qmp).await?;
        // what is no file of ours is as large as its storage has made it, and only who is exported it anew sees that
        if self.layout.node.is_none() && virtual_size(qmp, &top).await? >= bytes {
            return self.agree_on(qmp, &top).await;
        }
        let all = exported(qmp).await?;
        let resized = match withdraw(qmp, &all).await {
            Ok(()) => qmp.execute("block_resize", json!({"node-name": top, "size": bytes})).await,
            Err(error) => Err(error),
        };
        self.agree_on(qmp, &top).await?;
        resized.map(drop)
    }

    /// Puts the disk that now lies at the volume's path on top of what the daemon has open, which has become the layer. A daemon that
    /// was started since has the right disk open already.
    async fn stack(&self, qmp: &mut Qmp, layer_id: &str) -> Result<()> {
        let top = top(qmp).await?;
        if image(qmp, &top).await?["full-backing-filename"].as_str().is_some_and(|name| name.ends_with(&layers::tail(layer_id))) {
            return Ok(());
        }
        // a node's name has 31 characters at most
        let name = format!("v{}", layer_id.replace('-', "").get(..30).unwrap_or(layer_id));
        let file = json!({"driver": "file", "filename": self.layout.disk, "discard": "unmap"});
        let mut disk = json!({"driver": "qcow2", "node-name": name, "file": file, "backing": null, "discard": "unmap"});
        if self.key.is_some() {
            disk["encrypt"] = luks::lock();
        }
        qmp.execute("blockdev-add", disk).await?;
        match qmp.execute("blockdev-snapshot", json!({"node": top, "overlay": name})).await {
            Ok(_) => Ok(()),
            Err(error) => {
                qmp.execute("blockdev-del", json!({"node-name": name})).await?;
                Err(error)
            }
        }
    }
}

/// The node that guests write to: the one that is exported, or the first there was.
async fn top(qmp: &mut Qmp) -> Result<String> {
    let exports = qmp.execute("query-block-exports", json!({})).await?;
    let mut live = exports.as_array().into_iter().flatten().filter(|export| export["shutting-down"] != json!(true));
    Ok(live.find_map(|export| export["node-name"].as_str()).unwrap_or("volume").to_owned())
}

async fn exported(qmp: &mut Qmp) -> Result<Vec<String>> {
    let exports = qmp.execute("query-block-exports", json!({})).await?;
    let live = exports.as_array().into_iter().flatten().filter(|export| export["shutting-down"] != json!(true));
    Ok(live.filter_map(|export| export["id"].as_str().map(str::to_owned)).collect())
}

/// Ends exports, and waits until QEMU has let go of them: until then each still holds the volume, and its name.
async fn withdraw(qmp: &mut Qmp, ids: &[String]) -> Result<()> {
    for id in ids {
        qmp.execute("block-export-del", json!({"id": id, "mode": "hard"})).await?;
    }
    let began = Instant::now();
    loop {
        let exports = qmp.execute("query-block-exports", json!({})).await?;
        if !exports.as_array().into_iter().flatten().any(|export| export["shutting-down"] == json!(true)) {
            return Ok(());
        }
        if began.elapsed() > LETTING_GO {
            return Err(Error::unavailable("The volume's users are not let go of yet."));
        }
        tokio::time::sleep(LETTING_GO_LOOK).await;
    }
}

async fn image(qmp: &mut Qmp, top: &str) -> Result<Value> {
    let mut nodes = qmp.execute("query-named-block-nodes", json!({"flat": true})).await?;
    let volume = nodes.as_array_mut().into_iter().flatten().find(|node| node["node-name"] == json!(top));
    Ok(volume.map(|node| node["image"].take()).unwrap_or_default())
}

async fn virtual_size(qmp: &mut Qmp, top: &str) -> Result<u64> {
    Ok(image(qmp, top).await?["virtual-size"].as_u64().unwrap_or_default())
}
