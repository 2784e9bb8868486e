//! From a guest to nova's metadata API: who asks is what the source address says, never what the request says.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hmac::{Hmac, Mac};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sha2::Sha256;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::{Directory, Identity};
use crate::{Error, Result};

/// Connections of one network at a time, and how long one of them, or one question to nova, may last.
const CONNECTIONS: usize = 64;
const CONNECTION: Duration = Duration::from_secs(60);
const HEADERS: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(15);
/// A guest sends at most its encrypted password.
const REQUEST_BODY: usize = 64 * 1024;

const INSTANCE: HeaderName = HeaderName::from_static("x-instance-id");
const SIGNATURE: HeaderName = HeaderName::from_static("x-instance-id-signature");
const TENANT: HeaderName = HeaderName::from_static("x-tenant-id");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// What a guest must not say itself, and what concerns only one connection.
const DROPPED: [HeaderName; 11] = [
    INSTANCE,
    SIGNATURE,
    TENANT,
    FORWARDED_FOR,
    header::FORWARDED,
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::CONTENT_LENGTH,
];

/// nova's metadata API, and what it knows us by.
pub struct Upstream {
    pub address: SocketAddr,
    pub secret: String,
}

type Body = Either<Incoming, Full<Bytes>>;

/// Serve one network until aborted, and its connections with it.
pub async fn serve(listener: TcpListener, directory: Directory, upstream: Arc<Upstream>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = tokio::task::JoinSet::new();
    while let Ok(permit) = room.clone().acquire_owned().await {
        while connections.try_join_next().is_some() {}
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (directory, upstream) = (directory.clone(), upstream.clone());
        connections.spawn(async move {
            let _permit = permit;
            let service = service_fn(|request| answer(request, peer.ip(), directory.clone(), upstream.clone()));
            let connection = server::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADERS)
                .serve_connection(TokioIo::new(stream), service);
            // A guest that breaks off, or sends nonsense, is its own affair.
            let _ = tokio::time::timeout(CONNECTION, connection).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    peer: IpAddr,
    directory: Directory,
    upstream: Arc<Upstream>,
) -> std::result::Result<Response<Body>, Infallible> {
    let identity = directory.read().unwrap_or_else(PoisonError::into_inner).get(&peer).cloned();
    let Some(identity) = identity else {
        tracing::warn!(%peer, "metadata asked from an address that is no port's");
        return Ok(plain(StatusCode::NOT_FOUND));
    };
    let path = request.uri().path().to_owned();
    match tokio::time::timeout(ANSWER, forward(request, peer, &identity, &upstream)).await {
        Ok(Ok(response)) => {
            tracing::info!(%peer, instance = identity.instance_id, path, status = response.status().as_u16(), "metadata");
            Ok(response.map(Either::Left))
        }
        Ok(Err(error)) => {
            tracing::warn!(%peer, instance = identity.instance_id, path, %error, "nova's metadata API cannot be reached");
            Ok(plain(StatusCode::BAD_GATEWAY))
        }
        Err(_) => Ok(plain(StatusCode::GATEWAY_TIMEOUT)),
    }
}

async fn forward(request: Request<Incoming>, peer: IpAddr, who: &Identity, upstream: &Upstream) -> Result<Response<Incoming>> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, REQUEST_BODY).collect().await.map_err(Error::internal)?.to_bytes();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut onward = Request::builder().method(parts.method).uri(path).body(Full::new(body)).map_err(Error::internal)?;
    *onward.headers_mut() = headers(parts.headers, peer, who, upstream)?;
    let stream = TcpStream::connect(upstream.address).await?;
    let (mut sender, connection) = client::handshake(TokioIo::new(stream)).await.map_err(Error::internal)?;
    tokio::spawn(tokio::time::timeout(CONNECTION, connection));
    let mut response = sender.send_request(onward).await.map_err(Error::internal)?;
    for name in [header::CONNECTION, header::TRANSFER_ENCODING] {
        response.headers_mut().remove(name);
    }
    Ok(response)
}

/// The guest's headers without its claims, and with ours.
fn headers(mut headers: HeaderMap, peer: IpAddr, who: &Identity, upstream: &Upstream) -> Result<HeaderMap> {
    for name in DROPPED {
        headers.remove(name);
    }
    headers.insert(header::HOST, text(&upstream.address.to_string())?);
    headers.insert(FORWARDED_FOR, text(&peer.to_string())?);
    headers.insert(INSTANCE, text(&who.instance_id)?);
    headers.insert(TENANT, text(&who.project_id)?);
    headers.insert(SIGNATURE, text(&signature(&upstream.secret, &who.instance_id)?)?);
    Ok(headers)
}

/// HMAC-SHA256 of the instance id in hex, as nova checks it.
fn signature(secret: &str, instance_id: &str) -> Result<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_err(Error::internal)?;
    mac.update(instance_id.as_bytes());
    Ok(mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn text(value: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(value).map_err(Error::internal)
}

fn plain(status: StatusCode) -> Response<Body> {
    let text = format!("{status}\n");
    let mut response = Response::new(Either::Right(Full::new(Bytes::from(text))));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_cannot_claim_to_be_another() {
        let mut sent = HeaderMap::new();
        for (name, value) in [("x-instance-id", "other"), ("x-tenant-id", "other"), ("x-forwarded-for", "10.0.0.9"), ("accept", "*/*")] {
            sent.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            sent.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let who = Identity { instance_id: "mine".into(), project_id: "tenant".into() };
        let upstream = Upstream { address: SocketAddr::from(([127, 0, 0, 1], 8775)), secret: "secret".into() };
        let headers = headers(sent, "10.0.0.5".parse().unwrap(), &who, &upstream).unwrap();
        let all = |name: &str| headers.get_all(name).iter().map(|v| v.to_str().unwrap().to_owned()).collect::<Vec<_>>();
        assert_eq!(all("x-instance-id"), ["mine"]);
        assert_eq!(all("x-tenant-id"), ["tenant"]);
        assert_eq!(all("x-forwarded-for"), ["10.0.0.5"]);
        assert_eq!(all("accept").len(), 2);
    }

    #[test]
    fn the_signature_is_novas() {
        // hmac.new(b'secret', b'mine', hashlib.sha256).hexdigest()
        let expected = "65e0f1baba9d042f8a10dcc08f71e0706ab248b1d8e5fa6374de7ad429ca1969";
        assert_eq!(signature("secret", "mine").unwrap(), expected);
    }
}
