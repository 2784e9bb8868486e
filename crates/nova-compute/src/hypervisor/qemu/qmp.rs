//! QEMU's control protocol over its UNIX socket: commands with their answers, and events.
//!
//! One JSON object a line. Answers find their command by its id; events go to whoever listens, and a slow listener loses the oldest.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kit::{Error, Kind, Result};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{broadcast, oneshot};

/// QEMU answers at once, or is in trouble.
const PATIENCE: Duration = Duration::from_secs(15);
const EVENTS: usize = 256;

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<std::result::Result<Value, String>>>>>;

/// A connection to one guest's QEMU.
pub struct Qmp {
    writer: tokio::sync::Mutex<OwnedWriteHalf>,
    waiting: Waiting,
    next_id: AtomicU64,
    events: broadcast::Sender<Event>,
    reader: tokio::task::JoinHandle<()>,
}

/// Something QEMU tells unasked.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub name: String,
    pub data: Value,
}

impl Qmp {
    /// Connects and says hello.
    pub async fn connect(socket: &Path) -> Result<Qmp> {
        let hello = async {
            let stream = UnixStream::connect(socket).await?;
            let (reader, writer) = stream.into_split();
            let mut reader = BufReader::new(reader);
            let mut greeting = String::new();
            reader.read_line(&mut greeting).await?;
            if !greeting.contains("\"QMP\"") {
                return Err(io::Error::other("it does not greet as QEMU does"));
            }
            Ok((reader, writer))
        };
        let (reader, writer) = tokio::time::timeout(PATIENCE, hello)
            .await
            .unwrap_or_else(|_| Err(io::Error::other("another client may hold its control socket")))
            .map_err(|error| Error::new(Kind::Unavailable, format!("QEMU cannot be reached: {error}")))?;
        let waiting = Waiting::default();
        let (events, _) = broadcast::channel(EVENTS);
        let reader = tokio::spawn(read(reader, waiting.clone(), events.clone()));
        let qmp = Qmp { writer: tokio::sync::Mutex::new(writer), waiting, next_id: AtomicU64::new(1), events, reader };
        qmp.execute("qmp_capabilities", json!({})).await?;
        Ok(qmp)
    }

    /// Runs one command and answers what it returns.
    pub async fn execute(&self, command: &str, arguments: Value) -> Result<Value> {
        self.run(command, arguments, None).await
    }

    /// Gives QEMU an open file under a name, for a command that follows.
    pub async fn give(&self, name: &str, fd: &OwnedFd) -> Result<()> {
        self.run("getfd", json!({"fdname": name}), Some(fd)).await.map(drop)
    }

    /// What happens from now on.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    async fn run(&self, command: &str, arguments: Value, fd: Option<&OwnedFd>) -> Result<Value> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (reply, answer) = oneshot::channel();
        lock(&self.waiting).insert(id, reply);
        let line = format!("{}\n", json!({"execute": command, "arguments": arguments, "id": id}));
        let exchange = async {
            self.send(line.as_bytes(), fd).await.map_err(|error| error.to_string())?;
            answer.await.unwrap_or_else(|_| Err("QEMU went away".into()))
        };
        let outcome = tokio::time::timeout(PATIENCE, exchange).await.unwrap_or_else(|_| Err("QEMU does not answer".into()));
        lock(&self.waiting).remove(&id);
        outcome.map_err(|why| Error::new(Kind::Internal, format!("{command} failed: {why}")))
    }

    async fn send(&self, line: &[u8], fd: Option<&OwnedFd>) -> io::Result<()> {
        let mut writer = self.writer.lock().await;
        let Some(fd) = fd else { return writer.write_all(line).await };
        let stream: &UnixStream = writer.as_ref();
        let fds = [fd.as_raw_fd()];
        let send = || {
            let control = [ControlMessage::ScmRights(&fds)];
            sendmsg::<()>(stream.as_raw_fd(), &[IoSlice::new(line)], &control, MsgFlags::empty(), None).map_err(io::Error::from)
        };
        loop {
            stream.writable().await?;
            match stream.try_io(Interest::WRITABLE, send) {
                Ok(sent) => return writer.write_all(line.get(sent..).unwrap_or_default()).await,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for Qmp {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Reads until the connection ends, and then lets nobody wait.
async fn read(reader: BufReader<OwnedReadHalf>, waiting: Waiting, events: broadcast::Sender<Event>) {
    let mut lines = reader.lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match parse(&line) {
            Some(Said::Answer(id, outcome)) => {
                if let Some(reply) = lock(&waiting).remove(&id) {
                    // who asked may have stopped waiting
                    let _ = reply.send(outcome);
                }
            }
            // nobody may be listening
            Some(Said::Event(event)) => drop(events.send(event)),
            None => tracing::debug!(line, "QEMU said something unknown"),
        }
    }
    lock(&waiting).clear();
}

#[derive(Debug, PartialEq)]
enum Said {
    Answer(u64, std::result::Result<Value, String>),
    Event(Event),
}

fn parse(line: &str) -> Option<Said> {
    let mut said: Value = serde_json::from_str(line).ok()?;
    if let Some(name) = said.get("event").and_then(Value::as_str) {
        let name = name.to_owned();
        return Some(Said::Event(Event { name, data: said.get_mut("data").map(Value::take).unwrap_or(Value::Null) }));
    }
    let id = said.get("id")?.as_u64()?;
    if let Some(value) = said.get_mut("return") {
        return Some(Said::Answer(id, Ok(value.take())));
    }
    let why = said.get("error")?.get("desc")?.as_str()?.to_owned();
    Some(Said::Answer(id, Err(why)))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_errors_and_events_are_told_apart() {
        assert_eq!(parse(r#"{"return": {"status": "running"}, "id": 7}"#), Some(Said::Answer(7, Ok(json!({"status": "running"})))));
        assert_eq!(parse(r#"{"id": 8, "error": {"class": "GenericError", "desc": "no"}}"#), Some(Said::Answer(8, Err("no".into()))));
        let event = parse(r#"{"timestamp": {}, "event": "STOP"}"#);
        assert_eq!(event, Some(Said::Event(Event { name: "STOP".into(), data: Value::Null })));
        assert_eq!(parse("{}"), None);
    }

    #[tokio::test]
    async fn who_waits_is_told_that_qemu_went_away() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("q");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let (reader, mut writer) = stream.into_split();
            writer.write_all(b"{\"QMP\": {}}\n").await.unwrap();
            let mut lines = BufReader::new(reader).lines();
            lines.next_line().await.unwrap();
            writer.write_all(b"{\"return\": {}, \"id\": 1}\n").await.unwrap();
            lines.next_line().await.unwrap();
        });
        let qmp = Qmp::connect(&path).await.unwrap();
        let error = qmp.execute("query-status", json!({})).await.unwrap_err();
        assert_eq!(error.message, "query-status failed: QEMU went away");
    }
}
