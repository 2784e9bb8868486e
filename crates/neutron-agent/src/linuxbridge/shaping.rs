//! Bandwidth limits of ports by traffic control: what goes to a guest waits at its tap, what a guest sends takes a detour by a link of its own,
//! where it waits, before it comes in by the tap. Where the kernel lacks what this needs, [`super::firewall::limits`] drops what exceeds.

use std::collections::BTreeMap;

use rpc::compute::tap_name;
use rpc::network::{BandwidthLimit, Port};

use crate::desired::Desired;
use crate::host::netlink::{Link, Netlink, Rate, Shapes};
use crate::host::netns::in_scratch;
use crate::{Result, names};

/// A burst that is not said lasts so long, in tenths of a second.
const BURST: u64 = 8;
/// Beside a packet of the network's MTU: what is in front of it.
const HEADERS: u64 = 64;

/// What a tap lets through, both ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    from_guest: Option<Rate>,
    to_guest: Option<Rate>,
}

/// The limits of this host's taps.
#[derive(Default)]
pub struct Shaping {
    works: Option<bool>,
    /// By tap, with the tap's index and the port.
    made: BTreeMap<String, (u32, String, Shape)>,
}

impl Shaping {
    /// Does the kernel know how? Asked once, as soon as it matters.
    pub async fn works(&mut self, desired: &Desired) -> bool {
        if self.works.is_none() && desired.ports.values().any(is_limited) {
            let probed = probe().await;
            if let Err(error) = &probed {
                tracing::warn!(%error, "traffic cannot be shaped: what exceeds a limit of bandwidth is dropped");
            }
            self.works = Some(probed.is_ok());
        }
        self.works.unwrap_or_default()
    }

    /// Have all taps that there are shaped as desired; with `verify`, look at those that are believed to be right, and at all others, too.
    /// One that fails is logged and the others go on; answers whether all went well.
    pub async fn ensure(&mut self, host: &Netlink, desired: &Desired, links: &BTreeMap<String, Link>, verify: bool) -> bool {
        let want = if self.works == Some(true) { wanted(desired, links) } else { BTreeMap::new() };
        let shapes = match self.found(host, verify).await {
            Ok(shapes) => shapes,
            Err(error) => {
                tracing::warn!(%error, "it cannot be seen how traffic is shaped");
                return false;
            }
        };
        let mut well = true;
        for (tap, link) in links.iter().filter(|(tap, _)| names::is_tap(tap) && !want.contains_key(*tap)) {
            let shaped = shapes.as_ref().is_some_and(|found| found.rates.contains_key(&link.index) || found.ingress.contains(&link.index));
            if self.made.contains_key(tap) || shaped {
                well &= note(tap, clear(host, link.index).await);
            }
        }
        let gone: Vec<String> = self.made.keys().filter(|tap| !want.contains_key(*tap)).cloned().collect();
        for tap in gone {
            if let Some((_, port, _)) = self.made.remove(&tap) {
                well &= note(&tap, host.delete(&names::shaper(&port)).await);
            }
        }
        for (tap, made) in want {
            let right = match &shapes {
                Some(shapes) => is_so(host, &made, links, shapes).await,
                None => self.made.get(&tap) == Some(&made),
            };
            if right || note(&tap, make(host, &made).await) {
                self.made.insert(tap, made);
            } else {
                self.made.remove(&tap);
                well = false;
            }
        }
        well
    }

    async fn found(&self, host: &Netlink, verify: bool) -> Result<Option<Shapes>> {
        if verify { host.shapes().await.map(Some) } else { Ok(None) }
    }
}

fn note(tap: &str, done: Result<()>) -> bool {
    done.inspect_err(|error| tracing::warn!(tap, %error, "a limit of bandwidth cannot be set")).is_ok()
}

fn is_limited(port: &Port) -> bool {
    !port.qos.bandwidth_limits.is_empty()
}

/// Has the port a limit for what its guest sends, and so a detour?
pub fn has_detour(port: &Port) -> bool {
    port.qos.bandwidth_limits.iter().any(|limit| limit.direction == "egress")
}

fn wanted(desired: &Desired, links: &BTreeMap<String, Link>) -> BTreeMap<String, (u32, String, Shape)> {
    let limited = desired.ports.values().filter(|port| is_limited(port));
    let one = |port: &Port| {
        let tap = tap_name(&port.id);
        let index = links.get(&tap)?.index;
        let mtu = desired.networks.get(&port.network_id)?.mtu;
        Some((tap, (index, port.id.clone(), shape(port, mtu))))
    };
    limited.filter_map(one).collect()
}

fn shape(port: &Port, mtu: u32) -> Shape {
    let of = |direction: &str| port.qos.bandwidth_limits.iter().find(|limit| limit.direction == direction).map(|limit| rate(limit, mtu));
    Shape { from_guest: of("egress"), to_guest: of("ingress") }
}

fn rate(limit: &BandwidthLimit, mtu: u32) -> Rate {
    let bytes = |kilobits: u32| u64::from(kilobits) * 1000 / 8;
    let rate = bytes(limit.max_kbps).max(1);
    let burst = if limit.max_burst_kbps > 0 { bytes(limit.max_burst_kbps) } else { rate * BURST / 10 };
    let burst = burst.max(u64::from(mtu) + HEADERS);
    Rate { bytes: rate, burst: u32::try_from(burst).unwrap_or(u32::MAX) }
}

async fn make(host: &Netlink, (tap, port, shape): &(u32, String, Shape)) -> Result<()> {
    match shape.to_guest {
        Some(rate) => host.shape(*tap, rate).await?,
        None => host.unshape(*tap).await?,
    }
    let shaper = names::shaper(port);
    match shape.from_guest {
        Some(rate) => {
            let by = host.add_ifb(&shaper).await?;
            host.shape(by, rate).await?;
            host.detour(*tap, by).await
        }
        None => {
            host.end_detour(*tap).await?;
            host.delete(&shaper).await
        }
    }
}

async fn clear(host: &Netlink, tap: u32) -> Result<()> {
    host.end_detour(tap).await?;
    host.unshape(tap).await
}

/// Is a tap shaped like this? Without a link to go by, nothing that its guest sends arrives.
async fn is_so(host: &Netlink, (tap, port, shape): &(u32, String, Shape), links: &BTreeMap<String, Link>, found: &Shapes) -> bool {
    let shown = |rate: Option<Rate>| rate.map(Rate::shown);
    let detour = match shape.from_guest {
        None => !found.ingress.contains(tap),
        Some(_) => {
            let by = links.get(&names::shaper(port)).filter(|link| link.up).map(|link| link.index);
            let limited = by.and_then(|by| found.rates.get(&by).copied()) == shown(shape.from_guest);
            by.is_some() && limited && found.ingress.contains(tap) && host.has_detour(*tap).await.unwrap_or_default()
        }
    };
    detour && found.rates.get(tap).copied() == shown(shape.to_guest)
}

/// Tries all of it in a namespace that nobody else is in.
async fn probe() -> Result<()> {
    let scratch = in_scratch(Netlink::here).await?;
    let rate = Rate { bytes: 1_000_000, burst: 10_000 };
    let by = scratch.add_ifb("probe0").await?;
    scratch.shape(by, rate).await?;
    let other = scratch.add_ifb("probe1").await?;
    scratch.detour(other, by).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    fn limit(direction: &str, max_kbps: u32, max_burst_kbps: u32) -> BandwidthLimit {
        BandwidthLimit { direction: direction.into(), max_kbps, max_burst_kbps }
    }

    #[test]
    fn limits_are_of_bytes_and_let_a_packet_through() {
        assert_eq!(rate(&limit("egress", 8000, 0), 1500), Rate { bytes: 1_000_000, burst: 800_000 });
        assert_eq!(rate(&limit("egress", 8000, 80), 1500), Rate { bytes: 1_000_000, burst: 10_000 });
        assert_eq!(rate(&limit("egress", 8, 1), 8950), Rate { bytes: 1000, burst: 9014 });
    }

    #[test]
    fn taps_that_are_there_are_shaped() {
        let mut desired = Desired::from_state(fixtures::state());
        desired.ports.get_mut(fixtures::PORT_A).unwrap().qos.bandwidth_limits = vec![limit("egress", 8000, 0)];
        let tap = tap_name(fixtures::PORT_A);
        assert!(wanted(&desired, &BTreeMap::new()).is_empty());
        let links = BTreeMap::from([(tap.clone(), Link { index: 7, ..Link::default() })]);
        let want = wanted(&desired, &links);
        let rate = Rate { bytes: 1_000_000, burst: 800_000 };
        assert_eq!(want[&tap], (7, fixtures::PORT_A.to_owned(), Shape { from_guest: Some(rate), to_guest: None }));
        assert!(has_detour(&desired.ports[fixtures::PORT_A]));
    }
}
