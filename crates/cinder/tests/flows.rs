//! Flows that fail, and processes that die, after each step in turn: nothing is left over.
#![allow(clippy::unwrap_used)]

mod flows_each;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::Method;
use kit::bus::Handlers;
use kit::flow::{Probe, ProbeFn};
use rpc::volume::{CreateVolume, DeleteVolume, Heartbeat, SERVER_TOPIC, VolumeSource, volume_topic};
use sea_orm::ConnectionTrait;
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
    told(&world, &id, "VOLUME_VOLUME_007_010").await;
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
async fn what_there_is_no_room_for_stays_as_it_was() {
    let world = world().await;
    let limits = json!({"quota_set": {"gigabytes": -1}});
    assert_eq!(world.ask("admin", Method::PUT, "/v3/os-quota-sets/p1", Some(limits)).await.0, 200);
    let id = world.volume(json!({"size": 1})).await;
    // a hundred thousand gigabytes may be promised twenty times
    assert_eq!(world.post(&format!("/v3/volumes/{id}/action"), json!({"os-extend": {"new_size": 2_000_001}})).await.0, 202);
    told(&world, &id, "VOLUME_VOLUME_007_003").await;
    world.status(&id, "available").await;
    quiet(&world, &id).await;
    assert_eq!((world.used("gigabytes").await, &world.get(&format!("/v3/volumes/{id}")).await["volume"]["size"]), (1, &json!(1)));
}

/// A host with more room than others, where nothing can be made; how often it was asked to.
async fn broken_host(world: &World, host: &str, error: fn() -> kit::Error) -> Arc<AtomicUsize> {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let handlers = Handlers::new().on(|_: DeleteVolume| async { Ok(()) }).on(move |_: CreateVolume| {
        count.fetch_add(1, Ordering::SeqCst);
        async move { Err(error()) }
    });
    world.bus.serve(&volume_topic(host), handlers, 4);
    let beat = Heartbeat { host: host.into(), total_capacity_gb: 1e6, free_capacity_gb: 1e6, ..Heartbeat::default() };
    world.bus.call(SERVER_TOPIC, beat, std::time::Duration::from_secs(10)).await.unwrap();
    asked
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_fails_is_left_for_another() {
    let world = world().await;
    let broken = broken_host(&world, "broken@sim", || kit::Error::internal("the disk is full")).await;
    let id = world.volume(json!({"size": 1})).await;
    assert_eq!((broken.load(Ordering::SeqCst), world.sim.volumes().len()), (1, 1));
    let (_, shown) = world.ask("admin", Method::GET, &format!("/v3/volumes/{id}"), None).await;
    assert_eq!(shown["volume"]["os-vol-host-attr:host"], "sim1@sim#sim");
    // three are asked, not four
    let more = [
        broken_host(&world, "b2@sim", || kit::Error::unavailable("no")).await,
        broken_host(&world, "b3@sim", || kit::Error::internal("no")).await,
    ];
    let (_, body) = world.post("/v3/volumes", json!({"volume": {"size": 1}})).await;
    world.status(body["volume"]["id"].as_str().unwrap(), "error").await;
    assert_eq!((broken.load(Ordering::SeqCst), more.map(|host| host.load(Ordering::SeqCst))), (2, [1, 1]));
    assert_eq!(world.sim.volumes().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_everywhere_is_not_tried_elsewhere() {
    let world = world().await;
    let picky = broken_host(&world, "picky@sim", || kit::Error::bad_request("that is no image")).await;
    let (_, body) = world.post("/v3/volumes", json!({"volume": {"size": 1}})).await;
    world.status(body["volume"]["id"].as_str().unwrap(), "error").await;
    assert_eq!((picky.load(Ordering::SeqCst), world.sim.volumes().len()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_stays_says_why() {
    let world = world_with(once(Probe::Fail, "delete_snapshot", "destroy")).await;
    let volume = world.volume(json!({"size": 1})).await;
    let snapshot = world.snapshot(&volume, json!({})).await;
    let path = format!("/v3/snapshots/{snapshot}");
    assert_eq!(world.ask("member", Method::DELETE, &path, None).await.0, 202);
    world.until("it stays", async |w| w.get(&path).await["snapshot"]["status"] == "error_deleting").await;
    told(&world, &snapshot, "VOLUME_VOLUME_SNAPSHOT_010_016").await;
}

/// Waits until the user is told of a resource, of what was done to it.
async fn told(world: &World, resource: &str, event: &str) {
    let list = format!("/v3/messages?resource_uuid={resource}");
    world
        .until("the user is told", async |world| {
            world.get(&list).await["messages"][0]["event_id"].as_str().is_some_and(|id| id.starts_with(event))
        })
        .await;
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

/// Waits until a backup has a status; `gone` is 404.
async fn backup_is(world: &World, id: &str, wanted: &str) {
    let path = format!("/v3/backups/{id}");
    world
        .until(&format!("{id} is {wanted}"), async |world| {
            let (status, body) = world.ask("member", Method::GET, &path, None).await;
            if wanted == "gone" { status == 404 } else { body["backup"]["status"] == json!(wanted) }
        })
        .await;
}

/// Asks for a backup; its id.
async fn back_up(world: &World, volume: &str) -> String {
    let (status, body) = world.post("/v3/backups", json!({"backup": {"volume_id": volume}})).await;
    assert_eq!(status, 202, "{body}");
    body["backup"]["id"].as_str().unwrap().to_owned()
}

/// Lets the process that crashed in the middle of a flow come to its end, and starts another.
async fn again(world: &mut World) {
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    world.restart().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_fails_says_why_and_one_that_crashes_is_made() {
    let world = world_with(once(Probe::Fail, "create_backup", "copy")).await;
    let volume = world.volume(json!({"size": 1})).await;
    let id = back_up(&world, &volume).await;
    backup_is(&world, &id, "error").await;
    world.status(&volume, "available").await;
    quiet(&world, &id).await;
    assert!(world.sim.backups().is_empty());
    assert!(world.get(&format!("/v3/backups/{id}")).await["backup"]["fail_reason"].is_string());
    assert_eq!(world.ask("member", Method::DELETE, &format!("/v3/backups/{id}"), None).await.0, 202);
    backup_is(&world, &id, "gone").await;
    assert_eq!(world.used("backups").await, 0);

    for step in ["copy", "announce"] {
        let mut world = world_with(once(Probe::Crash, "create_backup", step)).await;
        let volume = world.volume(json!({"size": 1})).await;
        let id = back_up(&world, &volume).await;
        again(&mut world).await;
        backup_is(&world, &id, "available").await;
        quiet(&world, &id).await;
        world.status(&volume, "available").await;
        assert_eq!(world.sim.backups(), [id], "{step}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restoration_fails_alone_and_survives_a_crash() {
    let world = world_with(once(Probe::Fail, "restore_backup", "fill")).await;
    let volume = world.volume(json!({"size": 1})).await;
    let id = back_up(&world, &volume).await;
    backup_is(&world, &id, "available").await;
    let into = json!({"restore": {"volume_id": volume}});
    assert_eq!(world.post(&format!("/v3/backups/{id}/restore"), into.clone()).await.0, 202);
    world.status(&volume, "error_restoring").await;
    backup_is(&world, &id, "available").await;

    for step in ["fill", "announce"] {
        let mut world = world_with(once(Probe::Crash, "restore_backup", step)).await;
        let volume = world.volume(json!({"size": 1})).await;
        let id = back_up(&world, &volume).await;
        backup_is(&world, &id, "available").await;
        for body in [json!({"restore": {"volume_id": volume}}), json!({"restore": {}})] {
            let (status, body) = world.post(&format!("/v3/backups/{id}/restore"), body).await;
            assert_eq!(status, 202, "{body}");
            again(&mut world).await;
            world.status(body["restore"]["volume_id"].as_str().unwrap(), "available").await;
            backup_is(&world, &id, "available").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_on_its_way_to_another_host_is_on_one_of_them() {
    let migrate = json!({"os-migrate_volume": {"host": "sim2@sim"}});
    for what in [Probe::Fail, Probe::Crash] {
        for step in ["prepare", "fill", "move_over", "leave"] {
            let mut world = world_with(once(what, "migrate_volume", step)).await;
            let id = world.volume(json!({"size": 1})).await;
            let other = world.another_host("sim2@sim").await;
            let (status, body) = world.ask("admin", Method::POST, &format!("/v3/volumes/{id}/action"), Some(migrate.clone())).await;
            assert_eq!(status, 202, "{body}");
            if matches!(what, Probe::Crash) {
                again(&mut world).await;
            }
            world
                .until("the migration is over", async |world| {
                    let (_, body) = world.ask("admin", Method::GET, &format!("/v3/volumes/{id}"), None).await;
                    let over = matches!(body["volume"]["migration_status"].as_str(), Some("success" | "error"));
                    over && body["volume"]["status"] == "available" && !world.app.flows().unwrap().busy(&id).await.unwrap()
                })
                .await;
            let (_, body) = world.ask("admin", Method::GET, &format!("/v3/volumes/{id}"), None).await;
            let here = body["volume"]["os-vol-host-attr:host"].as_str().unwrap().starts_with("sim1");
            assert_eq!((world.sim.volumes().len(), other.volumes().len()), (usize::from(here), usize::from(!here)), "{step}");
            assert_eq!((world.used("volumes").await, world.used("gigabytes").await), (1, 1));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_come_at_once_stay_within_the_quota_together() {
    let world = world().await;
    let limits = json!({"quota_set": {"volumes": 5, "gigabytes": 8, "backups": 2}});
    assert_eq!(world.ask("admin", Method::PUT, "/v3/os-quota-sets/p1", Some(limits)).await.0, 200);
    let create = || world.post("/v3/volumes", json!({"volume": {"size": 2}}));
    let answers = futures::future::join_all((0..20).map(|_| create())).await;
    let made: Vec<&str> = answers.iter().filter_map(|(_, body)| body["volume"]["id"].as_str()).collect();
    assert_eq!(made.len(), 4, "eight gigabytes are four volumes");
    assert!(answers.iter().all(|(status, _)| matches!(status, 202 | 413)));
    for id in &made {
        world.status(id, "available").await;
    }
    let grow = |id: &str| {
        let path = format!("/v3/volumes/{id}/action");
        let world = &world;
        async move { world.post(&path, json!({"os-extend": {"new_size": 3}})).await.0 }
    };
    assert!(futures::future::join_all(made.iter().map(|id| grow(id))).await.iter().all(|status| *status == 413));
    let answers = futures::future::join_all(made.iter().map(|id| world.post("/v3/backups", json!({"backup": {"volume_id": id}})))).await;
    assert_eq!(answers.iter().filter(|(status, _)| *status == 202).count(), 2);
    assert_eq!((world.used("volumes").await, world.used("gigabytes").await), (4, 8));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_works_on_comes_to_an_end() {
    let world = world().await;
    let change = async |sql: String| {
        world.app.db().write(move |tx| Box::pin(async move { Ok(tx.execute_unprepared(&sql).await.map(drop)?) })).await.unwrap();
    };
    let (moving, kept) = (world.volume(json!({"size": 1})).await, world.volume(json!({"size": 1})).await);
    let target = world.volume(json!({"size": 1})).await;
    let backup = back_up(&world, &kept).await;
    backup_is(&world, &backup, "available").await;
    for sql in [
        format!("UPDATE volumes SET migration_status = 'migrating', status = 'maintenance', updated_at = 1 WHERE id = '{moving}'"),
        format!("UPDATE volumes SET migration_status = 'target:{moving}', status = 'creating', updated_at = 1 WHERE id = '{target}'"),
        format!("UPDATE backups SET status = 'restoring', updated_at = 1 WHERE id = '{backup}'"),
        "INSERT INTO volume_groups (id, project_id, user_id, type_id, volume_types, availability_zone, status, created_at) \
         VALUES ('g', 'p1', 'u', 't', '[]', 'nova', 'deleting', 1)"
            .to_owned(),
        "INSERT INTO group_snapshots (id, group_id, project_id, user_id, type_id, status, created_at) \
         VALUES ('s', 'g', 'p1', 'u', 't', 'creating', 1)"
            .to_owned(),
    ] {
        change(sql).await;
    }
    cinder::reconcile::stuck(&world.app).await.unwrap();
    let (_, shown) = world.ask("admin", Method::GET, &format!("/v3/volumes/{moving}"), None).await;
    assert_eq!((&shown["volume"]["migration_status"], &shown["volume"]["status"]), (&json!("error"), &json!("available")));
    world.status(&target, "gone").await;
    assert_eq!(world.sim.volumes().len(), 2);
    backup_is(&world, &backup, "available").await;
    assert_eq!(world.get("/v3/groups/g").await["group"]["status"], "error_deleting");
    assert_eq!(world.get("/v3/group_snapshots/s").await["group_snapshot"]["status"], "error");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_restored_to_a_volume_of_another_host() {
    for (what, step) in [(Probe::Go, "fill"), (Probe::Crash, "fill"), (Probe::Fail, "fill")] {
        let mut world = world_with(once(what, "restore_backup", step)).await;
        let id = {
            let volume = world.volume(json!({"size": 1})).await;
            let id = back_up(&world, &volume).await;
            backup_is(&world, &id, "available").await;
            id
        };
        let there = world.another_host("sim2@far").await;
        let far = json!({"volume_type": {"name": "far", "extra_specs": {"volume_backend_name": "far"}}});
        assert_eq!(world.ask("admin", Method::POST, "/v3/types", Some(far)).await.0, 200);
        let other = world.volume(json!({"size": 2, "volume_type": "far"})).await;
        assert_eq!(there.volumes().len(), 1);
        let (status, body) = world.post(&format!("/v3/backups/{id}/restore"), json!({"restore": {"volume_id": other}})).await;
        assert_eq!(status, 202, "{body}");
        if matches!(what, Probe::Crash) {
            again(&mut world).await;
        }
        world.status(&other, if matches!(what, Probe::Fail) { "error_restoring" } else { "available" }).await;
        backup_is(&world, &id, "available").await;
        quiet(&world, &other).await;
        assert_eq!((world.sim.volumes().len(), there.volumes()), (1, [(other, Vec::new())].into()), "nothing is left on the way");
    }
}
