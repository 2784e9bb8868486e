//! What should exist on hosts, in the words of the bus, read in a number of queries that does not grow with what is read.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use kit::{Error, Result};
use rpc::network as wire;
use sea_orm::DatabaseConnection;

use super::peers::Peers;
use super::reach::Reach;
use super::router_state;
use crate::ports;
use crate::resource::with;
use crate::{address_groups, networks, qos, security_groups, segments, sql, subnets, trunks};

/// Networks as one host should know them, with its DHCP ports.
pub async fn networks(db: &DatabaseConnection, peers: &mut Peers, ids: &[String], host: &str) -> Result<Vec<wire::Network>> {
    let mut subnets: HashMap<String, Vec<subnets::Model>> = HashMap::new();
    for subnet in with::<subnets::Model, _>(db, "network_id", ids).await? {
        subnets.entry(subnet.network_id.clone()).or_default().push(subnet);
    }
    let on_host = "SELECT id FROM ports WHERE host_id = $1 AND device_owner = 'network:dhcp' AND admin_state_up";
    let dhcp = sql::texts(db, on_host, [host.into()]).await?;
    let mut dhcp: HashMap<String, ports::Model> =
        with(db, "id", &dhcp).await?.into_iter().map(|port: ports::Model| (port.network_id.clone(), port)).collect();
    let networks: Vec<networks::Model> = with(db, "id", ids).await?;
    let reach = if segments::several(db, ids).await? { Some(Reach::read(db).await?) } else { None };
    peers.learn(db, ids).await?;
    let whole = |mut network: networks::Model| {
        if let Some(segment) = reach.as_ref().and_then(|reach| reach.segment(&network.id, host)) {
            network.carry_by(segment.carrier());
        }
        let peers = peers.of(&network.id, host);
        let mut subnets = subnets.remove(&network.id).unwrap_or_default();
        subnets.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        let dhcp = dhcp.remove(&network.id);
        self::network(network, subnets, dhcp, peers)
    };
    Ok(networks.into_iter().map(whole).collect())
}

fn network(network: networks::Model, subnets: Vec<subnets::Model>, dhcp: Option<ports::Model>, peers: Vec<wire::Peer>) -> wire::Network {
    // what is shut down has no DHCP server, its ports go on
    let dhcp = dhcp.filter(|_| network.admin_state_up);
    wire::Network {
        dns_domain: network.domain().to_owned(),
        id: network.id,
        project_id: network.project_id,
        network_type: network.network_type,
        physical_network: network.physical_network,
        segmentation_id: network.segmentation_id.and_then(|id| u32::try_from(id).ok()),
        mtu: u32::try_from(network.mtu).unwrap_or(1500),
        external: network.external,
        vlan_transparent: network.vlan_transparent == Some(true),
        subnets: subnets.into_iter().map(subnet).collect(),
        dhcp: dhcp.map(|port| wire::DhcpPort { port_id: port.id, mac_address: port.mac_address, fixed_ips: fixed_ips(&port.fixed_ips.0) }),
        peers,
    }
}

/// A port as other hosts know it.
pub fn peer(port: &ports::Model, reach: &Reach) -> wire::Peer {
    let of_guest = |value: String| if port.device_owner.starts_with("network:") { String::new() } else { value };
    wire::Peer {
        port_id: port.id.clone(),
        mac_address: port.mac_address.clone(),
        addresses: port.fixed_ips.0.iter().map(|fixed| fixed.ip_address).collect(),
        vtep: reach.vtep(&port.network_id, &port.host_id),
        dns_name: of_guest(port.hostname()),
        device_id: of_guest(port.device_id.clone()),
        project_id: of_guest(port.project_id.clone()),
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

pub fn routes(routes: &[subnets::Route]) -> Vec<wire::Route> {
    routes.iter().map(|route| wire::Route { destination: route.destination.clone(), nexthop: route.nexthop }).collect()
}

fn fixed_ips(ips: &[ports::FixedIp]) -> Vec<wire::FixedIp> {
    ips.iter().map(|fixed| wire::FixedIp { subnet_id: fixed.subnet_id.clone(), ip_address: fixed.ip_address }).collect()
}

/// Ports with their policies and trunks.
pub async fn ports(db: &DatabaseConnection, rows: &[ports::Model]) -> Result<Vec<wire::Port>> {
    let ids: Vec<String> = rows.iter().map(|port| port.id.clone()).collect();
    let mut trunks = trunks::members(db, &ids).await?;
    let policies = policies(db, rows).await?;
    let effects = qos::effects(db, &policies.values().cloned().collect::<Vec<_>>()).await?;
    let whole = |row: &ports::Model| wire::Port {
        qos: policies.get(&row.id).and_then(|policy| effects.get(policy)).cloned().unwrap_or_default(),
        trunk: trunks.remove(&row.id),
        ..port(row)
    };
    Ok(rows.iter().map(whole).collect())
}

/// The policies in force, by port: its own, or its network's.
async fn policies(db: &DatabaseConnection, rows: &[ports::Model]) -> Result<HashMap<String, String>> {
    let mut networks: Vec<String> = rows.iter().filter(|port| port.qos_policy_id.is_none()).map(|port| port.network_id.clone()).collect();
    networks.sort_unstable();
    networks.dedup();
    let networks: HashMap<String, Option<String>> =
        with(db, "id", &networks).await?.into_iter().map(|network: networks::Model| (network.id, network.qos_policy_id)).collect();
    let policy = |port: &ports::Model| port.qos_policy_id.clone().or_else(|| networks.get(&port.network_id).cloned().flatten());
    Ok(rows.iter().filter_map(|port| Some((port.id.clone(), policy(port)?))).collect())
}

fn port(port: &ports::Model) -> wire::Port {
    let pair = |pair: &ports::AddressPair| wire::AddressPair { ip_address: pair.ip_address.clone(), mac_address: pair.mac_address.clone() };
    let option = |option: &ports::DhcpOption| wire::DhcpOption {
        name: option.opt_name.clone(),
        value: option.opt_value.clone().unwrap_or_default(),
        ip_version: option.ip_version,
    };
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
        dns_domain: port.dns_domain.clone(),
        extra_dhcp_opts: port.extra_dhcp_opts.0.iter().map(option).collect(),
        qos: wire::Qos::default(),
        trunk: None,
    }
}

/// Hosts that wait for the guests of ports, by port: all is wired there when the guest comes.
pub async fn awaited(db: &DatabaseConnection, ids: &[String]) -> Result<HashMap<String, HashSet<String>>> {
    let mut hosts: HashMap<String, HashSet<String>> = HashMap::new();
    for id in ids {
        let waiting = sql::texts(db, "SELECT host FROM inactive_bindings WHERE port_id = $1", [id.as_str().into()]).await?;
        if !waiting.is_empty() {
            hosts.insert(id.clone(), waiting.into_iter().collect());
        }
    }
    Ok(hosts)
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
        let (members, member_prefixes) = members(db, &group.id).await?;
        whole.push(wire::SecurityGroup { id: group.id, stateful: group.stateful, rules, members, member_prefixes });
    }
    Ok(whole)
}

fn rule(rule: security_groups::rules::Model) -> wire::SecurityGroupRule {
    let port = |port: Option<i64>| port.and_then(|n| u16::try_from(n).ok());
    let remote_ip_prefix = rule.normalized_cidr().map(|net| net.to_string());
    wire::SecurityGroupRule {
        id: rule.id,
        direction: rule.direction,
        ethertype: rule.ethertype,
        protocol: rule.protocol,
        port_range_min: port(rule.port_range_min),
        port_range_max: port(rule.port_range_max),
        remote_ip_prefix,
        remote_group_id: rule.remote_group_id,
        remote_address_group_id: rule.remote_address_group_id,
    }
}

/// Address groups, whole.
pub async fn address_groups(db: &DatabaseConnection, ids: &[String]) -> Result<Vec<wire::AddressGroup>> {
    let whole = |group: address_groups::Model| wire::AddressGroup {
        id: group.id,
        addresses: group.addresses.0.iter().map(ToString::to_string).collect(),
    };
    Ok(with::<address_groups::Model, _>(db, "id", ids).await?.into_iter().map(whole).collect())
}

/// Addresses of all ports in a group, and those that they may take over, in order; and what of these are prefixes.
async fn members(db: &DatabaseConnection, group: &str) -> Result<(Vec<IpAddr>, Vec<String>)> {
    let own =
        "SELECT a.ip_address FROM port_security_groups g JOIN ip_allocations a ON a.port_id = g.port_id WHERE g.security_group_id = $1";
    let own = sql::texts(db, own, [group.into()]).await?;
    let mut members: BTreeSet<IpAddr> = own.iter().filter_map(|text| text.parse().ok()).collect();
    let mut prefixes = BTreeSet::new();
    for pair in pairs(db, group).await? {
        match pair.single() {
            Some(address) => drop(members.insert(address)),
            None => drop(prefixes.insert(pair.ip_address)),
        }
    }
    Ok((members.into_iter().collect(), prefixes.into_iter().collect()))
}

/// The allowed address pairs of the ports in a group, found by an index of those that have any.
async fn pairs(db: &DatabaseConnection, group: &str) -> Result<Vec<ports::AddressPair>> {
    let with_pairs = "SELECT p.allowed_address_pairs FROM port_security_groups g JOIN ports p ON p.id = g.port_id \
                      WHERE g.security_group_id = $1 AND g.paired";
    let lists = sql::texts(db, with_pairs, [group.into()]).await?;
    let lists = lists.iter().map(|list| serde_json::from_str::<Vec<ports::AddressPair>>(list).map_err(Error::internal));
    Ok(lists.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

/// Whether an address is a member of a group now.
pub async fn is_member(db: &DatabaseConnection, group: &str, address: IpAddr) -> Result<bool> {
    let member = "SELECT 1 FROM ip_allocations a JOIN port_security_groups g ON g.port_id = a.port_id \
                  WHERE a.ip_address = $1 AND g.security_group_id = $2 LIMIT 1";
    Ok(sql::exists(db, member, [address.to_string().into(), group.into()]).await?
        || pairs(db, group).await?.iter().any(|pair| pair.single() == Some(address)))
}

/// Everything that should be on a host, without its sequence.
pub async fn host(db: &DatabaseConnection, peers: &mut Peers, host: &str) -> Result<wire::HostState> {
    let bound = "SELECT id FROM ports WHERE host_id = $1 AND device_owner NOT LIKE 'network:%' \
                 UNION SELECT port_id FROM inactive_bindings WHERE host = $1";
    let bound = sql::texts(db, bound, [host.into()]).await?;
    let ports = ports(db, &with::<ports::Model, _>(db, "id", &bound).await?).await?;
    let carried = "SELECT id FROM routers WHERE host = $1 UNION SELECT router_id FROM standby_routers WHERE host = $1";
    let carried = sql::texts(db, carried, [host.into()]).await?;
    let routers: Vec<wire::Router> = router_state::read(db, &carried).await?.iter().filter_map(|router| router.on(host)).collect();
    let needed: HashSet<String> = ports.iter().map(|port| port.network_id.clone()).chain(routers.iter().flat_map(networks_of)).collect();
    let served = "SELECT network_id FROM ports WHERE host_id = $1 AND device_owner = 'network:dhcp'";
    let served = sql::texts(db, served, [host.into()]).await?;
    let needed: HashSet<String> = needed.into_iter().chain(served).collect();
    let networks = networks(db, peers, &needed.into_iter().collect::<Vec<_>>(), host).await?;
    let used: HashSet<String> = ports.iter().flat_map(|port| port.security_groups.clone()).collect();
    let used: Vec<String> = used.into_iter().collect();
    let mut security_groups = groups(db, &used).await?;
    let remote: HashSet<String> = security_groups.iter().flat_map(remotes).filter(|id| !used.contains(id)).collect();
    security_groups.extend(groups(db, &remote.into_iter().collect::<Vec<_>>()).await?);
    let named: HashSet<String> = security_groups.iter().flat_map(addresses_named).collect();
    let address_groups = address_groups(db, &named.into_iter().collect::<Vec<_>>()).await?;
    Ok(wire::HostState { sequence: 0, networks, ports, routers, security_groups, address_groups })
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

/// Address groups that a group's rules name.
pub fn addresses_named(group: &wire::SecurityGroup) -> Vec<String> {
    group.rules.iter().filter_map(|rule| rule.remote_address_group_id.clone()).collect()
}
