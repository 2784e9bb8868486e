//! A nova on a local bus, with neighbours and hosts of the tests' own, and identities that need no keystone.
#![allow(dead_code, clippy::unwrap_used)]

mod actions;
mod neighbours;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use kit::auth::{Authenticator, ServiceSession};
use kit::bus::{Bus, Handlers};
use kit::context::{Identity, Named};
use kit::db::Location;
use kit::flow::{Probe, ProbeFn};
use kit::ids;
use kit::service::Service;
use nova::{Config, Nova};
use rpc::compute::{BuildInstance, GetHostUptime, PowerAction, PowerInstance, TerminateInstance, compute_topic};
use rpc::conductor::{
    BuildFinished, BuildOutcome, Fault, GetInstance, HostInventory, ReachFlow, ReportHost, RunFlow, SaveInstance, Saved, TOPIC,
};
use rpc::live_migration::Urge;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

pub use neighbours::*;

/// An administrator, a member and another project's member.
pub const ADMIN: &str = "p:admin";
pub const MEMBER: &str = "p:member";
pub const OTHER: &str = "q:member";

/// What every host says of itself.
pub const UPTIME: &str = " 08:32:11 up 93 days, 18:25,  0 users,  load average: 0.20, 0.12, 0.14";

/// What a host does with builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    Run,
    Refuse,
    Fail,
    /// Never answers.
    Hang,
}

pub struct Cloud {
    _dir: Option<tempfile::TempDir>,
    pub location: Location,
    behind: OnceCell<kit::db::Db>,
    pub nova: Nova,
    pub service: Service,
    pub bus: Bus,
    pub neighbours: Neighbours,
    pub hosts: Arc<Mutex<HashMap<String, Behaviour>>>,
    /// (host, server) of guests there are.
    pub guests: Arc<Mutex<Vec<(String, String)>>>,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<()>,
    api: sdk::Cloud,
    session: ServiceSession,
}

/// Closes what a process that ended had of connections: a database server has only so many. What is still at work there is not waited for.
async fn hang_up(nova: &Nova) {
    let _ = tokio::time::timeout(Duration::from_secs(2), nova.db.read().clone().close()).await;
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    /// The status, and words that the fault must have, of what was asked.
    pub fn must_say(&self, status: u16, words: &str, asked: &str) {
        assert_eq!(self.status, status, "{asked}: {}", self.body);
        assert!(self.message().contains(words), "{asked}: {} is not {words}", self.body);
    }

    /// The words of the fault.
    pub fn message(&self) -> &str {
        self.body.as_object().and_then(|o| o.values().next()).and_then(|f| f["message"].as_str()).unwrap_or_default()
    }
}

pub fn config() -> Config {
    Config {
        build_look: Duration::from_millis(100),
        build_timeout: Duration::from_secs(20),
        terminate_timeout: Duration::from_secs(2),
        ..Config::default()
    }
}

impl Cloud {
    pub async fn start(hosts: &[(&str, Behaviour)]) -> Cloud {
        Cloud::start_with(hosts, config()).await
    }

    pub async fn with_probe(hosts: &[(&str, Behaviour)], probe: kit::flow::ProbeFn) -> Cloud {
        Cloud::start_with(hosts, Config { probe: Some(probe), ..config() }).await
    }

    pub async fn start_with(hosts: &[(&str, Behaviour)], config: Config) -> Cloud {
        let dir = tempfile::tempdir().unwrap();
        let location = match std::env::var("CUMULO_TEST_DATABASE") {
            Ok(url) => Location::Postgres { url, schema: format!("nova_{}", ids::hex()) },
            Err(_) => Location::Sqlite(dir.path().join("nova.sqlite")),
        };
        let neighbours = Neighbours::default();
        let endpoint = sdk::Endpoint::local(Arc::new(neighbours.clone()), "http://neighbours");
        let api = sdk::Cloud {
            identity: sdk::identity::Identity::new(endpoint.clone()),
            image: sdk::image::Image::new(endpoint.clone()),
            network: sdk::network::Network::new(endpoint.clone()),
            volume: sdk::volume::Volume::new(endpoint.clone()),
            compute: sdk::compute::Compute::new(endpoint.clone()),
            placement: sdk::placement::Placement::new(endpoint.clone()),
        };
        let session = ServiceSession::new(endpoint, "nova", "secret");
        let bus = Bus::local();
        let nova = nova::open(&location, config, bus.clone(), api.clone(), session.clone()).await.unwrap();
        nova.bootstrap().await.unwrap();
        let service = nova.service(authenticator()).unwrap();
        let stop = CancellationToken::new();
        let cloud = Cloud {
            running: run(&nova, &stop),
            _dir: Some(dir),
            location,
            behind: OnceCell::new(),
            nova,
            service,
            bus,
            neighbours,
            hosts: Arc::default(),
            guests: Arc::default(),
            stop,
            api,
            session,
        };
        for (host, behaviour) in hosts {
            cloud.host(host, *behaviour).await;
        }
        cloud
    }

    /// The process dies and another one begins on the same database and bus.
    pub async fn restart(mut self) -> Cloud {
        self.stop.cancel();
        let _ = self.running.await;
        hang_up(&self.nova).await;
        self.stop = CancellationToken::new();
        let nova = nova::open(&self.location, config(), self.bus.clone(), self.api.clone(), self.session.clone()).await;
        self.nova = nova.unwrap();
        self.service = self.nova.service(authenticator()).unwrap();
        self.running = run(&self.nova, &self.stop);
        self
    }

    /// The process dies and one that only serves the API begins; what it promises is heard, and nobody does it.
    pub async fn promising(mut self) -> Cloud {
        self.stop.cancel();
        let _ = self.running.await;
        hang_up(&self.nova).await;
        let config = Config { conduct: false, ..config() };
        self.nova = nova::open(&self.location, config, self.bus.clone(), self.api.clone(), self.session.clone()).await.unwrap();
        self.service = self.nova.service(authenticator()).unwrap();
        let hears = Handlers::new().on(|_: RunFlow| async { Ok(()) }).on(|_: ReachFlow| async { Ok(()) });
        self.stop = CancellationToken::new();
        let (stop, serving) = (self.stop.clone(), self.bus.serve(TOPIC, hears, 4));
        self.running = tokio::spawn(async move {
            stop.cancelled().await;
            serving.abort();
        });
        self
    }

    /// The process ends, and gives back what it has of the database.
    pub async fn stop(self) {
        self.stop.cancel();
        let _ = self.running.await;
        hang_up(&self.nova).await;
    }

    /// A host comes up and reports.
    pub async fn host(&self, name: &str, behaviour: Behaviour) {
        self.hosts.lock().unwrap().insert(name.to_owned(), behaviour);
        let host = FakeHost {
            name: name.to_owned(),
            bus: self.bus.clone(),
            hosts: self.hosts.clone(),
            guests: self.guests.clone(),
            neighbours: self.neighbours.clone(),
            urges: Arc::default(),
        };
        let (building, ending, powering) = (host.clone(), host.clone(), host.clone());
        let handlers = Handlers::new()
            .on(move |m: BuildInstance| building.clone().build(m))
            .on(move |m: PowerInstance| powering.clone().power(m))
            .on(move |_: GetHostUptime| async { Ok(UPTIME.to_owned()) })
            .on(move |m: TerminateInstance| {
                let host = ending.clone();
                async move {
                    host.guests.lock().unwrap().retain(|guest| *guest != (host.name.clone(), m.instance_id.clone()));
                    Ok(())
                }
            });
        self.bus.serve(&compute_topic(name), actions::handlers(handlers, &host), 64);
        let report = ReportHost { host: name.to_owned(), inventory: Some(inventory(name)), instances: None };
        self.bus.call(TOPIC, report, Duration::from_secs(10)).await.unwrap();
    }

    pub async fn ask(&self, who: &str, version: &str, method: &str, path: &str, body: Value) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", "nova:8774").header("x-auth-token", who);
        if !version.is_empty() {
            request = request.header("openstack-api-version", format!("compute {version}"));
        }
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let (parts, body) = self.service.call(request.body(body).unwrap()).await.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask(ADMIN, "2.79", "GET", path, Value::Null).await
    }

    /// An action on a server.
    pub async fn act(&self, who: &str, version: &str, id: &str, body: Value) -> Answer {
        self.ask(who, version, "POST", &format!("/v2.1/servers/{id}/action"), body).await
    }

    /// A server that runs.
    pub async fn active(&self, who: &str) -> String {
        let id = self.boot(who).await;
        self.wait(&id, "ACTIVE").await;
        id
    }

    /// Waits for a status with nothing going on.
    pub async fn settled(&self, id: &str, status: &str) -> Value {
        for _ in 0..400 {
            let answer = self.get(&format!("/v2.1/servers/{id}")).await;
            let server = &answer.body["server"];
            if server["status"] == status && server["OS-EXT-STS:task_state"].is_null() {
                return server.clone();
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{id} never came to rest as {status}: {}", self.get(&format!("/v2.1/servers/{id}")).await.body);
    }

    /// A small server, accepted.
    pub async fn boot(&self, who: &str) -> String {
        let answer = self.ask(who, "2.1", "POST", "/v2.1/servers", server(json!({}))).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        answer.body["server"]["id"].as_str().unwrap().to_owned()
    }

    /// Waits for a status; `GONE` for 404.
    pub async fn wait(&self, id: &str, status: &str) -> Value {
        for _ in 0..400 {
            let answer = self.get(&format!("/v2.1/servers/{id}")).await;
            let now = if answer.status == 404 { "GONE" } else { answer.body["server"]["status"].as_str().unwrap() };
            if now == status {
                return answer.body["server"].clone();
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{id} never became {status}: {}", self.get(&format!("/v2.1/servers/{id}")).await.body);
    }

    /// Changes the database behind nova's back.
    pub async fn sql(&self, statement: &str) {
        use sea_orm::ConnectionTrait;
        let db = self.database().await;
        let statement = statement.to_owned();
        let done = db.write(move |tx| {
            Box::pin(async move {
                tx.execute_unprepared(&statement).await?;
                Ok(())
            })
        });
        done.await.unwrap();
    }

    /// The database behind nova's back: opened once, as it is looked at again and again.
    async fn database(&self) -> &kit::db::Db {
        self.behind.get_or_init(async || kit::db::Db::open(&self.location, &[]).await.unwrap()).await
    }

    /// Rows of one of nova's tables.
    pub async fn count(&self, table: &str) -> i64 {
        use sea_orm::{ConnectionTrait, Statement};
        let db = self.database().await;
        let backend = db.read().get_database_backend();
        let row = db.read().query_one_raw(Statement::from_string(backend, format!("SELECT COUNT(*) FROM {table}"))).await;
        row.unwrap().unwrap().try_get_by_index(0).unwrap()
    }

    /// Waits until something is so.
    pub async fn until(&self, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
        for _ in 0..400 {
            if is_so().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("it never came to this: {what}");
    }

    /// Ports, attachments, allocations and guests of servers that should have none.
    pub fn left(&self) -> Vec<String> {
        let state = self.neighbours.0.lock().unwrap();
        let mut left: Vec<String> = state.ports.keys().map(|id| format!("port {id}")).collect();
        left.extend(state.attachments.keys().map(|id| format!("attachment {id}")));
        left.extend(state.allocations.keys().map(|id| format!("allocation of {id}")));
        left.extend(self.guests.lock().unwrap().iter().map(|(host, id)| format!("guest {id} on {host}")));
        left
    }
}

/// Conductor, scheduler and what repairs.
fn run(nova: &Nova, stop: &CancellationToken) -> tokio::task::JoinHandle<()> {
    let (nova, stop) = (nova.clone(), stop.clone());
    tokio::spawn(async move { nova.run(stop, true).await.unwrap() })
}

/// What happens, once, after one step of one kind of flow; and whether it has happened.
pub fn once(kind: &'static str, step: &'static str, what: Probe) -> (ProbeFn, Arc<AtomicBool>) {
    let done = Arc::new(AtomicBool::new(false));
    let seen = done.clone();
    let probe: ProbeFn = Arc::new(move |k, s| if k == kind && s == step && !seen.swap(true, Ordering::SeqCst) { what } else { Probe::Go });
    (probe, done)
}

/// Waits until it has happened.
pub async fn happened(what: &AtomicBool) {
    for _ in 0..2000 {
        if what.load(Ordering::SeqCst) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it never came to that step");
}

/// The body of a small server, with more fields.
pub fn server(more: Value) -> Value {
    let mut body = json!({"server": {"name": "s", "imageRef": IMAGE, "flavorRef": "42", "networks": [{"uuid": NETWORK}]}});
    for (key, value) in more.as_object().unwrap() {
        body["server"][key] = value.clone();
    }
    body
}

fn authenticator() -> Authenticator<Nova> {
    let who = |_: Nova, token: String| -> futures::future::BoxFuture<'static, kit::Result<Identity>> {
        Box::pin(async move {
            let (project, role) = token.split_once(':').ok_or_else(kit::Error::unauthorized)?;
            let roles: &[&str] = match role {
                "admin" => &["admin", "manager", "member", "reader"],
                "manager" => &["manager", "member", "reader"],
                "member" => &["member", "reader"],
                "service" => &["service"],
                _ => &["reader"],
            };
            let named = |id: &str| Named { id: id.into(), name: id.into(), domain_id: "default".into() };
            Ok(Identity {
                user: named(&format!("user-{role}")),
                project: Some(named(project)),
                roles: roles.iter().map(|r| (*r).to_owned()).collect(),
                expires_at: i64::MAX,
                ..Identity::default()
            })
        })
    };
    Authenticator::own(who, "http://keystone:5000")
}

pub fn inventory(name: &str) -> HostInventory {
    HostInventory {
        hypervisor_hostname: name.into(),
        hypervisor_type: "fake".into(),
        hypervisor_version: 1_000_000,
        host_ip: "127.0.0.1".into(),
        vcpus: 64,
        memory_mb: 65_536,
        local_gb: 1000,
        cpu_info: json!({"arch": "x86_64"}),
        traits: vec![],
        pcpus: 0,
        numa: None,
    }
}

#[derive(Clone)]
struct FakeHost {
    name: String,
    bus: Bus,
    hosts: Arc<Mutex<HashMap<String, Behaviour>>>,
    guests: Arc<Mutex<Vec<(String, String)>>>,
    neighbours: Neighbours,
    /// What is wanted of migrations.
    urges: Arc<Mutex<HashMap<String, Urge>>>,
}

impl FakeHost {
    fn save(&self, id: &str) -> SaveInstance {
        SaveInstance { instance_id: id.into(), host: self.name.clone(), ..SaveInstance::default() }
    }

    async fn call<M: rpc::Message>(&self, message: M) -> kit::Result<M::Reply> {
        self.bus.call(TOPIC, message, Duration::from_secs(10)).await
    }

    async fn build(self, message: BuildInstance) -> kit::Result<()> {
        let id = message.instance_id.clone();
        let behaviour = self.hosts.lock().unwrap()[&self.name];
        let fault = |words: &str| Fault { code: 500, message: words.into(), details: String::new() };
        let Some(instance) = self.call(GetInstance { instance_id: id.clone() }).await? else { return Ok(()) };
        let outcome = match behaviour {
            Behaviour::Hang => return Ok(()),
            Behaviour::Refuse => BuildOutcome::Refused(fault("no room")),
            Behaviour::Fail => BuildOutcome::Failed(fault("the image is bad")),
            Behaviour::Run if instance.vm_state == "active" => BuildOutcome::Running,
            Behaviour::Run => {
                let spawning = SaveInstance { task_state: Some(Some("spawning".into())), ..self.save(&id) };
                if self.call(spawning).await? == Saved::Saved {
                    self.guests.lock().unwrap().push((self.name.clone(), id.clone()));
                    let active = SaveInstance {
                        vm_state: Some("active".into()),
                        task_state: Some(None),
                        power_state: Some(1),
                        launched: true,
                        ..self.save(&id)
                    };
                    self.call(active).await?;
                    BuildOutcome::Running
                } else {
                    BuildOutcome::Gone
                }
            }
        };
        self.bus.cast(TOPIC, BuildFinished { caller: message.caller, instance_id: id, host: self.name.clone(), outcome }).await
    }

    async fn power(self, message: PowerInstance) -> kit::Result<()> {
        let (vm_state, power) = match message.action {
            PowerAction::Stop => ("stopped", 4),
            PowerAction::Pause => ("paused", 3),
            PowerAction::Suspend => ("suspended", 7),
            PowerAction::SoftDelete => ("soft-delete", 4),
            PowerAction::Start | PowerAction::SoftReboot | PowerAction::HardReboot => ("active", 1),
            PowerAction::Unpause | PowerAction::Resume | PowerAction::Restore => ("active", 1),
        };
        let done = SaveInstance {
            vm_state: Some(vm_state.into()),
            task_state: Some(None),
            power_state: Some(power),
            ..self.save(&message.instance_id)
        };
        self.call(done).await.map(drop)
    }
}
