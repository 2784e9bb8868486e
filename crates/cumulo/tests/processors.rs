//! Servers with processors of their own, on simulated hosts with several NUMA nodes: never two on one, whatever becomes of the servers or of us.

// A test that cannot go on shall say where, and stop.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testkit::{Client, Cloud};

const BINARY: &str = env!("CARGO_BIN_EXE_cumulo");
/// Two nodes with two processors each that guests may have for themselves.
const CONFIG: &str =
    "[compute]\nsim_numa_cells = 2\nsim_huge_pages = 256\ncpu_dedicated_set = '0-1,32-33'\ncpu_shared_set = '2-31,34-63'\n";

async fn flavor(admin: &Client, name: &str, vcpus: u32, specs: Value) -> String {
    let body = json!({"flavor": {"name": name, "ram": 256, "vcpus": vcpus, "disk": 1}});
    let id = admin.post(&admin.compute, "/flavors", &body, "flavor").await["id"].as_str().unwrap().to_owned();
    admin.post(&admin.compute, &format!("/flavors/{id}/os-extra_specs"), &json!({"extra_specs": specs}), "").await;
    id
}

async fn boot(admin: &Client, flavor: &str, image: &str, network: &str) -> Value {
    let body = json!({"server": {"name": "s", "imageRef": image, "flavorRef": flavor, "networks": [{"uuid": network}]}});
    let id = admin.post(&admin.compute, "/servers", &body, "server").await["id"].as_str().unwrap().to_owned();
    admin.wait(&id, &["ACTIVE", "ERROR"]).await
}

async fn topology(admin: &Client, server: &Value) -> Value {
    let path = format!("/servers/{}/topology", server["id"].as_str().unwrap());
    let version = [("openstack-api-version", "compute 2.78")];
    admin.compute.call_with(&admin.auth, http::Method::GET, &path, None::<&Value>, &version).await.unwrap().body
}

/// Host and processor of each of a server's.
async fn pins(admin: &Client, server: &Value) -> BTreeSet<(String, i64)> {
    let shown = admin.get(&admin.compute, &format!("/servers/{}", server["id"].as_str().unwrap()), "server").await;
    let host = shown["OS-EXT-SRV-ATTR:host"].as_str().unwrap().to_owned();
    let topology = topology(admin, server).await;
    let nodes = topology["nodes"].as_array().unwrap().clone();
    let cpus = nodes
        .iter()
        .flat_map(|node| node["cpu_pinning"].as_object().unwrap().values().map(|cpu| cpu.as_i64().unwrap()).collect::<Vec<_>>());
    cpus.map(|cpu| (host.clone(), cpu)).collect()
}

async fn act(admin: &Client, server: &Value, action: Value, status: &str) -> Value {
    let id = server["id"].as_str().unwrap();
    admin.post(&admin.compute, &format!("/servers/{id}/action"), &action, "").await;
    admin.wait(id, &[status]).await
}

async fn delete(admin: &Client, server: &Value) {
    let path = format!("/servers/{}", server["id"].as_str().unwrap());
    admin.compute.delete(&admin.auth, &path).await.unwrap();
    admin.wait_gone(&admin.compute, &path).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_processor_is_one_servers_alone() {
    let mut cloud = Cloud::start_with(BINARY, 2, CONFIG).await;
    let admin = cloud.login("admin").await;
    let (image, network) = (admin.image("i").await, admin.network("n", "10.5.0.0/24").await);
    let two = flavor(&admin, "two", 2, json!({"hw:cpu_policy": "dedicated"})).await;
    let one = flavor(&admin, "one", 1, json!({"hw:cpu_policy": "dedicated", "hw:mem_page_size": "large"})).await;
    let spread = flavor(&admin, "spread", 2, json!({"hw:numa_nodes": "2"})).await;

    let (mut servers, mut taken) = (Vec::new(), BTreeSet::new());
    for _ in 0..4 {
        let server = boot(&admin, &two, &image, &network).await;
        assert_eq!(server["status"], "ACTIVE", "{server}");
        let pins = pins(&admin, &server).await;
        assert!(pins.len() == 2 && pins.into_iter().all(|pin| taken.insert(pin)), "{taken:?}");
        servers.push(server);
    }
    let none = boot(&admin, &two, &image, &network).await;
    assert!(none["fault"]["message"].as_str().unwrap().contains("No valid host"), "{none}");
    delete(&admin, &none).await;
    let shared = boot(&admin, &spread, &image, &network).await;
    let nodes = topology(&admin, &shared).await["nodes"].clone();
    assert_eq!((&nodes[0]["cpu_pinning"], nodes[0]["host_node"] != nodes[1]["host_node"]), (&json!({}), true), "{nodes}");

    // one that shrinks has both for a while, and has what it had when it goes back
    let first = servers.remove(0);
    let had = pins(&admin, &first).await;
    let last = servers.pop().unwrap();
    let free = pins(&admin, &last).await;
    delete(&admin, &last).await;
    act(&admin, &first, json!({"resize": {"flavorRef": one}}), "VERIFY_RESIZE").await;
    let has = pins(&admin, &first).await;
    assert!(has.len() == 1 && has.is_subset(&free), "{has:?} of {free:?}");
    assert_eq!(topology(&admin, &first).await["pagesize_kb"], 2048);
    act(&admin, &first, json!({"revertResize": null}), "ACTIVE").await;
    assert_eq!(pins(&admin, &first).await, had);
    act(&admin, &first, json!({"resize": {"flavorRef": one}}), "VERIFY_RESIZE").await;
    act(&admin, &first, json!({"confirmResize": null}), "ACTIVE").await;
    let again = boot(&admin, &two, &image, &network).await;
    assert_eq!(pins(&admin, &again).await, had, "what it had is free");

    // also for who comes after us
    cloud.crash();
    cloud.resume().await;
    let admin = cloud.login("admin").await;
    let small = boot(&admin, &one, &image, &network).await;
    let mut all: Vec<(String, i64)> = Vec::new();
    servers.extend([first, again, small]);
    for server in &servers {
        all.extend(pins(&admin, server).await);
    }
    assert_eq!((all.len(), all.iter().collect::<BTreeSet<_>>().len()), (8, 8), "{all:?}");

    // a server that moves takes others there
    let moved = servers.pop().unwrap();
    let stays = servers.remove(2);
    for server in &servers {
        delete(&admin, server).await;
    }
    act(&admin, &moved, json!({"os-migrateLive": {"host": null, "block_migration": false, "disk_over_commit": false}}), "ACTIVE").await;
    let there = pins(&admin, &moved).await;
    assert!(there.len() == 1 && pins(&admin, &stays).await.is_disjoint(&there));
    act(&admin, &moved, json!({"rebuild": {"imageRef": image}}), "ACTIVE").await;
    assert_eq!(pins(&admin, &moved).await, there, "a rebuild changes nothing of it");
}
