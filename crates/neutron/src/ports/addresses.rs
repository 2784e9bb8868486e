//! Which addresses a port gets: those asked for, or one of each version.

use std::net::IpAddr;

use ipnet::IpNet;
use kit::{Error, Result};
use serde::Deserialize;

use super::{FixedIp, Model, deferred};
use crate::agents::Touched;
use crate::fault::{bad_request, conflict, invalid_input};
use crate::resource::{fetch, missing, save, with};
use crate::{Tx, ipam, networks, subnets};

/// Addresses a port may have.
const MOST: usize = 5;

/// One wish: a certain address, or any of a subnet.
#[derive(Clone, Debug, Deserialize)]
pub struct Wanted {
    #[serde(default)]
    pub subnet_id: Option<String>,
    #[serde(default)]
    pub ip_address: Option<IpAddr>,
}

/// Takes addresses for a port that is not yet inserted (or gets more). `None` wishes for one of each version.
pub async fn choose(tx: &Tx<'_>, network: &networks::Model, port: &Model, wanted: Option<Vec<Wanted>>) -> Result<Vec<FixedIp>> {
    let mut subnets: Vec<subnets::Model> = with(tx.db, "network_id", std::slice::from_ref(&network.id)).await?;
    subnets.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
    if subnets.is_empty() && wanted.as_ref().is_some_and(|wanted| !wanted.is_empty()) {
        return Err(invalid_input("IP allocation requires subnets for network"));
    }
    let subnets: Vec<subnets::Model> = subnets.into_iter().filter(|subnet| serves(subnet, port)).collect();
    let subnets = match wanted {
        None if deferred::waits(port, &subnets) => Vec::new(),
        _ => deferred::usable(tx, network, port, subnets).await?,
    };
    match wanted {
        None => one_of_each(tx, network, port, &subnets).await,
        Some(wanted) if wanted.len() > MOST => {
            Err(bad_request("InvalidInput", format!("Invalid input for operation: Exceeded maximum amount of fixed ips per port: {MOST}.")))
        }
        Some(wanted) => {
            let mut chosen = Vec::with_capacity(wanted.len());
            let some = !wanted.is_empty();
            for wish in wanted {
                chosen.push(grant(tx, network, port, &subnets, wish).await?);
            }
            if some && !port.is_routers() {
                chosen.extend(auto_addresses(port, subnets.iter().filter(|s| !has(&chosen, s) && !has(&port.fixed_ips.0, s))));
            }
            Ok(chosen)
        }
    }
}

/// A subnet may be kept for ports of certain owners; who serves it is on it in any case.
fn serves(subnet: &subnets::Model, port: &Model) -> bool {
    let kinds = &subnet.service_types.0;
    kinds.is_empty() || kinds.contains(&port.device_owner) || (port.device_owner == super::DHCP && subnet.enable_dhcp)
}

async fn one_of_each(tx: &Tx<'_>, network: &networks::Model, port: &Model, subnets: &[subnets::Model]) -> Result<Vec<FixedIp>> {
    let mut chosen = Vec::new();
    for v4 in [true, false] {
        let pools: Vec<&subnets::Model> = subnets.iter().filter(|s| s.is_v4() == v4 && !s.is_auto_addressed()).collect();
        let mut found = None;
        for subnet in &pools {
            found = ipam::take_any(tx, subnet).await?.map(|ip_address| FixedIp { subnet_id: subnet.id.clone(), ip_address });
            if found.is_some() {
                break;
            }
        }
        if found.is_none() && !pools.is_empty() {
            return Err(exhausted(&network.id));
        }
        chosen.extend(found);
    }
    chosen.extend(auto_addresses(port, subnets.iter()));
    Ok(chosen)
}

/// Where hosts address themselves, every one of them does.
fn auto_addresses<'s>(port: &Model, subnets: impl Iterator<Item = &'s subnets::Model>) -> Vec<FixedIp> {
    let address = |subnet: &subnets::Model| match subnet.net() {
        Some(IpNet::V6(net)) => Some(FixedIp { subnet_id: subnet.id.clone(), ip_address: ipam::slaac(net, &port.mac_address) }),
        _ => None,
    };
    subnets.filter(|subnet| subnet.is_auto_addressed()).filter_map(address).collect()
}

fn has(addresses: &[FixedIp], subnet: &subnets::Model) -> bool {
    addresses.iter().any(|fixed| fixed.subnet_id == subnet.id)
}

/// A subnet came in which hosts address themselves: the ports that are there do so, too.
pub async fn join_auto_addressed(tx: &Tx<'_>, subnet: &subnets::Model) -> Result<()> {
    let mut ports: Vec<Model> = with(tx.db, "network_id", std::slice::from_ref(&subnet.network_id)).await?;
    ports.sort_by(|a, b| a.id.cmp(&b.id));
    let joins =
        |port: &Model| !port.is_routers() && serves(subnet, port) && !has(&port.fixed_ips.0, subnet) && !port.fixed_ips.0.is_empty();
    for mut port in ports.into_iter().filter(joins) {
        let new = auto_addresses(&port, std::iter::once(subnet));
        ipam::record(tx, &port, &new).await?;
        port.fixed_ips.0.extend(new.iter().cloned());
        save(tx.db, &mut port).await?;
        tx.touch(Touched::Port(port.id.clone()));
        touch_members(tx, &port.security_groups.0, &new);
    }
    Ok(())
}

async fn grant(tx: &Tx<'_>, network: &networks::Model, port: &Model, subnets: &[subnets::Model], wish: Wanted) -> Result<FixedIp> {
    let subnet = match (&wish.subnet_id, wish.ip_address) {
        (Some(id), _) => match subnets.iter().find(|subnet| subnet.id == *id) {
            Some(subnet) => subnet,
            None => {
                fetch::<subnets::Model, _>(tx.db, id).await?.ok_or_else(|| missing::<subnets::Model>(id))?;
                let why = "because fixed_ips included invalid subnet";
                return Err(invalid_input(format!("Failed to create port on network {}, {why} {id}", network.id)));
            }
        },
        (None, Some(ip)) => subnets.iter().find(|subnet| subnet.contains(ip)).ok_or_else(|| {
            bad_request(
                "InvalidIpForNetwork",
                format!("IP address {ip} is not a valid IP for any of the subnets on the specified network."),
            )
        })?,
        (None, None) => return Err(invalid_input("IP allocation requires subnet_id or ip_address")),
    };
    let taken = |ip_address| FixedIp { subnet_id: subnet.id.clone(), ip_address };
    match (wish.ip_address, subnet.net()) {
        (Some(ip), Some(net)) => {
            let edge = subnet.is_v4() && net.prefix_len() < 31 && (ip == net.network() || ip == net.broadcast());
            if !net.contains(&ip) || edge {
                return Err(bad_request("InvalidIpForSubnet", format!("IP address {ip} is not a valid IP for the specified subnet.")));
            }
            if let IpNet::V6(v6) = net
                && subnet.is_auto_addressed()
                && !port.is_routers()
                && ip != ipam::slaac(v6, &port.mac_address)
            {
                return Err(invalid_input(format!(
                    "IPv6 address {ip} can not be directly assigned to a port on subnet {} since the subnet is configured for automatic addresses",
                    subnet.id
                )));
            }
            ipam::take(tx, subnet, ip).await?;
            Ok(taken(ip))
        }
        (None, Some(IpNet::V6(net))) if subnet.is_auto_addressed() && !port.is_routers() => Ok(taken(ipam::slaac(net, &port.mac_address))),
        _ => ipam::take_any(tx, subnet).await?.map(taken).ok_or_else(|| exhausted(&network.id)),
    }
}

fn exhausted(network: &str) -> Error {
    conflict("IpAddressGenerationFailure", format!("No more IP addresses available on network {network}."))
}

/// Takes a port's addresses of one subnet away, because the subnet goes.
pub async fn drop_subnet(tx: &Tx<'_>, mut port: Model, subnet: &str) -> Result<()> {
    let (gone, kept): (Vec<FixedIp>, Vec<FixedIp>) = port.fixed_ips.0.iter().cloned().partition(|fixed| fixed.subnet_id == subnet);
    ipam::release(tx, &port, &gone).await?;
    port.fixed_ips.0 = kept;
    save(tx.db, &mut port).await?;
    tx.touch(Touched::Port(port.id.clone()));
    touch_members(tx, &port.security_groups.0, &gone);
    Ok(())
}

/// These addresses came to, or left, these groups.
pub fn touch_members(tx: &Tx<'_>, groups: &[String], addresses: &[FixedIp]) {
    for group in groups {
        for fixed in addresses {
            tx.touch(Touched::Member { group_id: group.clone(), address: fixed.ip_address });
        }
    }
}

/// All that a port brings to its groups came or left: its addresses, and those that it may take over.
pub fn touch_membership(tx: &Tx<'_>, port: &Model) {
    touch_members(tx, &port.security_groups.0, &port.fixed_ips.0);
    for group_id in &port.security_groups.0 {
        for pair in &port.allowed_address_pairs.0 {
            let group_id = group_id.clone();
            tx.touch(match pair.single() {
                Some(address) => Touched::Member { group_id, address },
                None => Touched::Group(group_id),
            });
        }
    }
}
