//! Connections over the network: TCP, and TLS by rustls where an address says https.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::{Error, Result};

/// Time to reach a server.
pub const CONNECT: Duration = Duration::from_secs(10);
/// Time an idle connection is kept.
const IDLE: Duration = Duration::from_secs(30);

pub type Http = Client<HttpsConnector<HttpConnector>, Body>;

/// A client for an address that believes these authorities, if it comes to that, and takes so long to reach it.
pub fn client(authorities: RootCertStore, connect: Duration) -> Http {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_keepalive(Some(IDLE));
    tcp.set_connect_timeout(Some(connect));
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls(authorities)).https_or_http().enable_http1().wrap_connector(tcp);
    Client::builder(TokioExecutor::new()).pool_idle_timeout(IDLE).build(connector)
}

/// The authorities that an address needs: those of this host for https, else none, as reading them takes time.
pub fn authorities_for(url: &str) -> RootCertStore {
    let mut authorities = RootCertStore::empty();
    if url.starts_with("https:") {
        // a host without certificates believes nobody, and says so when it connects
        authorities.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    authorities
}

/// The authorities in a PEM file.
pub fn authorities_in(file: &Path) -> Result<RootCertStore> {
    let unreadable = |why: &dyn std::fmt::Display| Error::silent(format!("{} has no certificates to be read: {why}", file.display()));
    let mut authorities = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| unreadable(&error))? {
        let certificate = certificate.map_err(|error| unreadable(&error))?;
        authorities.add(certificate).map_err(|error| unreadable(&error))?;
    }
    if authorities.is_empty() { Err(unreadable(&"it is empty")) } else { Ok(authorities) }
}

fn tls(authorities: RootCertStore) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    match ClientConfig::builder_with_provider(provider).with_protocol_versions(rustls::ALL_VERSIONS) {
        Ok(builder) => builder.with_root_certificates(authorities).with_no_client_auth(),
        // the provider and its own versions always fit
        Err(error) => unreachable!("{error}"),
    }
}

/// What lies at the bottom of an error: "connection refused" rather than "client error".
pub fn cause(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
