//! The little of QMP that a storage daemon needs: one command at a time, events skipped.

use std::path::Path;
use std::time::Duration;

use kit::{Error, Result};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes a line may have.
const LINE: u64 = 1 << 20;

/// A monitor connection.
pub struct Qmp {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    line: Vec<u8>,
}

impl Qmp {
    /// Connects and leaves negotiation behind.
    pub async fn connect(socket: &Path) -> Result<Qmp> {
        let (reader, writer) = timed(async { Ok(UnixStream::connect(socket).await?) }).await?.into_split();
        let mut qmp = Qmp { reader: BufReader::new(reader), writer, line: Vec::new() };
        timed(qmp.message()).await?;
        qmp.execute("qmp_capabilities", json!({})).await?;
        Ok(qmp)
    }

    /// Runs a command; what the daemon refuses is a conflict in its own words, a daemon that is gone is unavailable.
    pub async fn execute(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let line = format!("{}\n", json!({"execute": command, "arguments": arguments}));
        timed(async {
            self.writer.write_all(line.as_bytes()).await.map_err(|_| gone())?;
            loop {
                let mut message = self.message().await?;
                if let Some(answer) = message.get_mut("return") {
                    return Ok(answer.take());
                }
                if let Some(error) = message.get("error") {
                    return Err(Error::conflict(format!("{command}: {}", error["desc"].as_str().unwrap_or("refused"))));
                }
            }
        })
        .await
    }

    /// Waits until the daemon is gone. May be dropped at any time: a line read in part is kept.
    pub async fn closed(&mut self) {
        while self.message().await.is_ok() {}
    }

    async fn message(&mut self) -> Result<Value> {
        let room = LINE.saturating_sub(self.line.len() as u64);
        let read = (&mut self.reader).take(room).read_until(b'\n', &mut self.line).await.map_err(|_| gone())?;
        if read == 0 || !self.line.ends_with(b"\n") {
            return Err(gone());
        }
        let message = serde_json::from_slice(&self.line);
        self.line.clear();
        Ok(message?)
    }
}

async fn timed<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(Error::unavailable("The storage daemon does not answer.")))
}

fn gone() -> Error {
    Error::unavailable("The storage daemon is gone.")
}
