//! Encrypted volumes: each has a key, copies have their own, and nothing takes the data into the clear.

use http::Method;
use rpc::volume::{FetchSecret, SERVER_TOPIC, Secret};
use serde_json::{Value, json};

use crate::support::{World, world};

/// A type whose volumes are encrypted.
async fn secret_type(world: &World) -> String {
    let (_, made) = world.ask("admin", Method::POST, "/v3/types", Some(json!({"volume_type": {"name": "secret"}}))).await;
    let id = made["volume_type"]["id"].as_str().unwrap().to_owned();
    let wish = json!({"encryption": {"provider": "luks", "cipher": "aes-xts-plain64", "key_size": 256, "control_location": "front-end"}});
    assert_eq!(world.ask("admin", Method::POST, &format!("/v3/types/{id}/encryption"), Some(wish)).await.0, 200);
    id
}

async fn secret_of(world: &World, id: &str) -> Option<Secret> {
    let patience = std::time::Duration::from_secs(10);
    world.bus.call(SERVER_TOPIC, FetchSecret { id: id.to_owned() }, patience).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_volume_has_a_key_that_goes_with_it() {
    let world = world().await;
    secret_type(&world).await;
    let plain = world.volume(json!({"size": 1})).await;
    let first = world.volume(json!({"size": 1, "volume_type": "secret"})).await;
    let copy = world.volume(json!({"source_volid": first})).await;
    let path = format!("/v3/volumes/{first}");
    assert_eq!(world.get(&path).await["volume"]["encrypted"], true);
    let shown = world.get(&format!("{path}/encryption")).await;
    assert_eq!((&shown["cipher"], &shown["key_size"], &shown["provider"]), (&json!("aes-xts-plain64"), &json!(256), &json!("luks")));
    let key = world.get(&format!("{path}/encryption/encryption_key_id")).await["encryption_key_id"].clone();
    assert_eq!(key, shown["encryption_key_id"]);
    assert_ne!(key, world.get(&format!("/v3/volumes/{copy}/encryption")).await["encryption_key_id"]);
    assert_eq!(world.get(&format!("/v3/volumes/{plain}/encryption")).await, json!({}));
    // what is below the copy has the passphrase of the first
    let secret = secret_of(&world, &first).await.unwrap();
    assert_eq!((&*secret.cipher, secret_of(&world, &copy).await), ("aes-128", Some(secret.clone())));
    assert_eq!(secret_of(&world, &plain).await, None);
    let (status, _) = world.ask("member", Method::DELETE, &path, None).await;
    assert_eq!(status, 202);
    world.until("it is gone", async |world| world.ask("member", Method::GET, &path, None).await.0 == 404).await;
    assert_eq!(secret_of(&world, &copy).await, Some(secret));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_takes_it_into_the_clear() {
    let world = world().await;
    secret_type(&world).await;
    let plain = world.volume(json!({"size": 1})).await;
    let volume = world.volume(json!({"size": 1, "volume_type": "secret"})).await;
    let refused = async |path: &str, body: Value| {
        let (status, answer) = world.ask("admin", Method::POST, path, Some(body.clone())).await;
        assert_eq!(status, 400, "{path} {body}: {answer}");
    };
    let default = world.get(&format!("/v3/volumes/{plain}")).await["volume"]["volume_type"].clone();
    refused("/v3/volumes", json!({"volume": {"source_volid": volume, "volume_type": default}})).await;
    refused("/v3/volumes", json!({"volume": {"source_volid": plain, "volume_type": "secret"}})).await;
    refused("/v3/backups", json!({"backup": {"volume_id": volume}})).await;
    let action = format!("/v3/volumes/{volume}/action");
    refused(&action, json!({"os-volume_upload_image": {"image_name": "i"}})).await;
    refused(&action, json!({"os-retype": {"new_type": default, "migration_policy": "never"}})).await;
    refused(&action, json!({"os-unmanage": {}})).await;
    refused(&format!("/v3/volumes/{plain}/action"), json!({"os-retype": {"new_type": "secret"}})).await;
}
