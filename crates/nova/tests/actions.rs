//! Actions on servers that exist: what each answers, what the server becomes, what is refused when, and that of two at once one wins.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use rpc::conductor::SavePassword;
use serde_json::{Value, json};
use support::{ADMIN, BUSY_VOLUME, Behaviour, Cloud, IMAGE, MEMBER, NOWHERE, OTHER, QUEUED_IMAGE, VOLUME, server};

#[tokio::test]
async fn power_goes_there_and_back() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let id = cloud.active(MEMBER).await;
    for (action, status) in [
        ("pause", "PAUSED"),
        ("unpause", "ACTIVE"),
        ("suspend", "SUSPENDED"),
        ("resume", "ACTIVE"),
        ("os-stop", "SHUTOFF"),
        ("os-start", "ACTIVE"),
        ("rescue", "RESCUE"),
        ("unrescue", "ACTIVE"),
        ("trigger_crash_dump", "ACTIVE"),
    ] {
        let answer = cloud.act(MEMBER, "2.79", &id, json!({ action: null })).await;
        assert_eq!(answer.status, if action == "rescue" { 200 } else { 202 }, "{action}: {}", answer.body);
        assert_eq!(answer.body["adminPass"].is_string(), action == "rescue");
        cloud.settled(&id, status).await;
    }
    for kind in ["SOFT", "hard"] {
        assert_eq!(cloud.act(MEMBER, "", &id, json!({"reboot": {"type": kind}})).await.status, 202);
        cloud.settled(&id, "ACTIVE").await;
    }
    let actions = cloud.get(&format!("/v2.1/servers/{id}/os-instance-actions")).await;
    let names: Vec<&str> = actions.body["instanceActions"].as_array().unwrap().iter().map(|a| a["action"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "reboot",
            "reboot",
            "trigger_crash_dump",
            "unrescue",
            "rescue",
            "start",
            "stop",
            "resume",
            "suspend",
            "unpause",
            "pause",
            "create"
        ]
    );
}

#[tokio::test]
async fn what_does_not_fit_is_refused() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let id = cloud.active(MEMBER).await;
    let cases: Vec<(&str, &str, Value, u16, &str)> = vec![
        (MEMBER, "", json!({"os-start": null}), 409, "while it is in vm_state active"),
        (MEMBER, "", json!({"unpause": null}), 409, "Cannot 'unpause' instance"),
        (MEMBER, "2.17", json!({"trigger_crash_dump": {"x": 1}}), 400, "is not of type 'null'"),
        (MEMBER, "", json!({"pause": null, "unpause": null}), 400, "malformed"),
        (MEMBER, "", json!({"dance": null}), 400, "There is no such action: dance"),
        (MEMBER, "2.16", json!({"trigger_crash_dump": null}), 400, "There is no such action"),
        (MEMBER, "", json!({"resetNetwork": null}), 410, "removed"),
        (MEMBER, "", json!({"reboot": {"type": "GENTLE"}}), 400, "is not one of"),
        (MEMBER, "", json!({"reboot": {}}), 400, "'type' is a required property"),
        (MEMBER, "", json!({"confirmResize": null}), 409, "Cannot 'confirmResize'"),
        (MEMBER, "", json!({"resize": {"flavorRef": "42"}}), 400, "When resizing, instances must change flavor!"),
        (MEMBER, "", json!({"resize": {"flavorRef": "99"}}), 400, "Flavor 99 could not be found."),
        (MEMBER, "", json!({"resize": {}}), 400, "'flavorRef' is a required property"),
        (MEMBER, "", json!({"migrate": null}), 403, "Policy doesn't allow"),
        (ADMIN, "2.56", json!({"migrate": {"host": "h1"}}), 400, "same host"),
        (ADMIN, "2.56", json!({"migrate": {"host": "h9"}}), 400, "could not be found"),
        (MEMBER, "", json!({"shelveOffload": null}), 403, "Policy doesn't allow"),
        (MEMBER, "", json!({"unshelve": null}), 409, "Cannot 'unshelve'"),
        (MEMBER, "", json!({"rescue": {"rescue_image_ref": NOWHERE}}), 400, "is not supported"),
        (MEMBER, "", json!({"rescue": {"rescue_image_ref": "x"}}), 400, "is not a 'uuid'"),
        (MEMBER, "", json!({"rebuild": {"imageRef": QUEUED_IMAGE}}), 400, "is not active"),
        (MEMBER, "", json!({"rebuild": {}}), 400, "imageRef"),
        (MEMBER, "2.18", json!({"rebuild": {"imageRef": IMAGE, "description": "d"}}), 400, "'description' was unexpected"),
        (MEMBER, "", json!({"createImage": {}}), 400, "'name' is a required property"),
        (MEMBER, "", json!({"createImage": {"name": "i", "metadata": {"k": 1}}}), 400, "is not of type 'string'"),
        (MEMBER, "", json!({"createBackup": {"name": "b", "backup_type": "daily"}}), 400, "'rotation' is a required property"),
        (MEMBER, "", json!({"createBackup": {"name": "b", "backup_type": "daily", "rotation": -1}}), 400, "minimum"),
        (ADMIN, "", json!({"evacuate": {"onSharedStorage": false}}), 400, "Compute service of h1 is still in use."),
        (MEMBER, "", json!({"evacuate": {"onSharedStorage": false}}), 403, "Policy"),
        (ADMIN, "", json!({"os-resetState": {"state": "tired"}}), 400, "is not one of ['active', 'error']"),
        (MEMBER, "2.5", json!({"os-getSPICEConsole": {"type": "spice-html5"}}), 400, "Unavailable console type spice-html5."),
        (MEMBER, "2.6", json!({"os-getVNCConsole": {"type": "novnc"}}), 404, "could not be found"),
        (MEMBER, "", json!({"changePassword": {}}), 400, "'adminPass' is a required property"),
        (OTHER, "", json!({"pause": null}), 404, "could not be found."),
        ("p:reader", "", json!({"pause": null}), 403, "Policy"),
        (MEMBER, "", json!({"restore": null}), 409, "Cannot 'restore'"),
    ];
    for (who, version, body, status, words) in cases {
        let answer = cloud.act(who, version, &id, body.clone()).await;
        answer.must_say(status, words, &format!("{body}"));
    }
    cloud.settled(&id, "ACTIVE").await;
}

#[tokio::test]
async fn a_locked_server_is_let_alone() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let id = cloud.active(MEMBER).await;
    assert_eq!(cloud.act(MEMBER, "2.73", &id, json!({"lock": {"locked_reason": "mine"}})).await.status, 202);
    let shown = cloud.get(&format!("/v2.1/servers/{id}")).await.body["server"].clone();
    assert_eq!((&shown["locked"], &shown["locked_reason"]), (&json!(true), &json!("mine")));
    for body in [json!({"os-stop": null}), json!({"rebuild": {"imageRef": IMAGE}}), json!({"resize": {"flavorRef": "1"}})] {
        let answer = cloud.act(MEMBER, "", &id, body.clone()).await;
        assert_eq!((answer.status.as_u16(), answer.message()), (409, format!("Instance {id} is locked").as_str()), "{body}");
    }
    let answer = cloud.ask(MEMBER, "", "DELETE", &format!("/v2.1/servers/{id}"), Value::Null).await;
    assert_eq!(answer.status, 409);
    assert_eq!(cloud.act(MEMBER, "", &id, json!({"createImage": {"name": "changes nothing"}})).await.status, 202);
    cloud.settled(&id, "ACTIVE").await;
    assert_eq!(cloud.act(MEMBER, "", &id, json!({"unlock": null})).await.status, 202);
    assert_eq!(cloud.act(MEMBER, "", &id, json!({"os-stop": null})).await.status, 202);
    cloud.settled(&id, "SHUTOFF").await;
}

#[tokio::test]
async fn an_administrators_lock_is_not_the_owners_to_undo() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let id = cloud.active(MEMBER).await;
    let reason = json!({"lock": {"locked_reason": "upkeep"}});
    assert_eq!(cloud.act("q:admin", "2.73", &id, reason).await.status, 202);
    // locking it once more does not make it the owner's
    for who in [MEMBER, ADMIN] {
        assert_eq!(cloud.act(who, "2.73", &id, json!({"lock": {"locked_reason": "mine"}})).await.status, 202);
    }
    let shown = cloud.get(&format!("/v2.1/servers/{id}")).await.body["server"].clone();
    assert_eq!((&shown["locked"], &shown["locked_reason"]), (&json!(true), &json!("upkeep")));
    let refused = cloud.act(MEMBER, "", &id, json!({"unlock": null})).await;
    assert_eq!(refused.status, 403);
    assert!(refused.message().contains("os-lock-server:unlock:unlock_override"), "{}", refused.body);
    assert_eq!(cloud.act(ADMIN, "", &id, json!({"unlock": null})).await.status, 202);
    assert_eq!(cloud.act(MEMBER, "", &id, json!({"os-stop": null})).await.status, 202);
    cloud.settled(&id, "SHUTOFF").await;
}

#[tokio::test]
async fn images_are_made_and_backups_rotate() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let id = cloud.active(MEMBER).await;
    let answer = cloud.act(MEMBER, "2.45", &id, json!({"createImage": {"name": "snap", "metadata": {"k": "v"}}})).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    let image = answer.body["image_id"].as_str().unwrap().to_owned();
    cloud.settled(&id, "ACTIVE").await;
    let made = cloud.neighbours.0.lock().unwrap().images[&image].clone();
    assert_eq!((&made["name"], &made["status"], &made["k"]), (&json!("snap"), &json!("active"), &json!("v")));
    assert_eq!((&made["image_type"], &made["instance_uuid"]), (&json!("snapshot"), &json!(id)));
    let answer = cloud.act(MEMBER, "2.44", &id, json!({"createImage": {"name": "old"}})).await;
    assert!(answer.headers["location"].to_str().unwrap().contains("/images/"));
    cloud.settled(&id, "ACTIVE").await;
    for n in 0..4 {
        let body = json!({"createBackup": {"name": format!("b{n}"), "backup_type": "daily", "rotation": 2}});
        assert_eq!(cloud.act(MEMBER, "", &id, body).await.status, 202);
        cloud.settled(&id, "ACTIVE").await;
    }
    let names = |cloud: &Cloud| {
        let state = cloud.neighbours.0.lock().unwrap();
        let backups = state.images.values().filter(|i| i["image_type"] == "backup");
        let mut names: Vec<String> = backups.map(|i| i["name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&cloud), ["b2", "b3"]);
}

#[tokio::test]
async fn a_server_is_rebuilt_and_updated() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let id = cloud.active(MEMBER).await;
    let body = json!({"rebuild": {"imageRef": IMAGE, "name": "new", "metadata": {"a": "b"}, "adminPass": "secret", "description": "d"}});
    let answer = cloud.act(MEMBER, "2.75", &id, body).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    assert_eq!((&answer.body["server"]["adminPass"], &answer.body["server"]["name"]), (&json!("secret"), &json!("new")));
    let shown = cloud.settled(&id, "ACTIVE").await;
    assert_eq!((&shown["metadata"], &shown["description"]), (&json!({"a": "b"}), &json!("d")));
    let update = json!({"server": {"name": "newer", "accessIPv4": "192.0.2.1"}});
    let answer = cloud.ask(MEMBER, "", "PUT", &format!("/v2.1/servers/{id}"), update).await;
    assert_eq!((&answer.body["server"]["name"], &answer.body["server"]["accessIPv4"]), (&json!("newer"), &json!("192.0.2.1")));
    assert_eq!(answer.body["server"].get("OS-EXT-STS:vm_state"), None);
}

#[tokio::test]
async fn a_server_is_shelved_and_comes_back() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run), ("h2", Behaviour::Run)]).await;
    let id = cloud.active(MEMBER).await;
    assert_eq!(cloud.act(MEMBER, "", &id, json!({"shelve": null})).await.status, 202);
    let shown = cloud.settled(&id, "SHELVED_OFFLOADED").await;
    assert_eq!(shown["OS-EXT-SRV-ATTR:host"], Value::Null);
    assert_eq!(cloud.guests.lock().unwrap().len(), 0);
    assert_eq!(cloud.neighbours.0.lock().unwrap().allocations.len(), 0);
    assert_eq!(cloud.neighbours.0.lock().unwrap().images.len(), 1);
    let answer = cloud.act(MEMBER, "2.77", &id, json!({"unshelve": {"availability_zone": "moon"}})).await;
    assert_eq!((answer.status.as_u16(), answer.message()), (400, "The requested availability zone is not available"));
    let attach = json!({"volumeAttachment": {"volumeId": VOLUME}});
    let answer = cloud.ask(MEMBER, "2.20", "POST", &format!("/v2.1/servers/{id}/os-volume_attachments"), attach).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(cloud.act(MEMBER, "2.77", &id, json!({"unshelve": {"availability_zone": "nova"}})).await.status, 202);
    cloud.settled(&id, "ACTIVE").await;
    assert_eq!(cloud.neighbours.0.lock().unwrap().images.len(), 0);
    assert_eq!(cloud.guests.lock().unwrap().len(), 1);
    cloud.act(MEMBER, "", &id, json!({"shelve": null})).await;
    cloud.settled(&id, "SHELVED_OFFLOADED").await;
    cloud.ask(MEMBER, "", "DELETE", &format!("/v2.1/servers/{id}"), Value::Null).await;
    cloud.wait(&id, "GONE").await;
    assert_eq!(cloud.left(), Vec::<String>::new());
    assert_eq!(cloud.neighbours.0.lock().unwrap().images.len(), 0);
}

#[tokio::test]
async fn consoles_diagnostics_and_passwords_answer() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let id = cloud.active(MEMBER).await;
    let consoles = format!("/v2.1/servers/{id}/remote-consoles");
    let vnc = json!({"remote_console": {"protocol": "vnc", "type": "novnc"}});
    let answer = cloud.ask(MEMBER, "2.6", "POST", &consoles, vnc.clone()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.body["remote_console"]["url"].as_str().unwrap().contains("token=t-"));
    assert_eq!(cloud.ask(MEMBER, "2.5", "POST", &consoles, vnc).await.status, 404);
    let mks = json!({"remote_console": {"protocol": "mks", "type": "webmks"}});
    assert!(cloud.ask(MEMBER, "2.6", "POST", &consoles, mks.clone()).await.message().contains("protocol"));
    assert_eq!(cloud.ask(MEMBER, "2.8", "POST", &consoles, mks).await.message(), "Unavailable console type webmks.");
    let token = cloud.get(&format!("/v2.1/os-console-auth-tokens/t-{id}")).await;
    assert_eq!((&token.body["console"]["instance_uuid"], &token.body["console"]["port"]), (&json!(id), &json!(5900)));
    assert_eq!(cloud.get("/v2.1/os-console-auth-tokens/none").await.status, 404);
    let old = cloud.act(MEMBER, "", &id, json!({"os-getVNCConsole": {"type": "novnc"}})).await;
    assert_eq!(old.body["console"]["type"], "novnc");
    assert_eq!(cloud.act(MEMBER, "", &id, json!({"os-getConsoleOutput": {"length": 5}})).await.body, json!({"output": "login:"}));
    assert_eq!(cloud.get(&format!("/v2.1/servers/{id}/diagnostics")).await.body["driver"], "fake");
    let old = cloud.ask(ADMIN, "2.47", "GET", &format!("/v2.1/servers/{id}/diagnostics"), Value::Null).await;
    assert_eq!(old.body, json!({"memory": 128}));
    assert_eq!(cloud.get(&format!("/v2.1/servers/{id}/topology")).await.body, json!({"nodes": [], "pagesize_kb": null}));
    let password = format!("/v2.1/servers/{id}/os-server-password");
    assert_eq!(cloud.get(&password).await.body, json!({"password": ""}));
    let give = async |password: &str| {
        let given = SavePassword { instance_id: id.clone(), password: password.into() };
        cloud.bus.call(rpc::conductor::TOPIC, given, Duration::from_secs(10)).await.unwrap()
    };
    assert!(give("c2VjcmV0").await && !give("YWdhaW4=").await, "a guest tells its password once");
    assert_eq!(cloud.get(&password).await.body, json!({"password": "c2VjcmV0"}));
    assert_eq!(cloud.ask(MEMBER, "2.1", "DELETE", &password, Value::Null).await.status, 204);
    assert!(give("YWdhaW4=").await, "and again when its owner has cleared it");
    assert_eq!(cloud.act(MEMBER, "", &id, json!({"changePassword": {"adminPass": "x"}})).await.status, 202);
    cloud.settled(&id, "ACTIVE").await;
}

/// What hosts did with volumes, the last first, and how it ended.
async fn events_of_volumes(cloud: &Cloud, id: &str) -> Vec<(String, String)> {
    let path = format!("/v2.1/servers/{id}/os-instance-actions");
    let mut told = Vec::new();
    for action in cloud.get(&path).await.body["instanceActions"].as_array().unwrap() {
        let action = cloud.get(&format!("{path}/{}", action["request_id"].as_str().unwrap())).await.body["instanceAction"].clone();
        let text = |event: &Value, field: &str| event[field].as_str().unwrap().to_owned();
        let events = action["events"].as_array().unwrap().iter().map(|event| (text(event, "event"), text(event, "result")));
        told.extend(events.filter(|(event, _)| event.starts_with("compute_") && event.ends_with("_volume")));
    }
    told
}

#[tokio::test]
async fn volumes_come_change_and_go() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let id = cloud.active(MEMBER).await;
    let path = format!("/v2.1/servers/{id}/os-volume_attachments");
    let attach = |volume: &str| json!({"volumeAttachment": {"volumeId": volume}});
    assert_eq!(cloud.ask(MEMBER, "", "POST", &path, attach(BUSY_VOLUME)).await.status, 400);
    assert_eq!(cloud.ask(MEMBER, "", "POST", &path, attach(NOWHERE)).await.status, 404);
    assert_eq!(cloud.ask(MEMBER, "", "POST", &path, attach("x")).await.status, 400);
    let tagged = json!({"volumeAttachment": {"volumeId": VOLUME, "tag": "t"}});
    assert_eq!(cloud.ask(MEMBER, "2.48", "POST", &path, tagged.clone()).await.status, 400);
    let answer = cloud.ask(MEMBER, "2.79", "POST", &path, tagged).await;
    assert_eq!(answer.body["volumeAttachment"]["tag"], "t", "{}", answer.body);
    let ends = json!({"volumeAttachment": {"volumeId": VOLUME, "delete_on_termination": true}});
    let changed = cloud.ask(MEMBER, "2.85", "PUT", &format!("{path}/{VOLUME}"), ends).await;
    assert_eq!(changed.status, 202, "{}", changed.body);
    let shown = cloud.ask(MEMBER, "2.89", "GET", &format!("{path}/{VOLUME}"), Value::Null).await.body["volumeAttachment"].clone();
    assert_eq!((&shown["delete_on_termination"], shown.get("id")), (&json!(true), None), "{shown}");
    assert_eq!(cloud.ask(MEMBER, "", "PUT", &format!("{path}/{VOLUME}"), attach(NOWHERE)).await.status, 403);
    assert_eq!(cloud.ask(MEMBER, "", "DELETE", &format!("{path}/{VOLUME}"), Value::Null).await.status, 202);
    for _ in 0..200 {
        if cloud.ask(MEMBER, "", "GET", &path, Value::Null).await.body == json!({"volumeAttachments": []}) {
            let told = ["compute_detach_volume", "compute_attach_volume"].map(|event| (event.to_owned(), "Success".to_owned()));
            return assert_eq!(events_of_volumes(&cloud, &id).await, told);
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the volume stayed");
}

#[tokio::test]
async fn a_volume_that_grew_is_an_action_of_its_server() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let id = cloud.active(MEMBER).await;
    let event = json!({"events": [{"name": "volume-extended", "server_uuid": id, "tag": VOLUME, "status": "completed"}]});
    let answer = cloud.ask("p:service", "2.51", "POST", "/v2.1/os-server-external-events", event).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body["events"][0]["code"], 200, "{}", answer.body);
    let actions = cloud.get(&format!("/v2.1/servers/{id}/os-instance-actions")).await;
    assert_eq!(actions.body["instanceActions"][0]["action"], "extend_volume", "{}", actions.body);
}

#[tokio::test]
async fn a_deleted_server_can_be_restored_where_the_operator_says_so() {
    let config = nova::Config { reclaim_instance_interval: std::time::Duration::from_secs(3600), ..support::config() };
    let cloud = Cloud::start_with(&[("h1", Behaviour::Run)], config).await;
    let id = cloud.active(MEMBER).await;
    assert_eq!(cloud.ask(MEMBER, "", "DELETE", &format!("/v2.1/servers/{id}"), Value::Null).await.status, 204);
    cloud.settled(&id, "SOFT_DELETED").await;
    let listed = cloud.ask(MEMBER, "", "GET", "/v2.1/servers", Value::Null).await;
    assert_eq!(listed.body["servers"], json!([]));
    assert_eq!(cloud.act(MEMBER, "", &id, json!({"restore": null})).await.status, 202);
    cloud.settled(&id, "ACTIVE").await;
    cloud.ask(MEMBER, "", "DELETE", &format!("/v2.1/servers/{id}"), Value::Null).await;
    cloud.settled(&id, "SOFT_DELETED").await;
    assert_eq!(cloud.act(MEMBER, "", &id, json!({"forceDelete": null})).await.status, 202);
    cloud.wait(&id, "GONE").await;
    assert_eq!(cloud.left(), Vec::<String>::new());
}

#[tokio::test]
async fn a_quota_holds_against_two_hundred_at_once() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let asked = (0..200).map(|_| cloud.ask(MEMBER, "", "POST", "/v2.1/servers", server(json!({}))));
    let answers = futures::future::join_all(asked).await;
    let accepted = answers.iter().filter(|a| a.status == 202).count();
    assert_eq!(accepted, 10);
    assert!(answers.iter().filter(|a| a.status != 202).all(|a| a.status == 403 && a.message().starts_with("Quota exceeded for instances")));
    assert_eq!(cloud.get("/v2.1/limits").await.body["limits"]["absolute"]["totalInstancesUsed"], 10);
}
