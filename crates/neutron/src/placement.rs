//! Tells placement how much bandwidth hosts have to promise: a provider for each physical network of a host, below the host's own.

use std::collections::{BTreeMap, HashMap};

use kit::auth::ServiceSession;
use kit::{Result, ids};
use rpc::network::Bandwidth;
use sdk::placement::{Inventory, InventoryMap, Placement};
use tokio::sync::mpsc;

/// Heartbeats that may wait; what does not fit is said again by the next.
const QUEUE: usize = 1024;
/// What guests send, and what they get.
pub const EGRESS: &str = "NET_BW_EGR_KILOBIT_PER_SEC";
pub const INGRESS: &str = "NET_BW_IGR_KILOBIT_PER_SEC";

/// By physical network.
type Bandwidths = BTreeMap<String, Bandwidth>;

#[derive(Clone)]
pub struct Reporter(mpsc::Sender<(String, Bandwidths)>);

pub type Inbox = mpsc::Receiver<(String, Bandwidths)>;

pub fn channel() -> (Reporter, Inbox) {
    let (sender, inbox) = mpsc::channel(QUEUE);
    (Reporter(sender), inbox)
}

impl Reporter {
    /// A host said what it has.
    pub fn heard(&self, host: &str, bandwidths: Bandwidths) {
        let _ = self.0.try_send((host.to_owned(), bandwidths));
    }
}

/// What a provider must be to carry a port of a physical network.
pub fn traits(physical_network: &str) -> Vec<String> {
    let word = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let name: String = physical_network.chars().map(word).collect();
    vec![format!("CUSTOM_PHYSNET_{name}"), "CUSTOM_VNIC_TYPE_NORMAL".into()]
}

/// Reports what is new until the inbox closes.
pub async fn report(placement: Placement, session: ServiceSession, mut inbox: Inbox) {
    let mut told: HashMap<String, Bandwidths> = HashMap::new();
    while let Some((host, bandwidths)) = inbox.recv().await {
        if told.get(&host) == Some(&bandwidths) {
            continue;
        }
        match tell(&placement, &session, &host, &bandwidths).await {
            Ok(true) => drop(told.insert(host, bandwidths)),
            // nova has not reported the host yet; its next heartbeat comes soon
            Ok(false) => {}
            Err(error) => tracing::warn!(host, %error, "placement does not know the bandwidth of a host"),
        }
    }
}

async fn tell(placement: &Placement, session: &ServiceSession, host: &str, bandwidths: &Bandwidths) -> Result<bool> {
    let auth = session.auth(&ids::request()).await?;
    let Some(root) = placement.providers(&auth, &[("name", host)]).await?.into_iter().next() else {
        return Ok(bandwidths.is_empty());
    };
    let name = |physical: &str| format!("{host}:Linux bridge agent:{physical}");
    for (physical, bandwidth) in bandwidths {
        let uuid = ids::derived("bandwidth", &name(physical));
        placement.ensure_child(&auth, &uuid, &name(physical), &root.uuid).await?;
        placement.set_traits(&auth, &uuid, &traits(physical)).await?;
        let have = |kbps: u32| Inventory::of(i64::from(kbps));
        let inventories =
            InventoryMap::from([(EGRESS.into(), have(bandwidth.egress_kbps)), (INGRESS.into(), have(bandwidth.ingress_kbps))]);
        placement.set_inventories(&auth, &uuid, &inventories).await?;
    }
    for old in placement.providers(&auth, &[("in_tree", root.uuid.as_str())]).await? {
        let gone = old.name.strip_prefix(&name("")).is_some_and(|physical| !bandwidths.contains_key(physical));
        if gone && let Err(error) = placement.delete_provider(&auth, &old.uuid).await {
            tracing::warn!(host, provider = old.name, %error, "a host has bandwidth no more that was promised");
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traits_are_words_of_placement() {
        assert_eq!(traits("physnet-1.a")[0], "CUSTOM_PHYSNET_PHYSNET_1_A");
    }
}
