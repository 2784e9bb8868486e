//! QoS, trunks, port forwardings, bindings, metering and routers that several hosts carry.

use http::Method;
use rpc::network::RouterRole;
use serde_json::{Value, json};

use crate::harness::{ADMIN, Agent, Cloud, DEMO, cloud, eventually, id};

#[tokio::test(flavor = "multi_thread")]
async fn policies_reach_ports_by_themselves_and_by_their_network() {
    let cloud = cloud().await;
    let agent = Agent::start(&cloud, "host1").await;
    let body = json!({"policy": {"name": "slow"}});
    assert_eq!(cloud.refused(DEMO, Method::POST, "/qos/policies", Some(body)).await.0, 403);
    let policy = cloud.make(ADMIN, "qos/policies", "policy", json!({"name": "slow", "shared": true})).await;
    let path = format!("/qos/policies/{}", id(&policy));
    let rules = format!("qos/policies/{}/bandwidth_limit_rules", id(&policy));
    let rule = cloud.make(ADMIN, &rules, "bandwidth_limit_rule", json!({"max_kbps": 1000, "max_burst_kbps": 200})).await;
    assert_eq!((&rule["direction"], &rule["max_kbps"]), (&json!("egress"), &json!(1000)));
    let again = Some(json!({"bandwidth_limit_rule": {"max_kbps": 5}}));
    assert_eq!(cloud.refused(ADMIN, Method::POST, &format!("/{rules}"), again).await, (409, "QoSRulesConflict".into()));
    let marks = format!("/qos/policies/{}/dscp_marking_rules", id(&policy));
    let bad = Some(json!({"dscp_marking_rule": {"dscp_mark": 7}}));
    assert_eq!(cloud.refused(ADMIN, Method::POST, &marks, bad).await.0, 400);
    let (network, _) = cloud.network(DEMO, "10.0.0.0/24").await;
    let port = id(&cloud.port(DEMO, &network).await);
    cloud.bind(&port, "host1", "s1").await;
    cloud.change(DEMO, &format!("/networks/{network}"), "network", json!({"qos_policy_id": policy["id"]})).await;
    eventually(async || agent.state().ports.first().is_some_and(|port| port.qos.bandwidth_limits.len() == 1)).await;
    assert_eq!(cloud.get(DEMO, &format!("/ports/{port}")).await["port"]["qos_network_policy_id"], policy["id"]);
    let one = format!("/{rules}/{}", id(&rule));
    cloud.change(ADMIN, &one, "bandwidth_limit_rule", json!({"max_kbps": 2000})).await;
    cloud.make(ADMIN, marks.trim_start_matches('/'), "dscp_marking_rule", json!({"dscp_mark": 26})).await;
    eventually(async || {
        agent.state().ports[0].qos.dscp_mark == Some(26) && agent.state().ports[0].qos.bandwidth_limits[0].max_kbps == 2000
    })
    .await;
    let rates = format!("qos/policies/{}/packet_rate_limit_rules", id(&policy));
    let rate = cloud.make(ADMIN, &rates, "packet_rate_limit_rule", json!({"max_kpps": 3, "direction": "ingress"})).await;
    assert_eq!((&rate["max_kpps"], &rate["max_burst_kpps"]), (&json!(3), &json!(0)));
    eventually(async || agent.state().ports[0].qos.packet_limits.len() == 1).await;
    cloud.delete(ADMIN, &format!("/qos/alias-packet-rate-limit-rules/{}", id(&rate))).await;
    assert_eq!(cloud.get(DEMO, &path).await["policy"]["rules"].as_array().unwrap().len(), 2);
    assert_eq!(cloud.refused(ADMIN, Method::DELETE, &path, None).await, (409, "QosPolicyInUse".into()));
    cloud.delete(ADMIN, &format!("/qos/alias-bandwidth-limit-rules/{}", id(&rule))).await;
    assert_eq!(cloud.refused(ADMIN, Method::GET, &one, None).await, (404, "QosRuleNotFound".into()));
    assert!(agent.is_up_to_date().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn subports_are_where_their_parent_is() {
    let cloud = cloud().await;
    let agent = Agent::start(&cloud, "host1").await;
    let (network, _) = cloud.network(DEMO, "10.0.0.0/24").await;
    let (inner, _) = cloud.network(DEMO, "10.1.0.0/24").await;
    let (parent, child) = (id(&cloud.port(DEMO, &network).await), id(&cloud.port(DEMO, &inner).await));
    let tagged = |port: &str, tag: i64| json!([{"port_id": port, "segmentation_type": "vlan", "segmentation_id": tag}]);
    let trunk = cloud.make(DEMO, "trunks", "trunk", json!({"port_id": parent, "sub_ports": tagged(&child, 42)})).await;
    assert_eq!((&trunk["status"], &trunk["sub_ports"][0]["segmentation_id"]), (&json!("DOWN"), &json!(42)));
    let path = format!("/trunks/{}", id(&trunk));
    cloud.bind(&parent, "host1", "s1").await;
    eventually(async || agent.state().ports.len() == 2).await;
    let member = agent.state().ports.iter().find_map(|port| port.trunk.clone()).unwrap();
    assert_eq!((member.parent_port_id.as_str(), member.vlan), (parent.as_str(), 42));
    agent.wired(&[&parent, &child], &[]).await;
    assert_eq!(cloud.get(DEMO, &path).await["trunk"]["status"], "ACTIVE");
    let seen = cloud.get(DEMO, &format!("/ports/{parent}")).await;
    assert_eq!(seen["port"]["trunk_details"]["sub_ports"][0]["port_id"], json!(child));
    for (port, code) in [(&parent, "PortInUseAsTrunkParent"), (&child, "PortInUseAsSubPort")] {
        assert_eq!(cloud.refused(DEMO, Method::DELETE, &format!("/ports/{port}"), None).await, (409, code.into()));
    }
    let other = id(&cloud.port(DEMO, &inner).await);
    let taken = Some(json!({"sub_ports": tagged(&other, 42)}));
    assert_eq!(cloud.refused(DEMO, Method::PUT, &format!("{path}/add_subports"), taken).await, (409, "DuplicateSubPort".into()));
    let added = cloud.put(DEMO, &format!("{path}/add_subports"), json!({"sub_ports": tagged(&other, 43)})).await;
    assert_eq!(added["sub_ports"].as_array().unwrap().len(), 2);
    cloud.put(DEMO, &format!("{path}/remove_subports"), json!({"sub_ports": [{"port_id": child}, {"port_id": other}]})).await;
    assert_eq!(cloud.get(DEMO, &format!("{path}/get_subports")).await["sub_ports"], json!([]));
    eventually(async || agent.state().ports.len() == 1 && agent.is_up_to_date().await).await;
    assert_eq!(cloud.refused(DEMO, Method::DELETE, &path, None).await, (409, "TrunkInUse".into()));
}

async fn forwarding(cloud: &Cloud) -> (String, String, String) {
    cloud.bootstrapped().await;
    let (public, private) = (cloud.named("networks", "public").await, cloud.named("networks", "private").await);
    let port = cloud.port(DEMO, &private).await;
    let floating = cloud.make(DEMO, "floatingips", "floatingip", json!({"floating_network_id": public})).await;
    (id(&port), port["fixed_ips"][0]["ip_address"].as_str().unwrap().to_owned(), id(&floating))
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_of_a_floating_ip_lead_inside() {
    let cloud = cloud().await;
    let agent = Agent::start(&cloud, "host1").await;
    let (port, inner, floating) = forwarding(&cloud).await;
    let all = format!("floatingips/{floating}/port_forwardings");
    let body =
        json!({"protocol": "tcp", "external_port": 2222, "internal_port": 22, "internal_port_id": port, "internal_ip_address": inner});
    let made = cloud.make(DEMO, &all, "port_forwarding", body.clone()).await;
    assert_eq!((&made["external_port"], &made["internal_port_range"]), (&json!(2222), &json!("22:22")));
    let seen = cloud.get(DEMO, &format!("/floatingips/{floating}")).await["floatingip"].clone();
    assert_eq!((&seen["status"], seen["port_forwardings"].as_array().unwrap().len()), (&json!("DOWN"), 1));
    eventually(async || agent.state().routers.first().is_some_and(|router| router.port_forwardings.len() == 1)).await;
    agent.wired(&[&agent.state().routers[0].port_forwardings[0].floatingip_id], &[]).await;
    assert_eq!(cloud.get(DEMO, &format!("/floatingips/{floating}")).await["floatingip"]["status"], "ACTIVE");
    assert_eq!(agent.state().routers[0].port_forwardings[0].external_ports, (2222, 2222));
    for (change, status) in [
        (json!({}), 400),
        (json!({"external_port": 80, "internal_ip_address": "10.0.0.250"}), 400),
        (json!({"external_port": null, "external_port_range": "90:95", "internal_port": null, "internal_port_range": "1:3"}), 400),
        (json!({"external_port": 0}), 400),
    ] {
        let mut body = body.clone();
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        body.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let refused = cloud.refused(DEMO, Method::POST, &format!("/{all}"), Some(json!({"port_forwarding": body}))).await;
        assert_eq!(refused.0, status, "{change}");
    }
    let associate = Some(json!({"floatingip": {"port_id": port}}));
    let path = format!("/floatingips/{floating}");
    assert_eq!(cloud.refused(DEMO, Method::PUT, &path, associate).await, (409, "FipInUseByPortForwarding".into()));
    cloud.change(DEMO, &format!("/{all}/{}", id(&made)), "port_forwarding", json!({"external_port": 2200})).await;
    eventually(async || agent.state().routers[0].port_forwardings[0].external_ports == (2200, 2200)).await;
    cloud.delete(DEMO, &format!("/ports/{port}")).await;
    let left = cloud.get(DEMO, &path).await["floatingip"].clone();
    assert_eq!((&left["status"], &left["router_id"], &left["port_forwardings"]), (&json!("DOWN"), &Value::Null, &json!([])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binding_waits_until_it_is_activated() {
    let cloud = cloud().await;
    let (one, two) = (Agent::start(&cloud, "host1").await, Agent::start(&cloud, "host2").await);
    let (network, _) = cloud.network(DEMO, "10.0.0.0/24").await;
    let port = id(&cloud.port(DEMO, &network).await);
    cloud.bind(&port, "host1", "s1").await;
    let path = format!("/ports/{port}/bindings");
    let binding = Some(json!({"binding": {"host": "host2"}}));
    assert_eq!(cloud.refused(DEMO, Method::POST, &path, binding.clone()).await.0, 403);
    let made =
        cloud.make(ADMIN, path.trim_start_matches('/'), "binding", json!({"host": "host2", "profile": {"migrating_to": "host2"}})).await;
    assert_eq!((&made["status"], &made["vif_type"]), (&json!("INACTIVE"), &json!("bridge")));
    assert_eq!(cloud.refused(ADMIN, Method::POST, &path, binding).await, (409, "PortBindingAlreadyExists".into()));
    // it is wired where its guest is awaited, but that is no reason to call it ACTIVE
    eventually(async || one.state().ports.len() == 1 && two.state().ports.len() == 1).await;
    let elsewhere = |agent: &Agent| agent.state().networks[0].peers.iter().filter(|peer| peer.port_id == port).count();
    assert_eq!((elsewhere(&one), elsewhere(&two)), (0, 1), "its traffic goes to where it is");
    let active = cloud.put(ADMIN, &format!("{path}/host2/activate"), json!({})).await;
    assert_eq!(active["binding"]["status"], "ACTIVE");
    let again = cloud.refused(ADMIN, Method::PUT, &format!("{path}/host2/activate"), Some(json!({}))).await;
    assert_eq!(again, (409, "PortBindingAlreadyActive".into()));
    eventually(async || (elsewhere(&one), elsewhere(&two)) == (1, 0)).await;
    cloud.delete(ADMIN, &format!("{path}/host1")).await;
    eventually(async || one.state().ports.is_empty() && two.state().ports.len() == 1).await;
    assert_eq!(cloud.get(ADMIN, &path).await["bindings"].as_array().unwrap().len(), 1);
    assert_eq!(cloud.get(ADMIN, &format!("/ports/{port}")).await["port"]["binding:host_id"], "host2");
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_know_the_ports_of_others() {
    let cloud = cloud().await;
    let (one, two) = (Agent::start(&cloud, "host1").await, Agent::start(&cloud, "host2").await);
    let (network, _) = cloud.network(DEMO, "10.0.0.0/24").await;
    let ports = [id(&cloud.port(DEMO, &network).await), id(&cloud.port(DEMO, &network).await)];
    cloud.bind(&ports[0], "host1", "s1").await;
    cloud.bind(&ports[1], "host2", "s2").await;
    // a guest and a DHCP server on the other host
    eventually(async || one.state().networks.first().is_some_and(|network| network.peers.len() == 2)).await;
    let peer = one.state().networks[0].peers.iter().find(|peer| peer.port_id == ports[1]).unwrap().clone();
    assert_eq!((peer.vtep, peer.addresses.len()), (Some("192.0.2.2".parse().unwrap()), 1));
    let options = json!({"extra_dhcp_opts": [{"opt_name": "mtu", "opt_value": "1400"}, {"opt_name": "150", "opt_value": "10.0.0.9"}]});
    let path = format!("/ports/{}", ports[0]);
    assert_eq!(cloud.change(DEMO, &path, "port", options).await["extra_dhcp_opts"].as_array().unwrap().len(), 2);
    let less = json!({"extra_dhcp_opts": [{"opt_name": "mtu", "opt_value": null}]});
    assert_eq!(cloud.change(DEMO, &path, "port", less).await["extra_dhcp_opts"][0]["opt_name"], "150");
    eventually(async || one.state().ports[0].extra_dhcp_opts.len() == 1).await;
    cloud.delete(DEMO, &format!("/ports/{}", ports[1])).await;
    eventually(async || one.state().networks[0].peers.is_empty() && two.state().networks.is_empty()).await;
    assert!(one.is_up_to_date().await && two.is_up_to_date().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn others_stand_by_for_a_router() {
    let cloud = cloud().await;
    let (one, two) = (Agent::start(&cloud, "host1").await, Agent::start(&cloud, "host2").await);
    let (_, subnet) = cloud.network(DEMO, "10.0.0.0/24").await;
    let body = json!({"ha": true, "project_id": "demo"});
    assert_eq!(cloud.refused(DEMO, Method::POST, "/routers", Some(json!({"router": body}))).await.0, 403);
    let router = id(&cloud.make(ADMIN, "routers", "router", body).await);
    cloud.put(DEMO, &format!("/routers/{router}/add_router_interface"), json!({"subnet_id": subnet})).await;
    let role = |agent: &Agent| agent.state().routers.first().map(|router| router.role);
    eventually(async || role(&one).is_some() && role(&two).is_some()).await;
    assert_eq!((role(&one), role(&two)), (Some(RouterRole::Active), Some(RouterRole::Standby)));
    let agents = cloud.get(ADMIN, &format!("/routers/{router}/l3-agents")).await;
    assert_eq!((&agents["agents"][0]["ha_state"], &agents["agents"][1]["ha_state"]), (&json!("active"), &json!("standby")));
    let l3 = cloud.get(ADMIN, "/agents?agent_type=L3%20agent&host=host1").await;
    let l3 = l3["agents"][0]["id"].as_str().unwrap();
    assert_eq!(cloud.get(ADMIN, &format!("/agents/{l3}/l3-routers")).await["routers"][0]["id"], json!(router));
    cloud.delete(ADMIN, &format!("/agents/{l3}/l3-routers/{router}")).await;
    eventually(async || role(&two) == Some(RouterRole::Active)).await;
    let label = cloud.make(ADMIN, "metering/metering-labels", "metering_label", json!({"name": "all", "project_id": "demo"})).await;
    let rule = json!({"metering_label_id": label["id"], "remote_ip_prefix": "0.0.0.0/0", "direction": "egress"});
    cloud.make(ADMIN, "metering/metering-label-rules", "metering_label_rule", rule.clone()).await;
    let again = cloud.refused(ADMIN, Method::POST, "/metering/metering-label-rules", Some(json!({"metering_label_rule": rule}))).await;
    assert_eq!(again, (409, "MeteringLabelRuleOverlaps".into()));
    let counted =
        |agent: &Agent| agent.state().routers.first().is_some_and(|r| r.metering_labels.first().is_some_and(|l| l.rules.len() == 1));
    eventually(async || counted(&two)).await;
    let routes = json!({"router": {"routes": [{"destination": "192.168.0.0/24", "nexthop": "10.0.0.9"}]}});
    let added = cloud.put(DEMO, &format!("/routers/{router}/add_extraroutes"), routes.clone()).await;
    assert_eq!(added["router"]["routes"].as_array().unwrap().len(), 1);
    let removed = cloud.put(DEMO, &format!("/routers/{router}/remove_extraroutes"), routes).await;
    assert_eq!(removed["router"]["routes"], json!([]));
    assert!(two.is_up_to_date().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn bandwidth_and_packets_are_promised_to_ports() {
    let cloud = cloud().await;
    let policy = cloud.make(ADMIN, "qos/policies", "policy", json!({"name": "promise", "shared": true})).await["id"].clone();
    let rules = format!("qos/policies/{}/minimum_bandwidth_rules", policy.as_str().unwrap());
    let rule = cloud.make(ADMIN, &rules, "minimum_bandwidth_rule", json!({"min_kbps": 500, "direction": "ingress"})).await;
    let rule = format!("/{rules}/{}", id(&rule));
    let packets = rules.replace("bandwidth", "packet_rate");
    let any = cloud.make(ADMIN, &packets, "minimum_packet_rate_rule", json!({"min_kpps": 9})).await;
    assert_eq!(any["direction"], "any");
    let crossing = Some(json!({"minimum_packet_rate_rule": {"min_kpps": 9, "direction": "egress"}}));
    assert_eq!(cloud.refused(ADMIN, Method::POST, &format!("/{packets}"), crossing).await, (409, "QoSRulesConflict".into()));
    let (tunnelled, _) = cloud.network(DEMO, "10.0.0.0/24").await;
    let through = id(&cloud.make(DEMO, "ports", "port", json!({"network_id": tunnelled, "qos_policy_id": policy})).await);
    let asks = async |port: &str| cloud.get(ADMIN, &format!("/ports/{port}")).await["port"]["resource_request"].clone();
    let groups = asks(&through).await["request_groups"].clone();
    assert_eq!(groups.as_array().unwrap().len(), 1, "nobody counts the bandwidth of tunnels: {groups}");

    let vlan = id(&cloud.make(ADMIN, "networks", "network", json!({"provider:network_type": "vlan", "shared": true})).await);
    let port = cloud.make(DEMO, "ports", "port", json!({"network_id": vlan, "qos_policy_id": policy})).await;
    assert!(port.get("resource_request").is_none(), "for administrators and services");
    let path = format!("/ports/{}", id(&port));
    let request = asks(&id(&port)).await;
    let group = &request["request_groups"][0];
    assert_eq!(group["resources"], json!({"NET_BW_IGR_KILOBIT_PER_SEC": 500}));
    assert_eq!(group["required"], json!(["CUSTOM_PHYSNET_PUBLIC", "CUSTOM_VNIC_TYPE_NORMAL"]));
    let packets = &request["request_groups"][1];
    assert_eq!(packets["resources"], json!({"NET_PACKET_RATE_KILOPACKET_PER_SEC": 9}));
    assert_eq!(packets["required"], json!(["CUSTOM_VNIC_TYPE_NORMAL"]));
    assert_eq!(request["same_subtree"], json!([group["id"], packets["id"]]));
    cloud.change(ADMIN, &rule, "minimum_bandwidth_rule", json!({"min_kbps": 600})).await;
    cloud.bind(&id(&port), "host1", "server").await;
    // what a bound port was promised cannot become something else
    let more = Some(json!({"minimum_bandwidth_rule": {"min_kbps": 700}}));
    assert_eq!(cloud.refused(ADMIN, Method::PUT, &rule, more).await, (501, "NotImplementedError".into()));
    cloud.change(ADMIN, &path, "port", json!({"binding:host_id": ""})).await;
    cloud.change(DEMO, &path, "port", json!({"qos_policy_id": null})).await;
    assert_eq!(asks(&id(&port)).await, Value::Null);
    cloud.change(ADMIN, &format!("/networks/{vlan}"), "network", json!({"qos_policy_id": policy})).await;
    assert_eq!(asks(&id(&port)).await["request_groups"][0]["resources"], json!({"NET_BW_IGR_KILOBIT_PER_SEC": 600}), "by the network");
}

#[tokio::test(flavor = "multi_thread")]
async fn flavors_are_made_of_profiles() {
    let cloud = cloud().await;
    let flavor = cloud.make(ADMIN, "flavors", "flavor", json!({"name": "f", "service_type": "FLAVORS"})).await;
    assert_eq!((&flavor["enabled"], &flavor["service_profiles"]), (&json!(true), &json!([])));
    let empty = Some(json!({"service_profile": {"description": "nothing"}}));
    assert_eq!(cloud.refused(ADMIN, Method::POST, "/service_profiles", empty).await, (400, "ServiceProfileEmpty".into()));
    let unknown = Some(json!({"service_profile": {"driver": "a.b.C"}}));
    assert_eq!(cloud.refused(ADMIN, Method::POST, "/service_profiles", unknown).await, (404, "ServiceProfileDriverNotFound".into()));
    let profile = cloud.make(ADMIN, "service_profiles", "service_profile", json!({"metainfo": "{}"})).await;
    let (path, profiles) = (format!("/service_profiles/{}", id(&profile)), format!("flavors/{}/service_profiles", id(&flavor)));
    let bound = cloud.make(ADMIN, &profiles, "service_profile", json!({"id": profile["id"]})).await;
    assert_eq!(bound["service_profiles"], json!([profile["id"]]));
    let again = Some(json!({"service_profile": {"id": profile["id"]}}));
    assert_eq!(cloud.refused(ADMIN, Method::POST, &format!("/{profiles}"), again).await.1, "FlavorServiceProfileBindingExists");
    assert_eq!(cloud.refused(ADMIN, Method::DELETE, &path, None).await, (409, "ServiceProfileInUse".into()));
    cloud.delete(ADMIN, &format!("/{profiles}/{}", id(&profile))).await;
    cloud.delete(ADMIN, &path).await;
    assert_eq!(cloud.get(DEMO, "/flavors").await["flavors"][0]["service_profiles"], json!([]));
    cloud.delete(ADMIN, &format!("/flavors/{}", id(&flavor))).await;
}
