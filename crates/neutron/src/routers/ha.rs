//! The network over which the hosts of a project's routers with `ha` would know of each other, as neutron shows it: one for each project that
//! has such a router, with a port for each host of each. It carries nothing here: the server decides who forwards, by the hosts' heartbeats.

use std::collections::BTreeSet;

use kit::clock::Timestamp;
use kit::db::Json;
use kit::{Error, Result, ids};

use super::{Model, standbys};
use crate::ports;
use crate::resource::{fetch, remove, with};
use crate::{Tx, networks, sql, subnets};

/// The owner of its ports.
pub const INTERFACE: &str = "network:router_ha_interface";
const CIDR: &str = "169.254.192.0/18";

/// Brings the ports of a router in line with the hosts that carry it.
pub async fn settle(tx: &Tx<'_>, router: &Model) -> Result<()> {
    let mut hosts = BTreeSet::new();
    if router.ha {
        hosts.extend(standbys(tx.db, &router.id).await?);
        hosts.extend([router.host.clone()].into_iter().filter(|host| !host.is_empty()));
    }
    let have = ports_of(tx, &router.id).await?;
    for host in hosts.iter().filter(|host| !have.iter().any(|port| port.host_id == **host)) {
        plug(tx, router, host).await?;
    }
    unplug(tx, have.into_iter().filter(|port| !hosts.contains(&port.host_id))).await
}

/// A router is gone, and so are its ports.
pub async fn gone(tx: &Tx<'_>, router: &str) -> Result<()> {
    unplug(tx, ports_of(tx, router).await?.into_iter()).await
}

async fn ports_of(tx: &Tx<'_>, router: &str) -> Result<Vec<ports::Model>> {
    let mut ports: Vec<ports::Model> = with(tx.db, "device_id", &[router.to_owned()]).await?;
    ports.retain(|port| port.device_owner == INTERFACE);
    Ok(ports)
}

async fn unplug(tx: &Tx<'_>, ports: impl Iterator<Item = ports::Model>) -> Result<()> {
    for port in ports {
        ports::remove(tx, &port).await?;
        abandon(tx, &port.network_id).await?;
    }
    Ok(())
}

async fn plug(tx: &Tx<'_>, router: &Model, host: &str) -> Result<()> {
    let network = network(tx, &router.project_id).await?;
    let mut port = ports::new(&network, "");
    port.name = format!("HA port tenant {}", router.project_id);
    port.device_id.clone_from(&router.id);
    port.device_owner = INTERFACE.into();
    port.host_id = host.to_owned();
    port.port_security_enabled = false;
    ports::insert_with(tx, &network, port, None, None).await.map(drop)
}

/// The project's network, which is made if there is none.
async fn network(tx: &Tx<'_>, project: &str) -> Result<networks::Model> {
    let id = ids::derived("ha network", project);
    if let Some(network) = fetch(tx.db, &id).await? {
        return Ok(network);
    }
    let own = networks::Model { id: id.clone(), ..networks::tenant(&tx.app, "", &format!("HA network tenant {project}")) };
    if let Some(network) = networks::make_own(tx, own).await? {
        subnets::make(tx, subnet(&network, project)?).await?;
        return Ok(network);
    }
    // another router of the project came with one in the meantime
    fetch(tx.db, &id).await?.ok_or_else(|| Error::internal("a network of HA routers is there and is not"))
}

fn subnet(network: &networks::Model, project: &str) -> Result<subnets::Model> {
    let net = CIDR.parse().map_err(|_| Error::internal("the prefix of HA networks is none"))?;
    let (_, pools) = subnets::plan(net, Some(None), None)?;
    let now = Timestamp::now();
    Ok(subnets::Model {
        id: ids::uuid(),
        project_id: String::new(),
        network_id: network.id.clone(),
        name: format!("HA subnet tenant {project}"),
        description: String::new(),
        ip_version: 4,
        cidr: CIDR.into(),
        gateway_ip: None,
        enable_dhcp: false,
        dns_nameservers: Json(Vec::new()),
        host_routes: Json(Vec::new()),
        allocation_pools: Json(pools),
        ipv6_ra_mode: None,
        ipv6_address_mode: None,
        service_types: Json(Vec::new()),
        subnetpool_id: None,
        dns_publish_fixed_ip: false,
        segment_id: None,
        tags: Json(Vec::new()),
        revision_number: 0,
        created_at: now,
        updated_at: now,
    })
}

/// The last port takes the network along.
async fn abandon(tx: &Tx<'_>, network: &str) -> Result<()> {
    if sql::exists(tx.db, "SELECT 1 FROM ports WHERE network_id = $1 LIMIT 1", [network.into()]).await? {
        return Ok(());
    }
    for subnet in with::<subnets::Model, _>(tx.db, "network_id", &[network.to_owned()]).await? {
        remove::<subnets::Model, _>(tx.db, &subnet.id).await?;
    }
    remove::<networks::Model, _>(tx.db, network).await
}
