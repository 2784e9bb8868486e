//! What a server's ports ask of its host beside what its flavor does: bandwidth of a physical network, which other providers of the host's
//! tree have. Of a new server only ports that were named can ask; those that nova makes come after the choice.

use std::collections::BTreeMap;

use kit::Result;
use rpc::compute::{Instance, RequestedNetworks};
use rpc::scheduler::PortShare;
use sdk::network::{Port, UpdatePort};
use sdk::placement::{AllocationRequest, Group};
use serde::Deserialize;
use serde_json::{Value, json};

use super::granular::Granular;
use crate::Nova;

/// A group of a port's request, or of the flavor's extra specs.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Empty for the flavor's.
    port_id: String,
    pub group: Group,
}

impl Asked {
    pub fn new(port_id: &str, group: Group) -> Asked {
        Asked { port_id: port_id.to_owned(), group }
    }
}

/// What the groups of a flavor ask for.
pub fn of_flavor(granular: &Granular) -> Vec<Asked> {
    granular.groups.iter().map(|group| Asked::new("", group.clone())).collect()
}

/// What the ports of a server ask for: those it has, and of a new one those that were named.
pub async fn asked(app: &Nova, instance: &Instance) -> Result<Vec<Asked>> {
    let mut ids: Vec<&str> = instance.network_info.iter().map(|nic| nic.port_id.as_str()).collect();
    if let (true, RequestedNetworks::These(these)) = (ids.is_empty(), &instance.requested_networks) {
        ids = these.iter().filter_map(|wish| wish.port_id.as_deref()).collect();
    }
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let auth = app.session.auth("").await?;
    let by_id: Vec<(&str, &str)> = ids.into_iter().map(|id| ("id", id)).collect();
    Ok(app.cloud.network.ports(&auth, &by_id).await?.iter().flat_map(of_port).collect())
}

/// What a port asks for, by group.
pub fn of_port(port: &Port) -> Vec<Asked> {
    let groups = port.resource_request.iter().flat_map(|request| &request.request_groups);
    let groups = groups.map(|g| Group { suffix: g.id.clone(), resources: g.resources.clone(), required: g.required.clone() });
    groups.map(|group| Asked::new(&port.id, group)).collect()
}

/// Who gives a port what it asks for, as neutron was told.
pub fn given(port: &Port) -> Vec<PortShare> {
    let told = port.profile.as_ref().and_then(|profile| profile.get("allocation"));
    let givers = told.and_then(|told| BTreeMap::deserialize(told).ok()).unwrap_or_default();
    shares(&of_port(port), &givers)
}

/// By group of a question, the first of those who give what it asks for.
pub fn givers(request: &AllocationRequest) -> BTreeMap<String, String> {
    request.mappings.iter().filter_map(|(group, providers)| Some((group.clone(), providers.first()?.clone()))).collect()
}

/// Who gives what was asked for, as placement maps groups to providers.
pub fn shares(asked: &[Asked], givers: &BTreeMap<String, String>) -> Vec<PortShare> {
    let share = |asked: &Asked| {
        Some(PortShare {
            port_id: asked.port_id.clone(),
            group_id: asked.group.suffix.clone(),
            provider_id: givers.get(&asked.group.suffix)?.clone(),
            resources: asked.group.resources.clone(),
        })
    };
    asked.iter().filter_map(share).collect()
}

/// Tells neutron who gives each port what it asked for.
pub async fn tell(app: &Nova, shares: &[PortShare]) -> Result<()> {
    if shares.is_empty() {
        return Ok(());
    }
    let auth = app.session.auth("").await?;
    let mut allocations: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    for share in shares.iter().filter(|share| !share.port_id.is_empty()) {
        allocations.entry(&share.port_id).or_default().insert(&share.group_id, &share.provider_id);
    }
    for (port, allocation) in allocations {
        let profile: Value = json!({"allocation": allocation});
        sdk::found(app.cloud.network.update_port(&auth, port, &UpdatePort { profile: Some(profile), ..UpdatePort::default() }).await)?;
    }
    Ok(())
}
