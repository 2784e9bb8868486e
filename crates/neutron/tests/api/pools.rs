//! Subnet pools, address scopes, IPv6 subnets and topologies made of them.

use http::Method;
use serde_json::{Value, json};

use crate::harness::{ADMIN, Agent, Cloud, DEMO, OTHER, cloud, id};

async fn pool(cloud: &Cloud, who: &str, body: Value) -> String {
    id(&cloud.make(who, "subnetpools", "subnetpool", body).await)
}

#[tokio::test]
async fn subnets_get_prefixes_out_of_pools() {
    let cloud = cloud().await;
    let made = json!({"name": "p", "prefixes": ["10.10.0.0/17", "10.10.128.0/17"], "default_prefixlen": 24, "default_quota": 768});
    let made = cloud.make(DEMO, "subnetpools", "subnetpool", made).await;
    assert_eq!((&made["prefixes"], &made["min_prefixlen"], &made["ip_version"]), (&json!(["10.10.0.0/16"]), &json!("8"), &json!(4)));
    let pool = id(&made);
    let mut networks = Vec::new();
    for expected in ["10.10.0.0/24", "10.10.1.0/24"] {
        let network = id(&cloud.make(DEMO, "networks", "network", json!({})).await);
        let subnet = json!({"network_id": network, "ip_version": 4, "subnetpool_id": pool});
        let subnet = cloud.make(DEMO, "subnets", "subnet", subnet).await;
        assert_eq!((&subnet["cidr"], &subnet["subnetpool_id"]), (&json!(expected), &json!(pool)));
        networks.push(network);
    }
    let on = |network: &str, extra: Value| {
        let mut body = json!({"network_id": network, "ip_version": 4, "subnetpool_id": pool});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        Some(json!({"subnet": body}))
    };
    for (extra, code) in [
        (json!({"prefixlen": 7}), "MinPrefixSubnetAllocationError"),
        (json!({"cidr": "10.10.1.0/25"}), "SubnetAllocationError"),
        (json!({"cidr": "10.11.0.0/24"}), "SubnetAllocationError"),
        (json!({"prefixlen": 22}), "SubnetPoolQuotaExceeded"),
        (json!({"cidr": "10.10.9.0/24", "prefixlen": 24}), "BadRequest"),
    ] {
        assert_eq!(cloud.refused(DEMO, Method::POST, "/subnets", on(&networks[0], extra.clone())).await.1, code, "{extra}");
    }
    let outside = json!({"subnet": {"network_id": networks[1], "ip_version": 4, "cidr": "172.20.0.0/24"}});
    let mixed = cloud.refused(DEMO, Method::POST, "/subnets", Some(outside)).await;
    assert_eq!(mixed, (400, "NetworkSubnetPoolAffinityError".into()));
    let path = format!("/subnetpools/{pool}");
    assert_eq!(cloud.refused(DEMO, Method::DELETE, &path, None).await, (409, "SubnetPoolDeleteError".into()));
    let less = Some(json!({"subnetpool": {"prefixes": ["10.10.0.0/24"]}}));
    assert_eq!(cloud.refused(DEMO, Method::PUT, &path, less).await, (400, "IllegalSubnetPoolPrefixUpdate".into()));
    let more = cloud.put(DEMO, &format!("{path}/add_prefixes"), json!({"prefixes": ["10.20.0.0/16"]})).await;
    assert_eq!(more["prefixes"], json!(["10.10.0.0/16", "10.20.0.0/16"]));
    let used = Some(json!({"prefixes": ["10.10.0.0/24"]}));
    assert_eq!(cloud.refused(DEMO, Method::PUT, &format!("{path}/remove_prefixes"), used).await.0, 409);
    assert_eq!(cloud.refused(OTHER, Method::GET, &path, None).await, (404, "SubnetPoolNotFound".into()));
}

#[tokio::test]
async fn nonsense_of_pools_is_refused() {
    let cloud = cloud().await;
    for (body, code) in [
        (json!({"prefixes": []}), "EmptySubnetPoolPrefixList"),
        (json!({"prefixes": ["10.0.0.0/8", "fd00::/48"]}), "PrefixVersionMismatch"),
        (json!({"prefixes": ["10.0.0.0/8"], "min_prefixlen": 24, "max_prefixlen": 20}), "IllegalSubnetPoolPrefixBounds"),
        (json!({"prefixes": ["10.0.0.0/8"], "default_prefixlen": 7}), "IllegalSubnetPoolPrefixBounds"),
        (json!({"prefixes": ["10.0.0.0/8"], "max_prefixlen": 64}), "IllegalSubnetPoolPrefixBounds"),
    ] {
        let refused = cloud.refused(DEMO, Method::POST, "/subnetpools", Some(json!({"subnetpool": body}))).await;
        assert_eq!(refused, (400, code.into()), "{body}");
    }
    let network = json!({"subnet": {"network_id": kit::ids::uuid(), "ip_version": 4}});
    assert_eq!(cloud.refused(DEMO, Method::POST, "/subnets", Some(network)).await, (400, "BadRequest".into()));
}

#[tokio::test]
async fn prefixes_of_a_scope_do_not_overlap() {
    let cloud = cloud().await;
    let scope = cloud.make(DEMO, "address-scopes", "address_scope", json!({"name": "s", "ip_version": 4})).await;
    let first = pool(&cloud, DEMO, json!({"prefixes": ["10.0.0.0/16"], "address_scope_id": scope["id"]})).await;
    let body = |prefix: &str| Some(json!({"subnetpool": {"prefixes": [prefix], "address_scope_id": scope["id"]}}));
    let refused = cloud.refused(DEMO, Method::POST, "/subnetpools", body("10.0.128.0/24")).await;
    assert_eq!(refused, (409, "AddressScopePrefixConflict".into()));
    let refused = cloud.refused(DEMO, Method::POST, "/subnetpools", body("fd00::/48")).await;
    assert_eq!(refused, (400, "IllegalSubnetPoolIpVersionToAddressScope".into()));
    let path = format!("/address-scopes/{}", id(&scope));
    assert_eq!(cloud.refused(DEMO, Method::DELETE, &path, None).await, (409, "AddressScopeInUse".into()));
    let network = id(&cloud.make(DEMO, "networks", "network", json!({})).await);
    let subnet = json!({"network_id": network, "ip_version": 4, "subnetpool_id": first, "prefixlen": 26});
    cloud.make(DEMO, "subnets", "subnet", subnet).await;
    assert_eq!(cloud.get(DEMO, &format!("/networks/{network}")).await["network"]["ipv4_address_scope"], scope["id"]);
}

#[tokio::test]
async fn ipv6_addresses_follow_the_mode() {
    let cloud = cloud().await;
    let (network, v4) = cloud.network(DEMO, "10.0.0.0/24").await;
    let before = id(&cloud.port(DEMO, &network).await);
    let subnet = |cidr: &str, mode: &str| json!({"network_id": network, "ip_version": 6, "cidr": cidr, "ipv6_ra_mode": mode, "ipv6_address_mode": mode});
    cloud.make(DEMO, "subnets", "subnet", subnet("fd00:1::/64", "slaac")).await;
    // who was there addresses itself, too
    let joined = cloud.get(DEMO, &format!("/ports/{before}")).await["port"]["fixed_ips"].clone();
    assert_eq!(joined.as_array().unwrap().len(), 2);
    let stateful = id(&cloud.make(DEMO, "subnets", "subnet", subnet("fd00:2::/64", "dhcpv6-stateful")).await);
    let port = cloud.port(DEMO, &network).await;
    assert_eq!(port["fixed_ips"].as_array().unwrap().len(), 3);
    let only = json!({"network_id": network, "fixed_ips": [{"subnet_id": v4}]});
    assert_eq!(cloud.make(DEMO, "ports", "port", only).await["fixed_ips"].as_array().unwrap().len(), 2);
    let certain = json!({"network_id": network, "fixed_ips": [{"subnet_id": stateful, "ip_address": "fd00:2::55"}]});
    assert_eq!(cloud.make(DEMO, "ports", "port", certain).await["fixed_ips"][0]["ip_address"], "fd00:2::55");
    for (body, code) in [
        (json!({"network_id": network, "fixed_ips": [{"ip_address": "fd00:1::55"}]}), "InvalidInput"),
        (json!({"network_id": network, "fixed_ips": [{"subnet_id": stateful, "ip_address": "fd00:9::55"}]}), "InvalidIpForSubnet"),
    ] {
        assert_eq!(cloud.refused(DEMO, Method::POST, "/ports", Some(json!({"port": body}))).await, (400, code.into()), "{body}");
    }
    let differing = json!({"network_id": network, "ip_version": 6, "cidr": "fd00:3::/64", "ipv6_ra_mode": "slaac", "ipv6_address_mode": "dhcpv6-stateful"});
    assert_eq!(cloud.refused(DEMO, Method::POST, "/subnets", Some(json!({"subnet": differing}))).await, (400, "InvalidInput".into()));
    let short = json!({"subnet": subnet("fd00:4::/56", "slaac")});
    assert_eq!(cloud.refused(DEMO, Method::POST, "/subnets", Some(short)).await, (400, "InvalidInput".into()));
    // IPv6 subnets of a network share the router's leg
    let router = id(&cloud.make(DEMO, "routers", "router", json!({})).await);
    let slaac = cloud.get(DEMO, "/subnets?ipv6_ra_mode=slaac").await["subnets"][0]["id"].clone();
    let one = cloud.put(DEMO, &format!("/routers/{router}/add_router_interface"), json!({"subnet_id": slaac})).await;
    let two = cloud.put(DEMO, &format!("/routers/{router}/add_router_interface"), json!({"subnet_id": stateful})).await;
    assert_eq!((&one["port_id"], two["subnet_ids"].as_array().unwrap().len()), (&two["port_id"], 2));
    cloud.put(DEMO, &format!("/routers/{router}/remove_router_interface"), json!({"subnet_id": slaac})).await;
    let leg = cloud.get(DEMO, &format!("/ports/{}", two["port_id"].as_str().unwrap())).await;
    assert_eq!(leg["port"]["fixed_ips"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_topology_is_made_once_and_taken_down() {
    let cloud = cloud().await;
    let path = "/auto-allocated-topology/null";
    assert_eq!(cloud.refused(OTHER, Method::GET, path, None).await, (409, "AutoAllocationFailure".into()));
    cloud.bootstrapped().await;
    let _agent = Agent::start(&cloud, "host1").await;
    let default = json!({"prefixes": ["10.40.0.0/16"], "default_prefixlen": 26, "is_default": true, "shared": true});
    pool(&cloud, ADMIN, default).await;
    let dry = cloud.get(OTHER, &format!("{path}?fields=dry-run")).await;
    assert_eq!(dry["auto_allocated_topology"]["id"], "dry-run=pass");
    let made = cloud.get(OTHER, path).await["auto_allocated_topology"].clone();
    assert_eq!(cloud.get(OTHER, path).await["auto_allocated_topology"]["id"], made["id"]);
    let network = cloud.get(OTHER, &format!("/networks/{}", id(&made))).await;
    assert_eq!(network["network"]["subnets"].as_array().unwrap().len(), 1);
    assert_eq!(cloud.get(OTHER, "/routers").await["routers"].as_array().unwrap().len(), 1);
    cloud.delete(OTHER, path).await;
    assert_eq!(cloud.get(OTHER, "/routers").await["routers"], json!([]));
}
