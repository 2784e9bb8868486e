//! Snapshots that are let go and taken over again; consistency groups; the levels of logs.

use http::Method;
use serde_json::{Value, json};

use crate::support::world;

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_let_go_and_taken_over() {
    let world = world().await;
    let volume = world.volume(json!({"size": 2})).await;
    let snapshot = world.snapshot(&volume, json!({"name": "s"})).await;
    let act = async |who: &str| {
        let path = format!("/v3/snapshots/{snapshot}/action");
        world.ask(who, Method::POST, &path, Some(json!({"os-unmanage": {}}))).await.0
    };
    assert_eq!(act("member").await, 403);
    assert_eq!(act("admin").await, 202);
    let path = format!("/v3/snapshots/{snapshot}");
    world.until("it is gone", async |w| w.ask("member", Method::GET, &path, None).await.0 == 404).await;
    assert_eq!(world.used("snapshots").await, 0);
    let (status, found) = world.ask("admin", Method::GET, "/v3/manageable_snapshots/detail?host=sim1@sim%23sim", None).await;
    let name = format!("_snapshot-{snapshot}");
    let found = &found["manageable-snapshots"][0];
    assert_eq!((status, &found["reference"]["source-name"], &found["safe_to_manage"]), (200, &json!(name), &json!(true)));
    assert_eq!(found["source_reference"]["source-name"], format!("volume-{volume}"));
    let wish =
        |name: &str| json!({"snapshot": {"volume_id": volume, "ref": {"source-name": name}, "name": "back", "metadata": {"a": "1"}}});
    assert_eq!(world.ask("member", Method::POST, "/v3/manageable_snapshots", Some(wish(&name))).await.0, 403);
    let (status, body) = world.ask("admin", Method::POST, "/v3/os-snapshot-manage", Some(wish(&name))).await;
    assert_eq!(status, 202, "{body}");
    let path = format!("/v3/snapshots/{}", body["snapshot"]["id"].as_str().unwrap());
    world.until("it is back", async |w| w.get(&path).await["snapshot"]["status"] == "available").await;
    let shown = world.get(&path).await["snapshot"].clone();
    assert_eq!((&shown["size"], &shown["name"], &shown["metadata"]), (&json!(2), &json!("back"), &json!({"a": "1"})));
    let (_, found) = world.ask("admin", Method::GET, "/v3/manageable_snapshots?host=sim1@sim", None).await;
    assert_eq!(found["manageable-snapshots"][0]["safe_to_manage"], false);
    // one that is not there
    let (_, body) = world.ask("admin", Method::POST, "/v3/manageable_snapshots", Some(wish("_snapshot-none"))).await;
    let path = format!("/v3/snapshots/{}", body["snapshot"]["id"].as_str().unwrap());
    world.until("it failed", async |w| w.get(&path).await["snapshot"]["status"] == "error_managing").await;
    assert_eq!(world.ask("member", Method::DELETE, &path, None).await.0, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consistency_group_is_a_group() {
    let world = world().await;
    let new = json!({"consistencygroup": {"name": "c", "volume_types": "__DEFAULT__"}});
    let (status, body) = world.post("/v3/consistencygroups", new).await;
    assert_eq!(status, 202, "{body}");
    let group = body["consistencygroup"]["id"].as_str().unwrap().to_owned();
    let volume = world.volume(json!({"size": 1, "consistencygroup_id": group, "volume_type": "__DEFAULT__"})).await;
    assert_eq!(world.get(&format!("/v3/volumes/{volume}")).await["volume"]["consistencygroup_id"], group);
    assert_eq!(world.get("/v3/consistencygroups/detail").await["consistencygroups"][0]["status"], "available");
    let (status, body) = world.post("/v3/cgsnapshots", json!({"cgsnapshot": {"consistencygroup_id": group, "name": "s"}})).await;
    assert_eq!(status, 202, "{body}");
    let whole = body["cgsnapshot"]["id"].as_str().unwrap().to_owned();
    let path = format!("/v3/cgsnapshots/{whole}");
    world.until("it is kept", async |w| w.get(&path).await["cgsnapshot"]["status"] == "available").await;
    let from = json!({"consistencygroup-from-src": {"cgsnapshot_id": whole, "name": "copy"}});
    let (status, body) = world.post("/v3/consistencygroups/create_from_src", from).await;
    assert_eq!(status, 202, "{body}");
    let copy = format!("/v3/consistencygroups/{}", body["consistencygroup"]["id"].as_str().unwrap());
    world.until("it is copied", async |w| w.get(&copy).await["consistencygroup"]["status"] == "available").await;
    let delete = json!({"consistencygroup": {"force": true}});
    assert_eq!(world.post(&format!("{copy}/delete"), delete.clone()).await.0, 202);
    world.until("the copy is gone", async |w| w.ask("member", Method::GET, &copy, None).await.0 == 404).await;
    assert_eq!(world.ask("member", Method::DELETE, &path, None).await.0, 202);
    world.until("the snapshot is gone", async |w| w.ask("member", Method::GET, &path, None).await.0 == 404).await;
    let path = format!("/v3/consistencygroups/{group}");
    assert_eq!(world.post(&format!("{path}/delete"), json!({"consistencygroup": {"force": false}})).await.0, 400);
    assert_eq!(world.post(&format!("{path}/delete"), delete).await.0, 202);
    world.status(&volume, "gone").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_answer_by_either_name_and_logs_have_levels() {
    let world = world().await;
    let ask = async |method: Method, path: &str, body: Option<Value>| {
        let (status, body, _) = world.send("admin", method, path, "3.71", body).await;
        (status, body)
    };
    for (host, hits) in [("sim1", 2), ("sim1@sim", 1), ("sim", 0)] {
        let (_, body) = ask(Method::GET, &format!("/v3/os-services?host={host}"), None).await;
        assert_eq!(body["services"].as_array().unwrap().len(), hits, "{host}");
    }
    for host in [json!({"host": "none"}), json!({"cluster": "none"})] {
        for what in ["freeze", "thaw", "failover", "failover_host"] {
            assert_eq!(ask(Method::PUT, &format!("/v3/os-services/{what}"), Some(host.clone())).await.0, 400, "{what} {host}");
        }
    }
    let (status, body) = ask(Method::PUT, "/v3/os-services/get-log", Some(json!({"binary": "cinder-volume"}))).await;
    assert_eq!((status, &body["log_levels"][0]["host"]), (200, &json!("sim1@sim")));
    assert_eq!(ask(Method::PUT, "/v3/os-services/set-log", Some(json!({"binary": "*", "level": "debug"}))).await.0, 202);
    for bad in [json!({"level": "loud"}), json!({"binary": "nova", "level": "INFO"}), json!({"level": 1}), json!({})] {
        assert_eq!(ask(Method::PUT, "/v3/os-services/set-log", Some(bad.clone())).await.0, 400, "{bad}");
    }
}
