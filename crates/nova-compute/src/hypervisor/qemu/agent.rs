//! The guest's agent, where the image says it has one: it holds file systems still and sets passwords.
//!
//! It speaks JSON over a port that looks like a serial line, so an answer may be anybody's of before: every talk begins by agreeing on a number.

use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kit::{Error, Kind, Result};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::guest::Owner;

const PATIENCE: Duration = Duration::from_secs(5);

/// Asks the agent behind a socket.
pub async fn ask(socket: &Path, command: &str, arguments: Value) -> Result<Value> {
    let none = |why: String| Error::new(Kind::NotImplemented, format!("QEMU guest agent is not connected: {why}"));
    let talk = async {
        let mut stream = BufReader::new(UnixStream::connect(socket).await.map_err(|error| none(error.to_string()))?);
        let number: u32 = rand::random();
        // the byte ends whatever was left half said
        stream.write_all(&[0xff]).await?;
        say(&mut stream, "guest-sync", json!({"id": number})).await?;
        while hear(&mut stream).await?.get("return") != Some(&json!(number)) {}
        say(&mut stream, command, arguments).await?;
        hear(&mut stream).await
    };
    let mut answer = tokio::time::timeout(PATIENCE, talk).await.map_err(|_| none("it does not answer".into()))??;
    match answer.get("error") {
        Some(error) => Err(Error::conflict(format!("The guest's agent refuses: {}", error["desc"].as_str().unwrap_or("no reason given")))),
        None => Ok(answer["return"].take()),
    }
}

/// Sets a user's password.
pub async fn set_password(socket: &Path, user: &str, password: &str) -> Result<()> {
    let arguments = json!({"username": user, "password": STANDARD.encode(password), "crypted": false});
    ask(socket, "guest-set-user-password", arguments).await.map(drop)
}

impl Owner {
    /// Holds the guest's file systems still. Answers whether it does: a guest without agent is as consistent as after a power cut.
    pub(super) async fn freeze(&self) -> bool {
        let Some(socket) = &self.agent else { return false };
        match ask(socket, "guest-fsfreeze-freeze", json!({})).await {
            Ok(_) => true,
            Err(error) => {
                tracing::info!(%error, "the guest is not held still");
                false
            }
        }
    }

    pub(super) async fn thaw(&self) {
        let Some(socket) = &self.agent else { return };
        if let Err(error) = ask(socket, "guest-fsfreeze-thaw", json!({})).await {
            tracing::error!(%error, "the guest may still be held still");
        }
    }
}

/// Lets a guest go that an earlier process held still and did not let go. One whose agent does not answer is not held.
pub async fn thaw_forgotten(socket: &Path) {
    if ask(socket, "guest-fsfreeze-status", json!({})).await.is_ok_and(|status| status == "frozen") {
        match ask(socket, "guest-fsfreeze-thaw", json!({})).await {
            Ok(_) => tracing::info!("a guest that was held still goes on"),
            Err(error) => tracing::error!(%error, "the guest may still be held still"),
        }
    }
}

async fn say(stream: &mut BufReader<UnixStream>, command: &str, arguments: Value) -> Result<()> {
    let line = format!("{}\n", json!({"execute": command, "arguments": arguments}));
    Ok(stream.write_all(line.as_bytes()).await?)
}

/// The next line that is JSON.
async fn hear(stream: &mut BufReader<UnixStream>) -> Result<Value> {
    loop {
        let mut line = Vec::new();
        if stream.read_until(b'\n', &mut line).await? == 0 {
            return Err(Error::new(Kind::NotImplemented, "QEMU guest agent is not connected: it hung up"));
        }
        let text = line.strip_prefix(&[0xff]).unwrap_or(&line);
        if let Ok(value) = serde_json::from_slice(text) {
            return Ok(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_agent_is_asked_after_both_agree_on_a_number() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let guest = tokio::spawn(async move {
            let mut stream = BufReader::new(listener.accept().await.unwrap().0);
            let sync = hear(&mut stream).await.unwrap();
            let answer = format!("{{\"return\": 7}}\n{{\"return\": {}}}\n", sync["arguments"]["id"]);
            stream.write_all(answer.as_bytes()).await.unwrap();
            let asked = hear(&mut stream).await.unwrap();
            stream.write_all(b"{\"return\": {}}\n").await.unwrap();
            asked
        });
        set_password(&path, "root", "secret").await.unwrap();
        let asked = guest.await.unwrap();
        assert_eq!(asked["execute"], "guest-set-user-password");
        assert_eq!(asked["arguments"]["password"], "c2VjcmV0");
    }

    #[tokio::test]
    async fn a_guest_without_agent_cannot_be_asked() {
        let error = ask(Path::new("/nonexistent/agent"), "guest-ping", json!({})).await.unwrap_err();
        assert_eq!(error.kind, Kind::NotImplemented);
    }
}
