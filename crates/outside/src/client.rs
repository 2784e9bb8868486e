//! The HTTP client underneath: hyper, with TLS by rustls and the certificates this host trusts.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Body;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};

use crate::reach::is_public;

/// Time to reach a server.
const CONNECT: Duration = Duration::from_secs(10);
/// Time an idle connection is kept.
const IDLE: Duration = Duration::from_secs(30);

pub type Outside<B> = Client<HttpsConnector<HttpConnector<Names>>, B>;

/// A client that reaches what `reach` lets it.
pub fn open<B>(reach: Reach) -> Outside<B>
where
    B: Body + Send,
    B::Data: Send,
{
    let mut tcp = HttpConnector::new_with_resolver(Names(reach));
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(CONNECT));
    tcp.set_nodelay(true);
    let https = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls()).https_or_http().enable_http1().wrap_connector(tcp);
    Client::builder(TokioExecutor::new()).pool_idle_timeout(IDLE).pool_timer(TokioTimer::new()).build(https)
}

fn tls() -> ClientConfig {
    let mut roots = RootCertStore::empty();
    // a host without certificates trusts nobody, and says so when https is asked for
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = rustls::ALL_VERSIONS.to_vec();
    match ClientConfig::builder_with_provider(provider).with_protocol_versions(&versions) {
        Ok(builder) => builder.with_root_certificates(roots).with_no_client_auth(),
        // the provider and its own versions always fit
        Err(error) => unreachable!("{error}"),
    }
}

/// Where connections may go.
#[derive(Clone, Debug)]
pub enum Reach {
    /// Anywhere: an operator named the place.
    Anywhere,
    /// The public Internet, and these addresses that an operator excepts.
    Public { except: Arc<[IpAddr]> },
}

impl Reach {
    pub fn allows(&self, address: IpAddr) -> bool {
        match self {
            Reach::Anywhere => true,
            Reach::Public { except } => is_public(address) || except.contains(&address),
        }
    }
}

/// Names to addresses, of which only those within reach are told to the connector: what was checked is what is connected to.
#[derive(Clone, Debug)]
pub struct Names(Reach);

impl tower::Service<Name> for Names {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let reach = self.0.clone();
        Box::pin(async move {
            let all = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let within: Vec<SocketAddr> = all.filter(|address| reach.allows(address.ip())).collect();
            if within.is_empty() {
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("{} has no public address", name.as_str())));
            }
            Ok(within.into_iter())
        })
    }
}
