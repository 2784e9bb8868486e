//! What a server takes from placement, and giving it back.

use std::collections::BTreeMap;

use kit::{Error, Result};
use rpc::compute::{BlockDevice, Flavor};
use rpc::scheduler::Destination;
use sdk::placement::{Allocations, Resources, Share, stale};

use crate::Nova;
use crate::numa;
use crate::scheduler::{bandwidth, granular};

/// How often a claim is tried again because something else changed at the same time.
const TRIES: usize = 5;

/// VCPU (or PCPU, as flavor and image want it), MEMORY_MB and DISK_GB of a flavor, or what its `resources:` extra specs put in their place. What its
/// groups ask for is not among it.
pub fn resources(flavor: &Flavor, image: &numa::Words, devices: &[BlockDevice]) -> Resources {
    let from_volume = devices.iter().any(|d| d.boot_index == Some(0) && d.destination_type == "volume");
    let root = if from_volume { 0 } else { flavor.root_gb };
    let disk = root + flavor.ephemeral_gb + flavor.swap_mb.div_ceil(1024);
    let mut resources = Resources::from([
        ("VCPU".to_owned(), i64::from(flavor.vcpus)),
        ("MEMORY_MB".to_owned(), flavor.ram_mb as i64),
        ("DISK_GB".to_owned(), disk as i64),
    ]);
    numa::translate(flavor, image, &mut resources);
    let named = granular::classes(&flavor.extra_specs);
    let replaced = |class: &str| named.contains(class) || (class == "VCPU" && named.contains("PCPU"));
    resources.retain(|class, _| !replaced(class));
    resources.extend(granular::of_host(&flavor.extra_specs));
    resources.retain(|_, amount| *amount > 0);
    resources
}

/// Claims on one host; false when it has not enough left. What the server had elsewhere is given back by the same write.
pub async fn claim(
    app: &Nova,
    instance_id: &str,
    (project_id, user_id): (&str, &str),
    destination: &Destination,
    resources: &Resources,
) -> Result<bool> {
    let auth = app.session.auth("").await?;
    // a new server has nothing: only when placement says otherwise is it read
    let mut have = Allocations::default();
    for _ in 0..TRIES {
        let shares = shares(destination, resources);
        if have.allocations == shares {
            return Ok(true);
        }
        let wanted = Allocations {
            allocations: shares,
            project_id: project_id.to_owned(),
            user_id: user_id.to_owned(),
            consumer_generation: have.consumer_generation,
            consumer_type: "INSTANCE".into(),
        };
        match app.cloud.placement.put_allocations(&auth, instance_id, &wanted).await {
            Ok(()) => return bandwidth::tell(app, &destination.ports).await.map(|()| true),
            Err(error) if stale(&error) => have = app.cloud.placement.allocations(&auth, instance_id).await?,
            Err(error) if error.is_conflict() => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::conflict("Placement changes all the time."))
}

/// What is taken of whom: the flavor's resources of the host, and what groups and ports ask for of those below it.
fn shares(destination: &Destination, resources: &Resources) -> BTreeMap<String, Share> {
    let mut shares = BTreeMap::from([(destination.resource_provider_id.clone(), Share { resources: resources.clone() })]);
    for port in &destination.ports {
        let share = shares.entry(port.provider_id.clone()).or_default();
        for (class, amount) in &port.resources {
            *share.resources.entry(class.clone()).or_default() += amount;
        }
    }
    shares.retain(|_, share| !share.resources.is_empty());
    shares
}

/// Gives everything back; fine when there was nothing.
pub async fn release(app: &Nova, instance_id: &str) -> Result<()> {
    let auth = app.session.auth("").await?;
    Ok(app.cloud.placement.delete_allocations(&auth, instance_id).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers::tests::a_flavor;

    #[test]
    fn flavors_say_what_is_claimed() {
        let mut flavor = a_flavor(512, 1);
        flavor.swap_mb = 1025;
        assert_eq!(resources(&flavor, &numa::Words::new(), &[])["DISK_GB"], 3);
        flavor.extra_specs.insert("resources:VCPU".into(), "0".into());
        flavor.extra_specs.insert("resources:CUSTOM_GOLD".into(), "2".into());
        let resources = resources(&flavor, &numa::Words::new(), &[]);
        assert_eq!((resources.get("VCPU"), resources["CUSTOM_GOLD"], resources["MEMORY_MB"]), (None, 2, 512));
        flavor.extra_specs = [("resources:PCPU", "2"), ("resources1:MEMORY_MB", "64")].map(|(k, v)| (k.into(), v.into())).into();
        let resources = self::resources(&flavor, &numa::Words::new(), &[]);
        assert_eq!(resources, Resources::from([("PCPU".into(), 2), ("DISK_GB".into(), 3)]), "groups and pinned processors come instead");
    }
}
