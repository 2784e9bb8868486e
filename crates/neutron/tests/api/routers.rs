//! Routers and floating IPs.

use std::time::Duration;

use http::Method;
use rpc::network::RouterRole;
use serde_json::{Value, json};

use crate::harness::{ADMIN, Agent, Cloud, DEMO, OTHER, cloud, cloud_with, eventually, id};

async fn legs(cloud: &Cloud, router: &str, verb: &str, body: Value) -> (u16, String) {
    cloud.refused(DEMO, Method::PUT, &format!("/routers/{router}/{verb}_router_interface"), Some(body)).await
}

#[tokio::test]
async fn interfaces_come_and_go() {
    let cloud = cloud().await;
    let (network, subnet) = cloud.network(DEMO, "10.1.0.0/24").await;
    let router = id(&cloud.make(DEMO, "routers", "router", json!({"name": "r"})).await);
    let body = json!({"subnet_id": subnet});
    let added = cloud.put(DEMO, &format!("/routers/{router}/add_router_interface"), body.clone()).await;
    assert_eq!((&added["id"], &added["subnet_ids"]), (&json!(router), &json!([subnet])));
    let port = cloud.get(DEMO, &format!("/ports/{}", added["port_id"].as_str().unwrap())).await["port"].clone();
    assert_eq!((&port["fixed_ips"][0]["ip_address"], &port["device_owner"]), (&json!("10.1.0.1"), &json!("network:router_interface")));
    assert_eq!(legs(&cloud, &router, "add", body.clone()).await, (400, "BadRequest".into()));
    assert_eq!(cloud.refused(DEMO, Method::DELETE, &format!("/ports/{}", id(&port)), None).await, (409, "ServicePortInUse".into()));
    assert_eq!(cloud.refused(DEMO, Method::DELETE, &format!("/routers/{router}"), None).await, (409, "RouterInUse".into()));
    assert_eq!(cloud.refused(DEMO, Method::DELETE, &format!("/networks/{network}"), None).await, (409, "NetworkInUse".into()));
    let (_, overlapping) = cloud.network(DEMO, "10.1.0.0/16").await;
    assert_eq!(legs(&cloud, &router, "add", json!({"subnet_id": overlapping})).await, (400, "BadRequest".into()));
    let routes = |nexthop: &str| json!({"router": {"routes": [{"destination": "192.168.0.0/24", "nexthop": nexthop}]}});
    let path = format!("/routers/{router}");
    assert_eq!(cloud.refused(DEMO, Method::PUT, &path, Some(routes("10.9.0.1"))).await, (400, "InvalidRoutes".into()));
    cloud.put(DEMO, &path, routes("10.1.0.9")).await;
    assert_eq!(legs(&cloud, &router, "remove", body.clone()).await, (409, "RouterInterfaceInUseByRoute".into()));
    cloud.put(DEMO, &path, json!({"router": {"routes": []}})).await;
    cloud.put(DEMO, &format!("/routers/{router}/remove_router_interface"), body.clone()).await;
    assert_eq!(legs(&cloud, &router, "remove", body).await.0, 404);
    cloud.delete(DEMO, &path).await;
}

#[tokio::test]
async fn floating_ips_live() {
    let cloud = cloud().await;
    cloud.bootstrapped().await;
    let agent = Agent::start(&cloud, "host1").await;
    let (public, private) = (cloud.named("networks", "public").await, cloud.named("networks", "private").await);
    let router = cloud.named("routers", "router1").await;
    let seen = cloud.get(DEMO, &format!("/routers/{router}")).await["router"].clone();
    assert_eq!(seen["external_gateway_info"]["external_fixed_ips"][0]["ip_address"], "172.24.4.10");
    assert_eq!(cloud.get(OTHER, "/networks?router:external=true").await["networks"][0]["name"], "public");
    let port = cloud.port(DEMO, &private).await;
    let floating = cloud.make(DEMO, "floatingips", "floatingip", json!({"floating_network_id": public})).await;
    assert_eq!(
        (&floating["status"], &floating["floating_ip_address"], &floating["port_id"]),
        (&json!("DOWN"), &json!("172.24.4.11"), &Value::Null)
    );
    let path = format!("/floatingips/{}", id(&floating));
    let joined = cloud.change(DEMO, &path, "floatingip", json!({"port_id": id(&port)})).await;
    assert_eq!(
        (&joined["status"], &joined["router_id"], &joined["port_details"]["status"]),
        (&json!("DOWN"), &json!(router), &json!("DOWN"))
    );
    agent.wired(&[&id(&floating)], &[]).await;
    assert_eq!(cloud.get(DEMO, &path).await["floatingip"]["status"], "ACTIVE", "its host says that it leads there");
    agent.wired(&[], &[&id(&floating)]).await;
    assert_eq!(cloud.get(DEMO, &path).await["floatingip"]["status"], "DOWN");
    agent.wired(&[&id(&floating)], &[]).await;
    let second = json!({"floatingip": {"floating_network_id": public, "port_id": id(&port)}});
    assert_eq!(cloud.refused(DEMO, Method::POST, "/floatingips", Some(second)).await, (409, "FloatingIPPortAlreadyAssociated".into()));
    let clear = json!({"router": {"external_gateway_info": {}}});
    assert_eq!(
        cloud.refused(DEMO, Method::PUT, &format!("/routers/{router}"), Some(clear.clone())).await.1,
        "RouterExternalGatewayInUseByFloatingIp"
    );
    let subnet = cloud.named("subnets", "private-subnet").await;
    assert_eq!(legs(&cloud, &router, "remove", json!({"subnet_id": subnet})).await, (409, "RouterInterfaceInUseByFloatingIP".into()));
    cloud.delete(DEMO, &format!("/ports/{}", id(&port))).await;
    let left = cloud.get(DEMO, &path).await["floatingip"].clone();
    assert_eq!((&left["status"], &left["router_id"], &left["fixed_ip_address"]), (&json!("DOWN"), &Value::Null, &Value::Null));
    let (lonely, _) = cloud.network(DEMO, "10.77.0.0/24").await;
    let unreachable = json!({"floatingip": {"port_id": id(&cloud.port(DEMO, &lonely).await)}});
    assert_eq!(cloud.refused(DEMO, Method::PUT, &path, Some(unreachable)).await, (404, "ExternalGatewayForFloatingIPNotFound".into()));
    assert_eq!(cloud.refused(OTHER, Method::GET, &path, None).await, (404, "FloatingIPNotFound".into()));
    cloud.delete(DEMO, &path).await;
    let cleared = cloud.put(DEMO, &format!("/routers/{router}"), clear).await;
    assert_eq!(cleared["router"]["external_gateway_info"], Value::Null);
    let on_public = cloud.get(ADMIN, &format!("/ports?network_id={public}")).await;
    assert_eq!(on_public["ports"], json!([]));
}

#[tokio::test]
async fn an_external_network_takes_its_unused_floating_ips_along() {
    let cloud = cloud().await;
    let network = id(&cloud.make(ADMIN, "networks", "network", json!({"router:external": true})).await);
    cloud.make(ADMIN, "subnets", "subnet", json!({"network_id": network, "ip_version": 4, "cidr": "198.51.100.0/24"})).await;
    let floating = id(&cloud.make(DEMO, "floatingips", "floatingip", json!({"floating_network_id": network})).await);
    cloud.delete(ADMIN, &format!("/networks/{network}")).await;
    assert_eq!(cloud.refused(DEMO, Method::GET, &format!("/floatingips/{floating}"), None).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_stood_by_takes_over_from_one_that_fell_silent() {
    let config = neutron::Config { ha_takeover_time: Duration::from_millis(300), ..neutron::Config::default() };
    let cloud = cloud_with(config).await;
    cloud.bootstrapped().await;
    let (one, two) = (Agent::start(&cloud, "host1").await, Agent::start(&cloud, "host2").await);
    let (_, subnet) = cloud.network(DEMO, "10.7.0.0/24").await;
    let router = id(&cloud.make(ADMIN, "routers", "router", json!({"ha": true, "project_id": "demo"})).await);
    let path = format!("/routers/{router}");
    cloud.put(DEMO, &format!("{path}/add_router_interface"), json!({"subnet_id": subnet})).await;
    let role = |agent: &Agent| agent.state().routers.iter().find(|found| found.id == router).map(|router| router.role);
    eventually(async || role(&one).is_some() && role(&two).is_some()).await;
    let active = if role(&one) == Some(RouterRole::Active) { &one } else { &two };
    let standby = if role(&one) == Some(RouterRole::Active) { &two } else { &one };
    eventually(async || {
        standby.beat().await;
        role(standby) == Some(RouterRole::Active)
    })
    .await;
    let agents = cloud.get(ADMIN, &format!("{path}/l3-agents")).await["agents"].clone();
    let state = |agent: &Value| (agent["host"].clone(), agent["ha_state"].clone());
    let states: Vec<(Value, Value)> = agents.as_array().unwrap().iter().map(state).collect();
    assert!(states.iter().any(|(_, state)| state == "active") && states.iter().any(|(_, state)| state == "standby"), "{states:?}");
    let legs = cloud.get(ADMIN, &format!("/ports?device_id={router}")).await["ports"].clone();
    assert_eq!(legs[0]["status"], "DOWN", "the new host did not say that it forwards");
    let inner = legs.as_array().unwrap().iter().find(|leg| leg["device_owner"] == "network:router_interface").map(id).unwrap();
    active.wired(&[&inner], &[]).await;
    assert_eq!(cloud.get(ADMIN, &format!("/ports/{inner}")).await["port"]["status"], "DOWN", "the old one has no say in it");
    standby.wired(&[&inner], &[]).await;
    assert_eq!(cloud.get(ADMIN, &format!("/ports/{inner}")).await["port"]["status"], "ACTIVE");
    let ready = |agent: &Agent| agent.state().routers.iter().find(|found| found.id == router).and_then(|router| router.ha_port_id.clone());
    assert!(ready(standby).is_some() && ready(standby) != ready(active));
    // back again, it stands by
    active.beat().await;
    eventually(async || role(active) == Some(RouterRole::Standby) && active.is_up_to_date().await).await;
    // the hosts' own network is there for administrators to see, and goes with the router
    let network = cloud.get(ADMIN, "/networks?name=HA%20network%20tenant%20demo").await["networks"][0].clone();
    assert_eq!((&network["project_id"], &network["provider:network_type"]), (&json!(""), &json!("vxlan")));
    let ports = cloud.get(ADMIN, &format!("/ports?device_id={router}&device_owner=network:router_ha_interface")).await["ports"].clone();
    assert_eq!((ports.as_array().unwrap().len(), &ports[0]["network_id"]), (2, &network["id"]));
    let port = format!("/ports/{}", id(&ports[0]));
    assert_eq!(cloud.refused(ADMIN, Method::DELETE, &port, None).await, (409, "ServicePortInUse".into()));
    assert_eq!(cloud.refused(DEMO, Method::GET, &format!("/networks/{}", id(&network)), None).await.0, 404);
    cloud.put(DEMO, &format!("{path}/remove_router_interface"), json!({"subnet_id": subnet})).await;
    cloud.delete(DEMO, &path).await;
    assert_eq!(cloud.refused(ADMIN, Method::GET, &format!("/networks/{}", id(&network)), None).await.0, 404);
}

/// Neither a server that was away nor a bus that was knows who is silent: the first to be heard afterwards inherits nothing from the others.
#[tokio::test(flavor = "multi_thread")]
async fn routers_stay_where_they_are_when_nobody_was_heard() {
    let patience = Duration::from_millis(1500);
    let cloud = cloud_with(neutron::Config { ha_takeover_time: patience, ..neutron::Config::default() }).await;
    let (one, two) = (Agent::start(&cloud, "host1").await, Agent::start(&cloud, "host2").await);
    let router = id(&cloud.make(ADMIN, "routers", "router", json!({"ha": true, "project_id": "demo"})).await);
    let role = |agent: &Agent| agent.state().routers.iter().find(|found| found.id == router).map(|router| router.role);
    eventually(async || {
        one.beat().await;
        two.beat().await;
        role(&one).is_some() && role(&two).is_some()
    })
    .await;
    let (active, standby) = if role(&one) == Some(RouterRole::Active) { (&one, &two) } else { (&two, &one) };
    tokio::time::sleep(patience * 2).await;
    standby.beat().await;
    active.beat().await;
    standby.beat().await;
    assert!(standby.is_up_to_date().await);
    assert_eq!((role(active), role(standby)), (Some(RouterRole::Active), Some(RouterRole::Standby)));
    // heard again, it is missed when it alone falls silent
    eventually(async || {
        standby.beat().await;
        role(standby) == Some(RouterRole::Active)
    })
    .await;
}
