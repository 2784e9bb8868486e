//! neutron in process, with a fake keystone (a token is `project/role`), a fake nova that remembers events, and a fake agent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use futures::future::BoxFuture;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kit::auth::{Authenticator, ServiceSession};
use kit::bus::{Bus, Handlers};
use kit::context::{Identity, Named};
use kit::db::{Db, Location};
use kit::service::Service;
use rpc::network::{Change, FetchState, Heartbeat, HostState, PortsWired, SERVER_TOPIC, Update, agent_topic};
use sdk::LocalService;
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

pub const ADMIN: &str = "admin/admin";
pub const DEMO: &str = "demo/member";
pub const OTHER: &str = "other/member";
pub const READER: &str = "demo/reader";

pub struct Cloud {
    pub service: Service,
    pub bus: Bus,
    pub neutron: Arc<neutron::Neutron>,
    pub events: Events,
    /// What placement has for its one consumer.
    pub allocations: Allocations,
    location: Location,
    stop: CancellationToken,
    _dir: tempfile::TempDir,
}

type Events = Arc<Mutex<Vec<Value>>>;
type Allocations = Arc<Mutex<Value>>;

/// More than this of anything placement does not give.
pub const PLENTY: i64 = 10_000;

impl Drop for Cloud {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub async fn cloud() -> Cloud {
    cloud_with(neutron::Config::default()).await
}

pub async fn cloud_with(config: neutron::Config) -> Cloud {
    let dir = tempfile::tempdir().unwrap();
    let location = match std::env::var("CUMULO_TEST_DATABASE") {
        Ok(url) => Location::Postgres { url, schema: format!("n{}", kit::ids::hex()) },
        Err(_) => Location::Sqlite(dir.path().join("neutron.sqlite")),
    };
    let (events, allocations) = (Events::default(), Allocations::default());
    let endpoint = sdk::Endpoint::local(Arc::new(Elsewhere(events.clone(), allocations.clone())), "http://elsewhere");
    let handles = sdk::Cloud {
        identity: sdk::identity::Identity::new(endpoint.clone()),
        image: sdk::image::Image::new(endpoint.clone()),
        network: sdk::network::Network::new(endpoint.clone()),
        volume: sdk::volume::Volume::new(endpoint.clone()),
        compute: sdk::compute::Compute::new(endpoint.clone()),
        placement: sdk::placement::Placement::new(endpoint.clone()),
    };
    let bus = Bus::local();
    let session = ServiceSession::new(endpoint, "neutron", "secret");
    let neutron = neutron::open(&location, config, bus.clone(), &handles, session).await.unwrap();
    let neutron = Arc::new(neutron);
    let service = neutron.service(Authenticator::own(|_, token| Box::pin(identify(token)), "http://keystone")).unwrap();
    let stop = CancellationToken::new();
    let (running, until) = (neutron.clone(), stop.clone());
    tokio::spawn(async move { running.run(until).await });
    Cloud { service, bus, neutron, events, allocations, location, stop, _dir: dir }
}

async fn identify(token: String) -> kit::Result<Identity> {
    let (project, role) = token.split_once('/').ok_or_else(kit::Error::unauthorized)?;
    let roles: &[&str] = match role {
        "admin" => &["admin", "manager", "member", "reader"],
        "manager" => &["manager", "member", "reader"],
        "member" => &["member", "reader"],
        "service" => &["service"],
        _ => &["reader"],
    };
    Ok(Identity {
        user: Named { id: format!("user-{project}"), ..Named::default() },
        project: Some(Named { id: project.into(), ..Named::default() }),
        roles: roles.iter().map(|r| (*r).to_owned()).collect(),
        ..Identity::default()
    })
}

/// Keystone, nova and placement, as far as neutron speaks to them.
struct Elsewhere(Events, Allocations);

impl LocalService for Elsewhere {
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Response<Body>> {
        let (events, allocations) = (self.0.clone(), self.1.clone());
        Box::pin(async move {
            let (path, putting) = (request.uri().path().to_owned(), request.method() == Method::PUT);
            let body = request.into_body().collect().await.unwrap().to_bytes();
            if path.ends_with("os-server-external-events") {
                let body: Value = serde_json::from_slice(&body).unwrap();
                events.lock().unwrap().extend(body["events"].as_array().unwrap().clone());
            }
            let (status, answer) = match path.starts_with("/allocations/") {
                true => allocate(&mut allocations.lock().unwrap(), putting.then(|| serde_json::from_slice(&body).unwrap())),
                false => (200, "{}".to_owned()),
            };
            Response::builder().status(status).header("x-subject-token", "t").body(Body::from(answer)).unwrap()
        })
    }
}

fn allocate(have: &mut Value, wanted: Option<Value>) -> (u16, String) {
    let Some(wanted) = wanted else {
        let mut answer = json!({"project_id": "demo", "user_id": "u", "consumer_generation": 1, "consumer_type": "INSTANCE"});
        answer["allocations"] = have.clone();
        return (200, answer.to_string());
    };
    let amounts = |share: &Value| share["resources"].as_object().unwrap().values().map(|n| n.as_i64().unwrap()).max();
    if wanted["allocations"].as_object().unwrap().values().filter_map(amounts).any(|most| most > PLENTY) {
        return (409, "{}".to_owned());
    }
    *have = wanted["allocations"].clone();
    (204, String::new())
}

impl Cloud {
    /// Runs statements in neutron's database, for what would take requests too long.
    pub async fn execute(&self, statements: Vec<String>) {
        let db = Db::open(&self.location, &[]).await.unwrap();
        let change = db.write(move |tx| {
            Box::pin(async move {
                for statement in statements {
                    tx.execute_unprepared(&statement).await?;
                }
                Ok(())
            })
        });
        change.await.unwrap();
    }

    pub async fn call(&self, who: &str, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        self.call_if(who, method, path, body, None).await
    }

    pub async fn call_if(&self, who: &str, method: Method, path: &str, body: Option<Value>, if_match: Option<&str>) -> (u16, Value) {
        let mut request = Request::builder().method(method).uri(path).header("x-auth-token", who).header("host", "h");
        if let Some(value) = if_match {
            request = request.header("if-match", value);
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let response = self.service.call(request.body(body).unwrap()).await;
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    pub async fn get(&self, who: &str, path: &str) -> Value {
        let (status, body) = self.call(who, Method::GET, &format!("/v2.0{path}"), None).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// Makes one; `plural` is the path.
    pub async fn make(&self, who: &str, plural: &str, key: &str, body: Value) -> Value {
        let (status, answer) = self.call(who, Method::POST, &format!("/v2.0/{plural}"), Some(json!({key: body}))).await;
        assert_eq!(status, 201, "{plural}: {answer}");
        answer[key].clone()
    }

    pub async fn change(&self, who: &str, path: &str, key: &str, body: Value) -> Value {
        let (status, answer) = self.call(who, Method::PUT, &format!("/v2.0{path}"), Some(json!({key: body}))).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer[key].clone()
    }

    pub async fn put(&self, who: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.call(who, Method::PUT, &format!("/v2.0{path}"), Some(body)).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    pub async fn delete(&self, who: &str, path: &str) {
        let (status, answer) = self.call(who, Method::DELETE, &format!("/v2.0{path}"), None).await;
        assert_eq!(status, 204, "{path}: {answer}");
    }

    /// The status and the type of a refusal.
    pub async fn refused(&self, who: &str, method: Method, path: &str, body: Option<Value>) -> (u16, String) {
        let (status, answer) = self.call(who, method, &format!("/v2.0{path}"), body).await;
        assert!(status >= 400, "{path}: {answer}");
        (status, answer["NeutronError"]["type"].as_str().unwrap_or_default().to_owned())
    }

    /// A network with one IPv4 subnet: (network id, subnet id).
    pub async fn network(&self, who: &str, cidr: &str) -> (String, String) {
        let network = self.make(who, "networks", "network", json!({"name": "n"})).await;
        let subnet = json!({"network_id": network["id"], "ip_version": 4, "cidr": cidr});
        let subnet = self.make(who, "subnets", "subnet", subnet).await;
        (id(&network), id(&subnet))
    }

    pub async fn port(&self, who: &str, network: &str) -> Value {
        self.make(who, "ports", "port", json!({"network_id": network})).await
    }

    pub async fn bind(&self, port: &str, host: &str, server: &str) -> Value {
        let body = json!({"binding:host_id": host, "device_id": server, "device_owner": "compute:nova"});
        self.change(ADMIN, &format!("/ports/{port}"), "port", body).await
    }

    /// `public` and demo's first network, as a new cloud has them.
    pub async fn bootstrapped(&self) {
        let ip = |text: &str| text.parse().unwrap();
        let bootstrap = neutron::Bootstrap {
            admin_project: "admin".into(),
            demo_project: "demo".into(),
            public_cidr: "172.24.4.0/24".into(),
            public_gateway: ip("172.24.4.1"),
            public_pool: (ip("172.24.4.10"), ip("172.24.4.250")),
            private_cidr: "10.0.0.0/24".into(),
        };
        self.neutron.bootstrap(&bootstrap).await.unwrap();
        self.neutron.bootstrap(&bootstrap).await.unwrap();
    }

    pub async fn named(&self, plural: &str, name: &str) -> String {
        let list = self.get(ADMIN, &format!("/{plural}?name={name}")).await;
        id(&list[plural.replace('-', "_")][0])
    }
}

pub fn id(value: &Value) -> String {
    value["id"].as_str().unwrap_or_else(|| panic!("no id in {value}")).to_owned()
}

/// Waits until `check` holds.
pub async fn eventually<F: AsyncFnMut() -> bool>(mut check: F) {
    for _ in 0..200 {
        if check().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it did not come to be");
}

/// An agent that keeps what it is told.
#[derive(Clone)]
pub struct Agent {
    host: String,
    bus: Bus,
    pub updates: Arc<Mutex<Vec<Update>>>,
    state: Arc<Mutex<HostState>>,
}

impl Agent {
    pub async fn start(cloud: &Cloud, host: &str) -> Agent {
        let agent = Agent { host: host.into(), bus: cloud.bus.clone(), updates: Arc::default(), state: Arc::default() };
        *agent.state.lock().unwrap() = agent.fetch().await;
        let hears = agent.clone();
        let handlers = Handlers::new().on(move |update: Update| {
            let agent = hears.clone();
            async move {
                agent.take_in(update).await;
                Ok(())
            }
        });
        cloud.bus.serve(&agent_topic(host), handlers, 1);
        agent.beat().await;
        agent
    }

    /// Says that it is alive.
    pub async fn beat(&self) {
        let vtep = self.host.strip_prefix("host").map(|number| format!("192.0.2.{number}").parse().unwrap());
        let agent_types = vec!["Linux bridge agent".into(), "DHCP agent".into(), "L3 agent".into()];
        let interface_mappings = BTreeMap::from([("physnet1".into(), "eth1".into())]);
        let physical_networks = interface_mappings.keys().cloned().collect();
        let heartbeat =
            Heartbeat { host: self.host.clone(), agent_types, vtep, physical_networks, interface_mappings, ..Heartbeat::default() };
        self.bus.call(SERVER_TOPIC, heartbeat, Duration::from_secs(5)).await.unwrap();
    }

    pub async fn fetch(&self) -> HostState {
        self.bus.call(SERVER_TOPIC, FetchState { host: self.host.clone() }, Duration::from_secs(5)).await.unwrap()
    }

    pub async fn wired(&self, up: &[&str], down: &[&str]) {
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
        let message = PortsWired { host: self.host.clone(), up: ids(up), down: ids(down) };
        self.bus.call(SERVER_TOPIC, message, Duration::from_secs(60)).await.unwrap();
    }

    /// Takes in what follows on what it knows; after a gap it asks for everything, as real agents do.
    async fn take_in(&self, update: Update) {
        let known = self.state.lock().unwrap().sequence;
        if update.sequence > known + 1 {
            let whole = self.fetch().await;
            *self.state.lock().unwrap() = whole;
        } else if update.sequence == known + 1 {
            let mut state = self.state.lock().unwrap();
            state.sequence = update.sequence;
            for change in update.changes.clone() {
                apply(&mut state, change);
            }
            self.updates.lock().unwrap().push(update);
        }
    }

    /// The sum of what it was told is what it would be told anew.
    pub async fn is_up_to_date(&self) -> bool {
        let whole = self.fetch().await;
        let mine = self.state.lock().unwrap().clone();
        sorted(whole) == sorted(mine)
    }

    pub fn state(&self) -> HostState {
        sorted(self.state.lock().unwrap().clone())
    }
}

fn sorted(mut state: HostState) -> HostState {
    state.sequence = 0;
    state.networks.sort_by(|a, b| a.id.cmp(&b.id));
    state.ports.sort_by(|a, b| a.id.cmp(&b.id));
    state.routers.sort_by(|a, b| a.id.cmp(&b.id));
    state.security_groups.sort_by(|a, b| a.id.cmp(&b.id));
    state.address_groups.sort_by(|a, b| a.id.cmp(&b.id));
    for network in &mut state.networks {
        network.peers.sort_by(|a, b| a.port_id.cmp(&b.port_id));
    }
    state
}

fn apply(state: &mut HostState, change: Change) {
    match change {
        Change::Network(new) => {
            state.networks.retain(|old| old.id != new.id);
            state.networks.push(new);
        }
        Change::NetworkGone(id) => state.networks.retain(|old| old.id != id),
        Change::Port(new) => {
            state.ports.retain(|old| old.id != new.id);
            state.ports.push(new);
        }
        Change::PortGone(id) => state.ports.retain(|old| old.id != id),
        Change::Router(new) => {
            state.routers.retain(|old| old.id != new.id);
            state.routers.push(new);
        }
        Change::RouterGone(id) => state.routers.retain(|old| old.id != id),
        Change::SecurityGroup(new) => {
            state.security_groups.retain(|old| old.id != new.id);
            state.security_groups.push(new);
        }
        Change::SecurityGroupGone(id) => state.security_groups.retain(|old| old.id != id),
        Change::AddressGroup(new) => {
            state.address_groups.retain(|old| old.id != new.id);
            state.address_groups.push(new);
        }
        Change::AddressGroupGone(id) => state.address_groups.retain(|old| old.id != id),
        Change::Peers { network_id, now, gone } => {
            let network = state.networks.iter_mut().find(|network| network.id == network_id).unwrap();
            network.peers.retain(|peer| !gone.contains(&peer.port_id) && !now.iter().any(|new| new.port_id == peer.port_id));
            network.peers.extend(now);
        }
        Change::Members { group_id, added, removed } => {
            let group = state.security_groups.iter_mut().find(|group| group.id == group_id).unwrap();
            let mut members: BTreeMap<_, ()> = group.members.drain(..).map(|ip| (ip, ())).collect();
            members.retain(|ip, ()| !removed.contains(ip));
            members.extend(added.into_iter().map(|ip| (ip, ())));
            group.members = members.into_keys().collect();
        }
    }
}
