//! Bound ports whose policies promise bandwidth and packets: another policy is another claim.

use http::Method;
use serde_json::{Value, json};

use super::harness::{ADMIN, Cloud, DEMO, PLENTY, cloud, id};

const INGRESS: &str = "NET_BW_IGR_KILOBIT_PER_SEC";
const EGRESS: &str = "NET_BW_EGR_KILOBIT_PER_SEC";
const PACKETS: &str = "NET_PACKET_RATE_KILOPACKET_PER_SEC";

/// A policy with promises of bandwidth in one direction, and of packets if any.
async fn policy(cloud: &Cloud, direction: &str, kbps: i64, kpps: i64) -> String {
    let policy = id(&cloud.make(ADMIN, "qos/policies", "policy", json!({"name": "promise", "shared": true})).await);
    let bandwidth = json!({"min_kbps": kbps, "direction": direction});
    cloud.make(ADMIN, &format!("qos/policies/{policy}/minimum_bandwidth_rules"), "minimum_bandwidth_rule", bandwidth).await;
    if kpps > 0 {
        let packets = json!({"min_kpps": kpps});
        cloud.make(ADMIN, &format!("qos/policies/{policy}/minimum_packet_rate_rules"), "minimum_packet_rate_rule", packets).await;
    }
    policy
}

/// A port of a server on a host, with what nova claimed for it.
async fn bound(cloud: &Cloud, policy: Option<&str>) -> String {
    let vlan = id(&cloud.make(ADMIN, "networks", "network", json!({"provider:network_type": "vlan", "shared": true})).await);
    let port = id(&cloud.make(DEMO, "ports", "port", json!({"network_id": vlan, "qos_policy_id": policy})).await);
    let shown = cloud.bind(&port, "host1", "server").await;
    let groups = shown["resource_request"]["request_groups"].as_array().cloned().unwrap_or_default();
    let mut allocations = json!({"host": {"resources": {"VCPU": 1}}});
    let mut given = json!({});
    for (group, provider) in groups.iter().zip(["link", "agent"]) {
        allocations[provider] = json!({"resources": group["resources"]});
        given[group["id"].as_str().unwrap()] = json!(provider);
    }
    *cloud.allocations.lock().unwrap() = allocations;
    if !groups.is_empty() {
        cloud.change(ADMIN, &format!("/ports/{port}"), "port", json!({"binding:profile": {"allocation": given}})).await;
    }
    format!("/ports/{port}")
}

async fn turn(cloud: &Cloud, port: &str, policy: Option<&str>) {
    cloud.change(DEMO, port, "port", json!({"qos_policy_id": policy})).await;
}

/// Who gives the port something, and what placement has of them for the server.
async fn given(cloud: &Cloud, port: &str) -> (Vec<Value>, Value, Value) {
    let profile = cloud.get(ADMIN, port).await["port"]["binding:profile"].clone();
    let mut givers: Vec<Value> = profile["allocation"].as_object().map(|given| given.values().cloned().collect()).unwrap_or_default();
    givers.sort_by_key(Value::to_string);
    let allocations = cloud.allocations.lock().unwrap().clone();
    assert_eq!(allocations["host"], json!({"resources": {"VCPU": 1}}), "that is not the port's");
    (givers, allocations["link"]["resources"].clone(), allocations["agent"]["resources"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_policy_of_a_bound_port_is_another_claim() {
    let cloud = cloud().await;
    let (little, much) = (policy(&cloud, "ingress", 1000, 100).await, policy(&cloud, "egress", 2000, 50).await);
    let port = bound(&cloud, Some(&little)).await;
    let both = vec![json!("agent"), json!("link")];
    assert_eq!(given(&cloud, &port).await, (both.clone(), json!({INGRESS: 1000}), json!({PACKETS: 100})));
    turn(&cloud, &port, Some(&much)).await;
    assert_eq!(given(&cloud, &port).await, (both.clone(), json!({EGRESS: 2000}), json!({PACKETS: 50})));
    cloud.change(DEMO, &port, "port", json!({"description": "the same"})).await;
    assert_eq!(given(&cloud, &port).await.1, json!({EGRESS: 2000}));

    let too_much = Some(json!({"port": {"qos_policy_id": policy(&cloud, "egress", PLENTY + 1, 1).await}}));
    assert_eq!(cloud.refused(DEMO, Method::PUT, &port, too_much).await, (409, "QosPlacementAllocationUpdateConflict".into()));
    assert_eq!(cloud.get(DEMO, &port).await["port"]["qos_policy_id"], json!(much));
    assert_eq!(given(&cloud, &port).await, (both, json!({EGRESS: 2000}), json!({PACKETS: 50})));
    turn(&cloud, &port, None).await;
    assert_eq!(given(&cloud, &port).await, (vec![], Value::Null, Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_claimed_for_a_change_that_fails_is_given_back() {
    let cloud = cloud().await;
    let (little, much) = (policy(&cloud, "ingress", 1000, 0).await, policy(&cloud, "ingress", 2000, 50).await);
    let port = bound(&cloud, Some(&little)).await;
    let change = Some(json!({"port": {"qos_policy_id": much, "mac_address": "fa:16:3e:00:00:01"}}));
    assert_eq!(cloud.refused(ADMIN, Method::PUT, &port, change).await, (409, "PortBound".into()));
    assert_eq!(given(&cloud, &port).await, (vec![json!("link")], json!({INGRESS: 1000}), Value::Null));
    // nobody was asked for packets when the server came to its host
    turn(&cloud, &port, Some(&much)).await;
    assert_eq!(given(&cloud, &port).await, (vec![json!("link")], json!({INGRESS: 2000}), Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_came_without_promises_gets_none_later() {
    let cloud = cloud().await;
    let little = policy(&cloud, "ingress", 1000, 100).await;
    let port = bound(&cloud, None).await;
    turn(&cloud, &port, Some(&little)).await;
    assert_eq!(given(&cloud, &port).await, (vec![], Value::Null, Value::Null));
}
