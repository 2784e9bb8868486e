//! The port of a network's DHCP and metadata server on a host: there is one wherever the network has a guest and a subnet with DHCP.

use kit::Result;
use kit::ids;

use super::addresses::{Wanted, choose};
use super::{ACTIVE, DHCP, DhcpOption, FixedIp, Model, create, delete};
use crate::agents::Touched;
use crate::resource::{fetch, locked, save, with};
use crate::{Tx, ipam, networks, sql, subnets};

/// Makes the port of a network on a host, if it shall have one and has none.
pub async fn ensure(tx: &Tx<'_>, network: &networks::Model, host: &str) -> Result<()> {
    let id = id(&network.id, host);
    if fetch::<Model, _>(tx.db, &id).await?.is_some() {
        return Ok(());
    }
    // two guests may come to a host at once: the second waits here and finds the port of the first
    locked::<networks::Model, _>(tx.db, &network.id).await?;
    let wanted = wanted(tx, &network.id).await?;
    if wanted.is_empty() || fetch::<Model, _>(tx.db, &id).await?.is_some() {
        return Ok(());
    }
    let mut port = create::new(network, &network.project_id);
    port.device_id = format!("dhcp{}-{}", ids::derived("host", host), network.id);
    port.id = id;
    port.device_owner = DHCP.into();
    port.host_id = host.to_owned();
    port.status = ACTIVE.into();
    create::insert_with(tx, network, port, None, Some(wanted)).await?;
    tx.touch(Touched::Network(network.id.clone()));
    Ok(())
}

/// Removes the port of a network on a host when the last guest is gone.
pub async fn prune(tx: &Tx<'_>, network: &str, host: &str) -> Result<()> {
    let guests = "SELECT 1 FROM ports WHERE host_id = $1 AND network_id = $2 AND device_owner NOT LIKE 'network:%' LIMIT 1";
    if sql::exists(tx.db, guests, [host.into(), network.into()]).await? {
        return Ok(());
    }
    if let Some(port) = fetch::<Model, _>(tx.db, &id(network, host)).await? {
        Box::pin(delete::remove(tx, &port)).await?;
        tx.touch(Touched::Network(network.to_owned()));
    }
    Ok(())
}

/// Brings a network's ports in line with its subnets: one address of each subnet with DHCP.
pub async fn refresh(tx: &Tx<'_>, network: &str) -> Result<()> {
    let Some(network) = fetch::<networks::Model, _>(tx.db, network).await? else { return Ok(()) };
    let hosts = "SELECT DISTINCT host_id FROM ports WHERE network_id = $1 AND host_id <> '' AND device_owner NOT LIKE 'network:%'";
    for host in sql::texts(tx.db, hosts, [network.id.as_str().into()]).await? {
        match fetch::<Model, _>(tx.db, &id(&network.id, &host)).await? {
            None => ensure(tx, &network, &host).await?,
            Some(port) => change(tx, &network, port).await?,
        }
    }
    Ok(())
}

async fn change(tx: &Tx<'_>, network: &networks::Model, mut port: Model) -> Result<()> {
    let wanted = wanted(tx, &network.id).await?;
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

async fn wanted(tx: &Tx<'_>, network: &str) -> Result<Vec<Wanted>> {
    let subnets: Vec<subnets::Model> = with(tx.db, "network_id", &[network.to_owned()]).await?;
    let wish = |subnet: subnets::Model| Wanted { subnet_id: Some(subnet.id), ip_address: None };
    Ok(subnets.into_iter().filter(|subnet| subnet.enable_dhcp).map(wish).collect())
}
