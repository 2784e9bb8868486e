//! Regions, services and endpoints.

use http::Method;
use serde_json::json;

use crate::common::Cloud;

#[tokio::test]
async fn the_catalog_can_be_changed_and_tokens_see_it_at_once() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    let made = cloud.post(&admin, "/v3/services", json!({"service": {"type": "dns", "name": "designate"}})).await.expect(201);
    let service = made.body["service"]["id"].as_str().unwrap().to_owned();
    let endpoint = |url: &str, interface: &str, region: &str| json!({"endpoint": {"service_id": service, "url": url, "interface": interface, "region_id": region}});
    cloud.post(&admin, "/v3/endpoints", endpoint("http://dns", "public", "nowhere")).await.expect(400);
    cloud.post(&admin, "/v3/endpoints", endpoint("http://dns", "private", "RegionOne")).await.expect(400);
    cloud.post(&admin, "/v3/endpoints", endpoint("http://dns/$(home)s", "public", "RegionOne")).await.expect(400);
    let made = cloud.post(&admin, "/v3/endpoints", endpoint("http://dns/%(tenant_id)s", "public", "RegionOne")).await.expect(201);
    let id = made.body["endpoint"]["id"].as_str().unwrap().to_owned();
    assert_eq!(made.body["endpoint"]["region"], "RegionOne");

    let catalog = cloud.get(&admin, "/v3/auth/catalog").await.expect(200).body["catalog"].clone();
    let project = cloud.id(&admin, "projects", "admin").await;
    let dns = catalog.as_array().unwrap().iter().find(|service| service["type"] == "dns").unwrap();
    assert_eq!(dns["endpoints"][0]["url"], format!("http://dns/{project}"));
    // without a project the address cannot be filled in
    let system = cloud.login("admin", "secret", json!({"system": {"all": true}})).await.expect(201);
    let dns = system.body["token"]["catalog"].as_array().unwrap().iter().find(|service| service["type"] == "dns").unwrap();
    assert_eq!(dns["endpoints"], json!([]));

    cloud.patch(&admin, &format!("/v3/endpoints/{id}"), json!({"endpoint": {"enabled": false}})).await.expect(200);
    assert_eq!(cloud.get(&admin, "/v3/auth/catalog").await.body["catalog"].as_array().unwrap().len(), 3);
    assert_eq!(cloud.get(&admin, &format!("/v3/endpoints?service_id={service}")).await.body["endpoints"][0]["id"], id);
    cloud.delete(&admin, &format!("/v3/services/{service}")).await.expect(204);
    cloud.get(&admin, &format!("/v3/endpoints/{id}")).await.expect(404);
}

#[tokio::test]
async fn regions_have_chosen_names() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    cloud.post(&admin, "/v3/regions", json!({"region": {"id": "North"}})).await.expect(201);
    cloud.post(&admin, "/v3/regions", json!({"region": {"id": "North"}})).await.expect(409);
    cloud.post(&admin, "/v3/regions", json!({"region": {"id": "x", "parent_region_id": "nowhere"}})).await.expect(404);
    let south = json!({"region": {"parent_region_id": "North"}});
    cloud.call(&admin, Method::PUT, "/v3/regions/South", south).await.expect(201);
    cloud.delete(&admin, "/v3/regions/North").await.expect(403);
    cloud.delete(&admin, "/v3/regions/RegionOne").await.expect(403);
    cloud.patch(&admin, "/v3/regions/North", json!({"region": {"parent_region_id": "South"}})).await.expect(400);
    let demo = cloud.demo().await;
    assert_eq!(cloud.get(&demo, "/v3/regions").await.expect(200).body["regions"].as_array().unwrap().len(), 3);
    cloud.delete(&admin, "/v3/regions/South").await.expect(204);
    cloud.delete(&admin, "/v3/regions/North").await.expect(204);
}
