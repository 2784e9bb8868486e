//! Servers that move: resize and cold migration, confirmed or reverted, failed or interrupted at each step, deleted on the way; evacuation.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::FutureExt;
use kit::flow::{Probe, ProbeFn};
use rpc::conductor::{ReportHost, TOPIC};
use serde_json::{Value, json};
use support::{ADMIN, Behaviour, Cloud, MEMBER, happened, once};

const HOSTS: &[(&str, Behaviour)] = &[("h1", Behaviour::Run), ("h2", Behaviour::Run)];

async fn resize(cloud: &Cloud, id: &str) {
    let answer = cloud.act(MEMBER, "", id, json!({"resize": {"flavorRef": "1"}})).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
}

/// Memory that placement counts for each consumer.
fn claimed(cloud: &Cloud) -> Vec<i64> {
    let state = cloud.neighbours.0.lock().unwrap();
    let mut claimed: Vec<i64> = state.allocations.values().map(|(_, resources, _)| resources["MEMORY_MB"].as_i64().unwrap()).collect();
    claimed.sort_unstable();
    claimed
}

async fn used(cloud: &Cloud) -> Value {
    cloud.get("/v2.1/limits").await.body["limits"]["absolute"]["totalRAMUsed"].clone()
}

#[tokio::test]
async fn a_resize_is_confirmed_or_reverted() {
    let cloud = Cloud::start(HOSTS).await;
    let id = cloud.active(MEMBER).await;
    resize(&cloud, &id).await;
    let shown = cloud.settled(&id, "VERIFY_RESIZE").await;
    assert_eq!(shown["flavor"]["original_name"], "m1.tiny");
    assert_eq!((claimed(&cloud), used(&cloud).await), (vec![128, 512], json!(512)));
    assert_eq!(cloud.act(MEMBER, "", &id, json!({"revertResize": null})).await.status, 202);
    let shown = cloud.settled(&id, "ACTIVE").await;
    assert_eq!(shown["flavor"]["original_name"], "m1.nano");
    assert_eq!((claimed(&cloud), used(&cloud).await), (vec![128], json!(128)));
    assert_eq!(cloud.guests.lock().unwrap().len(), 1);
    resize(&cloud, &id).await;
    cloud.settled(&id, "VERIFY_RESIZE").await;
    assert_eq!(cloud.act(MEMBER, "", &id, json!({"confirmResize": null})).await.status, 204);
    cloud.settled(&id, "ACTIVE").await;
    assert_eq!((claimed(&cloud), used(&cloud).await), (vec![512], json!(512)));
    assert_eq!(cloud.act(ADMIN, "", &id, json!({"migrate": null})).await.status, 202);
    let shown = cloud.settled(&id, "VERIFY_RESIZE").await;
    assert_eq!(shown["flavor"]["original_name"], "m1.tiny");
    cloud.act(ADMIN, "", &id, json!({"confirmResize": null})).await;
    cloud.settled(&id, "ACTIVE").await;
    assert_eq!(claimed(&cloud), vec![512]);
}

#[tokio::test]
async fn of_two_resizes_at_once_one_wins() {
    let cloud = Cloud::start(HOSTS).await;
    let id = cloud.active(MEMBER).await;
    let asked = ["1", "2", "1", "2", "1", "2"].map(|flavor| cloud.act(MEMBER, "", &id, json!({"resize": {"flavorRef": flavor}})).boxed());
    let answers = futures::future::join_all(asked).await;
    let mut statuses: Vec<u16> = answers.iter().map(|a| a.status.as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [202, 409, 409, 409, 409, 409]);
    cloud.settled(&id, "VERIFY_RESIZE").await;
    assert_eq!(claimed(&cloud).len(), 2);
}

#[tokio::test]
async fn a_resize_beyond_the_quota_changes_nothing() {
    let cloud = Cloud::start(HOSTS).await;
    let id = cloud.active(MEMBER).await;
    let quota = json!({"quota_set": {"ram": 256}});
    assert_eq!(cloud.ask(ADMIN, "", "PUT", "/v2.1/os-quota-sets/p", quota).await.status, 200);
    let answer = cloud.act(MEMBER, "", &id, json!({"resize": {"flavorRef": "1"}})).await;
    assert_eq!(answer.status, 403, "{}", answer.body);
    assert_eq!(answer.message(), "Quota exceeded for ram: Requested 384, but already used 128 of 256 ram");
    assert_eq!(used(&cloud).await, json!(128));
    cloud.settled(&id, "ACTIVE").await;
}

#[tokio::test]
async fn a_resize_that_fails_after_any_step_leaves_the_server_as_it_was() {
    for step in ["hold", "choose", "prepare", "leave", "switch", "arrive", "finish"] {
        let cloud = Cloud::with_probe(HOSTS, once("resize", step, Probe::Fail).0).await;
        let id = cloud.active(MEMBER).await;
        let host = cloud.get(&format!("/v2.1/servers/{id}")).await.body["server"]["OS-EXT-SRV-ATTR:host"].clone();
        resize(&cloud, &id).await;
        let mut ended = Value::Null;
        for _ in 0..400 {
            let actions = cloud.get(&format!("/v2.1/servers/{id}/os-instance-actions")).await;
            ended = actions.body["instanceActions"][0]["message"].clone();
            if ended == "Error" {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
        assert_eq!(ended, "Error", "after {step}");
        let shown = cloud.settled(&id, "ACTIVE").await;
        assert_eq!((&shown["OS-EXT-SRV-ATTR:host"], &shown["flavor"]["original_name"]), (&host, &json!("m1.nano")), "after {step}");
        assert_eq!((claimed(&cloud), used(&cloud).await), (vec![128], json!(128)), "after {step}");
        assert_eq!(cloud.guests.lock().unwrap().len(), 1, "after {step}");
    }
}

#[tokio::test]
async fn a_resize_that_dies_after_any_step_goes_on() {
    for step in ["hold", "choose", "prepare", "leave", "switch", "arrive", "finish"] {
        let (probe, died) = once("resize", step, Probe::Crash);
        let cloud = Cloud::with_probe(HOSTS, probe).await;
        let id = cloud.active(MEMBER).await;
        resize(&cloud, &id).await;
        happened(&died).await;
        let cloud = cloud.restart().await;
        cloud.settled(&id, "VERIFY_RESIZE").await;
        assert_eq!(claimed(&cloud), vec![128, 512], "after {step}");
        assert_eq!(cloud.guests.lock().unwrap().len(), 1, "after {step}");
    }
}

#[tokio::test]
async fn a_server_can_be_deleted_at_any_moment_of_a_resize() {
    for step in ["hold", "choose", "prepare", "leave", "switch", "arrive", "finish"] {
        let hit = Arc::new(AtomicBool::new(false));
        let seen = hit.clone();
        let probe: ProbeFn = Arc::new(move |kind, at| {
            if kind == "resize" && at == step && !seen.swap(true, Ordering::SeqCst) {
                // the deletion comes now
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
            Probe::Go
        });
        let cloud = Cloud::with_probe(HOSTS, probe).await;
        let id = cloud.active(MEMBER).await;
        resize(&cloud, &id).await;
        while !hit.load(Ordering::SeqCst) {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        assert_eq!(cloud.ask(MEMBER, "", "DELETE", &format!("/v2.1/servers/{id}"), Value::Null).await.status, 204);
        cloud.wait(&id, "GONE").await;
        assert_eq!(cloud.left(), Vec::<String>::new(), "after {step}");
        assert_eq!(used(&cloud).await, json!(0), "after {step}");
    }
}

#[tokio::test]
async fn a_server_of_a_lost_host_is_made_anew_elsewhere() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let id = cloud.active(MEMBER).await;
    cloud.host("h2", Behaviour::Run).await;
    let services = cloud.get("/v2.1/os-services").await.body["services"].clone();
    let lost = services.as_array().unwrap().iter().find(|s| s["host"] == "h1" && s["binary"] == "nova-compute").unwrap()["id"].clone();
    let down =
        cloud.ask(ADMIN, "2.79", "PUT", &format!("/v2.1/os-services/{}", lost.as_str().unwrap()), json!({"forced_down": true})).await;
    assert_eq!(down.status, 200, "{}", down.body);
    let answer = cloud.act(ADMIN, "2.79", &id, json!({"evacuate": {"host": "h1"}})).await;
    assert_eq!(answer.status, 400);
    let answer = cloud.act(ADMIN, "2.79", &id, json!({"evacuate": {}})).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    for _ in 0..200 {
        let shown = cloud.get(&format!("/v2.1/servers/{id}")).await.body["server"].clone();
        if shown["OS-EXT-SRV-ATTR:host"] == "h2" && shown["OS-EXT-STS:task_state"].is_null() {
            assert_eq!(shown["status"], "ACTIVE");
            assert_eq!(claimed(&cloud), vec![128]);
            return a_host_that_was_cut_off_hears_what_it_lost(&cloud, &id).await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("the server stayed");
}

/// Of `id`, which was made anew on h2; of nothing else that h1 may run.
async fn a_host_that_was_cut_off_hears_what_it_lost(cloud: &Cloud, id: &str) {
    let (stays, unknown) = (cloud.active(MEMBER).await, kit::ids::uuid());
    let reports = async |host: &str| {
        let instances = Some([id, &stays, &unknown].map(|id| (id.to_owned(), 1)).to_vec());
        let report = ReportHost { host: host.to_owned(), inventory: None, instances };
        cloud.bus.call(TOPIC, report, std::time::Duration::from_secs(10)).await.unwrap().evacuated
    };
    assert_eq!(reports("h1").await, [id]);
    assert_eq!(reports("h1").await, [id], "until it is ended");
    assert_eq!(reports("h2").await, Vec::<String>::new());
    // once it is on its way back, it is there by right
    cloud.sql("INSERT INTO migrations SELECT number + 1, 'back', instance_id, project_id, user_id, 'live-migration', 'running', dest_host, dest_node, source_host, source_node, old_flavor, new_flavor, old_vm_state, progress, created_at, updated_at FROM migrations").await;
    assert_eq!(reports("h1").await, Vec::<String>::new());
}
