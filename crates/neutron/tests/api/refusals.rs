//! What is refused, with the status and the type that clients act on.

use http::Method;
use serde_json::{Value, json};

use crate::harness::{ADMIN, Cloud, DEMO, OTHER, cloud, id};

async fn refused(cloud: &Cloud, who: &str, path: &str, body: Value) -> (u16, String) {
    cloud.refused(who, Method::POST, path, Some(body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_make_no_sense() {
    let cloud = cloud().await;
    let group = id(&cloud.make(DEMO, "security-groups", "security_group", json!({"name": "g"})).await);
    let rule = |more: Value| {
        let mut rule = json!({"security_group_id": group, "direction": "ingress", "protocol": "tcp"});
        rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"security_group_rule": rule})
    };
    for (more, expected, words) in [
        (json!({"port_range_min": -16, "port_range_max": 80}), 400, "Invalid value for port -16"),
        (json!({"port_range_min": 80, "port_range_max": 65536}), 400, "Invalid value for port 65536"),
        (json!({"port_range_min": 80, "port_range_max": 79}), 400, "port_range_min must be <= port_range_max"),
        (json!({"protocol": "icmp", "port_range_min": 1, "port_range_max": 256}), 400, "Invalid value for ICMP code"),
        (json!({"protocol": "icmp", "port_range_min": 300, "port_range_max": 1}), 400, "Invalid value for ICMP type"),
        (json!({"protocol": 58}), 400, "ethertype"),
        (json!({"remote_group_id": "bad_group_id"}), 404, "bad_group_id"),
    ] {
        let (status, answer) = cloud.call(DEMO, Method::POST, "/v2.0/security-group-rules", Some(rule(more))).await;
        let message = answer["NeutronError"]["message"].as_str().unwrap();
        assert!(status == expected && message.contains(words), "{status} {message}");
    }
    let stateless = id(&cloud.make(DEMO, "security-groups", "security_group", json!({"name": "s", "stateful": false})).await);
    let (network, _) = cloud.network(DEMO, "10.0.0.0/24").await;
    let both = json!({"port": {"network_id": network, "security_groups": [group, stateless]}});
    assert_eq!(refused(&cloud, DEMO, "/ports", both).await, (409, "SecurityGroupConflict".into()));
    cloud.change(ADMIN, "/quotas/demo", "quota", json!({"security_group_rule": 0, "force": true})).await;
    assert_eq!(refused(&cloud, DEMO, "/security-groups", json!({"security_group": {"name": "x"}})).await.0, 409);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_another_projects() {
    let cloud = cloud().await;
    let (network, _) = cloud.network(DEMO, "10.0.0.0/24").await;
    let foreign = json!({"network": {"tenant_id": "demo"}});
    assert_eq!(refused(&cloud, OTHER, "/networks", foreign).await, (400, "HTTPBadRequest".into()));
    let share = |who: &str| json!({"rbac_policy": {"object_type": "network", "object_id": network, "action": "access_as_shared", "target_tenant": who}});
    assert_eq!(refused(&cloud, OTHER, "/rbac-policies", share("other")).await, (404, "RbacObjectNotFound".into()));
    let before = cloud.get(DEMO, &format!("/networks/{network}")).await["network"]["revision_number"].as_i64();
    cloud.call(DEMO, Method::POST, "/v2.0/rbac-policies", Some(share("other"))).await;
    assert!(cloud.get(DEMO, &format!("/networks/{network}")).await["network"]["revision_number"].as_i64() > before);
    assert_eq!(refused(&cloud, OTHER, "/rbac-policies", share("third")).await, (400, "InvalidInput".into()));
    let renamed = Some(json!({"network": {"name": "mine"}}));
    assert_eq!(cloud.refused(OTHER, Method::PUT, &format!("/networks/{network}"), renamed).await.0, 404);
    // the owner of a network may clear it
    let port = id(&cloud.port(OTHER, &network).await);
    cloud.delete(DEMO, &format!("/ports/{port}")).await;
    assert_eq!(cloud.get(DEMO, "/agents").await["agents"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_that_gateways_depend_on() {
    let cloud = cloud().await;
    cloud.bootstrapped().await;
    let public = cloud.named("networks", "public").await;
    let policy = |network: &str| format!("/rbac-policies?object_id={network}&action=access_as_external");
    let of_default = id(&cloud.get(ADMIN, &policy(&public)).await["rbac_policies"][0]);
    let refusal = cloud.refused(ADMIN, Method::DELETE, &format!("/rbac-policies/{of_default}"), None).await;
    assert_eq!(refusal, (409, "RbacPolicyInUse".into()));
    // a gateway needs no subnet, but the permission
    let bare = id(&cloud.make(ADMIN, "networks", "network", json!({"router:external": true})).await);
    let gateway = json!({"name": "r", "external_gateway_info": {"network_id": bare}});
    let router = id(&cloud.make(OTHER, "routers", "router", gateway).await);
    let of_bare = format!("/rbac-policies/{}", id(&cloud.get(ADMIN, &policy(&bare)).await["rbac_policies"][0]));
    assert_eq!(cloud.refused(ADMIN, Method::DELETE, &of_bare, None).await.0, 409);
    let narrowed = cloud.change(ADMIN, &of_bare, "rbac_policy", json!({"target_tenant": "other"})).await;
    assert_eq!((narrowed["target_tenant"].as_str(), narrowed.get("target_project")), (Some("other"), None));
    cloud.delete(OTHER, &format!("/routers/{router}")).await;
    cloud.delete(ADMIN, &of_bare).await;
    assert_eq!(cloud.get(ADMIN, &format!("/networks/{bare}")).await["network"]["router:external"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn networks_too_narrow_for_their_subnets() {
    let cloud = cloud().await;
    let network = id(&cloud.make(DEMO, "networks", "network", json!({"mtu": 67})).await);
    let subnet = json!({"subnet": {"network_id": network, "ip_version": 4, "cidr": "10.0.0.0/24"}});
    assert_eq!(refused(&cloud, DEMO, "/subnets", subnet.clone()).await, (409, "NetworkMTUSubnetConflict".into()));
    cloud.change(DEMO, &format!("/networks/{network}"), "network", json!({"mtu": 68})).await;
    cloud.make(DEMO, "subnets", "subnet", subnet["subnet"].clone()).await;
    let narrow = Some(json!({"network": {"mtu": 67}}));
    assert_eq!(cloud.refused(DEMO, Method::PUT, &format!("/networks/{network}"), narrow).await.0, 409);
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_given_out_of_ranges() {
    let cloud = cloud().await;
    let vlan = |more: Value| {
        let mut body = json!({"provider:network_type": "vlan"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let named = cloud.make(ADMIN, "networks", "network", vlan(json!({"provider:physical_network": "public"}))).await;
    let any = cloud.make(ADMIN, "networks", "network", vlan(json!({}))).await;
    assert_eq!((&named["provider:segmentation_id"], &any["provider:segmentation_id"]), (&json!(1), &json!(2)));
    assert_eq!(any["provider:physical_network"], "public");
    // with the last one taken, the gaps are next
    let last = json!({"provider:physical_network": "public", "provider:segmentation_id": 4094});
    cloud.make(ADMIN, "networks", "network", vlan(last.clone())).await;
    assert_eq!(cloud.make(ADMIN, "networks", "network", vlan(json!({}))).await["provider:segmentation_id"], 3);
    assert_eq!(refused(&cloud, ADMIN, "/networks", json!({"network": vlan(last)})).await, (409, "VlanIdInUse".into()));
    let nowhere = json!({"network": vlan(json!({"provider:segmentation_id": 7}))});
    assert_eq!(refused(&cloud, ADMIN, "/networks", nowhere).await, (400, "InvalidInput".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn together_they_do_not_take_more_than_there_is() {
    let cloud = cloud().await;
    let (network, _) = cloud.network(DEMO, "10.0.0.0/24").await;
    cloud.change(ADMIN, "/quotas/demo", "quota", json!({"port": 10})).await;
    let port = json!({"port": {"network_id": network}});
    let many = async || {
        let all = futures::future::join_all((0..30).map(|_| cloud.call(DEMO, Method::POST, "/v2.0/ports", Some(port.clone())))).await;
        all.into_iter().filter(|(status, _)| *status == 201).map(|(_, answer)| id(&answer["port"])).collect::<Vec<_>>()
    };
    let made = many().await;
    assert_eq!(made.len(), 10);
    for port in made.iter().take(4) {
        cloud.delete(DEMO, &format!("/ports/{port}")).await;
    }
    assert_eq!(many().await.len(), 4);
    // what nobody counted while there was no limit counts when there is one
    cloud.change(ADMIN, "/quotas/demo", "quota", json!({"port": -1})).await;
    assert_eq!(many().await.len(), 30);
    cloud.change(ADMIN, "/quotas/demo", "quota", json!({"port": 42})).await;
    assert_eq!(many().await.len(), 2);
    assert_eq!(cloud.get(DEMO, "/quotas/demo/details").await["quota"]["port"]["used"], 42);
}
