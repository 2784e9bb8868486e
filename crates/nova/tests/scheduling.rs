//! Where servers go: aggregates and hints are heeded, hosts that refuse come last, and who finds no host is told which filter left none.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use support::{ADMIN, Behaviour, Cloud, IMAGE, MEMBER, RESCUE_IMAGE, server};

/// An aggregate of one host.
async fn aggregate(cloud: &Cloud, host: &str, metadata: Value) {
    let made = cloud.ask(ADMIN, "2.79", "POST", "/v2.1/os-aggregates", json!({"aggregate": {"name": host}})).await;
    assert_eq!(made.status, 200, "{}", made.body);
    let path = format!("/v2.1/os-aggregates/{}/action", made.body["aggregate"]["id"]);
    for action in [json!({"add_host": {"host": host}}), json!({"set_metadata": {"metadata": metadata}})] {
        assert_eq!(cloud.ask(ADMIN, "2.79", "POST", &path, action).await.status, 200);
    }
}

async fn boot(cloud: &Cloud, who: &str, hints: Value) -> String {
    let mut body = server(json!({}));
    body["os:scheduler_hints"] = hints;
    let answer = cloud.ask(who, "2.1", "POST", "/v2.1/servers", body).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    answer.body["server"]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn aggregates_say_for_whom_their_hosts_are() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run), ("h2", Behaviour::Run)]).await;
    aggregate(&cloud, "h1", json!({"filter_tenant_id": "q"})).await;
    aggregate(&cloud, "h2", json!({"max_instances_per_host": "2"})).await;
    for _ in 0..2 {
        let id = boot(&cloud, MEMBER, json!({})).await;
        assert_eq!(cloud.wait(&id, "ACTIVE").await["OS-EXT-SRV-ATTR:host"], "h2");
    }
    // what is believed of hosts may be a second old, unless an administrator changes something
    let changed = json!({"set_metadata": {"metadata": {"note": "full"}}});
    assert_eq!(cloud.ask(ADMIN, "2.79", "POST", "/v2.1/os-aggregates/2/action", changed).await.status, 200);
    let id = boot(&cloud, MEMBER, json!({})).await;
    let words = cloud.wait(&id, "ERROR").await["fault"]["message"].as_str().unwrap().to_owned();
    assert!(
        words.contains("AggregateMultiTenancyIsolation (2 -> 1)") && words.contains("AggregateNumInstancesFilter left none"),
        "{words}"
    );
}

#[tokio::test]
async fn hints_are_heeded() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run), ("h2", Behaviour::Run)]).await;
    let second = boot(&cloud, MEMBER, json!({"query": "[\"=\", \"$host\", \"h2\"]"})).await;
    assert_eq!(cloud.wait(&second, "ACTIVE").await["OS-EXT-SRV-ATTR:host"], "h2");
    for (hints, host) in [
        (json!({"same_host": second}), "h2"),
        (json!({"different_host": [second]}), "h1"),
        (json!({"query": "[\"not\", [\"=\", \"$host\", \"h2\"]]"}), "h1"),
    ] {
        let id = boot(&cloud, MEMBER, hints.clone()).await;
        assert_eq!(cloud.wait(&id, "ACTIVE").await["OS-EXT-SRV-ATTR:host"], host, "{hints}");
    }
    for (hints, filter) in [
        (json!({"query": "[\">\", \"$free_ram_mb\", 99999999]"}), "JsonFilter"),
        (json!({"build_near_host_ip": "10.9.9.9", "cidr": "/24"}), "SimpleCIDRAffinityFilter"),
    ] {
        let id = boot(&cloud, MEMBER, hints).await;
        let shown = cloud.wait(&id, "ERROR").await;
        let words = shown["fault"]["message"].as_str().unwrap();
        assert!(words.contains(&format!("{filter} left none")), "{words}");
    }
}

#[tokio::test]
async fn a_rejection_is_shown_in_the_events() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let id = boot(&cloud, MEMBER, json!({"query": "[\"=\", \"$host\", \"h9\"]"})).await;
    cloud.wait(&id, "ERROR").await;
    let path = format!("/v2.1/servers/{id}/os-instance-actions");
    let request = cloud.get(&path).await.body["instanceActions"][0]["request_id"].as_str().unwrap().to_owned();
    let shown = cloud.ask(ADMIN, "2.84", "GET", &format!("{path}/{request}"), Value::Null).await.body;
    let events = shown["instanceAction"]["events"].as_array().unwrap();
    let filtering = events.iter().find(|event| event["event"] == "scheduler_filter_hosts").unwrap();
    assert_eq!(filtering["result"], "Error");
    let details = filtering["details"].as_str().unwrap();
    assert!(details.contains("PlacementResources 1 -> 1") && details.ends_with("JsonFilter 1 -> 0"), "{details}");
}

/// What `cumulo server explain` reads of a running API.
#[tokio::test]
async fn a_timeline_tells_which_hosts_there_were_and_which_was_chosen() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let id = boot(&cloud, MEMBER, json!({})).await;
    cloud.wait(&id, "ACTIVE").await;
    let path = format!("/v2.1/servers/{id}/os-instance-actions");
    let request = cloud.get(&path).await.body["instanceActions"][0]["request_id"].as_str().unwrap().to_owned();
    let answer = cloud.ask(ADMIN, "latest", "GET", &format!("{path}/{request}/timeline"), Value::Null).await;
    let steps = answer.body["timeline"]["steps"].as_array().unwrap_or_else(|| panic!("{}", answer.body));
    let details = |event: &str| {
        let step = steps.iter().find(|step| step["event"] == event).unwrap_or_else(|| panic!("{event} is not in {steps:?}"));
        assert!(step["start_time"].is_string());
        step["details"].as_str().unwrap().to_owned()
    };
    let filters = details("scheduler_filter_hosts");
    let mut counts = filters.split(", ").map(|filter| filter.split_once(' ').unwrap());
    assert!(counts.all(|(_, counts)| counts == "1 -> 1"), "{filters}");
    assert!(filters.contains("IsolatedHostsFilter 1 -> 1"), "{filters}");
    assert_eq!((details("scheduler_claim_host"), details("conductor_cast_build")), ("h1".to_owned(), "h1".to_owned()));
}

#[tokio::test]
async fn a_host_where_builds_fail_comes_last() {
    let cloud = Cloud::start(&[("h1", Behaviour::Refuse), ("h2", Behaviour::Run)]).await;
    for _ in 0..6 {
        let id = boot(&cloud, MEMBER, json!({})).await;
        cloud.wait(&id, "ACTIVE").await;
    }
    cloud.hosts.lock().unwrap().insert("h1".into(), Behaviour::Run);
    // h1 failed at most once: since then it was asked no more
    assert!(cloud.count("compute_nodes WHERE failed_builds > 1").await == 0);
}

#[tokio::test]
async fn a_rebuild_with_an_image_that_the_host_does_not_suit_ends_in_error() {
    let settings = nova::FilterScheduler { isolated_images: vec![RESCUE_IMAGE.into()], ..nova::FilterScheduler::default() };
    let config = nova::Config { filter_scheduler: settings.into(), ..support::config() };
    let cloud = Cloud::start_with(&[("h1", Behaviour::Run)], config).await;
    let body = server(json!({"flavorRef": "2"}));
    let id = cloud.ask(MEMBER, "", "POST", "/v2.1/servers", body).await.body["server"]["id"].as_str().unwrap().to_owned();
    cloud.settled(&id, "ACTIVE").await;
    assert_eq!(cloud.act(MEMBER, "", &id, json!({"rebuild": {"imageRef": IMAGE}})).await.status, 202);
    cloud.settled(&id, "ACTIVE").await;
    assert_eq!(cloud.act(MEMBER, "", &id, json!({"rebuild": {"imageRef": RESCUE_IMAGE}})).await.status, 202);
    let shown = cloud.settled(&id, "ERROR").await;
    assert_eq!(shown["image"]["id"], IMAGE, "the server has its former image");
    let words = shown["fault"]["message"].as_str().unwrap();
    assert!(words.contains("IsolatedHostsFilter left none"), "{words}");
}

/// A flavor with extra specs, and the server of it that comes of that.
async fn boot_with_specs(cloud: &Cloud, id: &str, specs: Value) -> String {
    let flavor = json!({"flavor": {"id": id, "name": id, "ram": 64, "vcpus": 1, "disk": 1}});
    assert_eq!(cloud.ask(ADMIN, "2.79", "POST", "/v2.1/flavors", flavor).await.status, 200);
    let path = format!("/v2.1/flavors/{id}/os-extra_specs");
    assert_eq!(cloud.ask(ADMIN, "2.79", "POST", &path, json!({"extra_specs": specs})).await.status, 200);
    let answer = cloud.ask(MEMBER, "2.1", "POST", "/v2.1/servers", server(json!({"flavorRef": id}))).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    answer.body["server"]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn groups_of_extra_specs_are_asked_of_placement() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let specs = json!({
        "resources1:VGPU": "1", "resources_B:CUSTOM_GOLD": "2", "trait1:CUSTOM_FAST": "required", "trait_B:CUSTOM_OLD": "forbidden",
        "group_policy": "isolate", "resources:DISK_GB": "0",
    });
    let id = boot_with_specs(&cloud, "grouped", specs).await;
    cloud.wait(&id, "ACTIVE").await;
    let question = cloud.neighbours.0.lock().unwrap().question.clone();
    for (key, value) in [
        ("resources", "MEMORY_MB:64,VCPU:1"),
        ("resources1", "VGPU:1"),
        ("required1", "CUSTOM_FAST"),
        ("resources_B", "CUSTOM_GOLD:2"),
        ("required_B", "!CUSTOM_OLD"),
        ("group_policy", "isolate"),
    ] {
        assert_eq!(question.get(key).map(String::as_str), Some(value), "{key}: {question:?}");
    }
    // placement would not say where groups can be that nothing is said of
    let id = boot_with_specs(&cloud, "loose", json!({"resources1:VGPU": "1", "resources2:VGPU": "1"})).await;
    let words = cloud.wait(&id, "ERROR").await["fault"]["message"].as_str().unwrap().to_owned();
    assert!(words.contains("No valid host was found.") && words.contains("PlacementResources"), "{words}");
}
