//! `[tls]`: the APIs and consoles by https and wss, with a certificate that the operator has or one of this cloud's own authority.
//!
//! The authority is `SHARED_DIR/tls/ca.key` with its certificate `ca.pem`, made once. Each process signs itself a certificate when it starts,
//! for the names it is reached by, and keeps that in memory only. Whom this process believes is `STATE_DIR/tls/trusted.pem`.

use std::fs;
use std::path::{Path, PathBuf};

use kit::files::{make_private, write_private};
use kit::tls::Tls as Served;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::state::StateDir;

/// Nobody renews what a cloud made for itself.
const LIFE: time::Duration = time::Duration::days(3650);
/// Clocks differ.
const EARLIER: time::Duration = time::Duration::days(1);

/// Whether, and as whom, the APIs speak TLS.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    pub enabled: bool,
    /// PEM files: the certificate with those between it and its authority, and its key. The cloud's own authority makes one when absent.
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

impl Tls {
    /// What the types cannot say.
    pub fn check(&self) -> Result<(), String> {
        match (&self.certificate, &self.key) {
            (Some(_), None) | (None, Some(_)) => Err("tls.certificate and tls.key belong together.".into()),
            (Some(_), Some(_)) if !self.enabled => Err("tls.certificate is of no use without tls.enabled = true.".into()),
            _ => Ok(()),
        }
    }

    /// What sockets show, if they are to be private.
    pub fn serve(&self, state: &StateDir, config: &Config) -> Result<Option<Served>, String> {
        if !self.enabled {
            return Ok(None);
        }
        let (certificate, key) = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => (read(certificate)?, read(key)?),
            _ => Authority::of(&state.shared(config))?.sign(&names(config))?,
        };
        Served::new(certificate.as_bytes(), key.as_bytes()).map(Some).map_err(|error| format!("tls: {error}."))
    }

    /// Has this process, and the clients it tells, believe the cloud's own authority besides those it was told of.
    pub fn trust(config: &mut Config, state: &StateDir) -> Result<(), String> {
        if !config.tls.enabled || config.tls.certificate.is_some() {
            return Ok(());
        }
        let mut trusted = Authority::of(&state.shared(config))?.certificate;
        if let Some(others) = &config.endpoints.ca_file {
            trusted += &read(others)?;
        }
        let path = state.join("tls/trusted.pem");
        let written = fs::create_dir_all(state.join("tls")).and_then(|()| write_private(&path, trusted.as_bytes()));
        written.map_err(|error| format!("{} cannot be written: {error}.", path.display()))?;
        config.endpoints.ca_file = Some(path);
        Ok(())
    }
}

/// Who signs for this cloud.
struct Authority {
    key: KeyPair,
    /// PEM
    certificate: String,
}

impl Authority {
    /// The one of a cloud; made when it has none.
    fn of(shared: &Path) -> Result<Authority, String> {
        let (key, certificate) = (shared.join("tls/ca.key"), shared.join("tls/ca.pem"));
        let unwritten = |path: &Path, error: &dyn std::fmt::Display| format!("{} cannot be made: {error}.", path.display());
        if !key.exists() {
            let new = KeyPair::generate().map_err(|error| unwritten(&key, &error))?;
            make_private(&key, new.serialize_pem().as_bytes()).map_err(|error| unwritten(&key, &error))?;
        }
        let pair = KeyPair::from_pem(&read(&key)?).map_err(|error| format!("{} is damaged: {error}.", key.display()))?;
        if !certificate.exists() {
            let new = authority().self_signed(&pair).map_err(|error| unwritten(&certificate, &error))?;
            make_private(&certificate, new.pem().as_bytes()).map_err(|error| unwritten(&certificate, &error))?;
        }
        Ok(Authority { key: pair, certificate: read(&certificate)? })
    }

    /// A certificate for these names and addresses, and its key, both in PEM.
    fn sign(&self, names: &[String]) -> Result<(String, String), String> {
        let failed = |error: rcgen::Error| format!("No certificate for {} can be made: {error}.", names.join(", "));
        let mut params = CertificateParams::new(names.to_vec()).map_err(failed)?;
        params.distinguished_name.push(DnType::CommonName, "cumulo");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        live(&mut params);
        let key = KeyPair::generate().map_err(failed)?;
        let authority = authority();
        let certificate = params.signed_by(&key, &Issuer::from_params(&authority, &self.key)).map_err(failed)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }
}

/// What an authority says of itself; its key is what tells one from another.
fn authority() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "cumulo authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    live(&mut params);
    params
}

fn live(params: &mut CertificateParams) {
    params.not_before = time::OffsetDateTime::now_utc() - EARLIER;
    params.not_after = params.not_before + LIFE;
}

/// What this process is reached by.
fn names(config: &Config) -> Vec<String> {
    let mut names = vec![config.public_host().trim_matches(['[', ']']).to_owned(), config.address().trim_matches(['[', ']']).to_owned()];
    names.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
    names.push(config.host());
    names.sort();
    names.dedup();
    names
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{} cannot be read: {error}.", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_cloud_vouches_for_itself_and_clients_believe_it() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::create(dir.path()).unwrap();
        let mut config = Config { tls: Tls { enabled: true, ..Tls::default() }, ..Config::default() };
        Tls::trust(&mut config, &state).unwrap();
        let trusted = config.endpoints.ca_file.clone().unwrap();
        let before = fs::read_to_string(&trusted).unwrap();
        // a restart finds the same authority
        config.endpoints.ca_file = None;
        Tls::trust(&mut config, &state).unwrap();
        assert_eq!(fs::read_to_string(&trusted).unwrap(), before);

        let tls = config.tls.serve(&state, &config).unwrap().unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                // a client that does not believe us leaves
                let Ok(mut private) = tls.accept(socket).await else { continue };
                let _ = tokio::io::AsyncWriteExt::write_all(&mut private, b"HTTP/1.1 204 No Content\r\n\r\n").await;
            }
        });
        let ask = async |endpoint: sdk::Endpoint| {
            endpoint.send(http::Method::GET, "/", http::HeaderMap::new(), sdk::Body::empty()).await.map(|answer| answer.status().as_u16())
        };
        assert_eq!(ask(sdk::Endpoint::trusting(&trusted, &url).unwrap()).await.unwrap(), 204);
        assert!(ask(sdk::Endpoint::http(&url)).await.is_err());
    }

    #[test]
    fn halves_are_refused() {
        let half = Tls { enabled: true, certificate: Some("c".into()), key: None };
        assert!(half.check().unwrap_err().contains("tls.key"));
        let off = Tls { enabled: false, certificate: Some("c".into()), key: Some("k".into()) };
        assert!(off.check().unwrap_err().contains("tls.enabled"));
    }
}
