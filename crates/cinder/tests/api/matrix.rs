//! Generated from the table of routes: who may not, and that no body makes the service fail.

use http::Method;
use serde_json::{Value, json};

use crate::support::world;

/// Bodies that nobody should send.
fn strange() -> Vec<Value> {
    let mut bodies = vec![json!(null), json!([]), json!(1), json!("text"), json!({}), json!({"volume": null})];
    for key in [
        "volume",
        "snapshot",
        "attachment",
        "backup",
        "restore",
        "backup-record",
        "transfer",
        "accept",
        "group",
        "group_snapshot",
        "group_type",
        "create-from-src",
        "volume_type",
        "extra_specs",
        "encryption",
        "qos_specs",
        "quota_set",
        "quota_class_set",
        "metadata",
        "meta",
        "default_type",
    ] {
        for value in [json!([]), json!({}), json!({"name": "n\u{0}", "volume_id": 1, "size": {}}), json!({"name": "x".repeat(300)})] {
            bodies.push(json!({key: value}));
        }
    }
    bodies
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_in_and_readers_change_nothing() {
    let world = world().await;
    for row in cinder::routes::routes().rows() {
        let path = format!("/v3{}", row.path.replace(['{', '}'], ""));
        assert_eq!(world.send("", row.method.clone(), &path, "3.71", None).await.0, 401, "{} {path}", row.method);
        if row.method != Method::GET {
            let (status, body, _) = world.send("reader", row.method.clone(), &path, "3.71", Some(json!({}))).await;
            assert!((400..500).contains(&status), "{} {path}: {status} {body}", row.method);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_body_makes_the_service_fail() {
    let world = world().await;
    let volume = world.volume(json!({"size": 1})).await;
    let snapshot = world.snapshot(&volume, json!({})).await;
    let bodies = strange();
    for row in cinder::routes::routes().rows().iter().filter(|row| row.method == Method::POST || row.method == Method::PUT) {
        let path = row.path.replace("{volume_id}", &volume).replace("{snapshot_id}", &snapshot).replace(['{', '}'], "");
        for body in &bodies {
            let (status, answer, _) = world.send("admin", row.method.clone(), &format!("/v3{path}"), "3.71", Some(body.clone())).await;
            assert!(status < 500, "{} {path} {body}: {status} {answer}", row.method);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_action_makes_the_service_fail() {
    let world = world().await;
    let (status, _) = world.ask("admin", Method::PUT, "/v3/os-quota-sets/p1", Some(json!({"quota_set": {"volumes": -1}}))).await;
    assert_eq!(status, 200);
    for action in cinder::volumes::actions::ACTIONS {
        let volume = world.volume(json!({"size": 1})).await;
        let path = format!("/v3/volumes/{volume}/action");
        let key = action.key;
        assert_eq!(world.send("other", Method::POST, &path, "3.71", Some(json!({key: {}}))).await.0, 404, "{key}");
        assert!(matches!(world.send("reader", Method::POST, &path, "3.71", Some(json!({key: {}}))).await.0, 200 | 403), "{key}");
        for value in [json!(null), json!([]), json!("x"), json!({}), json!({"connector": 1, "new_size": "x", "status": 1, "host": []})] {
            let (status, answer, _) = world.send("admin", Method::POST, &path, "3.71", Some(json!({key: value}))).await;
            assert!(status < 500, "{key} {value}: {status} {answer}");
        }
    }
}
