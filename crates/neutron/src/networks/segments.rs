//! What carries a network: which provider network, or which VXLAN id, each used once in the cloud.

use kit::Result;
use serde::Deserialize;

use super::Model;
use crate::attributes::Checked;
use crate::fault::{conflict, invalid_input};
use crate::{App, Tx, sql};

const LARGEST_VNI: i64 = 16_777_215;
const LARGEST_VLAN: i64 = 4094;
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
#[derive(Debug, Default, Deserialize)]
pub struct Wanted {
    network_type: Option<String>,
    physical_network: Option<String>,
    segmentation_id: Option<i64>,
}

impl Wanted {
    pub fn of(checked: &Checked) -> Result<Wanted> {
        Ok(Wanted {
            network_type: checked.get("provider:network_type")?,
            physical_network: checked.get::<Option<String>>("provider:physical_network")?.flatten(),
            segmentation_id: checked.get("provider:segmentation_id")?,
        })
    }

    /// Puts it into the network, with the MTU it allows; the number of a VXLAN is chosen when the network is inserted.
    pub fn apply(self, app: &App, network: &mut Model, mtu: Option<i64>) -> Result<()> {
        let kind = self.network_type.unwrap_or_else(|| TENANT.into());
        if self.physical_network.is_some() && matches!(kind.as_str(), "vxlan" | "local") {
            return Err(invalid_input(format!("provider:physical_network specified for {} network", kind.to_uppercase())));
        }
        match kind.as_str() {
            "flat" | "vlan" => {
                let physical =
                    self.physical_network.ok_or_else(|| invalid_input(format!("physical_network required for {kind} provider network")))?;
                if !app.config().physical_networks.contains(&physical) {
                    return Err(invalid_input(format!("physical_network '{physical}' unknown for {kind} provider network")));
                }
                network.physical_network = Some(physical);
            }
            _ => {}
        }
        network.segmentation_id = match (kind.as_str(), self.segmentation_id) {
            ("vlan", None) => return Err(invalid_input("segmentation_id required for vlan provider network")),
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

/// Takes the segment for a network that is inserted, choosing a VXLAN id if none is asked for.
pub async fn take(tx: &Tx<'_>, network: &mut Model) -> Result<()> {
    match (network.network_type.as_str(), network.segmentation_id) {
        ("local", _) => Ok(()),
        ("vxlan", None) => choose(tx, network).await,
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
            let code = if kind == "vlan" { "VlanIdInUse" } else { "TunnelIdInUse" };
            Err(conflict(code, format!("Unable to create the network. The tunnel ID {id} is in use.")))
        }
    }
}

async fn choose(tx: &Tx<'_>, network: &mut Model) -> Result<()> {
    let newest = "SELECT MAX(segmentation_id) FROM segments WHERE network_type = 'vxlan' AND physical_network = ''";
    let mut id = sql::number(tx.db, newest, []).await? + 1;
    for _ in 0..ATTEMPTS {
        if id > LARGEST_VNI {
            id = rand::random_range(1..=LARGEST_VNI);
        }
        if claim(tx, network, id).await? {
            network.segmentation_id = Some(id);
            return sql::execute(tx.db, "UPDATE networks SET segmentation_id = $1 WHERE id = $2", [id.into(), network.id.as_str().into()])
                .await
                .map(drop);
        }
        id += 1;
    }
    Err(kit::Error::unavailable("Unable to create the network. No tenant network is available for allocation.").code("NoNetworkAvailable"))
}

async fn claim(tx: &Tx<'_>, network: &Model, id: i64) -> Result<bool> {
    let insert =
        "INSERT INTO segments (network_type, physical_network, segmentation_id, network_id) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
    let physical = network.physical_network.as_deref().unwrap_or_default();
    let values = [network.network_type.as_str().into(), physical.into(), id.into(), network.id.as_str().into()];
    Ok(sql::execute(tx.db, insert, values).await? > 0)
}
