//! A neutron-server for tests: two tenants with the same subnet, a router with a floating IP for the first, and nova's metadata API.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kit::bus::{Bus, Handlers};
use neutron_agent::{Config, External, Linux};
use rpc::network::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

pub const NET_1: &str = "aaaaaaaa-aaaa-4000-8000-000000000001";
pub const NET_2: &str = "bbbbbbbb-bbbb-4000-8000-000000000002";
const EXTERNAL: &str = "eeeeeeee-eeee-4000-8000-000000000003";
pub const PORT_A: &str = "11111111-1111-4000-8000-000000000001";
pub const PORT_B: &str = "22222222-2222-4000-8000-000000000002";
pub const PORT_C: &str = "33333333-3333-4000-8000-000000000003";
pub const ROUTER: &str = "cccccccc-cccc-4000-8000-000000000001";
const GROUP_1: &str = "d1d1d1d1-d1d1-4000-8000-000000000001";
const GROUP_2: &str = "d2d2d2d2-d2d2-4000-8000-000000000002";
const HOST: &str = "host-1";

pub struct Cloud {
    bus: Bus,
    state: Arc<Mutex<HostState>>,
    wired: mpsc::UnboundedReceiver<PortsWired>,
    agent: Option<AbortOnDropHandle<()>>,
    config: Config,
    dir: tempfile::TempDir,
}

impl Cloud {
    pub async fn start() -> Cloud {
        Cloud::start_with(|_| {}).await
    }

    pub async fn start_with(configure: impl FnOnce(&mut Config)) -> Cloud {
        let dir = tempfile::tempdir_in("/run").unwrap();
        let mut config = Config::new(HOST, dir.path(), "secret");
        config.physical_networks.insert("public".into(), External { gateway: vec!["172.24.4.1/24".parse().unwrap()] });
        config.reconcile_every = Duration::from_secs(3);
        config.metadata_upstream = metadata_api().await;
        configure(&mut config);
        let bus = Bus::local();
        let state = Arc::new(Mutex::new(state()));
        let wired = serve(&bus, state.clone());
        let mut cloud = Cloud { bus, state, wired, agent: None, config, dir };
        cloud.start_agent();
        cloud
    }

    pub fn start_agent(&mut self) {
        let (config, bus) = (self.config.clone(), self.bus.clone());
        let dataplane = Linux::new(config.clone()).unwrap();
        self.agent = Some(AbortOnDropHandle::new(tokio::spawn(async move {
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

    /// Waits until these ports were reported.
    pub async fn wired(&mut self, ports: &[&str]) {
        let mut missing: BTreeSet<&str> = ports.iter().copied().collect();
        while !missing.is_empty() {
            let report = tokio::time::timeout(Duration::from_secs(60), self.wired.recv()).await;
            let report = report.unwrap_or_else(|_| panic!("never wired: {missing:?}")).unwrap();
            missing.retain(|id| !report.up.iter().any(|up| up == id));
        }
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
        let group = SecurityGroup { rules, ..group(GROUP_1, &["10.1.0.11", "10.1.0.12"]) };
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

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The beginning of a command line that runs in a namespace of the cloud.
    pub fn enter(&self, namespace: &str) -> String {
        format!("nsenter --net={}/neutron/netns/{namespace}", self.dir().display())
    }
}

pub fn bridge(network_id: &str) -> String {
    format!("cub{}", &network_id[..11])
}

pub fn mac(port_id: &str) -> &'static str {
    match port_id {
        PORT_A => "fa:16:3e:00:01:11",
        PORT_B => "fa:16:3e:00:01:12",
        _ => "fa:16:3e:00:02:11",
    }
}

pub fn rule(direction: &str, protocol: Option<&str>, ports: Option<(u16, u16)>) -> SecurityGroupRule {
    SecurityGroupRule {
        id: "rule".into(),
        direction: direction.into(),
        ethertype: "IPv4".into(),
        protocol: protocol.map(Into::into),
        port_range_min: ports.map(|p| p.0),
        port_range_max: ports.map(|p| p.1),
        ..SecurityGroupRule::default()
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
        other => panic!("{other:?} is not used by these tests"),
    }
}

/// Answers every request with the request.
async fn metadata_api() -> std::net::SocketAddr {
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

fn state() -> HostState {
    HostState {
        sequence: 1,
        networks: vec![tenant_network(NET_1, 1), tenant_network(NET_2, 2), external()],
        ports: vec![
            port(PORT_A, NET_1, "server-a", "10.1.0.11"),
            port(PORT_B, NET_1, "server-b", "10.1.0.12"),
            port(PORT_C, NET_2, "server-c", "10.1.0.11"),
        ],
        routers: vec![router()],
        security_groups: vec![group(GROUP_1, &["10.1.0.11", "10.1.0.12"]), group(GROUP_2, &["10.1.0.11"])],
        ..HostState::default()
    }
}

fn tenant_network(id: &str, tenant: u8) -> Network {
    let subnet_id = format!("subnet-{tenant}");
    Network {
        id: id.into(),
        project_id: format!("tenant-{tenant}"),
        network_type: "vxlan".into(),
        physical_network: None,
        segmentation_id: Some(100 + u32::from(tenant)),
        mtu: 1450,
        external: false,
        subnets: vec![Subnet {
            id: subnet_id.clone(),
            cidr: "10.1.0.0/24".into(),
            gateway_ip: Some("10.1.0.1".parse().unwrap()),
            enable_dhcp: true,
            dns_nameservers: vec![],
            host_routes: vec![],
            ..Subnet::default()
        }],
        dhcp: Some(DhcpPort {
            port_id: format!("7777777{tenant}-7777-4000-8000-000000000007"),
            mac_address: format!("fa:16:3e:00:0{tenant}:02"),
            fixed_ips: vec![FixedIp { subnet_id, ip_address: "10.1.0.2".parse().unwrap() }],
        }),
        dns_domain: "openstacklocal.".into(),
        ..Network::default()
    }
}

fn external() -> Network {
    Network {
        id: EXTERNAL.into(),
        project_id: "admin".into(),
        network_type: "flat".into(),
        physical_network: Some("public".into()),
        mtu: 1500,
        external: true,
        ..Network::default()
    }
}

fn port(id: &str, network_id: &str, server: &str, address: &str) -> Port {
    let (tenant, group) = if network_id == NET_1 { (1, GROUP_1) } else { (2, GROUP_2) };
    Port {
        id: id.into(),
        network_id: network_id.into(),
        project_id: format!("tenant-{tenant}"),
        device_id: server.into(),
        mac_address: mac(id).into(),
        fixed_ips: vec![FixedIp { subnet_id: format!("subnet-{tenant}"), ip_address: address.parse().unwrap() }],
        security_groups: vec![group.into()],
        port_security_enabled: true,
        allowed_address_pairs: vec![],
        admin_state_up: true,
        dns_name: server.into(),
        ..Port::default()
    }
}

/// As neutron makes `default`: everything out, members in.
fn group(id: &str, members: &[&str]) -> SecurityGroup {
    let from_members = SecurityGroupRule { remote_group_id: Some(id.into()), ..rule("ingress", None, None) };
    SecurityGroup {
        id: id.into(),
        stateful: true,
        rules: vec![rule("egress", None, None), from_members],
        members: members.iter().map(|ip| ip.parse().unwrap()).collect(),
    }
}

fn router() -> Router {
    Router {
        id: ROUTER.into(),
        project_id: "tenant-1".into(),
        admin_state_up: true,
        interfaces: vec![RouterInterface {
            port_id: "44444444-4444-4000-8000-000000000004".into(),
            network_id: NET_1.into(),
            mac_address: "fa:16:3e:00:01:01".into(),
            addresses: vec!["10.1.0.1/24".into()],
        }],
        gateway: Some(RouterGateway {
            port_id: "55555555-5555-4000-8000-000000000005".into(),
            network_id: EXTERNAL.into(),
            mac_address: "fa:16:3e:00:09:10".into(),
            addresses: vec!["172.24.4.10/24".into()],
            nexthops: vec!["172.24.4.1".parse().unwrap()],
            enable_snat: true,
            ..RouterGateway::default()
        }),
        floating_ips: vec![FloatingIp {
            id: "66666666-6666-4000-8000-000000000006".into(),
            floating_ip_address: "172.24.4.50".parse().unwrap(),
            fixed_ip_address: "10.1.0.11".parse().unwrap(),
            port_id: PORT_A.into(),
            qos: Qos::default(),
        }],
        ..Router::default()
    }
}
