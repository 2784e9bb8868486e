//! What keystone keeps about services and domains: limits, policies, narrowed catalogs, configuration of domains.

use http::Method;
use serde_json::{Value, json};

use crate::common::{Cloud, project};

async fn service(cloud: &Cloud, admin: &str) -> String {
    cloud.get(admin, "/v3/services?type=compute").await.expect(200).body["services"][0]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn limits_are_exceptions_from_registered_ones() {
    let cloud = Cloud::start().await;
    let (admin, demo) = (cloud.admin().await, cloud.demo().await);
    let (nova, place) = (service(&cloud, &admin).await, cloud.id(&admin, "projects", "demo").await);
    let limits = json!({"limits": [{"service_id": nova, "project_id": place, "resource_name": "server", "resource_limit": 5}]});
    cloud.post(&admin, "/v3/limits", limits.clone()).await.expect(403);
    let registered =
        |service: &str| json!({"registered_limits": [{"service_id": service, "resource_name": "server", "default_limit": 10}]});
    cloud.post(&admin, "/v3/registered_limits", registered("nowhere")).await.expect(400);
    let made = cloud.post(&admin, "/v3/registered_limits", registered(&nova)).await.expect(201);
    let id = made.body["registered_limits"][0]["id"].as_str().unwrap().to_owned();
    cloud.post(&admin, "/v3/registered_limits", registered(&nova)).await.expect(409);
    let made = cloud.post(&admin, "/v3/limits", limits.clone()).await.expect(201);
    let limit = made.body["limits"][0]["id"].as_str().unwrap().to_owned();
    cloud.post(&admin, "/v3/limits", limits).await.expect(409);
    let both = json!({"limits": [{"service_id": nova, "project_id": place, "domain_id": "default", "resource_name": "server", "resource_limit": 5}]});
    cloud.post(&admin, "/v3/limits", both).await.expect(400);

    assert_eq!(cloud.get(&demo, "/v3/limits").await.expect(200).body["limits"][0]["resource_limit"], 5);
    let elsewhere = cloud.login("nova", "nova-secret", project("service")).await.token();
    assert_eq!(cloud.get(&demo, &format!("/v3/limits/{limit}")).await.expect(200).body["limit"]["project_id"], place);
    // nova's user has the role admin; what others see is their own
    assert_eq!(cloud.get(&elsewhere, "/v3/limits").await.body["limits"].as_array().unwrap().len(), 1);
    cloud.patch(&admin, &format!("/v3/limits/{limit}"), json!({"limit": {"resource_limit": 7}})).await.expect(200);
    cloud.delete(&admin, &format!("/v3/registered_limits/{id}")).await.expect(403);
    assert_eq!(cloud.get(&demo, "/v3/limits/model").await.expect(200).body["model"]["name"], "flat");
    cloud.delete(&admin, &format!("/v3/limits/{limit}")).await.expect(204);
    cloud.delete(&admin, &format!("/v3/registered_limits/{id}")).await.expect(204);
    cloud.get(&demo, &format!("/v3/registered_limits/{id}")).await.expect(404);
}

#[tokio::test]
async fn a_projects_catalog_can_be_narrowed() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    let (nova, place) = (service(&cloud, &admin).await, cloud.id(&admin, "projects", "demo").await);
    let public = cloud.get(&admin, &format!("/v3/endpoints?service_id={nova}&interface=public")).await.body["endpoints"][0].clone();
    let one = format!("/v3/OS-EP-FILTER/projects/{place}/endpoints/{}", public["id"].as_str().unwrap());
    let seen = async || {
        let token = cloud.demo().await;
        let catalog = cloud.get(&token, "/v3/auth/catalog").await.expect(200).body["catalog"].clone();
        catalog.as_array().unwrap().iter().map(|service| service["endpoints"].as_array().unwrap().len()).sum::<usize>()
    };
    assert_eq!(seen().await, 9);
    cloud.head(&admin, &one).await.expect(404);
    cloud.put(&admin, &one).await.expect(204);
    cloud.head(&admin, &one).await.expect(204);
    assert_eq!(seen().await, 1);
    let group = json!({"endpoint_group": {"name": "inside", "filters": {"interface": "internal"}}});
    let group = cloud.post(&admin, "/v3/OS-EP-FILTER/endpoint_groups", group).await.expect(201);
    let group = group.body["endpoint_group"]["id"].as_str().unwrap().to_owned();
    let member = format!("/v3/OS-EP-FILTER/endpoint_groups/{group}/projects/{place}");
    cloud.put(&admin, &member).await.expect(204);
    cloud.get(&admin, &member).await.expect(200);
    assert_eq!(seen().await, 4);
    let listed = cloud.get(&admin, &format!("/v3/OS-EP-FILTER/projects/{place}/endpoints")).await.expect(200);
    assert_eq!(listed.body["endpoints"].as_array().unwrap().len(), 4);
    cloud.delete(&admin, &format!("/v3/OS-EP-FILTER/endpoint_groups/{group}")).await.expect(204);
    cloud.delete(&admin, &one).await.expect(204);
    assert_eq!(seen().await, 9);
}

#[tokio::test]
async fn policies_are_kept_and_belong_to_endpoints() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    let nova = service(&cloud, &admin).await;
    let made = cloud.post(&admin, "/v3/policies", json!({"policy": {"type": "application/json", "blob": "{}"}})).await.expect(201);
    let id = made.body["policy"]["id"].as_str().unwrap().to_owned();
    assert_eq!(made.body["policy"]["blob"], "{}");
    cloud.post(&admin, "/v3/policies", json!({"policy": {"type": "application/json"}})).await.expect(400);
    let of_service = format!("/v3/policies/{id}/OS-ENDPOINT-POLICY/services/{nova}");
    cloud.get(&admin, &of_service).await.expect(404);
    cloud.put(&admin, &of_service).await.expect(204);
    cloud.get(&admin, &of_service).await.expect(204);
    let listed = cloud.get(&admin, &format!("/v3/policies/{id}/OS-ENDPOINT-POLICY/endpoints")).await.expect(200);
    assert_eq!(listed.body["endpoints"].as_array().unwrap().len(), 3);
    let endpoint = listed.body["endpoints"][0]["id"].as_str().unwrap();
    let seen = cloud.get(&admin, &format!("/v3/endpoints/{endpoint}/OS-ENDPOINT-POLICY/policy")).await.expect(200);
    assert_eq!(seen.body["policy"]["id"], id);
    cloud.delete(&admin, &format!("/v3/policies/{id}")).await.expect(204);
    cloud.get(&admin, &format!("/v3/endpoints/{endpoint}/OS-ENDPOINT-POLICY/policy")).await.expect(404);
}

#[tokio::test]
async fn domains_are_configured_by_groups_of_options() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    let all = "/v3/domains/default/config";
    let config = json!({"config": {"identity": {"driver": "ldap"}, "ldap": {"url": "ldap://x", "password": "secret"}}});
    cloud.get(&admin, all).await.expect(404);
    cloud.call(&admin, Method::PUT, all, json!({"config": {"kitchen": {"sink": 1}}})).await.expect(403);
    let made = cloud.call(&admin, Method::PUT, all, config.clone()).await.expect(201);
    assert_eq!(made.body, json!({"config": {"identity": {"driver": "ldap"}, "ldap": {"url": "ldap://x"}}}));
    cloud.call(&admin, Method::PUT, all, config).await.expect(200);
    assert_eq!(cloud.get(&admin, &format!("{all}/ldap/url")).await.expect(200).body, json!({"config": {"url": "ldap://x"}}));
    let changed = cloud.patch(&admin, &format!("{all}/ldap/url"), json!({"config": {"url": "ldap://y"}})).await.expect(200);
    assert_eq!(changed.body["config"]["ldap"]["url"], "ldap://y");
    cloud.patch(&admin, &format!("{all}/ldap"), json!({"config": {"identity": {"driver": "sql"}}})).await.expect(403);
    cloud.delete(&admin, &format!("{all}/ldap")).await.expect(204);
    cloud.get(&admin, &format!("{all}/ldap")).await.expect(404);
    cloud.delete(&admin, all).await.expect(204);
    cloud.delete(&admin, all).await.expect(404);
    assert_eq!(
        cloud.get(&admin, "/v3/domains/config/identity/driver/default").await.expect(200).body,
        json!({"config": {"driver": "sql"}})
    );
    assert_eq!(cloud.get(&admin, "/v3/domains/config/default").await.expect(200).body["config"]["ldap"].get("password"), None);
}

#[tokio::test]
async fn tokens_taken_back_are_listed() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    cloud.get(&admin, "/v3/auth/tokens/OS-PKI/revoked").await.expect(410);
    let token = cloud.demo().await;
    let headers = [("x-auth-token", admin.as_str()), ("x-subject-token", token.as_str())];
    cloud.send(Method::DELETE, "/v3/auth/tokens", &headers, "").await.expect(204);
    assert_eq!(cloud.get(&admin, "/v3/OS-REVOKE/events").await.expect(200).body["events"].as_array().unwrap().len(), 1);
    assert_eq!(cloud.get(&token, "/v3/regions").await.expect(401).body["error"]["code"], Value::from(401));
}

#[tokio::test]
async fn a_domain_can_be_deleted_as_the_project_it_is() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    let made = cloud.post(&admin, "/v3/projects", json!({"project": {"name": "Acme", "is_domain": true}})).await.expect(201);
    let path = format!("/v3/projects/{}", made.body["project"]["id"].as_str().unwrap());
    cloud.delete(&admin, &path).await.expect(400);
    cloud.patch(&admin, &path, json!({"project": {"enabled": false}})).await.expect(200);
    cloud.delete(&admin, &path).await.expect(204);
    cloud.get(&admin, &path).await.expect(404);
}
