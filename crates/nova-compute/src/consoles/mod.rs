//! Consoles of guests for people elsewhere: a websocket on this host, and for each visit a token that works once and soon.
//!
//! The API asks for a token and hands its user an address; [`proxy`] lets in who shows it, and carries bytes between the browser and QEMU's
//! socket. The page at the address is noVNC, which [`pages`] gives away.

mod pages;
mod proxy;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kit::clock::Timestamp;
use kit::tls::Tls;
use kit::{Error, Result};
use rand::RngCore;
use rpc::actions::{ConsoleAccess, ConsoleKind};
use tokio::net::TcpListener;
use tokio::sync::OnceCell;
use tokio_util::task::AbortOnDropHandle;

pub use self::pages::Pages;

/// How long a token works, as nova's `token_ttl`.
const LIFETIME: Duration = Duration::from_secs(600);
/// Tokens that may be waiting; who asks for more loses the oldest.
const TOKENS: usize = 1024;

/// The consoles of a host. The door is opened when somebody first asks for a way in.
pub struct Consoles {
    address: String,
    port: u16,
    tls: Option<Tls>,
    pages: Arc<Pages>,
    tokens: Arc<Mutex<HashMap<String, Visit>>>,
    door: OnceCell<Door>,
}

/// What a token is for.
struct Visit {
    socket: PathBuf,
    until: Instant,
}

struct Door {
    port: u16,
    _proxy: AbortOnDropHandle<()>,
}

impl Consoles {
    /// At an address of this host, and this port if nobody has it; by https and wss with a certificate.
    pub fn new(address: String, port: u16, tls: Option<Tls>, pages: Pages) -> Consoles {
        Consoles { address, port, tls, pages: Arc::new(pages), tokens: Arc::default(), door: OnceCell::new() }
    }

    /// A way to the console behind a socket.
    pub async fn admit(&self, socket: PathBuf, kind: ConsoleKind) -> Result<ConsoleAccess> {
        let door = self.door.get_or_try_init(|| self.open()).await?;
        let token = token();
        let mut tokens = lock(&self.tokens);
        let now = Instant::now();
        tokens.retain(|_, visit| visit.until > now);
        if tokens.len() >= TOKENS
            && let Some(oldest) = tokens.iter().min_by_key(|(_, visit)| visit.until).map(|(token, _)| token.clone())
        {
            tokens.remove(&oldest);
        }
        tokens.insert(token.clone(), Visit { socket, until: now + LIFETIME });
        let place = match self.address.contains(':') {
            true => format!("[{}]:{}", self.address, door.port),
            false => format!("{}:{}", self.address, door.port),
        };
        let s = if self.tls.is_some() { "s" } else { "" };
        let url = match kind {
            // the path is quoted as noVNC's own pages want it
            ConsoleKind::Vnc => format!("http{s}://{place}/vnc_auto.html?path=%3Ftoken%3D{token}"),
            ConsoleKind::Serial => format!("ws{s}://{place}/?token={token}"),
        };
        let expires_at = Timestamp::now().0 / 1_000_000 + LIFETIME.as_secs() as i64;
        Ok(ConsoleAccess { url, token, host: self.address.clone(), port: door.port, expires_at })
    }

    async fn open(&self) -> Result<Door> {
        let listener = match TcpListener::bind((self.address.as_str(), self.port)).await {
            Ok(listener) => listener,
            // several hosts may share a machine
            Err(_) => TcpListener::bind((self.address.as_str(), 0))
                .await
                .map_err(|error| Error::unavailable(format!("Consoles cannot be served on {}: {error}", self.address)))?,
        };
        let port = listener.local_addr()?.port();
        tracing::info!(address = self.address, port, "consoles are served");
        let proxy = tokio::spawn(proxy::serve(listener, self.tls.clone(), self.tokens.clone(), self.pages.clone()));
        Ok(Door { port, _proxy: AbortOnDropHandle::new(proxy) })
    }
}

/// Takes a token away, and answers what it was for.
fn redeem(tokens: &Mutex<HashMap<String, Visit>>, token: &str) -> Option<PathBuf> {
    let visit = lock(tokens).remove(token)?;
    (visit.until > Instant::now()).then_some(visit.socket)
}

fn token() -> String {
    let mut bytes = [0; 16];
    rand::rng().fill_bytes(&mut bytes);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("{}-{}-{}-{}-{}", hex(&bytes[..4]), hex(&bytes[4..6]), hex(&bytes[6..8]), hex(&bytes[8..10]), hex(&bytes[10..]))
}

fn lock(tokens: &Mutex<HashMap<String, Visit>>) -> MutexGuard<'_, HashMap<String, Visit>> {
    tokens.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures::{SinkExt, StreamExt};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpStream, UnixListener};
    use tokio_tungstenite::tungstenite::Message;

    use super::*;

    /// A guest's screen that greets as QEMU does, and repeats what it is told.
    fn screen(path: &std::path::Path) {
        let listener = UnixListener::bind(path).unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                stream.write_all(b"RFB 003.008\n").await.unwrap();
                let (mut reader, mut writer) = stream.into_split();
                tokio::io::copy(&mut reader, &mut writer).await.unwrap();
            }
        });
    }

    async fn get(access: &ConsoleAccess, path: &str) -> String {
        let mut stream = TcpStream::connect((access.host.as_str(), access.port)).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn visit(access: &ConsoleAccess) -> Option<tokio_tungstenite::WebSocketStream<TcpStream>> {
        let stream = TcpStream::connect((access.host.as_str(), access.port)).await.unwrap();
        let url = format!("ws://{}:{}/?token={}", access.host, access.port, access.token);
        tokio_tungstenite::client_async(url, stream).await.ok().map(|(socket, _)| socket)
    }

    #[tokio::test]
    async fn a_token_opens_one_console_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vnc.sock");
        screen(&path);
        let consoles = Consoles::new("127.0.0.1".into(), 0, None, Pages::new(dir.path()));
        let access = consoles.admit(path, ConsoleKind::Vnc).await.unwrap();
        assert!(access.url.ends_with(&format!("/vnc_auto.html?path=%3Ftoken%3D{}", access.token)));

        let mut socket = visit(&access).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap().into_data(), "RFB 003.008\n");
        socket.send(Message::binary("hello")).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap().into_data(), "hello");
        assert!(visit(&access).await.is_none(), "the token is spent");

        std::fs::create_dir_all(dir.path().join("novnc/core")).unwrap();
        std::fs::write(dir.path().join("novnc/core/rfb.js"), "").unwrap();
        assert!(get(&access, "/vnc_auto.html?path=x").await.contains("<title>Console</title>"));
        assert!(get(&access, "/etc/passwd").await.starts_with("HTTP/1.1 404"));
    }

    #[tokio::test]
    async fn an_old_token_opens_nothing() {
        let tokens = Mutex::default();
        lock(&tokens).insert("t".into(), Visit { socket: "/x".into(), until: Instant::now() - Duration::from_secs(1) });
        assert_eq!(redeem(&tokens, "t"), None);
        assert_ne!(token(), token());
        assert_eq!(kit::ids::parse_uuid(&token()).unwrap().len(), 36);
    }
}
