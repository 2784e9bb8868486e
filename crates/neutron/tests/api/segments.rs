//! Networks of several segments, segments as resources of their own, and the ranges of numbers they are made of.

use http::Method;
use serde_json::{Value, json};

use crate::harness::{ADMIN, Agent, Cloud, DEMO, cloud, cloud_with, eventually, id};

/// A cloud with another physical network, to which agents of the tests are joined.
async fn joined() -> Cloud {
    let vlan_ranges = ["public", "physnet1:200:209"].map(|range| range.parse().unwrap());
    let physical_networks = vec!["public".into(), "physnet1".into(), "physnet2".into()];
    cloud_with(neutron::Config { physical_networks, vlan_ranges: vlan_ranges.into(), ..neutron::Config::default() }).await
}

fn carrier(kind: &str, physical: Option<&str>, number: Option<u32>) -> Value {
    json!({"provider:network_type": kind, "provider:physical_network": physical, "provider:segmentation_id": number})
}

async fn segments_of(cloud: &Cloud, network: &str) -> Vec<Value> {
    let list = cloud.get(ADMIN, &format!("/segments?network_id={network}")).await;
    list["segments"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_network_of_several_segments_is_on_each_host_the_first_that_is_there() {
    let cloud = joined().await;
    let body = json!({"name": "n", "segments": [carrier("vlan", Some("physnet2"), Some(7)), carrier("vlan", Some("physnet1"), None),
        carrier("vxlan", None, None)]});
    let network = cloud.make(ADMIN, "networks", "network", body).await;
    assert!(network.get("provider:network_type").is_none() && network["mtu"] == 1450, "{network}");
    let shown = network["segments"].as_array().unwrap();
    assert_eq!(shown[0], carrier("vlan", Some("physnet2"), Some(7)));
    assert_eq!(shown[1], carrier("vlan", Some("physnet1"), Some(200)), "of the range");
    assert!(shown[2]["provider:segmentation_id"].is_u64());
    let network = id(&network);
    let found = cloud.get(ADMIN, "/networks?provider:physical_network=physnet1&provider:segmentation_id=200").await;
    assert_eq!(id(&found["networks"][0]), network, "by any of its segments");

    let host = Agent::start(&cloud, "host1").await;
    let port = id(&cloud.port(ADMIN, &network).await);
    cloud.bind(&port, "host1", "server").await;
    let is = async |kind: &str, number: u32| {
        let state = host.state();
        state.networks.iter().any(|known| known.id == network && known.network_type == kind && known.segmentation_id == Some(number))
    };
    eventually(async || is("vlan", 200).await).await;
    let on_host = cloud.get(ADMIN, &format!("/segments?network_id={network}&physical_network=physnet1")).await;
    let path = format!("/segments/{}", id(&on_host["segments"][0]));
    assert_eq!(cloud.refused(ADMIN, Method::DELETE, &path, None).await, (409, "SegmentInUse".into()));
    assert!(host.is_up_to_date().await);
}

#[tokio::test]
async fn hosts_on_another_segment_are_no_end_of_the_tunnel() {
    let cloud = joined().await;
    let network = id(&cloud.make(ADMIN, "networks", "network", json!({"name": "n"})).await);
    let (one, two) = (Agent::start(&cloud, "host1").await, Agent::start(&cloud, "host2").await);
    for (host, server) in [("host1", "s1"), ("host2", "s2")] {
        let port = id(&cloud.port(ADMIN, &network).await);
        cloud.bind(&port, host, server).await;
    }
    let tunnelled = |agent: &Agent| {
        let state = agent.state();
        let known = state.networks.iter().find(|known| known.id == network);
        known.is_some_and(|known| known.network_type == "vxlan" && known.peers.iter().any(|peer| peer.vtep.is_some()))
    };
    eventually(async || tunnelled(&one) && tunnelled(&two)).await;
    let [vxlan] = segments_of(&cloud, &network).await.try_into().unwrap();
    let further = json!({"network_id": network, "network_type": "vlan", "physical_network": "physnet1"});
    let further = cloud.make(ADMIN, "segments", "segment", further).await;
    assert_eq!(further["segmentation_id"], 200);
    eventually(async || one.is_up_to_date().await && tunnelled(&one)).await;
    // the tunnel is still their first; without it they are on the other
    for port in cloud.get(ADMIN, &format!("/ports?network_id={network}")).await["ports"].as_array().unwrap() {
        cloud.bind(&id(port), "", "").await;
    }
    cloud.delete(ADMIN, &format!("/segments/{}", id(&vxlan))).await;
    let shown = cloud.get(ADMIN, &format!("/networks/{network}")).await["network"].clone();
    assert_eq!((&shown["provider:network_type"], &shown["provider:segmentation_id"]), (&json!("vlan"), &json!(200)));
}

#[tokio::test]
async fn segments_are_made_named_listed_and_removed() {
    let cloud = joined().await;
    let (network, subnet) = cloud.network(DEMO, "10.0.0.0/24").await;
    let [first] = segments_of(&cloud, &network).await.try_into().unwrap();
    assert_eq!((&first["name"], &first["network_type"], &first["physical_network"]), (&Value::Null, &json!("vxlan"), &Value::Null));
    let path = format!("/segments/{}", id(&first));
    let changed = cloud.change(ADMIN, &path, "segment", json!({"name": "s", "description": "d"})).await;
    assert_eq!((&changed["name"], &changed["description"], &changed["revision_number"]), (&json!("s"), &json!("d"), &json!(1)));
    assert_eq!(id(&cloud.get(ADMIN, "/segments?name=s").await["segments"][0]), id(&first));
    for (body, expected) in [
        (json!({"network_id": network, "network_type": "vlan", "segmentation_id": 5}), (400, "InvalidInput")),
        (json!({"network_id": network, "network_type": "flat", "physical_network": "nowhere"}), (400, "InvalidInput")),
        (json!({"network_id": network, "network_type": "vxlan", "segmentation_id": first["segmentation_id"]}), (409, "TunnelIdInUse")),
        (json!({"network_id": first["id"], "network_type": "vxlan"}), (404, "NetworkNotFound")),
        (json!({"network_id": network}), (400, "HTTPBadRequest")),
    ] {
        let refused = cloud.refused(ADMIN, Method::POST, "/segments", Some(json!({"segment": body}))).await;
        assert_eq!(refused, (expected.0, expected.1.into()), "{body}");
    }
    let on = json!({"segment_id": first["id"]});
    assert_eq!(cloud.change(ADMIN, &format!("/subnets/{subnet}"), "subnet", on).await["segment_id"], first["id"]);
    assert_eq!(cloud.refused(ADMIN, Method::DELETE, &path, None).await, (409, "SegmentInUse".into()));
    assert_eq!(cloud.get(DEMO, &format!("/networks/{network}")).await["network"]["l2_adjacency"], false);
    let none = json!({"subnet": {"network_id": network, "ip_version": 4, "cidr": "10.1.0.0/24"}});
    let refused = cloud.refused(ADMIN, Method::POST, "/subnets", Some(none)).await;
    assert_eq!(refused, (400, "SubnetsNotAllAssociatedWithSegments".into()));
    cloud.delete(DEMO, &format!("/networks/{network}")).await;
    assert_eq!(segments_of(&cloud, &network).await, Vec::<Value>::new());
}

#[tokio::test]
async fn addresses_are_of_the_segment_of_the_host_and_wait_for_it() {
    let cloud = joined().await;
    let body = json!({"name": "n", "segments": [carrier("vlan", Some("physnet2"), Some(7)), carrier("vlan", Some("physnet1"), Some(7))]});
    let network = id(&cloud.make(ADMIN, "networks", "network", body).await);
    for segment in segments_of(&cloud, &network).await {
        let cidr = if segment["physical_network"] == "physnet1" { "10.2.0.0/24" } else { "10.1.0.0/24" };
        let subnet = json!({"network_id": network, "ip_version": 4, "cidr": cidr, "segment_id": segment["id"]});
        cloud.make(ADMIN, "subnets", "subnet", subnet).await;
    }
    let _host = Agent::start(&cloud, "host1").await;
    let waiting = cloud.port(ADMIN, &network).await;
    assert_eq!((&waiting["ip_allocation"], &waiting["fixed_ips"]), (&json!("deferred"), &json!([])));
    let bound = cloud.bind(&id(&waiting), "host1", "server").await;
    let address = |port: &Value| port["fixed_ips"][0]["ip_address"].as_str().unwrap().to_owned();
    assert!(address(&bound).starts_with("10.2.0.") && bound["ip_allocation"] == "deferred", "{bound}");
    let at_once = json!({"network_id": network, "binding:host_id": "host1"});
    assert!(address(&cloud.make(ADMIN, "ports", "port", at_once).await).starts_with("10.2.0."));
    let elsewhere = json!({"port": {"network_id": network, "binding:host_id": "nowhere"}});
    let refused = cloud.refused(ADMIN, Method::POST, "/ports", Some(elsewhere)).await;
    assert_eq!(refused, (409, "HostNotConnectedToAnySegment".into()));
    let chosen = json!({"network_id": network, "fixed_ips": [{"ip_address": "10.1.0.9"}]});
    let chosen = id(&cloud.make(ADMIN, "ports", "port", chosen).await);
    let binding = Some(json!({"port": {"binding:host_id": "host1"}}));
    let refused = cloud.refused(ADMIN, Method::PUT, &format!("/ports/{chosen}"), binding).await;
    assert_eq!(refused, (409, "HostNotCompatibleWithFixedIps".into()));
}

#[tokio::test]
async fn a_projects_range_is_for_its_networks_alone() {
    let cloud = cloud().await;
    let ranges = cloud.get(ADMIN, "/network_segment_ranges").await["network_segment_ranges"].clone();
    let [tunnels, tags] = <[Value; 2]>::try_from(ranges.as_array().unwrap().clone()).unwrap();
    let (tunnels, tags) = if tunnels["network_type"] == "vxlan" { (tunnels, tags) } else { (tags, tunnels) };
    assert_eq!((&tunnels["default"], &tunnels["shared"], &tunnels["project_id"]), (&json!(true), &json!(true), &Value::Null));
    assert_eq!((&tags["physical_network"], &tags["minimum"], &tags["maximum"]), (&json!("public"), &json!(1), &json!(4094)));
    let fixed = format!("/network_segment_ranges/{}", id(&tunnels));
    assert_eq!(cloud.refused(ADMIN, Method::DELETE, &fixed, None).await, (400, "NetworkSegmentRangeDefaultReadOnly".into()));

    let range = json!({"network_type": "vxlan", "minimum": 2, "maximum": 3, "shared": false, "project_id": "demo"});
    let range = cloud.make(ADMIN, "network-segment-ranges", "network_segment_range", range).await;
    assert_eq!((&range["default"], &range["used"], &range["available"]), (&json!(false), &json!({}), &json!([2, 3])));
    let path = format!("/network_segment_ranges/{}", id(&range));
    let mut numbers = Vec::new();
    for who in [ADMIN, DEMO, ADMIN, DEMO, DEMO] {
        let made = id(&cloud.make(who, "networks", "network", json!({"name": "n"})).await);
        let shown = cloud.get(ADMIN, &format!("/networks/{made}")).await;
        numbers.push(shown["network"]["provider:segmentation_id"].as_u64().unwrap());
    }
    assert_eq!(numbers, [1, 2, 4, 3, 5]);
    let shown = cloud.get(ADMIN, &path).await["network_segment_range"].clone();
    assert_eq!((&shown["used"], &shown["available"]), (&json!({"2": "demo", "3": "demo"}), &json!([])));
    // what is in use may stand at its ends
    cloud.change(ADMIN, &path, "network_segment_range", json!({"minimum": 2, "maximum": 3})).await;
    let change = Some(json!({"network_segment_range": {"minimum": 3}}));
    let in_use = (409, "NetworkSegmentRangeReferencedByProject".to_owned());
    assert_eq!(cloud.refused(ADMIN, Method::PUT, &path, change).await, in_use);
    assert_eq!(cloud.refused(ADMIN, Method::DELETE, &path, None).await, in_use);
    for (body, expected) in [
        (json!({"network_type": "vxlan", "minimum": 3, "maximum": 9}), (409, "NetworkSegmentRangeOverlaps")),
        (json!({"network_type": "vxlan", "minimum": 9, "maximum": 8}), (400, "NetworkTunnelRangeError")),
        (json!({"network_type": "vlan", "minimum": 1, "maximum": 8}), (400, "BadRequest")),
        (json!({"network_type": "gre", "minimum": 1, "maximum": 8}), (400, "NetworkSegmentRangeNetTypeNotSupported")),
    ] {
        let body = json!({"network_segment_range": body});
        let refused = cloud.refused(ADMIN, Method::POST, "/network_segment_ranges", Some(body)).await;
        assert_eq!(refused, (expected.0, expected.1.into()));
    }
}
