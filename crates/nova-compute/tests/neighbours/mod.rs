//! What a host meets in these tests: a conductor with one instance, and a keystone, glance and neutron with just enough in them.

#![allow(dead_code)] // each test file uses its part

pub mod real;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kit::auth::ServiceSession;
use kit::bus::{Bus, Handlers};
use nova_compute::hypervisor::Hypervisor;
use nova_compute::hypervisor::sim::Sim;
use rpc::compute::*;
use rpc::conductor::*;
use sdk::{Body, Endpoint, LocalService};
use serde_json::{Value, json};
use tokio::sync::{Mutex as AsyncMutex, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};

pub const HOST: &str = "host";
/// An image that waits for its data.
pub const SNAPSHOT: &str = "22222222-3333-4444-5555-666666666666";
pub const ID: &str = "11111111-2222-3333-4444-555555555555";

/// A host that runs, and all it talks to.
pub struct Cloud {
    pub bus: Bus,
    pub sim: Arc<Sim>,
    world: Arc<World>,
    finished: AsyncMutex<mpsc::Receiver<BuildOutcome>>,
    _stop: DropGuard,
}

struct World {
    instance: Mutex<Instance>,
    tasks: Mutex<Vec<String>>,
    events: Mutex<Vec<String>>,
    ports: Mutex<BTreeMap<String, Value>>,
    wiring: Mutex<bool>,
    fault: Mutex<Option<String>>,
    evacuated: Mutex<Vec<String>>,
    attachments: Mutex<Vec<String>>,
    uploaded: Mutex<Vec<u8>>,
    /// The file of the one image.
    image: Vec<u8>,
    bus: Bus,
}

impl Cloud {
    /// A host that only pretends to run guests.
    pub async fn start(instance: Instance) -> Cloud {
        let sim = Arc::new(Sim::new());
        let config = nova_compute::Config::new(HOST, "/nonexistent");
        Cloud::on(sim.clone(), sim, config, instance, Vec::new()).await
    }

    /// A host with this hypervisor. Guests begin as `image`.
    pub async fn on(
        hypervisor: Arc<dyn Hypervisor>,
        sim: Arc<Sim>,
        mut config: nova_compute::Config,
        instance: Instance,
        image: Vec<u8>,
    ) -> Cloud {
        let bus = Bus::local();
        let world = Arc::new(World {
            instance: Mutex::new(instance),
            tasks: Mutex::default(),
            events: Mutex::default(),
            ports: Mutex::default(),
            wiring: Mutex::new(true),
            fault: Mutex::default(),
            evacuated: Mutex::default(),
            attachments: Mutex::default(),
            uploaded: Mutex::default(),
            image,
            bus: bus.clone(),
        });
        let (outcomes, finished) = mpsc::channel(16);
        conductor(&world, outcomes);
        let api = || Endpoint::local(Arc::new(Api(world.clone())), "http://test");
        let cloud = sdk::Cloud {
            identity: sdk::identity::Identity::new(api()),
            image: sdk::image::Image::new(api()),
            network: sdk::network::Network::new(api()),
            volume: sdk::volume::Volume::new(api()),
            compute: sdk::compute::Compute::new(api()),
            placement: sdk::placement::Placement::new(api()),
        };
        config.vif_plugging_timeout = Duration::from_secs(1);
        let (stop, session) = (CancellationToken::new(), ServiceSession::new(api(), "nova", "password"));
        tokio::spawn(nova_compute::run(config, bus.clone(), hypervisor, cloud, session, stop.clone()));
        Cloud { bus, sim, world, finished: AsyncMutex::new(finished), _stop: stop.drop_guard() }
    }

    /// How the next build ends.
    pub async fn finished(&self) -> BuildOutcome {
        let mut finished = self.finished.lock().await;
        tokio::time::timeout(Duration::from_secs(30), finished.recv()).await.unwrap().unwrap()
    }

    pub async fn until(&self, holds: impl Fn(&Cloud) -> bool) {
        let wait = async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        // real guests take their time
        tokio::time::timeout(Duration::from_secs(120), wait).await.unwrap();
    }

    pub fn instance(&self) -> Instance {
        self.world.instance.lock().unwrap().clone()
    }

    pub fn set_task(&self, task: &str) {
        self.world.instance.lock().unwrap().task_state = Some(task.into());
    }

    pub fn tasks(&self) -> Vec<String> {
        self.world.tasks.lock().unwrap().clone()
    }

    pub fn events(&self) -> Vec<String> {
        self.world.events.lock().unwrap().clone()
    }

    /// Ids of all ports.
    pub fn ports(&self) -> Vec<String> {
        self.world.ports.lock().unwrap().keys().cloned().collect()
    }

    pub fn owner(&self, port: &str) -> String {
        self.world.ports.lock().unwrap()[port]["device_id"].as_str().unwrap().to_owned()
    }

    pub fn make_port(&self, device_id: &str) -> String {
        self.make_port_with_id(&kit::ids::uuid(), device_id)
    }

    pub fn make_port_with_id(&self, id: &str, device_id: &str) -> String {
        let port = self.world.port(json!({"id": id, "network_id": "network", "device_id": device_id}));
        self.world.ports.lock().unwrap().insert(id.to_owned(), port);
        id.to_owned()
    }

    /// Changes the instance, as the API and its flows do.
    pub fn change(&self, change: impl FnOnce(&mut Instance)) {
        change(&mut self.world.instance.lock().unwrap());
    }

    /// Has conductor say of a guest, from the next report on, that it was evacuated.
    pub fn say_evacuated(&self, id: &str) {
        self.world.evacuated.lock().unwrap().push(id.to_owned());
    }

    /// Ids of all attachments of volumes.
    pub fn attachments(&self) -> Vec<String> {
        self.world.attachments.lock().unwrap().clone()
    }

    /// Sends a message to the host and waits for its answer.
    pub async fn call<M: rpc::Message>(&self, message: M) -> kit::Result<M::Reply> {
        self.bus.call(&compute_topic(HOST), message, Duration::from_secs(120)).await
    }

    /// Sends a message to the host, and waits until what it asks for has ended.
    pub async fn cast<M: rpc::Message<Reply = ()>>(&self, message: M) -> (String, u8) {
        self.set_task("doing");
        self.bus.cast(&compute_topic(HOST), message).await.unwrap();
        self.until(|cloud| cloud.instance().task_state.is_none()).await;
        let instance = self.instance();
        (instance.vm_state, instance.power_state)
    }

    /// The sentence of the last fault.
    pub fn fault(&self) -> Option<String> {
        self.world.fault.lock().unwrap().clone()
    }

    /// What was uploaded last as an image.
    pub fn uploaded(&self) -> Vec<u8> {
        self.world.uploaded.lock().unwrap().clone()
    }

    /// The host a port is bound to.
    pub fn bound_to(&self, port: &str) -> String {
        self.world.ports.lock().unwrap()[port]["binding:host_id"].as_str().unwrap().to_owned()
    }

    /// Whether bound ports become active.
    pub fn wire_ports(&self, wire: bool) {
        *self.world.wiring.lock().unwrap() = wire;
    }
}

/// Answers from the one instance, and keeps what is said about it.
fn conductor(world: &Arc<World>, outcomes: mpsc::Sender<BuildOutcome>) {
    let w = || world.clone();
    let (get, save, events, all, heard) = (w(), w(), w(), w(), w());
    let handlers = Handlers::new()
        .on(move |_: GetInstance| std::future::ready(Ok(Some(get.instance.lock().unwrap().clone()))))
        .on(move |_: HostInstances| std::future::ready(Ok(vec![all.instance.lock().unwrap().clone()])))
        .on(move |change: SaveInstance| std::future::ready(Ok(save.save(change))))
        .on(move |_: ReportHost| {
            let evacuated = heard.evacuated.lock().unwrap().clone();
            std::future::ready(Ok(Heard { known: true, evacuated }))
        })
        .on(move |message: RecordEvents| {
            events.events.lock().unwrap().extend(message.events.into_iter().map(|event| event.event));
            std::future::ready(Ok(()))
        })
        .on(move |message: BuildFinished| {
            let outcomes = outcomes.clone();
            async move {
                outcomes.send(message.outcome).await.unwrap();
                Ok(())
            }
        });
    world.bus.serve(TOPIC, handlers, 1);
}

impl World {
    fn save(&self, change: SaveInstance) -> Saved {
        let mut instance = self.instance.lock().unwrap();
        if let Some(task) = change.task_state {
            self.tasks.lock().unwrap().extend(task.clone());
            instance.task_state = task;
        }
        if let Some(vm_state) = change.vm_state {
            instance.vm_state = vm_state;
        }
        if let Some(power_state) = change.power_state {
            instance.power_state = power_state;
        }
        if let Some(fault) = change.fault {
            *self.fault.lock().unwrap() = Some(fault.message);
        }
        if let Some(network_info) = change.network_info {
            instance.network_info = network_info;
        }
        if let Some(numa) = change.numa {
            instance.numa = numa;
        }
        for saved in change.block_devices {
            let device = instance.block_devices.iter_mut().find(|device| device.bdm_id == saved.bdm_id).unwrap();
            device.attachment_id = saved.attachment_id.or(device.attachment_id.take());
        }
        Saved::Saved
    }

    /// A whole port, with what is asked for.
    fn port(&self, wanted: Value) -> Value {
        let id = wanted["id"].as_str().map_or_else(kit::ids::uuid, str::to_owned);
        json!({"id": id, "name": "", "network_id": wanted["network_id"], "project_id": "project", "mac_address": "fa:16:3e:00:00:01",
               "fixed_ips": [{"subnet_id": "subnet", "ip_address": "10.0.0.5"}], "security_groups": [], "status": "DOWN",
               "admin_state_up": true, "device_id": wanted["device_id"], "device_owner": "", "binding:host_id": ""})
    }

    fn answer(&self, method: &Method, path: &str, query: &str, body: Value) -> (u16, Value) {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        match (method.as_str(), parts.as_slice()) {
            ("GET", ["v2", "images", "image"]) => (
                200,
                json!({"id": "image", "status": "active", "size": self.image.len(), "visibility": "public", "disk_format": "qcow2", "created_at": "", "updated_at": ""}),
            ),
            ("GET", ["v2", "images", SNAPSHOT]) => (
                200,
                json!({"id": SNAPSHOT, "status": "queued", "visibility": "private", "disk_format": "qcow2", "created_at": "", "updated_at": ""}),
            ),
            ("GET", ["v2", "images", id]) => (404, json!({"error": {"message": format!("No image found with ID {id}")}})),
            ("GET", ["v2.0", "networks", "network"]) => (
                200,
                json!({"network": {"id": "network", "name": "private", "project_id": "project", "status": "ACTIVE", "admin_state_up": true,
                       "mtu": 1450, "shared": false, "router:external": false, "subnets": ["subnet"]}}),
            ),
            ("GET", ["v2.0", "subnets"]) => (
                200,
                json!({"subnets": [{"id": "subnet", "name": "", "network_id": "network", "ip_version": 4, "cidr": "10.0.0.0/24",
                       "gateway_ip": "10.0.0.1", "enable_dhcp": true, "dns_nameservers": [], "host_routes": []}]}),
            ),
            (method, ["v2.0", "ports", rest @ ..]) => self.ports(method, rest.first().copied(), query, body),
            ("POST", ["v3", "attachments"]) => {
                let id = kit::ids::uuid();
                self.attachments.lock().unwrap().push(id.clone());
                (200, json!({"attachment": {"id": id}}))
            }
            ("PUT", ["v3", "attachments", id]) if self.attachments.lock().unwrap().iter().any(|have| have == id) => {
                (200, json!({"attachment": {"id": id, "connection_info": {"driver_volume_type": "sim", "data": {}}}}))
            }
            ("POST", ["v3", "attachments", _, "action"]) => (204, Value::Null),
            ("DELETE", ["v3", "attachments", id]) => {
                self.attachments.lock().unwrap().retain(|have| have != id);
                (200, json!({"attachments": []}))
            }
            ("POST", ["v3", "auth", "tokens"]) => (201, json!({"token": {}})),
            _ => (404, json!({"error": {"message": format!("nothing at {method} {path}")}})),
        }
    }

    fn ports(&self, method: &str, id: Option<&str>, query: &str, body: Value) -> (u16, Value) {
        let mut ports = self.ports.lock().unwrap();
        match (method, id) {
            ("GET", None) => {
                let of = |port: &&Value| query.contains(&format!("device_id={}", port["device_id"].as_str().unwrap()));
                (200, json!({"ports": ports.values().filter(of).collect::<Vec<_>>()}))
            }
            ("POST", None) => {
                let port = self.port(body["port"].clone());
                ports.insert(port["id"].as_str().unwrap().to_owned(), port.clone());
                (201, json!({"port": port}))
            }
            (_, Some(id)) if !ports.contains_key(id) => (404, json!({"NeutronError": {"type": "PortNotFound", "message": "gone"}})),
            ("DELETE", Some(id)) => {
                ports.remove(id);
                (204, Value::Null)
            }
            ("PUT", Some(id)) => {
                let port = ports.get_mut(id).unwrap();
                for (key, value) in body["port"].as_object().unwrap() {
                    port[key] = value.clone();
                }
                port["status"] = json!("DOWN");
                if *self.wiring.lock().unwrap() && port["binding:host_id"] == HOST {
                    port["status"] = json!("ACTIVE");
                    self.tell_plugged(id);
                }
                (200, json!({"port": port}))
            }
            (_, id) => (200, json!({"port": ports.get(id.unwrap_or_default())})),
        }
    }

    fn tell_plugged(&self, port: &str) {
        let (bus, port) = (self.bus.clone(), port.to_owned());
        let instance_id = ID.to_owned();
        let event = ExternalEvent { instance_id, name: "network-vif-plugged".into(), tag: Some(port), status: "completed".into() };
        tokio::spawn(async move { bus.cast(&compute_topic(HOST), event).await });
    }
}

struct Api(Arc<World>);

impl LocalService for Api {
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Response<Body>> {
        let world = self.0.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let bytes = body.collect().await.unwrap().to_bytes();
            let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
            if parts.method == Method::PUT && parts.uri.path().ends_with("/file") {
                *world.uploaded.lock().unwrap() = bytes.to_vec();
                return Response::builder().status(204).body(Body::empty()).unwrap();
            }
            if parts.uri.path() == "/v2/images/image/file" {
                return Response::new(Body::from(world.image.clone()));
            }
            let (status, answer) = world.answer(&parts.method, parts.uri.path(), parts.uri.query().unwrap_or_default(), body);
            Response::builder().status(status).header("x-subject-token", "service").body(Body::from(answer.to_string())).unwrap()
        })
    }
}

/// An instance about to be built on [`HOST`].
pub fn instance() -> Instance {
    Instance {
        id: ID.into(),
        instance_name: "instance-00000001".into(),
        name: "server".into(),
        hostname: "server".into(),
        project_id: "project".into(),
        user_id: "user".into(),
        host: Some(HOST.into()),
        availability_zone: Some("nova".into()),
        vm_state: "building".into(),
        task_state: None,
        power_state: 0,
        launch_index: 0,
        reservation_id: "r-1".into(),
        image_id: Some("image".into()),
        image_properties: BTreeMap::new(),
        kernel_id: None,
        ramdisk_id: None,
        flavor: Flavor {
            id: "1".into(),
            name: "m1.tiny".into(),
            vcpus: 1,
            ram_mb: 512,
            root_gb: 1,
            ephemeral_gb: 0,
            swap_mb: 0,
            extra_specs: BTreeMap::new(),
        },
        metadata: BTreeMap::new(),
        config_drive: false,
        user_data: None,
        key: None,
        injected_files: vec![],
        requested_networks: RequestedNetworks::These(vec![RequestedNetwork {
            network_id: Some("network".into()),
            ..RequestedNetwork::default()
        }]),
        security_groups: vec!["default".into()],
        block_devices: vec![],
        network_info: vec![],
        root_device_name: None,
        scheduler_hints: Value::Null,
        forced_host: None,
        boot_roles: String::new(),
        numa_wanted: None,
        numa: None,
        created_at: 0,
    }
}
