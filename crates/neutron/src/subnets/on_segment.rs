//! Subnets of one segment each: on a network that routers of the operator's make of several, ports have addresses of the segment that their
//! host is joined to. Of a network's subnets all are such, or none.

use std::collections::HashSet;

use kit::Result;

use super::Model;
use crate::Tx;
use crate::agents::Reach;
use crate::fault::bad_request;
use crate::resource::{fetch, missing, with};
use crate::segments;

/// Whether a subnet may be of the segment it names, beside the network's other subnets.
pub async fn check(tx: &Tx<'_>, subnet: &Model, others: &[Model]) -> Result<()> {
    if let Some(id) = &subnet.segment_id {
        let segment: Option<segments::Model> = fetch(tx.db, id).await?;
        let segment = segment.ok_or_else(|| missing::<segments::Model>(id))?;
        if segment.network_id != subnet.network_id {
            let message = format!("The subnet's network id, '{}', doesn't match the network_id of segment '{id}'", subnet.network_id);
            return Err(bad_request("NetworkIdsDontMatch", message));
        }
    }
    if others.iter().any(|other| other.id != subnet.id && other.segment_id.is_some() != subnet.segment_id.is_some()) {
        let message = format!(
            "All of the subnets on network '{}' must either all be associated with segments or all not associated with any segment.",
            subnet.network_id
        );
        return Err(bad_request("SubnetsNotAllAssociatedWithSegments", message));
    }
    Ok(())
}

/// A subnet of no segment becomes one of its network's only segment.
pub async fn check_change(tx: &Tx<'_>, before: &Model, subnet: &Model) -> Result<()> {
    if before.segment_id == subnet.segment_id {
        return Ok(());
    }
    if before.segment_id.is_some() {
        let message = "A subnet that is already associated with a segment cannot have its segment association changed.";
        return Err(bad_request("SubnetSegmentAssociationChangeNotAllowed", message));
    }
    if segments::of(tx.db, std::slice::from_ref(&subnet.network_id)).await?.values().any(|all| all.len() > 1) {
        let message = format!(
            "The network '{}' has multiple segments, it is only possible to associate an existing subnet with a segment on networks with a \
             single segment.",
            subnet.network_id
        );
        return Err(bad_request("NoUpdateSubnetWhenMultipleSegmentsOnNetwork", message));
    }
    check(tx, subnet, &self::of(tx, &subnet.network_id).await?).await
}

/// The subnets of a network.
pub async fn of(tx: &Tx<'_>, network: &str) -> Result<Vec<Model>> {
    with(tx.db, "network_id", &[network.to_owned()]).await
}

/// Those of which a host's ports may have addresses.
pub async fn usable_on(tx: &Tx<'_>, host: &str, subnets: Vec<Model>) -> Result<Vec<Model>> {
    let named: Vec<String> = subnets.iter().filter_map(|subnet| subnet.segment_id.clone()).collect();
    if named.is_empty() {
        return Ok(subnets);
    }
    let reach = Reach::read(tx.db).await?;
    let segments: Vec<segments::Model> = with(tx.db, "id", &named).await?;
    let joined: HashSet<&str> = segments.iter().filter(|segment| reach.joins(host, segment)).map(|segment| segment.id.as_str()).collect();
    let usable = |subnet: &Model| subnet.segment_id.as_deref().is_none_or(|segment| joined.contains(segment));
    Ok(subnets.into_iter().filter(usable).collect())
}
