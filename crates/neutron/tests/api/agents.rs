//! What hosts are told, and what they say.

use rpc::network::Change;
use serde_json::json;

use crate::harness::{ADMIN, Agent, DEMO, cloud, eventually, id};

#[tokio::test(flavor = "multi_thread")]
async fn a_port_is_active_when_it_is_wired() {
    let cloud = cloud().await;
    let agent = Agent::start(&cloud, "host1").await;
    let (network, _) = cloud.network(DEMO, "10.0.0.0/24").await;
    let port = id(&cloud.port(DEMO, &network).await);
    assert_eq!(cloud.bind(&port, "host1", "server1").await["status"], "DOWN");
    eventually(async || agent.state().ports.len() == 1).await;
    let state = agent.state();
    assert_eq!(state.ports[0].device_id, "server1");
    assert_eq!((state.networks.len(), state.security_groups.len()), (1, 1));
    assert_eq!(state.networks[0].dhcp.as_ref().unwrap().fixed_ips.len(), 1);
    agent.wired(&[&port], &[]).await;
    assert_eq!(cloud.get(DEMO, &format!("/ports/{port}")).await["port"]["status"], "ACTIVE");
    let plugged = json!({"name": "network-vif-plugged", "server_uuid": "server1", "status": "completed", "tag": port});
    eventually(async || cloud.events.lock().unwrap().contains(&plugged)).await;
    agent.wired(&[], &[&port]).await;
    assert_eq!(cloud.get(DEMO, &format!("/ports/{port}")).await["port"]["status"], "DOWN");
    let agents = cloud.get(ADMIN, "/agents?agent_type=L3%20agent").await;
    assert_eq!((&agents["agents"][0]["host"], &agents["agents"][0]["alive"]), (&json!("host1"), &json!(true)));
    let of = async |kind: &str| cloud.get(ADMIN, &format!("/agents?agent_type={kind}")).await["agents"][0]["configurations"].clone();
    let bridges = of("Linux%20bridge%20agent").await;
    assert_eq!((&bridges["devices"], &bridges["tunneling_ip"]), (&json!(1), &json!("192.0.2.1")));
    assert_eq!(bridges["interface_mappings"], json!({"physnet1": "eth1"}));
    let dhcp = of("DHCP%20agent").await;
    assert_eq!((&dhcp["networks"], &dhcp["subnets"], &dhcp["ports"]), (&json!(1), &json!(1), &json!(2)));
    assert_eq!(of("L3%20agent").await["routers"], 0);
    cloud.delete(DEMO, &format!("/ports/{port}")).await;
    eventually(async || agent.state().ports.is_empty() && agent.state().security_groups.is_empty()).await;
    // the server that the network got with its subnet goes with the network
    assert_eq!(cloud.get(ADMIN, &format!("/ports?network_id={network}")).await["ports"][0]["device_owner"], "network:dhcp");
    cloud.delete(DEMO, &format!("/networks/{network}")).await;
    eventually(async || agent.state().networks.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_add_up_to_the_state() {
    let cloud = cloud().await;
    cloud.bootstrapped().await;
    let (one, two) = (Agent::start(&cloud, "host1").await, Agent::start(&cloud, "host2").await);
    let private = cloud.named("networks", "private").await;
    let public = cloud.named("networks", "public").await;
    let mut ports = Vec::new();
    for n in 0..12 {
        let port = id(&cloud.port(DEMO, &private).await);
        cloud.bind(&port, if n % 2 == 0 { "host1" } else { "host2" }, &format!("s{n}")).await;
        ports.push(port);
    }
    let web = id(&cloud.make(DEMO, "security-groups", "security_group", json!({"name": "web"})).await);
    let db = id(&cloud.make(DEMO, "security-groups", "security_group", json!({"name": "db"})).await);
    let rule = json!({"security_group_id": db, "direction": "ingress", "protocol": "tcp", "port_range_min": 5432, "port_range_max": 5432, "remote_group_id": web});
    cloud.make(DEMO, "security-group-rules", "security_group_rule", rule).await;
    cloud.change(DEMO, &format!("/ports/{}", ports[0]), "port", json!({"security_groups": [db]})).await;
    cloud.change(DEMO, &format!("/ports/{}", ports[1]), "port", json!({"security_groups": [web]})).await;
    cloud.make(DEMO, "floatingips", "floatingip", json!({"floating_network_id": public, "port_id": ports[2]})).await;
    cloud.bind(&ports[3], "host1", "s3").await;
    cloud.delete(DEMO, &format!("/ports/{}", ports[4])).await;
    cloud.change(DEMO, &format!("/ports/{}", ports[5]), "port", json!({"fixed_ips": [{"ip_address": "10.0.0.200"}]})).await;
    let subnet = json!({"network_id": private, "ip_version": 4, "cidr": "10.0.1.0/24", "enable_dhcp": true});
    cloud.make(DEMO, "subnets", "subnet", subnet).await;
    for agent in [&one, &two] {
        eventually(async || agent.is_up_to_date().await).await;
    }
    let state = one.state();
    assert_eq!((state.routers.len(), state.routers[0].floating_ips.len()), (1, 1));
    assert_eq!(state.networks.iter().find(|n| n.id == private).unwrap().dhcp.as_ref().unwrap().fixed_ips.len(), 2);
    // the group that is only named comes with its members
    assert!(state.security_groups.iter().any(|group| group.id == web && group.members.len() == 1));
    assert!(two.state().routers.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hundredth_port_of_a_group_costs_what_the_second_did() {
    let cloud = cloud().await;
    let agent = Agent::start(&cloud, "host1").await;
    let (network, _) = cloud.network(DEMO, "10.0.0.0/24").await;
    let first = id(&cloud.port(DEMO, &network).await);
    cloud.bind(&first, "host1", "s").await;
    eventually(async || agent.state().ports.len() == 1).await;
    for _ in 0..98 {
        cloud.port(DEMO, &network).await;
    }
    eventually(async || agent.is_up_to_date().await).await;
    agent.updates.lock().unwrap().clear();
    cloud.port(DEMO, &network).await;
    eventually(async || !agent.updates.lock().unwrap().is_empty()).await;
    let updates = agent.updates.lock().unwrap().clone();
    assert_eq!(updates.len(), 1);
    assert!(matches!(updates[0].changes.as_slice(), [Change::Members { added, removed, .. }] if added.len() == 1 && removed.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_ports_may_take_over_are_members() {
    let cloud = cloud().await;
    let agent = Agent::start(&cloud, "host1").await;
    let (network, _) = cloud.network(DEMO, "10.0.0.0/24").await;
    let first = id(&cloud.port(DEMO, &network).await);
    cloud.bind(&first, "host1", "s").await;
    let second = format!("/ports/{}", id(&cloud.port(DEMO, &network).await));
    let members = || {
        let group = agent.state().security_groups.first().cloned().unwrap_or_default();
        (group.members.iter().map(ToString::to_string).collect::<Vec<_>>(), group.member_prefixes)
    };
    eventually(async || members().0.len() == 2).await;
    let pairs = |pairs: &[&str]| json!({"allowed_address_pairs": pairs.iter().map(|ip| json!({"ip_address": ip})).collect::<Vec<_>>()});
    cloud.change(DEMO, &second, "port", pairs(&["10.0.0.100", "10.9.0.0/24"])).await;
    eventually(async || members().0.contains(&"10.0.0.100".into()) && members().1 == ["10.9.0.0/24"]).await;
    assert!(agent.is_up_to_date().await);
    cloud.change(DEMO, &second, "port", pairs(&["10.0.0.101"])).await;
    eventually(async || members().0.contains(&"10.0.0.101".into()) && members().1.is_empty()).await;
    assert!(!members().0.contains(&"10.0.0.100".into()) && agent.is_up_to_date().await);
    cloud.delete(DEMO, &second).await;
    eventually(async || members().0.len() == 1 && agent.is_up_to_date().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_know_the_names_that_ports_show() {
    let cloud = cloud().await;
    let agent = Agent::start(&cloud, "host1").await;
    let (network, _) = cloud.network(DEMO, "10.0.0.0/24").await;
    let port = cloud.make(DEMO, "ports", "port", json!({"network_id": network, "dns_name": "vm"})).await;
    assert_eq!(port["dns_assignment"][0]["fqdn"], "vm.openstacklocal.");
    cloud.bind(&id(&port), "host1", "s").await;
    eventually(async || agent.state().networks.iter().any(|network| network.dns_domain == "openstacklocal.")).await;
    cloud.change(DEMO, &format!("/networks/{network}"), "network", json!({"dns_domain": "example.org."})).await;
    cloud.change(DEMO, &format!("/ports/{}", id(&port)), "port", json!({"dns_domain": "example.net."})).await;
    eventually(async || agent.state().networks.iter().any(|network| network.dns_domain == "example.org.")).await;
    eventually(async || agent.state().ports.iter().any(|port| port.dns_domain == "example.net.")).await;
    assert!(agent.is_up_to_date().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn routers_know_the_address_scopes_they_are_in() {
    let cloud = cloud().await;
    let agent = Agent::start(&cloud, "host1").await;
    let scope = id(&cloud.make(DEMO, "address-scopes", "address_scope", json!({"name": "s", "ip_version": 4})).await);
    let pool = json!({"name": "p", "prefixes": ["10.3.0.0/16"], "default_prefixlen": 24, "address_scope_id": scope});
    let pool = id(&cloud.make(DEMO, "subnetpools", "subnetpool", pool).await);
    let network = id(&cloud.make(DEMO, "networks", "network", json!({"name": "n"})).await);
    let subnet = json!({"network_id": network, "ip_version": 4, "subnetpool_id": pool});
    let subnet = id(&cloud.make(DEMO, "subnets", "subnet", subnet).await);
    let router = id(&cloud.make(DEMO, "routers", "router", json!({"name": "r"})).await);
    cloud.put(DEMO, &format!("/routers/{router}/add_router_interface"), json!({"subnet_id": subnet})).await;
    let told = || agent.state().routers.iter().flat_map(|r| r.interfaces.iter().map(|i| i.address_scopes.ipv4.clone())).collect::<Vec<_>>();
    eventually(async || told() == [Some(scope.clone())]).await;
    cloud.change(DEMO, &format!("/subnetpools/{pool}"), "subnetpool", json!({"address_scope_id": null})).await;
    eventually(async || told() == [None]).await;
}
