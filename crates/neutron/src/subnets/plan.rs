//! What a subnet's prefix, gateway and pools may be together. Pure: no database.

use std::net::IpAddr;

use ipnet::IpNet;
use kit::Result;

use super::Pool;
use crate::fault::{bad_request, conflict, invalid_input};
use crate::ipam::{address, number};

/// Checks the gateway and the pools of a prefix, and chooses those that were not asked for. `gateway` is `None` when nothing was said and
/// `Some(None)` when there shall be none.
pub fn plan(net: IpNet, gateway: Option<Option<IpAddr>>, pools: Option<Vec<Pool>>) -> Result<(Option<IpAddr>, Vec<Pool>)> {
    let v4 = net.addr().is_ipv4();
    let gateway = match gateway {
        Some(chosen) => chosen,
        None => usable(net).map(|(first, _)| address(first, v4)),
    };
    if let Some(gateway) = gateway {
        let (first, last) = (number(net.network()), number(net.broadcast()));
        // on /31, /32 and IPv6 every address is a host's
        let reserved = v4 && net.prefix_len() < 31 && (number(gateway) == first || number(gateway) == last);
        if gateway.is_ipv4() != v4 || (!net.contains(&gateway) && v4) || reserved {
            return Err(invalid_input("Gateway is not valid on subnet"));
        }
    }
    let pools = match pools {
        Some(pools) => check(net, gateway, pools)?,
        None => default_pools(net, gateway),
    };
    Ok((gateway, pools))
}

/// The first and the last address a host may have.
fn usable(net: IpNet) -> Option<(u128, u128)> {
    let (first, last) = (number(net.network()), number(net.broadcast()));
    let (first, last) = match net {
        IpNet::V4(net) if net.prefix_len() >= 31 => (first, last),
        IpNet::V4(_) => (first + 1, last - 1),
        IpNet::V6(net) if net.prefix_len() >= 127 => (first, last),
        // the first is every router's (subnet-router anycast)
        IpNet::V6(_) => (first + 1, last),
    };
    (first <= last).then_some((first, last))
}

fn default_pools(net: IpNet, gateway: Option<IpAddr>) -> Vec<Pool> {
    let v4 = net.addr().is_ipv4();
    let Some((first, last)) = usable(net) else { return Vec::new() };
    let pool = |first: u128, last: u128| Pool { start: address(first, v4), end: address(last, v4) };
    match gateway.map(number).filter(|n| first <= *n && *n <= last) {
        None => vec![pool(first, last)],
        Some(gateway) => {
            let below = (first < gateway).then(|| pool(first, gateway - 1));
            let above = (gateway < last).then(|| pool(gateway + 1, last));
            below.into_iter().chain(above).collect()
        }
    }
}

fn check(net: IpNet, gateway: Option<IpAddr>, mut pools: Vec<Pool>) -> Result<Vec<Pool>> {
    let usable = usable(net);
    for pool in &pools {
        if pool.start.is_ipv4() != pool.end.is_ipv4() || pool.start > pool.end {
            return Err(bad_request("InvalidAllocationPool", format!("The allocation pool {}-{} is not valid.", pool.start, pool.end)));
        }
        let inside = usable.is_some_and(|(first, last)| first <= number(pool.start) && number(pool.end) <= last);
        if pool.start.is_ipv4() != net.addr().is_ipv4() || !inside {
            let message = format!("The allocation pool {}-{} spans beyond the subnet cidr {net}.", pool.start, pool.end);
            return Err(bad_request("OutOfBoundsAllocationPool", message));
        }
        if let Some(gateway) = gateway.filter(|gateway| pool.start <= *gateway && *gateway <= pool.end) {
            let message = format!("Gateway ip {gateway} conflicts with allocation pool {}-{}.", pool.start, pool.end);
            return Err(conflict("GatewayConflictWithAllocationPools", message));
        }
    }
    pools.sort_by_key(|pool| pool.start);
    for pair in pools.windows(2) {
        if let [a, b] = pair
            && b.start <= a.end
        {
            let message = format!("Found overlapping allocation pools: {}-{} {}-{} for subnet {net}.", a.start, a.end, b.start, b.end);
            return Err(conflict("OverlappingAllocationPools", message));
        }
    }
    Ok(pools)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(net: &str, gateway: Option<Option<&str>>, pools: Option<&[(&str, &str)]>) -> Result<String> {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let pools = pools.map(|pools| pools.iter().map(|(start, end)| Pool { start: ip(start), end: ip(end) }).collect());
        let (gateway, pools) = plan(net.parse().unwrap(), gateway.map(|g| g.map(ip)), pools)?;
        let pools: Vec<String> = pools.iter().map(|p| format!("{}-{}", p.start, p.end)).collect();
        Ok(format!("{} {}", gateway.map_or("none".into(), |g| g.to_string()), pools.join(",")))
    }

    #[test]
    fn chooses_what_was_not_said() {
        assert_eq!(planned("10.0.0.0/24", None, None).unwrap(), "10.0.0.1 10.0.0.2-10.0.0.254");
        assert_eq!(planned("10.0.0.0/24", Some(None), None).unwrap(), "none 10.0.0.1-10.0.0.254");
        assert_eq!(planned("10.0.0.0/24", Some(Some("10.0.0.9")), None).unwrap(), "10.0.0.9 10.0.0.1-10.0.0.8,10.0.0.10-10.0.0.254");
        assert_eq!(planned("10.0.0.0/31", None, None).unwrap(), "10.0.0.0 10.0.0.1-10.0.0.1");
        assert_eq!(planned("fd00::/64", None, None).unwrap(), "fd00::1 fd00::2-fd00::ffff:ffff:ffff:ffff");
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let code = |r: Result<String>| r.unwrap_err().code.unwrap().into_owned();
        let net = "10.0.0.0/24";
        assert_eq!(code(planned(net, Some(Some("10.0.0.255")), None)), "InvalidInput");
        assert_eq!(code(planned(net, Some(Some("10.0.1.1")), None)), "InvalidInput");
        assert_eq!(code(planned(net, None, Some(&[("10.0.0.1", "10.0.0.9")]))), "GatewayConflictWithAllocationPools");
        assert_eq!(code(planned(net, None, Some(&[("10.0.0.9", "10.0.0.5")]))), "InvalidAllocationPool");
        assert_eq!(code(planned(net, None, Some(&[("10.0.0.9", "10.0.1.5")]))), "OutOfBoundsAllocationPool");
        assert_eq!(code(planned(net, None, Some(&[("10.0.0.9", "10.0.0.20"), ("10.0.0.20", "10.0.0.30")]))), "OverlappingAllocationPools");
    }
}
