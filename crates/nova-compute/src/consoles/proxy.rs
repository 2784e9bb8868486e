//! The door: websockets that lead to the console a token names; whoever asks for anything else is given [`Pages`].

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use http::{HeaderValue, StatusCode};
use kit::tls::Tls;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};

use super::pages::Pages;
use super::{Visit, redeem};

/// Visitors at a time.
const VISITORS: usize = 256;
/// How long one may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one may take to be given a page.
const PAGE: Duration = Duration::from_secs(60);
const HEAD: usize = 8 << 10;
const CHUNK: usize = 64 << 10;

/// A visitor's connection, private or not.
trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Socket for S {}

type Tokens = Arc<Mutex<HashMap<String, Visit>>>;

/// Lets visitors in.
pub async fn serve(listener: TcpListener, tls: Option<Tls>, tokens: Tokens, pages: Arc<Pages>) {
    let room = Arc::new(Semaphore::new(VISITORS));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a console's visitor could not be let in");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (tls, tokens, pages) = (tls.clone(), tokens.clone(), pages.clone());
        tokio::spawn(async move {
            let received = async {
                match tls {
                    Some(tls) => receive(tls.accept(stream).await?, tokens, &pages).await,
                    None => receive(stream, tokens, &pages).await,
                }
            };
            if let Err(error) = received.await {
                tracing::debug!(%error, "a console's visitor left");
            }
            drop(permit);
        });
    }
}

#[allow(clippy::result_large_err)] // the library's type
async fn receive(stream: impl Socket, tokens: Tokens, pages: &Pages) -> io::Result<()> {
    let (mut from, mut to) = tokio::io::split(stream);
    let seen = tokio::time::timeout(PATIENCE, head(&mut from)).await??;
    let head = String::from_utf8_lossy(&seen);
    if !head.to_ascii_lowercase().contains("upgrade: websocket") {
        // a visitor who does not take it must not keep the place
        tokio::time::timeout(PAGE, pages.answer(&head, &mut to)).await??;
        return to.shutdown().await;
    }
    // who speaks websocket wants to read the head itself
    let stream = tokio::io::join(io::Cursor::new(seen).chain(from), to);
    let mut console = None;
    let check = |request: &Request, response: Response| admit(request, response, &tokens, &mut console);
    let accepted = tokio::time::timeout(PATIENCE, tokio_tungstenite::accept_hdr_async(stream, check)).await?;
    let (Ok(socket), Some(path)) = (accepted, console) else { return Err(io::Error::other("it showed no token")) };
    let (to_visitor, from_visitor) = socket.split();
    let (reader, writer) = UnixStream::connect(path).await?.into_split();
    // whichever side ends first ends the visit
    tokio::select! {
        done = inward(from_visitor, writer) => done,
        done = outward(reader, to_visitor) => done,
    }
}

/// The beginning of a request.
async fn head(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut seen = Vec::new();
    while !seen.windows(4).any(|window| window == b"\r\n\r\n") && seen.len() < HEAD {
        if from.read_buf(&mut seen).await? == 0 {
            break;
        }
    }
    Ok(seen)
}

/// Takes the token of a request. Clients of old ask for the subprotocol `binary`, and want to be told that they have it.
#[allow(clippy::result_large_err)] // the library's type
fn admit(request: &Request, mut response: Response, tokens: &Tokens, console: &mut Option<PathBuf>) -> Result<Response, ErrorResponse> {
    let query = request.uri().query().unwrap_or_default();
    let token = query.split('&').find_map(|pair| pair.strip_prefix("token="));
    *console = token.and_then(|token| redeem(tokens, token));
    if console.is_none() {
        let mut refusal = ErrorResponse::new(Some("The token has expired or is unknown.".to_owned()));
        *refusal.status_mut() = StatusCode::FORBIDDEN;
        return Err(refusal);
    }
    let asked = request.headers().get("sec-websocket-protocol").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if asked.split(',').any(|protocol| protocol.trim() == "binary") {
        response.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("binary"));
    }
    Ok(response)
}

/// From the visitor to the guest.
async fn inward(mut from: SplitStream<WebSocketStream<impl Socket>>, mut to: OwnedWriteHalf) -> io::Result<()> {
    while let Some(message) = from.next().await {
        match message.map_err(io::Error::other)? {
            message @ (Message::Binary(_) | Message::Text(_)) => to.write_all(&message.into_data()).await?,
            Message::Close(_) => return Ok(()),
            // answered by the library
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
    Ok(())
}

/// From the guest to the visitor.
async fn outward(mut from: OwnedReadHalf, mut to: SplitSink<WebSocketStream<impl Socket>, Message>) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.send(Message::Close(None)).await.map_err(io::Error::other);
        }
        let data = buffer.get(..read).unwrap_or_default().to_vec();
        to.send(Message::binary(data)).await.map_err(io::Error::other)?;
    }
}
