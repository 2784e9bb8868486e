//! Flows that fail, and processes that die, after each step in turn: nothing is left over.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::Method;
use kit::flow::{Probe, ProbeFn};
use rpc::volume::{CreateVolume, DeleteVolume, VolumeSource, volume_topic};
use serde_json::json;
use support::{World, world, world_with};

/// Does `what` once, after one step of one kind of flow.
fn once(what: Probe, kind: &'static str, step: &'static str) -> Option<ProbeFn> {
    let done = AtomicBool::new(false);
    Some(Arc::new(move |at, name| {
        let now = at == kind && name == step && !done.swap(true, Ordering::SeqCst);
        if now { what } else { Probe::Go }
    }))
}

async fn delete(world: &World, id: &str) {
    assert_eq!(world.ask("member", Method::DELETE, &format!("/v3/volumes/{id}"), None).await.0, 202);
    world.status(id, "gone").await;
    assert!(world.sim.volumes().is_empty());
    assert_eq!((world.used("volumes").await, world.used("gigabytes").await), (0, 0));
}

async fn quiet(world: &World, id: &str) {
    world.until("the flow has ended", async |world| !world.app.flows().unwrap().busy(id).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_fails_leaves_an_error_and_no_storage() {
    for step in ["schedule", "build"] {
        let world = world_with(once(Probe::Fail, "create_volume", step)).await;
        let (_, body) = world.post("/v3/volumes", json!({"volume": {"size": 1}})).await;
        let id = body["volume"]["id"].as_str().unwrap();
        world.status(id, "error").await;
        quiet(&world, id).await;
        assert!(world.sim.volumes().is_empty(), "{step}");
        assert_eq!(world.used("volumes").await, 1, "it is there until deleted");
        delete(&world, id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_survives_a_crash_after_any_step() {
    for step in ["schedule", "build", "announce"] {
        let mut world = world_with(once(Probe::Crash, "create_volume", step)).await;
        let (_, body) = world.post("/v3/volumes", json!({"volume": {"size": 1}})).await;
        let id = body["volume"]["id"].as_str().unwrap().to_owned();
        // let the first process come to its end
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        world.restart().await;
        world.status(&id, "available").await;
        quiet(&world, &id).await;
        assert_eq!(world.sim.volumes().len(), 1, "{step}");
        delete(&world, &id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_fails_or_crashes_can_be_repeated() {
    let world = world_with(once(Probe::Fail, "delete_volume", "destroy")).await;
    let id = world.volume(json!({"size": 1})).await;
    world.ask("member", Method::DELETE, &format!("/v3/volumes/{id}"), None).await;
    world.status(&id, "error_deleting").await;
    quiet(&world, &id).await;
    let force = json!({"os-force_delete": {}});
    assert_eq!(world.ask("admin", Method::POST, &format!("/v3/volumes/{id}/action"), Some(force)).await.0, 202);
    world.status(&id, "gone").await;
    assert_eq!((world.used("volumes").await, world.used("gigabytes").await), (0, 0));

    for step in ["destroy", "forget"] {
        let mut world = world_with(once(Probe::Crash, "delete_volume", step)).await;
        let id = world.volume(json!({"size": 2})).await;
        world.ask("member", Method::DELETE, &format!("/v3/volumes/{id}"), None).await;
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        world.restart().await;
        world.status(&id, "gone").await;
        quiet(&world, &id).await;
        assert!(world.sim.volumes().is_empty());
        assert_eq!((world.used("volumes").await, world.used("gigabytes").await), (0, 0), "{step}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn growing_gives_its_quota_back_when_it_fails() {
    let grow = json!({"os-extend": {"new_size": 5}});
    let world = world_with(once(Probe::Fail, "extend_volume", "grow")).await;
    let id = world.volume(json!({"size": 1})).await;
    assert_eq!(world.post(&format!("/v3/volumes/{id}/action"), grow.clone()).await.0, 202);
    world.status(&id, "error_extending").await;
    quiet(&world, &id).await;
    assert_eq!(world.used("gigabytes").await, 1);
    delete(&world, &id).await;

    for step in ["grow", "announce", "tell"] {
        let mut world = world_with(once(Probe::Crash, "extend_volume", step)).await;
        let id = world.volume(json!({"size": 1})).await;
        assert_eq!(world.post(&format!("/v3/volumes/{id}/action"), grow.clone()).await.0, 202);
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        world.restart().await;
        world.status(&id, "available").await;
        quiet(&world, &id).await;
        assert_eq!((world.used("gigabytes").await, &world.get(&format!("/v3/volumes/{id}")).await["volume"]["size"]), (5, &json!(5)));
        delete(&world, &id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_messages_do_no_harm() {
    let world = world().await;
    let id = kit::ids::uuid();
    let create = CreateVolume { caller: rpc::Caller::default(), volume_id: id.clone(), size: 1, source: VolumeSource::Blank };
    let (topic, patience) = (volume_topic("sim1@sim"), std::time::Duration::from_secs(10));
    for _ in 0..2 {
        world.bus.call(&topic, create.clone(), patience).await.unwrap();
    }
    assert_eq!(world.sim.volumes().len(), 1);
    for _ in 0..2 {
        world.bus.call(&topic, DeleteVolume { volume_id: id.clone() }, patience).await.unwrap();
    }
    assert!(world.sim.volumes().is_empty());
}
