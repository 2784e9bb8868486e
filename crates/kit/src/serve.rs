//! Sockets to requests: bounded, with time limits on slow clients, and a graceful end. With a certificate they are private.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{HeaderValue, Request};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::service::{SCHEME, Service};
use crate::tls::Tls;

/// Connections an API holds at once; further ones wait in the kernel's queue.
const CONNECTIONS: usize = 2048;
/// How long a client may take to send a request's head.
const HEAD: Duration = Duration::from_secs(30);
/// How long requests may go on after the end was asked for.
const GRACE: Duration = Duration::from_secs(10);

/// Answer connections until `stop`; then finish the requests at hand.
pub async fn serve(listener: TcpListener, service: Service, tls: Option<Tls>, stop: CancellationToken) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            _ = stop.cancelled() => break,
            accepted = accept(&listener, &room) => accepted,
        };
        let Some((socket, permit)) = accepted else { continue };
        let (service, tls, stop) = (service.clone(), tls.clone(), stop.clone());
        connections.spawn(async move {
            match tls {
                None => converse(socket, service, None, stop).await,
                Some(tls) => match tls.accept(socket).await {
                    Ok(private) => converse(private, service, Some("https"), stop).await,
                    Err(error) => tracing::debug!(%error, "a client did not come to terms"),
                },
            }
            drop(permit);
        });
    }
    connections.close();
    let _ = tokio::time::timeout(GRACE, connections.wait()).await;
}

/// The requests of one connection. A client on a private one used https, unless a balancer before it says otherwise.
async fn converse(socket: impl AsyncRead + AsyncWrite + Unpin, service: Service, scheme: Option<&'static str>, stop: CancellationToken) {
    let handler = service_fn(move |request: Request<Incoming>| {
        let service = service.clone();
        let mut request = request.map(Body::new);
        if let Some(scheme) = scheme {
            request.headers_mut().entry(SCHEME).or_insert(HeaderValue::from_static(scheme));
        }
        async move { Ok::<_, Infallible>(service.call(request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(64 << 10)
        .serve_connection(TokioIo::new(socket), handler);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // a client that goes away mid-request is its own business
        _ = connection.as_mut() => {}
        _ = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> Option<(tokio::net::TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = room.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((socket, _)) => {
            let _ = socket.set_nodelay(true);
            Some((socket, permit))
        }
        Err(error) => {
            // out of file descriptors, say: wait a little rather than spin
            tracing::warn!(%error, "cannot accept a connection");
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}
