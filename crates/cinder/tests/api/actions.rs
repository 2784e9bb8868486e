//! What can be made of a volume: an image, what it was, what an image holds, another type, nobody's.

use http::Method;
use serde_json::{Value, json};

use crate::support::{IMAGE, World, world};

async fn act(world: &World, who: &str, volume: &str, version: &str, body: Value) -> (u16, Value) {
    let (status, body, _) = world.send(who, Method::POST, &format!("/v3/volumes/{volume}/action"), version, Some(body)).await;
    (status, body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_becomes_an_image() {
    let world = world().await;
    let id = world.volume(json!({"size": 1})).await;
    let wish = json!({"os-volume_upload_image": {"image_name": "i", "disk_format": "qcow2", "visibility": "private"}});
    let (status, body) = act(&world, "member", &id, "3.1", wish).await;
    let told = &body["os-volume_upload_image"];
    assert_eq!(
        (status, &told["status"], &told["image_id"], &told["disk_format"]),
        (202, &json!("uploading"), &json!(IMAGE), &json!("qcow2"))
    );
    world.status(&id, "available").await;
    for bad in [
        json!({}),
        json!({"image_name": ""}),
        json!({"image_name": "i", "disk_format": "x"}),
        json!({"image_name": "i", "container_format": "ova"}),
    ] {
        assert_eq!(act(&world, "member", &id, "3.1", json!({"os-volume_upload_image": bad})).await.0, 400);
    }
    let public = json!({"os-volume_upload_image": {"image_name": "i", "visibility": "public"}});
    assert_eq!(act(&world, "member", &id, "3.1", public).await.0, 403);
    world.status(&id, "available").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_goes_back_to_its_latest_snapshot_only() {
    let world = world().await;
    let id = world.volume(json!({"size": 1})).await;
    let first = world.snapshot(&id, json!({})).await;
    let second = world.snapshot(&id, json!({})).await;
    let revert = async |snapshot: &str| act(&world, "member", &id, "3.40", json!({"revert": {"snapshot_id": snapshot}})).await.0;
    assert_eq!(act(&world, "member", &id, "3.39", json!({"revert": {"snapshot_id": second}})).await.0, 400);
    assert_eq!(revert(&first).await, 400);
    assert_eq!(revert("none").await, 400);
    let status = |status: &str| json!({"os-reset_status": {"status": status}});
    assert_eq!(act(&world, "admin", &id, "3.0", status("error")).await.0, 202);
    assert_eq!(revert(&second).await, 409, "it must be available");
    assert_eq!(act(&world, "admin", &id, "3.0", status("available")).await.0, 202);
    assert_eq!(revert(&second).await, 202);
    world.status(&id, "available").await;
    world.until("it is free", async |w| w.get(&format!("/v3/snapshots/{second}")).await["snapshot"]["status"] == "available").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_made_anew_from_an_image() {
    let world = world().await;
    let (small, id) = (world.volume(json!({"size": 1})).await, world.volume(json!({"size": 2})).await);
    let reimage = json!({"os-reimage": {"image_id": IMAGE}});
    assert_eq!(act(&world, "member", &id, "3.67", reimage.clone()).await.0, 400);
    assert_eq!(act(&world, "member", &small, "3.68", reimage.clone()).await.0, 400);
    assert_eq!(act(&world, "member", &id, "3.68", reimage).await.0, 202);
    world.status(&id, "available").await;
    assert_eq!(world.get(&format!("/v3/volumes/{id}")).await["volume"]["volume_image_metadata"]["image_name"], "tiny");
    let over = json!({"os-extend_volume_completion": {"error": false}});
    assert_eq!(act(&world, "admin", &id, "3.71", over.clone()).await.0, 400);
    assert_eq!(act(&world, "member", &id, "3.71", over).await.0, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_changes_its_type_with_its_quota() {
    let world = world().await;
    for name in ["one", "two"] {
        world.ask("admin", Method::POST, "/v3/types", Some(json!({"volume_type": {"name": name}}))).await;
    }
    let id = world.volume(json!({"size": 3, "volume_type": "one"})).await;
    let retype =
        async |name: &str| act(&world, "member", &id, "3.0", json!({"os-retype": {"new_type": name, "migration_policy": "never"}})).await.0;
    assert_eq!(retype("one").await, 400);
    assert_eq!(retype("none").await, 404);
    assert_eq!(retype("two").await, 202);
    assert_eq!(world.get(&format!("/v3/volumes/{id}")).await["volume"]["volume_type"], "two");
    assert_eq!((world.used("gigabytes_one").await, world.used("gigabytes_two").await, world.used("gigabytes").await), (0, 3, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_let_go_and_taken_over_again() {
    let world = world().await;
    let id = world.volume(json!({"size": 4})).await;
    assert_eq!(act(&world, "member", &id, "3.0", json!({"os-unmanage": {}})).await.0, 403);
    assert_eq!(act(&world, "admin", &id, "3.0", json!({"os-unmanage": {}})).await.0, 202);
    world.status(&id, "gone").await;
    assert_eq!((world.used("gigabytes").await, world.used("volumes").await), (0, 0));
    let (status, found) = world.ask("admin", Method::GET, "/v3/manageable_volumes/detail?host=sim1@sim%23sim", None).await;
    assert_eq!((status, &found["manageable-volumes"][0]["size"]), (200, &json!(4)));
    let name = found["manageable-volumes"][0]["reference"]["source-name"].clone();
    let new = |name: &Value| json!({"volume": {"host": "sim1@sim", "ref": {"source-name": name}, "name": "taken"}});
    assert_eq!(world.ask("member", Method::POST, "/v3/manageable_volumes", Some(new(&name))).await.0, 403);
    let (status, body) = world.ask("admin", Method::POST, "/v3/manageable_volumes", Some(new(&name))).await;
    assert_eq!((status, &body["volume"]["status"]), (202, &json!("creating")));
    let taken = body["volume"]["id"].as_str().unwrap();
    world.status(taken, "available").await;
    assert_eq!(world.ask("admin", Method::GET, &format!("/v3/volumes/{taken}"), None).await.1["volume"]["size"], 4);
    let (_, body) = world.ask("admin", Method::POST, "/v3/os-volume-manage", Some(new(&name))).await;
    world.status(body["volume"]["id"].as_str().unwrap(), "error").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_moves_to_another_host() {
    let world = world().await;
    let id = world.volume(json!({"size": 1})).await;
    let (_, shown) = world.ask("admin", Method::GET, &format!("/v3/volumes/{id}"), None).await;
    assert_eq!(shown["volume"]["os-vol-host-attr:host"], "sim1@sim#sim");
    let other = world.another_host("sim2@sim").await;
    let to = async |host: &str| act(&world, "admin", &id, "3.0", json!({"os-migrate_volume": {"host": host}})).await.0;
    assert_eq!(to("none").await, 400);
    assert_eq!(to("sim1@sim#sim").await, 400);
    assert_eq!(to("sim2@sim#sim").await, 202);
    world
        .until("it is there", async |w| {
            let (_, shown) = w.ask("admin", Method::GET, &format!("/v3/volumes/{id}"), None).await;
            shown["volume"]["os-vol-host-attr:host"] == "sim2@sim#sim" && shown["volume"]["migration_status"] == "success"
        })
        .await;
    world.until("nothing is left behind", async |w| w.sim.volumes().is_empty()).await;
    assert_eq!(other.volumes().len(), 1);
    assert_eq!(act(&world, "member", &id, "3.0", json!({"os-migrate_volume": {"host": "sim1@sim"}})).await.0, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_moves_when_its_new_type_asks_for_another_backend() {
    let world = world().await;
    let id = world.volume(json!({"size": 1})).await;
    world.another_host("sim1@fast").await;
    let fast = json!({"volume_type": {"name": "fast", "extra_specs": {"volume_backend_name": "fast"}}});
    assert_eq!(world.ask("admin", Method::POST, "/v3/types", Some(fast)).await.0, 200);
    let rare = json!({"volume_type": {"name": "rare", "extra_specs": {"volume_backend_name": "rare"}}});
    assert_eq!(world.ask("admin", Method::POST, "/v3/types", Some(rare)).await.0, 200);
    let retype = async |kind: &str, policy: &str| {
        act(&world, "member", &id, "3.0", json!({"os-retype": {"new_type": kind, "migration_policy": policy}})).await.0
    };
    assert_eq!(retype("fast", "never").await, 400);
    assert_eq!(retype("rare", "on-demand").await, 400);
    assert_eq!(retype("fast", "on-demand").await, 202);
    world
        .until("it is there", async |w| {
            let (_, shown) = w.ask("admin", Method::GET, &format!("/v3/volumes/{id}"), None).await;
            let volume = &shown["volume"];
            // clients wait for the type alone
            let moved = volume["volume_type"] == "fast";
            assert!(!moved || (volume["migration_status"] == "success" && volume["status"] == "available"), "{volume}");
            moved && volume["os-vol-host-attr:host"] == "sim1@fast#fast"
        })
        .await;
    assert_eq!((world.used("volumes_fast").await, world.used("volumes___DEFAULT__").await, world.used("volumes").await), (1, 0, 1));
    world.until("nothing is left behind", async |w| w.sim.volumes().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_what_an_administrator_says_it_is() {
    let world = world().await;
    let id = world.volume(json!({"size": 1})).await;
    let connector = json!({"attachment": {"volume_uuid": id, "instance_uuid": kit::ids::uuid(), "connector": {"host": "c1"}}});
    let (status, body) = world.post("/v3/attachments", connector).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(world.sim.volumes()[&id].len(), 1);
    let reset = async |fields: Value| act(&world, "admin", &id, "3.0", json!({"os-reset_status": fields})).await.0;
    for bad in [
        json!({}),
        json!({"status": "nonsense"}),
        json!({"status": 1}),
        json!({"migration_status": "nonsense"}),
        json!({"attach_status": "x"}),
    ] {
        assert_eq!(reset(bad.clone()).await, 400, "{bad}");
    }
    assert_eq!(act(&world, "member", &id, "3.0", json!({"os-reset_status": {"status": "error"}})).await.0, 403);
    assert_eq!(reset(json!({"migration_status": "migrating"})).await, 202);
    assert_eq!(reset(json!({"status": "available", "attach_status": "detached", "migration_status": "none"})).await, 202);
    let (_, shown) = world.ask("admin", Method::GET, &format!("/v3/volumes/{id}"), None).await;
    let shown = &shown["volume"];
    assert_eq!((&shown["status"], &shown["migration_status"], &shown["attachments"]), (&json!("available"), &json!(null), &json!([])));
    // what is detached is exported to nobody
    world.until("the export ends", async |world| world.sim.volumes()[&id].is_empty()).await;
    assert_eq!(world.get("/v3/attachments").await["attachments"], json!([]));
}
