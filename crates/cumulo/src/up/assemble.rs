//! The services put together: each gets its database, the bus, its neighbours' endpoints and a login of its own.
//!
//! Within this process an endpoint leads straight into the neighbour's router, to another process it is HTTP. Nothing of a service knows
//! which.

use std::sync::Arc;
use std::time::Duration;

use cinder::Cinder;
use futures::future::OptionFuture;
use glance::Glance;
use keystone::Keystone;
use kit::auth::{Authenticator, ServiceSession};
use kit::bus::{Bus, CONTROL, SIMULATED};
use kit::db::Location;
use kit::service::Service;
use neutron::Neutron;
use nova::Nova;
use placement::Placement;
use sdk::Endpoint;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::late::Late;
use crate::apis::{Api, PUBLIC};
use crate::config::Config;
use crate::join;
use crate::roles::{Role, Roles};
use crate::state::{Secrets, StateDir};

/// The file of the key that seals the keys of encrypted volumes, in the directory that all processes of a cloud share.
pub const MASTER_KEY: &str = "volume-keys/master";

/// What of the cloud is in this process, ready to be served.
pub struct Cloud {
    pub roles: Roles,
    pub services: Services,
    pub keystone: Option<Keystone>,
    pub glance: Option<Glance>,
    pub neutron: Option<Arc<Neutron>>,
    pub nova: Option<Nova>,
    pub cinder: Option<Cinder>,
    placement: Option<Placement>,
    pub bus: Bus,
    /// The public APIs, as the services see each other.
    pub apis: sdk::Cloud,
    pub sessions: Sessions,
}

/// What the sockets serve.
#[derive(Default)]
pub struct Services(Vec<(Api, Service)>);

impl Services {
    pub fn get(&self, api: Api) -> Option<&Service> {
        self.0.iter().find(|(name, _)| *name == api).map(|(_, service)| service)
    }
}

/// Logins of the services' own users.
pub struct Sessions {
    pub nova: ServiceSession,
    pub neutron: ServiceSession,
    pub cinder: ServiceSession,
    pub glance: ServiceSession,
}

/// Where the services of this process will be, so that each can be given endpoints of the others before they exist.
struct Places(Vec<(Api, Late)>);

/// Opens every service of these roles and connects them.
pub async fn assemble(state: &StateDir, config: &Config, roles: &Roles, secrets: &Secrets) -> Result<Cloud, String> {
    let places = Places(PUBLIC.iter().filter(|(_, api)| roles.serves(*api)).map(|(_, api)| (*api, Late::default())).collect());
    let apis = apis(config, &places)?;
    let password = config.identity.service_password.as_ref().unwrap_or(&secrets.service_password);
    let login = |service: &str| {
        let user = secrets.service_user.as_deref().unwrap_or(service);
        ServiceSession::new(apis.identity.0.clone(), user, password)
    };
    let sessions = Sessions { nova: login("nova"), neutron: login("neutron"), cinder: login("cinder"), glance: login("glance") };
    // those with a database speak for the cloud, the others for their host
    let several = config.sim_hosts > 1 || (config.sim_hosts == 1 && config.host.is_none());
    let sender = match roles.control() {
        true => CONTROL.to_owned(),
        false if several => SIMULATED.to_owned(),
        false => config.host(),
    };
    let bus = Bus::open(&config.bus, &sender).await.map_err(|error| format!("{error}."))?;
    let mut cloud = open(state, config, roles, bus, apis, sessions).await?;
    cloud.services = services(&cloud, state, config, secrets).map_err(|error| error.to_string())?;
    places.put(&cloud.services);
    Ok(cloud)
}

/// With its own SQLite files, whatever an earlier process left behind can only be this one's.
fn alone(config: &Config) -> bool {
    config.database == "sqlite"
}

async fn open(state: &StateDir, config: &Config, roles: &Roles, bus: Bus, apis: sdk::Cloud, sessions: Sessions) -> Result<Cloud, String> {
    let at = |service: &str| location(state, config, service);
    let (of_keystone, of_placement, of_neutron, of_nova) = (at("keystone"), at("placement"), at("neutron"), at("nova"));
    let settings_of_cinder = cinder::Config {
        location: at("cinder"),
        master_key: state.shared(config).join(MASTER_KEY),
        availability_zone: "nova".into(),
        alone: alone(config),
        probe: None,
    };
    let (settings_of_keystone, settings_of_glance) = (keystone_settings(state, config), glance_settings(state, config));
    let settings_of_neutron = neutron_settings(config)?;
    // a process of its own for nova's API leaves the long actions to the conductors
    let settings_of_nova = nova::Config { conduct: roles.has(Role::NovaConductor), ..config.compute.of_nova() };
    /// Opens a service when it is to be here.
    macro_rules! here {
        ($here:expr, $open:expr) => {
            OptionFuture::from($here.then(|| $open))
        };
    }
    let (keystone, glance, placement, neutron, cinder, nova) = tokio::join!(
        here!(roles.has(Role::Keystone), keystone::open(&of_keystone, settings_of_keystone)),
        here!(roles.has(Role::GlanceApi), glance::open(settings_of_glance)),
        here!(roles.has(Role::Placement), placement::open(&of_placement)),
        here!(
            roles.has(Role::NeutronServer),
            neutron::open(&of_neutron, settings_of_neutron, bus.clone(), &apis, sessions.neutron.clone())
        ),
        here!(
            roles.has(Role::CinderApi),
            cinder::open(settings_of_cinder, bus.clone(), apis.image.clone(), apis.compute.clone(), sessions.cinder.clone())
        ),
        here!(roles.nova(), nova::open(&of_nova, settings_of_nova, bus.clone(), apis.clone(), sessions.nova.clone())),
    );
    Ok(Cloud {
        roles: roles.clone(),
        services: Services::default(),
        keystone: opened("keystone", keystone)?,
        glance: opened("glance", glance)?.map(|glance| acquainted(glance, &apis, &sessions, config)),
        neutron: opened("neutron", neutron)?.map(Arc::new),
        nova: opened("nova", nova)?,
        cinder: opened("cinder", cinder)?,
        placement: opened("placement", placement)?,
        bus,
        apis,
        sessions,
    })
}

fn keystone_settings(state: &StateDir, config: &Config) -> keystone::Config {
    let shared = state.shared(config);
    keystone::Config {
        fernet_keys: shared.join("fernet-keys"),
        credential_keys: shared.join("credential-keys"),
        token_lifetime: Duration::from_secs(u64::from(config.token_hours) * 3600),
        public_url: config.endpoint(Api::Keystone),
        admin_url: config.url(config.ports.keystone_admin),
        allow_rescope_scoped_token: config.identity.allow_rescope_scoped_token,
        security: config.identity.security_compliance.clone(),
    }
}

fn glance_settings(state: &StateDir, config: &Config) -> glance::Config {
    let mut settings = glance::Config::new(location(state, config, "glance"), state.shared(config).join("images"));
    config.images.apply(&mut settings, (!alone(config)).then(|| config.host()));
    settings
}

/// Lets users import from other regions, and keystone say what projects may have, where that is asked for.
fn acquainted(mut glance: Glance, apis: &sdk::Cloud, sessions: &Sessions, config: &Config) -> Glance {
    if config.images.glance_download {
        glance = glance.among(glance::Regions { identity: apis.identity.clone(), authorities: config.endpoints.ca_file.clone() });
    }
    if config.images.use_keystone_limits {
        glance = glance.limited_by(glance::Unified { identity: apis.identity.clone(), session: sessions.glance.clone() });
    }
    glance
}

fn neutron_settings(config: &Config) -> Result<neutron::Config, String> {
    Ok(neutron::Config { alone: config.bus.url.is_none(), ..config.network.of_neutron()? })
}

/// Endpoints of all services: the places of those of this process, and the addresses of the others.
fn apis(config: &Config, places: &Places) -> Result<sdk::Cloud, String> {
    let endpoint = |api: Api| -> Result<Endpoint, String> {
        match places.0.iter().find(|(here, _)| *here == api) {
            Some((_, place)) => Ok(place.endpoint(&config.endpoint(api))),
            None => config.connect(api, ""),
        }
    };
    Ok(sdk::Cloud {
        identity: sdk::identity::Identity::new(endpoint(Api::Keystone)?),
        image: sdk::image::Image::new(endpoint(Api::Glance)?),
        network: sdk::network::Network::new(endpoint(Api::Neutron)?),
        volume: sdk::volume::Volume::new(endpoint(Api::Cinder)?),
        compute: sdk::compute::Compute::new(endpoint(Api::Nova)?),
        placement: sdk::placement::Placement::new(endpoint(Api::Placement)?),
    })
}

fn services(cloud: &Cloud, state: &StateDir, config: &Config, secrets: &Secrets) -> kit::Result<Services> {
    let url = config.endpoint(Api::Keystone);
    let asking = || cloud.apis.identity.0.clone();
    let mut services = Vec::new();
    let mut add = |api: Api, service: Option<kit::Result<Service>>| -> kit::Result<()> {
        services.extend(service.transpose()?.filter(|_| cloud.roles.serves(api)).map(|service| (api, service)));
        Ok(())
    };
    add(Api::Keystone, cloud.keystone.as_ref().map(Keystone::service))?;
    add(Api::Glance, cloud.glance.as_ref().map(|glance| glance.service(Authenticator::new(asking(), &url))))?;
    add(Api::Placement, cloud.placement.as_ref().map(|placement| placement.service(Authenticator::new(asking(), &url))))?;
    add(Api::Nova, cloud.nova.as_ref().map(|nova| nova.service(Authenticator::new(asking(), &url))))?;
    add(Api::Neutron, cloud.neutron.as_ref().map(|neutron| neutron.service(Authenticator::new(asking(), &url))))?;
    add(Api::Cinder, cloud.cinder.as_ref().map(|cinder| cinder.service(Authenticator::new(asking(), &url))))?;
    let vendor_data = config.compute.vendor_data(&cloud.sessions.nova).map_err(kit::Error::internal)?;
    add(Api::Metadata, Some(nova_compute::metadata::service::service(cloud.bus.clone(), &secrets.metadata_secret, vendor_data)))?;
    if config.bus.url.is_some() {
        add(Api::Join, Some(join::service(state.shared(config), config, secrets)))?;
    }
    Ok(Services(services))
}

impl Places {
    fn put(&self, services: &Services) {
        for (api, place) in &self.0 {
            if let Some(service) = services.get(*api) {
                place.put(service);
            }
        }
    }
}

impl Cloud {
    /// Begins what works without being asked, flows and reconcilers among it, until `stop`. The services speak to each other in it, so their
    /// users must be there.
    pub fn begin(&self, config: &Config, stop: &CancellationToken, tasks: &TaskTracker) {
        if let Some(glance) = self.glance.clone() {
            let stop = stop.clone();
            tasks.spawn(async move { ended("glance", glance.run(stop).await) });
        }
        if let Some(nova) = self.nova.clone() {
            let (stop, alone, parts) = (stop.clone(), alone(config), self.nova_parts());
            tasks.spawn(async move { ended("nova", nova.run_parts(stop, alone, parts).await) });
        }
        if let Some(neutron) = self.neutron.clone() {
            let stop = stop.clone();
            tasks.spawn(async move { neutron.run(stop).await });
        }
        if let Some(cinder) = self.cinder.clone() {
            let stop = stop.clone();
            tasks.spawn(async move { ended("cinder", cinder.run(stop).await) });
        }
    }

    fn nova_parts(&self) -> nova::Parts {
        nova::Parts { conductor: self.roles.has(Role::NovaConductor), scheduler: self.roles.has(Role::NovaScheduler) }
    }
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

fn opened<T>(service: &str, outcome: Option<kit::Result<T>>) -> Result<Option<T>, String> {
    outcome.transpose().map_err(|error| format!("{service} cannot start: {error}"))
}
