//! What every cloud begins with: who can log in, the catalog, flavors, the first networks, the guest image. Each is made when it is not there,
//! so every start does it again.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use keystone::Bootstrap;
use keystone::bootstrap::{CatalogEntry, Projects};

use super::assemble::Cloud;
use crate::apis::Api;
use crate::config::Config;
use crate::state::{SERVICES, Secrets};

/// The image that `make guest-image` builds.
const GUEST_IMAGE: &str = "cumulo-guest";

/// How long the makers of the first things wait for their databases, and for each other.
const TRIES: usize = 20;
const PAUSE: Duration = Duration::from_millis(500);

/// Makes what is missing of what the services of this process keep. Where several processes do so at once, one of them is late and finds it
/// made when it looks again.
pub async fn bootstrap(cloud: &Cloud, config: &Config, secrets: &Secrets, guest_image: Option<&Path>) -> Result<(), String> {
    for _ in 1..TRIES {
        match attempt(cloud, config, secrets, guest_image).await {
            Err(error) if !cloud.roles.whole() => tracing::warn!(error, "trying again"),
            outcome => return outcome,
        }
        tokio::time::sleep(PAUSE).await;
    }
    attempt(cloud, config, secrets, guest_image).await
}

async fn attempt(cloud: &Cloud, config: &Config, secrets: &Secrets, guest_image: Option<&Path>) -> Result<(), String> {
    let failed = |what: &'static str| move |error: kit::Error| format!("{what} cannot be prepared: {error}");
    let projects = match (&cloud.keystone, config.identity.elsewhere()) {
        (Some(keystone), _) => keystone.bootstrap(&identity(config, secrets)).await.map_err(failed("keystone"))?,
        (None, Some(url)) => of_others(cloud).await.map_err(|error| format!("{url}: {error}"))?,
        (None, None) => Projects::derived(),
    };
    if let Some(nova) = &cloud.nova {
        nova.bootstrap().await.map_err(failed("nova"))?;
    }
    if let Some(neutron) = &cloud.neutron {
        let networks = neutron::Bootstrap {
            admin_project: projects.admin.clone(),
            demo_project: projects.demo,
            public_cidr: config.network.external_cidr.clone(),
            public_gateway: config.network.external_gateway,
            public_pool: config.network.external_pool,
            private_cidr: "10.0.0.0/24".into(),
        };
        neutron.bootstrap(&networks).await.map_err(failed("neutron"))?;
    }
    if let (Some(glance), Some(path)) = (&cloud.glance, guest_image) {
        glance.register(GUEST_IMAGE, path, &projects.admin, BTreeMap::new()).await.map_err(failed("the guest image"))?;
    }
    Ok(())
}

/// The projects that own the first networks and the guest image, in a keystone of others. What users, roles and endpoints it has is for those
/// others to decide.
async fn of_others(cloud: &Cloud) -> kit::Result<Projects> {
    let auth = cloud.sessions.nova.auth("").await?;
    let named = async |name: &str| -> kit::Result<Option<String>> {
        let path = format!("/v3/projects?domain_id=default&name={name}");
        let projects: Vec<sdk::identity::Named> = cloud.apis.identity.0.get(&auth, &path).await?.take("projects")?;
        Ok(projects.into_iter().next().map(|project| project.id))
    };
    let admin = named("admin").await?.ok_or_else(|| kit::Error::not_found("There is no project admin in domain Default."))?;
    Ok(Projects { demo: named("demo").await?.unwrap_or_else(|| admin.clone()), admin })
}

/// What our own keystone begins with.
fn identity(config: &Config, secrets: &Secrets) -> Bootstrap {
    Bootstrap {
        admin_password: secrets.admin_password.clone(),
        demo_password: secrets.demo_password.clone(),
        service_users: SERVICES.iter().map(|name| ((*name).to_owned(), secrets.service_password.clone())).collect(),
        region: config.region.clone(),
        endpoints: catalog(config),
    }
}

/// Every API's entry. Block storage goes by three names, because clients of different ages ask for different ones.
fn catalog(config: &Config) -> Vec<CatalogEntry> {
    let volume = format!("{}/v3/$(project_id)s", config.endpoint(Api::Cinder));
    let entries = [
        ("identity", "keystone", format!("{}/v3", config.endpoint(Api::Keystone))),
        ("image", "glance", config.endpoint(Api::Glance)),
        ("placement", "placement", config.endpoint(Api::Placement)),
        ("compute", "nova", format!("{}/v2.1", config.endpoint(Api::Nova))),
        ("network", "neutron", config.endpoint(Api::Neutron)),
        ("block-storage", "cinder", volume.clone()),
        ("volumev3", "cinderv3", volume.clone()),
        ("volume", "cinder-volume", volume),
    ];
    let entry = |(kind, name, url): (&str, &str, String)| CatalogEntry { kind: kind.into(), name: name.into(), url, admin_url: None };
    entries.into_iter().map(entry).collect()
}
