//! Flows that begin with an action, failed and crashed after each of its steps: a server comes to rest as it was, as it was to be, or in
//! error; a crash is gone on from; and once it is deleted, nothing of it is left.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::{Arc, Mutex};

use kit::flow::{Probe, ProbeFn};
use serde_json::{Value, json};
use support::{ADMIN, Answer, Behaviour, Cloud, IMAGE, MEMBER, NETWORK, SHARED_VOLUME, VOLUME, happened, once};

const HOSTS: &[(&str, Behaviour)] = &[("h1", Behaviour::Run), ("h2", Behaviour::Run)];

/// What begins a flow: a method, the end of the server's path, a body.
type Act = (&'static str, String, Value);

fn action(body: Value) -> Act {
    ("POST", "/action".into(), body)
}

fn attach() -> Act {
    ("POST", "/os-volume_attachments".into(), json!({"volumeAttachment": {"volumeId": VOLUME}}))
}

fn plug() -> Act {
    ("POST", "/os-interface".into(), json!({"interfaceAttachment": {"net_id": NETWORK}}))
}

/// What comes before a flow, and what begins it.
async fn acts(cloud: &Cloud, id: &str, flow: &str) -> (Vec<Act>, Act) {
    let resize = || action(json!({"resize": {"flavorRef": "1"}}));
    match flow {
        "shelve" => (vec![], action(json!({"shelve": null}))),
        "unshelve" => (vec![action(json!({"shelve": null}))], action(json!({"unshelve": null}))),
        "snapshot" => (vec![], action(json!({"createImage": {"name": "i"}}))),
        "confirm_resize" => (vec![resize()], action(json!({"confirmResize": null}))),
        "revert_resize" => (vec![resize()], action(json!({"revertResize": null}))),
        "stop" => (vec![], action(json!({"os-stop": null}))),
        "rescue" => (vec![], action(json!({"rescue": null}))),
        "rebuild" => (vec![], action(json!({"rebuild": {"imageRef": IMAGE}}))),
        "shelve_offload" => (vec![action(json!({"shelve": null}))], action(json!({"shelveOffload": null}))),
        "attach_volume" => (vec![], attach()),
        "swap_volume" => {
            let swap = json!({"volumeAttachment": {"volumeId": SHARED_VOLUME}});
            (vec![attach()], ("PUT", format!("/os-volume_attachments/{VOLUME}"), swap))
        }
        "detach_volume" => (vec![attach()], ("DELETE", format!("/os-volume_attachments/{VOLUME}"), Value::Null)),
        "attach_interface" => (vec![], plug()),
        "detach_interface" => {
            ask(cloud, id, &plug()).await;
            let port = cloud.neighbours.0.lock().unwrap().ports.keys().next().unwrap().clone();
            (vec![], ("DELETE", format!("/os-interface/{port}"), Value::Null))
        }
        "extend_volume" => {
            let grown = json!({"name": "volume-extended", "server_uuid": id, "tag": VOLUME, "status": "completed"});
            (vec![attach()], ("POST", "/v2.1/os-server-external-events".into(), json!({"events": [grown]})))
        }
        "evacuate" => {
            let host = shown(cloud, id).await["OS-EXT-SRV-ATTR:host"].clone();
            let services = cloud.get("/v2.1/os-services?binary=nova-compute").await.body["services"].clone();
            let service = services.as_array().unwrap().iter().find(|service| service["host"] == host).unwrap()["id"].clone();
            let path = format!("/v2.1/os-services/{}", service.as_str().unwrap());
            assert_eq!(cloud.ask(ADMIN, "2.79", "PUT", &path, json!({"forced_down": true})).await.status, 200);
            (vec![], action(json!({"evacuate": {}})))
        }
        other => panic!("nothing begins {other}"),
    }
}

async fn shown(cloud: &Cloud, id: &str) -> Value {
    cloud.get(&format!("/v2.1/servers/{id}")).await.body["server"].clone()
}

/// Does it, whatever comes of it.
async fn try_to(cloud: &Cloud, id: &str, (method, path, body): &Act) -> Answer {
    let path = if path.starts_with("/v2.1") { path.clone() } else { format!("/v2.1/servers/{id}{path}") };
    cloud.ask(ADMIN, "2.85", method, &path, body.clone()).await
}

async fn ask(cloud: &Cloud, id: &str, act: &Act) {
    let answer = try_to(cloud, id, act).await;
    assert!(answer.status.is_success(), "{act:?}: {}", answer.body);
}

/// Its attachments, ports and block devices: an action that failed leaves none over.
async fn belongings(cloud: &Cloud) -> [usize; 3] {
    let devices = cloud.count("block_devices").await as usize;
    let state = cloud.neighbours.0.lock().unwrap();
    [state.attachments.len(), state.ports.len(), devices]
}

/// Waits until nothing goes on any more; answers the status.
async fn at_rest(cloud: &Cloud, id: &str) -> String {
    cloud.until("rest", async || cloud.count("flows").await == 0).await;
    cloud.until("no task", async || shown(cloud, id).await["OS-EXT-STS:task_state"].is_null()).await;
    shown(cloud, id).await["status"].as_str().unwrap().to_owned()
}

/// A server before its flow begins, and what begins it.
async fn prepare(cloud: &Cloud, flow: &str) -> (String, String, Act) {
    let id = cloud.active(MEMBER).await;
    let (before, act) = acts(cloud, &id, flow).await;
    for act in before {
        ask(cloud, &id, &act).await;
        at_rest(cloud, &id).await;
    }
    let status = at_rest(cloud, &id).await;
    (id, status, act)
}

/// A cloud where shelved servers stay on their hosts until they are offloaded, if that is what it is about.
async fn cloud_for(flow: &str, probe: ProbeFn) -> Cloud {
    let mut config = nova::Config { probe: Some(probe), ..support::config() };
    if flow == "shelve_offload" {
        config.shelved_offload_time = None;
    }
    Cloud::start_with(HOSTS, config).await
}

/// Deletes the server, looks what is left of it, and ends the cloud.
async fn end(cloud: Cloud, id: &str, what: &str) {
    let deleted = cloud.ask(ADMIN, "", "DELETE", &format!("/v2.1/servers/{id}"), Value::Null).await;
    assert_eq!(deleted.status, 204, "{what}: {}", deleted.body);
    cloud.wait(id, "GONE").await;
    cloud.until("no flow", async || cloud.count("flows").await == 0).await;
    // a host that is down still has what it had
    let left: Vec<String> = cloud.left().into_iter().filter(|left| !what.starts_with("evacuate") || !left.starts_with("guest")).collect();
    assert_eq!(left, Vec::<String>::new(), "{what}");
    cloud.stop().await;
}

/// Runs one flow through, and then failed and crashed after each of its steps.
async fn at_every_step(flow: &'static str, kind: &'static str) {
    let steps: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = steps.clone();
    let probe: ProbeFn = Arc::new(move |of, step| {
        if of == kind {
            seen.lock().unwrap().push(step.to_owned());
        }
        Probe::Go
    });
    let cloud = cloud_for(flow, probe).await;
    let (id, before, act) = prepare(&cloud, flow).await;
    let had = belongings(&cloud).await;
    ask(&cloud, &id, &act).await;
    let after = at_rest(&cloud, &id).await;
    let has = belongings(&cloud).await;
    end(cloud, &id, flow).await;
    let steps = steps.lock().unwrap().clone();
    assert!(!steps.is_empty(), "{flow} has no steps");
    for step in steps {
        let step: &'static str = step.leak();
        let what = format!("{flow} failed after {step}");
        let (probe, failed) = once(kind, step, Probe::Fail);
        let cloud = cloud_for(flow, probe).await;
        let (id, _, act) = prepare(&cloud, flow).await;
        // whoever waits is told that it failed
        try_to(&cloud, &id, &act).await;
        happened(&failed).await;
        let status = at_rest(&cloud, &id).await;
        assert!([before.as_str(), after.as_str(), "ERROR"].contains(&status.as_str()), "{what}: {status}");
        assert!(status != "ERROR" || shown(&cloud, &id).await["fault"]["message"].is_string(), "{what}: no reason");
        let left = belongings(&cloud).await;
        assert!([had, has].contains(&left), "{what}: {left:?}");
        end(cloud, &id, &what).await;

        let what = format!("{flow} crashed after {step}");
        let (probe, died) = once(kind, step, Probe::Crash);
        let cloud = cloud_for(flow, probe).await;
        let (id, _, act) = prepare(&cloud, flow).await;
        try_to(&cloud, &id, &act).await;
        happened(&died).await;
        let cloud = cloud.restart().await;
        assert_eq!(at_rest(&cloud, &id).await, after, "{what}");
        assert_eq!(belongings(&cloud).await, has, "{what}");
        end(cloud, &id, &what).await;
    }
}

macro_rules! flows {
    ($($name:ident: $flow:literal $kind:literal),+ $(,)?) => {
        $(#[tokio::test]
        async fn $name() {
            at_every_step($flow, $kind).await;
        })+
    };
}

flows! {
    shelve: "shelve" "shelve",
    unshelve: "unshelve" "unshelve",
    snapshot: "snapshot" "snapshot",
    confirm_resize: "confirm_resize" "confirm_resize",
    revert_resize: "revert_resize" "revert_resize",
    stop: "stop" "host_task",
    rescue: "rescue" "host_task",
    rebuild: "rebuild" "host_task",
    evacuate: "evacuate" "evacuate",
    shelve_offload: "shelve_offload" "shelve_offload",
    attach_volume: "attach_volume" "attach_volume",
    swap_volume: "swap_volume" "swap_volume",
    detach_volume: "detach_volume" "detach_volume",
    extend_volume: "extend_volume" "extend_volume",
    attach_interface: "attach_interface" "attach_interface",
    detach_interface: "detach_interface" "detach_interface",
}
