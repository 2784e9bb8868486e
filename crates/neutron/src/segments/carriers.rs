//! What a network, or a segment of it, may be carried by: which provider network, which VXLAN id or VLAN tag, as requests say it. What they
//! leave open is chosen when the segment is made.

use std::str::FromStr;

use kit::Result;
use serde::Deserialize;

use crate::App;
use crate::attributes::Checked;
use crate::fault::{bad_request, invalid_input};

pub const LARGEST_VNI: i64 = 16_777_215;
pub const LARGEST_VLAN: i64 = 4094;

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

/// What projects' networks are when nothing was said.
pub const TENANT: &str = "vxlan";

const TYPES: &[&str] = &["flat", "vlan", "vxlan", "local"];

/// The largest MTU that the carrier of a type of network allows.
pub fn largest_mtu(app: &App, kind: &str) -> i64 {
    i64::from(app.config().physical_mtu) - if kind == "vxlan" { VXLAN_OVERHEAD } else { 0 }
}

/// What carries a network, or a part of it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Carrier {
    /// `flat`, `vlan`, `vxlan` or `local`
    #[serde(rename = "provider:network_type", default)]
    pub network_type: String,
    #[serde(rename = "provider:physical_network")]
    pub physical_network: Option<String>,
    /// The VXLAN id or VLAN tag; chosen when it is not asked for.
    #[serde(rename = "provider:segmentation_id")]
    pub segmentation_id: Option<i64>,
}

impl Carrier {
    /// What a request for a network says, as attributes of the network or as its segments; nothing when it says nothing.
    pub fn wanted(app: &App, checked: &Checked) -> Result<Vec<Carrier>> {
        let whole = Carrier::of_attributes(checked)?;
        let mut carriers: Vec<Carrier> = checked.or("segments", Vec::new())?;
        if whole != Carrier::default() {
            if !carriers.is_empty() {
                return Err(bad_request("SegmentsSetInConjunctionWithProviders", "Segments and provider values cannot both be set."));
            }
            carriers.push(whole);
        }
        carriers.iter().try_for_each(|carrier| carrier.check(app))?;
        for (index, carrier) in carriers.iter().enumerate() {
            let whole = carrier.segmentation_id.is_some() || matches!(carrier.network_type.as_str(), "flat" | "local");
            if whole && carriers.iter().take(index).any(|earlier| earlier == carrier) {
                return Err(bad_request("SegmentsContainDuplicateEntry", "Duplicate segment entry in request."));
            }
        }
        Ok(carriers)
    }

    fn of_attributes(checked: &Checked) -> Result<Carrier> {
        Ok(Carrier {
            network_type: checked.text("provider:network_type")?,
            physical_network: checked.get::<Option<String>>("provider:physical_network")?.flatten().filter(|name| !name.is_empty()),
            segmentation_id: checked.get("provider:segmentation_id")?,
        })
    }

    /// What carries a network stays as it is; saying so again is no change.
    pub fn check_same(&self, checked: &Checked) -> Result<()> {
        let wanted = Carrier::of_attributes(checked)?;
        let kind = wanted.network_type.is_empty() || wanted.network_type == self.network_type;
        let physical = wanted.physical_network.is_none() || wanted.physical_network == self.physical_network;
        let number = wanted.segmentation_id.is_none() || wanted.segmentation_id == self.segmentation_id;
        if kind && physical && number {
            return Ok(());
        }
        let attributes = "provider:network_type, provider:physical_network, provider:segmentation_id";
        Err(invalid_input(format!("Plugin does not support updating the following provider network attributes: {attributes}")))
    }

    /// Whether there can be such a one.
    pub fn check(&self, app: &App) -> Result<()> {
        let kind = self.network_type.as_str();
        if kind.is_empty() {
            return Err(invalid_input("network_type required"));
        }
        if !TYPES.contains(&kind) {
            return Err(invalid_input(format!("network_type value '{kind}' not supported")));
        }
        match (kind, &self.physical_network) {
            ("vxlan", Some(_)) => return Err(invalid_input(format!("provider:physical_network specified for {kind} network"))),
            ("local", Some(_)) => return Err(invalid_input("physical_network prohibited for local provider network")),
            ("flat", None) => return Err(invalid_input("physical_network required for flat provider network")),
            ("vlan", None) if self.segmentation_id.is_some() => {
                return Err(invalid_input("segmentation_id requires physical_network for VLAN provider network"));
            }
            (_, Some(physical)) if !app.config().physical_networks.contains(physical) => {
                let kind = if kind == "vlan" { "VLAN" } else { kind };
                return Err(invalid_input(format!("physical_network '{physical}' unknown for {kind} provider network")));
            }
            _ => {}
        }
        match (kind, self.segmentation_id) {
            ("vlan", Some(id)) if !(1..=LARGEST_VLAN).contains(&id) => {
                Err(invalid_input(format!("segmentation_id out of range (1 through {LARGEST_VLAN})")))
            }
            ("vxlan", Some(id)) if !(1..=LARGEST_VNI).contains(&id) => {
                Err(invalid_input(format!("segmentation_id out of range (1 through {LARGEST_VNI})")))
            }
            ("flat" | "local", Some(_)) => Err(invalid_input(format!("segmentation_id prohibited for {kind} provider network"))),
            _ => Ok(()),
        }
    }
}

/// The MTU of a network on these carriers: the one asked for, or the largest that all allow.
pub fn mtu(app: &App, carriers: &[Carrier], wanted: Option<i64>) -> Result<i64> {
    let largest = carriers.iter().map(|carrier| largest_mtu(app, &carrier.network_type)).min();
    let largest = largest.unwrap_or_else(|| largest_mtu(app, TENANT));
    match wanted {
        None | Some(0) => Ok(largest),
        Some(mtu) if mtu > largest => Err(invalid_input(format!("Requested MTU is too big, maximum is {largest}"))),
        Some(mtu) => Ok(mtu),
    }
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
