//! Tells placement what bandwidth and how many packets hosts have to promise, of providers below the hosts' own.

use std::collections::{BTreeMap, HashMap};

use kit::auth::ServiceSession;
use kit::{Result, ids};
use rpc::network::Bandwidth;
use sdk::placement::{Inventory, Placement};
use tokio::sync::mpsc;

/// Heartbeats that may wait; what does not fit is said again by the next.
const QUEUE: usize = 1024;
/// What guests send, and what they get.
pub const EGRESS: &str = "NET_BW_EGR_KILOBIT_PER_SEC";
pub const INGRESS: &str = "NET_BW_IGR_KILOBIT_PER_SEC";
/// Packets: both ways together, what guests send, and what they get.
pub const PACKETS: &str = "NET_PACKET_RATE_KILOPACKET_PER_SEC";
pub const PACKETS_EGRESS: &str = "NET_PACKET_RATE_EGR_KILOPACKET_PER_SEC";
pub const PACKETS_INGRESS: &str = "NET_PACKET_RATE_IGR_KILOPACKET_PER_SEC";

/// What a host has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Means {
    /// By physical network.
    pub bandwidths: BTreeMap<String, Bandwidth>,
    /// Thousands a second.
    pub packets: Option<u32>,
}

#[derive(Clone)]
pub struct Reporter(mpsc::Sender<(String, Means)>);

pub type Inbox = mpsc::Receiver<(String, Means)>;

pub fn channel() -> (Reporter, Inbox) {
    let (sender, inbox) = mpsc::channel(QUEUE);
    (Reporter(sender), inbox)
}

impl Reporter {
    /// A host said what it has.
    pub fn heard(&self, host: &str, means: Means) {
        let _ = self.0.try_send((host.to_owned(), means));
    }
}

/// What a provider must be to carry a port, of a physical network or of any.
pub fn traits(physical_network: Option<&str>) -> Vec<String> {
    let word = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let physical = physical_network.map(|name| format!("CUSTOM_PHYSNET_{}", name.chars().map(word).collect::<String>()));
    physical.into_iter().chain(["CUSTOM_VNIC_TYPE_NORMAL".to_owned()]).collect()
}

/// Reports what is new until the inbox closes.
pub async fn report(placement: Placement, session: ServiceSession, mut inbox: Inbox) {
    let mut told: HashMap<String, Means> = HashMap::new();
    while let Some((host, means)) = inbox.recv().await {
        if told.get(&host) == Some(&means) {
            continue;
        }
        match tell(&placement, &session, &host, &means).await {
            Ok(true) => drop(told.insert(host, means)),
            // nova has not reported the host yet; its next heartbeat comes soon
            Ok(false) => {}
            Err(error) => tracing::warn!(host, %error, "placement does not know what a host's network can promise"),
        }
    }
}

/// The agent is a provider below the host, with its packets; each physical network is one below the agent, with its bandwidth.
async fn tell(placement: &Placement, session: &ServiceSession, host: &str, means: &Means) -> Result<bool> {
    let auth = session.auth(&ids::request()).await?;
    let nothing = *means == Means::default();
    let Some(root) = placement.providers(&auth, &[("name", host)]).await?.into_iter().next() else { return Ok(nothing) };
    let agent = format!("{host}:Linux bridge agent");
    let mut wanted = Vec::new();
    if !nothing {
        let packets = means.packets.map(|kpps| [PACKETS, PACKETS_EGRESS, PACKETS_INGRESS].map(|class| (class, kpps)));
        wanted.push((agent.clone(), root.uuid.clone(), traits(None), packets.into_iter().flatten().collect::<Vec<_>>()));
    }
    for (physical, bandwidth) in &means.bandwidths {
        let have = vec![(EGRESS, bandwidth.egress_kbps), (INGRESS, bandwidth.ingress_kbps)];
        wanted.push((format!("{agent}:{physical}"), uuid(&agent), traits(Some(physical)), have));
    }
    for (name, parent, traits, have) in &wanted {
        let uuid = uuid(name);
        placement.ensure_child(&auth, &uuid, name, parent).await?;
        placement.set_traits(&auth, &uuid, traits).await?;
        let inventory = |(class, amount): &(&str, u32)| ((*class).to_owned(), Inventory::of(i64::from(*amount)));
        placement.set_inventories(&auth, &uuid, &have.iter().map(inventory).collect()).await?;
    }
    let mut old = placement.providers(&auth, &[("in_tree", root.uuid.as_str())]).await?;
    old.retain(|provider| provider.name.starts_with(&agent) && !wanted.iter().any(|(name, ..)| *name == provider.name));
    // those below go first
    old.sort_by_key(|provider| std::cmp::Reverse(provider.name.len()));
    for provider in old {
        if let Err(error) = placement.delete_provider(&auth, &provider.uuid).await {
            tracing::warn!(host, provider = provider.name, %error, "a host no longer has what was promised of it");
        }
    }
    Ok(true)
}

fn uuid(name: &str) -> String {
    ids::derived("network provider", name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traits_are_words_of_placement() {
        assert_eq!(traits(Some("physnet-1.a"))[0], "CUSTOM_PHYSNET_PHYSNET_1_A");
    }
}
