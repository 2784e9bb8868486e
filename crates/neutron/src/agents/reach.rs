//! How hosts are reached: where their tunnels end and which physical networks they are joined to, and so on which of its segments a network is
//! there.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use kit::Result;
use sea_orm::ConnectionTrait;

use crate::{segments, sql};

/// One host.
#[derive(Default)]
struct Joined {
    vtep: Option<IpAddr>,
    physical_networks: HashSet<String>,
}

/// All hosts, and the networks that have several segments.
pub struct Reach {
    hosts: HashMap<String, Joined>,
    segments: HashMap<String, Vec<segments::Model>>,
}

impl Reach {
    pub async fn read<C: ConnectionTrait>(db: &C) -> Result<Reach> {
        let mut hosts: HashMap<String, Joined> = HashMap::new();
        for row in sql::query(db, "SELECT DISTINCT host, vtep, COALESCE(physical_networks, '[]') FROM agents", []).await? {
            let joined = hosts.entry(row.try_get_by_index(0)?).or_default();
            joined.vtep = row.try_get_by_index::<Option<String>>(1)?.and_then(|text| text.parse().ok());
            joined.physical_networks.extend(serde_json::from_str::<Vec<String>>(&row.try_get_by_index::<String>(2)?)?);
        }
        let several = sql::texts(db, "SELECT DISTINCT network_id FROM network_segments WHERE segment_index > 0", []).await?;
        Ok(Reach { hosts, segments: if several.is_empty() { HashMap::new() } else { segments::of(db, &several).await? } })
    }

    /// Whether a host is joined to what carries a segment.
    pub fn joins(&self, host: &str, segment: &segments::Model) -> bool {
        let joined = self.hosts.get(host);
        match segment.network_type.as_str() {
            "vxlan" => joined.is_some_and(|joined| joined.vtep.is_some()),
            "local" => true,
            _ => joined.is_some_and(|joined| joined.physical_networks.contains(&segment.physical_network)),
        }
    }

    /// The segment that a host has of a network with these: the first that it is joined to. One that is joined to none has the first of all,
    /// which ends at the host.
    pub fn choose<'a>(&self, segments: &'a [segments::Model], host: &str) -> Option<&'a segments::Model> {
        segments.iter().find(|segment| self.joins(host, segment)).or(segments.first())
    }

    /// The same of a network that has several; nothing of one that has not.
    pub fn segment(&self, network: &str, host: &str) -> Option<&segments::Model> {
        self.choose(self.segments.get(network)?, host)
    }

    /// Where frames of a network for a host are sent: nowhere, if the host has the network on a segment that is no tunnel.
    pub fn vtep(&self, network: &str, host: &str) -> Option<IpAddr> {
        let tunnelled = self.segment(network, host).is_none_or(|segment| segment.network_type == "vxlan");
        self.hosts.get(host)?.vtep.filter(|_| tunnelled)
    }
}
