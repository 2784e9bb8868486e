//! What clients do beyond what nova's reference tells: bodies where none is needed, addresses written at length, slashes too many, groups
//! filled by one request.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use support::{ADMIN, Behaviour, Cloud, IMAGE, MEMBER, server};

const HOSTS: &[(&str, Behaviour)] = &[("h1", Behaviour::Run), ("h2", Behaviour::Run)];

#[tokio::test]
async fn actions_take_empty_objects_for_nothing() {
    let cloud = Cloud::start(HOSTS).await;
    let id = cloud.active(MEMBER).await;
    for (version, action, status) in
        [("", "pause", "PAUSED"), ("2.91", "unpause", "ACTIVE"), ("2.91", "os-stop", "SHUTOFF"), ("", "os-start", "ACTIVE")]
    {
        let answer = cloud.act(MEMBER, version, &id, json!({action: {}})).await;
        assert_eq!(answer.status, 202, "{action}: {}", answer.body);
        cloud.settled(&id, status).await;
    }
    assert_eq!(cloud.act(MEMBER, "2.91", &id, json!({"lock": {}})).await.status, 202);
    assert_eq!(cloud.act(MEMBER, "2.91", &id, json!({"unlock": {}})).await.status, 202);
    assert_eq!(cloud.act(MEMBER, "2.91", &id, json!({"trigger_crash_dump": {}})).await.status, 400);
}

#[tokio::test]
async fn what_is_told_has_one_form() {
    let cloud = Cloud::start(HOSTS).await;
    let body = server(json!({"accessIPv6": "0000:0000:0000:0000:0000:babe:220.12.22.2"}));
    let made = cloud.ask(MEMBER, "", "POST", "/v2.1/servers", body).await;
    let id = made.body["server"]["id"].as_str().unwrap().to_owned();
    cloud.settled(&id, "ACTIVE").await;
    let shown = cloud.ask(MEMBER, "", "GET", &format!("/v2.1/servers/{id}"), Value::Null).await;
    assert_eq!(shown.body["server"]["accessIPv6"], "::babe:dc0c:1602");
    let rebuilt = cloud.act(MEMBER, "2.57", &id, json!({"rebuild": {"imageRef": IMAGE}})).await;
    assert_eq!((rebuilt.status.as_u16(), rebuilt.body["server"].get("user_data")), (202, Some(&Value::Null)), "{}", rebuilt.body);
}

#[tokio::test]
async fn paths_are_read_as_they_are_written() {
    let cloud = Cloud::start(HOSTS).await;
    let status = async |method: &str, path: &str| cloud.ask(ADMIN, "", method, path, Value::Null).await.status.as_u16();
    assert_eq!(status("GET", "/v2.1/").await, 200);
    assert_eq!(status("GET", "/v2.1/servers/").await, 404);
    assert_eq!(status("DELETE", "/v2.1/images/").await, 404);
    assert_eq!(status("GET", "/v2.1/os-instance_usage_audit_log/2026-11-21%2011%3A13%3A13").await, 200);
    assert_eq!(status("GET", "/v2.1/os-security-groups/7").await, 400);
    assert_eq!(status("GET", "/v2.1/flavors?is_public=f").await, 200);
    assert_eq!(status("GET", "/v2.1/flavors?is_public=x").await, 400);
    let hosts = cloud.ask(ADMIN, "", "GET", "/v2.1/os-hosts?zone=", Value::Null).await;
    assert!(!hosts.body["hosts"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn more_metadata_than_the_quota_is_refused() {
    let cloud = Cloud::start(HOSTS).await;
    let metadata: serde_json::Map<String, Value> = (0..129).map(|n| (n.to_string(), json!("v"))).collect();
    let answer = cloud.ask(MEMBER, "", "POST", "/v2.1/servers", server(json!({"metadata": metadata}))).await;
    assert_eq!(answer.status, 403, "{}", answer.body);
    assert_eq!(cloud.get("/v2.1/limits").await.body["limits"]["absolute"]["totalInstancesUsed"], 0);
}

#[tokio::test]
async fn members_of_a_group_made_at_once_keep_its_policy() {
    let cloud = Cloud::start(HOSTS).await;
    for (policy, hosts) in [("anti-affinity", 2), ("affinity", 1)] {
        let group = json!({"server_group": {"name": policy, "policy": policy}});
        let group = cloud.ask(MEMBER, "2.64", "POST", "/v2.1/os-server-groups", group).await.body["server_group"]["id"].clone();
        let mut body = server(json!({"min_count": 2, "max_count": 2, "name": policy}));
        body["os:scheduler_hints"] = json!({"group": group});
        assert_eq!(cloud.ask(MEMBER, "", "POST", "/v2.1/servers", body).await.status, 202);
        let listed = cloud.ask(ADMIN, "", "GET", &format!("/v2.1/servers?all_tenants=1&name=^{policy}-"), Value::Null).await;
        let mut on = Vec::new();
        for row in listed.body["servers"].as_array().unwrap() {
            on.push(cloud.wait(row["id"].as_str().unwrap(), "ACTIVE").await["OS-EXT-SRV-ATTR:host"].to_string());
        }
        assert_eq!(on.len(), 2);
        on.sort_unstable();
        on.dedup();
        assert_eq!(on.len(), hosts, "{policy}");
    }
}
