//! The real network of a host: the order in which the parts are brought to what is desired, and what is left over is removed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::RouteNetlinkMessage;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::dataplane::{Dataplane, Outcome};
use crate::desired::{Desired, Dirty, of_router, of_server};
use crate::dhcp::{self, Dhcp};
use crate::host::netlink::{Link, Netlink, name_of};
use crate::host::netns::{Namespaces, Netns};
use crate::host::ruleset::{Ruleset, blocking};
use crate::host::{conntrack, files};
use crate::linuxbridge::numbers::Numbers;
use crate::linuxbridge::peers::Found;
use crate::linuxbridge::plan::{self, Place};
use crate::linuxbridge::shaping::Shaping;
use crate::linuxbridge::{carry_out, external, firewall};
use crate::metadata::{Metadata, Upstream};
use crate::metering::Count;
use crate::names;
use crate::router::{self, Routers};
use crate::{Error, Result};

/// How long after a tap was missing the host is looked at again, should its event have been lost.
const POLL: Duration = Duration::from_secs(1);

/// Networks, and routers, that are worked on at once.
const AT_ONCE: usize = 8;

/// The dataplane of the network namespace it was made in.
pub struct Linux {
    config: Config,
    host: Netlink,
    namespaces: Namespaces,
    numbers: Numbers,
    firewall: Ruleset,
    shaping: Shaping,
    /// What the firewall's tables were computed from.
    judged: Desired,
    dhcp: Dhcp,
    metadata: Metadata,
    routers: Routers,
    /// Networks whose DHCP does not work yet: their ports are not ready for a guest.
    unserved: BTreeSet<String>,
    /// Routers that do not work yet.
    uncarried: BTreeSet<String>,
    happened: Arc<Notify>,
    /// Are there ports without their tap?
    waiting: bool,
    watch: JoinHandle<()>,
}

impl Drop for Linux {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

impl Linux {
    /// Must be called inside a tokio runtime.
    pub fn new(config: Config) -> Result<Linux> {
        files::make_dir(&config.state_dir.join("neutron"))?;
        let namespaces = Namespaces::new(&config.state_dir);
        let happened = Arc::new(Notify::new());
        let upstream = Upstream { address: config.metadata_upstream, secret: config.metadata_secret.clone() };
        Ok(Linux {
            host: Netlink::here()?,
            numbers: Numbers::load(&numbers_file(&config)),
            firewall: Ruleset::of(None, config.state_dir.join("neutron/firewall.json")),
            shaping: Shaping::default(),
            judged: Desired::default(),
            dhcp: Dhcp::new(config.state_dir.clone(), config.dnsmasq_dns_servers.clone(), namespaces.clone()),
            metadata: Metadata::new(upstream),
            routers: Routers::new(&config.state_dir, namespaces.clone()),
            unserved: BTreeSet::new(),
            uncarried: BTreeSet::new(),
            watch: watch(happened.clone())?,
            happened,
            waiting: false,
            namespaces,
            config,
        })
    }

    /// The firewall for what is desired; connections that lost their right are forgotten.
    async fn set_firewall(&mut self, desired: &Desired, links: BTreeSet<String>, verify: bool) -> Result<()> {
        self.numbers.give(desired);
        self.numbers.save(&numbers_file(&self.config))?;
        let shaped = self.shaping.works(desired).await;
        let [identity, groups, limits] = firewall::compile(desired, &self.numbers, &links, shaped);
        let old = self.firewall.known().and_then(|tables| tables.iter().find(|t| t.name == firewall::GROUPS)).cloned();
        let masquerade = external::masquerade(desired, &self.config);
        self.firewall.converge(vec![identity, groups.clone(), limits, masquerade], verify).await?;
        if let Some(old) = old {
            let forgotten = firewall::forgotten((&self.judged, &old), (desired, &groups), &self.numbers);
            if !forgotten.is_empty() {
                let count = blocking(move || conntrack::forget(&forgotten)).await?;
                tracing::debug!(count, "forgot connections that lost their right");
            }
        }
        self.judged = desired.clone();
        self.numbers.take_back(desired);
        self.numbers.save(&numbers_file(&self.config))
    }

    /// DHCP and the host's own leg of one network; answers the namespace in which metadata is to be had, if it is.
    async fn serve_network(&self, desired: &Desired, id: &str) -> Result<Option<Netns>> {
        let Some(network) = desired.networks.get(id) else {
            self.dhcp.remove(&self.host, id).await?;
            self.host.delete(&names::external(id)).await?;
            return Ok(None);
        };
        if let Some(external) = self.config.external(network) {
            external::ensure(&self.host, network, external).await?;
            external::forward(&self.config)?;
        }
        if !dhcp::served::is_served(network) {
            self.dhcp.remove(&self.host, id).await?;
            return Ok(None);
        }
        let ports: Vec<_> = desired.ports_of(id).collect();
        self.dhcp.ensure(&self.host, network, &ports).await.map(Some)
    }

    /// The metadata service of one network, where there is a namespace for it.
    async fn serve_metadata(&mut self, desired: &Desired, id: &str, netns: Option<Netns>) -> Result<()> {
        match (netns, desired.networks.get(id)) {
            (Some(netns), Some(network)) => {
                let ports: Vec<_> = desired.ports_of(id).collect();
                self.metadata.ensure(&netns, id, vec![dhcp::metadata_place(network, &ports)?]).await
            }
            _ => {
                self.metadata.remove(id);
                Ok(())
            }
        }
    }

    /// Where the other ports of these networks are. A network that fails is logged and the others go on; answers whether all went well.
    async fn tell_of_peers(&self, desired: &Desired, networks: &BTreeSet<String>) -> bool {
        if self.config.vtep.is_none() || networks.is_empty() {
            return true;
        }
        let found = async { Ok::<_, Error>((self.host.links().await?, Found::on(&self.host).await?)) };
        let (links, found) = match found.await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "it cannot be seen which ports on other hosts are known");
                return false;
            }
        };
        let mut well = true;
        for network in networks.iter().filter_map(|id| desired.networks.get(id)) {
            let told = found.ensure(&self.host, &links, network).await;
            well &=
                told.inspect_err(|error| tracing::warn!(network = network.id, %error, "ports on other hosts cannot be reached")).is_ok();
        }
        well
    }

    async fn serve_router(&self, desired: &Desired, id: &str, verify: bool) -> Result<()> {
        match desired.routers.get(id).filter(|router| router.admin_state_up) {
            Some(router) => self.routers.ensure(&self.host, desired, router, verify).await,
            None => self.routers.remove(id).await,
        }
    }

    /// The metadata service on the legs of a router that is carried here.
    async fn serve_metadata_by(&mut self, desired: &Desired, id: &str) -> Result<()> {
        let places = desired.routers.get(id).map(|router| router::metadata::places(desired, router)).unwrap_or_default();
        match self.namespaces.open(&names::router_namespace(id)) {
            Some(netns) if !places.is_empty() => self.metadata.ensure(&netns, id, places).await,
            _ => {
                self.metadata.remove(id);
                Ok(())
            }
        }
    }

    /// All networks and routers that `dirty` names; answers whether all went well.
    async fn serve(&mut self, desired: &Desired, dirty: &Dirty) -> bool {
        let mut well = true;
        let (mut networks, mut routers) = (dirty.networks.clone(), dirty.routers.clone());
        if dirty.everything {
            networks.extend(desired.networks.keys().cloned());
            networks.extend(files::names_in(&self.config.state_dir.join("neutron/dhcp")));
            routers.extend(desired.routers.keys().cloned());
            let present = self.namespaces.list();
            networks.extend(present.iter().filter_map(|name| names::network_of_namespace(name)).map(Into::into));
            routers.extend(present.iter().filter_map(|name| names::router_of_namespace(name)).map(Into::into));
        }
        well &= self.tell_of_peers(desired, &networks).await;
        // Their guests may ask by way of these.
        let mut asked: BTreeSet<String> = networks.iter().flat_map(|id| desired.routers_of(id)).collect();
        asked.extend(routers.iter().cloned());
        let serve = |id: String| async { (self.serve_network(desired, &id).await, id) };
        let served: Vec<_> = stream::iter(networks).map(serve).buffer_unordered(AT_ONCE).collect().await;
        for (netns, id) in served {
            let outcome = match netns {
                Ok(netns) => self.serve_metadata(desired, &id, netns).await,
                Err(error) => Err(error),
            };
            match outcome {
                Ok(()) => drop(self.unserved.remove(&id)),
                Err(error) => {
                    tracing::warn!(network = id, %error, "DHCP or metadata of a network failed");
                    self.unserved.insert(id);
                    well = false;
                }
            }
        }
        let serve = |id: String| async { (self.serve_router(desired, &id, dirty.everything).await, id) };
        let served: Vec<_> = stream::iter(routers).map(serve).buffer_unordered(AT_ONCE).collect().await;
        for (outcome, id) in served {
            match outcome {
                Ok(()) => drop(self.uncarried.remove(&id)),
                Err(error) => {
                    tracing::warn!(router = id, %error, "a router failed");
                    self.uncarried.insert(id);
                    well = false;
                }
            }
        }
        asked.retain(|id| !self.uncarried.contains(id));
        for id in asked {
            if let Err(error) = self.serve_metadata_by(desired, &id).await {
                tracing::warn!(router = id, %error, "metadata cannot be had by way of a router");
                well = false;
            }
        }
        well
    }

    /// Guests' ports that are wired and served.
    fn ready(&self, desired: &Desired, places: &BTreeMap<String, Place>, links: &BTreeMap<String, Link>) -> BTreeSet<String> {
        let wired = plan::wired(desired, places, links).into_iter();
        let served = |id: &&str| desired.ports.get(*id).is_some_and(|port| !self.unserved.contains(&port.network_id));
        wired.filter(served).map(Into::into).collect()
    }

    /// The cloud's own ports that work, and floating IPs.
    fn carried(&self, desired: &Desired, places: &BTreeMap<String, Place>, links: &BTreeMap<String, Link>) -> Vec<String> {
        let served = desired.networks.values().filter(|network| !self.unserved.contains(&network.id));
        let servers = served.filter(|network| plan::is_in_place(&names::dhcp_host_end(&network.id), places, links)).filter_map(of_server);
        let carried = desired.routers.values().filter(|router| !self.uncarried.contains(&router.id));
        let routers = carried.filter(|router| plan::is_carried(router, places, links)).flat_map(of_router);
        servers.chain(routers).cloned().collect()
    }
}

/// Networks of guests that went to another host and are still wired here: that they are reached there cannot wait for the firewall.
fn departed(desired: &Desired, dirty: &Dirty) -> BTreeSet<String> {
    let went = |id: &&String| {
        let network = desired.networks.get(*id);
        network.is_some_and(|network| network.peers.iter().any(|peer| desired.ports.contains_key(&peer.port_id)))
    };
    dirty.networks.iter().filter(went).cloned().collect()
}

impl Dataplane for Linux {
    async fn apply(&mut self, desired: &Desired, dirty: &Dirty) -> Result<Outcome> {
        let places = plan::places(desired, &self.config);
        let links = self.host.links().await?;
        let mut complete = carry_out(&self.host, &links, plan::releases(&places, &links)).await;
        complete &= self.tell_of_peers(desired, &departed(desired, dirty)).await;
        if dirty.rules || dirty.everything {
            self.set_firewall(desired, places.keys().cloned().collect(), dirty.everything).await?;
        }
        complete &= self.shaping.ensure(&self.host, desired, &links, dirty.everything).await;
        complete &= carry_out(&self.host, &links, plan::wiring(desired, &places, &links)).await;
        complete &= self.serve(desired, dirty).await;
        if dirty.everything {
            let links = self.host.links().await?;
            complete &= carry_out(&self.host, &links, plan::leftovers(&places, desired, &links)).await;
        }
        let links = self.host.links().await?;
        let mut wired = self.ready(desired, &places, &links);
        self.waiting = wired.len() < desired.ports.len();
        wired.extend(self.carried(desired, &places, &links));
        Ok(Outcome { wired: Arc::new(wired), complete })
    }

    async fn counts(&mut self, desired: &Desired) -> Vec<Count> {
        let metered = desired.routers.values().filter(|router| !router.metering_labels.is_empty() && !self.uncarried.contains(&router.id));
        let mut all = vec![];
        for router in metered {
            match self.routers.counts(router).await {
                Ok(counts) => all.extend(counts),
                Err(error) => tracing::warn!(router = router.id, %error, "what a router counted could not be read"),
            }
        }
        all
    }

    async fn changed(&mut self) {
        if self.waiting {
            let _ = tokio::time::timeout(POLL, self.happened.notified()).await;
        } else {
            self.happened.notified().await;
        }
    }
}

fn numbers_file(config: &Config) -> PathBuf {
    config.state_dir.join("neutron/numbers.json")
}

/// Tells of taps and bridges that come, go or change.
fn watch(happened: Arc<Notify>) -> Result<JoinHandle<()>> {
    let (connection, _handle, mut events) = rtnetlink::new_multicast_connection(&[MulticastGroup::Link]).map_err(Error::internal)?;
    tokio::spawn(connection);
    Ok(tokio::spawn(async move {
        // Held, for the connection ends with its last handle.
        let _handle = _handle;
        while let Some((event, _)) = events.next().await {
            let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(message) | RouteNetlinkMessage::DelLink(message)) = event.payload
            else {
                continue;
            };
            if name_of(&message).is_some_and(|name| names::is_tap(name) || names::is_bridge(name)) {
                happened.notify_one();
            }
        }
    }))
}
