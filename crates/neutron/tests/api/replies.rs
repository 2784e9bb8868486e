//! What neutron says word for word when it refuses, and what lists make of their queries.

use http::Method;
use serde_json::{Value, json};

use crate::harness::{ADMIN, Cloud, DEMO, READER, cloud, cloud_with, id};

/// The status, the type and the words of a refusal.
async fn said(cloud: &Cloud, who: &str, method: Method, path: &str, body: Option<Value>) -> (u16, String, String) {
    let (status, answer) = cloud.call(who, method, &format!("/v2.0{path}"), body).await;
    let text = |key: &str| answer["NeutronError"][key].as_str().unwrap_or_else(|| panic!("{path}: {answer}")).to_owned();
    (status, text("type"), text("message"))
}

fn refusal(status: u16, kind: &str, message: impl Into<String>) -> (u16, String, String) {
    (status, kind.to_owned(), message.into())
}

#[tokio::test]
async fn lists_say_what_is_wrong_with_their_queries() {
    let cloud = cloud().await;
    for (query, kind, message) in [
        ("colour=red&shape=round", "HTTPBadRequest", "['colour', 'shape'] is invalid attribute for filtering"),
        ("sort_key=name", "HTTPBadRequest", "The number of sort_keys and sort_dirs must be same"),
        ("sort_key=colour&sort_dir=asc", "HTTPBadRequest", "['colour'] is invalid attribute for sort_keys"),
        ("sort_key=name&sort_dir=up", "HTTPBadRequest", "['up'] is invalid value for sort_dirs, valid value is 'asc' and 'desc'"),
        ("limit=few", "BadRequest", "Bad limit request: Limit must be an integer 0 or greater and not 'few'."),
        (
            "changed_since=yesterday",
            "InvalidInput",
            "Invalid input for operation: The input changed_since must be in the following format: YYYY-MM-DDTHH:MM:SS[+HH:MM or Z].",
        ),
    ] {
        let said = said(&cloud, DEMO, Method::GET, &format!("/networks?{query}"), None).await;
        assert_eq!(said, refusal(400, kind, message), "{query}");
    }
}

#[tokio::test]
async fn paths_and_rules_are_refused_in_neutrons_words() {
    let cloud = cloud().await;
    let (status, answer) = cloud.call(DEMO, Method::GET, "/networking", None).await;
    assert_eq!((status, answer), (404, json!({"code": 404, "title": "Not Found", "description": null})));
    let unknown = said(&cloud, DEMO, Method::GET, "/extensions/vpnaas", None).await;
    assert_eq!(unknown, refusal(404, "HTTPNotFound", "Extension with alias vpnaas does not exist"));
    let ruled = said(&cloud, READER, Method::GET, "/quotas", None).await;
    assert_eq!(ruled, refusal(403, "PolicyNotAuthorized", "rule:get_quotas is disallowed by policy"));
    let quota = |value: Value| Some(json!({"quota": {"port": value}}));
    let said_of = async |value| said(&cloud, ADMIN, Method::PUT, "/quotas/demo", quota(value)).await;
    let range = "Invalid input for port. Reason: '-5' is too small - must be at least '-1'.";
    assert_eq!(said_of(json!(-5)).await, refusal(400, "HTTPBadRequest", range));
    assert_eq!(said_of(json!("many")).await, refusal(400, "InvalidInput", "Invalid input for operation: 'many' is not an integer."));
}

#[tokio::test]
async fn what_carries_a_network_is_said_again_but_not_changed() {
    let cloud = cloud().await;
    let network = cloud.make(ADMIN, "networks", "network", json!({"name": "n"})).await;
    let path = format!("/networks/{}", id(&network));
    let same = json!({"provider:network_type": "vxlan", "provider:segmentation_id": network["provider:segmentation_id"]});
    assert_eq!(cloud.change(ADMIN, &path, "network", same.clone()).await["revision_number"], network["revision_number"]);
    assert_eq!(cloud.refused(DEMO, Method::PUT, &path, Some(json!({"network": same}))).await.0, 404);
    let other = Some(json!({"network": {"provider:network_type": "vlan"}}));
    assert_eq!(cloud.refused(ADMIN, Method::PUT, &path, other).await, (400, "InvalidInput".into()));
    let unknown = Some(json!({"network": {"provider:network_type": "token-ring"}}));
    let message = "Invalid input for operation: network_type value 'token-ring' not supported.";
    assert_eq!(said(&cloud, ADMIN, Method::POST, "/networks", unknown).await, refusal(400, "InvalidInput", message));
    let fixed = said(&cloud, ADMIN, Method::PUT, &path, Some(json!({"network": {"status": "DOWN"}}))).await;
    assert_eq!(fixed, refusal(400, "HTTPBadRequest", "Cannot update read-only attribute status"));
    let port = id(&cloud.port(ADMIN, &id(&network)).await);
    let (status, _, message) = said(&cloud, ADMIN, Method::DELETE, &path, None).await;
    assert!(status == 409 && message.ends_with(&format!("still in use on the network, id for these ports is {port}.")), "{message}");
}

#[tokio::test]
async fn what_carries_a_network_may_come_as_its_one_segment() {
    let cloud = cloud().await;
    let segment = |kind: &str, physical: &str, id: u16| json!({"provider:network_type": kind, "provider:physical_network": physical, "provider:segmentation_id": id});
    for (kind, physical, number) in [("vlan", "public", 77), ("flat", "public", 0), ("vxlan", "", 4000)] {
        let network = json!({"name": kind, "segments": [segment(kind, physical, number)]});
        let made = cloud.make(ADMIN, "networks", "network", network).await;
        assert_eq!(made["provider:network_type"], kind);
        assert_eq!(made["provider:segmentation_id"].as_u64().unwrap_or_default(), u64::from(number), "{made}");
        assert!(made.get("segments").is_none(), "{made}");
    }
    let one = segment("vlan", "public", 78);
    for (who, body, expected) in [
        (DEMO, json!({"segments": [one]}), (403, "PolicyNotAuthorized")),
        (ADMIN, json!({"segments": [one], "provider:network_type": "vlan"}), (400, "SegmentsSetInConjunctionWithProviders")),
        (ADMIN, json!({"segments": [one, one]}), (400, "SegmentsContainDuplicateEntry")),
        (ADMIN, json!({"segments": [one, segment("vxlan", "public", 0)]}), (400, "InvalidInput")),
        (ADMIN, json!({"provider:physical_network": "public"}), (400, "InvalidInput")),
        (ADMIN, json!({"segments": [{"colour": "red"}]}), (400, "HTTPBadRequest")),
    ] {
        let refused = cloud.refused(who, Method::POST, "/networks", Some(json!({"network": body}))).await;
        assert_eq!(refused, (expected.0, expected.1.into()), "{body}");
    }
}

#[tokio::test]
async fn who_may_not_see_what_is_left_sees_nothing() {
    let cloud = cloud().await;
    let (network, _) = cloud.network(DEMO, "10.0.0.0/24").await;
    let (all, path) = ("/network-ip-availabilities", format!("/network-ip-availabilities/{network}"));
    assert_eq!(cloud.get(DEMO, all).await, json!({"network_ip_availabilities": []}));
    assert_eq!(cloud.refused(DEMO, Method::GET, &path, None).await, (404, "HTTPNotFound".into()));
    assert_eq!(cloud.get(ADMIN, &path).await["network_ip_availability"]["network_id"], network);
}

#[tokio::test]
async fn subnets_are_of_one_version_and_leave_room_for_dhcp() {
    let cloud = cloud().await;
    let network = id(&cloud.make(DEMO, "networks", "network", json!({"name": "n"})).await);
    let subnet = |more: Value| {
        let mut subnet = json!({"network_id": network, "ip_version": 4, "cidr": "10.0.0.0/24"});
        subnet.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Some(json!({"subnet": subnet}))
    };
    let small = "Subnet has a prefix length that is incompatible with DHCP service enabled";
    for (more, reason) in [
        (json!({"dns_nameservers": ["fd00::1"]}), "dns_nameserver 'fd00::1' does not match the ip_version '4'"),
        (
            json!({"host_routes": [{"destination": "10.9.0.0/24", "nexthop": "fd00::1"}]}),
            "nexthop 'fd00::1' does not match the ip_version '4'",
        ),
        (json!({"ip_version": 6}), "cidr '10.0.0.0/24' does not match the ip_version '6'"),
        (json!({"cidr": "10.0.0.0/31"}), small),
    ] {
        let message = format!("Invalid input for operation: {reason}.");
        assert_eq!(said(&cloud, DEMO, Method::POST, "/subnets", subnet(more)).await, refusal(400, "InvalidInput", message));
    }
    for more in [json!({"ip_version": 7}), json!({"allocation_pools": null})] {
        assert_eq!(cloud.refused(DEMO, Method::POST, "/subnets", subnet(more)).await, (400, "HTTPBadRequest".into()));
    }
    let narrow = json!({"network_id": network, "ip_version": 4, "cidr": "10.0.0.0/31", "enable_dhcp": false});
    let path = format!("/subnets/{}", id(&cloud.make(DEMO, "subnets", "subnet", narrow).await));
    let enabled = Some(json!({"subnet": {"enable_dhcp": true}}));
    let message = format!("Invalid input for operation: {small}.");
    assert_eq!(said(&cloud, DEMO, Method::PUT, &path, enabled).await, refusal(400, "InvalidInput", message));
}

#[tokio::test]
async fn the_first_subnet_is_told_of_name_servers_of_its_version() {
    let servers = ["192.0.2.53", "2001:db8::53"].map(|server| server.parse().unwrap());
    let cloud = cloud_with(neutron::Config { dns_nameservers: servers.to_vec(), ..neutron::Config::default() }).await;
    cloud.bootstrapped().await;
    let path = format!("/subnets/{}", cloud.named("subnets", "private-subnet").await);
    assert_eq!(cloud.get(DEMO, &path).await["subnet"]["dns_nameservers"], json!(["192.0.2.53"]));
    assert_eq!(cloud.change(DEMO, &path, "subnet", json!({"name": "mine"})).await["name"], "mine");
}

#[tokio::test]
async fn ports_are_found_by_any_of_their_addresses_and_go_when_nothing_needs_them() {
    let cloud = cloud().await;
    let (network, subnet) = cloud.network(DEMO, "10.0.0.0/24").await;
    let (other, elsewhere) = cloud.network(DEMO, "10.0.0.0/24").await;
    let at = |network: &str, ip: &str| json!({"network_id": network, "fixed_ips": [{"ip_address": ip}]});
    for (network, ip) in [(&network, "10.0.0.7"), (&network, "10.0.0.8"), (&other, "10.0.0.7")] {
        cloud.make(DEMO, "ports", "port", at(network, ip)).await;
    }
    for (query, count) in [
        ("fixed_ips=ip_address=10.0.0.7&fixed_ips=ip_address=10.0.0.8".to_owned(), 3),
        (format!("fixed_ips=ip_address=10.0.0.7&fixed_ips=subnet_id={subnet}"), 1),
        (format!("fixed_ips=subnet_id={subnet}&fixed_ips=subnet_id={elsewhere}&fixed_ips=ip_address_substr=0.8"), 1),
        ("fixed_ips=colour=red".into(), 0),
        ("binding:vif_type=binding_failed".into(), 0),
    ] {
        let list = cloud.get(DEMO, &format!("/ports?{query}")).await;
        assert_eq!(list["ports"].as_array().map(Vec::len), Some(count), "{query}");
    }
    let wish = |fixed_ips: Value| Some(json!({"port": {"network_id": network, "fixed_ips": fixed_ips}}));
    let nowhere = wish(json!([{"subnet_id": kit::ids::uuid()}]));
    assert_eq!(cloud.refused(DEMO, Method::POST, "/ports", nowhere).await, (404, "SubnetNotFound".into()));
    let foreign = wish(json!([{"subnet_id": elsewhere}]));
    assert_eq!(cloud.refused(DEMO, Method::POST, "/ports", foreign).await, (400, "InvalidInput".into()));
    assert_eq!(cloud.refused(DEMO, Method::POST, "/ports", wish(Value::Null)).await, (400, "HTTPBadRequest".into()));
    let unsaid = cloud.make(DEMO, "ports", "port", json!({"network_id": network, "security_groups": null})).await;
    assert_eq!(unsaid["security_groups"].as_array().map(Vec::len), Some(1));

    let stray = json!({"network_id": network, "device_owner": "network:router_interface", "device_id": kit::ids::uuid()});
    let stray = cloud.make(DEMO, "ports", "port", stray).await;
    cloud.delete(DEMO, &format!("/ports/{}", id(&stray))).await;
}

#[tokio::test]
async fn a_port_that_no_host_can_plug_says_so() {
    let cloud = cloud().await;
    let (network, _) = cloud.network(DEMO, "10.0.0.0/24").await;
    let port = json!({"network_id": network, "binding:vnic_type": "direct"});
    let port = id(&cloud.make(DEMO, "ports", "port", port).await);
    assert_eq!(cloud.bind(&port, "host1", "s1").await["binding:vif_type"], "binding_failed");
    let failed = cloud.get(ADMIN, "/ports?binding:vif_type=binding_failed").await["ports"].clone();
    assert_eq!((failed.as_array().map(Vec::len), &failed[0]["id"]), (Some(1), &json!(port)));
    let bindings = cloud.get(ADMIN, &format!("/ports/{port}/bindings")).await;
    assert_eq!(bindings["bindings"][0]["vif_type"], "binding_failed");
}

#[tokio::test]
async fn routers_and_floating_ips_say_what_they_miss() {
    let cloud = cloud().await;
    cloud.bootstrapped().await;
    let router = cloud.make(DEMO, "routers", "router", json!({"name": "r"})).await;
    let (path, nothing) = (format!("/routers/{}", id(&router)), kit::ids::uuid());
    let remove = format!("{path}/remove_router_interface");
    let message = format!("Router {} has no interface on subnet {nothing}", id(&router));
    let by_subnet = said(&cloud, DEMO, Method::PUT, &remove, Some(json!({"subnet_id": nothing}))).await;
    assert_eq!(by_subnet, refusal(404, "RouterInterfaceNotFoundForSubnet", message));
    let message = format!("Router {} does not have an interface with id {nothing}", id(&router));
    let by_port = said(&cloud, DEMO, Method::PUT, &remove, Some(json!({"port_id": nothing}))).await;
    assert_eq!(by_port, refusal(404, "RouterInterfaceNotFound", message));
    let public = cloud.named("networks", "public").await;
    cloud.change(DEMO, &path, "router", json!({"external_gateway_info": {"network_id": public}})).await;
    // without a network nothing is said of a gateway: it stays
    for info in [json!({"enable_snat": false}), json!({"network_id": "x"}), json!({"network_id": null})] {
        let body = Some(json!({"router": {"external_gateway_info": info}}));
        assert_eq!(cloud.refused(ADMIN, Method::PUT, &path, body).await, (400, "HTTPBadRequest".into()), "{info}");
    }
    assert_eq!(cloud.get(DEMO, &path).await["router"]["external_gateway_info"]["network_id"], public);
    let zones = Some(json!({"router": {"availability_zone_hints": ["elsewhere"]}}));
    assert_eq!(cloud.refused(DEMO, Method::POST, "/routers", zones).await, (404, "AvailabilityZoneNotFound".into()));
    let floating = Some(json!({"floatingip": {"floating_network_id": public, "fixed_ip_address": "10.0.0.5"}}));
    let message = "Bad floatingip request: fixed_ip_address cannot be specified without a port_id.";
    assert_eq!(said(&cloud, DEMO, Method::POST, "/floatingips", floating).await, refusal(400, "BadRequest", message));
}

#[tokio::test]
async fn rules_mind_no_case_of_ethertypes_and_no_port_nought() {
    let cloud = cloud().await;
    let group = id(&cloud.make(DEMO, "security-groups", "security_group", json!({"name": "g"})).await);
    let rule = json!({"security_group_id": group, "direction": "ingress", "ethertype": "ipv6"});
    assert_eq!(cloud.make(DEMO, "security-group-rules", "security_group_rule", rule).await["ethertype"], "IPv6");
    let nought = json!({"security_group_id": group, "direction": "ingress", "protocol": "tcp", "port_range_min": 0, "port_range_max": 9});
    let refused = said(&cloud, DEMO, Method::POST, "/security-group-rules", Some(json!({"security_group_rule": nought}))).await;
    assert_eq!(refused, refusal(400, "SecurityGroupInvalidPortValue", "Invalid value for port 0"));
}
