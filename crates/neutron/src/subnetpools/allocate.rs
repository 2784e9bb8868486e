//! Gives subnets a prefix out of a pool: the one asked for, or the first free one of a length, where it fits most closely.

use ipnet::IpNet;
use kit::{Context, Result};
use sea_orm::ConnectionTrait;

use super::Model;
use crate::fault::{bad_request, conflict, invalid_input};
use crate::ipam::{address, number};
use crate::resource::{locked, seen, with};
use crate::{Tx, sql, subnets};

/// What a subnet wants of a pool.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub pool: String,
    pub cidr: Option<IpNet>,
    pub prefixlen: Option<i64>,
}

/// A prefix for a subnet of a project.
pub async fn allocate(tx: &Tx<'_>, ctx: &Context, project: &str, version: i64, wanted: &Wanted) -> Result<IpNet> {
    seen::<Model, _>(tx.db, ctx, &wanted.pool).await?;
    // the lock keeps two subnets from getting the same prefix
    let pool: Model = locked(tx.db, &wanted.pool).await?;
    if pool.ip_version != version {
        return Err(bad_request(
            "BadRequest",
            format!("Bad subnets request: Cannot allocate IPv{version} subnet from IPv{} subnet pool.", pool.ip_version),
        ));
    }
    let length = wanted.cidr.map_or(wanted.prefixlen.unwrap_or(pool.default_prefixlen), |cidr| i64::from(cidr.prefix_len()));
    check_length(&pool, length)?;
    let given: Vec<subnets::Model> = with(tx.db, "subnetpool_id", std::slice::from_ref(&pool.id)).await?;
    check_quota(&pool, project, &given, length)?;
    let used: Vec<IpNet> = given.iter().filter_map(subnets::Model::net).collect();
    let found = match wanted.cidr {
        Some(cidr) => (pool.prefixes.0.iter().any(|prefix| prefix.contains(&cidr)) && !overlaps_any(cidr, &used)).then_some(cidr),
        None => first_free(&pool.prefixes.0, &used, u8::try_from(length).unwrap_or(u8::MAX)),
    };
    found.ok_or_else(|| {
        let why = match wanted.cidr {
            Some(_) => "Cannot allocate requested subnet from the available set of prefixes".to_owned(),
            None => format!("Insufficient prefix space to allocate subnet size /{length}"),
        };
        conflict("SubnetAllocationError", format!("Failed to allocate subnet: {why}."))
    })
}

/// The pool that is taken when a subnet wishes for the default one.
pub async fn default_of<C: ConnectionTrait>(db: &C, version: i64) -> Result<Option<String>> {
    Ok(sql::texts(db, "SELECT id FROM subnetpools WHERE is_default AND ip_version = $1", [version.into()]).await?.pop())
}

fn check_length(pool: &Model, length: i64) -> Result<()> {
    if length < pool.min_prefixlen {
        let message = format!("Unable to allocate subnet with prefix length {length}, minimum allowed prefix is {}.", pool.min_prefixlen);
        return Err(bad_request("MinPrefixSubnetAllocationError", message));
    }
    if length > pool.max_prefixlen {
        let message = format!("Unable to allocate subnet with prefix length {length}, maximum allowed prefix is {}.", pool.max_prefixlen);
        return Err(bad_request("MaxPrefixSubnetAllocationError", message));
    }
    Ok(())
}

/// Counted in addresses, or in /64 prefixes.
fn check_quota(pool: &Model, project: &str, given: &[subnets::Model], length: i64) -> Result<()> {
    let Some(quota) = pool.default_quota else { return Ok(()) };
    let unit: u32 = if pool.is_v4() { 32 } else { 64 };
    let size = |length: u32| 1_u128.checked_shl(unit.saturating_sub(length)).unwrap_or(u128::MAX);
    let mine = given.iter().filter(|subnet| subnet.project_id == project).filter_map(subnets::Model::net);
    let used = mine.fold(0_u128, |sum, net| sum.saturating_add(size(u32::from(net.prefix_len()))));
    let wanted = used.saturating_add(size(u32::try_from(length).unwrap_or(unit)));
    if wanted > u128::try_from(quota).unwrap_or_default() {
        return Err(conflict("SubnetPoolQuotaExceeded", "Per-tenant subnet pool prefix quota exceeded."));
    }
    Ok(())
}

fn overlaps_any(net: IpNet, used: &[IpNet]) -> bool {
    used.iter().any(|other| other.contains(&net) || net.contains(other))
}

/// The first prefix of a length, out of the smallest free block that holds one.
fn first_free(prefixes: &[IpNet], used: &[IpNet], length: u8) -> Option<IpNet> {
    let mut free: Vec<IpNet> = prefixes.iter().flat_map(|prefix| without(*prefix, used)).collect();
    free.sort_by_key(|net| (std::cmp::Reverse(net.prefix_len()), number(net.network())));
    let block = free.iter().find(|net| net.prefix_len() <= length)?;
    IpNet::new(address(number(block.network()), block.addr().is_ipv4()), length).ok()
}

/// A block without others, as blocks.
pub fn without(block: IpNet, used: &[IpNet]) -> Vec<IpNet> {
    if used.iter().any(|other| other.contains(&block)) {
        return Vec::new();
    }
    if !used.iter().any(|other| block.contains(other)) {
        return vec![block];
    }
    let inside: Vec<IpNet> = used.iter().copied().filter(|other| block.contains(other)).collect();
    match block.subnets(block.prefix_len() + 1) {
        Ok(halves) => halves.flat_map(|half| without(half, &inside)).collect(),
        Err(_) => Vec::new(),
    }
}

/// 400 for a subnet that names neither a prefix nor a pool.
pub fn none_chosen() -> kit::Error {
    bad_request("BadRequest", "Bad subnets request: a subnetpool must be specified in the absence of a cidr.")
}

/// 400 when there is no default pool.
pub fn no_default(version: i64) -> kit::Error {
    invalid_input(format!("No default subnetpool found for IPv{version}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free(prefixes: &[&str], used: &[&str], length: u8) -> Option<String> {
        let nets = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpNet>>();
        first_free(&nets(prefixes), &nets(used), length).map(|net| net.to_string())
    }

    #[test]
    fn the_closest_fit_is_taken() {
        assert_eq!(free(&["10.0.0.0/16"], &[], 24).unwrap(), "10.0.0.0/24");
        assert_eq!(free(&["10.0.0.0/16"], &["10.0.0.0/24"], 24).unwrap(), "10.0.1.0/24");
        assert_eq!(free(&["10.0.0.0/16"], &["10.0.0.0/24"], 26).unwrap(), "10.0.1.0/26");
        assert_eq!(free(&["10.0.0.0/24", "10.2.0.0/23"], &["10.0.0.0/25"], 24).unwrap(), "10.2.0.0/24");
        assert_eq!(free(&["10.0.0.0/24"], &["10.0.0.0/25", "10.0.0.128/25"], 28), None);
        assert_eq!(free(&["fd00::/48"], &["fd00::/64"], 64).unwrap(), "fd00:0:0:1::/64");
    }
}
