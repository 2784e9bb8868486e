//! Delayed deletion: out of sight at once, and back or gone later.

use std::time::Duration;

use axum::body::Body;
use kit::db::Location;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::common::{ADMIN, ALICE, BOB, Cloud, open_with};

async fn cloud(delay: Duration) -> (Cloud, Location) {
    let mut database = None;
    let cloud = open_with(tempfile::tempdir().unwrap(), |config| {
        config.delayed_delete = Some(delay);
        database = Some(config.database.clone());
    })
    .await;
    (cloud, database.unwrap())
}

async fn shared_image(cloud: &Cloud) -> String {
    let body = json!({"name": "i", "disk_format": "raw", "container_format": "bare", "tags": ["t"], "os_distro": "cumulo"});
    let id = cloud.create(ALICE, body).await;
    assert_eq!(cloud.upload(ALICE, &id, Body::from("some bytes")).await.status, 204);
    assert_eq!(cloud.send(ALICE, "POST", &format!("/v2/images/{id}/members"), &json!({"member": "bob"})).await.status, 200);
    id
}

#[tokio::test]
async fn an_image_comes_back_as_it_was() {
    let (cloud, database) = cloud(Duration::from_secs(3600)).await;
    let id = shared_image(&cloud).await;
    let path = format!("/v2/images/{id}");
    let mut before = cloud.get(ALICE, &path).await.json();
    assert_eq!(cloud.send(ALICE, "DELETE", &path, &json!({})).await.status, 204);
    assert_eq!(cloud.get(ADMIN, &path).await.status, 404);
    assert_eq!(cloud.send(ALICE, "POST", "/v2/images", &json!({"id": id})).await.status, 409, "an id is used once");
    assert_eq!(cloud.files(), 1);
    glance::restore(&database, &id).await.unwrap();
    assert!(glance::restore(&database, &id).await.is_err(), "it is back already");
    let mut after = cloud.get(ALICE, &path).await.json();
    for image in [&mut before, &mut after] {
        image.as_object_mut().unwrap().remove("updated_at");
    }
    assert_eq!(before, after);
    assert_eq!(cloud.get(ALICE, &format!("{path}/file")).await.bytes, "some bytes");
    assert_eq!(cloud.get(BOB, &path).await.status, 200);
    // what has no data has nothing to wait for
    let empty = cloud.raw_image(ALICE, "empty").await;
    assert_eq!(cloud.send(ALICE, "DELETE", &format!("/v2/images/{empty}"), &json!({})).await.status, 204);
    assert!(glance::restore(&database, &empty).await.is_err());
}

#[tokio::test]
async fn the_scrubber_ends_it() {
    let (cloud, database) = cloud(Duration::ZERO).await;
    let id = shared_image(&cloud).await;
    assert_eq!(cloud.send(ALICE, "DELETE", &format!("/v2/images/{id}"), &json!({})).await.status, 204);
    assert_eq!(cloud.files(), 1);
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let (glance, stop) = (cloud.glance.clone(), stop.clone());
        async move { glance.run(stop).await }
    });
    for _ in 0..500 {
        if cloud.files() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(cloud.files(), 0);
    assert!(glance::restore(&database, &id).await.is_err(), "it is gone for good");
    stop.cancel();
    running.await.unwrap().unwrap();
}
