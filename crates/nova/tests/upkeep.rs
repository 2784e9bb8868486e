//! What nova looks after by itself: stuck tasks, allocations that are missing or left over, drifted counts, dead hosts, guests that ended, and
//! deleted servers whose time has come.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use kit::ids;
use nova::Config;
use rpc::conductor::{ReportHost, TOPIC};
use serde_json::{Value, json};
use support::{ADMIN, Behaviour, Cloud, MEMBER, NETWORK, VOLUME, config};

async fn upkept(more: Config) -> Cloud {
    let config = Config { upkeep_interval: Duration::from_millis(100), stuck_after: Duration::from_secs(300), ..more };
    Cloud::start_with(&[("h1", Behaviour::Run)], config).await
}

async fn delete(cloud: &Cloud, id: &str) {
    assert_eq!(cloud.ask(MEMBER, "", "DELETE", &format!("/v2.1/servers/{id}"), Value::Null).await.status, 204);
    cloud.wait(id, "GONE").await;
}

#[tokio::test]
async fn tasks_that_nobody_works_on_end() {
    let cloud = upkept(config()).await;
    let (idle, build, going) = (cloud.active(MEMBER).await, cloud.active(MEMBER).await, cloud.active(MEMBER).await);
    cloud.sql(&format!("UPDATE instances SET task_state = 'powering-off', updated_at = 1 WHERE id = '{idle}'")).await;
    cloud.sql(&format!("UPDATE actions SET finished_at = NULL WHERE instance_id = '{build}'")).await;
    cloud.sql(&format!("UPDATE instances SET vm_state = 'building', task_state = 'spawning', updated_at = 1 WHERE id = '{build}'")).await;
    cloud.sql(&format!("UPDATE instances SET task_state = 'deleting', updated_at = 1 WHERE id = '{going}'")).await;
    cloud.settled(&idle, "ACTIVE").await;
    let fault = cloud.settled(&build, "ERROR").await["fault"]["message"].clone();
    assert_eq!(fault, "The build was interrupted and nobody took it up.");
    let actions = cloud.get(&format!("/v2.1/servers/{build}/os-instance-actions")).await;
    assert_eq!(actions.body["instanceActions"][0]["message"], "Error");
    cloud.wait(&going, "GONE").await;
}

#[tokio::test]
async fn what_was_to_be_attached_and_nobody_works_on_is_let_go() {
    let cloud = upkept(config()).await;
    let id = cloud.active(MEMBER).await;
    for (path, body) in [
        ("os-volume_attachments", json!({"volumeAttachment": {"volumeId": VOLUME}})),
        ("os-interface", json!({"interfaceAttachment": {"net_id": NETWORK}})),
    ] {
        assert_eq!(cloud.ask(MEMBER, "2.79", "POST", &format!("/v2.1/servers/{id}/{path}"), body).await.status, 200);
    }
    let (state, stray) = (cloud.neighbours.0.clone(), ids::uuid());
    let plugged = state.lock().unwrap().ports.keys().next().unwrap().clone();
    state.lock().unwrap().ports.insert(stray, id.clone());
    // as if a process had died before its host was asked
    cloud.sql(&format!("UPDATE block_devices SET connection_info = NULL WHERE volume_id = '{VOLUME}'")).await;
    cloud.sql("UPDATE actions SET finished_at = NULL, started_at = 1 WHERE action LIKE 'attach_%'").await;
    cloud.until("the volume is free", async || state.lock().unwrap().attachments.is_empty()).await;
    cloud.until("the port is free", async || state.lock().unwrap().ports.keys().eq([&plugged])).await;
    cloud.until("both actions ended", async || cloud.count("actions WHERE action LIKE 'attach_%' AND message = 'Error'").await == 2).await;
    let attached = cloud.ask(MEMBER, "2.79", "GET", &format!("/v2.1/servers/{id}/os-volume_attachments"), Value::Null).await;
    assert_eq!(attached.body, json!({"volumeAttachments": []}));
}

#[tokio::test]
async fn placement_and_the_servers_agree_again() {
    let cloud = upkept(config()).await;
    let (stays, goes) = (cloud.active(MEMBER).await, cloud.active(MEMBER).await);
    let state = cloud.neighbours.0.clone();
    let (lost, foreign) = (state.lock().unwrap().allocations.remove(&stays).unwrap(), ids::uuid());
    cloud.until("the server has its allocations again", async || state.lock().unwrap().allocations.contains_key(&stays)).await;
    assert_eq!(state.lock().unwrap().allocations[&stays].1, lost.1);

    delete(&cloud, &goes).await;
    for consumer in [&goes, &foreign] {
        state.lock().unwrap().allocations.insert(consumer.clone(), (lost.0.clone(), json!({"VCPU": 1}), 1));
    }
    cloud.until("what the deleted server had is given back", async || !state.lock().unwrap().allocations.contains_key(&goes)).await;
    let kept = state.lock().unwrap().allocations.clone();
    assert!(kept.contains_key(&foreign) && kept.contains_key(&stays), "{kept:?}");
}

#[tokio::test]
async fn a_count_that_drifted_is_put_right() {
    let cloud = upkept(config()).await;
    cloud.active(MEMBER).await;
    cloud.sql("UPDATE quota_usages SET instances = 7, cores = 70").await;
    cloud.until("the count is right", async || cloud.get("/v2.1/limits").await.body["limits"]["absolute"]["totalInstancesUsed"] == 1).await;
}

#[tokio::test]
async fn a_host_that_is_silent_is_down_after_the_time_that_was_set() {
    let cloud = upkept(Config { service_down_time: Duration::from_millis(500), ..config() }).await;
    let state = async || {
        let services = cloud.get("/v2.1/os-services?binary=nova-compute").await.body;
        services["services"][0]["state"].as_str().unwrap().to_owned()
    };
    cloud.until("the host is down", async || state().await == "down").await;
    cloud.host("h1", Behaviour::Run).await;
    assert_eq!(state().await, "up");
}

#[tokio::test]
async fn a_guest_that_ended_by_itself_is_stopped() {
    let cloud = upkept(config()).await;
    let id = cloud.active(MEMBER).await;
    cloud.sql(&format!("UPDATE instances SET updated_at = 1 WHERE id = '{id}'")).await;
    let hypervisors = cloud.get("/v2.1/os-hypervisors/detail").await.body;
    assert_eq!(hypervisors["hypervisors"][0]["state"], "up");
    let inventory = support::inventory("h1");
    let report = ReportHost { host: "h1".into(), inventory: Some(inventory), instances: Some(vec![(id.clone(), 4)]) };
    cloud.bus.call(TOPIC, report, Duration::from_secs(10)).await.unwrap();
    let shown = cloud.wait(&id, "SHUTOFF").await;
    assert_eq!(shown["OS-EXT-STS:power_state"], 4);
}

#[tokio::test]
async fn deleted_servers_are_archived_and_purged_by_themselves() {
    let archived = Config { archive_deleted_after: Some(Duration::ZERO), ..config() };
    for (config, left) in [(archived.clone(), 1), (Config { purge_archived_after: Some(Duration::ZERO), ..archived }, 0)] {
        let cloud = upkept(config).await;
        let (stays, goes) = (cloud.active(MEMBER).await, cloud.active(MEMBER).await);
        delete(&cloud, &goes).await;
        let path = format!("/v2.1/servers/{goes}/os-instance-actions");
        cloud.until("it is archived", async || cloud.ask(ADMIN, "2.21", "GET", &path, Value::Null).await.status == 404).await;
        cloud.until("it is kept, or gone for good", async || cloud.count("shadow_instances").await == left).await;
        cloud.wait(&stays, "ACTIVE").await;
    }
}
