//! The boot flow and its end: hosts that refuse, flows that fail or die after each step, deletion at any moment; nothing is left over.
#![allow(clippy::unwrap_used)]

mod support;

use kit::flow::Probe;
use serde_json::{Value, json};
use support::{ADMIN, Behaviour, Cloud, MEMBER, VOLUME, happened, once, server};

#[tokio::test]
async fn a_server_becomes_active_and_goes_away() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let id = cloud.boot(MEMBER).await;
    let shown = cloud.wait(&id, "ACTIVE").await;
    assert_eq!((shown["OS-EXT-SRV-ATTR:host"].as_str(), shown["OS-EXT-STS:power_state"].as_i64()), (Some("h1"), Some(1)));
    assert_eq!(shown["flavor"]["original_name"], "m1.nano");
    let actions = cloud.get(&format!("/v2.1/servers/{id}/os-instance-actions")).await;
    let request = actions.body["instanceActions"][0]["request_id"].as_str().unwrap().to_owned();
    let timeline = cloud.get(&format!("/v2.1/servers/{id}/os-instance-actions/{request}/timeline")).await;
    let steps: Vec<&str> = timeline.body["timeline"]["steps"].as_array().unwrap().iter().map(|s| s["event"].as_str().unwrap()).collect();
    for step in ["api_check_token", "api_write_instance", "conductor_schedule", "scheduler_claim_host", "conductor_cast_build"] {
        assert!(steps.contains(&step), "{step} in {steps:?}");
    }
    assert_eq!(cloud.ask(MEMBER, "", "DELETE", &format!("/v2.1/servers/{id}"), Value::Null).await.status, 204);
    cloud.wait(&id, "GONE").await;
    assert_eq!(cloud.left(), Vec::<String>::new());
    assert_eq!(cloud.get("/v2.1/limits").await.body["limits"]["absolute"]["totalInstancesUsed"], 0);
}

#[tokio::test]
async fn a_host_that_refuses_leads_to_the_next() {
    let cloud = Cloud::start(&[("h1", Behaviour::Refuse), ("h2", Behaviour::Run)]).await;
    for _ in 0..4 {
        let id = cloud.boot(MEMBER).await;
        let shown = cloud.wait(&id, "ACTIVE").await;
        assert_eq!(shown["OS-EXT-SRV-ATTR:host"], "h2");
    }
    assert_eq!(cloud.neighbours.0.lock().unwrap().allocations.len(), 4);
}

#[tokio::test]
async fn when_nobody_is_left_the_fault_says_why() {
    let cloud = Cloud::start(&[("h1", Behaviour::Refuse), ("h2", Behaviour::Refuse)]).await;
    let id = cloud.boot(MEMBER).await;
    let shown = cloud.wait(&id, "ERROR").await;
    assert!(shown["fault"]["message"].as_str().unwrap().contains("no room"), "{}", shown["fault"]);
    assert_eq!(cloud.left(), Vec::<String>::new());

    let body = server(json!({"flavorRef": "5", "availability_zone": "nova:h1"}));
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let service = cloud.get("/v2.1/os-services").await.body["services"].clone();
    let compute = service.as_array().unwrap().iter().find(|s| s["binary"] == "nova-compute").unwrap()["id"].as_str().unwrap().to_owned();
    let disabled = cloud.ask(ADMIN, "2.79", "PUT", &format!("/v2.1/os-services/{compute}"), json!({"status": "disabled"})).await;
    assert_eq!(disabled.status, 200, "{}", disabled.body);
    let answer = cloud.ask(ADMIN, "", "POST", "/v2.1/servers", body).await;
    let id = answer.body["server"]["id"].as_str().unwrap();
    let words = cloud.wait(id, "ERROR").await["fault"]["message"].as_str().unwrap().to_owned();
    assert!(words.starts_with("No valid host was found.") && words.contains("ComputeFilter"), "{words}");
}

#[tokio::test]
async fn a_build_that_no_host_can_do_fails_at_once() {
    let cloud = Cloud::start(&[("h1", Behaviour::Fail), ("h2", Behaviour::Fail)]).await;
    let id = cloud.boot(MEMBER).await;
    assert_eq!(cloud.wait(&id, "ERROR").await["fault"]["message"], "the image is bad");
    assert_eq!(cloud.left(), Vec::<String>::new());
}

#[tokio::test]
async fn a_boot_that_fails_after_any_step_leaves_nothing() {
    for step in ["schedule", "build"] {
        let cloud = Cloud::with_probe(&[("h1", Behaviour::Run)], once("boot", step, Probe::Fail).0).await;
        let body = server(json!({"block_device_mapping_v2": [
            {"source_type": "volume", "destination_type": "volume", "uuid": VOLUME, "delete_on_termination": false},
        ]}));
        let answer = cloud.ask(MEMBER, "", "POST", "/v2.1/servers", body).await;
        let id = answer.body["server"]["id"].as_str().unwrap();
        cloud.neighbours.0.lock().unwrap().ports.insert("made".into(), id.into());
        cloud.wait(id, "ERROR").await;
        assert_eq!(cloud.left(), Vec::<String>::new(), "after {step}");
        cloud.ask(MEMBER, "", "DELETE", &format!("/v2.1/servers/{id}"), Value::Null).await;
        cloud.wait(id, "GONE").await;
    }
}

#[tokio::test]
async fn a_boot_that_dies_after_any_step_goes_on() {
    for step in ["schedule", "build"] {
        let (probe, died) = once("boot", step, Probe::Crash);
        let cloud = Cloud::with_probe(&[("h1", Behaviour::Run)], probe).await;
        let id = cloud.boot(MEMBER).await;
        happened(&died).await;
        let cloud = cloud.restart().await;
        cloud.wait(&id, "ACTIVE").await;
        assert_eq!(cloud.guests.lock().unwrap().len(), 1, "after {step}");
        assert_eq!(cloud.neighbours.0.lock().unwrap().allocations.len(), 1, "after {step}");
    }
}

#[tokio::test]
async fn a_deletion_that_dies_after_any_step_goes_on() {
    for step in ["wait_for_others", "end_guest", "release", "forget"] {
        let (probe, died) = once("delete", step, Probe::Crash);
        let cloud = Cloud::with_probe(&[("h1", Behaviour::Run)], probe).await;
        let id = cloud.boot(MEMBER).await;
        cloud.wait(&id, "ACTIVE").await;
        cloud.ask(MEMBER, "", "DELETE", &format!("/v2.1/servers/{id}"), Value::Null).await;
        happened(&died).await;
        let cloud = cloud.restart().await;
        cloud.wait(&id, "GONE").await;
        assert_eq!(cloud.left(), Vec::<String>::new(), "after {step}");
        assert_eq!(cloud.get("/v2.1/limits").await.body["limits"]["absolute"]["totalCoresUsed"], 0, "after {step}");
    }
}

#[tokio::test]
async fn a_server_can_be_deleted_while_it_boots() {
    let cloud = Cloud::start(&[("h1", Behaviour::Hang)]).await;
    for millis in [0, 20, 200] {
        let id = cloud.boot(MEMBER).await;
        tokio::time::sleep(std::time::Duration::from_millis(millis)).await;
        assert_eq!(cloud.ask(MEMBER, "", "DELETE", &format!("/v2.1/servers/{id}"), Value::Null).await.status, 204);
        cloud.wait(&id, "GONE").await;
        assert_eq!(cloud.left(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn twenty_at_once_get_the_ten_there_are() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let asks = (0..20).map(|_| cloud.ask(MEMBER, "", "POST", "/v2.1/servers", server(json!({}))));
    let answers = futures::future::join_all(asks).await;
    let accepted = answers.iter().filter(|a| a.status == 202).count();
    assert_eq!(accepted, 10);
    let refused = answers.iter().find(|a| a.status == 403).unwrap();
    assert_eq!(refused.message(), "Quota exceeded for instances: Requested 1, but already used 10 of 10 instances");
}

#[tokio::test]
async fn start_stop_and_lock() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let id = cloud.boot(MEMBER).await;
    cloud.wait(&id, "ACTIVE").await;
    let act = async |who: &str, body: Value| cloud.ask(who, "2.79", "POST", &format!("/v2.1/servers/{id}/action"), body).await;
    assert_eq!(act(MEMBER, json!({"os-start": null})).await.status, 409);
    assert_eq!(act(MEMBER, json!({"os-stop": null})).await.status, 202);
    cloud.wait(&id, "SHUTOFF").await;
    assert_eq!(act(MEMBER, json!({"lock": {"locked_reason": "mine"}})).await.status, 202);
    assert_eq!(cloud.wait(&id, "SHUTOFF").await["locked_reason"], "mine");
    let locked = act(MEMBER, json!({"os-start": null})).await;
    assert_eq!((locked.status.as_u16(), locked.message()), (409, format!("Instance {id} is locked").as_str()));
    assert_eq!(act(MEMBER, json!({"unlock": null})).await.status, 202);
    assert_eq!(act(MEMBER, json!({"reboot": {"type": "HARD"}})).await.status, 202);
    cloud.wait(&id, "ACTIVE").await;
    assert_eq!(act(MEMBER, json!({"fly": null})).await.message(), "There is no such action: fly");
    assert_eq!(act(MEMBER, json!({"os-resetState": {"state": "error"}})).await.status, 403);
}

#[tokio::test]
async fn a_volume_comes_and_goes() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let id = cloud.boot(MEMBER).await;
    cloud.wait(&id, "ACTIVE").await;
    let path = format!("/v2.1/servers/{id}/os-volume_attachments");
    let body = json!({"volumeAttachment": {"volumeId": VOLUME}});
    let attached = cloud.ask(MEMBER, "2.79", "POST", &path, body.clone()).await;
    assert_eq!(attached.body["volumeAttachment"]["device"], "/dev/vdb", "{}", attached.body);
    assert_eq!(cloud.ask(MEMBER, "2.79", "POST", &path, body).await.status, 400);
    assert_eq!(cloud.ask(MEMBER, "2.79", "DELETE", &format!("{path}/{VOLUME}"), Value::Null).await.status, 202);
    for _ in 0..100 {
        if cloud.get(&path).await.body["volumeAttachments"] == json!([]) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the volume was not forgotten");
}
