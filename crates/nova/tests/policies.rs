//! An operator's rules: those that say more than who may call an operation.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use support::{ADMIN, ASKING_PORT, Behaviour, Cloud, IMAGE, MEMBER, NETWORK, PUBLIC_NETWORK, VOLUME, server};

fn from_volume() -> Value {
    json!({"imageRef": "", "block_device_mapping_v2":
        [{"source_type": "volume", "destination_type": "volume", "uuid": VOLUME, "boot_index": 0}]})
}

#[tokio::test]
async fn what_may_be_asked_for_with_a_server() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let certificates = json!({"trusted_image_certificates": ["c"]});
    for (version, more, rule) in [
        ("2.1", from_volume(), "os_compute_api:servers:create:attach_volume"),
        ("2.72", json!({"networks": [{"port": ASKING_PORT}]}), "os_compute_api:servers:create:attach_network"),
        ("2.37", json!({"networks": "auto"}), "os_compute_api:servers:create:attach_network"),
        ("2.63", certificates.clone(), "os_compute_api:servers:create:trusted_certs"),
        ("2.74", json!({"host": "h1"}), "compute:servers:create:requested_destination"),
    ] {
        cloud.service.override_policy(&format!("\"{rule}\": \"!\"")).unwrap();
        let refused = cloud.ask(ADMIN, version, "POST", "/v2.1/servers", server(more.clone())).await;
        let words = format!("Policy doesn't allow {rule} to be performed.");
        assert_eq!((refused.status.as_u16(), refused.message()), (403, words.as_str()), "{more}");
    }
    cloud.service.override_policy("\"os_compute_api:servers:create:attach_network\": \"!\"").unwrap();
    let without = cloud.ask(MEMBER, "2.37", "POST", "/v2.1/servers", server(json!({"networks": "none"}))).await;
    assert_eq!(without.status, 202, "{}", without.body);
    let id = without.body["server"]["id"].as_str().unwrap();
    cloud.settled(id, "ACTIVE").await;
    cloud.service.override_policy("\"os_compute_api:servers:rebuild:trusted_certs\": \"!\"").unwrap();
    let rebuild = json!({"rebuild": {"imageRef": IMAGE, "trusted_image_certificates": null}});
    assert_eq!(cloud.act(MEMBER, "2.63", id, rebuild).await.status, 403);
    let external = json!({"interfaceAttachment": {"net_id": PUBLIC_NETWORK}});
    let path = format!("/v2.1/servers/{id}/os-interface");
    assert_eq!(cloud.ask(MEMBER, "", "POST", &path, external.clone()).await.status, 403);
    cloud.service.override_policy("\"network:attach_external_network\": \"@\"").unwrap();
    assert_eq!(cloud.ask(MEMBER, "", "POST", &path, external).await.status, 200);
    let near = json!({"interfaceAttachment": {"net_id": NETWORK}});
    assert_eq!(cloud.ask(MEMBER, "", "POST", &path, near).await.status, 200);
}

#[tokio::test]
async fn images_of_servers_on_volumes() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let made = cloud.ask(MEMBER, "", "POST", "/v2.1/servers", server(from_volume())).await;
    let id = made.body["server"]["id"].as_str().unwrap();
    cloud.settled(id, "ACTIVE").await;
    cloud.service.override_policy("\"os_compute_api:servers:create_image:allow_volume_backed\": \"!\"").unwrap();
    let refused = cloud.act(MEMBER, "", id, json!({"createImage": {"name": "i"}})).await;
    assert_eq!(refused.status, 403);
    assert!(refused.message().contains("create_image:allow_volume_backed"), "{}", refused.body);
}

#[tokio::test]
async fn what_is_shown_of_a_server_and_its_host() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let id = cloud.active(MEMBER).await;
    // each time at another version, for an answer may be kept for a second
    let shown = async |who: &str, version: &str| {
        let one = cloud.ask(who, version, "GET", &format!("/v2.1/servers/{id}"), Value::Null).await.body["server"].clone();
        let listed = cloud.ask(who, version, "GET", "/v2.1/servers/detail", Value::Null).await.body["servers"][0].clone();
        assert_eq!(one.get("host_status"), listed.get("host_status"));
        assert_eq!(one["flavor"], listed["flavor"]);
        one
    };
    let plain = shown(MEMBER, "2.75").await;
    assert_eq!((plain.get("host_status"), &plain["flavor"]["extra_specs"]), (None, &json!({})));
    assert_eq!(shown(ADMIN, "2.76").await["OS-EXT-SRV-ATTR:kernel_id"], "");
    cloud.service.override_policy("\"os_compute_api:servers:show:host_status\": \"@\"").unwrap();
    assert_eq!(shown(MEMBER, "2.77").await["host_status"], "UP");
    let rules =
        "\"os_compute_api:servers:show:host_status:unknown-only\": \"@\"\n\"os_compute_api:servers:show:flavor-extra-specs\": \"!\"";
    cloud.service.override_policy(rules).unwrap();
    let plain = shown(MEMBER, "2.78").await;
    assert_eq!((plain.get("host_status"), plain["flavor"].get("extra_specs")), (None, None));
    cloud.sql("UPDATE services SET reported_at = 0").await;
    assert_eq!(shown(MEMBER, "2.79").await["host_status"], "UNKNOWN");
    let of_host = async |who: &str, version: &str| {
        let listed = cloud.ask(who, version, "GET", "/v2.1/servers?host=h9", Value::Null).await;
        listed.body["servers"].as_array().unwrap().len()
    };
    assert_eq!((of_host(MEMBER, "2.1").await, of_host(ADMIN, "2.1").await), (1, 0), "who does not filter by hosts is not told so");
    cloud.service.override_policy("\"os_compute_api:servers:allow_all_filters\": \"@\"").unwrap();
    assert_eq!(of_host(MEMBER, "2.2").await, 0);
}

#[tokio::test]
async fn the_details_of_events_have_a_rule_of_their_own() {
    let cloud = Cloud::start(&[]).await;
    let id = cloud.boot(MEMBER).await;
    cloud.wait(&id, "ERROR").await;
    let path = format!("/v2.1/servers/{id}/os-instance-actions");
    let request = cloud.get(&path).await.body["instanceActions"][0]["request_id"].as_str().unwrap().to_owned();
    let events = async |who: &str| {
        let shown = cloud.ask(who, "2.84", "GET", &format!("{path}/{request}"), Value::Null).await.body;
        let event = shown["instanceAction"]["events"][0].clone();
        (event.get("traceback").is_some(), event.get("details").is_some())
    };
    assert_eq!((events(MEMBER).await, events(ADMIN).await), ((false, false), (true, true)));
    cloud.service.override_policy("\"os_compute_api:os-instance-actions:events:details\": \"@\"").unwrap();
    assert_eq!(events(MEMBER).await, (false, true));
}
