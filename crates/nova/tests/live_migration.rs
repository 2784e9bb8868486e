//! Servers that move while they run: done, aborted, hurried, failed or interrupted at each step.
#![allow(clippy::unwrap_used)]

mod support;

use kit::flow::Probe;
use serde_json::{Value, json};
use support::{ADMIN, Behaviour, Cloud, MEMBER, NOWHERE, happened, once};

const HOSTS: &[(&str, Behaviour)] = &[("h1", Behaviour::Run), ("h2", Behaviour::Run)];
const MANAGER: &str = "p:manager";
const STEPS: [&str; 7] = ["hold", "choose", "prepare", "migrate", "switch", "arrive", "finish"];

fn host(shown: &Value) -> String {
    shown["OS-EXT-SRV-ATTR:host"].as_str().unwrap_or_default().to_owned()
}

async fn begin(cloud: &Cloud, id: &str) {
    let body = json!({"os-migrateLive": {"host": null, "block_migration": "auto"}});
    let answer = cloud.act(ADMIN, "2.79", id, body).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
}

/// Memory that placement counts for each consumer.
fn claimed(cloud: &Cloud) -> Vec<i64> {
    let state = cloud.neighbours.0.lock().unwrap();
    state.allocations.values().map(|(_, resources, _)| resources["MEMORY_MB"].as_i64().unwrap()).collect()
}

async fn migration(cloud: &Cloud) -> Value {
    cloud.get("/v2.1/os-migrations").await.body["migrations"][0].clone()
}

/// A guest that stays on its way until somebody says something about it.
async fn on_its_way() -> (Cloud, String, String) {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let id = cloud.active(MEMBER).await;
    cloud.host("h2", Behaviour::Run).await;
    cloud.hosts.lock().unwrap().insert("h1".into(), Behaviour::Hang);
    begin(&cloud, &id).await;
    for _ in 0..2000 {
        let under_way = cloud.get(&format!("/v2.1/servers/{id}/migrations")).await.body["migrations"][0].clone();
        if under_way["status"] == "running" && under_way["memory_total_bytes"] == 128 {
            assert_eq!((&under_way["source_compute"], &under_way["dest_compute"]), (&json!("h1"), &json!("h2")));
            return (cloud, id.clone(), format!("/v2.1/servers/{id}/migrations/{}", under_way["id"]));
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("it never got on its way");
}

#[tokio::test]
async fn a_server_moves_while_it_runs() {
    let cloud = Cloud::start(HOSTS).await;
    let id = cloud.active(MEMBER).await;
    let from = host(&cloud.settled(&id, "ACTIVE").await);
    let to = if from == "h1" { "h2" } else { "h1" };
    let asked = |host: &str| json!({"os-migrateLive": {"host": host, "block_migration": false, "disk_over_commit": false}});
    assert_eq!(cloud.act(MEMBER, "", &id, asked(to)).await.status, 403);
    assert_eq!(cloud.act(ADMIN, "", &id, asked(&from)).await.status, 400);
    assert_eq!(cloud.act(ADMIN, "", &id, asked("nowhere")).await.status, 400);
    assert_eq!(cloud.act(ADMIN, "2.25", &id, asked(to)).await.status, 400);
    assert_eq!(cloud.act(ADMIN, "", &id, asked(to)).await.status, 202);
    for _ in 0..400 {
        if host(&cloud.get(&format!("/v2.1/servers/{id}")).await.body["server"]) == to {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let shown = cloud.settled(&id, "ACTIVE").await;
    assert_eq!((host(&shown).as_str(), claimed(&cloud)), (to, vec![128]));
    assert_eq!(*cloud.guests.lock().unwrap(), [(to.to_owned(), id.clone())]);
    let migration = migration(&cloud).await;
    assert_eq!((&migration["status"], &migration["migration_type"]), (&json!("completed"), &json!("live-migration")));
}

#[tokio::test]
async fn a_migration_can_be_aborted() {
    let (cloud, id, path) = on_its_way().await;
    assert_eq!(cloud.get(&format!("/v2.1/servers/{id}")).await.body["server"]["status"], "MIGRATING");
    assert_eq!(cloud.ask(ADMIN, "2.23", "DELETE", &path, Value::Null).await.status, 404);
    let answer = cloud.ask(ADMIN, "2.24", "DELETE", &path, Value::Null).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    let shown = cloud.settled(&id, "ACTIVE").await;
    assert_eq!((host(&shown).as_str(), claimed(&cloud)), ("h1", vec![128]));
    assert_eq!(migration(&cloud).await["status"], "cancelled");
    let answer = cloud.ask(ADMIN, "2.24", "DELETE", &path, Value::Null).await;
    assert_eq!(answer.status, 409, "{}", answer.body);
}

#[tokio::test]
async fn a_manager_sees_the_moves_of_the_project_and_not_where_they_go() {
    let (cloud, id, _) = on_its_way().await;
    let seen = async |path: &str| cloud.ask(MANAGER, "2.80", "GET", path, Value::Null).await;
    for path in [format!("/v2.1/servers/{id}/migrations"), "/v2.1/os-migrations?project_id=p".to_owned()] {
        let migration = seen(&path).await.body["migrations"][0].clone();
        assert_eq!((&migration["project_id"], &migration["status"]), (&json!("p"), &json!("running")), "{path}: {migration}");
        for host in ["source_compute", "source_node", "dest_compute", "dest_node", "dest_host"] {
            assert_eq!(migration.get(host), Some(&Value::Null), "{path}: {host}");
        }
    }
    for of_others in ["/v2.1/os-migrations", "/v2.1/os-migrations?project_id=q"] {
        assert_eq!(seen(of_others).await.status, 403, "{of_others}");
    }
}

#[tokio::test]
async fn a_migration_can_be_hurried() {
    let (cloud, id, path) = on_its_way().await;
    let other = format!("/v2.1/servers/{id}/migrations/{NOWHERE}");
    let answer = cloud.ask(ADMIN, "2.22", "POST", &format!("{other}/action"), json!({"force_complete": null})).await;
    assert_eq!((answer.status.as_u16(), answer.message()), (400, format!("Migration {NOWHERE} not found for instance {id}").as_str()));
    assert_eq!(cloud.ask(ADMIN, "2.24", "DELETE", &other, Value::Null).await.status, 404);
    let path = format!("{path}/action");
    assert_eq!(cloud.ask(ADMIN, "2.22", "POST", &path, json!({"force_complete": 1})).await.status, 400);
    let answer = cloud.ask(ADMIN, "2.22", "POST", &path, json!({"force_complete": null})).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    let shown = cloud.settled(&id, "ACTIVE").await;
    assert_eq!((host(&shown).as_str(), claimed(&cloud)), ("h2", vec![128]));
}

#[tokio::test]
async fn a_migration_that_fails_leaves_the_server_where_it_runs() {
    for step in STEPS {
        let (probe, failed) = once("live_migration", step, Probe::Fail);
        let cloud = Cloud::with_probe(HOSTS, probe).await;
        let id = cloud.active(MEMBER).await;
        let from = host(&cloud.settled(&id, "ACTIVE").await);
        begin(&cloud, &id).await;
        happened(&failed).await;
        // once it runs there, it does not go back
        let there = matches!(step, "migrate" | "switch" | "arrive" | "finish");
        for _ in 0..2000 {
            if migration(&cloud).await["status"] == if there { "completed" } else { "error" } {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let shown = cloud.settled(&id, "ACTIVE").await;
        assert_eq!((host(&shown) != from, claimed(&cloud)), (there, vec![128]), "after {step}");
        assert_eq!(*cloud.guests.lock().unwrap(), [(host(&shown), id)], "after {step}");
    }
}

#[tokio::test]
async fn a_migration_that_dies_after_any_step_goes_on() {
    for step in STEPS {
        let (probe, died) = once("live_migration", step, Probe::Crash);
        let cloud = Cloud::with_probe(HOSTS, probe).await;
        let id = cloud.active(MEMBER).await;
        let from = host(&cloud.settled(&id, "ACTIVE").await);
        begin(&cloud, &id).await;
        happened(&died).await;
        let cloud = cloud.restart().await;
        for _ in 0..2000 {
            if migration(&cloud).await["status"] == "completed" {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let shown = cloud.settled(&id, "ACTIVE").await;
        assert_ne!(host(&shown), from, "after {step}");
        assert_eq!((claimed(&cloud), cloud.guests.lock().unwrap().len()), (vec![128], 1), "after {step}");
    }
}
