//! OS-FEDERATION: what an operator sets, and that nobody is proved without a front end.

use http::Method;
use serde_json::{Value, json};

use crate::common::{Cloud, project};

const ALL: &str = "/v3/OS-FEDERATION";

async fn put(cloud: &Cloud, token: &str, path: &str, body: Value) -> crate::common::Answer {
    cloud.call(token, Method::PUT, &format!("{ALL}/{path}"), body).await
}

fn mapping() -> Value {
    json!({"mapping": {"rules": [{"local": [{"user": {"name": "{0}"}}], "remote": [{"type": "REMOTE_USER"}]}]}})
}

#[tokio::test]
async fn identity_providers_have_names_domains_and_protocols() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    assert_eq!(cloud.get(&admin, &format!("{ALL}/identity_providers")).await.expect(200).body["identity_providers"], json!([]));
    let made = put(&cloud, &admin, "identity_providers/acme", json!({"identity_provider": {"remote_ids": ["https://acme"]}})).await;
    let made = made.expect(201).body["identity_provider"].clone();
    let (enabled, domain) = (&made["enabled"], made["domain_id"].as_str().unwrap());
    assert_eq!((enabled, &made["remote_ids"], &made["authorization_ttl"]), (&json!(false), &json!(["https://acme"]), &Value::Null));
    assert_eq!(made["links"]["protocols"], format!("http://cloud:5000{ALL}/identity_providers/acme/protocols"));
    cloud.get(&admin, &format!("/v3/domains/{domain}")).await.expect(200);

    put(&cloud, &admin, "identity_providers/acme", json!({"identity_provider": {}})).await.expect(409);
    let taken = json!({"identity_provider": {"domain_id": "default", "remote_ids": ["https://acme"]}});
    put(&cloud, &admin, "identity_providers/other", taken).await.expect(409);
    put(&cloud, &admin, "identity_providers/other", json!({"identity_provider": {"domain_id": "missing"}})).await.expect(404);
    put(&cloud, &admin, "identity_providers/other", json!({"identity_provider": {"kitchen": 1}})).await.expect(400);
    cloud
        .patch(&admin, &format!("{ALL}/identity_providers/acme"), json!({"identity_provider": {"domain_id": "default"}}))
        .await
        .expect(400);
    let body = json!({"identity_provider": {"enabled": true, "remote_ids": []}});
    let changed = cloud.patch(&admin, &format!("{ALL}/identity_providers/acme"), body).await.expect(200);
    assert_eq!(
        (&changed.body["identity_provider"]["enabled"], &changed.body["identity_provider"]["remote_ids"]),
        (&json!(true), &json!([]))
    );

    let protocol = |mapping: &str| json!({"protocol": {"mapping_id": mapping}});
    put(&cloud, &admin, "identity_providers/acme/protocols/saml2", protocol("words")).await.expect(400);
    put(&cloud, &admin, "mappings/words", mapping()).await.expect(201);
    put(&cloud, &admin, "identity_providers/missing/protocols/saml2", protocol("words")).await.expect(404);
    put(&cloud, &admin, "identity_providers/acme/protocols/saml2", protocol("words")).await.expect(201);
    let path = format!("{ALL}/identity_providers/acme/protocols");
    assert_eq!(cloud.get(&admin, &path).await.expect(200).body["protocols"][0]["mapping_id"], "words");
    cloud.patch(&admin, &format!("{path}/saml2"), protocol("missing")).await.expect(400);
    cloud.get("", &format!("{path}/saml2/auth")).await.expect(401);
    cloud.get("", &format!("{path}/oidc/auth")).await.expect(404);

    cloud.delete(&admin, &format!("{ALL}/identity_providers/acme")).await.expect(204);
    cloud.get(&admin, &format!("{path}/saml2")).await.expect(404);
    cloud.delete(&admin, &format!("{ALL}/identity_providers/acme")).await.expect(404);
}

#[tokio::test]
async fn mappings_have_rules() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    for wrong in [json!({}), json!({"rules": []}), json!({"rules": [{"local": []}]}), json!({"rules": 1}), json!({"rules": [1], "x": 1})] {
        put(&cloud, &admin, "mappings/words", json!({"mapping": wrong})).await.expect(400);
    }
    let made = put(&cloud, &admin, "mappings/words", mapping()).await.expect(201);
    assert_eq!((&made.body["mapping"]["id"], &made.body["mapping"]["schema_version"]), (&json!("words"), &json!("1.0")));
    put(&cloud, &admin, "mappings/words", mapping()).await.expect(409);
    // as the openstack client does
    let mut said_twice = mapping();
    said_twice["mapping"]["id"] = json!("other");
    let made = put(&cloud, &admin, "mappings/other", said_twice).await.expect(201);
    assert_eq!(made.body["mapping"]["id"], "other");
    cloud.delete(&admin, &format!("{ALL}/mappings/other")).await.expect(204);
    cloud.patch(&admin, &format!("{ALL}/mappings/words"), json!({"mapping": {"rules": []}})).await.expect(400);
    cloud.patch(&admin, &format!("{ALL}/mappings/words"), mapping()).await.expect(200);
    assert_eq!(cloud.get(&admin, &format!("{ALL}/mappings")).await.expect(200).body["mappings"].as_array().unwrap().len(), 1);
    cloud.delete(&admin, &format!("{ALL}/mappings/words")).await.expect(204);
    cloud.get(&admin, &format!("{ALL}/mappings/words")).await.expect(404);
}

#[tokio::test]
async fn tokens_name_the_clouds_this_one_vouches_to() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    let provider = |enabled: bool, url: &str| json!({"service_provider": {"auth_url": url, "sp_url": "https://b/sp", "enabled": enabled}});
    put(&cloud, &admin, "service_providers/b", json!({"service_provider": {}})).await.expect(400);
    put(&cloud, &admin, "service_providers/b", provider(true, "nowhere")).await.expect(400);
    let made = put(&cloud, &admin, "service_providers/b", provider(true, "https://b/auth")).await.expect(201);
    assert_eq!(made.body["service_provider"]["relay_state_prefix"], "ss:mem:");
    put(&cloud, &admin, "service_providers/c", provider(false, "https://c/auth")).await.expect(201);
    let named = |answer: crate::common::Answer| answer.expect(201).body["token"].get("service_providers").cloned();
    let wanted = json!([{"id": "b", "auth_url": "https://b/auth", "sp_url": "https://b/sp"}]);
    assert_eq!(named(cloud.login("demo", "demo-secret", project("demo")).await), Some(wanted));
    let path = format!("{ALL}/service_providers/b");
    cloud.patch(&admin, &path, json!({"service_provider": {"sp_url": "x"}})).await.expect(400);
    cloud.patch(&admin, &path, json!({"service_provider": {"enabled": false}})).await.expect(200);
    assert_eq!(named(cloud.login("demo", "demo-secret", project("demo")).await), None);
    cloud.delete(&admin, &path).await.expect(204);
    cloud.get(&admin, &path).await.expect(404);
}
