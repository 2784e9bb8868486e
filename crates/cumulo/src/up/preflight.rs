//! What must be so before a cloud can start, each answered with a sentence that says what to do.

use std::path::Path;

use crate::config::Config;
use crate::roles::{Role, Roles};

/// Checks rights and programs; starts and changes nothing.
pub fn check(config: &Config, roles: &Roles, guest_image: Option<&Path>) -> Result<(), String> {
    if let Some(image) = guest_image {
        std::fs::File::open(image).map_err(|error| format!("The guest image {} cannot be read: {error}.", image.display()))?;
    }
    if !roles.whole() && config.bus.url.is_none() {
        return Err("A process with roles reaches the others over NATS; [bus] url in cumulo.toml says where it is.".into());
    }
    if !roles.whole() && roles.control() && config.database == "sqlite" {
        return Err("Services of several processes share a PostgreSQL; database in cumulo.toml says where it is.".into());
    }
    if config.sim_hosts > 0 || !roles.host() {
        return Ok(());
    }
    if !nix::unistd::geteuid().is_root() {
        return Err("Real guests and networks need root; run it as root, or simulate hosts with --sim-hosts 1.".into());
    }
    if roles.has(Role::NovaCompute) {
        nova_compute::preflight().map_err(|error| error.to_string())?;
    }
    if roles.has(Role::NeutronAgent) {
        neutron_agent::preflight().map_err(|error| error.to_string())?;
    }
    if !roles.has(Role::CinderVolume) {
        return Ok(());
    }
    let of_drivers = config.volumes.backends.iter().flat_map(|backend| backend.driver.programs());
    match cinder_volume::preflight(of_drivers).into_iter().next() {
        Some(missing) => Err(missing),
        None => Ok(()),
    }
}
