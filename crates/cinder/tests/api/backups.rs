//! Backups: made, built upon, restored, exported, deleted.

use http::Method;
use serde_json::{Value, json};

use crate::support::{World, world};

async fn back_up(world: &World, fields: Value) -> String {
    let (status, body) = world.post("/v3/backups", json!({"backup": fields})).await;
    assert_eq!(status, 202, "{body}");
    let id = body["backup"]["id"].as_str().unwrap().to_owned();
    status_of(world, &id, "available").await;
    id
}

async fn status_of(world: &World, id: &str, wanted: &str) {
    let path = format!("/v3/backups/{id}");
    world.until(&format!("{id} is {wanted}"), async |w| w.get(&path).await["backup"]["status"] == json!(wanted)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_outlives_its_volume() {
    let world = world().await;
    let volume = world.volume(json!({"size": 2, "name": "v"})).await;
    assert_eq!(world.post("/v3/backups", json!({"backup": {"volume_id": volume, "incremental": true}})).await.0, 400);
    let full = back_up(&world, json!({"volume_id": volume, "name": "full", "metadata": {"a": "1"}})).await;
    let step = back_up(&world, json!({"volume_id": volume, "incremental": true})).await;
    let shown = world.get(&format!("/v3/backups/{full}")).await["backup"].clone();
    for (key, value) in [
        ("name", json!("full")),
        ("size", json!(2)),
        ("is_incremental", json!(false)),
        ("has_dependent_backups", json!(true)),
        ("metadata", json!({"a": "1"})),
        ("object_count", json!(1)),
    ] {
        assert_eq!(shown[key], value, "{key}");
    }
    assert_eq!(world.get(&format!("/v3/backups/{step}")).await["backup"]["is_incremental"], true);
    assert_eq!((world.used("backups").await, world.used("backup_gigabytes").await), (2, 4));
    let delete = async |id: &str| world.ask("member", Method::DELETE, &format!("/v3/backups/{id}"), None).await.0;
    assert_eq!(delete(&full).await, 400, "another builds on it");
    assert_eq!(world.ask("member", Method::DELETE, &format!("/v3/volumes/{volume}"), None).await.0, 202);
    world.status(&volume, "gone").await;
    // into a new volume, and as the source of one
    let (status, body) = world.post(&format!("/v3/backups/{step}/restore"), json!({"restore": {"name": "back"}})).await;
    assert_eq!((status, &body["restore"]["volume_name"]), (202, &json!("back")));
    let new = body["restore"]["volume_id"].as_str().unwrap().to_owned();
    world.status(&new, "available").await;
    status_of(&world, &step, "available").await;
    world.volume(json!({"backup_id": full})).await;
    // into one that is there
    let small = world.volume(json!({"size": 1})).await;
    let into = async |id: &str| world.post(&format!("/v3/backups/{step}/restore"), json!({"restore": {"volume_id": id}})).await.0;
    assert_eq!(into(&small).await, 400);
    assert_eq!(into(&new).await, 202);
    status_of(&world, &step, "available").await;
    world.status(&new, "available").await;
    assert_eq!(delete(&step).await, 202);
    world.until("it is gone", async |w| w.sim.backups() == [full.clone()]).await;
    world.until("nothing builds on it", async |w| w.get("/v3/backups").await["backups"].as_array().unwrap().len() == 1).await;
    assert_eq!(delete(&full).await, 202);
    world.until("all are gone", async |w| w.used("backups").await == 0).await;
    assert_eq!(world.used("backup_gigabytes").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_leave_and_return() {
    let world = world().await;
    let volume = world.volume(json!({"size": 1})).await;
    let snapshot = world.snapshot(&volume, json!({})).await;
    let id = back_up(&world, json!({"volume_id": volume, "snapshot_id": snapshot})).await;
    let admin = async |method: Method, path: &str, body: Option<Value>| world.ask("admin", method, path, body).await;
    assert_eq!(world.ask("member", Method::GET, &format!("/v3/backups/{id}/export_record"), None).await.0, 403);
    let (status, record) = admin(Method::GET, &format!("/v3/backups/{id}/export_record"), None).await;
    assert_eq!(status, 200);
    assert_eq!(admin(Method::POST, "/v3/backups/import_record", Some(record.clone())).await.0, 400, "it is there");
    let rename = json!({"backup": {"name": "n"}});
    assert_eq!(world.ask("member", Method::PUT, &format!("/v3/backups/{id}"), Some(rename)).await.1["backup"]["name"], "n");
    let reset = json!({"os-reset_status": {"status": "error"}});
    assert_eq!(admin(Method::POST, &format!("/v3/backups/{id}/action"), Some(reset)).await.0, 202);
    assert_eq!(admin(Method::POST, &format!("/v3/backups/{id}/action"), Some(json!({"os-force_delete": {}}))).await.0, 202);
    world.until("it is gone", async |w| w.used("backups").await == 0).await;
    let (status, body) = admin(Method::POST, "/v3/backups/import_record", Some(record)).await;
    assert_eq!((status, &body["itemNotFound"]["code"]), (404, &json!(404)), "a record alone brings no data back");
    let stranger = json!({"backup-record": {"backup_service": "other", "backup_url": "eA=="}});
    assert_eq!(admin(Method::POST, "/v3/backups/import_record", Some(stranger)).await.0, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_under_another_id_leads_to_the_same_data() {
    let world = world().await;
    let volume = world.volume(json!({"size": 1, "name": "v", "metadata": {"a": "1"}})).await;
    let id = back_up(&world, json!({"volume_id": volume})).await;
    let (_, record) = world.ask("admin", Method::GET, &format!("/v3/backups/{id}/export_record"), None).await;
    let record = &record["backup-record"];
    assert!(record["backup_service"].as_str().unwrap().starts_with("cinder.backup.drivers"));
    let mut text: Value = serde_json::from_slice(&decoded(record["backup_url"].as_str().unwrap())).unwrap();
    let new = kit::ids::uuid();
    text["id"] = json!(new);
    let url = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text.to_string());
    let import = json!({"backup-record": {"backup_service": record["backup_service"], "backup_url": url}});
    let (status, body) = world.ask("admin", Method::POST, "/v3/backups/import_record", Some(import)).await;
    assert_eq!((status, &body["backup"]["id"]), (201, &json!(new)), "{body}");
    // the data stays until the last of them goes
    assert_eq!(world.ask("member", Method::DELETE, &format!("/v3/backups/{id}"), None).await.0, 202);
    world.until("the first is gone", async |w| w.ask("member", Method::GET, &format!("/v3/backups/{id}"), None).await.0 == 404).await;
    assert_eq!(world.sim.backups(), std::slice::from_ref(&id));
    let (status, body) = world.ask("admin", Method::POST, &format!("/v3/backups/{new}/restore"), Some(json!({"restore": {}}))).await;
    assert_eq!(status, 202, "{body}");
    let restored = body["restore"]["volume_id"].as_str().unwrap().to_owned();
    world.status(&restored, "available").await;
    let (_, shown) = world.ask("admin", Method::GET, &format!("/v3/volumes/{restored}"), None).await;
    assert_eq!(shown["volume"]["metadata"], json!({"a": "1"}));
    assert_eq!(world.ask("admin", Method::DELETE, &format!("/v3/backups/{new}"), None).await.0, 202);
    world.until("the data is gone", async |w| w.sim.backups().is_empty()).await;
}

fn decoded(text: &str) -> Vec<u8> {
    base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_are_made_by_a_service_that_may_be_disabled() {
    let world = world().await;
    let (_, listed) = world.ask("admin", Method::GET, "/v3/os-services?binary=cinder-backup", None).await;
    assert_eq!((&listed["services"][0]["host"], &listed["services"][0]["state"]), (&json!("sim1"), &json!("up")), "{listed}");
    let disable = json!({"host": "sim1", "binary": "cinder-backup"});
    assert_eq!(world.ask("admin", Method::PUT, "/v3/os-services/disable", Some(disable)).await.0, 200);
    let volume = world.volume(json!({"size": 1})).await;
    let (status, body) = world.post("/v3/backups", json!({"backup": {"volume_id": volume}})).await;
    assert_eq!(status, 202, "{body}");
    let path = format!("/v3/backups/{}", body["backup"]["id"].as_str().unwrap());
    world.until("it fails", async |w| w.get(&path).await["backup"]["status"] == "error").await;
    assert_eq!(world.get(&path).await["backup"]["fail_reason"], "Service not found for creating backup.");
    world.status(&volume, "available").await;
}
