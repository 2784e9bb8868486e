//! The port of a network's DHCP and metadata server on a host: there is one wherever the network has a guest and a subnet with DHCP, and
//! one on some host from the first such subnet on, before there is any guest. Administrators may add to them and take them away.

use kit::Result;
use kit::ids;

use super::addresses::{Wanted, choose};
use super::{DHCP, DhcpOption, FixedIp, Model, create, delete};
use crate::agents;
use crate::resource::{fetch, save};
use crate::{Tx, ipam, networks, sql, subnets};

/// Makes the port of a network on a host, if it shall have one and has none.
pub async fn ensure(tx: &Tx<'_>, network: &networks::Model, host: &str) -> Result<()> {
    let id = id(&network.id, host);
    if exists(tx, &id).await? {
        return Ok(());
    }
    // two guests may come to a host at once: the second waits here and finds the port of the first
    networks::turn(tx, vec![network.id.clone()]).await?;
    let wanted = wanted(tx, &network.id, host).await?;
    if said(tx, &network.id, host).await? == Some(false) {
        return Ok(());
    }
    if wanted.is_empty() || exists(tx, &id).await? {
        return Ok(());
    }
    let mut port = create::new(network, &network.project_id);
    port.device_id = format!("dhcp{}-{}", ids::derived("host", host), network.id);
    port.id = id;
    port.device_owner = DHCP.into();
    port.host_id = host.to_owned();
    create::insert_with(tx, network, port, None, Some(wanted)).await.map(drop)
}

async fn exists(tx: &Tx<'_>, id: &str) -> Result<bool> {
    sql::exists(tx.db, "SELECT 1 FROM ports WHERE id = $1", [id.into()]).await
}

/// What was said of a network's server on a host.
async fn said(tx: &Tx<'_>, network: &str, host: &str) -> Result<Option<bool>> {
    let said = "SELECT wanted FROM dhcp_servers WHERE network_id = $1 AND host = $2";
    let rows = sql::query(tx.db, said, [network.into(), host.into()]).await?;
    Ok(rows.first().map(|row| row.try_get_by_index(0)).transpose()?)
}

/// A host shall serve a network whether there are guests or not, or shall not.
pub async fn say(tx: &Tx<'_>, network: &networks::Model, host: &str, wanted: bool) -> Result<()> {
    let upsert = "INSERT INTO dhcp_servers (network_id, host, wanted) VALUES ($1, $2, $3) \
                  ON CONFLICT (network_id, host) DO UPDATE SET wanted = excluded.wanted";
    sql::execute(tx.db, upsert, [network.id.as_str().into(), host.into(), wanted.into()]).await?;
    if wanted {
        return Box::pin(ensure(tx, network, host)).await;
    }
    match fetch::<Model, _>(tx.db, &id(&network.id, host)).await? {
        Some(port) => Box::pin(delete::remove(tx, &port)).await,
        None => Ok(()),
    }
}

/// Whether a host serves a network, or would as soon as there is a subnet with DHCP.
pub async fn is_served(tx: &Tx<'_>, network: &str, host: &str) -> Result<bool> {
    Ok(exists(tx, &id(network, host)).await? || said(tx, network, host).await? == Some(true))
}

/// A network whose subnets want DHCP and that nobody serves gets a server, if there is a host for it.
async fn schedule(tx: &Tx<'_>, network: &networks::Model) -> Result<()> {
    let there = "SELECT 1 FROM dhcp_servers WHERE network_id = $1 UNION SELECT 1 FROM ports WHERE network_id = $1 AND device_owner = 'network:dhcp'";
    let served = subnets::of(tx, &network.id).await?.iter().any(|subnet| subnet.enable_dhcp);
    if !served || sql::exists(tx.db, there, [network.id.as_str().into()]).await? {
        return Ok(());
    }
    match agents::dhcp_host(tx).await? {
        Some(host) => say(tx, network, &host, true).await,
        None => Ok(()),
    }
}

/// Removes the port of a network on a host when the last guest is gone.
pub async fn prune(tx: &Tx<'_>, network: &str, host: &str) -> Result<()> {
    let guests = "SELECT 1 FROM ports WHERE host_id = $1 AND network_id = $2 AND device_owner NOT LIKE 'network:%' LIMIT 1";
    if sql::exists(tx.db, guests, [host.into(), network.into()]).await? {
        return Ok(());
    }
    match fetch::<Model, _>(tx.db, &id(network, host)).await? {
        Some(port) if said(tx, network, host).await? != Some(true) => Box::pin(delete::remove(tx, &port)).await,
        _ => Ok(()),
    }
}

/// Brings a network's ports in line with its subnets: one address of each subnet with DHCP.
pub async fn refresh(tx: &Tx<'_>, network: &str) -> Result<()> {
    let Some(network) = fetch::<networks::Model, _>(tx.db, network).await? else { return Ok(()) };
    schedule(tx, &network).await?;
    let hosts = "SELECT host_id FROM ports WHERE network_id = $1 AND host_id <> '' AND device_owner NOT LIKE 'network:%' \
                 UNION SELECT host FROM dhcp_servers WHERE network_id = $1 AND wanted";
    for host in sql::texts(tx.db, hosts, [network.id.as_str().into()]).await? {
        match fetch::<Model, _>(tx.db, &id(&network.id, &host)).await? {
            None => ensure(tx, &network, &host).await?,
            Some(port) => change(tx, &network, port).await?,
        }
    }
    Ok(())
}

async fn change(tx: &Tx<'_>, network: &networks::Model, mut port: Model) -> Result<()> {
    let wanted = wanted(tx, &network.id, &port.host_id).await?;
    if wanted.is_empty() {
        return Box::pin(delete::remove(tx, &port)).await;
    }
    let wants = |fixed: &FixedIp| wanted.iter().any(|wish| wish.subnet_id.as_deref() == Some(&fixed.subnet_id));
    let (kept, gone): (Vec<FixedIp>, Vec<FixedIp>) = port.fixed_ips.0.iter().cloned().partition(wants);
    let has = |wish: &Wanted| kept.iter().any(|fixed| wish.subnet_id.as_deref() == Some(&fixed.subnet_id));
    let missing: Vec<Wanted> = wanted.iter().filter(|wish| !has(wish)).cloned().collect();
    ipam::release(tx, &port, &gone).await?;
    let new = if missing.is_empty() { Vec::new() } else { choose(tx, network, &port, Some(missing)).await? };
    ipam::record(tx, &port, &new).await?;
    port.fixed_ips.0 = kept.into_iter().chain(new).collect();
    save(tx.db, &mut port).await
}

/// Puts options into a port's: each replaces the one of its name and version, and one without a value takes it away.
pub fn merge_options(have: &mut Vec<DhcpOption>, new: Vec<DhcpOption>) {
    for option in new {
        have.retain(|old| old.opt_name != option.opt_name || old.ip_version != option.ip_version);
        if option.opt_value.is_some() {
            have.push(option);
        }
    }
}

/// The same on every try, so that two at once make one.
fn id(network: &str, host: &str) -> String {
    ids::derived("dhcp", &format!("{network}@{host}"))
}

/// An address of each subnet with DHCP, if its segment is one of the host's.
async fn wanted(tx: &Tx<'_>, network: &str, host: &str) -> Result<Vec<Wanted>> {
    let mut subnets = subnets::of(tx, network).await?;
    subnets.retain(|subnet| subnet.enable_dhcp);
    let wish = |subnet: subnets::Model| Wanted { subnet_id: Some(subnet.id), ip_address: None };
    Ok(subnets::usable_on(tx, host, subnets).await?.into_iter().map(wish).collect())
}
