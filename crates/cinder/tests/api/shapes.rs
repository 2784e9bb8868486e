//! What answers say and leave unsaid, and where paths end: as unmodified clients check it.

use http::Method;
use serde_json::{Value, json};

use crate::support::world;

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_says_less_than_what_is_shown() {
    let world = world().await;
    let (_, made) = world.ask("admin", Method::POST, "/v3/volumes", Some(json!({"volume": {"size": 1}}))).await;
    let volume = made["volume"]["id"].as_str().unwrap().to_owned();
    world.status(&volume, "available").await;
    let path = format!("/v3/volumes/{volume}");
    let (_, changed) = world.ask("admin", Method::PUT, &path, Some(json!({"volume": {"name": "n"}}))).await;
    let (_, shown) = world.ask("admin", Method::GET, &path, None).await;
    for key in ["os-vol-tenant-attr:tenant_id", "os-vol-host-attr:host", "os-vol-mig-status-attr:migstat"] {
        assert!(made["volume"].get(key).is_none() && changed["volume"].get(key).is_none(), "{key}");
        assert!(shown["volume"].get(key).is_some(), "{key}");
    }
    let new = json!({"snapshot": {"volume_id": volume}});
    let (_, made) = world.ask("admin", Method::POST, "/v3/snapshots", Some(new)).await;
    let path = format!("/v3/snapshots/{}", made["snapshot"]["id"].as_str().unwrap());
    let (_, shown) = world.ask("admin", Method::GET, &path, None).await;
    let key = "os-extended-snapshot-attributes:progress";
    assert!(made["snapshot"].get(key).is_none() && shown["snapshot"].get(key).is_some());
    let (_, made) = world.ask("admin", Method::POST, "/v3/types", Some(json!({"volume_type": {"name": "t"}}))).await;
    assert!(made["volume_type"].get("qos_specs_id").is_none());
    let path = format!("/v3/types/{}", made["volume_type"]["id"].as_str().unwrap());
    let (_, changed) = world.ask("admin", Method::PUT, &path, Some(json!({"volume_type": {"name": "u"}}))).await;
    assert!(changed["volume_type"].get("os-volume-type-access:is_public").is_none());
    let wish = json!({"encryption": {"provider": "luks", "control_location": "front-end"}});
    let (_, made) = world.ask("admin", Method::POST, &format!("{path}/encryption"), Some(wish)).await;
    assert!(made["encryption"].get("created_at").is_none() && made["encryption"]["encryption_id"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_an_administrators_is_shown_to_administrators() {
    let world = world().await;
    let id = world.volume(json!({"size": 1, "metadata": {"a": "1"}})).await;
    let path = format!("/v3/p1/volumes/{id}");
    let (_, shown, headers) = world.send("member", Method::GET, &path, "3.71", None).await;
    assert!(shown["volume"].get("migration_status").is_none());
    assert_eq!(shown["volume"]["links"][1]["href"], format!("http://cloud:8776/p1/volumes/{id}"));
    assert_eq!(headers["x-compute-request-id"], headers["x-openstack-request-id"]);
    let (_, shown) = world.ask("admin", Method::GET, &format!("/v3/volumes/{id}"), None).await;
    assert_eq!(shown["volume"]["migration_status"], json!(null));
    let (_, made) = world.post("/v3/backups", json!({"backup": {"volume_id": id}})).await;
    let path = format!("/v3/backups/{}", made["backup"]["id"].as_str().unwrap());
    assert!(world.send("member", Method::GET, &path, "3.56", None).await.1["backup"].get("user_id").is_none());
    assert_eq!(world.send("admin", Method::GET, &path, "3.56", None).await.1["backup"]["user_id"], "u-member");
    world.status(&id, "available").await;
    // what cinder says among the user's pairs is not the user's
    let act = async |body: Value| world.post(&format!("/v3/volumes/{id}/action"), body).await.0;
    assert_eq!(act(json!({"os-update_readonly_flag": {"readonly": true}})).await, 202);
    let pairs = json!({"metadata": {"a": "2", "readonly": "no"}});
    assert_eq!(world.ask("member", Method::PUT, &format!("/v3/volumes/{id}/metadata"), Some(pairs.clone())).await, (200, pairs.clone()));
    assert_eq!(world.get(&format!("/v3/volumes/{id}/metadata")).await, pairs);
    assert_eq!(world.get(&format!("/v3/volumes/{id}")).await["volume"]["metadata"], json!({"a": "2", "readonly": "True"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_says_who_sees_what() {
    let world = world().await;
    let id = world.volume(json!({"size": 1})).await;
    let kind = json!({"volume_type": {"name": "many", "extra_specs": {"multiattach": "<is> True"}}});
    assert_eq!(world.ask("admin", Method::POST, "/v3/types", Some(kind)).await.0, 200);
    world.rules(
        "volume_extension:volume_host_attribute: role:member
volume_extension:volume_tenant_attribute: role:admin
volume_extension:extended_snapshot_attributes: role:admin
volume_extension:types_extra_specs:read_sensitive: role:admin
volume_extension:access_types_extra_specs: role:admin
volume:create_from_image: role:admin
volume:multiattach: role:admin
volume:extend_attached_volume: role:admin",
    );
    let volume = world.get(&format!("/v3/volumes/{id}")).await["volume"].clone();
    assert_eq!(volume["os-vol-host-attr:host"], "sim1@sim#sim");
    assert!(volume.get("os-vol-tenant-attr:tenant_id").is_none() && volume.get("os-vol-mig-status-attr:migstat").is_none());
    let snapshot = world.snapshot(&id, json!({})).await;
    let shown = world.get(&format!("/v3/snapshots/{snapshot}")).await;
    assert!(shown["snapshot"].get("os-extended-snapshot-attributes:progress").is_none());
    assert!(world.get("/v3/types/default").await["volume_type"].get("extra_specs").is_none());
    for fields in [json!({"size": 2, "imageRef": crate::support::IMAGE}), json!({"size": 1, "volume_type": "many"})] {
        assert_eq!(world.post("/v3/volumes", json!({"volume": fields})).await.0, 403);
    }
    let action = format!("/v3/volumes/{id}/action");
    assert_eq!(world.post(&action, json!({"os-retype": {"new_type": "many"}})).await.0, 403);
    assert_eq!(world.post(&action, json!({"os-attach": {"instance_uuid": "s", "mountpoint": "/dev/vdb"}})).await.0, 202);
    assert_eq!(world.post(&action, json!({"os-extend": {"new_size": 2}})).await.0, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_says_what_to_change() {
    let world = world().await;
    let id = world.volume(json!({"size": 1, "name": "n", "description": "d"})).await;
    let change = async |fields: Value, version: &str| {
        let (status, body, _) =
            world.send("member", Method::PUT, &format!("/v3/volumes/{id}"), version, Some(json!({"volume": fields}))).await;
        (status, body["volume"]["name"].clone())
    };
    assert_eq!(change(json!({}), "3.52").await, (200, json!("n")));
    assert_eq!(change(json!({}), "3.53").await.0, 400);
    assert_eq!(change(json!({"name": null}), "3.53").await, (200, json!(null)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_id_is_nothing() {
    let world = world().await;
    for (method, path) in [(Method::GET, "/v3/volumes/"), (Method::DELETE, "/v3/volumes/"), (Method::GET, "/v3/p1/volumes/")] {
        assert_eq!(world.ask("member", method, path, None).await.0, 404, "{path}");
    }
    assert_eq!(world.ask("member", Method::GET, "/v3/", None).await.0, 200);
    assert_eq!(world.post("/v3/snapshots", json!({"snapshot": {"volume_id": null}})).await.0, 404);
    assert_eq!(world.ask("member", Method::GET, "/v3/snapshots?marker=none", None).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_page_is_linked_to_the_next() {
    let world = world().await;
    for _ in 0..2 {
        world.volume(json!({"size": 1})).await;
    }
    let full = world.get("/v3/volumes?limit=2").await;
    assert!(full["volumes_links"][0]["href"].is_string());
    assert!(world.get("/v3/volumes?limit=3").await.get("volumes_links").is_none());
    assert!(world.get("/v3/volumes").await.get("volumes_links").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_take_their_type_from_what_they_are_made_from() {
    let world = world().await;
    let (_, body) = world.ask("admin", Method::POST, "/v3/types", Some(json!({"volume_type": {"name": "own"}}))).await;
    assert_eq!(body["volume_type"]["name"], "own");
    let volume = world.volume(json!({"size": 1, "volume_type": "own"})).await;
    let snapshot = world.snapshot(&volume, json!({})).await;
    for source in [json!({"source_volid": volume}), json!({"snapshot_id": snapshot})] {
        let copy = world.volume(source).await;
        assert_eq!(world.get(&format!("/v3/volumes/{copy}")).await["volume"]["volume_type"], "own");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn force_takes_what_is_in_the_middle_of_something() {
    let world = world().await;
    let volume = world.volume(json!({"size": 1})).await;
    let snapshot = world.snapshot(&volume, json!({})).await;
    let act = async |path: &str, body: Value| world.ask("admin", Method::POST, &format!("{path}/action"), Some(body)).await.0;
    let path = format!("/v3/snapshots/{snapshot}");
    assert_eq!(act(&path, json!({"os-reset_status": {"status": "creating"}})).await, 202);
    assert_eq!(act(&path, json!({"os-update_snapshot_status": {"status": "creating", "progress": "80%"}})).await, 202);
    assert_eq!(world.get(&path).await["snapshot"]["os-extended-snapshot-attributes:progress"], "80%");
    assert_eq!(act(&path, json!({"os-force_delete": {}})).await, 202);
    world.until("the snapshot is gone", async |w| w.ask("member", Method::GET, &path, None).await.0 == 404).await;
    let path = format!("/v3/volumes/{volume}");
    assert_eq!(act(&path, json!({"os-reset_status": {"status": "creating"}})).await, 202);
    assert_eq!(act(&path, json!({"os-force_delete": {}})).await, 202);
    world.status(&volume, "gone").await;
    // one in error is well again once it is detached by hand
    let volume = world.volume(json!({"size": 1})).await;
    let path = format!("/v3/volumes/{volume}");
    assert_eq!(act(&path, json!({"os-attach": {"instance_uuid": kit::ids::uuid(), "mountpoint": "/dev/vdb"}})).await, 202);
    assert_eq!(act(&path, json!({"os-reset_status": {"status": "error"}})).await, 202);
    assert_eq!(act(&path, json!({"os-force_detach": {"connector": null}})).await, 202);
    world.status(&volume, "available").await;
    // what is not attached stays what it is
    assert_eq!(act(&path, json!({"os-reset_status": {"status": "error"}})).await, 202);
    assert_eq!(act(&path, json!({"os-detach": {}})).await, 202);
    assert_eq!(world.get(&path).await["volume"]["status"], "error");
}
