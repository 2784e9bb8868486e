//! The server's half of TLS: a socket that is to be private shows a certificate and speaks through it. The clients' half is in `sdk`.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::{Error, Result};

/// How long a client may take to agree on keys.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Who this process is, by a certificate. Cheap to clone.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

impl Tls {
    /// From a certificate, with those between it and its authority, and its key; both in PEM.
    pub fn new(certificate: &[u8], key: &[u8]) -> Result<Tls> {
        let bad = |what: &str, why: &dyn fmt::Display| Error::bad_request(format!("The {what} is not to be used: {why}"));
        let chain: Result<Vec<_>> =
            CertificateDer::pem_slice_iter(certificate).map(|each| each.map_err(|error| bad("certificate", &error))).collect();
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| bad("key", &error))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_protocol_versions(rustls::ALL_VERSIONS);
        let config = config.map_err(Error::internal)?.with_no_client_auth().with_single_cert(chain?, key);
        Ok(Tls(TlsAcceptor::from(Arc::new(config.map_err(|error| bad("certificate", &error))?))))
    }

    /// A connection that was accepted, made private.
    pub async fn accept(&self, socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        tokio::time::timeout(HANDSHAKE, self.0.accept(socket)).await.map_err(|_| io::ErrorKind::TimedOut)?
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}
