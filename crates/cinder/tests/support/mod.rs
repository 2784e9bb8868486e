//! A cinder with simulated hosts on a local bus, and identities that need no keystone.
#![allow(dead_code, clippy::unwrap_used)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use cinder::{Cinder, Config};
use cinder_volume::SimBackend;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Method, Request, Response};
use kit::auth::{Authenticator, ServiceSession};
use kit::bus::Bus;
use kit::context::{Identity, Named};
use kit::db::Location;
use kit::flow::ProbeFn;
use kit::service::Service;
use sdk::{Endpoint, LocalService};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// The image that the stand-in for glance has.
pub const IMAGE: &str = "11111111-1111-4111-8111-111111111111";

/// One of an encrypted volume, and the key that it names.
pub const LOCKED_IMAGE: &str = "22222222-2222-4222-8222-222222222222";
pub const KEY: &str = "33333333-3333-4333-8333-333333333333";

/// One that nova made of a server on a volume, and the snapshot that it names.
pub const NOVA_IMAGE: &str = "44444444-4444-4444-8444-444444444444";
pub const NOVA_SNAPSHOT: &str = "55555555-5555-4555-8555-555555555555";

pub struct World {
    pub dir: tempfile::TempDir,
    pub bus: Bus,
    pub sim: Arc<SimBackend>,
    pub stop: CancellationToken,
    pub app: Cinder,
    service: Service,
    /// Ends this process of cinder and leaves the hosts.
    end: CancellationToken,
}

/// A cloud with one host.
pub async fn world() -> World {
    world_with(None).await
}

/// A cloud with one host, where flows can be made to fail.
pub async fn world_with(probe: Option<ProbeFn>) -> World {
    let (dir, bus, sim) = (tempfile::tempdir().unwrap(), Bus::local(), Arc::new(SimBackend::new()));
    let (app, service, end) = start(dir.path().into(), &bus, probe).await;
    let stop = CancellationToken::new();
    let config = cinder_volume::Config { host: "sim1@sim".into(), ..Default::default() };
    tokio::spawn(cinder_volume::run(config, bus.clone(), sim.clone(), images(), session(), stop.clone()));
    let world = World { dir, bus, sim, stop, app, service, end };
    world
        .until("a host is up", async |world| {
            let (_, zones) = world.ask("admin", Method::GET, "/v3/os-availability-zone", None).await;
            zones["availabilityZoneInfo"][0]["zoneState"]["available"] == json!(true)
        })
        .await;
    world
}

impl World {
    /// Another host for volumes.
    pub async fn another_host(&self, host: &str) -> Arc<SimBackend> {
        self.host_with(cinder_volume::Config { host: host.into(), ..Default::default() }).await
    }

    /// The same with settings of its own.
    pub async fn host_with(&self, config: cinder_volume::Config) -> Arc<SimBackend> {
        let sim = Arc::new(SimBackend::new());
        tokio::spawn(cinder_volume::run(config, self.bus.clone(), sim.clone(), images(), session(), self.stop.clone()));
        self.until("the other host is up", async |world| {
            let (_, pools) = world.ask("admin", Method::GET, "/v3/scheduler-stats/get_pools", None).await;
            pools["pools"].as_array().unwrap().len() == 2
        })
        .await;
        sim
    }

    /// The process dies, and another opens the same database.
    pub async fn restart(&mut self) {
        self.end.cancel();
        hang_up(self.app.clone()).await;
        (self.app, self.service, self.end) = start(self.dir.path().into(), &self.bus, None).await;
    }

    /// An operator's rules.
    pub fn rules(&self, yaml: &str) {
        self.service.override_policy(yaml).unwrap();
    }

    /// Where this cinder keeps its data.
    pub fn location(&self) -> Location {
        location(self.dir.path().into())
    }

    pub async fn send(&self, who: &str, method: Method, path: &str, version: &str, body: Option<Value>) -> (u16, Value, http::HeaderMap) {
        let mut request = Request::builder().method(method).uri(path).header("x-auth-token", who).header("host", "cloud:8776");
        if who == "nova" {
            request = request.header("x-service-token", "nova");
        }
        if !version.is_empty() {
            request = request.header("openstack-api-version", format!("volume {version}"));
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let response = self.service.call(request.body(body).unwrap()).await;
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        (parts.status.as_u16(), serde_json::from_slice(&bytes).unwrap_or_default(), parts.headers)
    }

    /// At version 3.15, if the thing has this entity tag; the status.
    pub async fn send_if(&self, tag: &str, method: Method, path: &str, body: Value) -> u16 {
        let request = Request::builder().method(method).uri(path).header("x-auth-token", "member").header("host", "cloud:8776");
        let request = request.header("openstack-api-version", "volume 3.15").header("if-match", tag);
        self.service.call(request.body(Body::from(body.to_string())).unwrap()).await.status().as_u16()
    }

    /// At version 3.54.
    pub async fn ask(&self, who: &str, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let (status, body, _) = self.send(who, method, path, "3.54", body).await;
        (status, body)
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask("member", Method::GET, path, None).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.ask("member", Method::POST, path, Some(body)).await
    }

    /// A new volume, made and available; its id.
    pub async fn volume(&self, fields: Value) -> String {
        let (status, body) = self.post("/v3/volumes", json!({"volume": fields})).await;
        assert_eq!(status, 202, "{body}");
        let id = body["volume"]["id"].as_str().unwrap().to_owned();
        self.status(&id, "available").await;
        id
    }

    /// A new snapshot of a volume, made and available; its id.
    pub async fn snapshot(&self, volume: &str, mut fields: Value) -> String {
        fields["volume_id"] = json!(volume);
        let (status, body) = self.post("/v3/snapshots", json!({"snapshot": fields})).await;
        assert_eq!(status, 202, "{body}");
        let id = body["snapshot"]["id"].as_str().unwrap().to_owned();
        let path = format!("/v3/snapshots/{id}");
        self.until("the snapshot is there", async |world| world.get(&path).await["snapshot"]["status"] == "available").await;
        id
    }

    /// Waits until a volume has a status; `gone` is 404.
    pub async fn status(&self, id: &str, wanted: &str) {
        self.until(&format!("{id} is {wanted}"), async |world| {
            let (status, body) = world.ask("admin", Method::GET, &format!("/v3/volumes/{id}"), None).await;
            if wanted == "gone" { status == 404 } else { body["volume"]["status"] == json!(wanted) }
        })
        .await;
    }

    /// What of a quota is in use.
    pub async fn used(&self, resource: &str) -> i64 {
        self.get("/v3/os-quota-sets/p1?usage=True").await["quota_set"][resource]["in_use"].as_i64().unwrap()
    }

    pub async fn until(&self, what: &str, mut done: impl AsyncFnMut(&World) -> bool) {
        let wait = async {
            while !done(self).await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap_or_else(|_| panic!("never: {what}"));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
        self.end.cancel();
        tokio::spawn(hang_up(self.app.clone()));
    }
}

/// Closes what a process that ended had of connections: a database server has only so many. What is still at work there is not waited for.
async fn hang_up(app: Cinder) {
    let _ = tokio::time::timeout(Duration::from_secs(2), app.db().read().clone().close()).await;
}

/// Where the tests keep data: `CUMULO_TEST_DATABASE` of a PostgreSQL, or a file.
fn location(dir: PathBuf) -> Location {
    match std::env::var("CUMULO_TEST_DATABASE") {
        Ok(url) => {
            let name = dir.file_name().unwrap().to_string_lossy().replace(|c: char| !c.is_ascii_alphanumeric(), "").to_lowercase();
            Location::Postgres { url, schema: format!("cinder_{name}") }
        }
        Err(_) => Location::Sqlite(dir.join("cinder.sqlite")),
    }
}

/// A process of cinder, and what ends it.
async fn start(dir: PathBuf, bus: &Bus, probe: Option<ProbeFn>) -> (Cinder, Service, CancellationToken) {
    let master_key = dir.join("keys/master");
    let config = Config { location: location(dir), master_key, availability_zone: "nova".into(), alone: true, probe };
    let compute = sdk::compute::Compute::new(stand_in());
    let app = cinder::open(config, bus.clone(), images(), compute, session()).await.unwrap();
    let service = app.service(Authenticator::own(|_, token| async move { identity(&token) }.boxed(), "http://cloud:5000")).unwrap();
    let end = CancellationToken::new();
    let running = (app.clone(), end.clone());
    tokio::spawn(async move { running.0.run(running.1).await.unwrap() });
    (app, service, end)
}

fn images() -> sdk::image::Image {
    sdk::image::Image::new(stand_in())
}

fn session() -> ServiceSession {
    ServiceSession::new(stand_in(), "cinder", "secret")
}

fn stand_in() -> Endpoint {
    Endpoint::local(Arc::new(StandIn), "http://cloud")
}

/// Keystone, glance and nova, as little of them as cinder asks for.
struct StandIn;

impl LocalService for StandIn {
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Response<Body>> {
        let image = json!({"id": IMAGE, "status": "active", "visibility": "public", "name": "tiny", "min_disk": 2, "size": 4,
            "disk_format": "raw", "container_format": "bare", "os_distro": "cumulo", "created_at": "", "updated_at": ""});
        let (status, body) = match request.uri().path() {
            "/v2/images" if request.method() == Method::GET => (200, json!({"images": []})),
            // one made of a volume is the one there is, without its file
            "/v2/images" => (201, json!({"id": IMAGE, "status": "queued", "visibility": "private", "created_at": "", "updated_at": ""})),
            // nova knows one server, and that it has whatever volume is asked about
            path if path.starts_with("/v2.1/servers/server1/os-volume_attachments/") => (200, json!({"volumeAttachment": {}})),
            path if path.ends_with(NOVA_IMAGE) => {
                let mut of_server = image;
                let root = json!([{"boot_index": 0, "source_type": "snapshot", "snapshot_id": NOVA_SNAPSHOT}]);
                (of_server["id"], of_server["block_device_mapping"]) = (json!(NOVA_IMAGE), json!(root.to_string()));
                (200, of_server)
            }
            path if path.ends_with("/file") => (204, json!({})),
            "/v3/auth/tokens" => (201, json!({"token": {}})),
            path if path.ends_with(IMAGE) => (200, image),
            path if path.ends_with(LOCKED_IMAGE) => {
                let mut locked = image;
                (locked["id"], locked["cinder_encryption_key_id"]) = (json!(LOCKED_IMAGE), json!(KEY));
                (200, locked)
            }
            _ => (404, json!({})),
        };
        let response = Response::builder().status(status).header("x-subject-token", "service");
        let response = response.body(Body::from(body.to_string())).unwrap();
        async move { response }.boxed()
    }
}

fn identity(token: &str) -> kit::Result<Identity> {
    let (project, roles): (&str, &[&str]) = match token {
        "admin" => ("p0", &["admin", "manager", "member", "reader"]),
        "manager" => ("p1", &["manager", "member", "reader"]),
        "member" => ("p1", &["member", "reader"]),
        "reader" => ("p1", &["reader"]),
        "other" => ("p2", &["member", "reader"]),
        "nova" => ("service", &["admin", "member", "reader", "service"]),
        _ => return Err(kit::Error::unauthorized()),
    };
    Ok(Identity {
        user: Named { id: format!("u-{token}"), ..Named::default() },
        project: Some(Named { id: project.into(), ..Named::default() }),
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        expires_at: i64::MAX,
        ..Identity::default()
    })
}
