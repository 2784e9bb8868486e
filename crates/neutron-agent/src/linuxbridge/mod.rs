//! Layer 2 of the host: a bridge for each network, taps put into them, and the firewall on every tap. Its rules are always there before the
//! tap is in the bridge, and stay until it has left.

pub mod external;
pub mod firewall;
pub mod numbers;
pub mod peers;
pub mod plan;

use std::collections::BTreeMap;

use crate::Result;
use crate::host::netlink::{Link, LinkChange, Netlink};
use crate::host::{link, sysctl};
use plan::Step;

/// Take the steps. One that fails is logged and the others are taken; answers whether all went well.
pub async fn carry_out(host: &Netlink, links: &BTreeMap<String, Link>, steps: &[Step]) -> bool {
    let mut well = true;
    for step in steps {
        tracing::debug!(?step, "wiring");
        if let Err(error) = take(host, links, step).await {
            tracing::warn!(?step, %error, "wiring failed");
            well = false;
        }
    }
    well
}

async fn take(host: &Netlink, links: &BTreeMap<String, Link>, step: &Step) -> Result<()> {
    match step {
        Step::Release(name) => match links.get(name) {
            Some(link) => host.change(link, LinkChange { master: Some(0), up: Some(false), ..LinkChange::default() }).await,
            None => Ok(()),
        },
        Step::Delete(name) => host.delete(name).await,
        Step::AddBridge(name, mtu) => {
            host.add_bridge(name, *mtu).await?;
            sysctl::no_ipv6(name);
            Ok(())
        }
        Step::FilterBridge(name) => match links.get(name) {
            Some(link) => host.filter_bridge(link).await,
            None => Ok(()),
        },
        Step::SetBridge(name, mtu) => match host.link(name).await? {
            Some(link) => host.change(&link, LinkChange { mtu: Some(*mtu), up: Some(true), ..LinkChange::default() }).await,
            None => Ok(()),
        },
        Step::AddDevice(name, device, mtu) => host.add_device(name, device, *mtu).await,
        Step::Attach(name, place) => link::attach(host, name, &place.bridge, place.mtu).await.map(|_| ()),
        Step::Suppress(name, on) => match host.link(name).await? {
            Some(link) => host.suppress(&link, *on).await,
            None => Ok(()),
        },
    }
}
