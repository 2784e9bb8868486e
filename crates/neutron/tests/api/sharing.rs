//! RBAC policies, and what can be shared by them.

use http::Method;
use serde_json::json;

use crate::harness::{ADMIN, DEMO, OTHER, cloud, id};

#[tokio::test]
async fn a_network_is_shared_with_one_project_and_kept_while_it_uses_it() {
    let cloud = cloud().await;
    let (network, _) = cloud.network(DEMO, "10.0.0.0/24").await;
    let path = format!("/networks/{network}");
    assert_eq!(cloud.refused(OTHER, Method::GET, &path, None).await.0, 404);
    let policy = json!({"object_type": "network", "object_id": network, "action": "access_as_shared", "target_tenant": "other"});
    let policy = cloud.make(DEMO, "rbac-policies", "rbac_policy", policy.clone()).await;
    assert_eq!(cloud.get(OTHER, &path).await["network"]["shared"], true);
    assert_eq!(cloud.get(DEMO, &path).await["network"]["shared"], false);
    assert_eq!(cloud.get(OTHER, "/networks?shared=True").await["networks"].as_array().unwrap().len(), 1);
    assert_eq!(cloud.get(DEMO, "/networks?shared=True").await["networks"], json!([]));
    let port = cloud.port(OTHER, &network).await;
    let rule = format!("/rbac-policies/{}", id(&policy));
    assert_eq!(cloud.refused(DEMO, Method::DELETE, &rule, None).await, (409, "RbacPolicyInUse".into()));
    cloud.delete(OTHER, &format!("/ports/{}", id(&port))).await;
    cloud.delete(DEMO, &rule).await;
    assert_eq!(cloud.refused(OTHER, Method::GET, &path, None).await.0, 404);
}

#[tokio::test]
async fn everybody_is_an_administrators_word() {
    let cloud = cloud().await;
    let (network, _) = cloud.network(DEMO, "10.0.0.0/24").await;
    let all = json!({"object_type": "network", "object_id": network, "action": "access_as_shared", "target_tenant": "*"});
    let refused = cloud.refused(DEMO, Method::POST, "/rbac-policies", Some(json!({"rbac_policy": all}))).await;
    assert_eq!(refused, (403, "PolicyNotAuthorized".into()));
    cloud.make(ADMIN, "rbac-policies", "rbac_policy", all.clone()).await;
    let again = cloud.refused(ADMIN, Method::POST, "/rbac-policies", Some(json!({"rbac_policy": all}))).await;
    assert_eq!(again, (409, "DuplicateRbacPolicy".into()));
    let port = cloud.port(OTHER, &network).await;
    let unshare = json!({"network": {"shared": false}});
    let path = format!("/networks/{network}");
    assert_eq!(cloud.refused(ADMIN, Method::PUT, &path, Some(unshare.clone())).await, (409, "InvalidSharedSetting".into()));
    cloud.delete(OTHER, &format!("/ports/{}", id(&port))).await;
    cloud.put(ADMIN, &path, unshare).await;
    assert_eq!(cloud.get(DEMO, "/rbac-policies").await["rbac_policies"], json!([]));
}

#[tokio::test]
async fn external_networks_are_known_but_not_used_by_projects() {
    let cloud = cloud().await;
    let external = cloud.make(ADMIN, "networks", "network", json!({"router:external": true, "name": "out"})).await;
    let path = format!("/networks/{}", id(&external));
    cloud.make(ADMIN, "subnets", "subnet", json!({"network_id": external["id"], "ip_version": 4, "cidr": "198.51.100.0/24"})).await;
    assert_eq!(cloud.get(DEMO, "/subnets?router:external=true").await["subnets"][0]["router:external"], true);
    assert_eq!(cloud.get(DEMO, &path).await["network"]["shared"], false);
    let port = json!({"port": {"network_id": external["id"]}});
    let (status, answer) = cloud.call(DEMO, Method::POST, "/v2.0/ports", Some(port)).await;
    let message = &answer["NeutronError"]["message"];
    assert_eq!((status, message), (403, &json!("Tenant demo not allowed to create port on this network")));
    cloud.change(ADMIN, &path, "network", json!({"router:external": false})).await;
    assert_eq!(cloud.refused(DEMO, Method::GET, &path, None).await.0, 404);
    let policy = json!({"object_type": "network", "object_id": external["id"], "action": "access_as_external", "target_tenant": "demo"});
    cloud.make(ADMIN, "rbac-policies", "rbac_policy", policy).await;
    assert_eq!(cloud.get(DEMO, &path).await["network"]["router:external"], true);
    assert_eq!(cloud.refused(OTHER, Method::GET, &path, None).await.0, 404);
}

#[tokio::test]
async fn groups_of_addresses_and_of_ports_are_shared_too() {
    let cloud = cloud().await;
    let group = id(&cloud.make(DEMO, "security-groups", "security_group", json!({"name": "web"})).await);
    let (network, _) = cloud.network(OTHER, "10.0.0.0/24").await;
    let port = json!({"port": {"network_id": network, "security_groups": [group]}});
    assert_eq!(cloud.refused(OTHER, Method::POST, "/ports", Some(port.clone())).await, (404, "SecurityGroupNotFound".into()));
    let policy = json!({"object_type": "security_group", "object_id": group, "action": "access_as_shared", "target_tenant": "other"});
    cloud.make(DEMO, "rbac-policies", "rbac_policy", policy).await;
    assert_eq!(cloud.call(OTHER, Method::POST, "/v2.0/ports", Some(port)).await.0, 201);
    assert_eq!(cloud.get(OTHER, "/security-groups?shared=true").await["security_groups"][0]["shared"], true);
    let addresses = json!({"name": "partners", "addresses": ["192.0.2.7/24", "198.51.100.1/32"]});
    let partners = cloud.make(DEMO, "address-groups", "address_group", addresses).await;
    assert_eq!(partners["addresses"], json!(["192.0.2.0/24", "198.51.100.1/32"]));
    let path = format!("/address-groups/{}", id(&partners));
    let more = cloud.put(DEMO, &format!("{path}/add_addresses"), json!({"addresses": ["203.0.113.0/24"]})).await;
    assert_eq!(more["address_group"]["addresses"].as_array().unwrap().len(), 3);
    let gone = Some(json!({"addresses": ["10.9.9.0/24"]}));
    assert_eq!(cloud.refused(DEMO, Method::PUT, &format!("{path}/remove_addresses"), gone).await, (404, "AddressesNotFound".into()));
    let rule = json!({"security_group_id": group, "direction": "ingress", "remote_address_group_id": partners["id"]});
    cloud.make(DEMO, "security-group-rules", "security_group_rule", rule).await;
    assert_eq!(cloud.refused(DEMO, Method::DELETE, &path, None).await, (409, "AddressGroupInUse".into()));
}

#[tokio::test]
async fn new_groups_begin_with_the_clouds_rules() {
    let cloud = cloud().await;
    let rules = cloud.get(DEMO, "/default-security-group-rules").await;
    assert_eq!(rules["default_security_group_rules"].as_array().unwrap().len(), 4);
    let ssh = json!({"direction": "ingress", "protocol": "tcp", "port_range_min": 22, "port_range_max": 22, "used_in_default_sg": false});
    assert_eq!(
        cloud.refused(DEMO, Method::POST, "/default-security-group-rules", Some(json!({"default_security_group_rule": ssh}))).await.0,
        403
    );
    let made = cloud.make(ADMIN, "default-security-group-rules", "default_security_group_rule", ssh).await;
    let group = cloud.make(DEMO, "security-groups", "security_group", json!({"name": "web"})).await;
    assert_eq!(group["security_group_rules"].as_array().unwrap().len(), 3);
    cloud.delete(ADMIN, &format!("/default-security-group-rules/{}", id(&made))).await;
    let group = cloud.make(DEMO, "security-groups", "security_group", json!({"name": "db"})).await;
    assert_eq!(group["security_group_rules"].as_array().unwrap().len(), 2);
    let default = cloud.get(DEMO, "/security-groups?name=default").await;
    assert_eq!(default["security_groups"][0]["security_group_rules"][0]["belongs_to_default_sg"], true);
}
