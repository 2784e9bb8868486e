//! Volumes on their way to another host, or into another encryption.

use http::Method;
use serde_json::{Value, json};

use crate::support::{World, world};

/// As an administrator sees it.
async fn volume(world: &World, id: &str) -> Value {
    world.ask("admin", Method::GET, &format!("/v3/volumes/{id}"), None).await.1["volume"].clone()
}

async fn act(world: &World, who: &str, id: &str, body: Value) -> (u16, Value) {
    world.ask(who, Method::POST, &format!("/v3/volumes/{id}/action"), Some(body)).await
}

/// A server takes a volume, as compute does it; the attachment's id.
async fn attach(world: &World, volume: &str, server: &str) -> String {
    let body = json!({"attachment": {"volume_uuid": volume, "instance_uuid": server, "connector": {"host": "h"}}});
    let (status, made) = world.ask("nova", Method::POST, "/v3/attachments", Some(body)).await;
    assert_eq!(status, 200, "{made}");
    let id = made["attachment"]["id"].as_str().unwrap().to_owned();
    let done = json!({"os-complete": {}});
    assert_eq!(world.ask("nova", Method::POST, &format!("/v3/attachments/{id}/action"), Some(done)).await.0, 204);
    id
}

/// The volume made for the move of another, once it is there.
async fn target_of(world: &World, id: &str) -> String {
    let list = format!("/v3/volumes?all_tenants=1&migration_status=target:{id}");
    let mut found = String::new();
    world
        .until("a volume is made for the move", async |world| {
            let (_, all) = world.ask("admin", Method::GET, &list, None).await;
            found = all["volumes"][0]["id"].as_str().unwrap_or_default().to_owned();
            !found.is_empty() && volume(world, &found).await["status"] == "available"
        })
        .await;
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_in_use_is_moved_by_compute() {
    let world = world().await;
    let id = world.volume(json!({"size": 2})).await;
    let there = world.another_host("sim2@sim").await;
    let old = attach(&world, &id, "server1").await;
    let (status, said) = act(&world, "admin", &id, json!({"os-migrate_volume": {"host": "sim2@sim", "lock_volume": true}})).await;
    assert_eq!(status, 202, "{said}");
    let target = target_of(&world, &id).await;
    assert_eq!(volume(&world, &id).await["status"], "in-use", "maintenance is for what nobody uses");
    // only administrators see it, and nobody deletes it
    assert_eq!(world.get("/v3/volumes").await["volumes"].as_array().unwrap().len(), 1);
    assert_eq!(world.ask("admin", Method::DELETE, &format!("/v3/volumes/{target}"), None).await.0, 400);
    assert_eq!(world.used("volumes").await, 1);
    let (_, pools) = world.ask("admin", Method::GET, "/v3/scheduler-stats/get_pools?detail=true", None).await;
    let promised = pools["pools"].as_array().unwrap().iter().map(|pool| pool["capabilities"]["allocated_capacity_gb"].clone());
    assert_eq!(promised.collect::<Vec<_>>(), [json!(2), json!(2)], "its place is taken from the start");

    // what compute does
    assert_eq!(act(&world, "nova", &id, json!({"os-begin_detaching": {}})).await.0, 202);
    let new = attach(&world, &target, "server1").await;
    assert_eq!(world.ask("nova", Method::DELETE, &format!("/v3/attachments/{old}"), None).await.0, 200);
    let done = json!({"os-migrate_volume_completion": {"new_volume": target, "error": false}});
    assert_eq!(act(&world, "nova", &id, done).await, (200, json!({"save_volume_id": id})));
    let moved = volume(&world, &id).await;
    assert_eq!((&moved["status"], &moved["migration_status"]), (&json!("in-use"), &json!("success")));
    assert_eq!(moved["os-vol-host-attr:host"], "sim2@sim#sim");
    assert_eq!(moved["os-vol-mig-status-attr:name_id"], json!(target));
    assert_eq!((&moved["attachments"][0]["attachment_id"], &moved["attachments"][0]["server_id"]), (&json!(new), &json!("server1")));
    assert_eq!(world.ask("admin", Method::GET, &format!("/v3/volumes/{target}"), None).await.0, 404);
    world.until("nothing is left behind", async |world| world.sim.volumes().is_empty()).await;
    assert_eq!(there.volumes(), [(target.clone(), vec![new.clone()])].into());

    // the storage knows it by that id from now on
    assert_eq!(world.ask("nova", Method::DELETE, &format!("/v3/attachments/{new}"), None).await.0, 200);
    world.status(&id, "available").await;
    world.snapshot(&id, json!({})).await;
    let copy = world.volume(json!({"source_volid": id})).await;
    assert_eq!(world.ask("member", Method::DELETE, &format!("/v3/volumes/{id}?cascade=true"), None).await.0, 202);
    world.status(&id, "gone").await;
    assert_eq!(there.volumes().keys().collect::<Vec<_>>(), [&copy]);
    assert_eq!((world.used("volumes").await, world.used("gigabytes").await), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_compute_cannot_move_stays() {
    let world = world().await;
    let kind = json!({"volume_type": {"name": "elsewhere", "extra_specs": {"volume_backend_name": "fast"}}});
    assert_eq!(world.ask("admin", Method::POST, "/v3/types", Some(kind)).await.0, 200);
    let id = world.volume(json!({"size": 1})).await;
    let there = world.another_host("sim2@fast").await;
    let own = volume(&world, &id).await["volume_type"].clone();
    let old = attach(&world, &id, "server1").await;
    for change in [
        json!({"os-migrate_volume": {"host": "sim2@fast"}}),
        json!({"os-retype": {"new_type": "elsewhere", "migration_policy": "on-demand"}}),
    ] {
        let retyped = change.get("os-retype").is_some();
        assert_eq!(act(&world, if retyped { "member" } else { "admin" }, &id, change).await.0, 202);
        let target = target_of(&world, &id).await;
        let failed = json!({"os-migrate_volume_completion": {"new_volume": target, "error": true}});
        assert_eq!(act(&world, "nova", &id, failed).await, (200, json!({"save_volume_id": id})));
        world.until("it is over", async |w| w.ask("admin", Method::GET, &format!("/v3/volumes/{target}"), None).await.0 == 404).await;
        world.status(&id, "in-use").await;
        let stayed = volume(&world, &id).await;
        assert_eq!((&stayed["migration_status"], &stayed["volume_type"]), (&json!("error"), &own));
        assert_eq!(stayed["attachments"][0]["attachment_id"], json!(old));
        assert!(there.volumes().is_empty() && world.sim.volumes().len() == 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_that_is_encrypted_in_another_way_means_writing_anew() {
    let world = world().await;
    for (name, provider) in [("secret", Some("luks")), ("clear", None)] {
        let (_, kind) = world.ask("admin", Method::POST, "/v3/types", Some(json!({"volume_type": {"name": name}}))).await;
        let path = format!("/v3/types/{}/encryption", kind["volume_type"]["id"].as_str().unwrap());
        if let Some(provider) = provider {
            let wish = json!({"encryption": {"provider": provider, "key_size": 256, "control_location": "front-end"}});
            assert_eq!(world.ask("admin", Method::POST, &path, Some(wish)).await.0, 200);
        }
    }
    let id = world.volume(json!({"size": 1, "volume_type": "clear"})).await;
    let retype = |kind: &str, policy: &str| json!({"os-retype": {"new_type": kind, "migration_policy": policy}});
    assert_eq!(act(&world, "member", &id, retype("secret", "never")).await.0, 400);
    for (kind, encrypted) in [("secret", true), ("clear", false)] {
        assert_eq!(act(&world, "member", &id, retype(kind, "on-demand")).await.0, 202);
        world
            .until("it is of the new type", async |world| {
                let now = volume(world, &id).await;
                now["volume_type"] == kind && now["status"] == "available" && world.sim.volumes().len() == 1
            })
            .await;
        let now = volume(&world, &id).await;
        assert_eq!((&now["encrypted"], &now["os-vol-host-attr:host"]), (&json!(encrypted), &json!("sim1@sim#sim")));
        let patience = std::time::Duration::from_secs(10);
        let data = rpc::volume::FetchSecret { id: now["os-vol-mig-status-attr:name_id"].as_str().unwrap().to_owned() };
        assert_eq!(world.bus.call(rpc::volume::SERVER_TOPIC, data, patience).await.unwrap().is_some(), encrypted);
        assert_eq!((world.used(&format!("volumes_{kind}")).await, world.used("volumes").await), (1, 1));
    }
}
