//! Ports and their addresses.

use std::collections::HashSet;

use futures::future::join_all;
use http::Method;
use serde_json::json;

use crate::harness::{ADMIN, DEMO, OTHER, cloud, id};

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_at_once_get_five_hundred_addresses() {
    let cloud = cloud().await;
    let (network, subnet) = cloud.network(DEMO, "10.5.0.0/16").await;
    let began = std::time::Instant::now();
    let made = join_all((0..500).map(|_| cloud.port(DEMO, &network))).await;
    eprintln!("500 ports at once in {:?}", began.elapsed());
    let addresses: HashSet<String> = made.iter().map(|port| port["fixed_ips"][0]["ip_address"].as_str().unwrap().to_owned()).collect();
    assert_eq!(addresses.len(), 500);
    let full = cloud.refused(DEMO, Method::POST, "/ports", Some(json!({"port": {"network_id": network}}))).await;
    assert_eq!(full, (409, "OverQuota".into()));
    let list = cloud.get(DEMO, &format!("/ports?fixed_ips=subnet_id={subnet}")).await;
    assert_eq!(list["ports"].as_array().unwrap().len(), 500);
    join_all(made.iter().take(250).map(|port| async { cloud.delete(DEMO, &format!("/ports/{}", id(port))).await })).await;
    let again = cloud.port(DEMO, &network).await;
    assert_eq!(again["fixed_ips"][0]["subnet_id"], json!(subnet));
}

/// Each change also makes or removes what others of the network need: DHCP ports, ranges of addresses, counts of quotas.
#[tokio::test(flavor = "multi_thread")]
async fn changes_of_one_network_at_once_do_not_stop_each_other() {
    let cloud = cloud().await;
    let (network, subnet) = cloud.network(DEMO, "10.7.0.0/16").await;
    let router = id(&cloud.make(DEMO, "routers", "router", json!({"name": "r"})).await);
    let life_of_a_port = async |n: usize| {
        let host = format!("host{}", n % 5);
        let bound = json!({"network_id": network, "project_id": "demo", "binding:host_id": host, "device_owner": "compute:nova"});
        let port = match n % 2 {
            0 => id(&cloud.port(DEMO, &network).await),
            _ => id(&cloud.make(ADMIN, "ports", "port", bound).await),
        };
        cloud.bind(&port, &host, "server").await;
        cloud.change(DEMO, &format!("/ports/{port}"), "port", json!({"fixed_ips": [{"subnet_id": subnet}], "name": "named"})).await;
        cloud.change(ADMIN, &format!("/ports/{port}"), "port", json!({"binding:host_id": ""})).await;
        cloud.delete(DEMO, &format!("/ports/{port}")).await;
    };
    let besides = async || {
        let interface = json!({"subnet_id": subnet});
        for n in 0..10 {
            cloud.change(DEMO, &format!("/subnets/{subnet}"), "subnet", json!({"enable_dhcp": n % 2 == 1})).await;
            cloud.put(DEMO, &format!("/routers/{router}/add_router_interface"), interface.clone()).await;
            cloud.put(DEMO, &format!("/routers/{router}/remove_router_interface"), interface.clone()).await;
        }
    };
    futures::future::join(join_all((0..60).map(life_of_a_port)), besides()).await;
    let left = cloud.get(ADMIN, &format!("/ports?network_id={network}")).await;
    assert_eq!(left["ports"], json!([]));
}

#[tokio::test]
async fn pools_run_dry_and_fill_again() {
    let cloud = cloud().await;
    let (network, subnet) = cloud.network(DEMO, "10.6.0.0/29").await;
    let mut ports = Vec::new();
    for _ in 0..5 {
        ports.push(cloud.port(DEMO, &network).await);
    }
    let body = json!({"port": {"network_id": network}});
    let dry = cloud.refused(DEMO, Method::POST, "/ports", Some(body)).await;
    assert_eq!(dry, (409, "IpAddressGenerationFailure".into()));
    let taken = ports[2]["fixed_ips"][0]["ip_address"].clone();
    let certain = json!({"network_id": network, "fixed_ips": [{"subnet_id": subnet, "ip_address": taken}]});
    let refused = cloud.refused(DEMO, Method::POST, "/ports", Some(json!({"port": certain}))).await;
    assert_eq!(refused, (409, "IpAddressAlreadyAllocated".into()));
    cloud.delete(DEMO, &format!("/ports/{}", id(&ports[2]))).await;
    let port = cloud.make(DEMO, "ports", "port", certain).await;
    assert_eq!(port["fixed_ips"][0]["ip_address"], taken);
}

#[tokio::test]
async fn bulk_is_all_or_nothing() {
    let cloud = cloud().await;
    let (network, _) = cloud.network(DEMO, "10.6.0.0/29").await;
    let six: Vec<_> = (0..6).map(|_| json!({"network_id": network})).collect();
    let refused = cloud.refused(DEMO, Method::POST, "/ports", Some(json!({"ports": six}))).await;
    assert_eq!(refused, (409, "IpAddressGenerationFailure".into()));
    assert_eq!(cloud.get(DEMO, "/ports").await["ports"], json!([]));
    let (status, made) = cloud.call(DEMO, Method::POST, "/v2.0/ports", Some(json!({"ports": six[..5]}))).await;
    assert_eq!((status, made["ports"].as_array().unwrap().len()), (201, 5));
}

#[tokio::test]
async fn others_see_nothing_and_admins_see_bindings() {
    let cloud = cloud().await;
    let (network, _) = cloud.network(DEMO, "10.0.0.0/24").await;
    let port = cloud.port(DEMO, &network).await;
    assert!(port.get("binding:host_id").is_none() && port["binding:vnic_type"] == "normal");
    let path = format!("/ports/{}", id(&port));
    assert_eq!(cloud.refused(OTHER, Method::GET, &path, None).await, (404, "PortNotFound".into()));
    assert_eq!(cloud.refused(OTHER, Method::DELETE, &path, None).await, (404, "PortNotFound".into()));
    assert_eq!(
        cloud.refused(OTHER, Method::POST, "/ports", Some(json!({"port": {"network_id": network}}))).await,
        (404, "NetworkNotFound".into())
    );
    let bind = json!({"port": {"binding:host_id": "h"}});
    assert_eq!(cloud.refused(DEMO, Method::PUT, &path, Some(bind)).await, (403, "PolicyNotAuthorized".into()));
    assert_eq!(cloud.get(ADMIN, &path).await["port"]["binding:vif_type"], "unbound");
    assert_eq!(cloud.bind(&id(&port), "h1", "s1").await["binding:vif_type"], "bridge");
}

#[tokio::test]
async fn addresses_groups_and_security_change_together() {
    let cloud = cloud().await;
    let (network, subnet) = cloud.network(DEMO, "10.0.0.0/24").await;
    let port = cloud.port(DEMO, &network).await;
    let path = format!("/ports/{}", id(&port));
    let fixed = json!({"fixed_ips": [{"subnet_id": subnet, "ip_address": "10.0.0.77"}], "name": "moved"});
    let moved = cloud.change(DEMO, &path, "port", fixed).await;
    assert_eq!(moved["fixed_ips"][0]["ip_address"], "10.0.0.77");
    assert_eq!(moved["revision_number"], json!(port["revision_number"].as_i64().unwrap() + 1));
    let same = cloud.change(DEMO, &path, "port", json!({"name": "moved"})).await;
    assert_eq!(same["revision_number"], moved["revision_number"]);
    let open = json!({"port": {"port_security_enabled": false}});
    assert_eq!(cloud.refused(DEMO, Method::PUT, &path, Some(open)).await.1, "PortSecurityPortHasSecurityGroup");
    let open = cloud.change(DEMO, &path, "port", json!({"port_security_enabled": false, "security_groups": []})).await;
    assert_eq!(open["security_groups"], json!([]));
    let outside = json!({"port": {"fixed_ips": [{"ip_address": "10.9.9.9"}]}});
    assert_eq!(cloud.refused(DEMO, Method::PUT, &path, Some(outside)).await, (400, "InvalidIpForNetwork".into()));
    let mac = json!({"port": {"network_id": network, "mac_address": port["mac_address"]}});
    assert_eq!(cloud.refused(DEMO, Method::POST, "/ports", Some(mac)).await, (409, "MacAddressInUse".into()));
    let (status, _) = cloud.call_if(DEMO, Method::DELETE, &format!("/v2.0{path}"), None, Some("revision_number=1")).await;
    assert_eq!(status, 412);
}

#[tokio::test]
async fn hosts_of_slaac_subnets_address_themselves() {
    let cloud = cloud().await;
    let (network, _) = cloud.network(DEMO, "10.0.0.0/24").await;
    let six = json!({"network_id": network, "ip_version": 6, "cidr": "fd00:7::/64", "ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"});
    cloud.make(DEMO, "subnets", "subnet", six).await;
    let port = cloud.port(DEMO, &network).await;
    let address = port["fixed_ips"][1]["ip_address"].as_str().unwrap().to_owned();
    assert!(address.starts_with("fd00:7::f816:3eff:fe"), "{address}");
}

#[tokio::test]
async fn hints_are_administrators_and_policies_are_known_ones() {
    let cloud = cloud().await;
    let (network, _) = cloud.network(DEMO, "10.0.0.0/24").await;
    let hints = json!({"openvswitch": {"other_config": {"tx-steering": "hash"}}});
    let body = |hints| Some(json!({"port": {"network_id": network, "hints": hints}}));
    assert_eq!(cloud.refused(DEMO, Method::POST, "/ports", body(hints.clone())).await, (403, "PolicyNotAuthorized".into()));
    assert_eq!(cloud.refused(ADMIN, Method::POST, "/ports", body(json!({"ovn": {}}))).await.0, 400);
    let port = cloud.make(DEMO, "ports", "port", json!({"network_id": network, "numa_affinity_policy": "socket"})).await;
    assert_eq!((port["numa_affinity_policy"].as_str(), port.get("hints")), (Some("socket"), None));
    let path = format!("/ports/{}", id(&port));
    assert_eq!(cloud.change(ADMIN, &path, "port", json!({"hints": hints.clone()})).await["hints"], hints);
    assert_eq!(cloud.get(ADMIN, &path).await["port"]["hints"], hints);
    assert_eq!(cloud.change(ADMIN, &path, "port", json!({"hints": null})).await["hints"], json!(null));
    assert_eq!(cloud.refused(DEMO, Method::PUT, &path, Some(json!({"port": {"numa_affinity_policy": "near"}}))).await.0, 400);
    assert_eq!(cloud.get(DEMO, "/ports?numa_affinity_policy=socket").await["ports"].as_array().unwrap().len(), 1);
    let none = cloud.change(DEMO, &path, "port", json!({"numa_affinity_policy": null})).await;
    assert_eq!(none["numa_affinity_policy"], json!(null));
}

#[tokio::test]
async fn pairs_come_and_go_one_by_one() {
    let cloud = cloud().await;
    let (network, _) = cloud.network(DEMO, "10.0.0.0/24").await;
    let port = cloud.port(DEMO, &network).await;
    let path = format!("/ports/{}", id(&port));
    let change = async |verb: &str, pairs: serde_json::Value| {
        let body = json!({"port": {"allowed_address_pairs": pairs}});
        let port = cloud.put(DEMO, &format!("{path}/{verb}_allowed_address_pairs"), body).await;
        let pairs = port["port"]["allowed_address_pairs"].as_array().unwrap().clone();
        pairs.iter().map(|pair| pair["ip_address"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(change("add", json!([{"ip_address": "10.0.0.77"}])).await, ["10.0.0.77"]);
    assert_eq!(change("add", json!([{"ip_address": "10.0.0.78"}, {"ip_address": "10.0.0.77"}])).await, ["10.0.0.77", "10.0.0.78"]);
    // as it is shown, with the port's own MAC address
    let shown = json!([{"ip_address": "10.0.0.77", "mac_address": port["mac_address"]}]);
    assert_eq!(change("remove", shown).await, ["10.0.0.78"]);
    assert_eq!(change("remove", json!([{"ip_address": "10.9.9.9"}])).await, ["10.0.0.78"]);
    let many: Vec<_> = (1..=10).map(|n| json!({"ip_address": format!("10.0.1.{n}")})).collect();
    let body = Some(json!({"port": {"allowed_address_pairs": many}}));
    let refused = cloud.refused(DEMO, Method::PUT, &format!("{path}/add_allowed_address_pairs"), body).await;
    assert_eq!(refused, (400, "AllowedAddressPairExhausted".into()));
}

#[tokio::test]
async fn networks_are_transparent_where_tags_are_nobody_elses() {
    let cloud = cloud().await;
    let plain = cloud.make(DEMO, "networks", "network", json!({"name": "n"})).await;
    assert_eq!(plain["vlan_transparent"], json!(null));
    let open = cloud.make(DEMO, "networks", "network", json!({"name": "t", "vlan_transparent": true})).await;
    assert_eq!(open["vlan_transparent"], json!(true));
    let flat = json!({"network": {"vlan_transparent": true, "provider:network_type": "vlan"}});
    assert_eq!(cloud.refused(ADMIN, Method::POST, "/networks", Some(flat)).await, (400, "VlanTransparencyDriverError".into()));
    let list = cloud.get(DEMO, "/networks?vlan_transparent=true").await;
    assert_eq!(list["networks"].as_array().unwrap().len(), 1);
}
