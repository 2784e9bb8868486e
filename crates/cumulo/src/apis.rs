//! The APIs: the port each listens on here, and the address at which clients and the other services find it.

use std::path::PathBuf;

use sdk::Endpoint;
use serde::{Deserialize, Serialize};

use crate::config::Config;

/// An API of the cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    Keystone,
    Nova,
    Placement,
    Glance,
    Neutron,
    Cinder,
    /// Nova's metadata service; only its host's metadata proxies talk to it.
    Metadata,
    /// Where machines that were invited become hosts.
    Join,
}

/// The APIs of the catalog.
pub const PUBLIC: [(&str, Api); 6] = [
    ("keystone", Api::Keystone),
    ("nova", Api::Nova),
    ("placement", Api::Placement),
    ("glance", Api::Glance),
    ("neutron", Api::Neutron),
    ("cinder", Api::Cinder),
];

/// The ports of the APIs, OpenStack's own by default.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ports {
    pub keystone: u16,
    /// Where clients of the identity API v2.0 expect its administrative half; 0 for none.
    pub keystone_admin: u16,
    pub nova: u16,
    pub placement: u16,
    pub glance: u16,
    pub neutron: u16,
    pub cinder: u16,
    /// Nova's metadata service; only this host's metadata proxies talk to it.
    pub metadata: u16,
    /// Where machines join a cloud of several; served beside keystone.
    pub join: u16,
}

impl Default for Ports {
    fn default() -> Ports {
        Ports {
            keystone: 5000,
            keystone_admin: 35357,
            nova: 8774,
            placement: 8778,
            glance: 9292,
            neutron: 9696,
            cinder: 8776,
            metadata: 8775,
            join: 8790,
        }
    }
}

impl Ports {
    pub fn of(&self, api: Api) -> u16 {
        match api {
            Api::Keystone => self.keystone,
            Api::Nova => self.nova,
            Api::Placement => self.placement,
            Api::Glance => self.glance,
            Api::Neutron => self.neutron,
            Api::Cinder => self.cinder,
            Api::Metadata => self.metadata,
            Api::Join => self.join,
        }
    }

    /// Whether one of them is root's alone.
    pub fn privileged(&self) -> bool {
        let all = PUBLIC.iter().map(|(_, api)| self.of(*api)).chain([self.keystone_admin, self.metadata, self.join]);
        all.into_iter().any(|port| (1..1024).contains(&port))
    }
}

/// `[endpoints]`: where an API is found that is not at `public_host` and the port of `[ports]`: behind a balancer, say, or on a machine of
/// its own. `http://HOST:PORT` or `https://HOST:PORT`, without a path.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Endpoints {
    pub keystone: Option<String>,
    pub nova: Option<String>,
    pub placement: Option<String>,
    pub glance: Option<String>,
    pub neutron: Option<String>,
    pub cinder: Option<String>,
    /// The authorities, in PEM, that vouch for all that is behind https; those this host trusts when absent.
    pub ca_file: Option<PathBuf>,
}

impl Endpoints {
    fn of(&self, api: Api) -> Option<&String> {
        match api {
            Api::Keystone => self.keystone.as_ref(),
            Api::Nova => self.nova.as_ref(),
            Api::Placement => self.placement.as_ref(),
            Api::Glance => self.glance.as_ref(),
            Api::Neutron => self.neutron.as_ref(),
            Api::Cinder => self.cinder.as_ref(),
            Api::Metadata | Api::Join => None,
        }
    }

    /// What the types cannot say.
    pub fn check(&self) -> Result<(), String> {
        for (name, api) in PUBLIC {
            if let Some(url) = self.of(api).filter(|url| !url.starts_with("http://") && !url.starts_with("https://")) {
                return Err(format!("endpoints.{name} is {url:?}; it must be http://HOST:PORT or https://HOST:PORT."));
            }
        }
        Ok(())
    }
}

impl Config {
    /// Where clients and services find an API: `http://HOST:PORT`.
    pub fn endpoint(&self, api: Api) -> String {
        let others = self.identity.elsewhere().filter(|_| api == Api::Keystone);
        match others.or(self.endpoints.of(api).map(String::as_str)) {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => self.url(self.ports.of(api)),
        }
    }

    /// The same for all, for those who cannot know it by the ports alone.
    pub fn all_endpoints(&self) -> Endpoints {
        let at = |api: Api| Some(self.endpoint(api));
        Endpoints {
            keystone: at(Api::Keystone),
            nova: at(Api::Nova),
            placement: at(Api::Placement),
            glance: at(Api::Glance),
            neutron: at(Api::Neutron),
            cinder: at(Api::Cinder),
            ca_file: self.endpoints.ca_file.clone(),
        }
    }

    /// What of an API is below a path, over the network.
    pub fn connect(&self, api: Api, path: &str) -> Result<Endpoint, String> {
        let url = format!("{}{path}", self.endpoint(api));
        match &self.endpoints.ca_file {
            Some(file) if url.starts_with("https://") => {
                Endpoint::trusting(file, &url).map_err(|error| format!("endpoints.ca_file: {error}."))
            }
            Some(_) | None => Ok(Endpoint::http(&url)),
        }
    }
}
