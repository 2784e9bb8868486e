//! Ports of networks whose subnets are each on one segment: which addresses they may have follows from their host, so that one without a host
//! waits for its addresses until it has one.

use kit::Result;

use super::{Model, choose};
use crate::fault::conflict;
use crate::resource::with;
use crate::{Tx, ipam, networks, subnets};

/// Whether a port that asks for no certain addresses has to wait for them.
pub fn waits(port: &Model, subnets: &[subnets::Model]) -> bool {
    port.host_id.is_empty() && subnets.iter().any(|subnet| subnet.segment_id.is_some())
}

/// Of a network's subnets those that the port may have addresses of.
pub async fn usable(tx: &Tx<'_>, network: &networks::Model, port: &Model, subnets: Vec<subnets::Model>) -> Result<Vec<subnets::Model>> {
    if port.host_id.is_empty() || subnets.is_empty() {
        return Ok(subnets);
    }
    let usable = subnets::usable_on(tx, &port.host_id, subnets).await?;
    if usable.is_empty() {
        let message = format!(
            "Host {} is not connected to any segments on routed provider network '{}'.  It should be connected to one.",
            port.host_id, network.id
        );
        return Err(conflict("HostNotConnectedToAnySegment", message));
    }
    Ok(usable)
}

/// The port came to a host: addresses that waited for that are chosen, those it has must be usable there.
pub async fn settle(tx: &Tx<'_>, network: &networks::Model, before: &Model, port: &mut Model) -> Result<()> {
    if port.host_id.is_empty() || port.host_id == before.host_id {
        return Ok(());
    }
    if port.deferred && port.fixed_ips.0.is_empty() {
        port.fixed_ips.0 = choose(tx, network, port, None).await?;
        return ipam::record(tx, port, &port.fixed_ips.0).await;
    }
    let of: Vec<String> = port.fixed_ips.0.iter().map(|fixed| fixed.subnet_id.clone()).collect();
    let has: Vec<subnets::Model> = with(tx.db, "id", &of).await?;
    let count = has.len();
    if subnets::usable_on(tx, &port.host_id, has).await?.len() == count {
        return Ok(());
    }
    let message = format!(
        "Host {} is not connected to a segment where the existing fixed_ips on port {} will function given the routed network topology.",
        port.host_id, port.id
    );
    Err(conflict("HostNotCompatibleWithFixedIps", message))
}
