//! What clients say in more than one way, and what real neutron makes of it.

use http::Method;
use serde_json::{Value, json};

use crate::harness::{ADMIN, DEMO, OTHER, cloud, id};

#[tokio::test]
async fn an_empty_update_takes_a_floating_ip_off_its_port_and_forwardings_keep_it() {
    let cloud = cloud().await;
    cloud.bootstrapped().await;
    let (public, private) = (cloud.named("networks", "public").await, cloud.named("networks", "private").await);
    let (one, two) = (cloud.port(DEMO, &private).await, cloud.port(DEMO, &private).await);
    let floating = cloud.make(DEMO, "floatingips", "floatingip", json!({"floating_network_id": public, "port_id": one["id"]})).await;
    let path = format!("/floatingips/{}", id(&floating));
    assert_eq!(cloud.change(DEMO, &path, "floatingip", json!({})).await["port_id"], Value::Null);

    let all = format!("{path}/port_forwardings");
    let forward = |external: u16, port: &Value| {
        let inner = &port["fixed_ips"][0]["ip_address"];
        json!({"protocol": "tcp", "external_port": external, "internal_port": 22, "internal_port_id": port["id"], "internal_ip_address": inner})
    };
    let made = cloud.make(DEMO, all.trim_start_matches('/'), "port_forwarding", forward(2222, &one)).await;
    let same = Some(json!({"port_forwarding": forward(3333, &one)}));
    assert_eq!(cloud.refused(DEMO, Method::POST, &all, same).await.0, 400, "a second way to the same place");
    cloud.make(DEMO, all.trim_start_matches('/'), "port_forwarding", forward(4444, &two)).await;
    let shown = cloud.get(DEMO, &path).await["floatingip"]["port_forwardings"].clone();
    let mut brief = forward(2222, &one);
    brief["id"] = made["id"].clone();
    assert!(shown.as_array().unwrap().contains(&brief), "{shown}");
    assert_eq!(cloud.refused(DEMO, Method::DELETE, &path, None).await, (409, "FipInUseByPortForwarding".into()));

    let pools = cloud.get(DEMO, &format!("/floatingip_pools?network_id={public}&fields=cidr")).await;
    assert_eq!(pools["floatingip_pools"], json!([{"cidr": "172.24.4.0/24"}]));
    assert_eq!(cloud.get(DEMO, &format!("/floatingip-pools?network_id={public}&fields=cidr")).await, pools);
}

#[tokio::test]
async fn prefixes_stay_as_written_and_are_compared_as_what_they_mean() {
    let cloud = cloud().await;
    let group = id(&cloud.make(DEMO, "security-groups", "security_group", json!({"name": "web"})).await);
    let rule = |prefix: &str| json!({"security_group_id": group, "direction": "ingress", "remote_ip_prefix": prefix});
    let made = cloud.make(DEMO, "security-group-rules", "security_group_rule", rule("10.0.0.34/24")).await;
    assert_eq!((&made["remote_ip_prefix"], &made["normalized_cidr"]), (&json!("10.0.0.34/24"), &json!("10.0.0.0/24")));
    let again = Some(json!({"security_group_rule": rule("10.0.0.0/24")}));
    assert_eq!(cloud.refused(DEMO, Method::POST, "/security-group-rules", again).await, (409, "SecurityGroupRuleExists".into()));
    let group = cloud.make(DEMO, "address-groups", "address_group", json!({"name": "a", "addresses": ["10.0.0.9/32"]})).await;
    let path = format!("/address-groups/{}", id(&group));
    let unknown = Some(json!({"addresses": ["10.200.200.200"]}));
    assert_eq!(cloud.refused(DEMO, Method::PUT, &format!("{path}/remove_addresses"), unknown).await.0, 404);
    let left = cloud.put(DEMO, &format!("{path}/remove_addresses"), json!({"addresses": ["10.0.0.9"]})).await;
    assert_eq!(left["address_group"]["addresses"], json!([]));
}

#[tokio::test]
async fn a_policy_is_shared_as_long_as_somebody_has_it_by_that_alone() {
    let cloud = cloud().await;
    let policy = id(&cloud.make(ADMIN, "qos/policies", "policy", json!({"name": "slow", "shared": true})).await);
    let path = format!("/qos/policies/{policy}");
    let network = cloud.make(ADMIN, "networks", "network", json!({"name": "own", "qos_policy_id": policy})).await;
    let unshare = Some(json!({"policy": {"shared": false}}));
    assert_eq!(cloud.refused(ADMIN, Method::PUT, &path, unshare).await.0, 409, "also for its owner");
    cloud.delete(ADMIN, &format!("/networks/{}", id(&network))).await;

    let only = json!({"object_type": "qos_policy", "object_id": policy, "action": "access_as_shared", "target_tenant": "demo"});
    let only = cloud.make(ADMIN, "rbac-policies", "rbac_policy", only).await;
    cloud.make(DEMO, "networks", "network", json!({"name": "n", "qos_policy_id": policy})).await;
    cloud.change(ADMIN, &path, "policy", json!({"shared": false})).await;
    assert_eq!(cloud.refused(OTHER, Method::GET, &path, None).await.0, 404);
    let refused = cloud.refused(ADMIN, Method::DELETE, &format!("/rbac-policies/{}", id(&only)), None).await;
    assert_eq!(refused, (409, "RbacPolicyInUse".into()));
    let beyond = cloud.get(OTHER, &format!("/qos/policies?limit=1&marker={policy}")).await;
    assert_eq!(beyond["policies"], json!([]), "a marker one does not see is none");
}

#[tokio::test]
async fn ports_are_particular_about_addresses() {
    let cloud = cloud().await;
    let network = id(&cloud.make(DEMO, "networks", "network", json!({"name": "n"})).await);
    let kept = |cidr: &str, kind: &str| json!({"network_id": network, "ip_version": 4, "cidr": cidr, "service_types": [kind]});
    cloud.make(DEMO, "subnets", "subnet", kept("10.0.1.0/24", "test:one")).await;
    let first = cloud.make(DEMO, "ports", "port", json!({"network_id": network, "device_owner": "test:one"})).await;
    cloud.bind(&id(&first), "host1", "s1").await;
    // with somebody to serve, a DHCP server takes an address of every subnet
    let subnet = cloud.make(DEMO, "subnets", "subnet", kept("10.0.2.0/24", "test:two")).await;
    assert_eq!(subnet["router:external"], false);
    let port = cloud.make(DEMO, "ports", "port", json!({"network_id": network, "device_owner": "test:two"})).await;
    assert!(port["fixed_ips"][0]["ip_address"].as_str().unwrap().starts_with("10.0.2."));
    assert_eq!(port["fixed_ips"].as_array().unwrap().len(), 1);

    let path = format!("/ports/{}", id(&port));
    let before = port["mac_address"].clone();
    let after = cloud.change(ADMIN, &path, "port", json!({"mac_address": null})).await["mac_address"].clone();
    assert!(after != before && after.as_str().unwrap().starts_with("fa:16:3e:"), "{after}");
    let multicast = Some(json!({"port": {"allowed_address_pairs": [{"ip_address": "224.0.0.18"}]}}));
    assert_eq!(cloud.refused(DEMO, Method::PUT, &path, multicast).await.0, 400);
    cloud.make(DEMO, "ports", "port", json!({"network_id": network, "fixed_ips": []})).await;
    let without = cloud.get(DEMO, "/ports?ip_allocation=none").await["ports"].clone();
    assert_eq!(without.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_quota_below_what_is_there_is_refused_unless_forced() {
    let cloud = cloud().await;
    cloud.network(DEMO, "10.0.0.0/24").await;
    let limit = |extra: Value| {
        let mut quota = json!({"network": 0});
        quota.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        json!({"quota": quota})
    };
    assert_eq!(cloud.refused(ADMIN, Method::PUT, "/quotas/demo", Some(limit(json!({})))).await, (400, "InvalidQuotaValue".into()));
    cloud.put(ADMIN, "/quotas/demo", limit(json!({"force": true}))).await;
    let network = Some(json!({"network": {"name": "one too many"}}));
    assert_eq!(cloud.refused(DEMO, Method::POST, "/networks", network).await, (409, "OverQuota".into()));
}
