//! What carries a network: which provider network, or which VXLAN id or VLAN tag, each used once in the cloud. A number that is not asked for
//! is chosen from the configured ranges.

use std::str::FromStr;

use kit::Result;
use serde::Deserialize;

use super::{Model, TYPES};
use crate::attributes::Checked;
use crate::fault::{bad_request, conflict, invalid_input};
use crate::{App, Tx, sql};

const LARGEST_VNI: i64 = 16_777_215;
const LARGEST_VLAN: i64 = 4094;
/// VLAN tags of a physical network that are given out when none is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VlanRange {
    pub physical_network: String,
    pub first: i64,
    pub last: i64,
}

impl FromStr for VlanRange {
    type Err = String;

    /// `physnet1:100:199`, or `physnet1` for all tags.
    fn from_str(text: &str) -> std::result::Result<VlanRange, String> {
        let refuse = || format!("{text} is no range of VLAN tags: it should be like physnet1:100:199");
        let mut parts = text.split(':');
        let physical_network = parts.next().filter(|name| !name.is_empty()).ok_or_else(refuse)?.to_owned();
        let numbers = parts.map(|part| part.parse().map_err(|_| refuse())).collect::<std::result::Result<Vec<i64>, String>>()?;
        let (first, last) = match numbers.as_slice() {
            [] => (1, LARGEST_VLAN),
            [first, last] if 1 <= *first && first <= last && *last <= LARGEST_VLAN => (*first, *last),
            _ => return Err(refuse()),
        };
        Ok(VlanRange { physical_network, first, last })
    }
}

/// Bytes that VXLAN puts around a frame.
const VXLAN_OVERHEAD: i64 = 50;
/// How often a number that was just taken by another is tried again.
const ATTEMPTS: usize = 64;

/// What projects' networks are when nothing was said.
pub const TENANT: &str = "vxlan";

/// The largest MTU that the carrier of a type of network allows.
pub fn largest_mtu(app: &App, kind: &str) -> i64 {
    i64::from(app.config().physical_mtu) - if kind == "vxlan" { VXLAN_OVERHEAD } else { 0 }
}

/// What a request says of it.
#[derive(Debug, Default, PartialEq, Deserialize)]
pub struct Wanted {
    #[serde(rename = "provider:network_type")]
    network_type: Option<String>,
    #[serde(rename = "provider:physical_network")]
    physical_network: Option<String>,
    #[serde(rename = "provider:segmentation_id")]
    segmentation_id: Option<i64>,
}

impl Wanted {
    /// As attributes of the network, or as the one segment it has.
    pub fn of(checked: &Checked) -> Result<Wanted> {
        let whole = Wanted {
            network_type: checked.get("provider:network_type")?,
            physical_network: checked.get::<Option<String>>("provider:physical_network")?.flatten(),
            segmentation_id: checked.get("provider:segmentation_id")?,
        };
        let mut segments: Vec<Wanted> = checked.or("segments", Vec::new())?;
        match (segments.pop(), segments.is_empty()) {
            (None, _) => Ok(whole),
            (Some(_), _) if whole != Wanted::default() => {
                Err(bad_request("SegmentsSetInConjunctionWithProviders", "Segments and provider values cannot both be set."))
            }
            (Some(only), true) => Ok(only),
            (Some(_), false) => Err(invalid_input("A network has one segment here")),
        }
    }

    /// What carries a network stays as it is; saying so again is no change.
    pub fn check_same(self, network: &Model) -> Result<()> {
        let stays = |wanted: bool| if wanted { Ok(()) } else { Err(unchangeable()) };
        stays(self.network_type.is_none_or(|kind| kind == network.network_type))?;
        stays(self.physical_network.is_none_or(|physical| Some(physical) == network.physical_network))?;
        stays(self.segmentation_id.is_none_or(|id| Some(id) == network.segmentation_id))
    }

    /// Puts it into the network, with the MTU it allows; numbers that are not asked for are chosen when the network is inserted.
    pub fn apply(self, app: &App, network: &mut Model, mtu: Option<i64>) -> Result<()> {
        let kind = self.network_type.unwrap_or_else(|| TENANT.into());
        if !TYPES.contains(&kind.as_str()) {
            return Err(invalid_input(format!("network_type value '{kind}' not supported")));
        }
        if self.physical_network.is_some() && matches!(kind.as_str(), "vxlan" | "local") {
            return Err(invalid_input(format!("provider:physical_network specified for {} network", kind.to_uppercase())));
        }
        match (kind.as_str(), self.physical_network) {
            ("flat", None) => return Err(invalid_input("physical_network required for flat provider network")),
            ("vlan", None) if self.segmentation_id.is_some() => {
                return Err(invalid_input("segmentation_id requires physical_network for VLAN provider network"));
            }
            (_, Some(physical)) if !app.config().physical_networks.contains(&physical) => {
                return Err(invalid_input(format!("physical_network '{physical}' unknown for {kind} provider network")));
            }
            (_, physical) => network.physical_network = physical,
        }
        network.segmentation_id = match (kind.as_str(), self.segmentation_id) {
            ("vlan", Some(id)) if id > LARGEST_VLAN => {
                return Err(invalid_input(format!("segmentation_id out of range (1 through {LARGEST_VLAN})")));
            }
            ("flat" | "local", Some(_)) => return Err(invalid_input(format!("segmentation_id prohibited for {kind} provider network"))),
            (_, id) => id,
        };
        let largest = largest_mtu(app, &kind);
        network.mtu = match mtu {
            None | Some(0) => largest,
            Some(mtu) if mtu > largest => return Err(invalid_input(format!("Requested MTU is too big, maximum is {largest}"))),
            Some(mtu) => mtu,
        };
        network.network_type = kind;
        Ok(())
    }
}

fn unchangeable() -> kit::Error {
    let attributes = "provider:network_type, provider:physical_network, provider:segmentation_id";
    invalid_input(format!("Plugin does not support updating the following provider network attributes: {attributes}"))
}

/// Takes the segment for a network that is inserted, choosing a number if none is asked for.
pub async fn take(tx: &Tx<'_>, network: &mut Model) -> Result<()> {
    match (network.network_type.as_str(), network.segmentation_id) {
        ("local", _) => Ok(()),
        ("vxlan", None) => match choose(tx, network, 1, LARGEST_VNI).await? {
            true => chosen(tx, network).await,
            false => Err(none_left()),
        },
        ("vlan", None) => choose_vlan(tx, network).await,
        ("flat", _) => {
            if claim(tx, network, 0).await? {
                return Ok(());
            }
            let physical = network.physical_network.clone().unwrap_or_default();
            Err(conflict("FlatNetworkInUse", format!("Unable to create the flat network. Physical network {physical} is in use.")))
        }
        (kind, id) => {
            let id = id.unwrap_or_default();
            if claim(tx, network, id).await? {
                return Ok(());
            }
            if kind == "vlan" {
                let physical = network.physical_network.clone().unwrap_or_default();
                let message = format!("Unable to create the network. The VLAN {id} on physical network {physical} is in use.");
                return Err(conflict("VlanIdInUse", message));
            }
            Err(conflict("TunnelIdInUse", format!("Unable to create the network. The tunnel ID {id} is in use.")))
        }
    }
}

/// A free tag of the physical network, or of any when none is asked for.
async fn choose_vlan(tx: &Tx<'_>, network: &mut Model) -> Result<()> {
    let wanted = network.physical_network.clone();
    for range in &tx.config().vlan_ranges {
        if wanted.as_ref().is_none_or(|wanted| *wanted == range.physical_network) {
            network.physical_network = Some(range.physical_network.clone());
            if choose(tx, network, range.first, range.last).await? {
                return chosen(tx, network).await;
            }
        }
    }
    Err(none_left())
}

/// Claims a number of a range: the one after the newest, and when that is the last one, the first that is free.
async fn choose(tx: &Tx<'_>, network: &mut Model, first: i64, last: i64) -> Result<bool> {
    let newest = "SELECT MAX(segmentation_id) FROM segments WHERE network_type = $1 AND physical_network = $2 \
                  AND segmentation_id BETWEEN $3 AND $4";
    let gap = "SELECT MIN(c) FROM (SELECT CAST($3 AS BIGINT) AS c UNION SELECT segmentation_id + 1 FROM segments \
               WHERE network_type = $1 AND physical_network = $2 AND segmentation_id >= $3 AND segmentation_id < $4) x \
               WHERE NOT EXISTS (SELECT 1 FROM segments s WHERE s.network_type = $1 AND s.physical_network = $2 AND s.segmentation_id = x.c)";
    let physical = network.physical_network.clone().unwrap_or_default();
    let kind = network.network_type.clone();
    let values = || [kind.as_str().into(), physical.as_str().into(), first.into(), last.into()];
    for _ in 0..ATTEMPTS {
        let mut id = Ord::max(sql::number(tx.db, newest, values()).await? + 1, first);
        if id > last {
            id = sql::number(tx.db, gap, values()).await?;
        }
        if id == 0 {
            return Ok(false);
        }
        if claim(tx, network, id).await? {
            network.segmentation_id = Some(id);
            return Ok(true);
        }
    }
    Ok(false)
}

/// Writes down what was chosen.
async fn chosen(tx: &Tx<'_>, network: &Model) -> Result<()> {
    let update = "UPDATE networks SET segmentation_id = $1, physical_network = $2 WHERE id = $3";
    let values = [network.segmentation_id.into(), network.physical_network.clone().into(), network.id.as_str().into()];
    sql::execute(tx.db, update, values).await.map(drop)
}

fn none_left() -> kit::Error {
    kit::Error::unavailable("Unable to create the network. No tenant network is available for allocation.").code("NoNetworkAvailable")
}

async fn claim(tx: &Tx<'_>, network: &Model, id: i64) -> Result<bool> {
    let insert =
        "INSERT INTO segments (network_type, physical_network, segmentation_id, network_id) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
    let physical = network.physical_network.as_deref().unwrap_or_default();
    let values = [network.network_type.as_str().into(), physical.into(), id.into(), network.id.as_str().into()];
    Ok(sql::execute(tx.db, insert, values).await? > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_written_as_neutron_writes_them() {
        let range = |text: &str| text.parse::<VlanRange>().map(|range| (range.physical_network, range.first, range.last));
        assert_eq!(range("physnet1:100:199"), Ok(("physnet1".into(), 100, 199)));
        assert_eq!(range("physnet1"), Ok(("physnet1".into(), 1, 4094)));
        for wrong in ["", ":1:2", "p:1", "p:0:5", "p:5:4", "p:1:4095", "p:a:b", "p:1:2:3"] {
            assert!(range(wrong).is_err(), "{wrong}");
        }
    }
}
