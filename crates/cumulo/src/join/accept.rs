//! The new machine's half: a token becomes `cumulo.toml` and `secrets.toml`.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use fernet::Fernet;
use sdk::{Auth, Body, Endpoint};

use super::{Welcome, halves};
use crate::config::Config;
use crate::state::StateDir;

const PATIENCE: Duration = Duration::from_secs(20);
/// A welcome is small.
const LENGTH: usize = 1 << 20;

/// Joins with `TOKEN@URL`; a machine that has joined keeps what it was told, so that the same command starts it again.
pub async fn accept(state: &StateDir, invitation: &str) -> Result<(), String> {
    if state.join("cumulo.toml").exists() {
        return Ok(());
    }
    let (token, address) = invitation.split_once('@').ok_or("--join is TOKEN@HOST:PORT, as `cumulo host add` printed it.")?;
    let (id, key) = halves(token).ok_or("The join token is incomplete; copy what `cumulo host add` printed.")?;
    let seal = Fernet::new(key).ok_or("The join token is incomplete; copy what `cumulo host add` printed.")?;
    let address = address.trim_start_matches("http://").trim_end_matches('/');
    let own = own_address(address).await?;
    let sealed = ask(address, id).await?;
    let opened = seal.decrypt(&sealed).map_err(|_| format!("{address} answered something that is not for this token."))?;
    let welcome: Welcome = serde_json::from_slice(&opened).map_err(|error| format!("{address} answered something else: {error}."))?;
    write(state, welcome, own)
}

/// The address of this machine from which it reaches the controller.
async fn own_address(controller: &str) -> Result<IpAddr, String> {
    let connect = tokio::net::TcpStream::connect(controller);
    let connected = tokio::time::timeout(PATIENCE, connect).await.map_err(|_| format!("{controller} does not answer."))?;
    let local = connected.and_then(|socket| socket.local_addr());
    local.map(|address: SocketAddr| address.ip()).map_err(|error| format!("{controller} cannot be reached: {error}."))
}

async fn ask(controller: &str, id: &str) -> Result<String, String> {
    let endpoint = Endpoint::http(&format!("http://{controller}"));
    let answer = endpoint.send_within(PATIENCE, http::Method::GET, &format!("/join/{id}"), Auth::nobody().headers(), Body::empty()).await;
    let answer = answer.map_err(|error| error.to_string())?;
    let status = answer.status();
    let body = axum::body::to_bytes(answer.into_body(), LENGTH).await.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&body).into_owned();
    if status.is_success() { Ok(text) } else { Err(format!("{controller} refuses: {text}")) }
}

/// The configuration last: while it is missing, the machine has not joined.
fn write(state: &StateDir, welcome: Welcome, own: IpAddr) -> Result<(), String> {
    let mut bus = welcome.bus;
    if let Some(pem) = welcome.bus_ca {
        state.write("bus-ca.pem", &pem)?;
        bus.ca = Some(state.join("bus-ca.pem"));
    }
    let mut endpoints = welcome.endpoints;
    if let Some(pem) = welcome.endpoints_ca {
        state.write("endpoints-ca.pem", &pem)?;
        endpoints.ca_file = Some(state.join("endpoints-ca.pem"));
    }
    let config = Config {
        host: Some(welcome.host),
        address: Some(own),
        public_host: Some(welcome.public_host),
        region: welcome.region,
        bus,
        ports: welcome.ports,
        endpoints,
        ..Config::default()
    };
    state.write("secrets.toml", &toml::to_string(&welcome.secrets).map_err(|error| error.to_string())?)?;
    state.write("cumulo.toml", &toml::to_string(&config).map_err(|error| error.to_string())?)
}
