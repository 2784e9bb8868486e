//! Who serves and carries what, and what administrators say of it.

use http::Method;
use serde_json::{Value, json};

use crate::harness::{ADMIN, Agent, Cloud, DEMO, cloud, eventually, id};

async fn agent(cloud: &Cloud, kind: &str, host: &str) -> String {
    id(&cloud.get(ADMIN, &format!("/agents?agent_type={}&host={host}", kind.replace(' ', "%20"))).await["agents"][0])
}

async fn hosts(cloud: &Cloud, path: &str) -> Vec<String> {
    let agents = cloud.get(ADMIN, path).await;
    agents["agents"].as_array().unwrap().iter().map(|agent| agent["host"].as_str().unwrap().to_owned()).collect()
}

async fn post(cloud: &Cloud, path: &str, body: Value) -> u16 {
    cloud.call(ADMIN, Method::POST, &format!("/v2.0{path}"), Some(body)).await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_is_served_from_its_first_subnet_on() {
    let cloud = cloud().await;
    let (one, two) = (Agent::start(&cloud, "host1").await, Agent::start(&cloud, "host2").await);
    let (network, _) = cloud.network(DEMO, "10.0.0.0/24").await;
    let path = format!("/networks/{network}/dhcp-agents");
    assert_eq!(hosts(&cloud, &path).await, ["host1"]);
    eventually(async || one.state().networks.len() == 1 && one.is_up_to_date().await).await;
    // a guest elsewhere is served where it is
    let port = id(&cloud.port(DEMO, &network).await);
    cloud.bind(&port, "host2", "server").await;
    assert_eq!(hosts(&cloud, &path).await, ["host1", "host2"]);
    eventually(async || two.state().networks.len() == 1 && two.is_up_to_date().await && one.is_up_to_date().await).await;
    // the next network goes to whoever has fewer
    let (other, _) = cloud.network(DEMO, "10.0.1.0/24").await;
    assert_eq!(hosts(&cloud, &format!("/networks/{other}/dhcp-agents")).await.len(), 1);
    cloud.delete(DEMO, &format!("/ports/{port}")).await;
    assert_eq!(hosts(&cloud, &path).await, ["host1"]);
    cloud.delete(DEMO, &format!("/networks/{network}")).await;
    cloud.delete(DEMO, &format!("/networks/{other}")).await;
    eventually(async || one.state().networks.is_empty() && two.state().networks.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn administrators_choose_who_serves_a_network() {
    let cloud = cloud().await;
    let (one, two) = (Agent::start(&cloud, "host1").await, Agent::start(&cloud, "host2").await);
    let (network, _) = cloud.network(DEMO, "10.0.0.0/24").await;
    let (first, second) = (agent(&cloud, "DHCP agent", "host1").await, agent(&cloud, "DHCP agent", "host2").await);
    let body = json!({"network_id": network});
    assert_eq!(post(&cloud, &format!("/agents/{first}/dhcp-networks"), body.clone()).await, 409);
    assert_eq!(post(&cloud, &format!("/agents/{second}/dhcp-networks"), body.clone()).await, 201);
    assert_eq!(id(&cloud.get(ADMIN, &format!("/agents/{second}/dhcp-networks")).await["networks"][0]), network);
    eventually(async || two.state().networks.len() == 1).await;
    // taken away, it stays away also when guests come
    let port = id(&cloud.port(DEMO, &network).await);
    cloud.delete(ADMIN, &format!("/agents/{first}/dhcp-networks/{network}")).await;
    cloud.bind(&port, "host1", "server").await;
    eventually(async || one.state().ports.len() == 1 && one.is_up_to_date().await).await;
    assert_eq!(one.state().networks[0].dhcp, None);
    let gone = cloud.refused(ADMIN, Method::DELETE, &format!("/agents/{first}/dhcp-networks/{network}"), None).await;
    assert_eq!(gone, (409, "NetworkNotHostedByDhcpAgent".into()));
    assert_eq!(cloud.refused(DEMO, Method::GET, &format!("/agents/{first}/dhcp-networks"), None).await.0, 403);
    // a server that is shut down is not on its host
    let server = cloud.get(ADMIN, &format!("/ports?network_id={network}&device_owner=network:dhcp")).await["ports"][0].clone();
    assert_eq!(server["status"], "DOWN", "its host did not say that it serves");
    two.wired(&[&id(&server)], &[]).await;
    assert_eq!(cloud.get(ADMIN, &format!("/ports/{}", id(&server))).await["port"]["status"], "ACTIVE");
    let server = cloud.change(ADMIN, &format!("/ports/{}", id(&server)), "port", json!({"admin_state_up": false})).await;
    assert_eq!(server["status"], "DOWN");
    eventually(async || two.state().networks.iter().all(|network| network.dhcp.is_none())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_taken_off_its_host_waits_for_another() {
    let cloud = cloud().await;
    let agents = [Agent::start(&cloud, "host1").await, Agent::start(&cloud, "host2").await];
    let router = id(&cloud.make(DEMO, "routers", "router", json!({"name": "r"})).await);
    let path = format!("/routers/{router}/l3-agents");
    let host = hosts(&cloud, &path).await.pop().unwrap();
    let (from, to) = (agent(&cloud, "L3 agent", &host).await, if host == "host1" { "host2" } else { "host1" });
    cloud.delete(ADMIN, &format!("/agents/{from}/l3-routers/{router}")).await;
    // a heartbeat places routers that are without a host, but not this one
    let _again = Agent::start(&cloud, "host3").await;
    assert_eq!(hosts(&cloud, &path).await, [""; 0]);
    let next = agent(&cloud, "L3 agent", to).await;
    assert_eq!(post(&cloud, &format!("/agents/{next}/l3-routers"), json!({"router_id": router})).await, 201);
    assert_eq!(hosts(&cloud, &path).await, [to]);
    assert_eq!(post(&cloud, &format!("/agents/{from}/l3-routers"), json!({"router_id": router})).await, 409);
    for agent in &agents {
        eventually(async || agent.is_up_to_date().await).await;
    }
}
