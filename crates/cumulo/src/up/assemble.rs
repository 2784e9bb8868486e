//! The services put together: each gets its database, the bus, its neighbours' endpoints and a login of its own.
//!
//! In this one process an endpoint leads straight into the neighbour's router. Nothing of a service knows that.

use std::sync::Arc;
use std::time::Duration;

use cinder::Cinder;
use glance::Glance;
use keystone::Keystone;
use kit::auth::{Authenticator, ServiceSession};
use kit::bus::Bus;
use kit::db::Location;
use kit::service::Service;
use neutron::Neutron;
use nova::Nova;
use placement::Placement;
use sdk::Endpoint;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::hosts::machine_name;
use super::late::Late;
use crate::config::Config;
use crate::state::{Secrets, StateDir};

/// The cloud, ready to be served.
pub struct Cloud {
    pub services: Services,
    pub keystone: Keystone,
    pub glance: Glance,
    pub neutron: Arc<Neutron>,
    pub nova: Nova,
    pub bus: Bus,
    /// The public APIs, as the services see each other.
    pub apis: sdk::Cloud,
    pub sessions: Sessions,
}

/// What the sockets serve.
pub struct Services {
    pub keystone: Service,
    pub glance: Service,
    pub placement: Service,
    pub nova: Service,
    pub neutron: Service,
    pub cinder: Service,
    /// Nova's metadata API, which the metadata proxies of hosts ask.
    pub metadata: Service,
}

/// Logins of the services' own users.
pub struct Sessions {
    pub nova: ServiceSession,
    pub neutron: ServiceSession,
    pub cinder: ServiceSession,
}

/// Places for the services, so that each can be given endpoints of the others before they exist.
#[derive(Default)]
struct Places {
    keystone: Late,
    glance: Late,
    placement: Late,
    nova: Late,
    neutron: Late,
    cinder: Late,
}

/// Opens every service and connects them. Their background work runs until `stop`.
pub async fn assemble(
    state: &StateDir,
    config: &Config,
    secrets: &Secrets,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) -> Result<Cloud, String> {
    let places = Places::default();
    let apis = apis(config, &places);
    let login = |user: &str| ServiceSession::new(apis.identity.0.clone(), user, &secrets.service_password);
    let sessions = Sessions { nova: login("nova"), neutron: login("neutron"), cinder: login("cinder") };
    let bus = Bus::local();
    let at = |service: &str| location(state, config, service);
    let (of_keystone, of_placement, of_neutron, of_nova) = (at("keystone"), at("placement"), at("neutron"), at("nova"));

    let settings = keystone::Config {
        fernet_keys: state.join("fernet-keys"),
        credential_keys: state.join("credential-keys"),
        token_lifetime: Duration::from_secs(u64::from(config.token_hours) * 3600),
        public_url: config.url(config.ports.keystone),
        admin_url: config.url(config.ports.keystone_admin),
        allow_rescope_scoped_token: config.identity.allow_rescope_scoped_token,
        security: config.identity.security_compliance.clone(),
    };
    // with its own SQLite files, whatever an earlier process left behind can only be this one's
    let alone = config.database == "sqlite";
    let mut settings_of_glance = glance::Config::new(at("glance"), state.join("images"));
    config.images.apply(&mut settings_of_glance, (!alone).then(|| config.host.clone().unwrap_or_else(machine_name)));
    let settings_of_cinder = cinder::Config {
        location: at("cinder"),
        master_key: state.join("volume-keys/master"),
        availability_zone: "nova".into(),
        alone,
        probe: None,
    };
    let vlan_ranges = config.network.vlan_ranges.iter().map(|text| text.parse()).collect::<Result<_, String>>();
    let settings_of_neutron = neutron::Config {
        dns_nameservers: config.network.dns_nameservers.clone(),
        vlan_ranges: vlan_ranges.map_err(|error| format!("network.vlan_ranges: {error}."))?,
        ..neutron::Config::default()
    };
    let settings_of_nova =
        nova::Config { archive_deleted_after: config.compute.archive_deleted_after.map(Duration::from_secs), ..nova::Config::default() };
    let (keystone, glance, placement, neutron, cinder, nova) = tokio::join!(
        keystone::open(&of_keystone, settings),
        glance::open(settings_of_glance),
        placement::open(&of_placement),
        neutron::open(&of_neutron, settings_of_neutron, bus.clone(), &apis, sessions.neutron.clone()),
        cinder::open(settings_of_cinder, bus.clone(), apis.image.clone(), apis.compute.clone(), sessions.cinder.clone()),
        nova::open(&of_nova, settings_of_nova, bus.clone(), apis.clone(), sessions.nova.clone()),
    );
    let (keystone, glance, placement) = (opened("keystone", keystone)?, opened("glance", glance)?, opened("placement", placement)?);
    let (neutron, cinder, nova) = (Arc::new(opened("neutron", neutron)?), opened("cinder", cinder)?, opened("nova", nova)?);

    let services = services(config, secrets, &bus, &apis, &keystone, &glance, &placement, &nova, &neutron, &cinder)
        .map_err(|error| error.to_string())?;
    places.put(&services);
    background(&glance, &nova, &neutron, &cinder, alone, stop, tasks);
    Ok(Cloud { services, keystone, glance, neutron, nova, bus, apis, sessions })
}

/// Endpoints of all services, which lead to the places they will be in.
fn apis(config: &Config, places: &Places) -> sdk::Cloud {
    let ports = &config.ports;
    let endpoint = |place: &Late, port: u16, path: &str| -> Endpoint { place.endpoint(&format!("{}{path}", config.url(port))) };
    sdk::Cloud {
        identity: sdk::identity::Identity::new(endpoint(&places.keystone, ports.keystone, "")),
        image: sdk::image::Image::new(endpoint(&places.glance, ports.glance, "")),
        network: sdk::network::Network::new(endpoint(&places.neutron, ports.neutron, "")),
        volume: sdk::volume::Volume::new(endpoint(&places.cinder, ports.cinder, "")),
        compute: sdk::compute::Compute::new(endpoint(&places.nova, ports.nova, "")),
        placement: sdk::placement::Placement::new(endpoint(&places.placement, ports.placement, "")),
    }
}

#[allow(clippy::too_many_arguments)] // one of each service
fn services(
    config: &Config,
    secrets: &Secrets,
    bus: &Bus,
    apis: &sdk::Cloud,
    keystone: &Keystone,
    glance: &Glance,
    placement: &Placement,
    nova: &Nova,
    neutron: &Neutron,
    cinder: &Cinder,
) -> kit::Result<Services> {
    let url = config.url(config.ports.keystone);
    let asking = || apis.identity.0.clone();
    Ok(Services {
        keystone: keystone.service()?,
        glance: glance.service(Authenticator::new(asking(), &url))?,
        placement: placement.service(Authenticator::new(asking(), &url))?,
        nova: nova.service(Authenticator::new(asking(), &url))?,
        neutron: neutron.service(Authenticator::new(asking(), &url))?,
        cinder: cinder.service(Authenticator::new(asking(), &url))?,
        metadata: nova_compute::metadata::service::service(bus.clone(), &secrets.metadata_secret)?,
    })
}

impl Places {
    fn put(&self, services: &Services) {
        self.keystone.put(&services.keystone);
        self.glance.put(&services.glance);
        self.placement.put(&services.placement);
        self.nova.put(&services.nova);
        self.neutron.put(&services.neutron);
        self.cinder.put(&services.cinder);
    }
}

/// Flows, reconcilers and what else works without being asked.
fn background(
    glance: &Glance,
    nova: &Nova,
    neutron: &Arc<Neutron>,
    cinder: &Cinder,
    alone: bool,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) {
    let (glance, stop_glance) = (glance.clone(), stop.clone());
    tasks.spawn(async move { ended("glance", glance.run(stop_glance).await) });
    let (nova, neutron, cinder) = (nova.clone(), neutron.clone(), cinder.clone());
    let (stop_nova, stop_neutron, stop_cinder) = (stop.clone(), stop.clone(), stop.clone());
    tasks.spawn(async move { ended("nova", nova.run(stop_nova, alone).await) });
    tasks.spawn(async move { neutron.run(stop_neutron).await });
    tasks.spawn(async move { ended("cinder", cinder.run(stop_cinder).await) });
}

pub fn ended(part: &str, outcome: kit::Result<()>) {
    if let Err(error) = outcome {
        tracing::error!(part, %error, "stopped working");
    }
}

/// Where a service keeps its data.
pub fn location(state: &StateDir, config: &Config, service: &str) -> Location {
    match config.database.as_str() {
        "sqlite" => Location::Sqlite(state.join("db").join(format!("{service}.sqlite"))),
        url => Location::Postgres { url: url.to_owned(), schema: format!("{}{service}", config.schema_prefix) },
    }
}

fn opened<T>(service: &str, outcome: kit::Result<T>) -> Result<T, String> {
    outcome.map_err(|error| format!("{service} cannot start: {error}"))
}
