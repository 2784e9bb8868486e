//! What should exist on hosts, in the words of the bus, read in a number of queries that does not grow with what is read.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use kit::Result;
use rpc::network as wire;
use sea_orm::DatabaseConnection;

use crate::ports;
use crate::resource::with;
use crate::{floatingips, networks, routers, security_groups, sql, subnets};

/// Networks as one host should know them, with its DHCP ports.
pub async fn networks(db: &DatabaseConnection, ids: &[String], host: &str) -> Result<Vec<wire::Network>> {
    let mut subnets: HashMap<String, Vec<subnets::Model>> = HashMap::new();
    for subnet in with::<subnets::Model, _>(db, "network_id", ids).await? {
        subnets.entry(subnet.network_id.clone()).or_default().push(subnet);
    }
    let on_host = "SELECT id FROM ports WHERE host_id = $1 AND device_owner = 'network:dhcp'";
    let dhcp = sql::texts(db, on_host, [host.into()]).await?;
    let mut dhcp: HashMap<String, ports::Model> =
        with(db, "id", &dhcp).await?.into_iter().map(|port: ports::Model| (port.network_id.clone(), port)).collect();
    let networks: Vec<networks::Model> = with(db, "id", ids).await?;
    let whole = |network: networks::Model| {
        let mut subnets = subnets.remove(&network.id).unwrap_or_default();
        subnets.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        let dhcp = dhcp.remove(&network.id);
        self::network(network, subnets, dhcp)
    };
    Ok(networks.into_iter().map(whole).collect())
}

fn network(network: networks::Model, subnets: Vec<subnets::Model>, dhcp: Option<ports::Model>) -> wire::Network {
    wire::Network {
        id: network.id,
        project_id: network.project_id,
        network_type: network.network_type,
        physical_network: network.physical_network,
        segmentation_id: network.segmentation_id.and_then(|id| u32::try_from(id).ok()),
        mtu: u32::try_from(network.mtu).unwrap_or(1500),
        external: network.external,
        subnets: subnets.into_iter().map(subnet).collect(),
        dhcp: dhcp.map(|port| wire::DhcpPort { port_id: port.id, mac_address: port.mac_address, fixed_ips: fixed_ips(&port.fixed_ips.0) }),
        dns_domain: network.dns_domain,
        peers: Vec::new(),
    }
}

fn subnet(subnet: subnets::Model) -> wire::Subnet {
    wire::Subnet {
        gateway_ip: subnet.gateway(),
        host_routes: routes(&subnet.host_routes.0),
        id: subnet.id,
        cidr: subnet.cidr,
        enable_dhcp: subnet.enable_dhcp,
        dns_nameservers: subnet.dns_nameservers.0,
        ipv6_ra_mode: subnet.ipv6_ra_mode,
        ipv6_address_mode: subnet.ipv6_address_mode,
    }
}

fn routes(routes: &[subnets::Route]) -> Vec<wire::Route> {
    routes.iter().map(|route| wire::Route { destination: route.destination.clone(), nexthop: route.nexthop }).collect()
}

fn fixed_ips(ips: &[ports::FixedIp]) -> Vec<wire::FixedIp> {
    ips.iter().map(|fixed| wire::FixedIp { subnet_id: fixed.subnet_id.clone(), ip_address: fixed.ip_address }).collect()
}

pub fn port(port: &ports::Model) -> wire::Port {
    let pair = |pair: &ports::AddressPair| wire::AddressPair { ip_address: pair.ip_address.clone(), mac_address: pair.mac_address.clone() };
    wire::Port {
        id: port.id.clone(),
        network_id: port.network_id.clone(),
        project_id: port.project_id.clone(),
        device_id: port.device_id.clone(),
        mac_address: port.mac_address.clone(),
        fixed_ips: fixed_ips(&port.fixed_ips.0),
        security_groups: port.security_groups.0.clone(),
        port_security_enabled: port.port_security_enabled,
        allowed_address_pairs: port.allowed_address_pairs.0.iter().map(pair).collect(),
        admin_state_up: port.admin_state_up,
        dns_name: port.hostname(),
        extra_dhcp_opts: port.extra_dhcp_opts.0.iter().filter_map(dhcp_option).collect(),
        qos: wire::Qos::default(),
        trunk: None,
    }
}

/// An option without a value takes the subnet's away.
fn dhcp_option(option: &serde_json::Value) -> Option<wire::DhcpOption> {
    Some(wire::DhcpOption {
        name: option.get("opt_name")?.as_str()?.to_owned(),
        value: option.get("opt_value").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned(),
        ip_version: if option.get("ip_version").and_then(serde_json::Value::as_i64) == Some(6) { 6 } else { 4 },
    })
}

/// Groups with their rules and members.
pub async fn groups(db: &DatabaseConnection, ids: &[String]) -> Result<Vec<wire::SecurityGroup>> {
    let mut rules: HashMap<String, Vec<wire::SecurityGroupRule>> = HashMap::new();
    for rule in with::<security_groups::rules::Model, _>(db, "security_group_id", ids).await? {
        rules.entry(rule.security_group_id.clone()).or_default().push(self::rule(rule));
    }
    let mut whole = Vec::with_capacity(ids.len());
    for group in with::<security_groups::Model, _>(db, "id", ids).await? {
        let mut rules = rules.remove(&group.id).unwrap_or_default();
        rules.sort_by(|a, b| a.id.cmp(&b.id));
        whole.push(wire::SecurityGroup { members: members(db, &group.id).await?, id: group.id, stateful: group.stateful, rules });
    }
    Ok(whole)
}

fn rule(rule: security_groups::rules::Model) -> wire::SecurityGroupRule {
    let port = |port: Option<i64>| port.and_then(|n| u16::try_from(n).ok());
    wire::SecurityGroupRule {
        id: rule.id,
        direction: rule.direction,
        ethertype: rule.ethertype,
        protocol: rule.protocol,
        port_range_min: port(rule.port_range_min),
        port_range_max: port(rule.port_range_max),
        remote_ip_prefix: rule.remote_ip_prefix,
        remote_group_id: rule.remote_group_id,
        remote_address_group_id: None,
    }
}

/// Addresses of all ports in a group, in order.
async fn members(db: &DatabaseConnection, group: &str) -> Result<Vec<IpAddr>> {
    let members =
        "SELECT a.ip_address FROM port_security_groups g JOIN ip_allocations a ON a.port_id = g.port_id WHERE g.security_group_id = $1";
    let members = sql::texts(db, members, [group.into()]).await?;
    let mut members: Vec<IpAddr> = members.iter().filter_map(|text| text.parse().ok()).collect();
    members.sort_unstable();
    members.dedup();
    Ok(members)
}

/// Whether an address is a member of a group now.
pub async fn is_member(db: &DatabaseConnection, group: &str, address: IpAddr) -> Result<bool> {
    let member = "SELECT 1 FROM ip_allocations a JOIN port_security_groups g ON g.port_id = a.port_id \
                  WHERE a.ip_address = $1 AND g.security_group_id = $2 LIMIT 1";
    sql::exists(db, member, [address.to_string().into(), group.into()]).await
}

/// Routers with the host that carries each.
pub async fn routers(db: &DatabaseConnection, ids: &[String]) -> Result<Vec<(String, wire::Router)>> {
    let rows: Vec<routers::Model> = with(db, "id", ids).await?;
    let ports: Vec<ports::Model> = with(db, "device_id", ids).await?;
    let on: HashSet<String> = ports.iter().flat_map(|port| port.fixed_ips.0.iter().map(|fixed| fixed.subnet_id.clone())).collect();
    let on: Vec<String> = on.into_iter().collect();
    let subnets: HashMap<String, subnets::Model> =
        with(db, "id", &on).await?.into_iter().map(|subnet: subnets::Model| (subnet.id.clone(), subnet)).collect();
    let floating: Vec<floatingips::Model> = with(db, "router_id", ids).await?;
    Ok(rows.into_iter().map(|row| (row.host.clone(), router(row, &ports, &subnets, &floating))).collect())
}

fn router(
    router: routers::Model,
    ports: &[ports::Model],
    subnets: &HashMap<String, subnets::Model>,
    floating: &[floatingips::Model],
) -> wire::Router {
    let addresses = |port: &ports::Model| -> Vec<String> {
        port.fixed_ips.0.iter().filter_map(|fixed| Some(subnets.get(&fixed.subnet_id)?.with_prefix(fixed.ip_address))).collect()
    };
    let mut own: Vec<&ports::Model> = ports.iter().filter(|port| port.device_id == router.id).collect();
    own.sort_by(|a, b| a.id.cmp(&b.id));
    let interface = |port: &&ports::Model| wire::RouterInterface {
        port_id: port.id.clone(),
        network_id: port.network_id.clone(),
        mac_address: port.mac_address.clone(),
        addresses: addresses(port),
    };
    let gateway = own.iter().find(|port| port.device_owner == ports::ROUTER_GATEWAY).map(|port| wire::RouterGateway {
        port_id: port.id.clone(),
        network_id: port.network_id.clone(),
        mac_address: port.mac_address.clone(),
        addresses: addresses(port),
        nexthops: port.fixed_ips.0.iter().filter_map(|fixed| subnets.get(&fixed.subnet_id)?.gateway()).collect(),
        enable_snat: router.enable_snat,
        qos: wire::Qos::default(),
    });
    let floating_ip = |floating: &floatingips::Model| {
        Some(wire::FloatingIp {
            id: floating.id.clone(),
            floating_ip_address: floating.address()?,
            fixed_ip_address: floating.fixed_address()?,
            port_id: floating.port_id.clone()?,
            qos: wire::Qos::default(),
        })
    };
    let mut floating_ips: Vec<wire::FloatingIp> =
        floating.iter().filter(|f| f.router_id.as_ref() == Some(&router.id)).filter_map(floating_ip).collect();
    floating_ips.sort_by(|a, b| a.id.cmp(&b.id));
    wire::Router {
        interfaces: own.iter().filter(|port| port.device_owner == ports::ROUTER_INTERFACE).map(interface).collect(),
        gateway,
        floating_ips,
        routes: routes(&router.routes.0),
        id: router.id,
        project_id: router.project_id,
        admin_state_up: router.admin_state_up,
        ..wire::Router::default()
    }
}

/// Everything that should be on a host, without its sequence.
pub async fn host(db: &DatabaseConnection, host: &str) -> Result<wire::HostState> {
    let bound = "SELECT id FROM ports WHERE host_id = $1 AND device_owner NOT LIKE 'network:%'";
    let bound = sql::texts(db, bound, [host.into()]).await?;
    let ports: Vec<wire::Port> = with::<ports::Model, _>(db, "id", &bound).await?.iter().map(port).collect();
    let carried = sql::texts(db, "SELECT id FROM routers WHERE host = $1", [host.into()]).await?;
    let routers: Vec<wire::Router> = routers(db, &carried).await?.into_iter().map(|(_, router)| router).collect();
    let needed: HashSet<String> = ports.iter().map(|port| port.network_id.clone()).chain(routers.iter().flat_map(networks_of)).collect();
    let networks = networks(db, &needed.into_iter().collect::<Vec<_>>(), host).await?;
    let used: HashSet<String> = ports.iter().flat_map(|port| port.security_groups.clone()).collect();
    let used: Vec<String> = used.into_iter().collect();
    let mut security_groups = groups(db, &used).await?;
    let remote: HashSet<String> = security_groups.iter().flat_map(remotes).filter(|id| !used.contains(id)).collect();
    security_groups.extend(groups(db, &remote.into_iter().collect::<Vec<_>>()).await?);
    Ok(wire::HostState { networks, ports, routers, security_groups, ..wire::HostState::default() })
}

/// Networks a router is on.
pub fn networks_of(router: &wire::Router) -> Vec<String> {
    let legs = router.interfaces.iter().map(|leg| leg.network_id.clone());
    legs.chain(router.gateway.iter().map(|gateway| gateway.network_id.clone())).collect()
}

/// Groups whose members a group's rules let in.
pub fn remotes(group: &wire::SecurityGroup) -> Vec<String> {
    group.rules.iter().filter_map(|rule| rule.remote_group_id.clone()).collect()
}
