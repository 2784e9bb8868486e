//! Metadata definitions.

use crate::common::{ADMIN, ALICE, Cloud, cloud, open};
use axum::body::Body;
use serde_json::json;

const BASE: &str = "/v2/metadefs/namespaces";

async fn delete(cloud: &Cloud, path: &str) -> u16 {
    cloud.ask(ADMIN, "DELETE", path, &[], Body::empty()).await.status.as_u16()
}

#[tokio::test]
async fn some_come_with_the_product_and_are_found_by_what_they_apply_to() {
    let cloud = cloud().await;
    let for_flavors = cloud.get(ALICE, &format!("{BASE}?resource_types=OS::Nova::Flavor")).await.json();
    let names: Vec<&str> = for_flavors["namespaces"].as_array().unwrap().iter().map(|n| n["namespace"].as_str().unwrap()).collect();
    assert!(names.contains(&"OS::Compute::Quota") && !names.contains(&"OS::OperatingSystem"), "{names:?}");
    let path = format!("{BASE}/OS::Compute::VirtCPUTopology?resource_type=OS::Glance::Image");
    let whole = cloud.get(ALICE, &path).await.json();
    assert_eq!(whole["properties"]["hw_cpu_sockets"]["type"], "integer");
    let quota = cloud.get(ALICE, &format!("{BASE}/OS::Compute::Quota")).await.json();
    assert_eq!(quota["objects"][0]["properties"]["quota:cpu_shares"]["title"], "Quota: CPU Shares");
    assert_eq!(cloud.get(ALICE, &format!("{BASE}?limit=100")).await.json()["namespaces"].as_array().unwrap().len(), 33);
    assert_eq!(cloud.get(ALICE, &format!("{BASE}?resource_types=OS::Nothing")).await.json()["namespaces"], json!([]));
    assert_eq!(delete(&cloud, &format!("{BASE}/OS::Compute::Quota")).await, 403, "protected");
    let types = cloud.get(ALICE, "/v2/metadefs/resource_types").await.json();
    assert!(types["resource_types"].as_array().unwrap().iter().any(|t| t["name"] == "OS::Cinder::Volume"));
    assert_eq!(cloud.get(ALICE, &format!("{BASE}?limit=-1")).await.status, 400);
    let page = cloud.get(ALICE, &format!("{BASE}?limit=2&sort_key=namespace&sort_dir=asc")).await.json();
    let next = cloud.get(ALICE, page["next"].as_str().unwrap()).await.json();
    assert_eq!((page["namespaces"].as_array().unwrap().len(), next["namespaces"].as_array().unwrap().len()), (2, 2));
}

#[tokio::test]
async fn a_default_that_was_deleted_stays_so() {
    let cloud = cloud().await;
    let path = format!("{BASE}/OS::Glance::Signatures");
    assert_eq!(delete(&cloud, &path).await, 204);
    let again = open(cloud.dir).await;
    assert_eq!(again.get(ALICE, &path).await.status, 404);
    assert_eq!(again.get(ALICE, &format!("{BASE}/OS::OperatingSystem")).await.status, 200);
}

#[tokio::test]
async fn namespaces_are_made_seen_changed_and_deleted() {
    let cloud = cloud().await;
    let body = json!({"namespace": "ns one", "display_name": "One", "visibility": "private", "protected": false});
    assert_eq!(cloud.send(ALICE, "POST", BASE, &body).await.status, 403);
    let made = cloud.send(ADMIN, "POST", BASE, &body).await;
    assert_eq!((made.status.as_u16(), made.json()["self"].as_str()), (201, Some("/v2/metadefs/namespaces/ns one")));
    assert_eq!(cloud.send(ADMIN, "POST", BASE, &body).await.status, 409);
    assert_eq!(cloud.send(ADMIN, "POST", BASE, &json!({})).await.status, 400);
    assert_eq!(cloud.send(ADMIN, "POST", BASE, &json!({"namespace": "x", "visibility": "secret"})).await.status, 400);
    let path = format!("{BASE}/ns%20one");
    assert_eq!(cloud.get(ALICE, &path).await.status, 404, "private");
    let change = json!({"namespace": "two", "visibility": "public", "protected": true});
    assert_eq!(cloud.send(ADMIN, "POST", &format!("{path}/tags/kept"), &json!({})).await.status, 201);
    assert_eq!(cloud.send(ADMIN, "PUT", &path, &change).await.status, 200);
    let two = format!("{BASE}/two");
    assert_eq!(cloud.get(ALICE, &two).await.json()["tags"], json!([{"name": "kept"}]), "what is in it moves along");
    assert_eq!(cloud.send(ALICE, "PUT", &two, &change).await.status, 403);
    assert_eq!(delete(&cloud, &two).await, 403);
    assert_eq!(delete(&cloud, &format!("{two}/tags/kept")).await, 403);
    let open = json!({"namespace": "two", "visibility": "public", "protected": false});
    assert_eq!(cloud.send(ADMIN, "PUT", &two, &open).await.status, 200);
    assert_eq!((delete(&cloud, &two).await, delete(&cloud, &two).await), (204, 404));
}

#[tokio::test]
async fn objects_properties_and_tags() {
    let cloud = cloud().await;
    assert_eq!(cloud.send(ADMIN, "POST", BASE, &json!({"namespace": "ns", "visibility": "public"})).await.status, 201);
    let property = json!({"name": "bus", "title": "Bus", "type": "string", "enum": ["a", "b"], "operators": ["<or>"]});
    for (kind, good, renamed) in [
        ("objects", json!({"name": "o", "required": ["p"], "properties": {"p": {"title": "P", "type": "integer"}}}), json!({"name": "o2"})),
        ("properties", property, json!({"name": "bus2", "title": "Bus", "type": "string"})),
    ] {
        let path = format!("{BASE}/ns/{kind}");
        let name = good["name"].as_str().unwrap().to_owned();
        assert_eq!(cloud.send(ALICE, "POST", &path, &good).await.status, 403);
        assert_eq!(cloud.send(ADMIN, "POST", &path, &good).await.status, 201, "{kind}");
        assert_eq!(cloud.send(ADMIN, "POST", &path, &good).await.status, 409);
        assert_eq!(cloud.send(ADMIN, "POST", &path, &json!({"name": 1})).await.status, 400);
        assert_eq!(cloud.get(ALICE, &format!("{path}/{name}")).await.json()["name"], name);
        assert_eq!(cloud.get(ALICE, &path).await.json()[kind].as_array().map_or(1, Vec::len), 1);
        assert_eq!(cloud.send(ADMIN, "PUT", &format!("{path}/{name}"), &renamed).await.status, 200);
        assert_eq!(cloud.get(ALICE, &format!("{path}/{name}")).await.status, 404);
        assert_eq!(delete(&cloud, &format!("{path}/{}", renamed["name"].as_str().unwrap())).await, 204);
        assert_eq!(delete(&cloud, &path).await, 204);
    }
    let tags = format!("{BASE}/ns/tags");
    let put = json!({"tags": [{"name": "a"}, {"name": "b"}]});
    assert_eq!(cloud.send(ADMIN, "POST", &tags, &put).await.status, 201);
    assert_eq!(cloud.send(ADMIN, "POST", &tags, &json!({"tags": [{"name": "c"}]})).await.json(), json!({"tags": [{"name": "c"}]}));
    let headers = [("content-type", "application/json"), ("x-openstack-append", "True")];
    assert_eq!(cloud.ask(ADMIN, "POST", &tags, &headers, Body::from(put.to_string())).await.status, 201);
    assert_eq!(
        cloud.get(ALICE, &format!("{tags}?sort_key=name&sort_dir=asc&limit=2")).await.json()["tags"],
        json!([{"name": "a"}, {"name": "b"}])
    );
    assert_eq!(cloud.send(ADMIN, "PUT", &format!("{tags}/c"), &json!({"name": "d"})).await.json()["name"], "d");
    assert_eq!((delete(&cloud, &format!("{tags}/c")).await, delete(&cloud, &format!("{tags}/d")).await), (404, 204));
    let types = format!("{BASE}/ns/resource_types");
    let applies = json!({"name": "OS::My::Type", "prefix": "my_"});
    assert_eq!(cloud.send(ADMIN, "POST", &types, &applies).await.status, 201);
    assert_eq!(cloud.send(ADMIN, "POST", &types, &applies).await.status, 409);
    assert_eq!(cloud.get(ALICE, &types).await.json()["resource_type_associations"][0]["prefix"], "my_");
    assert_eq!(
        (delete(&cloud, &format!("{types}/OS::My::Type")).await, delete(&cloud, &format!("{types}/OS::My::Type")).await),
        (204, 404)
    );
    for schema in
        ["namespace", "namespaces", "object", "objects", "property", "properties", "tag", "tags", "resource_type", "resource_types"]
    {
        assert_eq!(cloud.get(ALICE, &format!("/v2/schemas/metadefs/{schema}")).await.status, 200, "{schema}");
    }
    assert_eq!(cloud.get(ALICE, "/v2/schemas/metadefs/nope").await.status, 404);
}
