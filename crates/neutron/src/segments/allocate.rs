//! Takes carriers for segments, each of which is used once in the cloud. A number that is not asked for is chosen from the ranges that are open
//! to the network's project.

use kit::Result;

use super::carriers::Carrier;
use super::{Model, ranges};
use crate::fault::conflict;
use crate::resource::insert;
use crate::{Tx, sql};

/// How often a number that was just taken by another is tried again.
const ATTEMPTS: usize = 64;

/// Makes a segment of a network of this project, choosing a number if none is asked for.
pub async fn take(tx: &Tx<'_>, project: &str, segment: Model) -> Result<Model> {
    let carrier = segment.carrier();
    match (carrier.network_type.as_str(), carrier.segmentation_id) {
        ("vxlan" | "vlan", None) => choose(tx, project, segment).await?.ok_or_else(none_left),
        _ if insert(tx.db, &segment).await? => Ok(segment),
        _ => Err(in_use(&carrier)),
    }
}

fn in_use(carrier: &Carrier) -> kit::Error {
    let physical = carrier.physical_network.as_deref().unwrap_or_default();
    let id = carrier.segmentation_id.unwrap_or_default();
    match carrier.network_type.as_str() {
        "flat" => conflict("FlatNetworkInUse", format!("Unable to create the flat network. Physical network {physical} is in use.")),
        "vlan" => {
            let message = format!("Unable to create the network. The VLAN {id} on physical network {physical} is in use.");
            conflict("VlanIdInUse", message)
        }
        _ => conflict("TunnelIdInUse", format!("Unable to create the network. The tunnel ID {id} is in use.")),
    }
}

fn none_left() -> kit::Error {
    kit::Error::unavailable("Unable to create the network. No tenant network is available for allocation.").code("NoNetworkAvailable")
}

/// With a free number of the physical network, or of any when none is asked for.
async fn choose(tx: &Tx<'_>, project: &str, mut segment: Model) -> Result<Option<Model>> {
    let wanted = segment.physical_network.clone();
    for open in ranges::open_to(tx, project, &segment.network_type).await? {
        if wanted.is_empty() || wanted == open.physical_network {
            segment.physical_network = open.physical_network;
            if within(tx, &mut segment, open.first, open.last).await? {
                return Ok(Some(segment));
            }
        }
    }
    Ok(None)
}

/// Takes a number of a range: the one after the newest, and when that is the last one, the first that is free.
async fn within(tx: &Tx<'_>, segment: &mut Model, first: i64, last: i64) -> Result<bool> {
    let newest = "SELECT MAX(segmentation_id) FROM network_segments WHERE network_type = $1 AND physical_network = $2 \
                  AND segmentation_id BETWEEN $3 AND $4 AND network_type <> 'local'";
    let gap = "SELECT MIN(c) FROM (SELECT CAST($3 AS BIGINT) AS c UNION SELECT segmentation_id + 1 FROM network_segments \
               WHERE network_type = $1 AND physical_network = $2 AND segmentation_id >= $3 AND segmentation_id < $4 \
               AND network_type <> 'local') x WHERE NOT EXISTS (SELECT 1 FROM network_segments s WHERE s.network_type = $1 \
               AND s.physical_network = $2 AND s.segmentation_id = x.c AND s.network_type <> 'local')";
    let values =
        |segment: &Model| [segment.network_type.as_str().into(), segment.physical_network.as_str().into(), first.into(), last.into()];
    for _ in 0..ATTEMPTS {
        let mut id = Ord::max(sql::number(tx.db, newest, values(segment)).await? + 1, first);
        if id > last {
            id = sql::number(tx.db, gap, values(segment)).await?;
        }
        if id == 0 {
            return Ok(false);
        }
        segment.segmentation_id = id;
        if insert(tx.db, segment).await? {
            return Ok(true);
        }
    }
    Ok(false)
}
