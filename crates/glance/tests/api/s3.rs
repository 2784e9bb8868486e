//! A bucket as a store. Runs where `CUMULO_TEST_S3` names a server with a bucket `images`: `scripts/with-s3 cargo test -p glance --test api s3`.

use crate::common::{ADMIN, ALICE, Cloud, open_with};
use axum::body::Body;
use bytes::Bytes;
use glance::StoreConfig;
use glance::outside::objects::{Place, S3};
use serde_json::json;

/// A glance whose first store is the bucket; none where there is no server.
async fn cloud() -> Option<Cloud> {
    let endpoint = std::env::var("CUMULO_TEST_S3").ok()?;
    let s3 = S3 { endpoint, bucket: "images".into(), region: "us-east-1".into(), access_key: "key".into(), secret_key: "secret".into() };
    let store = StoreConfig { id: "bucket".into(), description: String::new(), read_only: false, place: Place::S3(s3) };
    Some(open_with(tempfile::tempdir().unwrap(), |config| config.stores.insert(0, store)).await)
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
        for _ in 0..500 {
            if cloud.get(ADMIN, &format!("/v2/images/{id}")).await.json()["stores"] == "bucket,file" {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert_eq!(cloud.ask(ADMIN, "DELETE", &format!("/v2/stores/bucket/{id}"), &[], Body::empty()).await.status, 204);
        assert!(cloud.get(ALICE, &path).await.bytes == content);
        assert_eq!(cloud.ask(ALICE, "DELETE", &format!("/v2/images/{id}"), &[], Body::empty()).await.status, 204);
    }
    assert_eq!(cloud.files(), 0);
}

#[tokio::test]
async fn a_broken_upload_leaves_nothing_in_the_bucket() {
    let Some(cloud) = cloud().await else { return };
    let id = cloud.raw_image(ALICE, "x").await;
    let pieces = vec![Ok(Bytes::from_static(b"some")), Err(std::io::Error::other("gone"))];
    assert_eq!(cloud.upload(ALICE, &id, Body::from_stream(futures::stream::iter(pieces))).await.status, 400);
    assert_eq!((cloud.status(&id).await.as_str(), cloud.files()), ("queued", 0));
}
