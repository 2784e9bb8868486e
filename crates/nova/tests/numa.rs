//! Servers that want NUMA nodes, processors of their own or large pages: refused in nova's words, claimed as PCPU, put where there is room, shown by
//! `topology`.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use rpc::conductor::{ReportHost, SaveInstance, TOPIC};
use rpc::numa::{CpuSet, HostCell, HostTopology, Placed, PlacedCell};
use serde_json::{Value, json};
use support::{ADMIN, Behaviour, Cloud, MEMBER, inventory, server};

/// A cell of four CPUs, the last two of which are dedicated.
fn cell(id: u32) -> HostCell {
    let cpus: Vec<u32> = (id * 4..id * 4 + 4).collect();
    HostCell {
        id,
        shared: cpus[..2].iter().copied().collect(),
        dedicated: cpus[2..].iter().copied().collect(),
        memory_mb: 4096,
        ..HostCell::default()
    }
}

async fn report(cloud: &Cloud, host: &str, cells: Vec<HostCell>) {
    let numa = HostTopology { cells };
    let inventory = rpc::conductor::HostInventory { pcpus: numa.dedicated().len() as u32, numa: Some(numa), ..inventory(host) };
    let report = ReportHost { host: host.to_owned(), inventory: Some(inventory), instances: None };
    cloud.bus.call(TOPIC, report, Duration::from_secs(10)).await.unwrap();
}

async fn flavor(cloud: &Cloud, id: &str, vcpus: u32, specs: Value) {
    let flavor = json!({"flavor": {"id": id, "name": id, "ram": 512, "vcpus": vcpus, "disk": 1}});
    assert_eq!(cloud.ask(ADMIN, "2.79", "POST", "/v2.1/flavors", flavor).await.status, 200);
    let path = format!("/v2.1/flavors/{id}/os-extra_specs");
    let made = cloud.ask(ADMIN, "2.79", "POST", &path, json!({"extra_specs": specs})).await;
    assert_eq!(made.status, 200, "{}", made.body);
}

async fn boot(cloud: &Cloud, flavor: &str) -> String {
    let answer = cloud.ask(MEMBER, "2.1", "POST", "/v2.1/servers", server(json!({"flavorRef": flavor}))).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    answer.body["server"]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_contradicts_itself_is_refused_at_once() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    for (id, specs, words) in [
        ("f1", json!({"hw:numa_nodes": "2"}), "Instance CPUs and/or memory cannot be evenly distributed across instance NUMA nodes."),
        ("f2", json!({"hw:cpu_thread_policy": "prefer"}), "Cannot set cpu thread pinning policy in a non dedicated cpu pinning policy"),
        ("f3", json!({"hw:cpu_policy": "dedicated", "resources:PCPU": "1"}), "use one or the other"),
        ("f4", json!({"hw:mem_page_size": "2M"}), "Invalid memory page size '2M'"),
        ("f5", json!({"hw:cpu_policy": "mixed"}), "Dedicated CPU set can be specified from either 'hw:cpu_dedicated_mask'"),
    ] {
        flavor(&cloud, id, 1, specs).await;
        let refused = cloud.ask(MEMBER, "2.1", "POST", "/v2.1/servers", server(json!({"flavorRef": id}))).await;
        refused.must_say(400, words, id);
    }
    let id = cloud.boot(MEMBER).await;
    cloud.wait(&id, "ACTIVE").await;
    let resized = cloud.act(MEMBER, "", &id, json!({"resize": {"flavorRef": "f2"}})).await;
    resized.must_say(400, "Cannot set cpu thread pinning policy", "resize");
}

#[tokio::test]
async fn processors_of_ones_own_are_claimed_and_there_is_room_for_so_many() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run), ("h2", Behaviour::Run)]).await;
    report(&cloud, "h2", vec![cell(0), cell(1)]).await;
    flavor(&cloud, "pinned", 2, json!({"hw:cpu_policy": "dedicated", "hw:cpu_thread_policy": "isolate"})).await;
    let id = boot(&cloud, "pinned").await;
    assert_eq!(cloud.wait(&id, "ACTIVE").await["OS-EXT-SRV-ATTR:host"], "h2");
    let question = cloud.neighbours.0.lock().unwrap().question.clone();
    assert_eq!(question["resources"], "DISK_GB:1,MEMORY_MB:512,PCPU:2");
    assert!(question["required"].split(',').any(|name| name == "!HW_CPU_HYPERTHREADING"), "{question:?}");
    let taken = cloud.neighbours.0.lock().unwrap().allocations[&id].1.clone();
    assert_eq!(taken, json!({"PCPU": 2, "MEMORY_MB": 512, "DISK_GB": 1}));
    // as placement counts there is room for two, but not in one node
    let half = |id: u32| HostCell { taken: CpuSet::from([id * 4 + 2]), ..cell(id) };
    report(&cloud, "h2", vec![half(0), half(1)]).await;
    let words = cloud.wait(&boot(&cloud, "pinned").await, "ERROR").await["fault"]["message"].as_str().unwrap().to_owned();
    assert!(words.contains("NUMATopologyFilter left none"), "{words}");
    flavor(&cloud, "two", 2, json!({"hw:cpu_policy": "dedicated", "hw:numa_nodes": "2"})).await;
    cloud.wait(&boot(&cloud, "two").await, "ACTIVE").await;
}

#[tokio::test]
async fn a_guests_nodes_are_shown_and_to_administrators_the_hosts() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    report(&cloud, "h1", vec![cell(0), cell(1)]).await;
    flavor(&cloud, "mixed", 2, json!({"hw:cpu_policy": "mixed", "hw:cpu_dedicated_mask": "1", "hw:mem_page_size": "2MB"})).await;
    // no pages: nothing was said of them, so nowhere; a server that was there before shows what it wants
    let path = |id: &str| format!("/v2.1/servers/{id}/topology");
    let id = boot(&cloud, "mixed").await;
    cloud.wait(&id, "ERROR").await;
    let shown = cloud.ask(MEMBER, "2.78", "GET", &path(&id), Value::Null).await.body;
    assert_eq!(shown, json!({"nodes": [{"vcpu_set": [0, 1], "siblings": [], "memory_mb": 512}], "pagesize_kb": null}));
    flavor(&cloud, "pinned", 2, json!({"hw:cpu_policy": "dedicated"})).await;
    let id = boot(&cloud, "pinned").await;
    cloud.wait(&id, "ACTIVE").await;
    let ask = rpc::conductor::GetInstance { instance_id: id.clone() };
    let instance = cloud.bus.call(TOPIC, ask, Duration::from_secs(10)).await.unwrap().unwrap();
    let given = PlacedCell { host: 1, pins: [(0, 6), (1, 7)].into(), page_kb: Some(2048), ..PlacedCell::default() };
    let numa = Some(Some(Placed { wanted: instance.numa_wanted.unwrap(), cells: vec![given] }));
    let save = SaveInstance { instance_id: id.clone(), host: "h1".into(), numa, ..SaveInstance::default() };
    cloud.bus.call(TOPIC, save, Duration::from_secs(10)).await.unwrap();
    let node = json!({"vcpu_set": [0, 1], "siblings": [], "memory_mb": 512});
    let shown = cloud.ask(MEMBER, "2.78", "GET", &path(&id), Value::Null).await.body;
    assert_eq!(shown, json!({"nodes": [node], "pagesize_kb": 2048}));
    let shown = cloud.ask(ADMIN, "2.78", "GET", &path(&id), Value::Null).await.body;
    assert_eq!((&shown["nodes"][0]["host_node"], &shown["nodes"][0]["cpu_pinning"]), (&json!(1), &json!({"0": 6, "1": 7})));
    assert_eq!(cloud.ask(MEMBER, "2.77", "GET", &path(&id), Value::Null).await.status, 404);
}
