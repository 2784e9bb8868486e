//! Hosts and what is said of them; metadata's entity tags; scheduler hints.

use http::Method;
use serde_json::{Value, json};

use crate::support::world;

#[tokio::test(flavor = "multi_thread")]
async fn hosts_tell_what_they_carry_and_can_do() {
    let world = world().await;
    world.volume(json!({"size": 3})).await;
    let admin = async |method: Method, path: &str, body: Option<Value>| world.ask("admin", method, path, body).await;
    let (_, hosts) = admin(Method::GET, "/v3/os-hosts", None).await;
    assert!(hosts["hosts"].as_array().unwrap().iter().any(|host| host["host_name"] == "sim1@sim"));
    let (_, host) = admin(Method::GET, "/v3/os-hosts/sim1@sim", None).await;
    assert_eq!(host["host"][0]["resource"]["total_volume_gb"], "3");
    assert_eq!(admin(Method::GET, "/v3/os-hosts/none", None).await.0, 404);
    assert_eq!(admin(Method::GET, "/v3/capabilities/sim1@sim", None).await.1["volume_backend_name"], "sim");
    assert_eq!(admin(Method::GET, "/v3/clusters", None).await, (200, json!({"clusters": []})));
    assert_eq!(admin(Method::POST, "/v3/workers/cleanup", Some(json!({}))).await.0, 202);
    assert_eq!(admin(Method::GET, "/v3/scheduler-stats/get_pools?name=none", None).await.1["pools"], json!([]));
    assert_eq!(world.ask("member", Method::GET, "/v3/os-hosts", None).await.0, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_host_gets_nothing_new() {
    let world = world().await;
    let put =
        async |what: &str| world.ask("admin", Method::PUT, &format!("/v3/os-services/{what}"), Some(json!({"host": "sim1@sim"}))).await.0;
    assert_eq!(put("freeze").await, 200);
    let (_, body) = world.post("/v3/volumes", json!({"volume": {"size": 1}})).await;
    world.status(body["volume"]["id"].as_str().unwrap(), "error").await;
    assert_eq!(put("thaw").await, 200);
    let first = world.volume(json!({"size": 1})).await;
    assert_eq!(put("failover_host").await, 400);
    // together with the first, and apart from it
    let hinted = async |hint: &str| {
        let body = json!({"volume": {"size": 1}, "OS-SCH-HNT:scheduler_hints": {hint: [first]}});
        world.post("/v3/volumes", body).await.1["volume"]["id"].as_str().unwrap().to_owned()
    };
    world.status(&hinted("same_host").await, "available").await;
    world.status(&hinted("different_host").await, "error").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_may_be_in_a_zone_of_its_own() {
    let world = world().await;
    let config = cinder_volume::Config { host: "sim2@sim".into(), availability_zone: Some("mars".into()), ..Default::default() };
    world.host_with(config).await;
    let (_, zones) = world.ask("member", Method::GET, "/v3/os-availability-zone", None).await;
    let names: Vec<&Value> = zones["availabilityZoneInfo"].as_array().unwrap().iter().map(|zone| &zone["zoneName"]).collect();
    assert_eq!(names, ["mars", "nova"]);
    let place = async |id: &str| {
        let (_, shown) = world.ask("admin", Method::GET, &format!("/v3/volumes/{id}"), None).await;
        let volume = &shown["volume"];
        (volume["availability_zone"].as_str().unwrap().to_owned(), volume["os-vol-host-attr:host"].as_str().unwrap().to_owned())
    };
    let here = world.volume(json!({"size": 1})).await;
    assert_eq!(place(&here).await, ("nova".into(), "sim1@sim#sim".into()));
    let there = world.volume(json!({"size": 1, "availability_zone": "mars"})).await;
    assert_eq!(place(&there).await, ("mars".into(), "sim2@sim#sim".into()));
    // a copy is where its source is
    let copy = world.volume(json!({"source_volid": there})).await;
    assert_eq!(place(&copy).await.0, "mars");
    let (status, body) = world.post("/v3/volumes", json!({"volume": {"source_volid": there, "availability_zone": "nova"}})).await;
    let said = "Invalid input received: Volume must be in the same availability zone as the source volume";
    assert_eq!((status, &body["badRequest"]["message"]), (400, &json!(said)));
    // a type says where its volumes are
    let far = json!({"volume_type": {"name": "far", "extra_specs": {"RESKEY:availability_zones": "venus,mars"}}});
    assert_eq!(world.ask("admin", Method::POST, "/v3/types", Some(far)).await.0, 200);
    let typed = world.volume(json!({"size": 1, "volume_type": "far"})).await;
    assert_eq!(place(&typed).await.0, "mars");
    let wrong = json!({"volume": {"size": 1, "volume_type": "far", "availability_zone": "nova"}});
    assert_eq!(world.post("/v3/volumes", wrong).await.0, 400);
    // who moves is elsewhere
    let action = json!({"os-migrate_volume": {"host": "sim2@sim#sim"}});
    assert_eq!(world.ask("admin", Method::POST, &format!("/v3/volumes/{here}/action"), Some(action)).await.0, 202);
    world.until("it is there", async |_| place(&here).await == ("mars".into(), "sim2@sim#sim".into())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_changes_only_if_it_is_what_the_client_thinks() {
    let world = world().await;
    let id = world.volume(json!({"size": 1, "metadata": {"a": "1"}})).await;
    let path = format!("/v3/volumes/{id}/metadata");
    let (_, _, headers) = world.send("member", Method::GET, &path, "3.15", None).await;
    let tag = headers["etag"].to_str().unwrap().to_owned();
    let body = json!({"metadata": {"b": "2"}});
    assert_eq!(world.send_if(&tag, Method::POST, &path, body.clone()).await, 200);
    assert_eq!(world.send_if(&tag, Method::POST, &path, body).await, 412);
    let (_, _, headers) = world.send("member", Method::GET, &path, "3.14", None).await;
    assert!(!headers.contains_key("etag"));
}
