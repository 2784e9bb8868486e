//! Gives out addresses, each once, in a time that does not depend on how many are taken.
//!
//! What is free of a subnet's pools is kept as ranges; an address is taken from the first and given back to its neighbours. That an address
//! is used once on its network is the primary key of `ip_allocations`. Ranges change by conditional statements, so that two at once never
//! get the same.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use kit::{Error, Result};

use crate::fault::conflict;
use crate::ports::{self, FixedIp};
use crate::{Tx, sql, subnets};

/// How often a range that another one changed meanwhile is looked at again.
const ATTEMPTS: usize = 100;

pub fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

pub fn address(number: u128, v4: bool) -> IpAddr {
    if v4 { IpAddr::V4(Ipv4Addr::from(number as u32)) } else { IpAddr::V6(Ipv6Addr::from(number)) }
}

/// As text that sorts like the number.
fn key(number: u128) -> String {
    format!("{number:032x}")
}

fn parse_key(text: &str) -> Result<u128> {
    u128::from_str_radix(text, 16).map_err(Error::internal)
}

/// Takes any free address of a subnet's pools; `None` when there is none left.
pub async fn take_any(tx: &Tx<'_>, subnet: &subnets::Model) -> Result<Option<IpAddr>> {
    for _ in 0..ATTEMPTS {
        let first = "SELECT first_ip, last_ip FROM free_ranges WHERE subnet_id = $1 ORDER BY first_ip LIMIT 1";
        let Some(range) = range(tx, first, &subnet.id, None).await? else { return Ok(None) };
        if carve(tx, &subnet.id, range, range.0).await? {
            return Ok(Some(address(range.0, subnet.is_v4())));
        }
    }
    Err(Error::unavailable("Addresses of the subnet are in heavy demand; try again."))
}

/// Takes a certain address out of what is free. One outside the pools is nobody's to take: [`record`] finds whether it is used.
pub async fn take(tx: &Tx<'_>, subnet: &subnets::Model, ip: IpAddr) -> Result<()> {
    let wanted = number(ip);
    for _ in 0..ATTEMPTS {
        let below = "SELECT first_ip, last_ip FROM free_ranges WHERE subnet_id = $1 AND first_ip <= $2 ORDER BY first_ip DESC LIMIT 1";
        match range(tx, below, &subnet.id, Some(wanted)).await? {
            Some(range) if range.1 >= wanted => {
                if carve(tx, &subnet.id, range, wanted).await? {
                    return Ok(());
                }
            }
            _ => return Ok(()),
        }
    }
    Err(Error::unavailable("Addresses of the subnet are in heavy demand; try again."))
}

/// Writes down that a port has these addresses; 409 when another has one of them.
pub async fn record(tx: &Tx<'_>, port: &ports::Model, addresses: &[FixedIp]) -> Result<()> {
    for fixed in addresses {
        let insert =
            "INSERT INTO ip_allocations (network_id, ip_address, subnet_id, port_id) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
        let ip = fixed.ip_address.to_string();
        let values = [port.network_id.as_str().into(), ip.as_str().into(), fixed.subnet_id.as_str().into(), port.id.as_str().into()];
        if sql::execute(tx.db, insert, values).await? == 0 {
            let message = format!("IP address {ip} already allocated in subnet {}", fixed.subnet_id);
            return Err(conflict("IpAddressAlreadyAllocated", message));
        }
    }
    Ok(())
}

/// Gives addresses of a port back.
pub async fn release(tx: &Tx<'_>, port: &ports::Model, addresses: &[FixedIp]) -> Result<()> {
    for fixed in addresses {
        let delete = "DELETE FROM ip_allocations WHERE network_id = $1 AND ip_address = $2 AND port_id = $3";
        let values = [port.network_id.as_str().into(), fixed.ip_address.to_string().into(), port.id.as_str().into()];
        if sql::execute(tx.db, delete, values).await? > 0
            && let Some(subnet) = crate::resource::fetch::<subnets::Model, _>(tx.db, &fixed.subnet_id).await?
            && subnet.pools_contain(fixed.ip_address)
        {
            give_back(tx, &subnet.id, number(fixed.ip_address)).await?;
        }
    }
    Ok(())
}

/// Writes a subnet's free ranges anew: its pools without what is allocated.
pub async fn rebuild(tx: &Tx<'_>, subnet: &subnets::Model) -> Result<()> {
    sql::execute(tx.db, "DELETE FROM free_ranges WHERE subnet_id = $1", [subnet.id.as_str().into()]).await?;
    let used = sql::texts(tx.db, "SELECT ip_address FROM ip_allocations WHERE subnet_id = $1", [subnet.id.as_str().into()]).await?;
    let mut used: Vec<u128> = used.iter().filter_map(|text| text.parse().ok()).map(number).collect();
    used.sort_unstable();
    for pool in &subnet.allocation_pools.0 {
        for (first, last) in without((number(pool.start), number(pool.end)), &used) {
            insert_range(tx, &subnet.id, first, last).await?;
        }
    }
    Ok(())
}

/// A range without some of its numbers, which are in order.
fn without(range: (u128, u128), used: &[u128]) -> Vec<(u128, u128)> {
    let mut free = Vec::new();
    let mut next = range.0;
    for used in used.iter().filter(|n| range.0 <= **n && **n <= range.1) {
        if next < *used {
            free.push((next, used - 1));
        }
        next = used + 1;
    }
    if next <= range.1 {
        free.push((next, range.1));
    }
    free
}

async fn range(tx: &Tx<'_>, select: &str, subnet: &str, at: Option<u128>) -> Result<Option<(u128, u128)>> {
    let values = [Some(subnet.to_owned()), at.map(key)].into_iter().flatten().map(Into::into);
    match sql::query(tx.db, select, values).await?.first() {
        Some(row) => Ok(Some((parse_key(&row.try_get_by_index::<String>(0)?)?, parse_key(&row.try_get_by_index::<String>(1)?)?))),
        None => Ok(None),
    }
}

/// Cuts one number out of a range; false when the range is no longer as it was.
async fn carve(tx: &Tx<'_>, subnet: &str, (first, last): (u128, u128), at: u128) -> Result<bool> {
    if at == first && first < last {
        let shorten = "UPDATE free_ranges SET first_ip = $1 WHERE subnet_id = $2 AND first_ip = $3 AND last_ip = $4";
        return Ok(sql::execute(tx.db, shorten, [key(first + 1).into(), subnet.into(), key(first).into(), key(last).into()]).await? > 0);
    }
    let delete = "DELETE FROM free_ranges WHERE subnet_id = $1 AND first_ip = $2 AND last_ip = $3";
    if sql::execute(tx.db, delete, [subnet.into(), key(first).into(), key(last).into()]).await? == 0 {
        return Ok(false);
    }
    if first < at {
        insert_range(tx, subnet, first, at - 1).await?;
    }
    if at < last {
        insert_range(tx, subnet, at + 1, last).await?;
    }
    Ok(true)
}

/// Joins a number with the ranges beside it.
async fn give_back(tx: &Tx<'_>, subnet: &str, at: u128) -> Result<()> {
    let delete = "DELETE FROM free_ranges WHERE subnet_id = $1 AND first_ip = $2 AND last_ip = $3";
    let (mut first, mut last) = (at, at);
    let below = "SELECT first_ip, last_ip FROM free_ranges WHERE subnet_id = $1 AND first_ip < $2 ORDER BY first_ip DESC LIMIT 1";
    if let Some(below) = range(tx, below, subnet, Some(at)).await?
        && below.1 + 1 == at
        && sql::execute(tx.db, delete, [subnet.into(), key(below.0).into(), key(below.1).into()]).await? > 0
    {
        first = below.0;
    }
    let above = "SELECT first_ip, last_ip FROM free_ranges WHERE subnet_id = $1 AND first_ip = $2";
    if let Some(above) = range(tx, above, subnet, at.checked_add(1)).await?
        && sql::execute(tx.db, delete, [subnet.into(), key(above.0).into(), key(above.1).into()]).await? > 0
    {
        last = above.1;
    }
    insert_range(tx, subnet, first, last).await
}

async fn insert_range(tx: &Tx<'_>, subnet: &str, first: u128, last: u128) -> Result<()> {
    let insert = "INSERT INTO free_ranges (subnet_id, first_ip, last_ip) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    sql::execute(tx.db, insert, [subnet.into(), key(first).into(), key(last).into()]).await.map(drop)
}

/// The address a host gives itself on an IPv6 subnet: the prefix and its MAC address (modified EUI-64).
pub fn slaac(net: ipnet::Ipv6Net, mac: &str) -> IpAddr {
    let bytes: Vec<u8> = mac.split(':').filter_map(|part| u8::from_str_radix(part, 16).ok()).collect();
    let low = match bytes.as_slice() {
        [a, b, c, d, e, f] => u64::from_be_bytes([a ^ 2, *b, *c, 0xff, 0xfe, *d, *e, *f]),
        _ => 0,
    };
    IpAddr::V6(Ipv6Addr::from(u128::from(net.network()) | u128::from(low)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_splits_what_is_free() {
        assert_eq!(without((10, 20), &[]), [(10, 20)]);
        assert_eq!(without((10, 20), &[5, 10, 11, 15, 20, 30]), [(12, 14), (16, 19)]);
        assert_eq!(without((10, 10), &[10]), []);
    }

    #[test]
    fn keys_sort_like_addresses() {
        let keys: Vec<String> = ["10.0.0.9", "10.0.0.10", "10.0.1.0"].iter().map(|ip| key(number(ip.parse().unwrap()))).collect();
        assert!(keys.is_sorted());
        assert_eq!(parse_key(&keys[0]).unwrap(), number("10.0.0.9".parse().unwrap()));
    }

    #[test]
    fn hosts_address_themselves() {
        let ip = slaac("fd00:1::/64".parse().unwrap(), "fa:16:3e:01:02:03");
        assert_eq!(ip, "fd00:1::f816:3eff:fe01:203".parse::<IpAddr>().unwrap());
    }
}
