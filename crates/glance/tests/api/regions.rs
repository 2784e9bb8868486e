//! `glance-download`: images of another region, found in the catalog.

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use glance::Regions;
use sdk::Endpoint;
use sdk::identity::Identity;
use serde_json::{Value, json};

use crate::common::{ALICE, BOB, Cloud, cloud};

const BYTES: [(&str, &str); 1] = [("content-type", "application/octet-stream")];

/// Serves on a port of its own.
async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

/// A cloud, and another one that the first finds as region `Far`.
async fn two_regions() -> (Cloud, Cloud) {
    let far = cloud().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(kit::serve::serve(listener, far.service.clone(), None, Default::default()));
    let place = |interface: &str, region: &str, url: &str| json!({"interface": interface, "region": region, "url": url});
    let image = json!([
        place("public", "Near", "http://127.0.0.1:1"),
        place("admin", "Far", "http://127.0.0.1:1"),
        place("public", "Far", &format!("{url}/v2/"))
    ]);
    let catalog = json!({"catalog": [{"type": "compute", "endpoints": []}, {"type": "image", "endpoints": image}]}).to_string();
    let keystone = serve(Router::new().route("/v3/auth/catalog", get(move || std::future::ready(catalog.clone())))).await;
    let regions = Regions { identity: Identity::new(Endpoint::http(&keystone)), authorities: None };
    (cloud().await.among(regions), far)
}

fn method(fields: Value) -> Value {
    let mut method = json!({"name": "glance-download", "glance_region": "far"});
    method.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    json!({"method": method})
}

impl Cloud {
    async fn import(&self, id: &str, body: &Value) -> (u16, String) {
        let answer = self.send(ALICE, "POST", &format!("/v2/images/{id}/import"), body).await;
        (answer.status.as_u16(), String::from_utf8_lossy(&answer.bytes).into_owned())
    }

    /// The message of the import's task, when it has failed and the image is back where it was.
    async fn failure(&self, id: &str) -> String {
        for _ in 0..500 {
            let task = self.get(ALICE, &format!("/v2/images/{id}/tasks")).await.json()["tasks"][0].clone();
            if task["status"] == "failure" {
                self.until(id, "queued").await;
                return task["message"].as_str().unwrap().to_owned();
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("the import of {id} does not fail");
    }
}

#[tokio::test]
async fn an_image_comes_from_another_region() {
    let (near, far) = two_regions().await;
    let fields = json!({"name": "there", "disk_format": "raw", "container_format": "bare", "hw_disk_bus": "scsi", "os_type": "linux", "colour": "blue"});
    let source = far.create(ALICE, fields).await;
    let uploaded = far.ask(ALICE, "PUT", &format!("/v2/images/{source}/file"), &BYTES, Body::from("far bytes")).await;
    assert_eq!(uploaded.status, 204);
    assert_eq!(near.get(ALICE, "/v2/info/import").await.json()["import-methods"]["value"][3], "glance-download");
    let own = json!({"name": "here", "disk_format": "qcow2", "container_format": "ovf"});
    let id = near.create(ALICE, own).await;
    assert_eq!(near.import(&id, &method(json!({"glance_image_id": source}))).await.0, 202);
    near.until(&id, "active").await;
    let image = near.get(ALICE, &format!("/v2/images/{id}")).await.json();
    let shown = ["name", "disk_format", "container_format", "size", "hw_disk_bus", "os_type"].map(|key| image[key].clone());
    assert_eq!(json!(shown), json!(["here", "raw", "bare", 9, "scsi", "linux"]));
    assert_eq!(image.get("colour"), None);
    assert_eq!(near.get(ALICE, &format!("/v2/images/{id}/file")).await.bytes, "far bytes");
}

#[tokio::test]
async fn what_cannot_come_is_told_and_changes_nothing() {
    let (near, far) = two_regions().await;
    let queued = far.raw_image(ALICE, "queued").await;
    let strangers = far.raw_image(BOB, "strangers").await;
    let id = near.raw_image(ALICE, "here").await;
    for (fields, words) in [
        (json!({}), "&#x27;glance_image_id&#x27; needs to be set"),
        (json!({"glance_image_id": "x"}), "does not look like a UUID: x"),
        (json!({"glance_image_id": queued, "glance_region": null}), "&#x27;glance_region&#x27; needs to be set"),
    ] {
        let (status, page) = near.import(&id, &method(fields)).await;
        assert!(status == 400 && page.replace('\'', "&#x27;").contains(words), "{status} {page}");
    }
    for (fields, words) in [
        (json!({"glance_image_id": queued}), "Source image status should be active instead of queued"),
        (json!({"glance_image_id": strangers}), "No image found"),
        (json!({"glance_image_id": queued, "glance_region": "nowhere"}), "public glance endpoint not found for region nowhere"),
        (json!({"glance_image_id": queued, "glance_service_interface": "internal"}), "internal glance endpoint not found for region far"),
    ] {
        let id = near.raw_image(ALICE, "here").await;
        assert_eq!(near.import(&id, &method(fields)).await.0, 202);
        let message = near.failure(&id).await;
        assert!(message.contains(words), "{message}");
    }
    let alone = cloud().await;
    let id = alone.raw_image(ALICE, "here").await;
    let (status, page) = alone.import(&id, &method(json!({"glance_image_id": queued}))).await;
    assert!(status == 400 && page.contains("Unknown import method name"), "{status} {page}");
}
