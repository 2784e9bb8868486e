//! Update and delete subnets.

use std::net::IpAddr;

use kit::policy::Target;
use kit::{Context, Path, Reply, Result};

use super::create::check_served;
use super::{Model, Pool, on_segment, plan};
use crate::agents::Touched;
use crate::attributes::{Checked, IfMatch, Input};
use crate::fault::{bad_request, conflict, invalid_input};
use crate::resource::{Resource, changeable, fetch, locked, remove, save, with};
use crate::{App, Tx, ipam, listing, networks, ports, sql};

/// Name servers and routes a subnet may have.
const NAMESERVERS: usize = 5;
const ROUTES: usize = 20;

/// Limits on what hosts are told.
pub fn check_told(subnet: &Model) -> Result<()> {
    if subnet.dns_nameservers.0.len() > NAMESERVERS {
        let message =
            format!("Unable to complete operation for {}. The number of DNS nameservers exceeds the limit {NAMESERVERS}.", subnet.id);
        return Err(bad_request("DNSNameServersExhausted", message));
    }
    if subnet.host_routes.0.len() > ROUTES {
        let message = format!("Unable to complete operation for {}. The number of host routes exceeds the limit {ROUTES}.", subnet.id);
        return Err(bad_request("HostRoutesExhausted", message));
    }
    let of_version = |name: &str, ip: &IpAddr| match ip.is_ipv4() == subnet.is_v4() {
        true => Ok(()),
        false => Err(invalid_input(format!("{name} '{ip}' does not match the ip_version '{}'", subnet.ip_version))),
    };
    subnet.dns_nameservers.0.iter().try_for_each(|server| of_version("dns_nameserver", server))?;
    subnet.host_routes.0.iter().try_for_each(|route| of_version("nexthop", &route.nexthop))
}

/// `PUT /subnets/{subnet_id}`
pub async fn update(app: App, ctx: Context, id: Path<String>, input: Input) -> Result<Reply> {
    let if_match = input.if_match;
    let checked = Checked::update(Model::ATTRIBUTES, input.one(Model::KEY)?)?;
    let by = ctx.clone();
    let subnet = app.write(move |tx| {
        Box::pin(async move {
            turn(&tx, &id.0).await?;
            let mut subnet: Model = changeable(tx.db, &by, "update_subnet", &id.0).await?;
            if_match.check(subnet.revision_number)?;
            let network: networks::Model = locked(tx.db, &subnet.network_id).await?;
            let target = Target::project(&subnet.project_id).with("network:project_id", &network.project_id);
            checked.enforce(&by, "update", Model::KEY, Model::ATTRIBUTES, &target)?;
            let before = subnet.clone();
            apply(&tx, &checked, &mut subnet).await?;
            on_segment::check_change(&tx, &before, &subnet).await?;
            if subnet != before {
                save(tx.db, &mut subnet).await?;
                if subnet.allocation_pools != before.allocation_pools {
                    ipam::rebuild(&tx, &subnet).await?;
                }
                if subnet.enable_dhcp != before.enable_dhcp {
                    ports::refresh_dhcp(&tx, &subnet.network_id).await?;
                }
                networks::bump(&tx, &subnet.network_id).await?;
                tx.touch(Touched::Network(subnet.network_id.clone()));
            }
            Ok(subnet)
        })
    });
    listing::updated(&app, &ctx, subnet.await?).await
}

/// Waits for the turn on the network of a subnet, if it is there.
async fn turn(tx: &Tx<'_>, id: &str) -> Result<()> {
    let subnet = fetch::<Model, _>(tx.db, id).await?;
    networks::turn(tx, subnet.into_iter().map(|subnet| subnet.network_id).collect()).await
}

async fn apply(tx: &Tx<'_>, checked: &Checked, subnet: &mut Model) -> Result<()> {
    let served = subnet.enable_dhcp;
    checked.set("name", &mut subnet.name)?;
    checked.set("description", &mut subnet.description)?;
    checked.set("enable_dhcp", &mut subnet.enable_dhcp)?;
    if let Some(net) = subnet.net().filter(|_| !served) {
        check_served(subnet, net)?;
    }
    checked.set("dns_nameservers", &mut subnet.dns_nameservers.0)?;
    checked.set("host_routes", &mut subnet.host_routes.0)?;
    checked.set("service_types", &mut subnet.service_types.0)?;
    checked.set("dns_publish_fixed_ip", &mut subnet.dns_publish_fixed_ip)?;
    checked.set("segment_id", &mut subnet.segment_id)?;
    if !subnet.enable_dhcp && (subnet.ipv6_ra_mode.is_some() || subnet.ipv6_address_mode.is_some()) {
        return Err(invalid_input("Cannot disable enable_dhcp with ipv6 attributes set"));
    }
    if ["dns_nameservers", "host_routes"].iter().any(|told| checked.0.contains_key(*told)) {
        check_told(subnet)?;
    }
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
            turn(&tx, &id.0).await?;
            let subnet: Model = changeable(tx.db, &ctx, "delete_subnet", &id.0).await?;
            if_match.check(subnet.revision_number)?;
            let used = "SELECT DISTINCT port_id FROM ip_allocations WHERE subnet_id = $1";
            let mut users: Vec<ports::Model> = with(tx.db, "id", &sql::texts(tx.db, used, [subnet.id.as_str().into()]).await?).await?;
            let released = |port: &ports::Model| port.device_owner == ports::DHCP || (subnet.is_auto_addressed() && !port.is_routers());
            if users.iter().any(|port| !released(port)) {
                let message = format!(
                    "Unable to complete operation on subnet {}: One or more ports have an IP allocation from this subnet.",
                    subnet.id
                );
                return Err(conflict("SubnetInUse", message));
            }
            users.sort_by(|a, b| a.id.cmp(&b.id));
            for port in users {
                ports::drop_subnet(&tx, port, &subnet.id).await?;
            }
            remove::<Model, _>(tx.db, &subnet.id).await?;
            ports::refresh_dhcp(&tx, &subnet.network_id).await?;
            networks::bump(&tx, &subnet.network_id).await?;
            tx.touch(Touched::Network(subnet.network_id));
            Ok(())
        })
    })
    .await?;
    Reply::no_content()
}
