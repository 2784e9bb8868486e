//! The neighbours of nova as far as these tests need them: keystone's login, images, networks and ports, volumes, and a placement that counts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kit::Query;
use serde_json::{Value, json};

pub const IMAGE: &str = "11111111-1111-4111-8111-111111111111";
pub const LARGE_IMAGE: &str = "11111111-1111-4111-8111-111111111112";
pub const QUEUED_IMAGE: &str = "11111111-1111-4111-8111-111111111113";
pub const NETWORK: &str = "22222222-2222-4222-8222-222222222222";
pub const PUBLIC_NETWORK: &str = "22222222-2222-4222-8222-222222222223";
pub const VOLUME: &str = "33333333-3333-4333-8333-333333333333";
pub const BUSY_VOLUME: &str = "33333333-3333-4333-8333-333333333334";
pub const SHARED_VOLUME: &str = "33333333-3333-4333-8333-333333333335";
/// It asks for bandwidth.
pub const ASKING_PORT: &str = "44444444-4444-4444-8444-444444444444";
/// It asks for as much memory as no small flavor has, and has the properties of one to rescue with.
pub const RESCUE_IMAGE: &str = "11111111-1111-4111-8111-111111111114";
pub const NOWHERE: &str = "99999999-9999-4999-8999-999999999999";

/// What they know.
#[derive(Default)]
pub struct State {
    /// Port to its server.
    pub ports: BTreeMap<String, String>,
    /// Images that nova made: their fields and status.
    pub images: BTreeMap<String, Value>,
    /// Attachment to its server and volume.
    pub attachments: BTreeMap<String, (String, String)>,
    providers: BTreeMap<String, Provider>,
    /// The last question for candidates.
    pub question: BTreeMap<String, String>,
    /// Consumer to provider, resources and generation.
    pub allocations: BTreeMap<String, (String, Value, i64)>,
}

#[derive(Default)]
struct Provider {
    name: String,
    generation: i64,
    inventories: Value,
    traits: Value,
}

#[derive(Clone, Default)]
pub struct Neighbours(pub Arc<Mutex<State>>);

impl sdk::LocalService for Neighbours {
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Response<Body>> {
        let neighbours = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let bytes = body.collect().await.unwrap().to_bytes();
            let body: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
            let query = Query::parse(parts.uri.query().unwrap_or_default());
            let path: Vec<&str> = parts.uri.path().trim_matches('/').split('/').collect();
            let (status, answer) = neighbours.0.lock().unwrap().answer(&parts.method, &path, &query, body);
            Response::builder()
                .status(status)
                .header("x-subject-token", "service")
                .header("content-type", "application/json")
                .body(Body::from(if answer.is_null() { Vec::new() } else { serde_json::to_vec(&answer).unwrap() }))
                .unwrap()
        })
    }
}

fn missing() -> (StatusCode, Value) {
    (StatusCode::NOT_FOUND, json!({"error": {"message": "not there"}}))
}

impl State {
    fn answer(&mut self, method: &Method, path: &[&str], query: &Query, body: Value) -> (StatusCode, Value) {
        let get = *method == Method::GET;
        match path {
            ["v3", "auth", "tokens"] => (StatusCode::CREATED, json!({"token": {}})),
            ["v3", "projects", "p" | "q"] => (StatusCode::OK, json!({"project": {}})),
            ["v2", "images", ..] if !get || path.get(2).is_none_or(|id| self.images.contains_key(*id)) => {
                self.image(method, path, query, body)
            }
            ["v2", "images", id] => image(id),
            ["v3", "snapshots"] | ["v3", "snapshots", "detail"] if get => (StatusCode::OK, json!({"snapshots": []})),
            ["v3", "snapshots", ..] => {
                (StatusCode::ACCEPTED, json!({"snapshot": {"id": kit::ids::uuid(), "status": "creating", "size": 1}}))
            }
            ["v2.0", "networks"] => {
                let asked: Vec<&str> = query.all("id").collect();
                let shown = (asked.is_empty() && query.get("shared") != Some("True")) || asked.contains(&NETWORK);
                let everything = asked.is_empty() && query.get("shared").is_none();
                let networks =
                    [shown.then(|| network(NETWORK, "private", false)), everything.then(|| network(PUBLIC_NETWORK, "public", true))];
                (StatusCode::OK, json!({"networks": networks.into_iter().flatten().collect::<Vec<_>>()}))
            }
            ["v2.0", "networks", NETWORK] => (StatusCode::OK, json!({"network": network(NETWORK, "private", false)})),
            ["v2.0", "networks", PUBLIC_NETWORK] => (StatusCode::OK, json!({"network": network(PUBLIC_NETWORK, "public", true)})),
            ["v2.0", "security-groups"] => (StatusCode::OK, json!({"security_groups": []})),
            ["v2.0", "floatingips"] if !get => missing(),
            ["v2.0", "floatingips"] => (StatusCode::OK, json!({"floatingips": []})),
            ["v2.0", "ports"] if query.get("fixed_ips") == Some("ip_address=10.0.0.66") => {
                (StatusCode::OK, json!({"ports": [port(NOWHERE, "another")]}))
            }
            ["v2.0", "ports"] => {
                let server = query.get("device_id").unwrap_or_default();
                let ports = self.ports.iter().filter(|(_, device)| *device == server).map(|(id, device)| port(id, device));
                (StatusCode::OK, json!({"ports": ports.collect::<Vec<_>>()}))
            }
            ["v2.0", "ports", ASKING_PORT] if get => {
                let mut port = port(ASKING_PORT, "");
                port["fixed_ips"] = json!([{"subnet_id": "s", "ip_address": "10.0.0.9"}]);
                let group = json!({"id": NOWHERE, "required": [], "resources": {"NET_BW_EGR_KILOBIT_PER_SEC": 1000}});
                port["resource_request"] = json!({"request_groups": [group], "same_subtree": [NOWHERE]});
                (StatusCode::OK, json!({"port": port}))
            }
            ["v2.0", "ports", id] if get => match self.ports.get(*id) {
                Some(device) => (StatusCode::OK, json!({"port": port(id, device)})),
                None => missing(),
            },
            ["v2.0", "ports", id] => {
                self.ports.remove(*id);
                (StatusCode::NO_CONTENT, Value::Null)
            }
            ["v3", "volumes", _, "action"] => (StatusCode::ACCEPTED, Value::Null),
            ["v3", "volumes", id] => volume(id),
            ["v3", "attachments"] => {
                let id = kit::ids::uuid();
                let of = |key: &str| body["attachment"][key].as_str().unwrap().to_owned();
                self.attachments.insert(id.clone(), (of("instance_uuid"), of("volume_uuid")));
                (StatusCode::OK, json!({"attachment": {"id": id, "status": "reserved"}}))
            }
            ["v3", "attachments", "detail"] => {
                let of_volume = self.attachments.iter().filter(|(_, (_, volume))| query.get("volume_id") == Some(volume));
                let shown = of_volume.map(|(id, (server, volume))| json!({"id": id, "instance": server, "volume_id": volume}));
                (StatusCode::OK, json!({"attachments": shown.collect::<Vec<_>>()}))
            }
            ["v3", "attachments", id] if get => match self.attachments.get(*id) {
                Some((server, volume)) => (StatusCode::OK, json!({"attachment": {"id": id, "instance": server, "volume_id": volume}})),
                None => missing(),
            },
            ["v3", "attachments", id] => {
                self.attachments.remove(*id);
                (StatusCode::OK, json!({"attachments": []}))
            }
            ["resource_providers", ..] => self.provider(method, path, body),
            ["allocation_candidates"] => {
                self.question = query.0.iter().cloned().collect();
                self.candidates(query)
            }
            ["allocations"] => self.allocate(body),
            ["allocations", consumer] => self.allocation(method, consumer, body),
            _ => missing(),
        }
    }

    fn image(&mut self, method: &Method, path: &[&str], query: &Query, body: Value) -> (StatusCode, Value) {
        let id = path.get(2).copied().unwrap_or_default();
        match *method {
            Method::POST => {
                let id = kit::ids::uuid();
                let mut image = body;
                let order = format!("2026-01-01T00:00:{:02}Z", self.images.len());
                for (key, value) in [("id", id.as_str()), ("status", "queued"), ("created_at", &order), ("updated_at", &order)] {
                    image[key] = json!(value);
                }
                self.images.insert(id, image.clone());
                (StatusCode::CREATED, image)
            }
            Method::GET if id.is_empty() => {
                let matches = |image: &&Value| query.0.iter().all(|(key, value)| image[key] == *value);
                (StatusCode::OK, json!({"images": self.images.values().filter(matches).collect::<Vec<_>>()}))
            }
            Method::GET => (StatusCode::OK, self.images[id].clone()),
            Method::PUT => {
                self.images.get_mut(id).unwrap()["status"] = json!("active");
                (StatusCode::NO_CONTENT, Value::Null)
            }
            _ => match self.images.remove(id) {
                Some(_) => (StatusCode::NO_CONTENT, Value::Null),
                None => missing(),
            },
        }
    }

    /// Several consumers at once; emptied ones go first, so that what they had is free.
    fn allocate(&mut self, body: Value) -> (StatusCode, Value) {
        let mut consumers: Vec<(String, Value)> = body.as_object().unwrap().iter().map(|(id, v)| (id.clone(), v.clone())).collect();
        consumers.sort_by_key(|(_, wanted)| wanted["allocations"].as_object().unwrap().len());
        for (id, wanted) in consumers {
            let answer = if wanted["allocations"].as_object().unwrap().is_empty() {
                self.allocation(&Method::DELETE, &id, Value::Null)
            } else {
                self.allocation(&Method::PUT, &id, wanted)
            };
            if !answer.0.is_success() {
                return answer;
            }
        }
        (StatusCode::NO_CONTENT, Value::Null)
    }

    fn provider(&mut self, method: &Method, path: &[&str], body: Value) -> (StatusCode, Value) {
        if let [_] = path {
            let uuid = body["uuid"].as_str().unwrap().to_owned();
            let name = body["name"].as_str().unwrap().to_owned();
            self.providers.insert(uuid.clone(), Provider { name, inventories: json!({}), traits: json!([]), ..Provider::default() });
            return self.provider(&Method::GET, &["resource_providers", &uuid], Value::Null);
        }
        if let [_, uuid, "allocations"] = path {
            let of_it = self.allocations.iter().filter(|(_, (provider, ..))| provider == uuid);
            let given: BTreeMap<&String, Value> = of_it.map(|(id, (_, resources, _))| (id, json!({"resources": resources}))).collect();
            return (StatusCode::OK, json!({"allocations": given, "resource_provider_generation": 1}));
        }
        let Some(provider) = path.get(1).and_then(|uuid| self.providers.get_mut(*uuid)) else { return missing() };
        if *method == Method::PUT {
            provider.generation += 1;
            match path.get(2) {
                Some(&"inventories") => provider.inventories = body["inventories"].clone(),
                Some(&"traits") => provider.traits = body["traits"].clone(),
                _ => return missing(),
            }
        }
        let generation = provider.generation;
        let answer = match path.get(2) {
            None => json!({"uuid": path[1], "name": provider.name, "generation": generation, "root_provider_uuid": path[1]}),
            Some(&"inventories") => json!({"inventories": provider.inventories, "resource_provider_generation": generation}),
            Some(_) => json!({"traits": provider.traits, "resource_provider_generation": generation}),
        };
        (StatusCode::OK, answer)
    }

    /// What placement was told that the host of this name can do.
    pub fn traits_of(&self, host: &str) -> Value {
        self.providers.values().find(|provider| provider.name == host).unwrap().traits.clone()
    }

    fn free(&self, provider: &str, class: &str, without: &str) -> i64 {
        let inventory = &self.providers[provider].inventories[class];
        let total = (inventory["total"].as_f64().unwrap_or(0.0) * inventory["allocation_ratio"].as_f64().unwrap_or(1.0)) as i64;
        let taken = self.allocations.iter().filter(|(id, (on, ..))| on == provider && *id != without);
        total - taken.filter_map(|(_, (_, resources, _))| resources[class].as_i64()).sum::<i64>()
    }

    fn candidates(&self, query: &Query) -> (StatusCode, Value) {
        let wanted: Vec<(&str, i64)> =
            query.get("resources").unwrap().split(',').map(|r| r.split_once(':').unwrap()).map(|(c, n)| (c, n.parse().unwrap())).collect();
        let (mut requests, mut summaries) = (Vec::new(), json!({}));
        for (uuid, provider) in &self.providers {
            if wanted.iter().any(|(class, n)| self.free(uuid, class, "") < *n) {
                continue;
            }
            let resources: BTreeMap<&str, i64> = wanted.iter().copied().collect();
            requests.push(json!({"allocations": {uuid: {"resources": resources}}}));
            let usages: BTreeMap<&str, Value> =
                wanted.iter().map(|(class, _)| (*class, json!({"capacity": self.free(uuid, class, ""), "used": 0}))).collect();
            summaries[uuid] = json!({"resources": usages, "traits": provider.traits, "root_provider_uuid": uuid});
        }
        (StatusCode::OK, json!({"allocation_requests": requests, "provider_summaries": summaries}))
    }

    fn allocation(&mut self, method: &Method, consumer: &str, body: Value) -> (StatusCode, Value) {
        let conflict = |code: &str| (StatusCode::CONFLICT, json!({"errors": [{"code": code, "detail": "conflict"}]}));
        match *method {
            Method::GET => match self.allocations.get(consumer) {
                Some((provider, resources, generation)) => (
                    StatusCode::OK,
                    json!({"allocations": {provider: {"resources": resources}}, "consumer_generation": generation, "project_id": "p", "user_id": "u"}),
                ),
                None => (StatusCode::OK, json!({"allocations": {}})),
            },
            Method::PUT => {
                let generation = self.allocations.get(consumer).map(|(_, _, generation)| *generation);
                if body["consumer_generation"].as_i64() != generation {
                    return conflict("placement.concurrent_update");
                }
                let (provider, share) = body["allocations"].as_object().unwrap().iter().next().unwrap();
                for (class, n) in share["resources"].as_object().unwrap() {
                    if self.free(provider, class, consumer) < n.as_i64().unwrap() {
                        return conflict("placement.undefined_code");
                    }
                }
                let row = (provider.clone(), share["resources"].clone(), generation.unwrap_or(0) + 1);
                self.allocations.insert(consumer.to_owned(), row);
                (StatusCode::NO_CONTENT, Value::Null)
            }
            _ => match self.allocations.remove(consumer) {
                Some(_) => (StatusCode::NO_CONTENT, Value::Null),
                None => missing(),
            },
        }
    }
}

fn image(id: &str) -> (StatusCode, Value) {
    let (status, size) = match id {
        IMAGE => ("active", 1000),
        RESCUE_IMAGE => ("active", 1001),
        LARGE_IMAGE => ("active", 5_000_000_000_u64),
        QUEUED_IMAGE => ("queued", 0),
        _ => return missing(),
    };
    let mut image = json!({
        "id": id, "name": "cirros", "status": status, "visibility": "public", "size": size, "min_disk": 0, "min_ram": 0,
        "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
    });
    if id == RESCUE_IMAGE {
        (image["min_ram"], image["hw_rescue_bus"], image["hw_rescue_device"]) = (json!(1024), json!("virtio"), json!("disk"));
    }
    (StatusCode::OK, image)
}

fn volume(id: &str) -> (StatusCode, Value) {
    let status = match id {
        VOLUME | SHARED_VOLUME => "available",
        BUSY_VOLUME => "in-use",
        _ => return missing(),
    };
    (StatusCode::OK, json!({"volume": {"id": id, "status": status, "size": 1, "bootable": "true", "multiattach": id == SHARED_VOLUME}}))
}

fn network(id: &str, name: &str, external: bool) -> Value {
    json!({
        "id": id, "name": name, "project_id": if external { "admin" } else { "p" }, "status": "ACTIVE",
        "admin_state_up": true, "mtu": 1450, "shared": false, "router:external": external, "subnets": ["s"],
    })
}

fn port(id: &str, device: &str) -> Value {
    json!({
        "id": id, "name": "", "network_id": NETWORK, "project_id": "p", "mac_address": "fa:16:3e:00:00:01", "fixed_ips": [],
        "security_groups": [], "status": "ACTIVE", "admin_state_up": true, "device_id": device, "device_owner": "compute:nova",
    })
}
