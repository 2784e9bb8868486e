//! Of root's powers a process keeps those that its parts need, and can give no others to what it starts. A controller keeps none.

use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};

use crate::config::Config;
use crate::roles::{Role, Roles};

/// Files and processes of guests and storage daemons, which are another user's: to make them over, look after them, and end them.
const OTHERS: &[Capability] = &[
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_FOWNER,
    Capability::CAP_KILL,
    Capability::CAP_SETGID,
    Capability::CAP_SETUID,
];
/// Taps; a private root and mounts for a guest; its memory locked, its priority and its limits.
const GUESTS: &[Capability] = &[
    Capability::CAP_NET_ADMIN,
    Capability::CAP_SYS_ADMIN,
    Capability::CAP_SYS_CHROOT,
    Capability::CAP_IPC_LOCK,
    Capability::CAP_SYS_NICE,
    Capability::CAP_SYS_RESOURCE,
];
/// Bridges, routes and rules; namespaces and their mounts; DHCP, DNS and metadata at their ports; packets as they are on the wire.
const NETWORKS: &[Capability] = &[
    Capability::CAP_NET_ADMIN,
    Capability::CAP_NET_RAW,
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_SYS_ADMIN,
    Capability::CAP_SYS_CHROOT,
    Capability::CAP_SYS_PTRACE,
];

/// Gives up, for this process and all it will start, what it has no use for. To be called while there is one thread.
pub fn keep(config: &Config, roles: &Roles) -> Result<(), String> {
    let have = |set| caps::read(None, set).map_err(|error| failed(&error));
    let (permitted, bounding) = (have(CapSet::Permitted)?, have(CapSet::Bounding)?);
    if permitted.is_empty() {
        return Ok(());
    }
    let needed = needed(config, roles);
    if permitted.contains(&Capability::CAP_SETPCAP) {
        for capability in bounding.difference(&needed) {
            caps::drop(None, CapSet::Bounding, *capability).map_err(|error| failed(&error))?;
        }
    }
    let kept: CapsHashSet = permitted.intersection(&needed).copied().collect();
    for (set, kept) in [(CapSet::Inheritable, &CapsHashSet::new()), (CapSet::Effective, &kept), (CapSet::Permitted, &kept)] {
        caps::set(None, set, kept).map_err(|error| failed(&error))?;
    }
    Ok(())
}

fn failed(error: &CapsError) -> String {
    format!("Root's powers cannot be given up: {error}.")
}

/// What the parts of this process need together.
fn needed(config: &Config, roles: &Roles) -> CapsHashSet {
    let mut needed = CapsHashSet::new();
    // simulated hosts touch nothing
    if config.sim_hosts == 0 {
        let parts: [(Role, &[&[Capability]]); 3] =
            [(Role::NovaCompute, &[OTHERS, GUESTS]), (Role::NeutronAgent, &[OTHERS, NETWORKS]), (Role::CinderVolume, &[OTHERS])];
        let here = parts.into_iter().filter(|(role, _)| roles.has(*role));
        needed.extend(here.flat_map(|(_, sets)| sets.iter().copied().flatten()).copied());
    }
    if config.ports.privileged() {
        needed.insert(Capability::CAP_NET_BIND_SERVICE);
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apis::Ports;

    #[test]
    fn a_controller_needs_nothing_and_a_host_what_its_parts_do() {
        let config = Config::default();
        let of = |roles: &[Role]| needed(&config, &Roles::new(roles.to_vec()));
        assert!(of(&[Role::Keystone, Role::NovaApi, Role::NovaConductor, Role::NeutronServer, Role::CinderApi]).is_empty());
        assert!(!of(&[Role::CinderVolume]).contains(&Capability::CAP_NET_ADMIN));
        let compute = of(&[Role::NovaCompute]);
        assert!(compute.contains(&Capability::CAP_NET_ADMIN) && !compute.contains(&Capability::CAP_NET_RAW));
        for never in [Capability::CAP_SYS_MODULE, Capability::CAP_SYS_RAWIO, Capability::CAP_SYS_BOOT, Capability::CAP_SYS_TIME] {
            assert!(!of(&[]).contains(&never), "{never}");
        }
        let simulated = Config { sim_hosts: 3, ..Config::default() };
        assert!(needed(&simulated, &Roles::new(Vec::new())).is_empty());
        let low = Config { ports: Ports { keystone: 443, ..Ports::default() }, ..simulated };
        assert_eq!(needed(&low, &Roles::new(Vec::new())).len(), 1);
    }
}
