//! Buckets as stores. Runs where `CUMULO_TEST_S3` names a server with the buckets `images` and `more`:
//! `scripts/with-s3 cargo test -p glance --test api s3`.

use crate::common::{ADMIN, ALICE, Cloud, open_with};
use axum::body::Body;
use bytes::Bytes;
use glance::StoreConfig;
use glance::outside::objects::{Place, S3};
use serde_json::json;

/// A glance whose first stores are `bucket` and `more`, then its files; none where there is no server.
async fn cloud() -> Option<Cloud> {
    let endpoint = std::env::var("CUMULO_TEST_S3").ok()?;
    let store = |id: &str, bucket: &str| {
        let (endpoint, bucket, region) = (endpoint.clone(), bucket.to_owned(), "us-east-1".to_owned());
        let s3 = S3 { endpoint, bucket, region, access_key: "key".into(), secret_key: "secret".into() };
        StoreConfig { id: id.into(), description: String::new(), read_only: false, place: Place::S3(s3) }
    };
    let stores = [store("bucket", "images"), store("more", "more")];
    Some(open_with(tempfile::tempdir().unwrap(), |config| drop(config.stores.splice(..0, stores))).await)
}

/// Waits until an image is in these stores.
async fn until_in(cloud: &Cloud, id: &str, stores: &str) {
    let mut now = json!(null);
    for _ in 0..500 {
        now = cloud.get(ADMIN, &format!("/v2/images/{id}")).await.json()["stores"].take();
        if now == stores {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{id} is in {now}, not in {stores}");
}

#[tokio::test]
async fn images_of_one_and_of_many_parts() {
    let Some(cloud) = cloud().await else { return };
    for size in [0, 11, 20 << 20] {
        let content: Vec<u8> = (0..size).map(|n: usize| (n * 7 + n / 256) as u8).collect();
        let id = cloud.raw_image(ALICE, "x").await;
        assert_eq!(cloud.upload(ALICE, &id, Body::from(content.clone())).await.status, 204);
        let path = format!("/v2/images/{id}/file");
        if size > 100 {
            let part = cloud.ask(ALICE, "GET", &path, &[("range", "bytes=9000000-9000009")], Body::empty()).await;
            assert_eq!((part.status.as_u16(), &part.bytes[..]), (206, &content[9_000_000..9_000_010]));
        }
        // from the bucket, then from the cache
        for hits in 0..2 {
            assert!(cloud.get(ALICE, &path).await.bytes == content, "{size}");
            let cached = cloud.get(ADMIN, "/v2/cache").await.json();
            let entry = cached["cached_images"].as_array().unwrap().iter().find(|e| e["image_id"] == id.as_str()).cloned();
            assert_eq!(entry.map(|e| e["hits"].as_u64()), (size > 0).then_some(Some(hits)), "{size}");
        }
        assert_eq!(cloud.get(ADMIN, &format!("/v2/images/{id}")).await.json()["stores"], "bucket");
        let copy = json!({"method": {"name": "copy-image"}, "stores": ["file"]});
        assert_eq!(cloud.send(ADMIN, "POST", &format!("/v2/images/{id}/import"), &copy).await.status, 202);
        until_in(&cloud, &id, "bucket,file").await;
        assert_eq!(cloud.ask(ADMIN, "DELETE", &format!("/v2/stores/bucket/{id}"), &[], Body::empty()).await.status, 204);
        assert!(cloud.get(ALICE, &path).await.bytes == content);
        assert_eq!(cloud.ask(ALICE, "DELETE", &format!("/v2/images/{id}"), &[], Body::empty()).await.status, 204);
    }
    assert_eq!(cloud.files(), 0);
}

#[tokio::test]
async fn copies_in_two_buckets() {
    let Some(cloud) = cloud().await else { return };
    let id = cloud.raw_image(ALICE, "x").await;
    let content: Vec<u8> = (0..9 << 20).map(|n: usize| (n * 5 + n / 256) as u8).collect();
    assert_eq!(cloud.upload(ALICE, &id, Body::from(content.clone())).await.status, 204);
    let copy = json!({"method": {"name": "copy-image"}, "stores": ["more"]});
    assert_eq!(cloud.send(ADMIN, "POST", &format!("/v2/images/{id}/import"), &copy).await.status, 202);
    until_in(&cloud, &id, "bucket,more").await;
    let places = cloud.get(ADMIN, &format!("/v2/images/{id}/locations")).await.json();
    let urls = [0, 1].map(|n: usize| places[n]["url"].as_str().unwrap().rsplit('/').nth(1).unwrap().to_owned());
    assert_eq!(urls, ["images", "more"]);
    let remove = async |store: &str| cloud.ask(ADMIN, "DELETE", &format!("/v2/stores/{store}/{id}"), &[], Body::empty()).await.status;
    assert_eq!(remove("bucket").await, 204);
    assert_eq!(remove("bucket").await, 404);
    assert_eq!(remove("more").await, 403, "the last one stays");
    until_in(&cloud, &id, "more").await;
    assert!(cloud.get(ALICE, &format!("/v2/images/{id}/file")).await.bytes == content);
    // straight into the other one
    let other = cloud.raw_image(ALICE, "y").await;
    let headers = [("content-type", "application/octet-stream"), ("x-image-meta-store", "more")];
    let answer = cloud.ask(ALICE, "PUT", &format!("/v2/images/{other}/file"), &headers, Body::from("some")).await;
    assert_eq!(answer.status, 204);
    until_in(&cloud, &other, "more").await;
}

#[tokio::test]
async fn a_broken_upload_leaves_nothing_in_the_bucket() {
    let Some(cloud) = cloud().await else { return };
    let id = cloud.raw_image(ALICE, "x").await;
    let pieces = vec![Ok(Bytes::from_static(b"some")), Err(std::io::Error::other("gone"))];
    assert_eq!(cloud.upload(ALICE, &id, Body::from_stream(futures::stream::iter(pieces))).await.status, 400);
    assert_eq!((cloud.status(&id).await.as_str(), cloud.files()), ("queued", 0));
}
