//! The L3 agent: a namespace for each router, a leg in each of its networks, NAT, address scopes, routes, limits and router advertisements. Forwarding is
//! switched on inside the namespace only.

mod advertise;
pub mod metadata;
mod nat;
mod scopes;
mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;
use rpc::network::{FloatingIp, Router, RouterRole};

use crate::desired::Desired;
use crate::host::conntrack::{self, Doomed, Which};
use crate::host::link::{self, Interface};
use crate::host::netlink::{Netlink, everywhere};
use crate::host::netns::{Namespaces, Netns};
use crate::host::ruleset::{Ruleset, nft};
use crate::host::{files, sysctl};
use crate::metering::Count;
use crate::names;
use crate::{Error, Result};
use advertise::Advertisements;

/// The routers of this host.
pub struct Routers {
    dir: PathBuf,
    namespaces: Namespaces,
    kept: Mutex<BTreeMap<String, Kept>>,
}

/// What we know of a router's namespace.
struct Kept {
    ruleset: Ruleset,
    router: Router,
    advertisements: Advertisements,
}

impl Routers {
    pub fn new(state_dir: &Path, namespaces: Namespaces) -> Routers {
        Routers { dir: state_dir.join("neutron/routers"), namespaces, kept: Mutex::default() }
    }

    /// Make the router so; with `verify`, look also at rules we believe to be right.
    pub async fn ensure(&self, host: &Netlink, desired: &Desired, router: &Router, verify: bool) -> Result<()> {
        let name = names::router_namespace(&router.id);
        let kept = self.kept().remove(&router.id).filter(|_| self.namespaces.open(&name).is_some());
        let netns = self.namespaces.ensure(&name).await?;
        let mut kept = kept.unwrap_or_else(|| Kept {
            ruleset: Ruleset::of(Some(netns.clone()), self.cache(&router.id)),
            router: router.clone(),
            advertisements: Advertisements::default(),
        });
        let made = make(host, &netns, desired, router, &mut kept, verify).await;
        self.kept().insert(router.id.clone(), kept);
        made
    }

    /// Remove what was made for a router; succeeds when there is nothing.
    pub async fn remove(&self, router_id: &str) -> Result<()> {
        self.kept().remove(router_id);
        files::remove(&self.cache(router_id))?;
        let name = names::router_namespace(router_id);
        if let Some(netns) = self.namespaces.open(&name) {
            let inside = netns.netlink().await?;
            for link in inside.links().await?.into_keys().filter(|link| is_leg(link)) {
                inside.delete(&link).await?;
            }
        }
        self.namespaces.remove(&name)
    }

    /// What a router counted under labels since it was asked last.
    pub async fn counts(&self, router: &Router) -> Result<Vec<Count>> {
        let Some(netns) = self.namespaces.open(&names::router_namespace(&router.id)) else { return Ok(vec![]) };
        let listing = netns.run(|| nft(&["-j", "reset", "counters", "table", "inet", traffic::TABLE], "")).await?;
        let count = |(label_id, packets, bytes)| Count { label_id, project_id: router.project_id.clone(), packets, bytes };
        Ok(traffic::counted(&listing)?.into_iter().map(count).collect())
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<String, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cache(&self, router_id: &str) -> PathBuf {
        self.dir.join(router_id).with_extension("json")
    }
}

async fn make(host: &Netlink, netns: &Netns, desired: &Desired, router: &Router, kept: &mut Kept, verify: bool) -> Result<()> {
    let interfaces = interfaces(desired, router)?;
    for interface in &interfaces {
        link::ensure(host, netns, interface).await?;
    }
    let legs: Vec<String> = interfaces.iter().map(|interface| interface.inner.clone()).collect();
    netns.run(move || forward(&legs)).await?;
    let inside = netns.netlink().await?;
    metadata::take_address(&inside).await?;
    remove_strays(&inside, &interfaces).await?;
    if router.role == RouterRole::Active {
        set_routes(&inside, router).await?;
    }
    kept.ruleset.converge(vec![nat::table(router), scopes::table(router), traffic::table(router)], verify).await?;
    forget_floating(netns, &kept.router, router).await?;
    kept.router = router.clone();
    let legs = if router.role == RouterRole::Active { router.interfaces.as_slice() } else { &[] };
    kept.advertisements.ensure(netns, advertise::messages(legs, |id| desired.networks.get(id))).await
}

fn forward(legs: &[String]) -> Result<()> {
    sysctl::set("net/ipv4/ip_forward", "1")?;
    if sysctl::get("net/ipv6/conf/all/forwarding").is_some() {
        sysctl::set("net/ipv6/conf/all/forwarding", "1")?;
    }
    legs.iter().try_for_each(|leg| doubt_neighbours(leg).and_then(|()| metadata::answer_for_itself(leg)))
}

/// An address may be another guest's from one moment to the next, and a guest that does not speak first would not be found for eight
/// seconds: so long the kernel believes in a neighbour it did not hear of lately, and then asks that one alone whether it is still there.
fn doubt_neighbours(leg: &str) -> Result<()> {
    for family in ["ipv4", "ipv6"] {
        for (name, value) in [("delay_first_probe_time", "0"), ("ucast_solicit", "1"), ("mcast_resolicit", "1")] {
            let name = format!("net/{family}/neigh/{leg}/{name}");
            if sysctl::get(&name).is_some() {
                sysctl::set(&name, value)?;
            }
        }
    }
    Ok(())
}

/// The legs of a router. Floating IPs are addresses of the outer one, so that the kernel answers ARP for them. On a host that only stands by
/// there are none: to take over is to make them.
fn interfaces(desired: &Desired, router: &Router) -> Result<Vec<Interface>> {
    if router.role == RouterRole::Standby {
        return Ok(vec![]);
    }
    let network = |network_id: &str| {
        let network = desired.networks.get(network_id);
        network.ok_or_else(|| Error::internal(format!("router {}: network {network_id} is unknown", router.id)))
    };
    let mut out = vec![];
    for interface in &router.interfaces {
        let network = network(&interface.network_id)?;
        let mut addresses = parse_addresses(&interface.addresses);
        addresses.extend(metadata::address_6(interface, network));
        out.push(Interface {
            host_end: names::router_host_end(&interface.port_id),
            inner: names::router_inner(&interface.port_id),
            bridge: names::bridge(&interface.network_id),
            mac: interface.mac_address.clone(),
            mtu: network.mtu,
            addresses,
        });
    }
    if let Some(gateway) = &router.gateway {
        let mut addresses = parse_addresses(&gateway.addresses);
        addresses.extend(nat::outer_addresses(router).into_iter().map(IpNet::from));
        out.push(Interface {
            host_end: names::gateway_host_end(&gateway.port_id),
            inner: names::gateway_inner(&gateway.port_id),
            bridge: names::bridge(&gateway.network_id),
            mac: gateway.mac_address.clone(),
            mtu: network(&gateway.network_id)?.mtu,
            addresses,
        });
    }
    Ok(out)
}

fn parse_addresses(texts: &[String]) -> Vec<IpNet> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

fn is_leg(link: &str) -> bool {
    link.starts_with("qr-") || link.starts_with("qg-")
}

async fn remove_strays(inside: &Netlink, interfaces: &[Interface]) -> Result<()> {
    let wanted: BTreeSet<&str> = interfaces.iter().map(|i| i.inner.as_str()).collect();
    let strays = inside.links().await?.into_keys().filter(|link| is_leg(link) && !wanted.contains(link.as_str()));
    for stray in strays.collect::<Vec<_>>() {
        inside.delete(&stray).await?;
    }
    Ok(())
}

async fn set_routes(inside: &Netlink, router: &Router) -> Result<()> {
    let mut want: Vec<(IpNet, IpAddr)> = vec![];
    for hop in router.gateway.iter().flat_map(|gateway| &gateway.nexthops) {
        want.push((everywhere(*hop), *hop));
    }
    for route in &router.routes {
        match route.destination.parse::<IpNet>() {
            Ok(net) => want.push((net.trunc(), route.nexthop)),
            Err(_) => tracing::warn!(router = router.id, route.destination, "a route to nowhere is left out"),
        }
    }
    let have = inside.routes().await?;
    for (net, hop) in have.iter().filter(|route| !want.contains(route)) {
        inside.delete_route(*net, *hop).await?;
    }
    for (net, hop) in want.iter().filter(|route| !have.contains(route)) {
        // One next hop that is not there must not keep the rest of the router from working.
        if let Err(error) = inside.add_route(*net, *hop).await {
            tracing::warn!(router = router.id, %error, "a route cannot be set");
        }
    }
    Ok(())
}

/// Connections through floating IPs and forwarded ports that lead elsewhere now.
async fn forget_floating(netns: &Netns, old: &Router, new: &Router) -> Result<()> {
    let floating = old.floating_ips.iter().filter(|was| {
        let same = |now: &&FloatingIp| (now.floating_ip_address, now.fixed_ip_address) == (was.floating_ip_address, was.fixed_ip_address);
        new.floating_ips.iter().find(same).is_none()
    });
    let forwards = old.port_forwardings.iter().filter(|was| !new.port_forwardings.contains(was));
    let addresses = floating.map(|ip| ip.floating_ip_address).chain(forwards.map(|forward| forward.floating_ip_address));
    let gone: Which = addresses.map(|address| ((0, address), Doomed::All)).collect();
    if gone.is_empty() {
        return Ok(());
    }
    let count = netns.run(move || conntrack::forget(&gone)).await?;
    tracing::debug!(router = new.id, count, "forgot connections of floating IPs that are gone");
    Ok(())
}
