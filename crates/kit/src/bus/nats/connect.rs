//! How a process is connected with NATS, and stays so: what its operator says of it, and when the connection was interrupted.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::bus::QUEUE;
use crate::{Error, Result};

/// How long a process that starts tries to reach NATS.
const START: Duration = Duration::from_secs(30);
/// Pauses between tries to reach somebody who serves.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_AT_MOST: Duration = Duration::from_secs(1);
/// After an outage, how long not everybody may be back yet.
const BACK: Duration = Duration::from_secs(3);
/// How often a silent connection is tried.
const PING: Duration = Duration::from_secs(10);

/// `[bus]`: how processes reach each other.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `nats://HOST:4222` or `tls://HOST:4222`, several separated by commas; without it the bus is inside this one process.
    pub url: Option<String>,
    /// What all subjects begin with, where several clouds share a NATS.
    pub prefix: String,
    /// A NATS credentials file; a user and password can stand in the URL instead.
    pub credentials: Option<PathBuf>,
    /// PEM files: the authority that signed the server's certificate, and this process's own certificate with its key.
    pub ca: Option<PathBuf>,
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// A file with the users that NATS lets in, kept for `nats-server`'s configuration to include: then each host has a user of its own.
    pub users: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Config {
        Config { url: None, prefix: "cumulo".into(), credentials: None, ca: None, certificate: None, key: None, users: None }
    }
}

impl Config {
    /// What the types cannot say.
    pub fn check(&self) -> Result<(), String> {
        let word = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
        if !word(&self.prefix) {
            return Err(format!("bus.prefix is {:?}; it must be letters, digits and dashes.", self.prefix));
        }
        if self.certificate.is_some() != self.key.is_some() {
            return Err("bus.certificate and bus.key belong together.".into());
        }
        if self.users.is_some() && self.login().is_none() {
            return Err("With bus.users, bus.url needs a user and a password: nats://USER:PASSWORD@HOST:4222.".into());
        }
        let known = |url: &str| ["nats://", "tls://"].iter().any(|scheme| url.trim().starts_with(scheme));
        match &self.url {
            Some(url) if !url.split(',').all(known) => Err(format!("bus.url is {url:?}; it must be nats:// or tls:// and an address.")),
            _ => Ok(()),
        }
    }
}

impl Config {
    /// The user and password in the URL.
    pub fn login(&self) -> Option<(&str, &str)> {
        let (_, rest) = self.url.as_deref()?.split(',').next()?.split_once("://")?;
        rest.rsplit_once('@')?.0.split_once(':')
    }

    /// The same servers for another user.
    pub fn url_for(&self, user: &str, password: &str) -> Option<String> {
        let other = |url: &str| {
            let (scheme, rest) = url.trim().split_once("://")?;
            let address = rest.rsplit_once('@').map_or(rest, |(_, address)| address);
            Some(format!("{scheme}://{user}:{password}@{address}"))
        };
        let urls: Option<Vec<String>> = self.url.as_deref()?.split(',').map(other).collect();
        urls.map(|urls| urls.join(","))
    }
}

/// Connects; an error when NATS is not there for a while, or does not let us in.
pub async fn client(url: &str, config: &Config, sender: &str, outages: &Arc<Outages>) -> Result<Client> {
    let servers: Vec<&str> = url.split(',').map(str::trim).collect();
    let began = Instant::now();
    let mut pauses = Pauses::new();
    loop {
        let error = match options(config, sender, outages.clone()).await?.connect(&servers).await {
            Ok(client) => return Ok(client),
            Err(error) => error,
        };
        let hopeless = match error.kind() {
            ConnectErrorKind::ServerParse
            | ConnectErrorKind::Authentication
            | ConnectErrorKind::AuthorizationViolation
            | ConnectErrorKind::Tls => true,
            ConnectErrorKind::Dns | ConnectErrorKind::TimedOut | ConnectErrorKind::Io | ConnectErrorKind::MaxReconnects => false,
        };
        if hopeless || began.elapsed() > START {
            return Err(Error::unavailable(format!("The bus cannot be reached: {error}")));
        }
        tracing::warn!(%error, "the bus cannot be reached yet");
        pauses.next().await;
    }
}

async fn options(config: &Config, sender: &str, outages: Arc<Outages>) -> Result<ConnectOptions> {
    let mut options = ConnectOptions::new()
        .name(format!("cumulo {sender}"))
        .custom_inbox_prefix(format!("_INBOX.{sender}"))
        .subscription_capacity(QUEUE)
        .ping_interval(PING)
        .max_reconnects(None)
        .reconnect_delay_callback(|attempts| PAUSE.saturating_mul(1 << attempts.min(6)).min(PAUSE_AT_MOST))
        .event_callback(move |event| {
            if matches!(event, Event::Connected) {
                outages.ended();
            }
            async move { tell(&event) }
        });
    if let Some((user, password)) = config.login() {
        options = options.user_and_password(user.to_owned(), password.to_owned());
    }
    if let Some(path) = &config.credentials {
        let read = options.credentials_file(path).await;
        options = read.map_err(|error| Error::unavailable(format!("bus.credentials {} cannot be read: {error}", path.display())))?;
    }
    if let Some(ca) = &config.ca {
        options = options.add_root_certificates(ca.clone()).require_tls(true);
    }
    if let (Some(certificate), Some(key)) = (&config.certificate, &config.key) {
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    Ok(options)
}

fn tell(event: &Event) {
    match event {
        Event::Connected => tracing::info!("the bus is connected"),
        Event::Disconnected => tracing::warn!("the bus is disconnected; connecting again"),
        Event::LameDuckMode | Event::Draining | Event::Closed => tracing::info!(%event, "the bus"),
        Event::SlowConsumer(_) | Event::ServerError(_) | Event::ClientError(_) => tracing::warn!(%event, "the bus"),
    }
}

/// When the connection was last made anew.
#[derive(Default)]
pub struct Outages(Mutex<Option<Instant>>);

impl Outages {
    fn ended(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether one ended so lately that others may not be back.
    pub fn recent(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|at| at.elapsed() < BACK)
    }
}

/// Longer and longer.
pub struct Pauses {
    pub now: Duration,
}

impl Pauses {
    pub fn new() -> Pauses {
        Pauses { now: PAUSE }
    }

    pub async fn next(&mut self) {
        tokio::time::sleep(self.now).await;
        self.now = (self.now * 2).min(PAUSE_AT_MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_in_the_configuration_are_named() {
        let of = |text: &str| Config { url: Some(text.into()), ..Config::default() };
        assert_eq!(of("nats://a:4222, tls://b:4222").check(), Ok(()));
        assert!(of("http://a").check().unwrap_err().contains("nats://"));
        assert!(Config { prefix: "a.b".into(), ..Config::default() }.check().unwrap_err().contains("prefix"));
        let of_users = |url: &str| Config { users: Some("u".into()), ..of(url) };
        assert!(of_users("nats://a:4222").check().unwrap_err().contains("bus.users"));
        assert_eq!(of_users("nats://c:p@a:1, tls://c:p@b:2").check(), Ok(()));
        assert_eq!(of("nats://c:p@a:1, tls://b:2").url_for("h", "q").as_deref(), Some("nats://h:q@a:1,tls://h:q@b:2"));
        assert!(Config { key: Some("k".into()), ..Config::default() }.check().unwrap_err().contains("certificate"));
    }
}
