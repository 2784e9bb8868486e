//! Layer 2 of the host: a bridge for each network, taps put into them, and the firewall on every tap. Its rules are always there before the
//! tap is in the bridge, and stay until it has left.

pub mod external;
pub mod firewall;
pub mod numbers;
pub mod peers;
pub mod plan;
pub mod shaping;

use std::collections::BTreeMap;

use futures::{StreamExt, stream};

use crate::Result;
use crate::host::netlink::{Link, LinkChange, Netlink};
use crate::host::{link, sysctl};
use plan::Step;

/// Links that are put into bridges at once.
const AT_ONCE: usize = 32;

/// Take the steps: what is made and removed in order, then what is put into bridges side by side, then the rest. One that fails is logged and
/// the others are taken; answers whether all went well.
pub async fn carry_out(host: &Netlink, links: &BTreeMap<String, Link>, steps: Vec<Step>) -> bool {
    let (last, steps): (Vec<Step>, Vec<Step>) = steps.into_iter().partition(|step| matches!(step, Step::Suppress(..)));
    let (attached, first): (Vec<Step>, Vec<Step>) = steps.into_iter().partition(|step| matches!(step, Step::Attach(..)));
    let mut well = true;
    for step in first {
        well &= try_to_take(host, links, step).await;
    }
    let attached = stream::iter(attached).map(|step| try_to_take(host, links, step));
    well &= attached.buffer_unordered(AT_ONCE).all(std::future::ready).await;
    for step in last {
        well &= try_to_take(host, links, step).await;
    }
    well
}

async fn try_to_take(host: &Netlink, links: &BTreeMap<String, Link>, step: Step) -> bool {
    tracing::debug!(?step, "wiring");
    let taken = take(host, links, &step).await;
    taken.inspect_err(|error| tracing::warn!(?step, %error, "wiring failed")).is_ok()
}

async fn take(host: &Netlink, links: &BTreeMap<String, Link>, step: &Step) -> Result<()> {
    match step {
        Step::Release(name) => match links.get(name) {
            Some(link) => host.change(link, LinkChange { master: Some(0), up: Some(false), ..LinkChange::default() }).await,
            None => Ok(()),
        },
        Step::Delete(name) => host.delete(name).await,
        Step::AddBridge(name) => {
            host.add_bridge(name).await?;
            sysctl::mute_ipv6(name);
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
        // What was made just now is not among the links that were found.
        Step::Attach(name, place) => match (links.get(name).filter(|_| place.made.is_none()), links.get(&place.bridge)) {
            (Some(link), Some(bridge)) => link::put(host, link, bridge, place.mtu).await.map(|_| ()),
            _ => link::attach(host, name, &place.bridge, place.mtu).await.map(|_| ()),
        },
        Step::Suppress(name, on) => match host.link(name).await? {
            Some(link) => host.suppress(&link, *on).await,
            None => Ok(()),
        },
    }
}
