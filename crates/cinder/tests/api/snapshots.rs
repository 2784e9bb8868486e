//! Snapshots: their metadata, lists and actions.

use http::Method;
use serde_json::{Value, json};

use crate::support::world;

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_has_metadata_and_is_found_by_it() {
    let world = world().await;
    let volume = world.volume(json!({"size": 1})).await;
    let id = world.snapshot(&volume, json!({"name": "s", "metadata": {"a": "1"}})).await;
    let path = format!("/v3/snapshots/{id}/metadata");
    assert_eq!(world.post(&path, json!({"metadata": {"b": "2"}})).await, (200, json!({"metadata": {"a": "1", "b": "2"}})));
    assert_eq!(world.get(&format!("{path}/b")).await, json!({"meta": {"b": "2"}}));
    let put = async |path: &str, body: Value| world.ask("member", Method::PUT, path, Some(body)).await;
    assert_eq!(put(&format!("{path}/b"), json!({"meta": {"b": "3"}})).await, (200, json!({"meta": {"b": "3"}})));
    assert_eq!(put(&format!("{path}/b"), json!({"meta": {"c": "3"}})).await.0, 400);
    let found = async |query: &str| world.get(&format!("/v3/snapshots/detail?{query}")).await["snapshots"].as_array().unwrap().len();
    assert_eq!(found("metadata=%7B%22b%22%3A%223%22%7D").await, 1);
    assert_eq!(found("metadata=%7B%22b%22%3A%222%22%7D").await, 0);
    assert_eq!(found("name~=s&status=available").await, 1);
    assert_eq!(found("status=error").await, 0);
    assert_eq!(world.ask("member", Method::DELETE, &format!("{path}/b"), None).await.0, 200);
    assert_eq!(world.ask("member", Method::DELETE, &format!("{path}/b"), None).await.0, 404);
    assert_eq!(put(&path, json!({"metadata": {"z": "9"}})).await, (200, json!({"metadata": {"z": "9"}})));
}

#[tokio::test(flavor = "multi_thread")]
async fn actions_on_a_snapshot() {
    let world = world().await;
    let volume = world.volume(json!({"size": 1})).await;
    let id = world.snapshot(&volume, json!({})).await;
    let act = async |who: &str, body: Value| world.ask(who, Method::POST, &format!("/v3/snapshots/{id}/action"), Some(body)).await.0;
    assert_eq!(act("member", json!({"os-reset_status": {"status": "error"}})).await, 403);
    assert_eq!(act("admin", json!({"os-reset_status": {"status": "nonsense"}})).await, 400);
    assert_eq!(act("member", json!({"os-update_snapshot_status": {"status": "error"}})).await, 400);
    assert_eq!(act("admin", json!({"os-reset_status": {"status": "creating"}})).await, 202);
    assert_eq!(act("member", json!({"os-update_snapshot_status": {"status": "error", "progress": "101%"}})).await, 400);
    assert_eq!(act("member", json!({"os-update_snapshot_status": {"status": "error", "progress": "90%"}})).await, 202);
    assert_eq!(act("admin", json!({"os-reset_status": {"status": "error_deleting"}})).await, 202);
    assert_eq!(world.ask("member", Method::DELETE, &format!("/v3/snapshots/{id}"), None).await.0, 400);
    assert_eq!(act("admin", json!({"os-force_delete": {}})).await, 202);
    world.until("it is gone", async |w| w.ask("member", Method::GET, &format!("/v3/snapshots/{id}"), None).await.0 == 404).await;
    assert_eq!(world.used("snapshots").await, 0);
}
