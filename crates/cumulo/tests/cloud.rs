//! A whole cloud, spoken to as clients do: the boot and what follows, from the token to the delete; on simulated hosts, on either database.

// A test that cannot go on shall say where, and stop.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Client, Cloud};

const BINARY: &str = env!("CARGO_BIN_EXE_cumulo");

/// Lists of what a deleted server must not leave: its ports, and what placement holds for it.
async fn left_over(admin: &Client) -> (Vec<Value>, i64) {
    let ports = admin.get(&admin.network, "/ports?device_owner=compute:nova", "ports").await;
    let providers = admin.get(&admin.placement, "/resource_providers", "resource_providers").await;
    let mut used = 0;
    for provider in providers.as_array().unwrap() {
        let path = format!("/resource_providers/{}/usages", provider["uuid"].as_str().unwrap());
        let usages = admin.get(&admin.placement, &path, "usages").await;
        used += usages.as_object().unwrap().values().map(|n| n.as_i64().unwrap()).sum::<i64>();
    }
    (ports.as_array().unwrap().clone(), used)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_lives_and_leaves_nothing() {
    let cloud = Cloud::start(BINARY, 2).await;
    let admin = cloud.login("admin").await;
    let (image, network) = (admin.image("i").await, admin.network("n", "10.5.0.0/24").await);
    let id = admin.boot("first", &image, &network).await;
    let server = admin.wait(&id, &["ACTIVE"]).await;
    assert_eq!(server["OS-EXT-STS:power_state"], 1);
    assert_eq!(server["addresses"]["n"][0]["OS-EXT-IPS:type"], "fixed");
    let ports = admin.get(&admin.network, &format!("/ports?device_id={id}"), "ports").await;
    assert_eq!((ports[0]["status"].as_str(), ports[0]["device_owner"].as_str()), (Some("ACTIVE"), Some("compute:nova")));
    for (action, status) in [("os-stop", "SHUTOFF"), ("os-start", "ACTIVE")] {
        admin.post(&admin.compute, &format!("/servers/{id}/action"), &json!({action: null}), "").await;
        admin.wait(&id, &[status]).await;
    }
    admin.compute.delete(&admin.auth, &format!("/servers/{id}")).await.unwrap();
    admin.wait_gone(&admin.compute, &format!("/servers/{id}")).await;
    assert_eq!(left_over(&admin).await, (vec![], 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_steps_of_a_boot_can_be_read_afterwards() {
    let cloud = Cloud::start(BINARY, 1).await;
    let admin = cloud.login("admin").await;
    let (image, network) = (admin.image("i").await, admin.network("n", "10.5.0.0/24").await);
    let id = admin.boot("told", &image, &network).await;
    admin.wait(&id, &["ACTIVE"]).await;
    let actions = admin.get(&admin.compute, &format!("/servers/{id}/os-instance-actions"), "instanceActions").await;
    let request = actions[0]["request_id"].as_str().unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let action = admin.get(&admin.compute, &format!("/servers/{id}/os-instance-actions/{request}"), "instanceAction").await;
    let steps: Vec<&str> = action["events"].as_array().unwrap().iter().map(|event| event["event"].as_str().unwrap()).collect();
    for part in ["api_", "conductor_", "scheduler_", "compute_"] {
        assert!(steps.iter().any(|step| step.starts_with(part)), "no step of {part} in {steps:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_project_has_another_does_not_see() {
    let cloud = Cloud::start(BINARY, 1).await;
    let (admin, demo) = (cloud.login("admin").await, cloud.login("demo").await);
    let (image, network) = (admin.image("i").await, admin.network("n", "10.5.0.0/24").await);
    let id = admin.boot("mine", &image, &network).await;
    let get = http::Method::GET;
    assert_eq!(demo.status(&demo.compute, get.clone(), &format!("/servers/{id}"), None).await, 404);
    assert_eq!(demo.status(&demo.network, get.clone(), &format!("/networks/{network}"), None).await, 404);
    assert_eq!(demo.status(&demo.image, get.clone(), &format!("/images/{image}"), None).await, 404);
    assert_eq!(demo.status(&demo.compute, get.clone(), "/os-hypervisors", None).await, 403);
    assert_eq!(demo.status(&demo.placement, get.clone(), "/resource_providers", None).await, 403);
    assert_eq!(demo.status(&demo.compute, get, "/servers/detail?all_tenants=1", None).await, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_is_refused_everywhere() {
    let cloud = Cloud::start(BINARY, 1).await;
    let demo = cloud.login("demo").await;
    let get = http::Method::GET;
    assert_eq!(demo.status(&demo.compute, get.clone(), "/servers", None).await, 200);
    let subject = [("x-subject-token", demo.token.as_str())];
    demo.identity.call_with(&demo.auth, http::Method::DELETE, "/auth/tokens", None::<&Value>, &subject).await.unwrap();
    // a second is how long a service believes what keystone said
    tokio::time::sleep(Duration::from_millis(1100)).await;
    for (endpoint, path) in
        [(&demo.compute, "/servers"), (&demo.network, "/networks"), (&demo.image, "/images"), (&demo.volume, "/volumes")]
    {
        assert_eq!(demo.status(endpoint, get.clone(), path, None).await, 401, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loses_nothing_acknowledged_and_leaves_nothing_over() {
    let mut cloud = Cloud::start(BINARY, 3).await;
    let admin = cloud.login("admin").await;
    let (image, network) = (admin.image("i").await, admin.network("n", "10.5.0.0/24").await);
    let mut servers = Vec::new();
    for millis in [0, 3, 8, 15, 40] {
        for n in 0..2 {
            servers.push(admin.boot(&format!("s{millis}-{n}"), &image, &network).await);
        }
        tokio::time::sleep(Duration::from_millis(millis)).await;
        cloud.crash();
        cloud.resume().await;
    }
    let admin = cloud.login("admin").await;
    for id in &servers {
        admin.wait(id, &["ACTIVE", "ERROR"]).await;
    }
    for id in &servers {
        admin.compute.delete(&admin.auth, &format!("/servers/{id}")).await.unwrap();
    }
    cloud.crash();
    cloud.resume().await;
    let admin = cloud.login("admin").await;
    for id in &servers {
        admin.wait_gone(&admin.compute, &format!("/servers/{id}")).await;
    }
    assert_eq!(left_over(&admin).await, (vec![], 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_start_changes_nothing() {
    let mut cloud = Cloud::start(BINARY, 1).await;
    let before = std::fs::read_to_string(cloud.state_dir().join("secrets.toml")).unwrap();
    let admin = cloud.login("admin").await;
    let count = async |admin: &Client| {
        let networks = admin.get(&admin.network, "/networks", "networks").await;
        let users = admin.get(&admin.identity, "/users", "users").await;
        let flavors = admin.get(&admin.compute, "/flavors", "flavors").await;
        [networks, users, flavors].map(|list| list.as_array().unwrap().len())
    };
    let first = count(&admin).await;
    cloud.crash();
    cloud.resume().await;
    // the token of before is still good: keys and users are the same
    assert_eq!(count(&admin).await, first);
    assert_eq!(std::fs::read_to_string(cloud.state_dir().join("secrets.toml")).unwrap(), before);
}

#[test]
fn refusals_are_one_sentence() {
    let run = |arguments: &[&str]| {
        let output = std::process::Command::new(BINARY).args(arguments).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().to_str().unwrap();
    let config = dir.path().join("bad.toml");
    std::fs::write(&config, "sim_host = 1").unwrap();
    let said = run(&["--state-dir", state, "up", "--config", config.to_str().unwrap()]);
    assert!(said.contains("sim_host"), "{said}");
    let said = run(&["--state-dir", state, "up", "--guest-image", "/nowhere.qcow2"]);
    assert!(said.contains("/nowhere.qcow2"), "{said}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    std::fs::write(&config, format!("sim_hosts = 1\n[ports]\nkeystone = {}\n", taken.local_addr().unwrap().port())).unwrap();
    let said = run(&["--state-dir", state, "up", "--config", config.to_str().unwrap()]);
    assert!(said.contains("ports.keystone") && said.lines().count() == 1, "{said}");
    let said = run(&["--state-dir", "/nowhere", "status"]);
    assert!(said.contains("cumulo up"), "{said}");
}

/// Boots a server with a port; answers its id once it is neither building nor scheduled.
async fn boot_with_port(admin: &Client, name: &str, image: &str, port: &Value) -> Value {
    let body = json!({"server": {"name": name, "imageRef": image, "flavorRef": "42", "networks": [{"port": port["id"]}]}});
    // the first at which ports may ask for something
    let version = [("openstack-api-version", "compute 2.72")];
    let made = admin.compute.call_with(&admin.auth, http::Method::POST, "/servers", Some(&body), &version).await.unwrap();
    let server: Value = made.take("server").unwrap();
    admin.wait(server["id"].as_str().unwrap(), &["ACTIVE", "ERROR"]).await
}

/// A server whose link gives so much gets a port that takes 300 more, and loses it; there is no room for `too_much`.
async fn ports_come_and_go_with_what_they_take(
    admin: &Client,
    server: &str,
    (link, taken): (&str, i64),
    (network, too_much): (&Value, &Value),
) {
    let policy = admin.post(&admin.network, "/qos/policies", &json!({"policy": {"name": "little"}}), "policy").await["id"].clone();
    let rules = format!("/qos/policies/{}/minimum_bandwidth_rules", policy.as_str().unwrap());
    admin.post(&admin.network, &rules, &json!({"minimum_bandwidth_rule": {"min_kbps": 300}}), "minimum_bandwidth_rule").await;
    let port = json!({"port": {"network_id": network, "qos_policy_id": policy}});
    let port = admin.post(&admin.network, "/ports", &port, "port").await["id"].as_str().unwrap().to_owned();
    let on_link = async || {
        let shares = admin.get(&admin.placement, &format!("/allocations/{server}"), "allocations").await;
        shares[link]["resources"]["NET_BW_EGR_KILOBIT_PER_SEC"].as_i64().unwrap()
    };
    let given = async || admin.get(&admin.network, &format!("/ports/{port}"), "port").await["binding:profile"]["allocation"].clone();

    let interfaces = format!("/servers/{server}/os-interface");
    let attach = |port: &Value| json!({"interfaceAttachment": {"port_id": port}});
    let refused = admin.status(&admin.compute, http::Method::POST, &interfaces, Some(&attach(too_much))).await;
    assert_eq!((refused, on_link().await), (400, taken));
    admin.post(&admin.compute, &interfaces, &attach(&json!(port)), "interfaceAttachment").await;
    assert_eq!(on_link().await, taken + 300);
    assert!(given().await.as_object().unwrap().values().eq([&json!(link)]));
    admin.compute.delete(&admin.auth, &format!("{interfaces}/{port}")).await.unwrap();
    let began = std::time::Instant::now();
    while on_link().await != taken {
        assert!(began.elapsed() < testkit::PATIENCE, "what a port took is not given back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(given().await, Value::Null);
    let actions = format!("/servers/{server}/os-instance-actions");
    let last = admin.get(&admin.compute, &actions, "instanceActions").await[0].clone();
    assert_eq!(last["action"], "detach_interface");
    let action = format!("{actions}/{}", last["request_id"].as_str().unwrap());
    let told = async || {
        let events = admin.get(&admin.compute, &action, "instanceAction").await["events"].clone();
        events.as_array().unwrap().iter().any(|event| event["event"] == "compute_detach_interface" && event["result"] == "Success")
    };
    while !told().await {
        assert!(began.elapsed() < testkit::PATIENCE, "clients wait for this");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_are_promised_bandwidth_where_there_is_some() {
    let cloud = Cloud::start_with(BINARY, 2, "[network]\nexternal_bandwidth = 1000\npacket_rate = 100\n").await;
    let admin = cloud.login("admin").await;
    let image = admin.image("i").await;
    let links = async || {
        let providers = admin.get(&admin.placement, "/resource_providers", "resource_providers").await;
        let names = providers.as_array().unwrap().iter().filter(|provider| provider["name"].as_str().unwrap().ends_with(":public"));
        names.count()
    };
    let began = std::time::Instant::now();
    while links().await < 2 {
        assert!(began.elapsed() < testkit::PATIENCE, "placement does not hear of the hosts' links");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let policy = admin.post(&admin.network, "/qos/policies", &json!({"policy": {"name": "promise"}}), "policy").await["id"].clone();
    let rules = format!("/qos/policies/{}/minimum_bandwidth_rules", policy.as_str().unwrap());
    let rule = admin.post(&admin.network, &rules, &json!({"minimum_bandwidth_rule": {"min_kbps": 600}}), "minimum_bandwidth_rule").await;
    let vlan = json!({"network": {"name": "v", "provider:network_type": "vlan"}});
    let network = admin.post(&admin.network, "/networks", &vlan, "network").await["id"].clone();
    let subnet = json!({"subnet": {"network_id": network, "ip_version": 4, "cidr": "10.9.0.0/24"}});
    admin.post(&admin.network, "/subnets", &subnet, "subnet").await;
    let port = async || {
        let body = json!({"port": {"network_id": network, "qos_policy_id": policy}});
        admin.post(&admin.network, "/ports", &body, "port").await
    };

    let (first, second, third) = (port().await, port().await, port().await);
    let group = &first["resource_request"]["request_groups"][0];
    assert_eq!(group["resources"], json!({"NET_BW_EGR_KILOBIT_PER_SEC": 600}), "{first}");
    assert!(group["required"].as_array().unwrap().contains(&json!("CUSTOM_PHYSNET_PUBLIC")), "{group}");
    let one = boot_with_port(&admin, "one", &image, &first).await;
    let two = boot_with_port(&admin, "two", &image, &second).await;
    assert_eq!((&one["status"], &two["status"]), (&json!("ACTIVE"), &json!("ACTIVE")), "{one} {two}");
    assert_ne!(one["OS-EXT-SRV-ATTR:host"], two["OS-EXT-SRV-ATTR:host"], "a link has room for one of them");
    let none = boot_with_port(&admin, "three", &image, &third).await;
    assert!(none["status"] == "ERROR" && none["fault"]["message"].as_str().unwrap().contains("No valid host"), "{none}");

    let id = one["id"].as_str().unwrap();
    let shares = admin.get(&admin.placement, &format!("/allocations/{id}"), "allocations").await;
    let link = shares.as_object().unwrap().iter().find(|(_, share)| share["resources"]["NET_BW_EGR_KILOBIT_PER_SEC"] == 600).unwrap().0;
    let bound = admin.get(&admin.network, &format!("/ports/{}", first["id"].as_str().unwrap()), "port").await;
    assert_eq!(bound["binding:profile"]["allocation"], json!({group["id"].as_str().unwrap(): link}), "{bound}");
    ports_come_and_go_with_what_they_take(&admin, id, (link.as_str(), 600), (&network, &third["id"])).await;
    // what was promised stays as it is
    let rule = format!("{rules}/{}", rule["id"].as_str().unwrap());
    let more = json!({"minimum_bandwidth_rule": {"min_kbps": 700}});
    assert_eq!(admin.status(&admin.network, http::Method::PUT, &rule, Some(&more)).await, 501);

    admin.compute.delete(&admin.auth, &format!("/servers/{id}")).await.unwrap();
    admin.wait_gone(&admin.compute, &format!("/servers/{id}")).await;
    let again = boot_with_port(&admin, "again", &image, &first).await;
    assert_eq!((&again["status"], &again["OS-EXT-SRV-ATTR:host"]), (&json!("ACTIVE"), &one["OS-EXT-SRV-ATTR:host"]));
    // and where a server goes, its port is told who gives it there
    let (two, again) = (two["id"].as_str().unwrap(), again["id"].as_str().unwrap());
    admin.compute.delete(&admin.auth, &format!("/servers/{two}")).await.unwrap();
    admin.wait_gone(&admin.compute, &format!("/servers/{two}")).await;
    let action = format!("/servers/{again}/action");
    let go = json!({"os-migrateLive": {"host": null, "block_migration": false, "disk_over_commit": false}});
    assert_eq!(admin.status(&admin.compute, http::Method::POST, &action, Some(&go)).await, 202);
    let there = admin.wait(again, &["ACTIVE", "ERROR"]).await;
    assert!(there["status"] == "ACTIVE" && there["OS-EXT-SRV-ATTR:host"] != one["OS-EXT-SRV-ATTR:host"], "{there}");
    let moved = admin.get(&admin.network, &format!("/ports/{}", first["id"].as_str().unwrap()), "port").await;
    let given = moved["binding:profile"]["allocation"][group["id"].as_str().unwrap()].as_str().unwrap();
    let shares = admin.get(&admin.placement, &format!("/allocations/{again}"), "allocations").await;
    assert_eq!(shares[given]["resources"]["NET_BW_EGR_KILOBIT_PER_SEC"], 600, "{moved} {shares}");
}
