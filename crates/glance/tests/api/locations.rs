//! Where images are, told and changed: only where the operator wants it.

use axum::body::Body;
use http::StatusCode;
use serde_json::{Value, json};

use crate::common::{ADMIN, ALICE, BOB, Cloud, cloud, open_with};
use glance::StoreConfig;
use glance::outside::objects::Place;

/// Two stores, and clients see where images are.
async fn open_cloud() -> Cloud {
    let dir = tempfile::tempdir().unwrap();
    let second = dir.path().join("second");
    open_with(dir, |config| {
        let place = Place::Directory(second);
        config.stores.push(StoreConfig { id: "second".into(), description: String::new(), read_only: false, place });
        config.show_multiple_locations = true;
        config.show_image_direct_url = true;
    })
    .await
}

async fn filled(cloud: &Cloud) -> String {
    let id = cloud.raw_image(ALICE, "i").await;
    assert_eq!(cloud.upload(ALICE, &id, Body::from("some bytes")).await.status, 204);
    id
}

fn change(op: &str, path: &str, value: Option<Value>) -> Value {
    let mut change = json!({"op": op, "path": path});
    if let Some(value) = value {
        change["value"] = value;
    }
    json!([change])
}

#[tokio::test]
async fn no_image_is_made_with_them() {
    let cloud = open_cloud().await;
    let body = json!({"name": "i", "locations": [{"url": "http://mirror.example/i", "metadata": {}}]});
    let answer = cloud.send(ADMIN, "POST", "/v2/images", &body).await;
    assert_eq!(answer.status, 403);
    assert!(String::from_utf8_lossy(&answer.bytes).contains("Attribute 'locations' is reserved."));
}

#[tokio::test]
async fn they_are_invisible_by_default() {
    let cloud = cloud().await;
    let id = filled(&cloud).await;
    let shown = cloud.get(ALICE, &format!("/v2/images/{id}")).await.json();
    assert!(shown.get("locations").is_none() && shown.get("direct_url").is_none());
    let place = json!({"url": "http://mirror.example/i", "metadata": {}});
    for (op, path, value, verb) in [
        ("add", "/locations/-", Some(place.clone()), "add"),
        ("replace", "/locations", Some(json!([place])), "update"),
        ("remove", "/locations/0", None, "remove"),
    ] {
        let answer = cloud.patch(ADMIN, &id, change(op, path, value)).await;
        let text = String::from_utf8_lossy(&answer.bytes).into_owned();
        assert_eq!(answer.status, 403, "{op}: {text}");
        assert!(text.contains(&format!("not allowed to {verb} locations if locations are invisible")), "{text}");
    }
}

#[tokio::test]
async fn copies_are_told_and_taken_away_but_not_the_last() {
    let cloud = open_cloud().await;
    let id = filled(&cloud).await;
    let copy = json!({"method": {"name": "copy-image"}, "stores": ["second"]});
    assert_eq!(cloud.send(ADMIN, "POST", &format!("/v2/images/{id}/import"), &copy).await.status, 202);
    let path = format!("/v2/images/{id}");
    let mut shown = json!({});
    for _ in 0..500 {
        shown = cloud.get(ALICE, &path).await.json();
        if shown["locations"].as_array().unwrap().len() == 2 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(shown["locations"][1]["metadata"]["store"], "second");
    assert_eq!(shown["direct_url"], shown["locations"][0]["url"]);
    assert!(cloud.get(ALICE, "/v2/images").await.json()["images"][0]["locations"].is_array());
    let status = async |who: &str, op: &str, path: &str| cloud.patch(who, &id, change(op, path, None)).await.status;
    assert_eq!(status(ALICE, "remove", "/locations/0").await, StatusCode::FORBIDDEN, "administrators do that");
    assert_eq!(status(ADMIN, "remove", "/locations/7").await, StatusCode::BAD_REQUEST);
    assert_eq!(status(ADMIN, "remove", "/locations/x").await, StatusCode::BAD_REQUEST);
    let answer = cloud.patch(ADMIN, &id, change("remove", "/locations/0", None)).await;
    assert_eq!((answer.status, answer.json()["stores"].clone()), (StatusCode::OK, json!("second")));
    assert_eq!(status(ADMIN, "remove", "/locations/0").await, StatusCode::FORBIDDEN, "the last one stays");
    assert_eq!(cloud.get(ALICE, &format!("{path}/file")).await.bytes, "some bytes");
}

#[tokio::test]
async fn only_the_web_can_be_added_to_what_has_no_data_yet() {
    let cloud = open_cloud().await;
    let queued = cloud.raw_image(ALICE, "i").await;
    let add = |url: &str| change("add", "/locations/-", Some(json!({"url": url, "metadata": {}})));
    for url in ["file:///etc/passwd", "http://127.0.0.1/i", "swift+config://x", "nonsense"] {
        assert_eq!(cloud.patch(ALICE, &queued, add(url)).await.status, 400, "{url}");
    }
    assert_eq!(cloud.status(&queued).await, "queued");
    assert_eq!(cloud.patch(BOB, &queued, add("http://mirror.example/i")).await.status, 404);
    assert_eq!(cloud.patch(ALICE, &queued, change("replace", "/locations", Some(json!([])))).await.status, 403);
    let bare = change("add", "/locations/-", Some(json!({"url": "http://mirror.example/i"})));
    assert_eq!(cloud.patch(ALICE, &queued, bare).await.status, 400, "a location has metadata");
    for (data, status) in [
        (json!({"os_hash_algo": "md5", "os_hash_value": "0".repeat(32)}), 409),
        (json!({"os_hash_algo": "sha512", "os_hash_value": "x".repeat(128)}), 409),
        (json!({"os_hash_algo": "sha512", "os_hash_value": "0".repeat(64)}), 409),
        (json!({"os_hash_algo": "sha512", "os_hash_value": "0".repeat(128), "checksum": "0"}), 409),
        (json!({"os_hash_algo": "sha512"}), 400),
        (json!({"os_hash_algo": "sha512", "os_hash_value": "0".repeat(128), "more": "x"}), 400),
    ] {
        let place = json!({"url": "http://mirror.example/i", "metadata": {}, "validation_data": data});
        let answer = cloud.patch(ALICE, &queued, change("add", "/locations/-", Some(place))).await;
        assert_eq!(answer.status, status, "{data}: {}", String::from_utf8_lossy(&answer.bytes));
    }
    assert_eq!(cloud.patch(ALICE, &queued, change("replace", "/locations", Some(json!({})))).await.status, 400);
    assert_eq!(cloud.patch(ALICE, &queued, change("remove", "/locations/0", None)).await.status, 403);
    assert_eq!(cloud.patch(ADMIN, &queued, change("remove", "/locations/0", None)).await.status, 409);
    let active = filled(&cloud).await;
    assert_eq!(cloud.patch(ALICE, &active, add("http://mirror.example/i")).await.status, 400);
    // what is on its way is fetched from no address inside, whatever its name
    assert_eq!(cloud.patch(ALICE, &queued, add("http://localhost/i")).await.status, 200);
    cloud.until(&queued, "queued").await;
}
