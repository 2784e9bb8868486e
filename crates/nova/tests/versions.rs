//! What came with the newest versions: volumes filled anew by a rebuild, the zone a server is pinned to, host names with a domain, keys that
//! are certificates.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use support::{ADMIN, Behaviour, Cloud, IMAGE, MEMBER, VOLUME, server};

#[tokio::test]
async fn a_server_tells_the_zone_it_is_pinned_to() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    for (asked, pinned) in [(json!({"availability_zone": "nova"}), json!("nova")), (json!({}), Value::Null)] {
        let id = cloud.ask(MEMBER, "", "POST", "/v2.1/servers", server(asked)).await.body["server"]["id"].clone();
        let path = format!("/v2.1/servers/{}", id.as_str().unwrap());
        let shown = cloud.ask(MEMBER, "2.96", "GET", &path, Value::Null).await.body["server"].clone();
        assert_eq!(shown["pinned_availability_zone"], pinned);
        let before = cloud.ask(MEMBER, "2.95", "GET", &path, Value::Null).await.body["server"].clone();
        assert!(before.get("pinned_availability_zone").is_none());
    }
    let listed = cloud.ask(MEMBER, "2.96", "GET", "/v2.1/servers/detail", Value::Null).await.body["servers"].clone();
    assert_eq!(listed.as_array().unwrap().iter().filter(|s| s["pinned_availability_zone"] == "nova").count(), 1);
}

#[tokio::test]
async fn a_volume_backed_server_is_rebuilt_with_another_image_since_2_93() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let root = json!({"imageRef": "", "block_device_mapping_v2":
        [{"source_type": "volume", "destination_type": "volume", "uuid": VOLUME, "boot_index": 0}]});
    let made = cloud.ask(MEMBER, "", "POST", "/v2.1/servers", server(root)).await;
    let id = made.body["server"]["id"].as_str().unwrap_or_else(|| panic!("{}", made.body)).to_owned();
    cloud.settled(&id, "ACTIVE").await;
    let rebuild = json!({"rebuild": {"imageRef": IMAGE}});
    let refused = cloud.act(MEMBER, "2.92", &id, rebuild.clone()).await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.message(), "Unable to rebuild with a different image for a volume-backed server.");
    let rebuilt = cloud.act(MEMBER, "2.93", &id, rebuild).await;
    assert_eq!((rebuilt.status.as_u16(), &rebuilt.body["server"]["image"]), (202, &json!("")), "{}", rebuilt.body);
    cloud.settled(&id, "ACTIVE").await;
}

#[tokio::test]
async fn host_names_have_domains_since_2_94() {
    let cloud = Cloud::start(&[]).await;
    for (version, status) in [("2.93", 400), ("2.94", 202)] {
        let body = server(json!({"hostname": "web.example.org", "networks": "none"}));
        assert_eq!(cloud.ask(MEMBER, version, "POST", "/v2.1/servers", body).await.status, status, "{version}");
    }
}

#[tokio::test]
async fn certificates_are_made() {
    let cloud = Cloud::start(&[]).await;
    let make = json!({"keypair": {"name": "c", "type": "x509"}});
    let made = cloud.ask(MEMBER, "2.2", "POST", "/v2.1/os-keypairs", make).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let keypair = &made.body["keypair"];
    assert!(keypair["public_key"].as_str().unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(keypair["private_key"].as_str().unwrap().starts_with("-----BEGIN PRIVATE KEY-----"));
    assert_eq!(keypair["type"], "x509");
}

#[tokio::test]
async fn servers_tell_their_hints_and_the_properties_of_their_images() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let mut body = server(json!({}));
    body["os:scheduler_hints"] = json!({"favourite": "yes"});
    let id = cloud.ask(MEMBER, "", "POST", "/v2.1/servers", body).await.body["server"]["id"].as_str().unwrap().to_owned();
    cloud.settled(&id, "ACTIVE").await;
    let show =
        async |version: &str| cloud.ask(MEMBER, version, "GET", &format!("/v2.1/servers/{id}"), Value::Null).await.body["server"].clone();
    assert!(show("2.97").await["image"].get("properties").is_none());
    assert!(show("2.98").await["image"]["properties"].is_object());
    assert!(show("2.99").await.get("scheduler_hints").is_none());
    assert_eq!(show("2.100").await["scheduler_hints"], json!({"favourite": "yes"}));
}

#[tokio::test]
async fn servers_are_pinned_and_unpinned_since_2_104() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let id = cloud.active(MEMBER).await;
    let path = format!("/v2.1/servers/{id}");
    let pin = async |version: &str, zone: Value| {
        cloud.ask(MEMBER, version, "PUT", &path, json!({"server": {"pinned_availability_zone": zone}})).await
    };
    assert_eq!(pin("2.103", json!("nova")).await.status, 400);
    assert_eq!(pin("2.104", json!("moon")).await.message(), "The requested availability zone is not available");
    for zone in [json!("nova"), Value::Null] {
        assert_eq!(pin("2.104", zone.clone()).await.body["server"]["pinned_availability_zone"], zone);
    }
}

#[tokio::test]
async fn there_are_no_shares() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let path = format!("/v2.1/servers/{}/shares", cloud.active(MEMBER).await);
    assert_eq!(cloud.ask(MEMBER, "2.97", "GET", &path, Value::Null).await.body, json!({"shares": []}));
    let attach = json!({"share": {"share_id": IMAGE}});
    let answer = cloud.ask(MEMBER, "2.97", "POST", &path, attach).await;
    assert_eq!((answer.status.as_u16(), answer.message()), (404, format!("Share {IMAGE} could not be found.").as_str()));
    assert_eq!(cloud.ask(MEMBER, "2.96", "GET", &path, Value::Null).await.status, 404);
}

#[tokio::test]
async fn unknown_queries_are_refused_when_they_began_to_be() {
    let cloud = Cloud::start(&[]).await;
    for (path, since) in
        [("/servers", 75), ("/flavors/detail", 75), ("/os-availability-zone", 102), ("/os-aggregates", 102), ("/extensions", 102)]
    {
        for (minor, status) in [(since - 1, 200), (since, 400), (104, 400)] {
            let answer = cloud.ask(ADMIN, &format!("2.{minor}"), "GET", &format!("/v2.1{path}?colour=red"), Value::Null).await;
            assert_eq!(answer.status, status, "{path} at 2.{minor}: {}", answer.body);
            let words = "Additional properties are not allowed ('colour' was unexpected)";
            assert!(status == 200 || answer.message().contains(words), "{}", answer.body);
        }
    }
}
