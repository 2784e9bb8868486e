//! Many at once, and many that are there: nothing is given twice, nothing is lost, nothing waits for ever, and nobody pays for the others.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use futures::future::{join, join_all};
use http::Method;
use serde_json::{Value, json};

use crate::harness::{ADMIN, Agent, Cloud, DEMO, cloud, id};

/// From the first to the last address of ports that are there already; every thirteenth between them is free.
const FIRST: u32 = 8;
const LAST: u32 = 65_000;
const GAP: u32 = 13;

/// An address of 10.6.0.0/16.
fn address(n: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 6, 0, 0)) + n)
}

fn key(n: u32) -> String {
    format!("{:032x}", u32::from(address(n)))
}

/// Writes ports into a network as many requests would have: copies of one that is there.
async fn crowd(cloud: &Cloud, network: &str, subnet: &str, like: &str) {
    let numbers = format!("WITH RECURSIVE n(i) AS (SELECT {FIRST} UNION ALL SELECT i + 1 FROM n WHERE i < {LAST})");
    let port = "'0fadedff-0000-4000-8000-' || CAST(100000000000 + i AS TEXT)";
    let ip = "'10.6.' || CAST(i / 256 AS TEXT) || '.' || CAST(i % 256 AS TEXT)";
    let kept = "project_id, network_id, name, description, admin_state_up, status, security_groups, port_security_enabled, \
                allowed_address_pairs, extra_dhcp_opts, device_id, device_owner, host_id, vnic_type, profile, dns_name, dns_domain, \
                tags, revision_number, created_at, updated_at";
    let fixed = format!("'[{{\"subnet_id\":\"{subnet}\",\"ip_address\":\"' || {ip} || '\"}}]'");
    let mut statements = vec![
        format!(
            "{numbers} INSERT INTO ports (id, mac_address, fixed_ips, {kept}) \
             SELECT {port}, 'aa:' || CAST(i AS TEXT), {fixed}, {kept} FROM n, ports WHERE id = '{like}' AND i % {GAP} <> 0"
        ),
        format!(
            "{numbers} INSERT INTO ip_allocations (network_id, ip_address, subnet_id, port_id) \
             SELECT '{network}', {ip}, '{subnet}', {port} FROM n WHERE i % {GAP} <> 0"
        ),
        format!("DELETE FROM free_ranges WHERE subnet_id = '{subnet}'"),
    ];
    let free: Vec<(u32, u32)> = (FIRST..=LAST).filter(|n| n % GAP == 0).map(|n| (n, n)).chain([(LAST + 1, 65_534)]).collect();
    for some in free.chunks(500) {
        let rows: Vec<String> = some.iter().map(|(first, last)| format!("('{subnet}', '{}', '{}')", key(*first), key(*last))).collect();
        statements.push(format!("INSERT INTO free_ranges (subnet_id, first_ip, last_ip) VALUES {}", rows.join(",")));
    }
    cloud.execute(statements).await;
}

fn first_address(port: &Value) -> String {
    port["fixed_ips"][0]["ip_address"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_costs_the_same_among_sixty_thousand() {
    let cloud = cloud().await;
    cloud.change(ADMIN, "/quotas/demo", "quota", json!({"port": -1})).await;
    let (empty, _) = cloud.network(DEMO, "10.5.0.0/16").await;
    let (full, subnet) = cloud.network(DEMO, "10.6.0.0/16").await;
    let like = id(&cloud.port(DEMO, &full).await);
    crowd(&cloud, &full, &subnet, &like).await;
    let taken = cloud.get(ADMIN, &format!("/network-ip-availabilities/{full}")).await["network_ip_availability"]["used_ips"].clone();
    let present = (FIRST..=LAST).filter(|n| n % GAP != 0).count() + 1;
    assert_eq!(taken, json!(present));

    // in turns, so that whatever else the machine does slows both
    let (mut alone, mut among) = (Vec::new(), Vec::new());
    for _ in 0..40 {
        for (network, times) in [(&empty, &mut alone), (&full, &mut among)] {
            let began = Instant::now();
            cloud.port(DEMO, network).await;
            times.push(began.elapsed());
        }
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2]
    };
    let (alone, among) = (median(&mut alone), median(&mut among));
    eprintln!("a port takes {alone:?} in an empty network, {among:?} among {present}");
    assert!(among < alone * 4 + Duration::from_millis(5), "{among:?} against {alone:?}");

    let made = join_all((0..500).map(|_| cloud.port(DEMO, &full))).await;
    let addresses: HashSet<String> = made.iter().map(first_address).collect();
    assert_eq!(addresses.len(), 500);
    let used_by_others = |ip: &String| {
        let ip: Ipv4Addr = ip.parse().unwrap();
        let n = u32::from(ip) - u32::from(address(0));
        (FIRST..=LAST).contains(&n) && n % GAP != 0
    };
    assert!(!addresses.iter().any(used_by_others));
}

/// Sends a request that others may have made impossible, but that may not fail for any other reason.
async fn may(cloud: &Cloud, who: &str, method: Method, path: &str, body: Value) -> Value {
    let body = Some(body).filter(|body| !body.is_null());
    let (status, answer) = cloud.call(who, method.clone(), &format!("/v2.0{path}"), body).await;
    assert!(status < 500, "{method} {path}: {status} {answer}");
    answer
}

/// What hangs together is locked in one order, whoever comes from which end.
#[tokio::test(flavor = "multi_thread")]
async fn ports_routers_floating_ips_groups_and_trunks_change_at_once() {
    let cloud = cloud().await;
    cloud.bootstrapped().await;
    let agent = Agent::start(&cloud, "host1").await;
    let no_limits = json!({"port": -1, "floatingip": -1, "security_group": -1, "security_group_rule": -1, "router": -1});
    cloud.change(ADMIN, "/quotas/demo", "quota", no_limits).await;
    let public = cloud.named("networks", "public").await;
    let (network, subnet) = cloud.network(DEMO, "10.8.0.0/16").await;
    let gateway = json!({"name": "r", "external_gateway_info": {"network_id": public}});
    let router = format!("/routers/{}", id(&cloud.make(DEMO, "routers", "router", gateway.clone()).await));
    cloud.put(DEMO, &format!("{router}/add_router_interface"), json!({"subnet_id": subnet})).await;

    let lives = (0..16).map(async |_| {
        let group = id(&cloud.make(DEMO, "security-groups", "security_group", json!({"name": "g"})).await);
        let [a, b] = [cloud.port(DEMO, &network).await, cloud.port(DEMO, &network).await].map(|port| id(&port));
        cloud.change(DEMO, &format!("/ports/{a}"), "port", json!({"security_groups": [group]})).await;
        let rule = json!({"security_group_rule": {"security_group_id": group, "direction": "ingress", "remote_group_id": group}});
        may(&cloud, DEMO, Method::POST, "/security-group-rules", rule).await;
        let trunk = json!({"port_id": a, "sub_ports": [{"port_id": b, "segmentation_type": "vlan", "segmentation_id": 7}]});
        let trunk = id(&cloud.make(DEMO, "trunks", "trunk", trunk).await);
        join(cloud.bind(&a, "host1", "s"), agent.wired(&[&a, &b], &[])).await;
        let floating =
            may(&cloud, DEMO, Method::POST, "/floatingips", json!({"floatingip": {"floating_network_id": public, "port_id": b}})).await;
        join(agent.wired(&[], &[&b, &a]), cloud.change(ADMIN, &format!("/ports/{a}"), "port", json!({"binding:host_id": ""}))).await;
        cloud.delete(DEMO, &format!("/trunks/{trunk}")).await;
        if let Some(floating) = floating["floatingip"]["id"].as_str() {
            let path = format!("/floatingips/{floating}");
            let moved = may(&cloud, DEMO, Method::PUT, &path, json!({"floatingip": {"port_id": a}}));
            join(moved, may(&cloud, DEMO, Method::DELETE, &format!("/ports/{b}"), Value::Null)).await;
            join(
                may(&cloud, DEMO, Method::DELETE, &path, Value::Null),
                may(&cloud, DEMO, Method::DELETE, &format!("/ports/{a}"), Value::Null),
            )
            .await;
        }
        may(&cloud, DEMO, Method::DELETE, &format!("/security-groups/{group}"), Value::Null).await;
    });
    let routers = (0..8).map(async |_| {
        let other = id(&cloud.make(DEMO, "routers", "router", gateway.clone()).await);
        may(&cloud, ADMIN, Method::PUT, &router, json!({"router": gateway})).await;
        may(&cloud, ADMIN, Method::PUT, &router, json!({"router": {"external_gateway_info": {}}})).await;
        may(&cloud, ADMIN, Method::PUT, &router, json!({"router": gateway})).await;
        may(&cloud, DEMO, Method::DELETE, &format!("/routers/{other}"), Value::Null).await;
    });
    join(join_all(lives), join_all(routers)).await;
    let kept = cloud.get(ADMIN, &format!("/ports?network_id={network}&device_owner=")).await["ports"].as_array().unwrap().len();
    assert!(kept <= 32, "{kept}");
}
