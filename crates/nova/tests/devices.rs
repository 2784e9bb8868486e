//! What a server has beside itself: volumes, ports and tags, in nova's words and versions.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use support::{ADMIN, Behaviour, Cloud, MEMBER, NETWORK, NOWHERE, PUBLIC_NETWORK, RESCUE_IMAGE, SHARED_VOLUME, VOLUME, server};

/// A server that boots from a volume.
async fn from_volume(cloud: &Cloud) -> String {
    let root = json!({"imageRef": "", "block_device_mapping_v2":
        [{"source_type": "volume", "destination_type": "volume", "uuid": VOLUME, "boot_index": 0}]});
    let made = cloud.ask(MEMBER, "", "POST", "/v2.1/servers", server(root)).await;
    let id = made.body["server"]["id"].as_str().unwrap_or_else(|| panic!("{}", made.body)).to_owned();
    cloud.settled(&id, "ACTIVE").await;
    id
}

#[tokio::test]
async fn an_attachment_is_shown_by_version() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    for (version, created, shown) in [
        ("2.69", "device id serverId volumeId", "device id serverId volumeId"),
        ("2.70", "device id serverId tag volumeId", "device id serverId tag volumeId"),
        ("2.88", "delete_on_termination device id serverId tag volumeId", "delete_on_termination device id serverId tag volumeId"),
        (
            "2.100",
            "delete_on_termination device id serverId tag volumeId",
            "attachment_id bdm_uuid delete_on_termination device serverId tag volumeId",
        ),
        ("2.101", "", "attachment_id bdm_uuid delete_on_termination device serverId tag volumeId"),
    ] {
        let id = cloud.active(MEMBER).await;
        let path = format!("/v2.1/servers/{id}/os-volume_attachments");
        let keys = |attachment: &Value| {
            let mut keys: Vec<String> = attachment.as_object().map(|o| o.keys().cloned().collect()).unwrap_or_default();
            keys.sort();
            keys.join(" ")
        };
        let attach = json!({"volumeAttachment": {"volumeId": VOLUME}});
        let answer = cloud.ask(MEMBER, version, "POST", &path, attach).await;
        assert_eq!(answer.status, if created.is_empty() { 202 } else { 200 }, "{version}: {}", answer.body);
        assert_eq!(keys(&answer.body["volumeAttachment"]), created, "{version}");
        let first = async || cloud.ask(MEMBER, version, "GET", &path, Value::Null).await.body["volumeAttachments"][0].clone();
        // one that was only accepted has its device a moment later
        cloud.until("attached", async || first().await.get("device").is_some()).await;
        assert_eq!(keys(&first().await), shown, "{version}");
    }
}

#[tokio::test]
async fn attachments_refuse_what_nova_refuses() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let id = from_volume(&cloud).await;
    let path = format!("/v2.1/servers/{id}/os-volume_attachments");
    let one = format!("{path}/{VOLUME}");
    let with = |more: Value| {
        let mut body = json!({"volumeAttachment": {"volumeId": SHARED_VOLUME}});
        body["volumeAttachment"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let same = |more: Value| {
        let mut body = with(more);
        body["volumeAttachment"]["volumeId"] = json!(VOLUME);
        body
    };
    let cases = [
        ("2.60", "POST", &path, with(json!({"device": "vdb"})), 400, "'vdb' does not match"),
        ("2.60", "POST", &path, with(json!({"device": ""})), 400, "does not match"),
        ("2.60", "POST", &path, with(json!({"device": "/dev/../x"})), 400, "does not match"),
        ("2.59", "POST", &path, with(json!({})), 400, "starting with compute API version 2.60"),
        ("2.85", "PUT", &one, same(json!({"id": NOWHERE})), 400, "The id property is not mutable"),
        ("2.85", "PUT", &one, same(json!({"serverId": NOWHERE})), 400, "The serverId property is not mutable"),
        ("2.85", "PUT", &one, same(json!({"tag": "t"})), 400, "The tag property is not mutable"),
        ("2.1", "DELETE", &one, Value::Null, 400, "Cannot detach a root device volume"),
        ("2.75", "GET", &format!("{path}?colour=red"), Value::Null, 400, "colour"),
    ];
    for (version, method, path, body, status, words) in cases {
        let answer = cloud.ask(MEMBER, version, method, path, body.clone()).await;
        answer.must_say(status, words, &format!("{method} {body}"));
    }
    assert_eq!(cloud.ask(MEMBER, "2.74", "GET", &format!("{path}?colour=red"), Value::Null).await.status, 200);
    assert_eq!(cloud.ask(MEMBER, "2.85", "PUT", &one, same(json!({"id": VOLUME, "serverId": id}))).await.status, 202);
    let unknown = json!({"volumeAttachment": {"volumeId": NOWHERE}});
    assert_eq!(cloud.ask(ADMIN, "", "PUT", &one, unknown).await.status, 400, "a volume of the body is a bad request");
}

#[tokio::test]
async fn a_port_or_address_in_use_is_a_conflict() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let id = cloud.active(MEMBER).await;
    let path = format!("/v2.1/servers/{id}/os-interface");
    cloud.neighbours.0.lock().unwrap().ports.insert(RESCUE_IMAGE.into(), "another".into());
    for (who, attachment, status, words) in [
        (MEMBER, json!({"port_id": RESCUE_IMAGE}), 409, "is still in use."),
        (MEMBER, json!({"net_id": NETWORK, "fixed_ips": [{"ip_address": "10.0.0.66"}]}), 409, "10.0.0.66 is already in use on instance"),
        (MEMBER, json!({"net_id": NOWHERE}), 404, "could not be found."),
        (MEMBER, json!({"net_id": PUBLIC_NETWORK}), 403, "It is not allowed to create an interface on external network"),
    ] {
        let answer = cloud.ask(who, "", "POST", &path, json!({"interfaceAttachment": attachment})).await;
        answer.must_say(status, words, &format!("{attachment}"));
    }
}

#[tokio::test]
async fn tags_are_checked_as_nova_does() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let id = cloud.active(MEMBER).await;
    let path = format!("/v2.1/servers/{id}/tags");
    let one = format!("{path}/a");
    let ask = async |method: &str, path: &str, body: Value| cloud.ask(MEMBER, "2.26", method, path, body).await;
    assert_eq!(ask("PUT", &one, Value::Null).await.status, 201);
    for (method, path, body, words) in [
        ("PUT", &path, json!({"tags": ["a"], "colour": "red"}), "('colour' was unexpected)"),
        ("PUT", &path, json!({"tags": "a"}), "is not of type 'array'"),
        ("PUT", &path, json!({}), "'tags' is a required property"),
        ("PUT", &path, json!({"tags": vec!["a"; 51]}), "is too long"),
        ("PUT", &one, json!({"a": 1}), "is not of type 'null'"),
        ("PUT", &format!("{path}/{}", "x".repeat(61)), Value::Null, "It must be a non empty string without characters '/' and ','."),
    ] {
        let answer = ask(method, path, body.clone()).await;
        answer.must_say(400, words, &format!("{body}"));
    }
    cloud.act(MEMBER, "", &id, json!({"rescue": null})).await;
    cloud.settled(&id, "RESCUE").await;
    for (method, path, body, action) in [
        ("PUT", &path, json!({"tags": ["b"]}), "update tags"),
        ("PUT", &one, Value::Null, "update tag"),
        ("DELETE", &one, Value::Null, "delete tag"),
        ("DELETE", &path, Value::Null, "delete tags"),
    ] {
        let answer = ask(method, path, body).await;
        let words = format!("Cannot '{action}' instance {id} while it is in vm_state rescued");
        assert_eq!((answer.status.as_u16(), answer.message()), (409, words.as_str()));
    }
    assert_eq!(ask("GET", &path, Value::Null).await.body, json!({"tags": ["a"]}));
}

#[tokio::test]
async fn a_server_of_a_volume_is_rescued_with_an_image_made_for_it() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let id = from_volume(&cloud).await;
    for rescue in [json!({}), json!({"rescue_image_ref": support::IMAGE})] {
        let answer = cloud.act(MEMBER, "2.87", &id, json!({"rescue": rescue})).await;
        assert_eq!(answer.status, 400);
        assert!(answer.message().ends_with("Cannot rescue a volume-backed instance"), "{}", answer.body);
    }
    let rescue = json!({"rescue": {"rescue_image_ref": RESCUE_IMAGE}});
    assert_eq!(cloud.act(MEMBER, "2.86", &id, rescue.clone()).await.status, 400);
    assert_eq!(cloud.act(MEMBER, "2.87", &id, rescue).await.status, 200);
    cloud.settled(&id, "RESCUE").await;
}

#[tokio::test]
async fn a_resize_and_a_rebuild_look_at_what_the_image_asks_for_and_at_quotas() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run), ("h2", Behaviour::Run)]).await;
    let booted = server(json!({"imageRef": RESCUE_IMAGE, "flavorRef": "2"}));
    let id = cloud.ask(MEMBER, "", "POST", "/v2.1/servers", booted).await.body["server"]["id"].as_str().unwrap().to_owned();
    cloud.settled(&id, "ACTIVE").await;
    let answer = cloud.act(MEMBER, "", &id, json!({"resize": {"flavorRef": "1"}})).await;
    assert_eq!((answer.status.as_u16(), answer.message()), (400, "Flavor's memory is too small for requested image."));
    let quota = json!({"quota_set": {"metadata_items": 1}});
    assert_eq!(cloud.ask(ADMIN, "", "PUT", "/v2.1/os-quota-sets/p", quota).await.status, 200);
    let rebuild = json!({"rebuild": {"imageRef": RESCUE_IMAGE, "metadata": {"a": "1", "b": "2"}}});
    let answer = cloud.act(MEMBER, "", &id, rebuild).await;
    assert_eq!((answer.status.as_u16(), answer.message()), (403, "Maximum number of metadata items exceeds 1"));
}
