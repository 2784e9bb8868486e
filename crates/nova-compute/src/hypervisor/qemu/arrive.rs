//! A guest that comes from another host: its QEMU waits for memory, its disks can be written over NBD, and when all is there it goes on.

use std::net::TcpListener;
use std::time::Duration;

use kit::{Error, Kind, Result};
use rpc::live_migration::Landing;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::depart::place;
use super::guest::Owner;
use super::qmp::Qmp;
use super::{args, secure, suspend};

/// How long the last of a guest whose source has finished may take to be read.
const ARRIVAL: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(5);
/// How often another port is tried when somebody took the one that was free.
const TRIES: usize = 5;

/// Lets a QEMU that was started to wait be reached by the source.
pub async fn open(qmp: &Qmp, address: &str, disks: &[String], key: Option<&str>) -> Result<Landing> {
    let mut landing = Landing { address: address.to_owned(), key: key.map(str::to_owned), ..Landing::default() };
    if !disks.is_empty() {
        landing.disks = serve(qmp, address, key.is_some()).await?;
        for disk in disks {
            let export =
                json!({"type": "nbd", "id": format!("in-{disk}"), "node-name": args::node_name(disk), "name": disk, "writable": true});
            qmp.execute("block-export-add", export).await?;
        }
    }
    let credentials = if key.is_some() { secure::NAME } else { "" };
    qmp.execute("migrate-set-parameters", json!({"tls-creds": credentials})).await?;
    qmp.execute("migrate-incoming", json!({"uri": format!("tcp:{}", place(address, 0))})).await?;
    landing.memory =
        listening(&qmp.execute("query-migrate", json!({})).await?).ok_or_else(|| Error::internal("QEMU does not tell its port"))?;
    Ok(landing)
}

/// An NBD server on a port that nobody has.
async fn serve(qmp: &Qmp, address: &str, secured: bool) -> Result<u16> {
    let mut refusal = Error::internal("no port is free");
    for _ in 0..TRIES {
        let port = TcpListener::bind((address, 0))?.local_addr()?.port();
        let mut server = json!({"addr": {"type": "inet", "data": {"host": address, "port": port.to_string()}}});
        if secured {
            server["tls-creds"] = json!(secure::NAME);
        }
        match qmp.execute("nbd-server-start", server).await {
            Ok(_) => return Ok(port),
            Err(error) => refusal = error,
        }
    }
    Err(refusal)
}

/// The port on which QEMU waits for memory.
fn listening(seen: &Value) -> Option<u16> {
    seen["socket-address"].as_array()?.iter().find_map(|address| address["port"].as_str()?.parse().ok())
}

impl Owner {
    /// Lets a guest whose memory is all here go on; so does one that went and comes back.
    pub(super) async fn land(&mut self, run: bool) -> Result<()> {
        let deadline = Instant::now() + ARRIVAL;
        while suspend::is_incoming(&self.qmp).await? {
            if Instant::now() > deadline {
                return Err(Error::new(Kind::TimedOut, "The guest has not arrived."));
            }
            tokio::time::sleep(LOOK).await;
        }
        // what was written is written; there is none when the guest has volumes only, or has landed before
        let _ = self.qmp.execute("nbd-server-stop", json!({})).await;
        secure::take_back(&self.qmp).await;
        if run {
            self.qmp.execute("cont", json!({})).await?;
            self.announce().await?;
        }
        self.look().await
    }

    pub(super) async fn announce(&self) -> Result<()> {
        self.qmp.execute("announce-self", json!({"initial": 50, "max": 550, "rounds": 5, "step": 100})).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_read_from_where_qemu_listens() {
        let seen = json!({"status": "setup", "socket-address": [{"type": "inet", "host": "10.0.0.2", "port": "40123"}]});
        assert_eq!(listening(&seen), Some(40123));
        assert_eq!(listening(&json!({"status": "none"})), None);
    }
}
