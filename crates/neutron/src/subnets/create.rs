//! `POST /subnets`: with a prefix that is asked for, or one out of a pool.

use std::net::IpAddr;

use ipnet::IpNet;
use kit::clock::Timestamp;
use kit::db::Json;
use kit::policy::Target;
use kit::{Context, Reply, Result, ids};

use super::{Model, Pool, check_told, on_segment, plan};
use crate::agents::Touched;
use crate::attributes::{Checked, Input};
use crate::fault::{bad_request, enforce, invalid_input};
use crate::resource::{Resource, insert, locked, with};
use crate::subnetpools::{self, allocate};
use crate::{App, Tx, ipam, listing, networks, ports, quotas};

/// A subnet whose prefix may still have to be found.
struct Wish {
    subnet: Model,
    net: Source,
    gateway: Option<Option<IpAddr>>,
    pools: Option<Vec<Pool>>,
}

enum Source {
    Prefix(IpNet),
    Pool(subnetpools::Wanted),
    DefaultPool { cidr: Option<IpNet>, prefixlen: Option<i64> },
}

pub async fn create(app: App, ctx: Context, input: Input) -> Result<Reply> {
    let (bodies, bulk) = input.many(Model::KEY, Model::PLURAL)?;
    let mut wishes = Vec::with_capacity(bodies.len());
    for body in bodies {
        let checked = Checked::create(&ctx, Model::KEY, Model::ATTRIBUTES, body)?;
        let wish = wish(&checked)?;
        wishes.push((wish, checked));
    }
    let by = ctx.clone();
    let subnets = app.write(move |tx| {
        Box::pin(async move {
            networks::turn(&tx, wishes.iter().map(|(wish, _)| wish.subnet.network_id.clone()).collect()).await?;
            let mut made = Vec::with_capacity(wishes.len());
            for (wish, checked) in wishes {
                let network = networks::usable(&tx, &by, &wish.subnet.network_id, "subnet").await?;
                let target = Target::project(&wish.subnet.project_id).with("network:project_id", &network.project_id);
                checked.enforce(&by, "create", Model::KEY, Model::ATTRIBUTES, &target)?;
                if network.project_id != wish.subnet.project_id || network.project_id != by.project_id()? {
                    enforce(&by, "create_subnet", &Target::project(&network.project_id))?;
                }
                made.push(make(&tx, settle(&tx, &by, wish).await?).await?);
            }
            Ok(made)
        })
    });
    listing::created(&app, &ctx, subnets.await?, bulk).await
}

fn wish(checked: &Checked) -> Result<Wish> {
    let version: i64 = checked.or("ip_version", 4)?;
    let dhcp = checked.or("enable_dhcp", true)?;
    let mode = |name: &str| checked.get::<Option<String>>(name).map(Option::flatten);
    let (ra, address) = (mode("ipv6_ra_mode")?, mode("ipv6_address_mode")?);
    check_modes(version, dhcp, ra.as_deref(), address.as_deref())?;
    let now = Timestamp::now();
    let subnet = Model {
        id: ids::uuid(),
        project_id: checked.text("project_id")?,
        network_id: checked.text("network_id")?,
        name: checked.text("name")?,
        description: checked.text("description")?,
        ip_version: version,
        cidr: String::new(),
        gateway_ip: None,
        enable_dhcp: dhcp,
        dns_nameservers: Json(checked.or("dns_nameservers", Vec::new())?),
        host_routes: Json(checked.or("host_routes", Vec::new())?),
        allocation_pools: Json(Vec::new()),
        ipv6_ra_mode: ra,
        ipv6_address_mode: address,
        service_types: Json(checked.or("service_types", Vec::new())?),
        subnetpool_id: None,
        dns_publish_fixed_ip: checked.or("dns_publish_fixed_ip", false)?,
        segment_id: checked.get::<Option<String>>("segment_id")?.flatten(),
        tags: Json(Vec::new()),
        revision_number: 0,
        created_at: now,
        updated_at: now,
    };
    check_told(&subnet)?;
    let net = source(checked)?;
    if let Source::Prefix(net) = net {
        check_prefix(&subnet, net)?;
    }
    Ok(Wish { subnet, net, gateway: checked.get("gateway_ip")?, pools: checked.get("allocation_pools")? })
}

fn source(checked: &Checked) -> Result<Source> {
    let cidr = checked.get::<Option<IpNet>>("cidr")?.flatten();
    let prefixlen = checked.get::<Option<i64>>("prefixlen")?.flatten();
    if cidr.is_some() && prefixlen.is_some() {
        return Err(bad_request("BadRequest", "Bad subnets request: cidr and prefixlen must not be supplied together."));
    }
    let pool = checked.get::<Option<String>>("subnetpool_id")?.flatten();
    let default = checked.or("use_default_subnetpool", false)?;
    match (pool, cidr) {
        (Some(_), _) if default => {
            let message = "Bad subnets request: subnetpool_id and use_default_subnetpool cannot both be specified.";
            Err(bad_request("BadRequest", message))
        }
        (Some(pool), cidr) => Ok(Source::Pool(subnetpools::Wanted { pool, cidr, prefixlen })),
        (None, cidr) if default => Ok(Source::DefaultPool { cidr, prefixlen }),
        (None, Some(cidr)) => Ok(Source::Prefix(cidr)),
        (None, None) => Err(subnetpools::none_chosen()),
    }
}

/// IPv6 modes agree with each other, and come with DHCP enabled.
fn check_modes(version: i64, dhcp: bool, ra: Option<&str>, address: Option<&str>) -> Result<()> {
    if (ra.is_some() || address.is_some()) && (version == 4 || !dhcp) {
        return Err(invalid_input("ipv6_ra_mode or ipv6_address_mode cannot be set when ip_version is 4 or enable_dhcp is set to False"));
    }
    match (ra, address) {
        (Some(ra), Some(address)) if ra != address => {
            let message = format!(
                "ipv6_ra_mode set to '{ra}' with ipv6_address_mode set to '{address}' is not valid. If both attributes are set, they must be the same value"
            );
            Err(invalid_input(message))
        }
        _ => Ok(()),
    }
}

fn check_prefix(subnet: &Model, net: IpNet) -> Result<()> {
    if net.addr().is_ipv4() != subnet.is_v4() {
        return Err(invalid_input(format!("cidr '{net}' does not match the ip_version '{}'", subnet.ip_version)));
    }
    if net.prefix_len() == 0 {
        return Err(invalid_input(format!("0 is not allowed as CIDR prefix length (cidr {net})")));
    }
    if net.addr().is_multicast() || net.addr().is_loopback() {
        return Err(invalid_input(format!("Invalid CIDR {net}: it is not a unicast prefix")));
    }
    check_served(subnet, net)?;
    if subnet.is_auto_addressed() && net.prefix_len() != 64 {
        return Err(invalid_input(format!(
            "Invalid CIDR {net} for IPv6 address mode. OpenStack uses the EUI-64 address format, which requires the prefix to be /64"
        )));
    }
    Ok(())
}

/// A DHCP server needs room beside the gateway.
pub fn check_served(subnet: &Model, net: IpNet) -> Result<()> {
    if subnet.enable_dhcp && net.max_prefix_len() - net.prefix_len() < 2 {
        return Err(invalid_input("Subnet has a prefix length that is incompatible with DHCP service enabled"));
    }
    Ok(())
}

/// Finds the prefix, and what follows from it.
async fn settle(tx: &Tx<'_>, ctx: &Context, wish: Wish) -> Result<Model> {
    let mut subnet = wish.subnet;
    let wanted = match wish.net {
        Source::Prefix(net) => return plan_in(subnet, net, wish.gateway, wish.pools),
        Source::Pool(wanted) => wanted,
        Source::DefaultPool { cidr, prefixlen } => {
            let pool = subnetpools::default_of(tx.db, subnet.ip_version).await?;
            subnetpools::Wanted { pool: pool.ok_or_else(|| subnetpools::no_default(subnet.ip_version))?, cidr, prefixlen }
        }
    };
    let net = allocate(tx, ctx, &subnet.project_id, subnet.ip_version, &wanted).await?;
    check_prefix(&subnet, net)?;
    subnet.subnetpool_id = Some(wanted.pool);
    plan_in(subnet, net, wish.gateway, wish.pools)
}

fn plan_in(mut subnet: Model, net: IpNet, gateway: Option<Option<IpAddr>>, pools: Option<Vec<Pool>>) -> Result<Model> {
    let (gateway, pools) = plan(net, gateway, pools)?;
    subnet.cidr = net.to_string();
    subnet.gateway_ip = gateway.map(|ip| ip.to_string());
    subnet.allocation_pools.0 = pools;
    Ok(subnet)
}

/// Inserts a subnet, within its project's quota, if it overlaps no other of its network.
pub async fn make(tx: &Tx<'_>, subnet: Model) -> Result<Model> {
    // of two overlapping subnets the second finds the first
    networks::turn(tx, vec![subnet.network_id.clone()]).await?;
    let network: networks::Model = locked(tx.db, &subnet.network_id).await?;
    networks::check_mtu(&network, subnet.ip_version)?;
    quotas::spend(tx, &subnet.project_id, "subnet", 1).await?;
    let others: Vec<Model> = with(tx.db, "network_id", std::slice::from_ref(&subnet.network_id)).await?;
    if let Some(net) = subnet.net()
        && others.iter().filter_map(Model::net).any(|other| other.contains(&net) || net.contains(&other))
    {
        let message = format!("Requested subnet with cidr: {} for network: {} overlaps with another subnet", subnet.cidr, network.id);
        return Err(invalid_input(message));
    }
    if others.iter().any(|other| other.ip_version == subnet.ip_version && other.subnetpool_id != subnet.subnetpool_id) {
        let message = "Subnets hosted on the same network must be allocated from the same subnet pool.";
        return Err(bad_request("NetworkSubnetPoolAffinityError", message));
    }
    on_segment::check(tx, &subnet, &others).await?;
    insert(tx.db, &subnet).await?;
    ipam::rebuild(tx, &subnet).await?;
    ports::refresh_dhcp(tx, &network.id).await?;
    if subnet.is_auto_addressed() {
        ports::join_auto_addressed(tx, &subnet).await?;
    }
    networks::bump(tx, &network.id).await?;
    tx.touch(Touched::Network(network.id));
    Ok(subnet)
}
