//! `add_router_interface` and `remove_router_interface`: a router's legs into projects' networks.

use std::net::IpAddr;

use kit::{Context, Error, Path, Reply, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Model;
use crate::agents::Touched;
use crate::attributes::Input;
use crate::fault::{bad_request, conflict, invalid_attribute};
use crate::ports::{self, FixedIp, ROUTER_INTERFACE};
use crate::resource::{changeable, fetch, missing, save, seen, with};
use crate::{App, Tx, ipam, networks, sql, subnets};

/// `{"subnet_id"}` or `{"port_id"}`
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Which {
    #[serde(default)]
    subnet_id: Option<String>,
    #[serde(default)]
    port_id: Option<String>,
}

impl Which {
    fn read(input: Input) -> Result<Which> {
        let which: Which =
            serde_json::from_value(input.into_body()).map_err(|_| bad_request("BadRequest", "Bad router request: Invalid format."))?;
        for (name, id) in [("subnet_id", &which.subnet_id), ("port_id", &which.port_id)] {
            if let Some(id) = id.as_deref().filter(|id| kit::ids::parse_uuid(id).is_none()) {
                return Err(invalid_attribute(name, format!("'{id}' is not a valid UUID")));
            }
        }
        Ok(which)
    }
}

/// `PUT /routers/{router_id}/add_router_interface`
pub async fn add(app: App, ctx: Context, id: Path<String>, input: Input) -> Result<Reply> {
    let which = Which::read(input)?;
    let (router, port) = app
        .write(move |tx| {
            Box::pin(async move {
                let mut router: Model = changeable(tx.db, &ctx, "add_router_interface", &id.0).await?;
                let port = match (which.subnet_id, which.port_id) {
                    (Some(_), Some(_)) => {
                        return Err(bad_request("BadRequest", "Bad router request: Cannot specify both subnet-id and port-id."));
                    }
                    (Some(subnet), None) => {
                        let subnet: subnets::Model = seen(tx.db, &ctx, &subnet).await?;
                        attach(&tx, &router, &subnet).await?
                    }
                    (None, Some(port)) => {
                        let port: ports::Model = changeable(tx.db, &ctx, "update_port", &port).await?;
                        attach_port(&tx, &router, port).await?
                    }
                    (None, None) => {
                        return Err(bad_request("BadRequest", "Bad router request: Either subnet_id or port_id must be specified."));
                    }
                };
                save(tx.db, &mut router).await?;
                Ok((router, port))
            })
        })
        .await?;
    Reply::ok(&answer(&router, &port))
}

/// Makes a leg with the subnet's gateway address.
pub async fn attach(tx: &Tx<'_>, router: &Model, subnet: &subnets::Model) -> Result<ports::Model> {
    let Some(gateway) = subnet.gateway() else {
        return Err(bad_request("BadRequest", "Bad router request: Subnet for router interface must have a gateway IP."));
    };
    networks::turn(tx, vec![subnet.network_id.clone()]).await?;
    check_overlap(tx, router, subnet).await?;
    if let Some(port) = v6_leg(tx, router, subnet).await? {
        return widen(tx, router, port, subnet, gateway).await;
    }
    let network: networks::Model = fetch(tx.db, &subnet.network_id).await?.ok_or_else(|| missing::<networks::Model>(&subnet.network_id))?;
    let mut port = ports::new(&network, &router.project_id);
    port.device_id.clone_from(&router.id);
    port.device_owner = ROUTER_INTERFACE.into();
    port.port_security_enabled = false;
    port.host_id.clone_from(&router.host);
    let wanted = json!([{"subnet_id": subnet.id, "ip_address": gateway}]);
    let port = ports::insert_with(tx, &network, port, None, Some(serde_json::from_value(wanted)?)).await;
    let port = port.map_err(|error| match error.code.as_deref() {
        Some("IpAddressAlreadyAllocated") => conflict(
            "IpAddressInUse",
            format!("Unable to complete operation for network {}. The IP address {gateway} is in use.", network.id),
        ),
        _ => error,
    })?;
    tx.touch(Touched::Router(router.id.clone()));
    Ok(port)
}

/// The leg that IPv6 subnets of one network share.
async fn v6_leg(tx: &Tx<'_>, router: &Model, subnet: &subnets::Model) -> Result<Option<ports::Model>> {
    if subnet.is_v4() {
        return Ok(None);
    }
    let shares =
        |port: &ports::Model| port.network_id == subnet.network_id && port.fixed_ips.0.iter().all(|fixed| fixed.ip_address.is_ipv6());
    Ok(router.interfaces(tx).await?.into_iter().find(shares))
}

async fn widen(tx: &Tx<'_>, router: &Model, mut port: ports::Model, subnet: &subnets::Model, gateway: IpAddr) -> Result<ports::Model> {
    let new = FixedIp { subnet_id: subnet.id.clone(), ip_address: gateway };
    ipam::take(tx, subnet, gateway).await?;
    ipam::record(tx, &port, std::slice::from_ref(&new)).await?;
    port.fixed_ips.0.push(new);
    save(tx.db, &mut port).await?;
    tx.touch(Touched::Port(port.id.clone()));
    tx.touch(Touched::Router(router.id.clone()));
    Ok(port)
}

async fn attach_port(tx: &Tx<'_>, router: &Model, mut port: ports::Model) -> Result<ports::Model> {
    if !port.device_id.is_empty() {
        let message = format!(
            "Unable to complete operation on port {} for network {}. Port already has an attached device {}.",
            port.id, port.network_id, port.device_id
        );
        return Err(conflict("PortInUse", message));
    }
    let ids: Vec<String> = port.fixed_ips.0.iter().map(|fixed| fixed.subnet_id.clone()).collect();
    if ids.is_empty() {
        return Err(bad_request("BadRequest", "Bad router request: Router port must have at least one fixed IP."));
    }
    let joined: Vec<subnets::Model> = with(tx.db, "id", &ids).await?;
    if joined.iter().filter(|subnet| subnet.is_v4()).count() > 1 {
        return Err(bad_request("BadRequest", "Bad router request: Cannot have multiple IPv4 subnets on router port."));
    }
    for subnet in joined {
        check_overlap(tx, router, &subnet).await?;
    }
    port.device_id.clone_from(&router.id);
    port.device_owner = ROUTER_INTERFACE.into();
    port.host_id.clone_from(&router.host);
    port.status = ports::DOWN.into();
    save(tx.db, &mut port).await?;
    tx.touch(Touched::Port(port.id.clone()));
    tx.touch(Touched::Router(router.id.clone()));
    Ok(port)
}

/// A router tells subnets apart by their prefixes.
async fn check_overlap(tx: &Tx<'_>, router: &Model, subnet: &subnets::Model) -> Result<()> {
    let joined = "SELECT DISTINCT a.subnet_id FROM ip_allocations a JOIN ports p ON p.id = a.port_id WHERE p.device_id = $1";
    let joined = sql::texts(tx.db, joined, [router.id.as_str().into()]).await?;
    if joined.contains(&subnet.id) {
        return Err(bad_request("BadRequest", format!("Bad router request: Router already has a port on subnet {}.", subnet.id)));
    }
    for other in with::<subnets::Model, _>(tx.db, "id", &joined).await? {
        if let (Some(a), Some(b)) = (subnet.net(), other.net())
            && (a.contains(&b) || b.contains(&a))
        {
            let message = format!("Bad router request: Cidr {a} of subnet {} overlaps with cidr {b} of subnet {}.", subnet.id, other.id);
            return Err(bad_request("BadRequest", message));
        }
    }
    Ok(())
}

/// `PUT /routers/{router_id}/remove_router_interface`
pub async fn remove(app: App, ctx: Context, id: Path<String>, input: Input) -> Result<Reply> {
    let which = Which::read(input)?;
    let (router, port) = app
        .write(move |tx| {
            Box::pin(async move {
                let mut router: Model = changeable(tx.db, &ctx, "remove_router_interface", &id.0).await?;
                let port = leg(&tx, &router, &which).await?;
                networks::turn(&tx, vec![port.network_id.clone()]).await?;
                let leaving = match &which.subnet_id {
                    Some(subnet) if port.fixed_ips.0.len() > 1 && which.port_id.is_none() => Some(subnet.clone()),
                    _ => None,
                };
                let mut gone = port.clone();
                gone.fixed_ips.0.retain(|fixed| leaving.as_ref().is_none_or(|subnet| *subnet == fixed.subnet_id));
                check_unused(&tx, &router, &gone).await?;
                match leaving {
                    Some(subnet) => ports::drop_subnet(&tx, port, &subnet).await?,
                    None => ports::remove(&tx, &port).await?,
                }
                save(tx.db, &mut router).await?;
                tx.touch(Touched::Router(router.id.clone()));
                Ok((router, gone))
            })
        })
        .await?;
    Reply::ok(&answer(&router, &port))
}

async fn leg(tx: &Tx<'_>, router: &Model, which: &Which) -> Result<ports::Model> {
    let on = |port: &ports::Model, subnet: &String| port.fixed_ips.0.iter().any(|fixed| fixed.subnet_id == *subnet);
    let mut legs = router.interfaces(tx).await?.into_iter();
    let router = &router.id;
    match (&which.port_id, &which.subnet_id) {
        (Some(id), subnet) => legs.find(|port| port.id == *id && subnet.as_ref().is_none_or(|s| on(port, s))).ok_or_else(|| {
            Error::not_found(format!("Router {router} does not have an interface with id {id}")).code("RouterInterfaceNotFound")
        }),
        (None, Some(subnet)) => legs.find(|port| on(port, subnet)).ok_or_else(|| {
            Error::not_found(format!("Router {router} has no interface on subnet {subnet}")).code("RouterInterfaceNotFoundForSubnet")
        }),
        (None, None) => Err(bad_request("BadRequest", "Bad router request: Either subnet_id or port_id must be specified.")),
    }
}

/// A leg that floating IPs or routes lead through stays.
async fn check_unused(tx: &Tx<'_>, router: &Model, port: &ports::Model) -> Result<()> {
    for fixed in &port.fixed_ips.0 {
        let floating = "SELECT 1 FROM floatingips f JOIN ip_allocations a ON a.port_id = f.port_id AND a.ip_address = f.fixed_ip_address \
                        WHERE f.router_id = $1 AND a.subnet_id = $2 LIMIT 1";
        if sql::exists(tx.db, floating, [router.id.as_str().into(), fixed.subnet_id.as_str().into()]).await? {
            let message = format!(
                "Router interface for subnet {} on router {} cannot be deleted, as it is required by one or more floating IPs.",
                fixed.subnet_id, router.id
            );
            return Err(conflict("RouterInterfaceInUseByFloatingIP", message));
        }
        let forwarding = "SELECT 1 FROM port_forwardings f JOIN floatingips i ON i.id = f.floatingip_id \
                          JOIN ip_allocations a ON a.port_id = f.internal_port_id AND a.ip_address = f.internal_ip_address \
                          WHERE i.router_id = $1 AND a.subnet_id = $2 LIMIT 1";
        if sql::exists(tx.db, forwarding, [router.id.as_str().into(), fixed.subnet_id.as_str().into()]).await? {
            let message = format!(
                "Router interface for subnet {} on router {} cannot be deleted, as it is required by one or more port forwardings.",
                fixed.subnet_id, router.id
            );
            return Err(conflict("RouterInterfaceInUseByFloatingIP", message));
        }
        let subnet = fetch::<subnets::Model, _>(tx.db, &fixed.subnet_id).await?;
        if subnet.is_some_and(|subnet| router.routes.0.iter().any(|route| subnet.contains(route.nexthop))) {
            let message = format!(
                "Router interface for subnet {} on router {} cannot be deleted, as it is required by one or more routes.",
                fixed.subnet_id, router.id
            );
            return Err(conflict("RouterInterfaceInUseByRoute", message));
        }
    }
    Ok(())
}

fn answer(router: &Model, port: &ports::Model) -> Value {
    let subnets: Vec<&String> = port.fixed_ips.0.iter().map(|fixed| &fixed.subnet_id).collect();
    json!({
        "id": router.id, "tenant_id": router.project_id, "project_id": router.project_id, "port_id": port.id,
        "network_id": port.network_id, "subnet_id": subnets.first(), "subnet_ids": subnets,
    })
}
