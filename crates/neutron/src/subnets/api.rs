//! Create, update and delete subnets.

use std::net::IpAddr;

use ipnet::IpNet;
use kit::clock::Timestamp;
use kit::db::Json;
use kit::policy::Target;
use kit::{Context, Path, Reply, Result, ids};

use super::{Model, Pool, plan};
use crate::agents::Touched;
use crate::attributes::{Checked, IfMatch, Input};
use crate::fault::{bad_request, conflict, enforce, invalid_input};
use crate::resource::{Resource, changeable, insert, locked, remove, save, seen, with};
use crate::{App, Tx, ipam, listing, networks, ports, quotas, sql};

/// Name servers and routes a subnet may have.
const NAMESERVERS: usize = 5;
const ROUTES: usize = 20;

/// `POST /subnets`
pub async fn create(app: App, ctx: Context, input: Input) -> Result<Reply> {
    let (bodies, bulk) = input.many(Model::KEY, Model::PLURAL)?;
    let mut subnets = Vec::with_capacity(bodies.len());
    for body in bodies {
        let checked = Checked::create(&ctx, Model::KEY, Model::ATTRIBUTES, body)?;
        let target = Target::project(&checked.text("project_id")?);
        checked.enforce(&ctx, "create", Model::KEY, Model::ATTRIBUTES, &target)?;
        subnets.push(wanted(&checked)?);
    }
    let by = ctx.clone();
    let subnets = app.write(move |tx| {
        Box::pin(async move {
            let mut made = Vec::with_capacity(subnets.len());
            for subnet in subnets {
                let network: networks::Model = seen(tx.db, &by, &subnet.network_id).await?;
                if network.project_id != subnet.project_id {
                    enforce(&by, "create_subnet", &Target::project(&network.project_id))?;
                }
                made.push(make(&tx, subnet).await?);
            }
            Ok(made)
        })
    });
    listing::created(&app, &ctx, subnets.await?, bulk).await
}

fn wanted(checked: &Checked) -> Result<Model> {
    let version: i64 = checked.or("ip_version", 4)?;
    let cidr: Option<IpNet> = checked.get("cidr")?;
    let net =
        cidr.ok_or_else(|| bad_request("BadRequest", "Bad subnets request: a subnetpool must be specified in the absence of a cidr."))?;
    if version == 5 || net.addr().is_ipv4() != (version == 4) {
        return Err(invalid_input(format!("ip_version {version} is different from the ip_version of cidr {net}")));
    }
    let (ra, address): (Option<Option<String>>, Option<Option<String>>) = (checked.get("ipv6_ra_mode")?, checked.get("ipv6_address_mode")?);
    let (ra, address) = (ra.flatten(), address.flatten());
    let dhcp = checked.or("enable_dhcp", true)?;
    if (ra.is_some() || address.is_some()) && (version == 4 || !dhcp) {
        return Err(invalid_input("ipv6_ra_mode or ipv6_address_mode cannot be set when ip_version is 4 or enable_dhcp is False"));
    }
    if let (Some(ra), Some(address)) = (&ra, &address)
        && ra != address
    {
        let message = format!(
            "ipv6_ra_mode set to '{ra}' with ipv6_address_mode set to '{address}' is not valid. If both are set they must be the same"
        );
        return Err(invalid_input(message));
    }
    if version == 6 && address.as_deref() == Some("slaac") && net.prefix_len() != 64 {
        return Err(invalid_input(format!(
            "Invalid CIDR {net} for IPv6 address mode. OpenStack uses the EUI-64 address format, which requires the prefix to be /64"
        )));
    }
    let (gateway, pools) = plan(net, checked.get::<Option<IpAddr>>("gateway_ip")?, checked.get::<Vec<Pool>>("allocation_pools")?)?;
    let now = Timestamp::now();
    let subnet = Model {
        id: ids::uuid(),
        project_id: checked.text("project_id")?,
        network_id: checked.text("network_id")?,
        name: checked.text("name")?,
        description: checked.text("description")?,
        ip_version: version,
        cidr: net.to_string(),
        gateway_ip: gateway.map(|ip| ip.to_string()),
        enable_dhcp: dhcp,
        dns_nameservers: Json(checked.or("dns_nameservers", Vec::new())?),
        host_routes: Json(checked.or("host_routes", Vec::new())?),
        allocation_pools: Json(pools),
        ipv6_ra_mode: ra,
        ipv6_address_mode: address,
        service_types: Json(checked.or("service_types", Vec::new())?),
        tags: Json(Vec::new()),
        revision_number: 0,
        created_at: now,
        updated_at: now,
    };
    check_told(&subnet)?;
    Ok(subnet)
}

/// Limits on what hosts are told.
fn check_told(subnet: &Model) -> Result<()> {
    if subnet.dns_nameservers.0.len() > NAMESERVERS {
        let message =
            format!("Unable to complete operation for {}. The number of DNS nameservers exceeds the limit {NAMESERVERS}.", subnet.id);
        return Err(bad_request("DNSNameServersExhausted", message));
    }
    if subnet.host_routes.0.len() > ROUTES {
        let message = format!("Unable to complete operation for {}. The number of host routes exceeds the limit {ROUTES}.", subnet.id);
        return Err(bad_request("HostRoutesExhausted", message));
    }
    if let Some(route) = subnet.host_routes.0.iter().find(|route| route.nexthop.is_ipv4() != subnet.is_v4()) {
        return Err(invalid_input(format!("nexthop {} is not of IP version {}", route.nexthop, subnet.ip_version)));
    }
    Ok(())
}

/// Inserts a subnet, within its project's quota, if it overlaps no other of its network.
pub async fn make(tx: &Tx<'_>, subnet: Model) -> Result<Model> {
    // the lock keeps two overlapping subnets from being made at once
    let network: networks::Model = locked(tx.db, &subnet.network_id).await?;
    quotas::spend(tx, &subnet.project_id, "subnet", 1).await?;
    let others: Vec<Model> = with(tx.db, "network_id", std::slice::from_ref(&subnet.network_id)).await?;
    if let Some(net) = subnet.net()
        && others.iter().filter_map(Model::net).any(|other| other.contains(&net) || net.contains(&other))
    {
        let message = format!("Requested subnet with cidr: {} for network: {} overlaps with another subnet", subnet.cidr, network.id);
        return Err(invalid_input(message));
    }
    insert(tx.db, &subnet).await?;
    ipam::rebuild(tx, &subnet).await?;
    ports::refresh_dhcp(tx, &network.id).await?;
    tx.touch(Touched::Network(network.id));
    Ok(subnet)
}

/// `PUT /subnets/{subnet_id}`
pub async fn update(app: App, ctx: Context, id: Path<String>, input: Input) -> Result<Reply> {
    let if_match = input.if_match;
    let checked = Checked::update(Model::ATTRIBUTES, input.one(Model::KEY)?)?;
    let by = ctx.clone();
    let subnet = app.write(move |tx| {
        Box::pin(async move {
            let mut subnet: Model = changeable(tx.db, &by, "update_subnet", &id.0).await?;
            if_match.check(subnet.revision_number)?;
            checked.enforce(&by, "update", Model::KEY, Model::ATTRIBUTES, &Target::project(&subnet.project_id))?;
            let before = subnet.clone();
            apply(&tx, &checked, &mut subnet).await?;
            if subnet != before {
                save(tx.db, &mut subnet).await?;
                if subnet.allocation_pools != before.allocation_pools {
                    ipam::rebuild(&tx, &subnet).await?;
                }
                if subnet.enable_dhcp != before.enable_dhcp {
                    ports::refresh_dhcp(&tx, &subnet.network_id).await?;
                }
                tx.touch(Touched::Network(subnet.network_id.clone()));
            }
            Ok(subnet)
        })
    });
    listing::updated(&app, &ctx, subnet.await?).await
}

async fn apply(tx: &Tx<'_>, checked: &Checked, subnet: &mut Model) -> Result<()> {
    checked.set("name", &mut subnet.name)?;
    checked.set("description", &mut subnet.description)?;
    checked.set("enable_dhcp", &mut subnet.enable_dhcp)?;
    checked.set("dns_nameservers", &mut subnet.dns_nameservers.0)?;
    checked.set("host_routes", &mut subnet.host_routes.0)?;
    checked.set("service_types", &mut subnet.service_types.0)?;
    check_told(subnet)?;
    let gateway = checked.get::<Option<IpAddr>>("gateway_ip")?;
    let pools = checked.get::<Vec<Pool>>("allocation_pools")?;
    let (Some(net), true) = (subnet.net(), gateway.is_some() || pools.is_some()) else { return Ok(()) };
    let gateway = gateway.unwrap_or_else(|| subnet.gateway());
    if gateway != subnet.gateway()
        && let Some(old) = &subnet.gateway_ip
    {
        let router = "SELECT p.id FROM ip_allocations a JOIN ports p ON p.id = a.port_id \
                      WHERE a.network_id = $1 AND a.ip_address = $2 AND p.device_owner = 'network:router_interface'";
        if let Some(port) = sql::texts(tx.db, router, [subnet.network_id.as_str().into(), old.as_str().into()]).await?.first() {
            let message = format!("Current gateway ip {old} already in use by port {port}. Unable to update.");
            return Err(conflict("GatewayIpInUse", message));
        }
    }
    let (gateway, pools) = plan(net, Some(gateway), Some(pools.unwrap_or_else(|| subnet.allocation_pools.0.clone())))?;
    subnet.gateway_ip = gateway.map(|ip| ip.to_string());
    subnet.allocation_pools.0 = pools;
    Ok(())
}

/// `DELETE /subnets/{subnet_id}`: addresses of DHCP ports and those that hosts chose themselves go with it, others keep it.
pub async fn delete(app: App, ctx: Context, id: Path<String>, if_match: IfMatch) -> Result<Reply> {
    app.write(move |tx| {
        Box::pin(async move {
            let subnet: Model = changeable(tx.db, &ctx, "delete_subnet", &id.0).await?;
            if_match.check(subnet.revision_number)?;
            let used = "SELECT DISTINCT port_id FROM ip_allocations WHERE subnet_id = $1";
            let users: Vec<ports::Model> = with(tx.db, "id", &sql::texts(tx.db, used, [subnet.id.as_str().into()]).await?).await?;
            let released = |port: &ports::Model| port.device_owner == ports::DHCP || (subnet.is_auto_addressed() && !port.is_routers());
            if users.iter().any(|port| !released(port)) {
                let message = format!(
                    "Unable to complete operation on subnet {}: One or more ports have an IP allocation from this subnet.",
                    subnet.id
                );
                return Err(conflict("SubnetInUse", message));
            }
            for port in users {
                ports::drop_subnet(&tx, port, &subnet.id).await?;
            }
            remove::<Model, _>(tx.db, &subnet.id).await?;
            ports::refresh_dhcp(&tx, &subnet.network_id).await?;
            tx.touch(Touched::Network(subnet.network_id));
            Ok(())
        })
    })
    .await?;
    Reply::no_content()
}
