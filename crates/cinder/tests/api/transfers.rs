//! Transfers: offered, taken back, accepted with the right key only.

use http::Method;
use serde_json::{Value, json};

use crate::support::world;

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_changes_hands_with_its_snapshots_and_quota() {
    let world = world().await;
    let volume = world.volume(json!({"size": 2})).await;
    world.snapshot(&volume, json!({})).await;
    let offer = json!({"transfer": {"volume_id": volume, "name": "t"}});
    assert_eq!(world.ask("other", Method::POST, "/v3/os-volume-transfer", Some(offer.clone())).await.0, 404);
    let (status, body) = world.post("/v3/os-volume-transfer", offer.clone()).await;
    assert_eq!(status, 202, "{body}");
    let (id, key) = (body["transfer"]["id"].as_str().unwrap(), body["transfer"]["auth_key"].clone());
    world.status(&volume, "awaiting-transfer").await;
    assert_eq!(world.post("/v3/os-volume-transfer", offer).await.0, 400);
    let shown = world.get(&format!("/v3/os-volume-transfer/{id}")).await["transfer"].clone();
    assert_eq!((&shown["name"], shown.get("auth_key")), (&json!("t"), None));
    assert_eq!(world.get("/v3/os-volume-transfer/detail").await["transfers"].as_array().unwrap().len(), 1);
    let path = format!("/v3/os-volume-transfer/{id}/accept");
    let accept = async |key: Value| world.ask("other", Method::POST, &path, Some(json!({"accept": {"auth_key": key}}))).await.0;
    assert_eq!(accept(json!("wrong")).await, 400);
    assert_eq!(accept(key.clone()).await, 202);
    assert_eq!(accept(key).await, 404);
    assert_eq!(world.ask("other", Method::GET, &format!("/v3/volumes/{volume}"), None).await.1["volume"]["status"], "available");
    assert_eq!(world.ask("member", Method::GET, &format!("/v3/volumes/{volume}"), None).await.0, 404);
    assert_eq!(world.ask("other", Method::GET, "/v3/snapshots", None).await.1["snapshots"].as_array().unwrap().len(), 1);
    assert_eq!((world.used("volumes").await, world.used("snapshots").await, world.used("gigabytes").await), (0, 0, 0));
    let (_, used) = world.ask("other", Method::GET, "/v3/os-quota-sets/p2?usage=true", None).await;
    assert_eq!(used["quota_set"]["gigabytes"]["in_use"], 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_is_taken_back() {
    let world = world().await;
    let volume = world.volume(json!({"size": 1})).await;
    let body = json!({"transfer": {"volume_id": volume, "no_snapshots": true}});
    assert_eq!(world.send("member", Method::POST, "/v3/volume-transfers", "3.54", Some(body.clone())).await.0, 404);
    let (status, body, _) = world.send("member", Method::POST, "/v3/volume-transfers", "3.57", Some(body)).await;
    assert_eq!((status, &body["transfer"]["no_snapshots"], &body["transfer"]["accepted"]), (202, &json!(true), &json!(false)));
    let path = format!("/v3/volume-transfers/{}", body["transfer"]["id"].as_str().unwrap());
    assert_eq!(world.send("other", Method::DELETE, &path, "3.57", None).await.0, 404);
    assert_eq!(world.send("member", Method::DELETE, &path, "3.57", None).await.0, 202);
    world.status(&volume, "available").await;
}
