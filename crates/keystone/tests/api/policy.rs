//! Who may do what: the same operations as nobody, member, system reader, domain manager and administrator.

use http::Method;
use serde_json::{Value, json};

use crate::common::Cloud;

/// Method, path, body, and the status for nobody, a member, a system reader and an administrator.
fn operations(user: &str) -> Vec<(Method, String, Value, [u16; 4])> {
    let missing = |plural: &str| format!("/v3/{plural}/missing");
    vec![
        (Method::GET, "/v3/users".into(), Value::Null, [401, 403, 200, 200]),
        (Method::GET, missing("users"), Value::Null, [401, 403, 404, 404]),
        (Method::GET, format!("/v3/users/{user}"), Value::Null, [401, 200, 200, 200]),
        (Method::POST, "/v3/users".into(), json!({"user": {}}), [401, 403, 403, 400]),
        (Method::PATCH, missing("users"), json!({"user": {}}), [401, 403, 403, 404]),
        (Method::DELETE, missing("users"), Value::Null, [401, 403, 403, 404]),
        (Method::GET, "/v3/projects".into(), Value::Null, [401, 403, 200, 200]),
        (Method::GET, format!("/v3/users/{user}/projects"), Value::Null, [401, 200, 200, 200]),
        (Method::GET, missing("projects"), Value::Null, [401, 403, 404, 404]),
        (Method::POST, "/v3/projects".into(), json!({"project": {}}), [401, 403, 403, 400]),
        (Method::GET, "/v3/domains".into(), Value::Null, [401, 403, 200, 200]),
        (Method::POST, "/v3/domains".into(), json!({"domain": {}}), [401, 403, 403, 400]),
        (Method::GET, "/v3/groups".into(), Value::Null, [401, 403, 200, 200]),
        (Method::GET, "/v3/roles".into(), Value::Null, [401, 403, 200, 200]),
        (Method::POST, "/v3/roles".into(), json!({"role": {}}), [401, 403, 403, 400]),
        (Method::GET, "/v3/role_assignments".into(), Value::Null, [401, 403, 200, 200]),
        (Method::GET, format!("/v3/domains/default/users/{user}/roles"), Value::Null, [401, 403, 200, 200]),
        (Method::PUT, format!("/v3/domains/default/users/{user}/roles/missing"), Value::Null, [401, 404, 404, 404]),
        (Method::GET, "/v3/services".into(), Value::Null, [401, 403, 200, 200]),
        (Method::POST, "/v3/endpoints".into(), json!({"endpoint": {}}), [401, 403, 403, 400]),
        (Method::GET, "/v3/regions".into(), Value::Null, [401, 200, 200, 200]),
        (Method::POST, "/v3/regions".into(), json!({"region": []}), [401, 403, 403, 400]),
        (Method::GET, format!("/v3/users/{user}/application_credentials"), Value::Null, [401, 200, 200, 200]),
        (Method::POST, format!("/v3/users/{user}/application_credentials"), json!({"application_credential": {}}), [401, 400, 403, 403]),
    ]
}

#[tokio::test]
async fn everybody_may_what_the_rules_say() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    let (demo_user, nova_user) = (cloud.id(&admin, "users", "demo").await, cloud.id(&admin, "users", "nova").await);
    let reader = cloud.id(&admin, "roles", "reader").await;
    cloud.put(&admin, &format!("/v3/system/users/{nova_user}/roles/{reader}")).await.expect(204);
    let system_reader = cloud.login("nova", "nova-secret", json!({"system": {"all": true}})).await.token();
    let demo = cloud.demo().await;
    for (method, path, body, expected) in operations(&demo_user) {
        for (who, token, status) in [
            ("nobody", "", expected[0]),
            ("member", demo.as_str(), expected[1]),
            ("system reader", system_reader.as_str(), expected[2]),
            ("admin", admin.as_str(), expected[3]),
        ] {
            let answer = cloud.call(token, method.clone(), &path, body.clone()).await;
            assert_eq!(answer.status, status, "{method} {path} as {who}: {}", answer.body);
        }
    }
    let refused = cloud.get(&demo, "/v3/users").await.expect(403);
    let words = "You are not authorized to perform the requested action: identity:list_users.";
    assert_eq!(refused.body, json!({"error": {"code": 403, "title": "Forbidden", "message": words}}));
}

#[tokio::test]
async fn a_domains_administrator_has_no_say_in_the_system() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    let (user, role) = (cloud.id(&admin, "users", "admin").await, cloud.id(&admin, "roles", "admin").await);
    cloud.put(&admin, &format!("/v3/domains/default/users/{user}/roles/{role}")).await.expect(204);
    let of_domain = cloud.rescope(&admin, json!({"domain": {"id": "default"}})).await.token();
    let grant = format!("/v3/system/users/{user}/roles/{role}");
    cloud.put(&of_domain, &grant).await.expect(403);
    cloud.put(&admin, &grant).await.expect(204);
    cloud.get(&of_domain, &grant).await.expect(403);
    cloud.get(&of_domain, &format!("/v3/system/users/{user}/roles")).await.expect(403);
    cloud.delete(&of_domain, &grant).await.expect(403);
    cloud.get(&admin, &grant).await.expect(204);
}

#[tokio::test]
async fn a_domains_manager_rules_that_domain_only() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    let acme = cloud.post(&admin, "/v3/domains", json!({"domain": {"name": "Acme"}})).await.expect(201);
    let acme = acme.body["domain"]["id"].as_str().unwrap().to_owned();
    let manager = cloud.id(&admin, "roles", "manager").await;
    let body = json!({"user": {"name": "boss", "password": "pass", "domain_id": acme}});
    let boss = cloud.post(&admin, "/v3/users", body).await.expect(201).body["user"]["id"].as_str().unwrap().to_owned();
    cloud.put(&admin, &format!("/v3/domains/{acme}/users/{boss}/roles/{manager}")).await.expect(204);
    let identity = json!({"methods": ["password"], "password": {"user": {"id": boss, "password": "pass"}}});
    let token = cloud.auth(identity, json!({"domain": {"id": acme}})).await.token();

    cloud.post(&token, "/v3/users", json!({"user": {"name": "hand"}})).await.expect(403);
    let made = cloud.post(&token, "/v3/users", json!({"user": {"name": "hand", "domain_id": acme}})).await.expect(201);
    assert_eq!(made.body["user"]["domain_id"], acme);
    let names = cloud.get(&token, "/v3/users").await.expect(200).body["users"].as_array().unwrap().len();
    assert_eq!(names, 2);
    cloud.post(&token, "/v3/users", json!({"user": {"name": "hand", "domain_id": "default"}})).await.expect(403);
    cloud.get(&token, "/v3/users?domain_id=default").await.expect(403);
    let demo = cloud.id(&admin, "users", "demo").await;
    cloud.get(&token, &format!("/v3/users/{demo}")).await.expect(403);
    cloud.delete(&token, &format!("/v3/users/{demo}")).await.expect(403);
    cloud.put(&token, &format!("/v3/domains/default/users/{boss}/roles/{manager}")).await.expect(403);
    // nor gives more than the domain is theirs to give
    let hand = made.body["user"]["id"].as_str().unwrap();
    for (role, status) in [("admin", 403), ("service", 403), ("member", 204)] {
        let role = cloud.id(&admin, "roles", role).await;
        cloud.put(&token, &format!("/v3/domains/{acme}/users/{hand}/roles/{role}")).await.expect(status);
    }
    let project = cloud.id(&admin, "projects", "admin").await;
    cloud.put(&token, &format!("/v3/projects/{project}/users/{boss}/roles/{manager}")).await.expect(403);
    assert_eq!(cloud.get(&token, "/v3/domains").await.expect(200).body["domains"].as_array().unwrap().len(), 1);
}
