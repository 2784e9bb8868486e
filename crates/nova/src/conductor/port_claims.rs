//! What the ports of a server take of its host when one comes or goes while the server is there; what groups of its flavor took stays as it is.

use std::collections::BTreeMap;

use kit::Result;
use rpc::scheduler::{Destination, PortShare};
use sdk::network::Port;
use sdk::placement::{Resources, Wanted};

use super::claims;
use crate::Nova;
use crate::scheduler::bandwidth::{self, Asked};
use crate::scheduler::granular;
use crate::servers::instance::Model;
use crate::servers::store;

/// Claims what one more port asks for, of those below the server's host; false when they have not enough left.
pub async fn add(app: &Nova, server: &Model, port: &Port) -> Result<bool> {
    let Some(mut place) = place(app, server).await? else { return Ok(false) };
    let asked = bandwidth::of_port(port);
    let wanted = Wanted {
        in_tree: Some(place.resource_provider_id.clone()),
        groups: asked.iter().map(|asked| asked.group.clone()).collect(),
        limit: Some(1),
        ..Wanted::default()
    };
    let candidates = app.cloud.placement.candidates(&app.session.auth("").await?, &wanted).await?;
    let Some(request) = candidates.allocation_requests.first() else { return Ok(false) };
    place.ports.extend(bandwidth::shares(&asked, &bandwidth::givers(request)));
    claim(app, server, &place).await
}

/// Leaves a server what its flavor and the ports it has take, and gives back the rest.
pub async fn settle(app: &Nova, server: &Model) -> Result<()> {
    match place(app, server).await? {
        Some(place) => claim(app, server, &place).await.map(drop),
        None => Ok(()),
    }
}

/// Tells neutron who gives the ports of a server what they ask for, as placement has it.
pub async fn tell(app: &Nova, server_id: &str) -> Result<()> {
    let auth = app.session.auth("").await?;
    let ports = app.cloud.network.ports(&auth, &[("device_id", server_id)]).await?;
    let asked: Vec<Asked> = ports.iter().flat_map(bandwidth::of_port).collect();
    if asked.is_empty() {
        return Ok(());
    }
    let mut givers = givers(app, server_id).await?;
    bandwidth::tell(app, &bandwidth::shares(&asked, &matched(&asked, &mut givers))).await
}

/// A provider that gives a server something.
struct Giver {
    provider: String,
    /// What nothing has been found for yet that asked for it.
    left: Resources,
    traits: Vec<String>,
}

/// Who gives a server anything, as placement has it.
async fn givers(app: &Nova, server_id: &str) -> Result<Vec<Giver>> {
    let (auth, mut givers) = (app.session.auth("").await?, Vec::new());
    for (provider, share) in app.cloud.placement.allocations(&auth, server_id).await?.allocations {
        let traits = app.cloud.placement.traits(&auth, &provider).await?;
        givers.push(Giver { provider, left: share.resources, traits });
    }
    Ok(givers)
}

/// Who gives the groups of a server's flavor what they ask for, beside what the host gives the server itself.
async fn of_groups(app: &Nova, server: &Model, host: &str) -> Result<Vec<PortShare>> {
    let asked = bandwidth::of_flavor(&granular::of_flavor(&server.flavor.0.extra_specs));
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let devices = store::block_devices_of(app.db.read(), &server.id).await?;
    let own = claims::resources(&server.flavor.0, &server.spec.0.image_properties, &devices);
    let mut givers = givers(app, &server.id).await?;
    for giver in givers.iter_mut().filter(|giver| giver.provider == host) {
        for (class, amount) in &own {
            giver.left.entry(class.clone()).and_modify(|left| *left -= amount);
        }
    }
    Ok(bandwidth::shares(&asked, &matched(&asked, &mut givers)))
}

/// By group, who has what it asks for.
fn matched(asked: &[Asked], givers: &mut [Giver]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for Asked { group, .. } in asked {
        let fits = |giver: &&mut Giver| {
            group.resources.iter().all(|(class, amount)| giver.left.get(class).is_some_and(|left| left >= amount))
                && group.required.iter().all(|name| match name.strip_prefix('!') {
                    Some(forbidden) => !giver.traits.iter().any(|has| has == forbidden),
                    None => giver.traits.contains(name),
                })
        };
        let Some(giver) = givers.iter_mut().find(fits) else { continue };
        for (class, amount) in &group.resources {
            giver.left.entry(class.clone()).and_modify(|left| *left -= amount);
        }
        found.insert(group.suffix.clone(), giver.provider.clone());
    }
    found
}

/// Where a server is, and what its ports were given there.
async fn place(app: &Nova, server: &Model) -> Result<Option<Destination>> {
    let hosts = app.hosts.hosts(app).await?;
    let Some(host) = server.host.as_deref().and_then(|name| hosts.named(name)) else { return Ok(None) };
    let ports = app.cloud.network.ports(&app.session.auth("").await?, &[("device_id", &server.id)]).await?;
    let mut shares = of_groups(app, server, &host.provider).await?;
    shares.extend(ports.iter().flat_map(bandwidth::given));
    Ok(Some(Destination { host: host.host.clone(), node: host.node.clone(), resource_provider_id: host.provider.clone(), ports: shares }))
}

async fn claim(app: &Nova, server: &Model, place: &Destination) -> Result<bool> {
    let instance = server.to_rpc(store::block_devices_of(app.db.read(), &server.id).await?);
    let resources = claims::resources(&instance.flavor, &instance.image_properties, &instance.block_devices);
    claims::claim(app, &server.id, (&server.project_id, &server.user_id), place, &resources).await
}

#[cfg(test)]
mod tests {
    use sdk::placement::Group;

    use super::*;

    #[test]
    fn who_gives_is_known_by_what_is_left_and_by_traits() {
        let group = |suffix: &str, kbps: i64, required: &str| {
            let resources = Resources::from([("NET_BW_EGR_KILOBIT_PER_SEC".to_owned(), kbps)]);
            Asked::new("port", Group { suffix: suffix.into(), resources, required: vec![required.into()] })
        };
        let giver = |provider: &str, kbps: i64, name: &str| {
            let left = Resources::from([("NET_BW_EGR_KILOBIT_PER_SEC".to_owned(), kbps)]);
            Giver { provider: provider.into(), left, traits: vec![name.into()] }
        };
        let mut givers = [giver("a", 300, "CUSTOM_PHYSNET_A"), giver("b", 500, "CUSTOM_PHYSNET_B"), giver("c", 200, "CUSTOM_PHYSNET_B")];
        let asked = [group("1", 500, "CUSTOM_PHYSNET_B"), group("2", 200, "CUSTOM_PHYSNET_B"), group("3", 400, "CUSTOM_PHYSNET_A")];
        let found = matched(&asked, &mut givers);
        assert_eq!(found, BTreeMap::from([("1".into(), "b".into()), ("2".into(), "c".into())]));
    }
}
