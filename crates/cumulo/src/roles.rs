//! What one process of a cloud is: everything, or the roles it was told with `--role`.

use clap::ValueEnum;

use crate::apis::Api;

/// A part of the cloud that can be a process of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    Keystone,
    GlanceApi,
    Placement,
    NovaApi,
    NovaScheduler,
    NovaConductor,
    NeutronServer,
    CinderApi,
    NovaCompute,
    NeutronAgent,
    CinderVolume,
}

/// The parts of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles {
    /// Empty for the whole cloud in one process.
    told: Vec<Role>,
    /// Whether the cloud uses a keystone of others: then nobody here is one.
    keystone_of_others: bool,
}

impl Roles {
    pub fn new(told: Vec<Role>) -> Roles {
        Roles { told, keystone_of_others: false }
    }

    /// The same in a cloud that may use a keystone of others.
    pub fn beside(&self, keystone_of_others: bool) -> Result<Roles, String> {
        if keystone_of_others && self.told.contains(&Role::Keystone) {
            return Err("identity.url names a keystone of others; nobody has the role keystone in this cloud.".into());
        }
        Ok(Roles { told: self.told.clone(), keystone_of_others })
    }

    /// Everything of ours is here, and nothing elsewhere.
    pub fn whole(&self) -> bool {
        self.told.is_empty()
    }

    pub fn has(&self, role: Role) -> bool {
        let there = role != Role::Keystone || !self.keystone_of_others;
        there && (self.whole() || self.told.contains(&role))
    }

    pub fn any(&self, roles: &[Role]) -> bool {
        roles.iter().any(|role| self.has(*role))
    }

    /// Whether nova's database is used here.
    pub fn nova(&self) -> bool {
        self.any(&[Role::NovaApi, Role::NovaScheduler, Role::NovaConductor])
    }

    /// Whether there is a service with a database here.
    pub fn control(&self) -> bool {
        self.nova() || self.any(&[Role::Keystone, Role::GlanceApi, Role::Placement, Role::NeutronServer, Role::CinderApi])
    }

    /// Whether this process looks after a host.
    pub fn host(&self) -> bool {
        self.any(&[Role::NovaCompute, Role::NeutronAgent, Role::CinderVolume])
    }

    /// Whether this process answers an API.
    pub fn serves(&self, api: Api) -> bool {
        self.has(match api {
            Api::Join if self.keystone_of_others => Role::NovaApi,
            Api::Keystone | Api::Join => Role::Keystone,
            Api::Glance => Role::GlanceApi,
            Api::Placement => Role::Placement,
            Api::Nova => Role::NovaApi,
            Api::Neutron => Role::NeutronServer,
            Api::Cinder => Role::CinderApi,
            // the proxies in guests' networks ask the one of their own host
            Api::Metadata => Role::NeutronAgent,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_roles_everything_is_here() {
        let roles = Roles::new(Vec::new());
        assert!(roles.whole() && roles.control() && roles.host() && roles.serves(Api::Cinder));
    }

    #[test]
    fn a_keystone_of_others_is_not_here() {
        let roles = Roles::new(Vec::new()).beside(true).unwrap();
        assert!(roles.whole() && roles.serves(Api::Nova) && roles.serves(Api::Join) && !roles.serves(Api::Keystone));
        assert!(Roles::new(vec![Role::Keystone]).beside(true).unwrap_err().contains("identity.url"));
        assert!(Roles::new(vec![Role::Keystone]).beside(false).unwrap().serves(Api::Join));
    }

    #[test]
    fn with_roles_only_they_are() {
        let roles = Roles::new(vec![Role::NovaCompute, Role::NeutronAgent]);
        assert!(roles.host() && !roles.control() && roles.serves(Api::Metadata) && !roles.serves(Api::Nova));
        let roles = Roles::new(vec![Role::NovaConductor]);
        assert!(roles.nova() && roles.control() && !roles.host() && !roles.serves(Api::Nova));
    }
}
