//! What bodies may be, at which version: rows drawn from nova's own schemas, of a field of one resource, a value, and the statuses it is answered
//! with from which version on.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use support::{ADMIN, Behaviour, Cloud, IMAGE, MEMBER, NETWORK, VOLUME, server};

/// A field, a value, and what is answered since which minor version.
type Row = (&'static str, Value, &'static [(u16, u16)]);

const REFUSED: &[(u16, u16)] = &[(1, 400), (104, 400)];
const TAKEN: &[(u16, u16)] = &[(1, 202), (104, 202)];

fn rows_of_a_create() -> Vec<Row> {
    let device = |more: Value| {
        let mut device = json!({"source_type": "blank", "destination_type": "volume", "volume_size": 1, "boot_index": -1});
        device.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!([device])
    };
    let network = |more: Value| {
        let mut network = json!({"uuid": NETWORK});
        network.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!([network])
    };
    let mut rows: Vec<Row> = vec![
        ("key_name", json!(""), REFUSED),
        ("accessIPv4", json!(""), REFUSED),
        ("accessIPv6", json!(""), REFUSED),
        ("config_drive", json!(""), REFUSED),
        ("return_reservation_id", json!(""), REFUSED),
        ("user_data", json!(""), TAKEN),
        ("min_count", json!(" 1"), REFUSED),
        ("min_count", json!(1001), &[(1, 403)]),
        ("description", Value::Null, &[(18, 400), (19, 202)]),
        ("trusted_image_certificates", Value::Null, &[(62, 400), (63, 202)]),
        ("trusted_image_certificates", json!([]), &[(63, 400)]),
        ("tags", Value::Null, &[(52, 400)]),
        ("host", json!("a b"), &[(74, 400)]),
        ("hostname", json!("a"), &[(90, 400), (93, 400), (94, 202)]),
        ("hostname", json!("a_b.example"), &[(93, 400), (94, 202)]),
        ("hostname", Value::Null, &[(90, 400), (94, 400)]),
        ("security_groups", json!([{"nme": "default"}]), REFUSED),
        ("security_groups", json!([{"name": "default"}]), TAKEN),
        ("security_groups", json!([{}]), TAKEN),
        ("personality", json!([{"path": "/a", "contents": "", "mode": 1}]), &[(1, 400), (56, 400)]),
        ("block_device_mapping", json!([{"volume_id": VOLUME, "device_name": "vda", "uuid": VOLUME}]), REFUSED),
        ("networks", network(json!({"port": null})), TAKEN),
        ("networks", network(json!({"fixed_ip": null})), REFUSED),
        ("networks", network(json!({"fixed_ip": 1})), REFUSED),
        ("networks", network(json!({"uuid": null})), REFUSED),
        ("networks", network(json!({"colour": "red"})), REFUSED),
        ("networks", network(json!({"tag": "a"})), &[(31, 400), (32, 202), (36, 202), (37, 400), (41, 400), (42, 202)]),
        ("networks", network(json!({"tag": "a,b"})), &[(32, 400), (42, 400)]),
        ("networks", network(json!({"tag": 1})), &[(32, 400), (42, 400)]),
        ("block_device_mapping_v2", device(json!({})), TAKEN),
        ("block_device_mapping_v2", device(json!({"tag": "a"})), &[(31, 400), (32, 202), (33, 400), (36, 400), (41, 400), (42, 202)]),
        ("block_device_mapping_v2", device(json!({"volume_type": null})), &[(66, 400), (67, 202)]),
        ("block_device_mapping_v2", device(json!({"boot_index": null})), TAKEN),
        ("block_device_mapping_v2", device(json!({"boot_index": "-1"})), TAKEN),
        ("block_device_mapping_v2", device(json!({"boot_index": "None"})), REFUSED),
        ("block_device_mapping_v2", device(json!({"delete_on_termination": "yes"})), TAKEN),
    ];
    for value in [json!(0), json!(""), Value::Null] {
        rows.push(("block_device_mapping_v2", device(json!({"volume_size": value})), REFUSED));
    }
    for value in [json!(1), Value::Null] {
        rows.push(("block_device_mapping_v2", device(json!({"delete_on_termination": value})), REFUSED));
    }
    for value in [json!(""), json!("/dev/v db"), Value::Null] {
        rows.push(("block_device_mapping_v2", device(json!({"device_name": value})), REFUSED));
    }
    let never_null = [
        "name",
        "imageRef",
        "flavorRef",
        "networks",
        "key_name",
        "security_groups",
        "availability_zone",
        "metadata",
        "user_data",
        "config_drive",
        "adminPass",
        "accessIPv4",
        "accessIPv6",
        "OS-DCF:diskConfig",
        "min_count",
        "max_count",
        "return_reservation_id",
        "block_device_mapping_v2",
        "block_device_mapping",
    ];
    rows.extend(never_null.map(|field| (field, Value::Null, REFUSED)));
    rows
}

#[tokio::test]
async fn a_create_takes_what_nova_takes() {
    let cloud = Cloud::start(&[]).await;
    let unlimited = json!({"quota_set": {"instances": 1000, "cores": -1, "ram": -1}});
    assert_eq!(cloud.ask(ADMIN, "", "PUT", "/v2.1/os-quota-sets/p", unlimited).await.status, 200);
    let mut wrong = Vec::new();
    for (field, value, answers) in rows_of_a_create() {
        for (minor, status) in answers {
            let body = server(json!({field: value}));
            let answer = cloud.ask(MEMBER, &format!("2.{minor}"), "POST", "/v2.1/servers", body).await;
            if answer.status != *status {
                wrong.push(format!("{field} {value} at 2.{minor}: {} {}", answer.status, answer.body));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn hints_are_what_nova_takes() {
    let cloud = Cloud::start(&[]).await;
    for (hint, value, status) in [
        ("query", json!(["=", "$free_ram_mb", 1]), 400),
        ("query", json!("[\"=\", \"$free_ram_mb\", 1]"), 202),
        ("same_host", json!("anything"), 202),
        ("same_host", json!(["anything"]), 400),
        ("different_host", json!("anything"), 400),
        ("different_host", json!([IMAGE]), 202),
        ("group", json!(["anything"]), 400),
        ("cidr", json!("/24"), 202),
        ("cidr", json!("/x"), 400),
        ("colour", Value::Null, 202),
    ] {
        let mut body = server(json!({}));
        body["os:scheduler_hints"] = json!({hint: value});
        let answer = cloud.ask(MEMBER, "", "POST", "/v2.1/servers", body).await;
        assert_eq!(answer.status, status, "{hint} {value}: {}", answer.body);
    }
    let mut body = server(json!({}));
    body["os:scheduler_hints"] = Value::Null;
    assert_eq!(cloud.ask(MEMBER, "", "POST", "/v2.1/servers", body).await.status, 400);
    let many = server(json!({"hostname": "web", "networks": "none", "max_count": 2}));
    let refused = cloud.ask(MEMBER, "2.90", "POST", "/v2.1/servers", many).await;
    assert_eq!((refused.status.as_u16(), refused.message()), (400, "Unable to allocate a single hostname to multiple instances"));
}

#[tokio::test]
async fn other_bodies_take_null_where_nova_does() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let id = cloud.active(MEMBER).await;
    let (update, action, attach) =
        (format!("/v2.1/servers/{id}"), format!("/v2.1/servers/{id}/action"), format!("/v2.1/servers/{id}/os-volume_attachments"));
    let flavor = |more: Value| {
        let mut flavor = json!({"name": "f", "ram": 1, "vcpus": 1, "disk": 0});
        flavor.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"flavor": flavor})
    };
    let cases: Vec<(&str, &str, &str, Value, u16)> = vec![
        ("2.19", "PUT", &update, json!({"server": {"description": null}}), 200),
        ("2.1", "PUT", &update, json!({"server": {"name": null}}), 400),
        ("2.1", "PUT", &update, json!({"server": {"accessIPv4": null}}), 400),
        ("2.1", "PUT", &update, json!({"server": {"accessIPv4": ""}}), 400),
        ("2.90", "PUT", &update, json!({"server": {"hostname": null}}), 400),
        ("2.104", "PUT", &update, json!({"server": {"pinned_availability_zone": null}}), 200),
        ("2.1", "POST", &action, json!({"rebuild": {"imageRef": null}}), 400),
        ("2.1", "POST", &action, json!({"rebuild": {"imageRef": IMAGE, "adminPass": null}}), 400),
        ("2.54", "POST", &action, json!({"rebuild": {"imageRef": IMAGE, "name": null}}), 400),
        ("2.63", "POST", &action, json!({"rebuild": {"imageRef": IMAGE, "trusted_image_certificates": []}}), 400),
        ("2.1", "POST", &action, json!({"rescue": {"adminPass": null}}), 400),
        ("2.1", "POST", &action, json!({"createImage": {"name": "i", "metadata": null}}), 400),
        ("2.1", "POST", &action, json!({"changePassword": {"adminPass": null}}), 400),
        ("2.1", "POST", &attach, json!({"volumeAttachment": {"volumeId": null}}), 400),
        ("2.49", "POST", &attach, json!({"volumeAttachment": {"volumeId": VOLUME, "tag": null}}), 400),
        ("2.1", "POST", &attach, json!({"volumeAttachment": {"volumeId": VOLUME, "device": null}}), 200),
        ("2.1", "POST", "/v2.1/flavors", flavor(json!({"swap": null})), 400),
        ("2.1", "POST", "/v2.1/flavors", flavor(json!({"rxtx_factor": null})), 400),
        ("2.1", "POST", "/v2.1/flavors", flavor(json!({"os-flavor-access:is_public": null})), 400),
        ("2.55", "POST", "/v2.1/flavors", flavor(json!({"id": null, "description": null})), 200),
        ("2.2", "POST", "/v2.1/os-keypairs", json!({"keypair": {"name": "k", "public_key": null}}), 400),
        ("2.2", "POST", "/v2.1/os-keypairs", json!({"keypair": {"name": "k", "type": null}}), 400),
        ("2.64", "POST", "/v2.1/os-server-groups", json!({"server_group": {"name": "g", "policy": "affinity", "rules": null}}), 400),
    ];
    for (version, method, path, body, status) in cases {
        let answer = cloud.ask(ADMIN, version, method, path, body.clone()).await;
        assert_eq!(answer.status, status, "{method} {path} {body} at {version}: {}", answer.body);
    }
}

#[tokio::test]
async fn refusals_tell_the_innermost_place_and_the_value() {
    let cloud = Cloud::start(&[]).await;
    for (version, body, words) in [
        (
            "2.1",
            json!({"security_groups": [{"name": "default"}, {"nme": "a"}]}),
            "Invalid input for field/attribute 1. Value: {'nme': 'a'}. Additional properties are not allowed ('nme' was unexpected)",
        ),
        (
            "2.1",
            json!({"networks": [{"uuid": NETWORK}, {"port": "x"}]}),
            "Invalid input for field/attribute port. Value: x. 'x' is not a 'uuid'",
        ),
        (
            "2.37",
            json!({"networks": [{"port": "x"}]}),
            "Invalid input for field/attribute networks. Value: [{'port': 'x'}]. [{'port': 'x'}] is not valid under any of the given schemas",
        ),
        ("2.1", json!({"key_name": null}), "Invalid input for field/attribute key_name. Value: None. None is not of type 'string'"),
        (
            "2.1",
            json!({"name": " a"}),
            "An invalid 'name' value was provided. The name must be: printable characters. Can not start or end with whitespace.",
        ),
    ] {
        let answer = cloud.ask(MEMBER, version, "POST", "/v2.1/servers", server(body)).await;
        assert_eq!((answer.status.as_u16(), answer.message()), (400, words));
    }
    let empty = cloud.ask(MEMBER, "2.1", "POST", "/v2.1/servers", json!({"colour": "red"})).await;
    assert_eq!(empty.message(), "'server' is a required property");
}
