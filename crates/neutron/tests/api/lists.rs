//! Filters, fields, order, pages and tags.

use http::Method;
use serde_json::{Value, json};

use crate::harness::{ADMIN, Cloud, DEMO, OTHER, cloud, id};

async fn names(cloud: &Cloud, query: &str) -> Vec<String> {
    let list = cloud.get(DEMO, &format!("/networks?{query}")).await;
    list["networks"].as_array().unwrap().iter().map(|n| n["name"].as_str().unwrap().to_owned()).collect()
}

async fn some_networks(cloud: &Cloud) -> Vec<String> {
    let mut ids = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        ids.push(id(&cloud.make(DEMO, "networks", "network", json!({"name": name, "admin_state_up": name != "c"})).await));
    }
    cloud.make(OTHER, "networks", "network", json!({"name": "x"})).await;
    ids
}

#[tokio::test]
async fn filters_join_as_neutron_joins_them() {
    let cloud = cloud().await;
    let ids = some_networks(&cloud).await;
    assert_eq!(names(&cloud, "sort_key=name&sort_dir=asc").await, ["a", "b", "c", "d", "e"]);
    assert_eq!(names(&cloud, "name=a&name=b&sort_key=name&sort_dir=asc").await, ["a", "b"]);
    assert_eq!(names(&cloud, "name=a&name=c&admin_state_up=True").await, ["a"]);
    assert_eq!(names(&cloud, &format!("id={}&tenant_id=demo", ids[3])).await, ["d"]);
    assert_eq!(names(&cloud, "router:external=true").await, [""; 0]);
    assert_eq!(names(&cloud, "project_id=other").await, [""; 0]);
    assert_eq!(cloud.refused(DEMO, Method::GET, "/networks?colour=red", None).await, (400, "HTTPBadRequest".into()));
    let all = cloud.get(ADMIN, "/networks?fields=id&fields=name").await;
    assert_eq!(all["networks"].as_array().unwrap().len(), 6);
    assert_eq!(all["networks"][0].as_object().unwrap().len(), 2);
    let (network, subnet) = cloud.network(DEMO, "10.3.0.0/24").await;
    let port = cloud.make(DEMO, "ports", "port", json!({"network_id": network, "device_id": "s1"})).await;
    for query in [
        "fixed_ips=ip_address=10.3.0.2".to_owned(),
        "fixed_ips=ip_address_substr=3.0".into(),
        format!("fixed_ips=subnet_id={subnet}"),
        "device_id=s1&device_id=s2".into(),
        format!("security_groups={}", port["security_groups"][0].as_str().unwrap()),
    ] {
        let list = cloud.get(DEMO, &format!("/ports?{query}")).await;
        assert_eq!(list["ports"].as_array().map(Vec::len), Some(1), "{query}");
    }
}

#[tokio::test]
async fn pages_link_to_each_other() {
    let cloud = cloud().await;
    some_networks(&cloud).await;
    for (dir, expected) in [("asc", "abcde"), ("desc", "edcba")] {
        let mut path = format!("/networks?limit=2&sort_key=name&sort_dir={dir}");
        let mut seen = String::new();
        loop {
            let page = cloud.get(DEMO, &path).await;
            seen.extend(page["networks"].as_array().unwrap().iter().map(|n| n["name"].as_str().unwrap()));
            let link = |rel: &str| page["networks_links"].as_array().and_then(|l| l.iter().find(|l| l["rel"] == rel)).cloned();
            assert!(page["networks"].as_array().unwrap().is_empty() || link("previous").is_some());
            let Some(next) = link("next") else { break };
            path = next["href"].as_str().unwrap().split_once("/v2.0").unwrap().1.to_owned();
        }
        assert_eq!(seen, expected);
    }
    let c = id(&cloud.get(DEMO, "/networks?name=c").await["networks"][0]);
    assert_eq!(names(&cloud, &format!("sort_key=name&sort_dir=asc&limit=2&page_reverse=True&marker={c}")).await, ["a", "b"]);
    assert_eq!(cloud.refused(DEMO, Method::GET, &format!("/networks?limit=1&marker={}", kit::ids::uuid()), None).await.0, 404);
}

#[tokio::test]
async fn tags_are_found_again() {
    let cloud = cloud().await;
    let ids = some_networks(&cloud).await;
    let tags = |n: usize| format!("/networks/{}/tags", ids[n]);
    cloud.put(DEMO, &tags(0), json!({"tags": ["red", "blue"]})).await;
    cloud.put(DEMO, &tags(1), json!({"tags": ["red"]})).await;
    let (status, _) = cloud.call(DEMO, Method::PUT, &format!("/v2.0{}/RED", tags(2)), None).await;
    assert_eq!(status, 201);
    assert_eq!(names(&cloud, "tags=red&sort_key=name&sort_dir=asc").await, ["a", "b"]);
    assert_eq!(names(&cloud, "tags=red,blue").await, ["a"]);
    assert_eq!(names(&cloud, "tags-any=blue,RED&sort_key=name&sort_dir=asc").await, ["a", "c"]);
    assert_eq!(names(&cloud, "not-tags=red&sort_key=name&sort_dir=asc").await, ["c", "d", "e"]);
    assert_eq!(cloud.call(DEMO, Method::GET, &format!("/v2.0{}/red", tags(1)), None).await.0, 204);
    cloud.delete(DEMO, &format!("{}/red", tags(1))).await;
    assert_eq!(cloud.refused(DEMO, Method::GET, &format!("{}/red", tags(1)), None).await, (404, "TagNotFound".into()));
    assert_eq!(cloud.get(DEMO, &tags(0)).await["tags"], json!(["blue", "red"]));
    let network: Value = cloud.get(DEMO, &format!("/networks/{}", ids[0])).await;
    assert_eq!(network["network"]["tags"], json!(["blue", "red"]));
}

#[tokio::test]
async fn nonsense_is_the_callers_fault() {
    let cloud = cloud().await;
    some_networks(&cloud).await;
    for (path, status) in [
        ("/networks?limit=18446744073709551615", 200),
        ("/networks?limit=-1", 400),
        ("/networks?name=%00", 400),
        ("/networks?mtu=none", 200),
        ("/networks?sort_key=colour&sort_dir=asc", 400),
        ("/networks?sort_key=name", 400),
        ("/networks?sort_key=name&sort_dir=up", 400),
        ("/networks?changed_since=yesterday", 400),
        ("/networks/%00", 404),
        ("/security-group-rules?tags=red", 400),
        ("/address-scopes?description=x", 400),
        ("/rbac-policies?changed_since=2026-01-01", 400),
    ] {
        assert_eq!(cloud.call(DEMO, Method::GET, &format!("/v2.0{path}"), None).await.0, status, "{path}");
    }
    for body in
        [json!({"network": null}), json!({"network": {"name": "\u{0}"}}), json!({"networks": []}), json!({"networks": [1]}), json!([])]
    {
        assert_eq!(cloud.call(DEMO, Method::POST, "/v2.0/networks", Some(body.clone())).await.0, 400, "{body}");
    }
}

#[tokio::test]
async fn all_types_of_rules_are_supported() {
    let cloud = cloud().await;
    let types = async |query: &str| cloud.get(DEMO, &format!("/qos/rule-types{query}")).await["rule_types"].clone();
    let all = types("").await;
    assert_eq!(all.as_array().unwrap().len(), 5);
    assert_eq!((types("?all_rules=true").await, types("?all_supported=true").await), (all.clone(), all));
}
