//! Over https: only a server for which somebody vouches who is trusted is believed.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use sdk::{Auth, Endpoint};

/// Answers every request with `{"a": 1}`; its address, and its certificate in PEM.
fn server() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut tls = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), socket.unwrap());
            let mut request = [0; 4096];
            // who does not believe the certificate goes away
            if tls.read(&mut request).is_ok() {
                let _ = tls.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\nconnection: close\r\n\r\n{\"a\": 1}");
                tls.conn.send_close_notify();
                let _ = tls.flush();
            }
        }
    });
    (format!("https://{address}"), made.cert.pem())
}

#[tokio::test]
async fn a_certificate_is_believed_when_its_authority_is_named() {
    let (url, certificate) = server();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), certificate).unwrap();
    let answer = Endpoint::trusting(file.path(), &url).unwrap().get(&Auth::nobody(), "/").await.unwrap();
    assert_eq!(answer.body["a"], 1);
    let refused = Endpoint::http(&url).get(&Auth::nobody(), "/").await.unwrap_err();
    assert_eq!(refused.status, 0);
    assert!(refused.message.contains("certificate"), "{refused}");
}

#[tokio::test]
async fn what_is_no_certificate_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for content in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        std::fs::write(file.path(), content).unwrap();
        let refused = Endpoint::trusting(file.path(), "https://127.0.0.1").err().unwrap();
        assert!(refused.message.contains("no certificates"), "{content}: {refused}");
    }
    assert!(Endpoint::trusting("/nowhere.pem".as_ref(), "https://127.0.0.1").is_err());
}
