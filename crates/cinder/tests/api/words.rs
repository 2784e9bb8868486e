//! Refusals in cinder's own words, which scripts and people look for, and what is refused at all.

use http::Method;
use serde_json::{Value, json};

use crate::support::{NOVA_IMAGE, NOVA_SNAPSHOT, World, world};

/// What a refusal says, once it has the status it should have.
fn words(answer: (u16, Value), status: u16) -> String {
    assert_eq!(answer.0, status, "{}", answer.1);
    answer.1.as_object().and_then(|fault| fault.values().next()).and_then(|fault| fault["message"].as_str()).unwrap().to_owned()
}

async fn act(world: &World, who: &str, volume: &str, body: Value) -> (u16, Value) {
    world.ask(who, Method::POST, &format!("/v3/volumes/{volume}/action"), Some(body)).await
}

async fn attach(world: &World, volume: &str, server: &str) {
    let body = json!({"os-attach": {"instance_uuid": server, "mountpoint": "/dev/vdb"}});
    assert_eq!(act(world, "member", volume, body).await.0, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_in_the_wrong_state_says_what_it_needs() {
    let world = world().await;
    let id = world.volume(json!({"size": 1})).await;
    let path = format!("/v3/volumes/{id}");
    let said = words(act(&world, "member", &id, json!({"os-begin_detaching": {}})).await, 400);
    assert_eq!(
        said,
        "Invalid volume: Unable to detach volume. Volume status must be 'in-use' and attach_status must be 'attached' to detach."
    );
    assert_eq!(act(&world, "member", &id, json!({"os-roll_detaching": {}})).await.0, 202, "there is nothing to roll back");
    let said = words(act(&world, "member", &id, json!({"os-dance": {}})).await, 400);
    assert_eq!(said, "There is no such action: os-dance. Verify the request body and Content-Type header and try again.");
    for (status, why) in
        [("deleting", "Cannot reset-state to deleting"), ("in-use", "Cannot reset-state to in-use because volume does not")]
    {
        let said = words(act(&world, "admin", &id, json!({"os-reset_status": {"status": status}})).await, 400);
        assert!(said.starts_with(why), "{said}");
    }
    attach(&world, &id, "s").await;
    for body in [json!({"os-reserve": {}}), json!({"os-update_readonly_flag": {"readonly": true}})] {
        let said = words(act(&world, "member", &id, body).await, 400);
        assert!(said.contains("status must be available to ") && said.contains("in-use"), "{said}");
    }
    let (_, answer, _) =
        world.send("member", Method::POST, &format!("{path}/action"), "3.41", Some(json!({"os-extend": {"new_size": 2}}))).await;
    let said = words((400, answer), 400);
    assert_eq!(said, format!("Invalid volume: Volume {id} status must be 'available' to extend, currently in-use."));
    let said = words(world.post("/v3/snapshots", json!({"snapshot": {"volume_id": id}})).await, 400);
    assert_eq!(said, format!("Invalid volume: Volume {id} status must be available, but current status is: in-use."));
    let said = words(world.post("/v3/backups", json!({"backup": {"volume_id": id}})).await, 400);
    assert_eq!(said, "Invalid volume: Backing up an in-use volume must use the force flag.");
    // what a guest writes to does not go, whoever forces it
    let said = words(world.ask("member", Method::DELETE, &path, None).await, 400);
    assert!(said.starts_with("Invalid volume: Volume status must be available or error or error_restoring or error_extending"), "{said}");
    let said = words(act(&world, "admin", &id, json!({"os-force_delete": {}})).await, 400);
    assert!(said.starts_with("Invalid volume: Volume must not be migrating, attached, belong to a group, have snapshots"), "{said}");
    assert_eq!(act(&world, "admin", &id, json!({"os-reset_status": {"status": "Error"}})).await.0, 202);
    let said = words(world.post("/v3/attachments", json!({"attachment": {"volume_uuid": id}})).await, 400);
    assert!(said.contains("Volume attachments can not be created if the volume is in an error state."), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_compute_takes_a_volume_from_its_server() {
    let world = world().await;
    for (server, status) in [("server1", 409), ("gone", 202)] {
        let id = world.volume(json!({"size": 1})).await;
        let body = json!({"attachment": {"volume_uuid": id, "instance_uuid": server, "connector": {"host": "c1"}}});
        let (_, made) = world.post("/v3/attachments", body).await;
        let attachment = made["attachment"]["id"].as_str().unwrap();
        assert_eq!(world.post(&format!("/v3/attachments/{attachment}/action"), json!({"os-complete": {}})).await.0, 204);
        for who in ["member", "admin"] {
            let answer = act(&world, who, &id, json!({"os-terminate_connection": {"connector": {"host": "c1"}}})).await;
            assert_eq!(answer.0, status, "{}", answer.1);
        }
        let answer = act(&world, "admin", &id, json!({"os-force_detach": {"attachment_id": attachment}})).await;
        assert_eq!(answer.0, status, "{}", answer.1);
        if status == 409 {
            let said = words(act(&world, "member", &id, json!({"os-detach": {}})).await, 409);
            assert_eq!(said, "Detach volume from instance server1 using the Compute API");
            assert_eq!(world.sim.volumes()[&id].len(), 1, "the guest has it still");
        } else {
            world.status(&id, "available").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_may_be_in_use_and_says_how_large_its_copy_must_be() {
    let world = world().await;
    let id = world.volume(json!({"size": 2})).await;
    let snapshot = world.snapshot(&id, json!({})).await;
    attach(&world, &id, "s").await;
    world.volume(json!({"source_volid": id})).await;
    let create = async |fields: Value| world.post("/v3/volumes", json!({"volume": fields})).await;
    let said = words(create(json!({"source_volid": id, "size": 1})).await, 400);
    assert!(said.ends_with("smaller than original volume size  2GB. They must be >= original volume size."), "{said}");
    let said = words(create(json!({"snapshot_id": snapshot, "size": 1})).await, 400);
    assert!(said.ends_with("smaller than the snapshot size 2GB. They must be >= original snapshot size."), "{said}");
    let said = words(create(json!({"imageRef": crate::support::IMAGE, "size": 1})).await, 400);
    assert_eq!(said, "Invalid input received: Volume size 1GB cannot be smaller than the image minDisk size 2GB.");
    world.volume(json!({"imageRef": format!("http://cloud/images/{}", crate::support::IMAGE), "size": 2})).await;
    let said = words(create(json!({"imageRef": "nameless", "size": 2})).await, 400);
    assert_eq!(said, "Invalid image identifier or unable to access requested image.");
    // an image of a server on a volume is the volume's snapshot, to who knows that
    let of_server = json!({"volume": {"imageRef": NOVA_IMAGE, "size": 2}});
    let (status, body, _) = world.send("member", Method::POST, "/v3/volumes", "3.46", Some(of_server.clone())).await;
    let said = words((status, body), 404);
    assert_eq!(said, format!("Nova specific image is found, but boot volume snapshot id:{NOVA_SNAPSHOT} not found."));
    assert_eq!(world.send("member", Method::POST, "/v3/volumes", "3.45", Some(of_server)).await.0, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_says_how_large_and_where_its_volumes_are() {
    let world = world().await;
    let specs = json!({"provisioning:min_vol_size": "2", "provisioning:max_vol_size": "3"});
    for (name, specs) in [("sized", specs), ("far", json!({"RESKEY:availability_zones": "mars, venus"}))] {
        let new = json!({"volume_type": {"name": name, "extra_specs": specs}});
        assert_eq!(world.ask("admin", Method::POST, "/v3/types", Some(new)).await.0, 200);
    }
    let create = async |size: i64, kind: &str| world.post("/v3/volumes", json!({"volume": {"size": size, "volume_type": kind}})).await;
    assert!(words(create(1, "sized").await, 400).contains("less than the minimum required size of '2' for volume type 'sized'."));
    assert!(words(create(4, "sized").await, 400).contains("greater than the maximum allowable size of '3'"));
    assert_eq!(words(create(1, "far").await, 400), "Volume type is only supported in these availability zones: mars, venus");
    assert_eq!(words(create(1, "none").await, 404), "Volume type with name none could not be found.");
    let id = world.volume(json!({"size": 2, "volume_type": "sized"})).await;
    assert_eq!(act(&world, "member", &id, json!({"os-extend": {"new_size": 4}})).await.0, 400);
    let kind = world.get("/v3/types?name=sized").await["volume_types"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/v3/types/{kind}/extra_specs");
    let more = Some(json!({"extra_specs": {"a": "b"}}));
    assert_eq!(words(world.ask("admin", Method::POST, &path, more).await, 400), "Volume Type is currently in use.");
    let gone = world.ask("admin", Method::DELETE, &format!("{path}/provisioning:min_vol_size"), None).await;
    assert_eq!(words(gone, 400), "Volume Type is currently in use.");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_filtered_as_strictly_as_the_version_says() {
    let world = world().await;
    let id = world.volume(json!({"size": 1})).await;
    world.snapshot(&id, json!({})).await;
    let found = async |path: &str, version: &str| {
        let (status, body, _) = world.send("member", Method::GET, path, version, None).await;
        (status, body.as_object().and_then(|body| body.values().next()).and_then(Value::as_array).map_or(0, Vec::len))
    };
    assert_eq!(found("/v3/volumes?bootable=maybe", "3.1").await, (200, 0));
    assert_eq!(found("/v3/volumes?bootable=False", "3.1").await, (200, 1));
    let (status, body, _) = world.send("member", Method::GET, "/v3/volumes?bootable=maybe", "3.2", None).await;
    assert_eq!(words((status, body), 400), "Invalid input received: 'bootable = maybe'");
    for (zone, count) in [("nova", 1), ("mars", 0)] {
        assert_eq!(found(&format!("/v3/snapshots?availability_zone={zone}"), "3.0").await, (200, count));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_is_completed_by_nobody_else() {
    let world = world().await;
    let (old, new) = (world.volume(json!({"size": 1})).await, world.volume(json!({"size": 1})).await);
    let complete = json!({"os-migrate_volume_completion": {"new_volume": new}});
    assert_eq!(act(&world, "member", &old, complete.clone()).await.0, 403);
    assert_eq!(act(&world, "admin", &old, complete.clone()).await, (200, json!({"save_volume_id": new})));
    assert_eq!(act(&world, "admin", &new, json!({"os-reset_status": {"migration_status": "migrating"}})).await.0, 202);
    assert_eq!(words(act(&world, "admin", &old, complete).await, 400), "Invalid volume: Source volume not mid-migration.");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_that_a_path_does_not_have_is_not_found() {
    let world = world().await;
    for (method, path) in [(Method::DELETE, "/v3/volumes"), (Method::PATCH, "/v3/types"), (Method::PUT, "/v3/limits")] {
        let (status, body) = world.ask("member", method, path, None).await;
        assert_eq!((status, &body["itemNotFound"]["message"]), (404, &json!("The resource could not be found.")), "{path}");
    }
}
