//! What must be so before a cloud can start, each answered with a sentence that says what to do.

use std::path::Path;

use crate::config::Config;

/// Checks rights and programs; starts and changes nothing.
pub fn check(config: &Config, guest_image: Option<&Path>) -> Result<(), String> {
    if let Some(image) = guest_image {
        std::fs::File::open(image).map_err(|error| format!("The guest image {} cannot be read: {error}.", image.display()))?;
    }
    if config.sim_hosts > 0 {
        return Ok(());
    }
    if !nix::unistd::geteuid().is_root() {
        return Err("Real guests and networks need root; run it as root, or simulate hosts with --sim-hosts 1.".into());
    }
    nova_compute::preflight().map_err(|error| error.to_string())?;
    neutron_agent::preflight().map_err(|error| error.to_string())?;
    match cinder_volume::preflight().into_iter().next() {
        Some(missing) => Err(missing),
        None => Ok(()),
    }
}
