//! What every cloud begins with: who can log in, the catalog, flavors, the first networks, the guest image. Each is made when it is not there,
//! so every start does it again.

use std::collections::BTreeMap;
use std::path::Path;

use keystone::Bootstrap;
use keystone::bootstrap::CatalogEntry;

use super::assemble::Cloud;
use crate::config::Config;
use crate::state::{SERVICES, Secrets};

/// The image that `make guest-image` builds.
const GUEST_IMAGE: &str = "cumulo-guest";

/// Makes what is missing.
pub async fn bootstrap(cloud: &Cloud, config: &Config, secrets: &Secrets, guest_image: Option<&Path>) -> Result<(), String> {
    let failed = |what: &'static str| move |error: kit::Error| format!("{what} cannot be prepared: {error}");
    let wanted = Bootstrap {
        admin_password: secrets.admin_password.clone(),
        demo_password: secrets.demo_password.clone(),
        service_users: SERVICES.iter().map(|name| ((*name).to_owned(), secrets.service_password.clone())).collect(),
        region: config.region.clone(),
        endpoints: catalog(config),
    };
    let projects = cloud.keystone.bootstrap(&wanted).await.map_err(failed("keystone"))?;
    cloud.nova.bootstrap().await.map_err(failed("nova"))?;
    let networks = neutron::Bootstrap {
        admin_project: projects.admin.clone(),
        demo_project: projects.demo,
        public_cidr: config.network.external_cidr.clone(),
        public_gateway: config.network.external_gateway,
        public_pool: config.network.external_pool,
        private_cidr: "10.0.0.0/24".into(),
    };
    cloud.neutron.bootstrap(&networks).await.map_err(failed("neutron"))?;
    if let Some(path) = guest_image {
        cloud.glance.register(GUEST_IMAGE, path, &projects.admin, BTreeMap::new()).await.map_err(failed("the guest image"))?;
    }
    Ok(())
}

/// Every API's entry. Block storage goes by three names, because clients of different ages ask for different ones.
fn catalog(config: &Config) -> Vec<CatalogEntry> {
    let ports = &config.ports;
    let volume = format!("{}/v3/$(project_id)s", config.url(ports.cinder));
    let entries = [
        ("identity", "keystone", format!("{}/v3", config.url(ports.keystone))),
        ("image", "glance", config.url(ports.glance)),
        ("placement", "placement", config.url(ports.placement)),
        ("compute", "nova", format!("{}/v2.1", config.url(ports.nova))),
        ("network", "neutron", config.url(ports.neutron)),
        ("block-storage", "cinder", volume.clone()),
        ("volumev3", "cinderv3", volume.clone()),
        ("volume", "cinder-volume", volume),
    ];
    let entry = |(kind, name, url): (&str, &str, String)| CatalogEntry { kind: kind.into(), name: name.into(), url, admin_url: None };
    entries.into_iter().map(entry).collect()
}
