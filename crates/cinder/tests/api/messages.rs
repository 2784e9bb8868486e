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
