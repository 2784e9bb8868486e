//! A whole cloud for tests: the real binary on simulated hosts, on free ports, in a directory of its own, ended with the test. And, for the tests
//! of one service, [`authorization`]: every operation tried as everybody. And [`check`], which says what does not fit in any cloud.
//!
//! `CUMULO_TEST_DATABASE=postgres://...` in the environment puts its data there instead of into SQLite files, `CUMULO_TEST_BUS=nats://...` its
//! messages there instead of into channels.

// A test that cannot go on shall say where, and stop.
#![allow(clippy::unwrap_used)]

pub mod authorization;
pub mod check;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sdk::{Answer, Auth, Endpoint};
use serde_json::Value;

/// How long anything may take before a test gives up. Machines that run tests are slow and busy.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// A cloud. Dropping it ends the process and removes its files.
pub struct Cloud {
    binary: PathBuf,
    state: tempfile::TempDir,
    ports: Vec<u16>,
    hosts: u32,
    process: Option<Child>,
}

/// What listens, in the order of [`Cloud::ports`].
const APIS: [&str; 8] = ["keystone", "nova", "placement", "glance", "neutron", "cinder", "keystone_admin", "join"];

/// Ports for a cloud that is about to listen. They lie below those that the kernel gives to whoever connects, and each process looks in a
/// place of its own, so that nobody takes one meanwhile.
fn free_ports(count: usize) -> Vec<u16> {
    static LOOKED_AT: AtomicU32 = AtomicU32::new(0);
    let place = std::process::id().wrapping_mul(64);
    let looks = std::iter::repeat_with(|| place.wrapping_add(LOOKED_AT.fetch_add(1, Ordering::Relaxed)));
    let ports = looks.map(|look| 10_000 + (look % 20_000) as u16);
    ports.filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).take(count).collect()
}

impl Cloud {
    /// Starts one with some simulated hosts.
    pub async fn start(binary: &str, hosts: u32) -> Cloud {
        Cloud::start_with(binary, hosts, "").await
    }

    /// The same, with some tables more in its configuration.
    pub async fn start_with(binary: &str, hosts: u32, tables: &str) -> Cloud {
        let state = tempfile::tempdir().unwrap();
        let ports = free_ports(APIS.len());
        let mut text = String::new();
        if let Ok(url) = std::env::var("CUMULO_TEST_DATABASE") {
            let name = state.path().file_name().unwrap().to_string_lossy().trim_start_matches('.').to_lowercase();
            text.push_str(&format!("database = {url:?}\nschema_prefix = \"{name}_\"\n"));
        }
        if let Ok(url) = std::env::var("CUMULO_TEST_BUS") {
            let name = state.path().file_name().unwrap().to_string_lossy().trim_start_matches('.').to_owned();
            text.push_str(&format!("[bus]\nurl = {url:?}\nprefix = {name:?}\n"));
        }
        text.push_str("[ports]\n");
        for (api, port) in APIS.iter().zip(&ports) {
            text.push_str(&format!("{api} = {port}\n"));
        }
        text.push_str(tables);
        std::fs::write(state.path().join("cumulo.toml"), text).unwrap();
        let mut cloud = Cloud { binary: binary.into(), state, ports, hosts, process: None };
        cloud.resume().await;
        cloud
    }

    /// Starts it again after [`Cloud::crash`] or [`Cloud::stop`].
    pub async fn resume(&mut self) {
        let log = std::fs::File::create(self.state.path().join("output")).unwrap();
        let process = Command::new(&self.binary)
            .args(["--state-dir", self.state.path().to_str().unwrap(), "up", "--sim-hosts", &self.hosts.to_string()])
            .stdout(Stdio::from(log.try_clone().unwrap()))
            .stderr(Stdio::from(log))
            .spawn()
            .unwrap();
        let pid = process.id();
        self.process = Some(process);
        let began = Instant::now();
        while std::fs::read_to_string(self.state.path().join("cumulo.pid")).unwrap_or_default().trim() != pid.to_string() {
            let ended = self.process.as_mut().and_then(|process| process.try_wait().unwrap());
            assert!(ended.is_none() && began.elapsed() < PATIENCE, "the cloud does not start: {}", self.output());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends the process as a power cut would.
    pub fn crash(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// What the process printed.
    pub fn output(&self) -> String {
        std::fs::read_to_string(self.state.path().join("output")).unwrap_or_default()
    }

    pub fn state_dir(&self) -> &Path {
        self.state.path()
    }

    pub fn port(&self, api: &str) -> u16 {
        self.ports[APIS.iter().position(|name| *name == api).unwrap()]
    }

    /// Where an API answers, without a path.
    pub fn endpoint(&self, api: &str) -> Endpoint {
        Endpoint::http(&format!("http://127.0.0.1:{}", self.port(api)))
    }

    /// Logs in as `admin` or `demo`, into the project of the same name.
    pub async fn login(&self, user: &str) -> Client {
        let secrets = std::fs::read_to_string(self.state.path().join("secrets.toml")).unwrap();
        let key = format!("{user}_password = \"");
        let password = secrets.lines().find_map(|line| line.strip_prefix(&key)).and_then(|rest| rest.strip_suffix('"')).unwrap();
        let keystone = sdk::identity::Identity::new(self.endpoint("keystone"));
        let token = keystone.login(user, password, user).await.unwrap();
        let project = keystone.validate(&Auth::token(&token), &token).await.unwrap().project.unwrap().id;
        let at = |api: &str, path: &str| Endpoint::http(&format!("http://127.0.0.1:{}{path}", self.port(api)));
        Client {
            auth: Auth::token(&token),
            token,
            project,
            identity: at("keystone", "/v3"),
            compute: at("nova", "/v2.1"),
            network: at("neutron", "/v2.0"),
            image: at("glance", "/v2"),
            volume: at("cinder", "/v3"),
            placement: at("placement", ""),
        }
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.crash();
    }
}

/// A user of a cloud.
#[derive(Clone)]
pub struct Client {
    pub auth: Auth,
    pub token: String,
    pub project: String,
    pub identity: Endpoint,
    pub compute: Endpoint,
    pub network: Endpoint,
    pub image: Endpoint,
    pub volume: Endpoint,
    pub placement: Endpoint,
}

impl Client {
    /// The value under `key` of a GET.
    pub async fn get(&self, endpoint: &Endpoint, path: &str, key: &str) -> Value {
        taken(endpoint.get(&self.auth, path).await, key)
    }

    /// The value under `key` of a POST's answer; an empty key for an answer without a body.
    pub async fn post(&self, endpoint: &Endpoint, path: &str, body: &Value, key: &str) -> Value {
        taken(endpoint.post(&self.auth, path, body).await, key)
    }

    /// The status of a request, whatever it is.
    pub async fn status(&self, endpoint: &Endpoint, method: http::Method, path: &str, body: Option<&Value>) -> u16 {
        endpoint.call(&self.auth, method, path, body).await.map_or_else(|error| error.status, |answer| answer.status)
    }

    /// An image with a few bytes in it.
    pub async fn image(&self, name: &str) -> String {
        let body = serde_json::json!({"name": name, "disk_format": "raw", "container_format": "bare"});
        let id = self.post(&self.image, "/images", &body, "id").await.as_str().unwrap().to_owned();
        let headers = {
            let mut headers = self.auth.headers();
            headers.insert("content-type", "application/octet-stream".parse().unwrap());
            headers
        };
        let path = format!("/images/{id}/file");
        let answer = self.image.send(http::Method::PUT, &path, headers, sdk::Body::from(vec![7u8; 4096])).await.unwrap();
        assert_eq!(answer.status(), 204);
        id
    }

    /// A network with a subnet.
    pub async fn network(&self, name: &str, cidr: &str) -> String {
        let network = self.post(&self.network, "/networks", &serde_json::json!({"network": {"name": name}}), "network").await;
        let id = network["id"].as_str().unwrap().to_owned();
        let subnet = serde_json::json!({"subnet": {"network_id": id, "ip_version": 4, "cidr": cidr}});
        self.post(&self.network, "/subnets", &subnet, "subnet").await;
        id
    }

    /// POST /servers with the smallest flavor; answers the id.
    pub async fn boot(&self, name: &str, image: &str, network: &str) -> String {
        let body = serde_json::json!({"server": {"name": name, "imageRef": image, "flavorRef": "42", "networks": [{"uuid": network}]}});
        self.post(&self.compute, "/servers", &body, "server").await["id"].as_str().unwrap().to_owned()
    }

    /// Waits until the server has one of some statuses, and answers it.
    pub async fn wait(&self, id: &str, statuses: &[&str]) -> Value {
        let began = Instant::now();
        loop {
            let server = self.get(&self.compute, &format!("/servers/{id}"), "server").await;
            if statuses.contains(&server["status"].as_str().unwrap()) && server["OS-EXT-STS:task_state"].is_null() {
                return server;
            }
            assert!(began.elapsed() < PATIENCE, "server {id} does not become {statuses:?}: {server:#}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until GET of a path answers 404.
    pub async fn wait_gone(&self, endpoint: &Endpoint, path: &str) {
        let began = Instant::now();
        while self.status(endpoint, http::Method::GET, path, None).await != 404 {
            assert!(began.elapsed() < PATIENCE, "{path} does not go away");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn taken(answer: sdk::Result<Answer>, key: &str) -> Value {
    let answer = answer.unwrap();
    if key.is_empty() { answer.body } else { answer.take(key).unwrap() }
}
