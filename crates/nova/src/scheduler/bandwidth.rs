//! What a server's ports ask of its host beside what its flavor does: bandwidth of a physical network, which other providers of the host's
//! tree have. Only ports that were given can ask; those that nova makes come after the choice.

use std::collections::BTreeMap;

use kit::Result;
use rpc::compute::{Instance, RequestedNetworks};
use rpc::scheduler::PortShare;
use sdk::network::UpdatePort;
use sdk::placement::Group;
use serde_json::{Value, json};

use crate::Nova;

/// A group of a port's request.
#[derive(Clone, Debug)]
pub struct Asked {
    port_id: String,
    pub group: Group,
}

/// What the ports of a server ask for.
pub async fn asked(app: &Nova, instance: &Instance) -> Result<Vec<Asked>> {
    let RequestedNetworks::These(these) = &instance.requested_networks else { return Ok(Vec::new()) };
    let given: Vec<&str> = these.iter().filter_map(|wish| wish.port_id.as_deref()).collect();
    if given.is_empty() {
        return Ok(Vec::new());
    }
    let auth = app.session.auth("").await?;
    let by_id: Vec<(&str, &str)> = given.into_iter().map(|id| ("id", id)).collect();
    let ports = app.cloud.network.ports(&auth, &by_id).await?;
    let groups = ports.into_iter().filter_map(|port| Some((port.id, port.resource_request?.request_groups)));
    let asked = groups.flat_map(|(port_id, groups)| {
        groups.into_iter().map(move |group| Asked {
            port_id: port_id.clone(),
            group: Group { suffix: group.id, resources: group.resources, required: group.required },
        })
    });
    Ok(asked.collect())
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
    for share in shares {
        allocations.entry(&share.port_id).or_default().insert(&share.group_id, &share.provider_id);
    }
    for (port, allocation) in allocations {
        let profile: Value = json!({"allocation": allocation});
        sdk::found(app.cloud.network.update_port(&auth, port, &UpdatePort { profile: Some(profile), ..UpdatePort::default() }).await)?;
    }
    Ok(())
}
