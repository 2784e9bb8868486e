//! What nobody should send, in bodies, queries and paths: refused, and never a failure of ours.

use http::Method;
use serde_json::{Map, Value, json};
use testkit::authorization::operations;

use crate::common::Cloud;

/// What stands around the object of a body, in any operation.
const KEYS: [&str; 26] = [
    "user",
    "group",
    "project",
    "domain",
    "role",
    "region",
    "service",
    "endpoint",
    "credential",
    "application_credential",
    "trust",
    "policy",
    "registered_limits",
    "registered_limit",
    "limits",
    "limit",
    "endpoint_group",
    "config",
    "consumer",
    "identity_provider",
    "protocol",
    "mapping",
    "service_provider",
    "auth",
    "credentials",
    "tags",
];

/// Attributes of any object.
const FIELDS: [&str; 44] = [
    "name",
    "id",
    "description",
    "domain_id",
    "enabled",
    "options",
    "tags",
    "password",
    "original_password",
    "default_project_id",
    "parent_id",
    "is_domain",
    "type",
    "url",
    "interface",
    "service_id",
    "region_id",
    "parent_region_id",
    "blob",
    "user_id",
    "project_id",
    "roles",
    "expires_at",
    "remaining_uses",
    "impersonation",
    "allow_redelegation",
    "redelegation_count",
    "trustor_user_id",
    "trustee_user_id",
    "secret",
    "unrestricted",
    "access_rules",
    "filters",
    "rules",
    "mapping_id",
    "remote_ids",
    "auth_url",
    "sp_url",
    "resource_name",
    "default_limit",
    "resource_limit",
    "identity",
    "scope",
    "access",
];

/// One object under every key.
fn under_every_key(value: &Value) -> String {
    let body: Map<String, Value> = KEYS.iter().map(|key| ((*key).to_owned(), value.clone())).collect();
    Value::Object(body).to_string()
}

/// Bodies that are wrong as a whole, and those in which one attribute is.
fn bodies() -> Vec<String> {
    let mut bodies: Vec<String> = ["", "{", "null", "[]", "1", "\"x\"", "{}", "\u{0}"].map(str::to_owned).to_vec();
    bodies.extend([json!(null), json!([]), json!(1), json!("x"), json!({}), json!([{}]), json!([1])].iter().map(under_every_key));
    for value in [json!(null), json!(1), json!(-1e300), json!([]), json!([{}]), json!({"a": []}), json!("x".repeat(300))] {
        let all: Map<String, Value> = FIELDS.iter().map(|field| ((*field).to_owned(), value.clone())).collect();
        bodies.push(under_every_key(&json!(all)));
        bodies.push(under_every_key(&json!([all])));
    }
    for field in FIELDS {
        for value in [json!(1), json!([1])] {
            bodies.push(under_every_key(&json!({"name": "n", "type": "t", "description": "d", field: value})));
        }
    }
    bodies
}

#[tokio::test]
async fn no_body_makes_the_service_fail() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    let (user, place) = (cloud.id(&admin, "users", "demo").await, cloud.id(&admin, "projects", "demo").await);
    let mut failed = Vec::new();
    let bodies = bodies();
    let table = operations(include_str!("authorization.txt"));
    let takes_body = [Method::POST, Method::PUT, Method::PATCH];
    for operation in table.iter().filter(|operation| takes_body.contains(&operation.method) && !operation.path.ends_with("{role_id}")) {
        let path = operation.path.replace("{user_id}", &user).replace("{project_id}", &place).replace("{domain_id}", "default");
        let path = format!("/v3{}", path.replace(['{', '}'], ""));
        for body in &bodies {
            let answer = cloud.send(operation.method.clone(), &path, &[("x-auth-token", &admin)], body.clone()).await;
            if answer.status >= 500 {
                failed.push(format!("{} {path} {body}: {}", operation.method, answer.body));
            }
        }
    }
    for body in &bodies {
        let answer = cloud.send(Method::POST, "/v2.0/tokens", &[], body.clone()).await;
        assert!(answer.status < 500, "{body}: {}", answer.body);
    }
    failed.truncate(20);
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[tokio::test]
async fn no_address_makes_the_service_fail() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    let queries = [
        "limit=x",
        "limit=-1",
        "limit=99999999999999999999",
        "marker=%01",
        "name=%01",
        "name=%FF",
        "name__contains=%25_%5C",
        "name__icontains=%01",
        "sort_key=nothing",
        "sort_dir=sideways",
        "enabled=%01",
        "domain_id=%01",
        "parent_id=%01",
        "user.id=%01",
        "scope.project.id=%01&include_subtree",
        "tags=%01",
        "password_expires_at=lt:%01",
        "type=%01",
        "user_id=%01",
        "trustor_user_id=%01",
        "service_id=%01",
        "effective&include_names",
        "since=%01",
    ];
    for operation in operations(include_str!("authorization.txt")).iter().filter(|operation| operation.is_read()) {
        for id in ["%01", "%FF", "..", "x%2Fy", &"x".repeat(300)] {
            let path = operation.path.split('/').map(|word| if word.starts_with('{') { id } else { word }).collect::<Vec<_>>().join("/");
            let answer = cloud.get(&admin, &format!("/v3{path}")).await;
            assert!(answer.status < 500, "{path}: {}", answer.body);
        }
        for query in queries {
            let answer = cloud.get(&admin, &format!("/v3{}?{query}", operation.path.replace(['{', '}'], ""))).await;
            assert!(answer.status < 500, "{} {query}: {}", operation.path, answer.body);
        }
    }
}
