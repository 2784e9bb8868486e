//! Import, stores, tasks, the cache and quota.

use crate::common::{ADMIN, ALICE, BOB, Cloud, open_with};
use axum::body::Body;
use glance::outside::objects::Place;
use glance::{Config, DiskFormat, StoreConfig};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const BYTES: [(&str, &str); 1] = [("content-type", "application/octet-stream")];

/// A glance with two stores.
async fn cloud(set: impl FnOnce(&mut Config)) -> Cloud {
    open_with(tempfile::tempdir().unwrap(), |config| {
        let path = config.directory.join("second");
        let second =
            StoreConfig { id: "second".into(), description: "Another disk".into(), read_only: false, place: Place::Directory(path) };
        config.stores.push(second);
        config.web.internal_mirrors = vec![[127, 0, 0, 1].into()];
        set(config);
    })
    .await
}

async fn import(cloud: &Cloud, who: &str, id: &str, body: Value) -> u16 {
    cloud.send(who, "POST", &format!("/v2/images/{id}/import"), &body).await.status.as_u16()
}

async fn stage(cloud: &Cloud, id: &str, data: &'static str) {
    let staged = cloud.ask(ALICE, "PUT", &format!("/v2/images/{id}/stage"), &BYTES, Body::from(data)).await;
    assert_eq!((staged.status.as_u16(), cloud.status(id).await.as_str()), (204, "uploading"));
}

/// Waits until the newest task of an image has ended.
async fn task(cloud: &Cloud, id: &str) -> Value {
    for _ in 0..500 {
        let tasks = cloud.get(ALICE, &format!("/v2/images/{id}/tasks")).await.json();
        let newest = tasks["tasks"].as_array().unwrap().last().cloned().unwrap_or_default();
        if matches!(newest["status"].as_str(), Some("success" | "failure")) {
            return newest;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the task does not end");
}

/// Returns when a directory is empty: what failed is removed after the task has said so.
async fn emptied(directory: &std::path::Path) {
    for _ in 0..500 {
        if std::fs::read_dir(directory).unwrap().count() == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("something is left in {}", directory.display());
}

/// A web server that answers everything with the same file.
pub async fn server(content: &'static str) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = [0; 2048];
            let _ = socket.read(&mut request).await;
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{content}", content.len());
            let _ = socket.write_all(answer.as_bytes()).await;
        }
    });
    port
}

#[tokio::test]
async fn stores_are_listed_chosen_and_left() {
    let cloud = cloud(|_| {}).await;
    let info = cloud.get(ALICE, "/v2/info/stores").await.json();
    assert_eq!((info["stores"][0]["default"].as_str(), info["stores"][1]["id"].as_str()), (Some("true"), Some("second")));
    assert_eq!(cloud.get(ALICE, "/v2/info/stores/detail").await.status, 403);
    let detail = cloud.get(ADMIN, "/v2/info/stores/detail").await.json()["stores"][0].take();
    assert_eq!((detail["type"].as_str(), detail["properties"]["thin_provisioning"].as_bool()), (Some("file"), Some(false)));
    let made = cloud.send(ALICE, "POST", "/v2/images", &json!({"disk_format": "raw", "container_format": "bare"})).await;
    assert_eq!(made.headers["openstack-image-store-ids"].to_str().unwrap(), "file,second");
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let upload = async |store: &str| {
        let headers = [BYTES[0], ("x-image-meta-store", store)];
        cloud.ask(ALICE, "PUT", &format!("/v2/images/{id}/file"), &headers, Body::from("data")).await.status.as_u16()
    };
    assert_eq!(upload("third").await, 400);
    assert_eq!(upload("second").await, 204);
    assert_eq!(cloud.get(ALICE, &format!("/v2/images/{id}")).await.json()["stores"], "second");
    // a copy, and one of the two removed again
    let copy = json!({"method": {"name": "copy-image"}, "all_stores": true});
    assert_eq!(import(&cloud, ALICE, &id, copy.clone()).await, 403);
    assert_eq!(import(&cloud, ADMIN, &id, copy.clone()).await, 202);
    assert_eq!(task(&cloud, &id).await["status"], "success");
    assert_eq!(cloud.get(ALICE, &format!("/v2/images/{id}")).await.json()["stores"], "file,second");
    // a copy to where it is already has ended at once
    assert_eq!(import(&cloud, ADMIN, &id, copy).await, 202);
    let image = cloud.get(ALICE, &format!("/v2/images/{id}")).await.json();
    assert!(image["os_glance_importing_to_stores"] == "" && image["os_glance_failed_import"] == "", "{image}");
    let leave = async |who: &str, store: &str| {
        cloud.ask(who, "DELETE", &format!("/v2/stores/{store}/{id}"), &[], Body::empty()).await.status.as_u16()
    };
    assert_eq!(leave(ALICE, "second").await, 403);
    assert_eq!(leave(ADMIN, "third").await, 409);
    assert_eq!(leave(ADMIN, "second").await, 204);
    assert_eq!(leave(ADMIN, "second").await, 404);
    assert_eq!(leave(ADMIN, "file").await, 403, "the last one");
    assert_eq!(&cloud.get(ALICE, &format!("/v2/images/{id}/file")).await.bytes[..], b"data");
    assert_eq!(std::fs::read_dir(cloud.dir.path().join("images/second")).unwrap().count(), 0);
    assert_eq!(cloud.ask(ALICE, "DELETE", &format!("/v2/images/{id}"), &[], Body::empty()).await.status, 204);
    assert_eq!(cloud.files(), 0);
}

#[tokio::test]
async fn imports_say_how_they_went() {
    let cloud = cloud(|_| {}).await;
    let id = cloud.raw_image(ALICE, "x").await;
    let direct = json!({"method": {"name": "glance-direct"}, "stores": ["file", "second"]});
    assert_eq!(import(&cloud, ALICE, &id, direct.clone()).await, 409, "nothing is staged");
    stage(&cloud, &id, "data").await;
    assert_eq!(import(&cloud, ALICE, &id, json!({"method": {"name": "web-download"}})).await, 409, "something is staged");
    assert_eq!(import(&cloud, ALICE, &id, json!({"method": {"name": "glance-direct"}, "stores": ["x"]})).await, 409);
    assert_eq!(import(&cloud, ALICE, &id, json!({"method": {"name": "glance-direct"}, "stores": ["file"], "all_stores": true})).await, 400);
    assert_eq!(import(&cloud, BOB, &id, direct.clone()).await, 404);
    assert_eq!(import(&cloud, ALICE, &id, direct.clone()).await, 202);
    let ended = task(&cloud, &id).await;
    assert_eq!((ended["status"].as_str(), ended["type"].as_str()), (Some("success"), Some("api_image_import")));
    let image = cloud.get(ALICE, &format!("/v2/images/{id}")).await.json();
    assert_eq!(
        (image["status"].as_str(), image["stores"].as_str(), image["size"].as_u64()),
        (Some("active"), Some("file,second"), Some(4))
    );
    assert!(image["os_glance_importing_to_stores"] == "" && image["os_glance_failed_import"] == "");
    assert_eq!(import(&cloud, ALICE, &id, direct).await, 409, "active");
    // one that cannot be
    let bad = cloud.create(ALICE, json!({"disk_format": "qcow2", "container_format": "bare"})).await;
    stage(&cloud, &bad, "not qcow2").await;
    assert_eq!(import(&cloud, ALICE, &bad, json!({"method": {"name": "glance-direct"}})).await, 202);
    let ended = task(&cloud, &bad).await;
    assert_eq!(ended["status"], "failure");
    assert!(ended["message"].as_str().unwrap().contains("does not match"), "{ended}");
    let image = cloud.get(ALICE, &format!("/v2/images/{bad}")).await.json();
    assert_eq!((image["status"].as_str(), image["os_glance_failed_import"].as_str()), (Some("queued"), Some("file")));
    emptied(&cloud.dir.path().join("images/staging")).await;
}

#[tokio::test]
async fn the_web_is_downloaded_within_rules() {
    let port = server("from the web").await;
    let cloud = cloud(|config| config.web.ports.push(port)).await;
    let web = |uri: &str| json!({"method": {"name": "web-download", "uri": uri}});
    let id = cloud.raw_image(ALICE, "x").await;
    for bad in ["file:///etc/passwd", "http://169.254.169.254/latest", "http://10.0.0.1/", "http://example.com:22/", "nonsense"] {
        assert_eq!(import(&cloud, ALICE, &id, web(bad)).await, 400, "{bad}");
    }
    assert_eq!(import(&cloud, ALICE, &id, web(&format!("http://127.0.0.1:{port}/disk?signature=secret"))).await, 202);
    assert_eq!(task(&cloud, &id).await["status"], "success");
    assert_eq!(&cloud.get(ALICE, &format!("/v2/images/{id}/file")).await.bytes[..], b"from the web");
    let shown = task(&cloud, &id).await;
    assert!(!shown.to_string().contains("secret"), "{shown}");
    // a location is an address that is fetched and checked
    let located = cloud.raw_image(ALICE, "y").await;
    let url = format!("http://127.0.0.1:{port}/disk");
    let path = format!("/v2/images/{located}/locations");
    let wrong = json!({"url": url, "validation_data": {"os_hash_algo": "sha512", "os_hash_value": "0".repeat(128)}});
    assert_eq!(cloud.send(ALICE, "POST", &path, &wrong).await.status, 202);
    assert_eq!(task(&cloud, &located).await["status"], "failure");
    assert_eq!(cloud.send(ALICE, "POST", &path, &json!({"url": "file:///etc/passwd"})).await.status, 400);
    assert_eq!(cloud.send(ALICE, "POST", &path, &json!({"url": url})).await.status, 202);
    cloud.until(&located, "active").await;
    assert_eq!(cloud.send(ALICE, "POST", &path, &json!({"url": url})).await.status, 409);
    assert_eq!(cloud.get(ALICE, &path).await.status, 403);
    assert_eq!(cloud.get("service:service", &path).await.json()[0]["metadata"]["store"], "file");
    // an administrator's task
    let input = json!({"import_from": url, "import_from_format": "raw", "image_properties": {"name": "made"}});
    let made = cloud.send(ADMIN, "POST", "/v2/tasks", &json!({"type": "import", "input": input})).await;
    assert_eq!(made.status, 201);
    assert_eq!(cloud.send(ADMIN, "POST", "/v2/tasks", &json!({"type": "clone", "input": {}})).await.status, 400);
    assert_eq!(cloud.get(ALICE, "/v2/tasks").await.status, 403);
    let listed = cloud.get(ADMIN, "/v2/tasks?limit=2&sort_key=type&sort_dir=asc").await.json();
    assert_eq!(listed["tasks"].as_array().unwrap().len(), 2);
    assert!(listed["next"].as_str().unwrap().starts_with("/v2/tasks?"));
    let path = made.json()["self"].as_str().unwrap().to_owned();
    let id = async || cloud.get(ADMIN, &path).await.json()["result"]["image_id"].as_str().map(str::to_owned);
    for _ in 0..500 {
        if id().await.is_some() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    cloud.until(&id().await.unwrap(), "active").await;
    assert_eq!(cloud.get(ADMIN, "/v2/tasks/nope").await.status, 404);
}

#[tokio::test]
async fn imports_are_converted_where_that_is_asked_for() {
    if std::process::Command::new("qemu-img").arg("--version").output().is_err() {
        return;
    }
    let cloud = cloud(|config| config.convert_to = Some(DiskFormat::Qcow2)).await;
    let id = cloud.raw_image(ALICE, "x").await;
    stage(&cloud, &id, "a disk of few bytes").await;
    assert_eq!(import(&cloud, ALICE, &id, json!({"method": {"name": "glance-direct"}})).await, 202);
    assert_eq!(task(&cloud, &id).await["status"], "success");
    let image = cloud.get(ALICE, &format!("/v2/images/{id}")).await.json();
    assert_eq!((image["disk_format"].as_str(), image["virtual_size"].as_u64()), (Some("qcow2"), Some(512)));
    assert!(cloud.get(ALICE, &format!("/v2/images/{id}/file")).await.bytes.starts_with(b"QFI\xfb"));
}

#[tokio::test]
async fn the_cache_is_an_administrators() {
    let cloud = cloud(|_| {}).await;
    let (read, asked) = (cloud.raw_image(ALICE, "read").await, cloud.raw_image(ALICE, "asked").await);
    for id in [&read, &asked] {
        assert_eq!(cloud.upload(ALICE, id, Body::from("data")).await.status, 204);
    }
    assert_eq!(cloud.get(ALICE, "/v2/cache").await.status, 403);
    assert_eq!(cloud.ask(ADMIN, "PUT", &format!("/v2/cache/{asked}"), &[], Body::empty()).await.status, 202);
    assert_eq!(cloud.ask(ADMIN, "PUT", "/v2/cache/nope", &[], Body::empty()).await.status, 404);
    for _ in 0..2 {
        assert_eq!(&cloud.get(ALICE, &format!("/v2/images/{read}/file")).await.bytes[..], b"data");
    }
    let listed = cloud.get(ADMIN, "/v2/cache").await.json();
    assert_eq!(listed["queued_images"], json!([asked]));
    let cached = &listed["cached_images"][0];
    assert_eq!((cached["image_id"].as_str(), cached["hits"].as_u64(), cached["size"].as_u64()), (Some(read.as_str()), Some(1), Some(4)));
    let clear = async |path: &str, target: &str| {
        let headers = [("x-image-cache-clear-target", target)];
        cloud.ask(ADMIN, "DELETE", path, &headers, Body::empty()).await.status.as_u16()
    };
    assert_eq!(clear("/v2/cache", "everything").await, 400);
    assert_eq!(clear(&format!("/v2/cache/{read}"), "").await, 204);
    assert_eq!(clear(&format!("/v2/cache/{read}"), "").await, 404);
    assert_eq!(clear("/v2/cache", "queue").await, 204);
    assert_eq!(cloud.get(ADMIN, "/v2/cache").await.json(), json!({"cached_images": [], "queued_images": []}));
    // an image that is deleted is not cached
    cloud.get(ALICE, &format!("/v2/images/{read}/file")).await;
    cloud.ask(ALICE, "DELETE", &format!("/v2/images/{read}"), &[], Body::empty()).await;
    assert_eq!(std::fs::read_dir(cloud.dir.path().join("images/cache")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_project_has_what_it_may_have() {
    let cloud = cloud(|config| {
        config.limits.image_count_total = Some(2);
        config.limits.image_size_total = Some(1);
    })
    .await;
    let (first, second) = (cloud.raw_image(ALICE, "1").await, cloud.raw_image(ALICE, "2").await);
    assert_eq!(cloud.send(ALICE, "POST", "/v2/images", &json!({})).await.status, 413);
    cloud.raw_image(BOB, "his own").await;
    assert_eq!(cloud.upload(ALICE, &first, Body::from(vec![0; 700 << 10])).await.status, 204);
    assert_eq!(cloud.upload(ALICE, &second, Body::from(vec![0; 700 << 10])).await.status, 413);
    assert_eq!((cloud.status(&second).await.as_str(), cloud.files()), ("queued", 1));
    assert_eq!(cloud.upload(ALICE, &second, Body::from(vec![0; 100 << 10])).await.status, 204);
    let usage = cloud.get(ALICE, "/v2/info/usage").await.json();
    assert_eq!(usage["usage"]["image_count_total"], json!({"limit": 2, "usage": 2}));
    assert_eq!(usage["usage"]["image_count_uploading"], json!({"limit": -1, "usage": 0}));
}
