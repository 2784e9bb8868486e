//! What clients of 2015 ask, answered to the letter.

use http::Method;
use serde_json::{Value, json};

use crate::common::Cloud;

#[tokio::test]
async fn the_seed_clients_login() {
    let cloud = Cloud::start().await;
    let body = json!({"auth": {"tenantName": "admin", "passwordCredentials": {"username": "admin", "password": "secret"}}});
    let answer = cloud.post("", "/v2.0/tokens", body).await.expect(200);
    assert_eq!(answer.header("vary"), "X-Auth-Token");
    let access = &answer.body["access"];
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(access), ["token", "serviceCatalog", "user", "metadata"]);
    assert_eq!(keys(&access["token"]), ["issued_at", "expires", "id", "tenant", "audit_ids"]);
    let tenant = access["token"]["tenant"]["id"].as_str().unwrap();
    assert_eq!(access["token"]["tenant"], json!({"enabled": true, "description": "Admin Tenant", "name": "admin", "id": tenant}));
    assert!(!access["token"]["issued_at"].as_str().unwrap().ends_with('Z') && access["token"]["expires"].as_str().unwrap().ends_with('Z'));
    let service = |kind: &str| access["serviceCatalog"].as_array().unwrap().iter().find(|service| service["type"] == kind).unwrap().clone();
    let identity = service("identity");
    assert_eq!(keys(&identity), ["endpoints", "endpoints_links", "type", "name"]);
    let endpoint = &identity["endpoints"][0];
    assert_eq!(endpoint["publicURL"], "http://cloud:5000/v2.0");
    assert_eq!(endpoint["internalURL"], "http://cloud:5000/v2.0");
    assert_eq!(endpoint["adminURL"], "http://cloud:35357/v2.0");
    assert_eq!((&endpoint["region"], endpoint["id"].as_str().unwrap().len()), (&json!("RegionOne"), 32));
    for url in ["publicURL", "internalURL", "adminURL"] {
        assert_eq!(service("compute")["endpoints"][0][url], format!("http://cloud:8774/v2/{tenant}"));
    }
    assert_eq!((&access["user"]["username"], &access["user"]["roles_links"]), (&json!("admin"), &json!([])));
    assert!(access["user"]["roles"].as_array().unwrap().contains(&json!({"name": "_member_"})));
    assert_eq!(access["metadata"]["is_admin"], 0);

    let token = access["token"]["id"].as_str().unwrap();
    cloud.validate(token, token).await.expect(200);
    let tenants = cloud.get(token, "/v2.0/tenants").await.expect(200);
    assert_eq!(tenants.body["tenants"][0]["name"], "admin");
    assert_eq!(tenants.body["tenants_links"], json!([]));
}

#[tokio::test]
async fn unscoped_by_id_and_by_token() {
    let cloud = Cloud::start().await;
    let credentials = json!({"username": "demo", "password": "demo-secret"});
    let unscoped = cloud.post("", "/v2.0/tokens", json!({"auth": {"passwordCredentials": credentials}})).await.expect(200);
    assert_eq!(unscoped.body["access"]["serviceCatalog"], json!([]));
    assert_eq!(unscoped.body["access"]["token"].get("tenant"), None);
    let token = &unscoped.body["access"]["token"]["id"];
    let by_name = json!({"auth": {"token": {"id": token}, "tenantName": "demo"}});
    let scoped = cloud.post("", "/v2.0/tokens", by_name).await.expect(200);
    let tenant = &scoped.body["access"]["token"]["tenant"]["id"];
    cloud.post("", "/v2.0/tokens", json!({"auth": {"passwordCredentials": credentials, "tenantId": tenant}})).await.expect(200);
    cloud.post("", "/v2.0/tokens", json!({"auth": {"token": {"id": token}, "tenantName": "admin"}})).await.expect(401);
    cloud.post("", "/v2.0/tokens", json!({"auth": {"passwordCredentials": {"username": "demo", "password": "no"}}})).await.expect(401);
    cloud.post("", "/v2.0/tokens", json!({"auth": {}})).await.expect(400);
    cloud.get("", "/v2.0/tenants").await.expect(401);
}

#[tokio::test]
async fn discovery_leads_back_the_way_the_client_came() {
    let cloud = Cloud::start().await;
    let root = cloud.get("", "/").await.expect(300);
    assert_eq!(root.header("location"), "http://cloud:5000/v3/");
    let values = root.body["versions"]["values"].as_array().unwrap();
    assert_eq!((&values[0]["id"], &values[1]["id"]), (&json!("v3.14"), &json!("v2.0")));
    for path in ["/v3", "/v3/"] {
        let answer = cloud.get("", path).await.expect(200);
        assert_eq!(answer.body["version"]["links"], json!([{"rel": "self", "href": "http://cloud:5000/v3/"}]));
    }
    assert_eq!(cloud.get("", "/v2.0/").await.expect(200).body["version"]["id"], "v2.0");
}

#[tokio::test]
async fn json_home_names_every_resource() {
    let cloud = Cloud::start().await;
    let rel = "https://docs.openstack.org/api/openstack-identity/3";
    for (path, prefix) in [("/", "/v3"), ("/v3", "")] {
        let answer = cloud.send(Method::GET, path, &[("accept", "application/json-home")], "").await.expect(200);
        let resources = &answer.body["resources"];
        assert_eq!(resources[format!("{rel}/rel/auth_tokens")], json!({"href": format!("{prefix}/auth/tokens")}));
        let role = &resources[format!("{rel}/rel/project_user_role")];
        assert_eq!(role["href-template"], format!("{prefix}/projects/{{project_id}}/users/{{user_id}}/roles/{{role_id}}"));
        assert_eq!(role["href-vars"]["role_id"], format!("{rel}/param/role_id"));
        assert!(resources[format!("{rel}/ext/OS-TRUST/1.0/rel/trusts")].is_object());
    }
}
