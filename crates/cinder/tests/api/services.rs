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
