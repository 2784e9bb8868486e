//! Networks, subnets, security groups, quotas and what is around them.

use http::Method;
use serde_json::json;

use crate::harness::{ADMIN, DEMO, OTHER, READER, cloud, id};

#[tokio::test]
async fn discovery_extensions_and_refusals() {
    let cloud = cloud().await;
    let (status, versions) = cloud.call("", Method::GET, "/", None).await;
    assert_eq!((status, &versions["versions"][0]["id"]), (200, &json!("v2.0")));
    assert_eq!(cloud.call("", Method::GET, "/v2.0/", None).await.0, 401);
    assert!(cloud.get(DEMO, "/").await["resources"].as_array().unwrap().len() > 5);
    assert_eq!(cloud.get(DEMO, "/extensions/router.json").await["extension"]["alias"], "router");
    assert_eq!(cloud.refused(DEMO, Method::GET, "/extensions/vpnaas", None).await.0, 404);
    assert_eq!(cloud.refused(DEMO, Method::GET, "/nothing", None).await, (404, "HTTPNotFound".into()));
    for (body, message) in [
        (json!([]), "Body contains invalid data"),
        (json!({}), "Resource body required"),
        (json!({"name": "n"}), "Unable to find 'network' in request body"),
        (json!({"network": "n"}), "Object 'network' contains invalid data"),
        (json!({"network": {"colour": "red", "shape": "round"}}), "Unrecognized attribute(s) 'colour, shape'"),
        (json!({"network": {"status": "ACTIVE"}}), "Attribute 'status' not allowed in POST"),
        (json!({"network": {"admin_state_up": "maybe"}}), "Invalid input for operation: 'maybe' cannot be converted to boolean."),
        (json!({"network": {"mtu": "large"}}), "Invalid input for operation: 'large' is not an integer."),
        (json!({"network": {"name": null}}), "Invalid input for name. Reason: 'None' is not a valid string."),
    ] {
        let (status, answer) = cloud.call(DEMO, Method::POST, "/v2.0/networks", Some(body)).await;
        assert_eq!((status, answer["NeutronError"]["message"].as_str().unwrap()), (400, message));
    }
    let (_, answer) = cloud.call(DEMO, Method::POST, "/v2.0/ports", Some(json!({"port": {}}))).await;
    assert_eq!(answer["NeutronError"]["message"], "Failed to parse request. Required attribute 'network_id' not specified");
    assert_eq!(cloud.refused(READER, Method::POST, "/networks", Some(json!({"network": {}}))).await, (403, "PolicyNotAuthorized".into()));
    let shared = json!({"network": {"shared": true}});
    assert_eq!(cloud.refused(DEMO, Method::POST, "/networks", Some(shared)).await, (403, "PolicyNotAuthorized".into()));
    let foreign = json!({"network": {"project_id": "other"}});
    assert_eq!(cloud.refused(DEMO, Method::POST, "/networks", Some(foreign)).await.0, 400);
}

#[tokio::test]
async fn networks_are_carried_seen_and_kept_while_used() {
    let cloud = cloud().await;
    let (network, subnet) = cloud.network(DEMO, "10.0.0.0/24").await;
    let path = format!("/networks/{network}");
    let seen = cloud.get(ADMIN, &path).await["network"].clone();
    assert_eq!((&seen["provider:network_type"], &seen["mtu"], &seen["subnets"]), (&json!("vxlan"), &json!(1450), &json!([subnet])));
    assert!(seen["provider:segmentation_id"].as_i64().unwrap() > 0);
    assert!(cloud.get(DEMO, &path).await["network"].get("provider:network_type").is_none());
    assert_eq!(cloud.refused(OTHER, Method::GET, &path, None).await, (404, "NetworkNotFound".into()));
    cloud.change(ADMIN, &path, "network", json!({"shared": true})).await;
    assert_eq!(cloud.get(OTHER, &path).await["network"]["shared"], true);
    assert_eq!(cloud.refused(OTHER, Method::PUT, &path, Some(json!({"network": {"name": "x"}}))).await.0, 404);
    let port = cloud.port(OTHER, &network).await;
    assert_eq!(cloud.refused(DEMO, Method::DELETE, &path, None).await, (409, "NetworkInUse".into()));
    assert_eq!(cloud.refused(DEMO, Method::DELETE, &format!("/subnets/{subnet}"), None).await, (409, "SubnetInUse".into()));
    cloud.delete(OTHER, &format!("/ports/{}", id(&port))).await;
    cloud.delete(DEMO, &path).await;
    assert_eq!(cloud.refused(ADMIN, Method::GET, &format!("/subnets/{subnet}"), None).await, (404, "SubnetNotFound".into()));
}

#[tokio::test]
async fn flat_networks_take_their_carrier_alone() {
    let cloud = cloud().await;
    let flat = json!({"router:external": true, "provider:network_type": "flat", "provider:physical_network": "public"});
    let network = cloud.make(ADMIN, "networks", "network", flat.clone()).await;
    assert_eq!(network["mtu"], 1500);
    assert_eq!(cloud.refused(ADMIN, Method::POST, "/networks", Some(json!({"network": flat}))).await, (409, "FlatNetworkInUse".into()));
}

#[tokio::test]
async fn subnets_do_not_overlap_and_change_their_pools() {
    let cloud = cloud().await;
    let (network, subnet) = cloud.network(DEMO, "10.0.0.0/24").await;
    let overlapping = json!({"subnet": {"network_id": network, "ip_version": 4, "cidr": "10.0.0.128/25"}});
    assert_eq!(cloud.refused(DEMO, Method::POST, "/subnets", Some(overlapping)).await, (400, "InvalidInput".into()));
    let port = cloud.port(DEMO, &network).await;
    assert_eq!(port["fixed_ips"][0]["ip_address"], "10.0.0.2");
    let pools = json!({"allocation_pools": [{"start": "10.0.0.100", "end": "10.0.0.110"}], "dns_nameservers": ["9.9.9.9"]});
    let changed = cloud.change(DEMO, &format!("/subnets/{subnet}"), "subnet", pools).await;
    assert_eq!(changed["dns_nameservers"], json!(["9.9.9.9"]));
    assert_eq!(cloud.port(DEMO, &network).await["fixed_ips"][0]["ip_address"], "10.0.0.100");
    let fixed = json!({"subnet": {"cidr": "10.1.0.0/24"}});
    assert_eq!(cloud.refused(DEMO, Method::PUT, &format!("/subnets/{subnet}"), Some(fixed)).await.0, 400);
    let free = cloud.get(ADMIN, &format!("/network-ip-availabilities/{network}")).await;
    assert_eq!(free["network_ip_availability"]["used_ips"], 2);
    assert_eq!(free["network_ip_availability"]["total_ips"], 11);
}

#[tokio::test]
async fn every_project_has_a_default_group() {
    let cloud = cloud().await;
    let list = cloud.get(DEMO, "/security-groups").await;
    let group = &list["security_groups"][0];
    assert_eq!((&group["name"], group["security_group_rules"].as_array().unwrap().len()), (&json!("default"), 4));
    assert_eq!(cloud.get(DEMO, "/security-groups").await["security_groups"].as_array().unwrap().len(), 1);
    let path = format!("/security-groups/{}", id(group));
    assert_eq!(cloud.refused(DEMO, Method::DELETE, &path, None).await, (409, "SecurityGroupCannotRemoveDefault".into()));
    let again = json!({"security_group": {"name": "default"}});
    assert_eq!(cloud.refused(DEMO, Method::POST, "/security-groups", Some(again)).await.1, "SecurityGroupDefaultAlreadyExists");
    assert_eq!(cloud.refused(OTHER, Method::GET, &path, None).await, (404, "SecurityGroupNotFound".into()));
}

#[tokio::test]
async fn rules_exist_once_and_make_sense() {
    let cloud = cloud().await;
    let group = id(&cloud.make(DEMO, "security-groups", "security_group", json!({"name": "web"})).await);
    let rule = |extra: serde_json::Value| {
        let mut body =
            json!({"security_group_id": group, "direction": "ingress", "protocol": "tcp", "port_range_min": 80, "port_range_max": "80"});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        body
    };
    let made = cloud.make(DEMO, "security-group-rules", "security_group_rule", rule(json!({}))).await;
    assert_eq!((&made["ethertype"], &made["port_range_max"]), (&json!("IPv4"), &json!(80)));
    for (extra, code) in [
        (json!({"protocol": 6, "remote_ip_prefix": "0.0.0.0/0"}), "SecurityGroupRuleExists"),
        (json!({"protocol": "carrier-pigeon"}), "SecurityGroupRuleInvalidProtocol"),
        (json!({"port_range_min": 90}), "SecurityGroupInvalidPortRange"),
        (json!({"protocol": null}), "SecurityGroupProtocolRequiredWithPorts"),
        (json!({"remote_ip_prefix": "fd00::/8"}), "SecurityGroupRuleParameterConflict"),
        (json!({"remote_ip_prefix": "10.0.0.0/8", "remote_group_id": group}), "SecurityGroupRemoteGroupAndRemoteIpPrefix"),
    ] {
        let refused =
            cloud.refused(DEMO, Method::POST, "/security-group-rules", Some(json!({"security_group_rule": rule(extra.clone())}))).await;
        assert_eq!(refused.1, code, "{extra}");
    }
    assert_eq!(cloud.get(DEMO, "/security-group-rules?port_range_min=80").await["security_group_rules"].as_array().unwrap().len(), 1);
    let (network, _) = cloud.network(DEMO, "10.0.0.0/24").await;
    cloud.make(DEMO, "ports", "port", json!({"network_id": network, "security_groups": [group]})).await;
    assert_eq!(cloud.refused(DEMO, Method::DELETE, &format!("/security-groups/{group}"), None).await, (409, "SecurityGroupInUse".into()));
    cloud.delete(DEMO, &format!("/security-group-rules/{}", id(&made))).await;
}

#[tokio::test]
async fn quotas_are_counted_and_kept() {
    let cloud = cloud().await;
    let limits = cloud.change(ADMIN, "/quotas/demo", "quota", json!({"network": 1, "subnet": "-1"})).await;
    assert_eq!((&limits["network"], &limits["subnet"], &limits["port"]), (&json!(1), &json!(-1), &json!(500)));
    cloud.network(DEMO, "10.0.0.0/24").await;
    let refused = cloud.refused(DEMO, Method::POST, "/networks", Some(json!({"network": {}}))).await;
    assert_eq!(refused, (409, "OverQuota".into()));
    let details = cloud.get(DEMO, "/quotas/demo/details.json").await;
    assert_eq!(details["quota"]["network"], json!({"limit": 1, "used": 1, "reserved": 0}));
    assert_eq!(cloud.refused(DEMO, Method::GET, "/quotas/other", None).await.0, 403);
    cloud.delete(ADMIN, "/quotas/demo").await;
    assert_eq!(cloud.get(DEMO, "/quotas/demo").await["quota"]["network"], 100);
}

#[tokio::test]
async fn new_groups_are_as_stateful_as_is_said_of_their_project_or_of_all() {
    let cloud = cloud().await;
    let (all, key) = ("security-groups-default-statefulness", "security_groups_default_statefulness");
    let stateful = async |who: &str| cloud.make(who, "security-groups", "security_group", json!({"name": "g"})).await["stateful"].clone();
    assert_eq!(stateful(DEMO).await, true);
    let path = format!("/{all}");
    let body = |own: serde_json::Value| Some(json!({key: own}));
    let manager = "demo/manager";
    for (who, own) in [(DEMO, json!({"stateful": false, "project_id": "demo"})), (manager, json!({"stateful": false}))] {
        assert_eq!(cloud.refused(who, Method::POST, &path, body(own)).await, (403, "PolicyNotAuthorized".into()));
    }
    let for_all = cloud.make(ADMIN, all, key, json!({"stateful": false})).await;
    assert_eq!((&for_all["project_id"], &for_all["stateful"]), (&json!(null), &json!(false)));
    assert_eq!((stateful(DEMO).await, stateful(OTHER).await), (json!(false), json!(false)));
    let own = cloud.make(manager, all, key, json!({"project_id": "demo"})).await;
    assert_eq!((&own["project_id"], &own["stateful"]), (&json!("demo"), &json!(true)));
    assert_eq!((stateful(DEMO).await, stateful(OTHER).await), (json!(true), json!(false)));
    let again = cloud.call(manager, Method::POST, &format!("/v2.0{path}"), body(json!({"project_id": "demo"}))).await;
    let words = "A security group default statefulness setting already exists for project 'demo'.";
    assert_eq!((again.0, &again.1["NeutronError"]["message"]), (409, &json!(words)));
    assert_eq!(cloud.get(READER, &path).await[key].as_array().unwrap().len(), 2);
    assert_eq!(cloud.get(OTHER, &path).await[key].as_array().unwrap().len(), 1);
    let path = format!("{path}/{}", id(&own));
    cloud.change(manager, &path, key, json!({"stateful": false})).await;
    assert_eq!(stateful(DEMO).await, false);
    cloud.delete(manager, &path).await;
    let words = format!("Security group default statefulness {} could not be found.", id(&own));
    assert_eq!(cloud.call(DEMO, Method::GET, &format!("/v2.0{path}"), None).await.1["NeutronError"]["message"], words);
    // the first group of a project follows, too
    cloud.get("third/member", "/security-groups").await;
    assert_eq!(cloud.get("third/member", "/security-groups?name=default").await["security_groups"][0]["stateful"], false);
}
