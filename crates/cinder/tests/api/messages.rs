//! Messages tell why something did not come about.

use http::Method;
use serde_json::json;

use crate::support::world;

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_fits_nowhere_says_so() {
    let world = world().await;
    let disable = json!({"host": "sim1@sim", "binary": "cinder-volume"});
    assert_eq!(world.ask("admin", Method::PUT, "/v3/os-services/disable", Some(disable)).await.0, 200);
    let (_, body) = world.post("/v3/volumes", json!({"volume": {"size": 1}})).await;
    let volume = body["volume"]["id"].as_str().unwrap().to_owned();
    world.status(&volume, "error").await;
    let list = format!("/v3/messages?resource_uuid={volume}");
    world.until("a message is there", async |w| w.get(&list).await["messages"][0].is_object()).await;
    let message = world.get(&list).await["messages"][0].clone();
    assert_eq!((&message["event_id"], &message["message_level"]), (&json!("VOLUME_VOLUME_001_003"), &json!("ERROR")));
    let path = format!("/v3/messages/{}", message["id"].as_str().unwrap());
    assert_eq!(world.ask("other", Method::GET, &path, None).await.0, 404);
    assert_eq!(world.ask("member", Method::DELETE, &path, None).await.0, 204);
    assert_eq!(world.ask("member", Method::GET, &path, None).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_at_once_leaves_a_message_too() {
    let world = world().await;
    let told = async |resource: &str| world.get(&format!("/v3/messages?resource_uuid={resource}")).await["messages"][0].clone();
    let (_, kind) = world.ask("admin", Method::POST, "/v3/types", Some(json!({"volume_type": {"name": "secret"}}))).await;
    let path = format!("/v3/types/{}/encryption", kind["volume_type"]["id"].as_str().unwrap());
    assert_eq!(world.ask("admin", Method::POST, &path, Some(json!({"encryption": {"provider": "luks"}}))).await.0, 200);
    let locked = world.volume(json!({"size": 1, "volume_type": "secret"})).await;
    let unmanage = json!({"os-unmanage": {}});
    let path = format!("/v3/volumes/{locked}/action");
    assert_eq!(world.ask("manager", Method::POST, &path, Some(unmanage.clone())).await.0, 403);
    world.rules("\"volume_extension:volume_unmanage\": \"\"");
    assert_eq!(world.ask("member", Method::POST, &path, Some(unmanage)).await.0, 400);
    let said = told(&locked).await;
    assert_eq!(said["event_id"], "VOLUME_VOLUME_006_008");
    assert_eq!(said["user_message"], "unmanage volume:Unmanaging encrypted volumes is not supported.");

    // its host has lost the volume
    let volume = world.volume(json!({"size": 1})).await;
    let (_, made) = world.post("/v3/attachments", json!({"attachment": {"volume_uuid": volume, "instance_uuid": "server1"}})).await;
    let path = format!("/v3/attachments/{}", made["attachment"]["id"].as_str().unwrap());
    let lose = rpc::volume::DeleteVolume { volume_id: volume.clone() };
    world.bus.call(&rpc::volume::volume_topic("sim1@sim"), lose, std::time::Duration::from_secs(10)).await.unwrap();
    let connect = json!({"attachment": {"connector": {"host": "h"}}});
    assert_eq!(world.ask("member", Method::PUT, &path, Some(connect)).await.0, 404);
    assert_eq!(told(&volume).await["event_id"], "VOLUME_VOLUME_004_001");
}
