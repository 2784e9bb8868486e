//! Limits that keystone keeps, in place of the settings'.

use std::sync::Arc;

use axum::body::Body;
use futures::FutureExt;
use futures::future::BoxFuture;
use glance::Unified;
use http::{Request, Response};
use kit::auth::ServiceSession;
use sdk::identity::Identity;
use sdk::{Endpoint, LocalService};
use serde_json::json;

use crate::common::{ALICE, BOB, cloud};

/// Keystone: everybody may have three images, alice two, and one MiB staged.
struct Keystone;

impl LocalService for Keystone {
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Response<Body>> {
        let registered = |resource: &str, limit: i64| json!({"service_id": "s1", "resource_name": resource, "default_limit": limit});
        let query = request.uri().query().unwrap_or_default().to_owned();
        let body = match request.uri().path() {
            "/v3/auth/tokens" => json!({"token": {}}),
            "/v3/services" => json!({"services": [{"id": "s1", "type": "image"}]}),
            "/v3/registered_limits" => json!({"registered_limits": [
                registered("image_size_total", -1), registered("image_stage_total", 1),
                registered("image_count_total", 3), registered("image_count_uploading", 10)
            ]}),
            "/v3/limits" if query.contains("project_id=alice") => json!({"limits": [
                {"service_id": "s1", "project_id": "alice", "resource_name": "image_count_total", "resource_limit": 2}
            ]}),
            _ => json!({"limits": []}),
        };
        let answer = Response::builder().header("x-subject-token", "glance").body(Body::from(body.to_string())).unwrap();
        async move { answer }.boxed()
    }
}

#[tokio::test]
async fn keystone_says_what_a_project_may_have() {
    let endpoint = Endpoint::local(Arc::new(Keystone), "http://cloud");
    let session = ServiceSession::new(endpoint.clone(), "glance", "secret");
    let cloud = cloud().await.limited_by(Unified { identity: Identity::new(endpoint), session });
    let usage = cloud.get(ALICE, "/v2/info/usage").await.json()["usage"].clone();
    assert_eq!(usage["image_count_total"], json!({"limit": 2, "usage": 0}));
    assert_eq!((&usage["image_size_total"]["limit"], &usage["image_stage_total"]["limit"]), (&json!(-1), &json!(1)));
    for (who, count) in [(ALICE, 2), (BOB, 3)] {
        for _ in 0..count {
            cloud.raw_image(who, "one").await;
        }
        assert_eq!(cloud.send(who, "POST", "/v2/images", &json!({"name": "one more"})).await.status, 413);
    }
    // what is staged is counted as it is kept, so that two at once do not exceed the limit together
    let images = cloud.get(BOB, "/v2/images?owner=bob").await.json()["images"].clone();
    let ids: Vec<&str> = images.as_array().unwrap().iter().map(|image| image["id"].as_str().unwrap()).collect();
    let stage = |id: &str| {
        let (cloud, path) = (&cloud, format!("/v2/images/{id}/stage"));
        let body = Body::from(vec![1; 600 << 10]);
        async move { cloud.ask(BOB, "PUT", &path, &[("content-type", "application/octet-stream")], body).await.status.as_u16() }
    };
    let mut answers = futures::future::join_all([stage(ids[0]), stage(ids[1])]).await;
    answers.sort_unstable();
    assert_eq!(answers, [204, 413]);
    let states = futures::future::join_all([cloud.status(ids[0]), cloud.status(ids[1])]).await;
    assert!(states.contains(&"queued".into()) && states.contains(&"uploading".into()), "{states:?}");
}
