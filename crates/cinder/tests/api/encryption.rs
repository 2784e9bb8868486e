//! Encrypted volumes: each has a key, copies, backups and images have their own, and nothing takes the data into the clear.

use http::Method;
use rpc::volume::{FetchSecret, SERVER_TOPIC, Secret};
use serde_json::{Value, json};

use crate::support::{IMAGE, KEY, LOCKED_IMAGE, World, world};

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
    let action = format!("/v3/volumes/{volume}/action");
    refused(&action, json!({"os-volume_upload_image": {"image_name": "i", "disk_format": "qcow2"}})).await;
    refused(&action, json!({"os-retype": {"new_type": default, "migration_policy": "never"}})).await;
    refused(&action, json!({"os-unmanage": {}})).await;
    refused(&format!("/v3/volumes/{plain}/action"), json!({"os-retype": {"new_type": "secret"}})).await;
}

/// A backup, made and available; its id.
async fn back_up(world: &World, fields: Value) -> String {
    let (status, body) = world.post("/v3/backups", json!({"backup": fields})).await;
    assert_eq!(status, 202, "{body}");
    let id = body["backup"]["id"].as_str().unwrap().to_owned();
    let path = format!("/v3/backups/{id}");
    world.until("it is backed up", async |w| w.get(&path).await["backup"]["status"] == "available").await;
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_keeps_the_key_that_its_volume_had() {
    let world = world().await;
    secret_type(&world).await;
    let plain = world.volume(json!({"size": 1})).await;
    let volume = world.volume(json!({"size": 1, "volume_type": "secret"})).await;
    let secret = secret_of(&world, &volume).await;
    let full = back_up(&world, json!({"volume_id": volume})).await;
    let step = back_up(&world, json!({"volume_id": volume, "incremental": true})).await;
    assert_eq!((secret_of(&world, &full).await, secret_of(&world, &step).await), (secret.clone(), secret.clone()));
    let key = async |version: &str| {
        let (_, shown, _) = world.send("member", Method::GET, &format!("/v3/backups/{full}"), version, None).await;
        shown["backup"]["encryption_key_id"].clone()
    };
    assert!(key("3.64").await.is_string() && key("3.63").await.is_null());
    // the volume and its key go, and the data can still be read
    assert_eq!(world.ask("member", Method::DELETE, &format!("/v3/volumes/{volume}"), None).await.0, 202);
    world.status(&volume, "gone").await;
    assert_eq!(secret_of(&world, &full).await, secret);
    let restore = async |into: Value| world.post(&format!("/v3/backups/{step}/restore"), json!({"restore": into})).await;
    assert_eq!(restore(json!({"volume_id": plain})).await.0, 400, "not into the clear");
    let (status, body) = restore(json!({})).await;
    assert_eq!(status, 202, "{body}");
    let new = body["restore"]["volume_id"].as_str().unwrap().to_owned();
    world.status(&new, "available").await;
    let shown = world.get(&format!("/v3/volumes/{new}")).await["volume"].clone();
    assert_eq!((&shown["encrypted"], &shown["volume_type"]), (&json!(true), &json!("secret")));
    // the host reads with one key and writes with another
    assert!(secret_of(&world, &new).await.is_some_and(|own| Some(own) != secret));
    let from = world.volume(json!({"backup_id": full})).await;
    assert_eq!(world.get(&format!("/v3/volumes/{from}")).await["volume"]["encrypted"], true);
    // a record takes its key along, sealed
    let (_, record) = world.ask("admin", Method::GET, &format!("/v3/backups/{full}/export_record"), None).await;
    assert!(!record.to_string().contains(&secret.unwrap().passphrase));
    for id in [&step, &full] {
        world.until("it is free", async |w| w.get(&format!("/v3/backups/{id}")).await["backup"]["status"] == "available").await;
        assert_eq!(world.ask("member", Method::DELETE, &format!("/v3/backups/{id}"), None).await.0, 202);
        world.until("it is gone", async |w| w.ask("member", Method::GET, &format!("/v3/backups/{id}"), None).await.0 == 404).await;
    }
    assert_eq!(secret_of(&world, &full).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_takes_a_key_along() {
    let mut world = world().await;
    secret_type(&world).await;
    let volume = world.volume(json!({"size": 1, "volume_type": "secret"})).await;
    let upload = json!({"os-volume_upload_image": {"image_name": "i"}});
    let (status, body) = world.post(&format!("/v3/volumes/{volume}/action"), upload).await;
    assert_eq!((status, &body["os-volume_upload_image"]["image_id"]), (202, &json!(IMAGE)), "{body}");
    world.status(&volume, "available").await;
    // an image says whose key it has; only the key's project can make volumes of it, and only encrypted ones
    let make = |kind: &str| json!({"volume": {"size": 2, "imageRef": LOCKED_IMAGE, "volume_type": kind}});
    assert_eq!(world.post("/v3/volumes", make("secret")).await.0, 400, "nobody knows that key");
    let of_volume = secret_of(&world, &volume).await;
    let key = world.app.master_key().new_key("p1", "aes-256").unwrap();
    let key = cinder::keys::Key { id: KEY.into(), ..key };
    world.app.db().write(move |tx| Box::pin(async move { cinder::keys::insert(tx, key).await })).await.unwrap();
    assert_eq!(world.ask("other", Method::POST, "/v3/volumes", Some(make("secret"))).await.0, 400);
    assert_eq!(world.post("/v3/volumes", make("__DEFAULT__")).await.0, 400);
    let made = world.volume(make("secret")["volume"].clone()).await;
    let of_image = secret_of(&world, &made).await;
    assert!(of_image.is_some() && of_image != of_volume);
    let reimage = json!({"os-reimage": {"image_id": LOCKED_IMAGE}});
    assert_eq!(world.send("member", Method::POST, &format!("/v3/volumes/{made}/action"), "3.68", Some(reimage)).await.0, 400);
    // a new master key changes nothing for those who know the old keys, twice
    for _ in 0..2 {
        assert_eq!(cinder::rotate_master_key(&world.location(), &world.dir.path().join("keys/master")).await.unwrap(), 4);
        assert_eq!(secret_of(&world, &volume).await, of_volume);
    }
    world.restart().await;
    assert_eq!(secret_of(&world, &made).await, of_image);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_provider_may_be_luks_or_plain() {
    let world = world().await;
    for (provider, made) in [
        ("luks2", true),
        ("plain", true),
        ("nova.volume.encryptors.cryptsetup.CryptsetupEncryptor", true),
        ("nova.volume.encryptors.luks.LuksEncryptor", true),
        ("rot13", false),
    ] {
        let (_, kind) = world.ask("admin", Method::POST, "/v3/types", Some(json!({"volume_type": {"name": provider}}))).await;
        let path = format!("/v3/types/{}/encryption", kind["volume_type"]["id"].as_str().unwrap());
        let wish = json!({"encryption": {"provider": provider, "cipher": "aes-xts-plain64", "key_size": 256}});
        assert_eq!(world.ask("admin", Method::POST, &path, Some(wish)).await.0, 200);
        let (status, body) = world.post("/v3/volumes", json!({"volume": {"size": 1, "volume_type": provider}})).await;
        assert_eq!(status, if made { 202 } else { 400 }, "{body}");
        if made {
            let volume = body["volume"]["id"].as_str().unwrap();
            world.status(volume, "available").await;
            assert!(secret_of(&world, volume).await.is_some());
        }
    }
}
