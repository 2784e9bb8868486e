//! How a machine becomes a host: `cumulo host add` writes an invitation and prints its token; `cumulo up --join TOKEN@URL` on the new machine
//! turns the token into a configuration and a login of the host's own.
//!
//! ```text
//!   controller: SHARED_DIR/joins/ID.toml   <- host add          token = ID.KEY, said once, to a person
//!   controller: GET /join/ID               -> the welcome, sealed with KEY, once; then the invitation is gone
//!   host:       STATE_DIR/cumulo.toml, secrets.toml
//! ```
//! Where NATS has users of their own for hosts (`users.rs`), the login of the invitation is that, too.
//! The key is not sent over the network: whoever has not got it learns nothing from the answer.

mod accept;
mod invite;
mod serve;
pub mod users;

use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

pub use accept::accept;
pub use invite::invite;
use invite::take;
pub use serve::service;

use crate::apis::{Endpoints, Ports};
use crate::config::Config;
use crate::state::Secrets;

/// What a controller keeps of a host that may join.
#[derive(Serialize, Deserialize)]
struct Invitation {
    host: String,
    key: String,
    /// Seconds since 1970.
    expires: u64,
    user: String,
    password: String,
}

/// What a host is told when it joins.
#[derive(Serialize, Deserialize)]
struct Welcome {
    host: String,
    public_host: String,
    region: String,
    bus: kit::bus::Config,
    /// The authority that signed the bus's certificate, as PEM.
    bus_ca: Option<String>,
    ports: Ports,
    endpoints: Endpoints,
    /// The authorities that vouch for those behind https, as PEM.
    #[serde(default)]
    endpoints_ca: Option<String>,
    secrets: Secrets,
}

impl Welcome {
    fn new(config: &Config, secrets: &Secrets, invitation: &Invitation) -> Result<Welcome, String> {
        let read = |path: &Path| std::fs::read_to_string(path).map_err(|error| format!("{} cannot be read: {error}.", path.display()));
        let bus = match &config.bus.users {
            Some(_) => config.bus.url_for(&invitation.user, &invitation.password),
            None => config.bus.url.clone(),
        };
        Ok(Welcome {
            host: invitation.host.clone(),
            public_host: config.public_host(),
            region: config.region.clone(),
            bus_ca: config.bus.ca.as_deref().map(read).transpose()?,
            // certificates and credentials are this machine's own
            bus: kit::bus::Config {
                url: bus,
                ca: None,
                certificate: None,
                key: None,
                credentials: None,
                users: None,
                ..config.bus.clone()
            },
            ports: config.ports,
            endpoints_ca: config.endpoints.ca_file.as_deref().map(read).transpose()?,
            // a host need not know whose keystone it is
            endpoints: Endpoints { ca_file: None, ..config.all_endpoints() },
            secrets: Secrets {
                admin_password: String::new(),
                demo_password: String::new(),
                service_user: Some(invitation.user.clone()),
                service_password: invitation.password.clone(),
                metadata_secret: secrets.metadata_secret.clone(),
            },
        })
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

/// The two halves of a token: which invitation, and the key.
fn halves(token: &str) -> Option<(&str, &str)> {
    let (id, key) = token.split_once('.')?;
    let plain = !id.is_empty() && id.len() <= 64 && id.chars().all(|c| c.is_ascii_alphanumeric());
    plain.then_some((id, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_told_where_keystone_is_and_whom_to_believe() {
        let authorities = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(authorities.path(), "PEM").unwrap();
        let identity = "[identity]\nurl = 'https://k:5000/v3'\nservice_password = 'p'\n";
        let config: Config = toml::from_str(&format!("{identity}[endpoints]\nca_file = '{}'\n", authorities.path().display())).unwrap();
        let text = String::new;
        let secrets = Secrets {
            admin_password: "a".into(),
            demo_password: "d".into(),
            service_user: None,
            service_password: "s".into(),
            metadata_secret: text(),
        };
        let invitation = Invitation { host: "h1".into(), key: text(), expires: 0, user: "host-h1".into(), password: "h".into() };
        let welcome = Welcome::new(&config, &secrets, &invitation).unwrap();
        assert_eq!(welcome.endpoints.keystone.as_deref(), Some("https://k:5000"));
        assert_eq!((welcome.endpoints_ca.as_deref(), welcome.endpoints.ca_file), (Some("PEM"), None));
        let bus = "[bus]\nurl = 'nats://c:p@n:4222'\nusers = '/u'\n";
        let config: Config = toml::from_str(bus).unwrap();
        assert_eq!(Welcome::new(&config, &secrets, &invitation).unwrap().bus.url.as_deref(), Some("nats://host-h1:h@n:4222"));
        assert_eq!((welcome.secrets.service_password.as_str(), welcome.secrets.admin_password.as_str()), ("h", ""));
    }
}
