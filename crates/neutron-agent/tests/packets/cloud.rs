//! A neutron-server for tests, for one host: two tenants with the same subnet, a router with a floating IP for the first, and nova's metadata
//! API. What it tells the host at first is in `state`.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kit::bus::{Bus, Handlers};
use neutron_agent::{Config, External, Linux};
use rpc::network::*;
use rpc::notifications::Notification;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::guest::Guest;
use crate::state::{self, GROUP_1, PORT_A};

const HOST: &str = "host-1";

pub struct Cloud {
    bus: Bus,
    state: Arc<Mutex<HostState>>,
    wired: mpsc::UnboundedReceiver<PortsWired>,
    notifications: mpsc::UnboundedReceiver<Notification>,
    agent: Option<AbortOnDropHandle<()>>,
    config: Config,
    /// Of the host's namespace; the test's own when there is none.
    runtime: Option<Runtime>,
    dir: tempfile::TempDir,
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.agent.take();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Cloud {
    pub async fn start() -> Cloud {
        Cloud::start_with(|_| {}).await
    }

    pub async fn start_with(configure: impl FnOnce(&mut Config)) -> Cloud {
        Cloud::start_as(None, state::state(), configure).await
    }

    /// A host of `state`, whose network namespace is that of `host`.
    pub async fn start_on(host: &Guest, vtep: IpAddr, state: HostState) -> Cloud {
        let configure = |config: &mut Config| {
            config.vtep = Some(vtep);
            config.physical_networks.clear();
        };
        Cloud::start_as(Some(host.runtime()), state, configure).await
    }

    pub async fn start_as(runtime: Option<Runtime>, state: HostState, configure: impl FnOnce(&mut Config)) -> Cloud {
        let dir = tempfile::tempdir_in("/run").unwrap();
        let mut config = Config::new(HOST, dir.path(), "secret");
        config.physical_networks.insert("public".into(), External { gateway: vec!["172.24.4.1/24".parse().unwrap()], interface: None });
        config.reconcile_every = Duration::from_secs(3);
        config.metadata_upstream = metadata_api().await;
        configure(&mut config);
        let bus = Bus::local();
        let state = Arc::new(Mutex::new(state));
        let wired = serve(&bus, state.clone());
        let notifications = listen(&bus);
        let mut cloud = Cloud { bus, state, wired, notifications, agent: None, config, runtime, dir };
        cloud.start_agent();
        cloud
    }

    pub fn start_agent(&mut self) {
        let (config, bus) = (self.config.clone(), self.bus.clone());
        let runtime = self.runtime.as_ref().map_or_else(Handle::current, |runtime| runtime.handle().clone());
        self.agent = Some(AbortOnDropHandle::new(runtime.spawn(async move {
            let dataplane = Linux::new(config.clone()).unwrap();
            neutron_agent::run(config, bus, dataplane).await.unwrap();
        })));
    }

    /// As sudden as a kill.
    pub async fn stop_agent(&mut self) {
        if let Some(agent) = self.agent.take() {
            agent.abort();
            let _ = agent.await;
        }
        while self.wired.try_recv().is_ok() {}
    }

    /// Guests on these ports, wired and with a lease.
    pub async fn guests<const N: usize>(&mut self, ports: [&str; N]) -> [Guest; N] {
        let guests = ports.map(Guest::plug);
        self.wired(&ports).await;
        guests.iter().for_each(Guest::dhcp);
        guests
    }

    /// Waits until these ports were reported.
    pub async fn wired(&mut self, ports: &[&str]) {
        let mut missing: BTreeSet<&str> = ports.iter().copied().collect();
        while !missing.is_empty() {
            let report = tokio::time::timeout(Duration::from_secs(60), self.wired.recv()).await;
            let report = report.unwrap_or_else(|_| panic!("never wired: {missing:?}")).unwrap();
            missing.retain(|id| !report.up.iter().any(|up| up == id));
        }
    }

    /// What was metered until nothing more came, as one.
    pub async fn metered(&mut self) -> Value {
        let mut sum = Value::Null;
        loop {
            let told = tokio::time::timeout(Duration::from_secs(60), self.notifications.recv()).await.unwrap().unwrap();
            assert_eq!((told.event_type.as_str(), told.publisher_id.as_str()), ("l3.meter", "metering.host-1"));
            let mut told = told.payload;
            if told["pkts"] == 0 && !sum.is_null() {
                return sum;
            }
            for what in ["pkts", "bytes"] {
                told[what] = (told[what].as_u64().unwrap() + sum[what].as_u64().unwrap_or_default()).into();
            }
            if told["pkts"] != 0 {
                sum = told;
            }
        }
    }

    /// Waits until all that the agent was told is so: told of a port once more, it says of it once more that it is wired.
    pub async fn settled(&mut self) {
        self.change_port(PORT_A, |_| {}).await;
        self.wired(&[PORT_A]).await;
    }

    /// Change what is desired, and tell the agent.
    pub async fn update(&mut self, changes: Vec<Change>) {
        let sequence = {
            let mut state = self.state.lock().unwrap();
            changes.iter().for_each(|change| apply(&mut state, change.clone()));
            state.sequence += 1;
            state.sequence
        };
        self.bus.cast(&agent_topic(HOST), Update { sequence, changes }).await.unwrap();
    }

    pub async fn set_rules(&mut self, rules: Vec<SecurityGroupRule>) {
        let group = SecurityGroup { rules, ..state::group(GROUP_1, &["10.1.0.11", "10.1.0.12"]) };
        self.update(vec![Change::SecurityGroup(group)]).await;
    }

    pub async fn change_port(&mut self, id: &str, change: impl FnOnce(&mut Port)) {
        let mut port = self.port(id);
        change(&mut port);
        self.update(vec![Change::Port(port)]).await;
    }

    pub fn port(&self, id: &str) -> Port {
        self.state.lock().unwrap().ports.iter().find(|port| port.id == id).unwrap().clone()
    }

    pub fn router(&self) -> Router {
        self.state.lock().unwrap().routers[0].clone()
    }

    pub async fn change_router(&mut self, change: impl FnOnce(&mut Router)) {
        let mut router = self.router();
        change(&mut router);
        self.update(vec![Change::Router(router)]).await;
    }

    pub fn network(&self, id: &str) -> Network {
        self.state.lock().unwrap().networks.iter().find(|network| network.id == id).unwrap().clone()
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The beginning of a command line that runs in a namespace of the cloud.
    pub fn enter(&self, namespace: &str) -> String {
        format!("nsenter --net={}/neutron/netns/{namespace}", self.dir().display())
    }
}

fn serve(bus: &Bus, state: Arc<Mutex<HostState>>) -> mpsc::UnboundedReceiver<PortsWired> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let handlers = Handlers::new()
        .on(move |_: FetchState| {
            let state = state.lock().unwrap().clone();
            async move { Ok(state) }
        })
        .on(|_: Heartbeat| async { Ok(()) })
        .on(move |wired: PortsWired| {
            let _ = sender.send(wired);
            async { Ok(()) }
        });
    bus.serve(SERVER_TOPIC, handlers, 4);
    receiver
}

fn listen(bus: &Bus) -> mpsc::UnboundedReceiver<Notification> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let handlers = Handlers::new().on(move |notification: Notification| {
        let _ = sender.send(notification);
        async { Ok(()) }
    });
    bus.serve("notifications", handlers, 1);
    receiver
}

fn apply(state: &mut HostState, change: Change) {
    match change {
        Change::NetworkGone(id) => state.networks.retain(|n| n.id != id),
        Change::PortGone(id) => state.ports.retain(|p| p.id != id),
        Change::Port(port) => {
            state.ports.retain(|p| p.id != port.id);
            state.ports.push(port);
        }
        Change::Router(router) => state.routers = vec![router],
        Change::SecurityGroup(group) => {
            state.security_groups.retain(|g| g.id != group.id);
            state.security_groups.push(group);
        }
        Change::Network(network) => {
            state.networks.retain(|n| n.id != network.id);
            state.networks.push(network);
        }
        Change::AddressGroup(group) => state.address_groups = vec![group],
        Change::Peers { network_id, now, gone } => {
            let network = state.networks.iter_mut().find(|n| n.id == network_id).unwrap();
            network.peers.retain(|peer| !gone.contains(&peer.port_id) && now.iter().all(|new| new.port_id != peer.port_id));
            network.peers.extend(now);
        }
        other => panic!("{other:?} is not used by these tests"),
    }
}

/// Answers every request with the request.
async fn metadata_api() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&request[..length]).await.unwrap();
        }
    });
    address
}
