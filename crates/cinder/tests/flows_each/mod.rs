//! Each flow that has no test of its own, failed and crashed after each of its steps: it comes to an end, nothing says that it is in the
//! middle of something, and all can be deleted and is then gone, with its quota.

use http::Method;
use kit::flow::{Flow, Probe};
use sea_orm::{ConnectionTrait, Statement};
use serde_json::{Value, json};

use crate::support::{IMAGE, World, world_with};
use crate::{again, back_up, backup_is, once};

/// States that a flow is in the middle of.
const BUSY: &[&str] = &[
    "creating",
    "deleting",
    "downloading",
    "extending",
    "uploading",
    "reverting",
    "retyping",
    "backing-up",
    "restoring",
    "restoring-backup",
    "managing",
    "unmanaging",
];

/// The kind of a flow, and the names of its steps.
fn steps_of<F: Flow>() -> (&'static str, Vec<&'static str>) {
    (F::KIND, F::steps().iter().map(|step| step.name).collect())
}

fn flows() -> Vec<(&'static str, Vec<&'static str>)> {
    use cinder::{backups, group_snapshots, groups, manageable, snapshots, volumes};
    vec![
        steps_of::<volumes::revert::RevertVolume>(),
        steps_of::<volumes::upload::UploadVolume>(),
        steps_of::<volumes::reimage::ReimageVolume>(),
        steps_of::<backups::flows::DeleteBackup>(),
        steps_of::<snapshots::flows::CreateSnapshot>(),
        steps_of::<snapshots::flows::DeleteSnapshot>(),
        steps_of::<manageable::flows::ManageVolume>(),
        steps_of::<manageable::flows::UnmanageVolume>(),
        steps_of::<manageable::snapshot_flows::ManageSnapshot>(),
        steps_of::<manageable::snapshot_flows::UnmanageSnapshot>(),
        steps_of::<groups::flows::MakeGroup>(),
        steps_of::<groups::flows::DeleteGroup>(),
        steps_of::<group_snapshots::flows::MakeGroupSnapshot>(),
        steps_of::<group_snapshots::flows::DeleteGroupSnapshot>(),
    ]
}

async fn ask(world: &World, method: Method, path: &str, body: Value) -> Value {
    let (status, answer, _) = world.send("admin", method, path, "3.68", Some(body).filter(|body| !body.is_null())).await;
    assert!((200..300).contains(&status), "{path}: {status} {answer}");
    answer
}

/// What a list has, of all projects.
async fn all(world: &World, path: &str, key: &str) -> Vec<Value> {
    let list = ask(world, Method::GET, &format!("{path}/detail?all_tenants=1"), Value::Null).await;
    list[key].as_array().unwrap().clone()
}

async fn settled(world: &World, path: &str, key: &str, id: &str) {
    world
        .until("it is made", async |world| all(world, path, key).await.iter().any(|it| it["id"] == id && it["status"] == "available"))
        .await;
}

/// A group with a volume, made in the project of the others.
async fn group(world: &World) -> String {
    let kind = json!({"group_type": {"name": "g", "group_specs": {"consistent_group_snapshot_enabled": "<is> True"}}});
    ask(world, Method::POST, "/v3/group_types", kind).await;
    let new = json!({"group": {"name": "g", "group_type": "g", "volume_types": ["__DEFAULT__"]}});
    let (_, made) = world.post("/v3/groups", new).await;
    let id = made["group"]["id"].as_str().unwrap().to_owned();
    settled(world, "/v3/groups", "groups", &id).await;
    world.volume(json!({"size": 1, "group_id": id})).await;
    id
}

async fn group_snapshot(world: &World) -> String {
    let new = json!({"group_snapshot": {"group_id": group(world).await, "name": "s"}});
    let (_, made) = world.post("/v3/group_snapshots", new).await;
    made["group_snapshot"]["id"].as_str().unwrap().to_owned()
}

/// Does what begins a flow of this kind.
async fn begin(world: &World, kind: &str) {
    let volume = async || world.volume(json!({"size": 2})).await;
    let act = async |path: String, body: Value| drop(ask(world, Method::POST, &format!("{path}/action"), body).await);
    match kind {
        "revert_volume" | "create_snapshot" | "delete_snapshot" | "unmanage_snapshot" | "manage_snapshot" => {
            let volume = volume().await;
            if kind == "create_snapshot" {
                ask(world, Method::POST, "/v3/snapshots", json!({"snapshot": {"volume_id": volume}})).await;
                return;
            }
            let snapshot = world.snapshot(&volume, json!({})).await;
            let path = format!("/v3/snapshots/{snapshot}");
            match kind {
                "revert_volume" => act(format!("/v3/volumes/{volume}"), json!({"revert": {"snapshot_id": snapshot}})).await,
                "delete_snapshot" => drop(ask(world, Method::DELETE, &path, Value::Null).await),
                _ => act(path, json!({"os-unmanage": {}})).await,
            }
            if kind == "manage_snapshot" {
                world.until("it is let go", async |world| all(world, "/v3/snapshots", "snapshots").await.is_empty()).await;
                let wish = json!({"snapshot": {"volume_id": volume, "ref": {"source-name": format!("_snapshot-{snapshot}")}}});
                ask(world, Method::POST, "/v3/manageable_snapshots", wish).await;
            }
        }
        "upload_volume" => act(format!("/v3/volumes/{}", volume().await), json!({"os-volume_upload_image": {"image_name": "i"}})).await,
        "reimage_volume" => act(format!("/v3/volumes/{}", volume().await), json!({"os-reimage": {"image_id": IMAGE}})).await,
        "delete_backup" => {
            let backup = back_up(world, &volume().await).await;
            backup_is(world, &backup, "available").await;
            ask(world, Method::DELETE, &format!("/v3/backups/{backup}"), Value::Null).await;
        }
        "unmanage_volume" | "manage_volume" => {
            let volume = volume().await;
            act(format!("/v3/volumes/{volume}"), json!({"os-unmanage": {}})).await;
            if kind == "manage_volume" {
                world.status(&volume, "gone").await;
                let wish = json!({"volume": {"host": "sim1@sim", "ref": {"source-name": format!("volume-{volume}")}}});
                ask(world, Method::POST, "/v3/manageable_volumes", wish).await;
            }
        }
        "make_group" => {
            let copy = json!({"create-from-src": {"source_group_id": group(world).await, "name": "c"}});
            let (status, answer) = world.post("/v3/groups/action", copy).await;
            assert_eq!(status, 202, "{answer}");
        }
        "delete_group" => act(format!("/v3/groups/{}", group(world).await), json!({"delete": {"delete-volumes": true}})).await,
        "make_group_snapshot" => drop(group_snapshot(world).await),
        "delete_group_snapshot" => {
            let id = group_snapshot(world).await;
            settled(world, "/v3/group_snapshots", "group_snapshots", &id).await;
            ask(world, Method::DELETE, &format!("/v3/group_snapshots/{id}"), Value::Null).await;
        }
        other => panic!("nobody knows how {other} begins"),
    }
}

async fn is_over(world: &World) {
    world
        .until("every flow has ended", async |world| {
            let db = world.app.db().read();
            let count = Statement::from_string(db.get_database_backend(), "SELECT COUNT(*) AS count FROM flows");
            db.query_one_raw(count).await.unwrap().unwrap().try_get::<i64>("", "count").unwrap() == 0
        })
        .await;
}

/// Deletes all there is; nothing of it stays.
async fn clean_up(world: &World, what: &str) {
    let resources = [
        ("/v3/group_snapshots", "group_snapshots", None),
        ("/v3/groups", "groups", Some(json!({"delete": {"delete-volumes": true}}))),
        ("/v3/backups", "backups", Some(json!({"os-force_delete": {}}))),
        ("/v3/snapshots", "snapshots", Some(json!({"os-force_delete": {}}))),
        ("/v3/volumes", "volumes", Some(json!({"os-force_delete": {}}))),
    ];
    for (path, key, action) in &resources {
        for it in all(world, path, key).await {
            assert!(!BUSY.contains(&it["status"].as_str().unwrap()), "{what}: {it}");
        }
        for it in all(world, path, key).await {
            let one = format!("{path}/{}", it["id"].as_str().unwrap());
            match action {
                Some(action) => ask(world, Method::POST, &format!("{one}/action"), action.clone()).await,
                None => ask(world, Method::DELETE, &one, Value::Null).await,
            };
        }
        world.until("all are gone", async |world| all(world, path, key).await.is_empty()).await;
    }
    is_over(world).await;
    assert!(world.sim.volumes().is_empty() && world.sim.backups().is_empty(), "{what}");
    for resource in ["volumes", "gigabytes", "snapshots", "backups", "backup_gigabytes", "groups"] {
        for project in ["p0", "p1"] {
            let usage = ask(world, Method::GET, &format!("/v3/os-quota-sets/{project}?usage=True"), Value::Null).await;
            assert_eq!(usage["quota_set"][resource]["in_use"], 0, "{what}: {resource}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_may_fail() {
    for (kind, steps) in flows() {
        for step in steps {
            let world = world_with(once(Probe::Fail, kind, step)).await;
            begin(&world, kind).await;
            is_over(&world).await;
            clean_up(&world, &format!("{kind} failed after {step}")).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_may_be_the_last_of_a_process() {
    for (kind, steps) in flows() {
        for step in steps {
            let mut world = world_with(once(Probe::Crash, kind, step)).await;
            begin(&world, kind).await;
            again(&mut world).await;
            is_over(&world).await;
            clean_up(&world, &format!("{kind} crashed after {step}")).await;
        }
    }
}
