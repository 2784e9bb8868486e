//! Kernel settings of the network namespace of the calling thread.

use std::path::PathBuf;

use crate::{Error, Result};

/// Set `net/...`, if it is not so.
pub fn set(name: &str, value: &str) -> Result<()> {
    if get(name).as_deref() == Some(value) {
        return Ok(());
    }
    std::fs::write(path(name), value).map_err(|error| Error::internal(format!("sysctl {name} = {value}: {error}")))
}

pub fn get(name: &str) -> Option<String> {
    std::fs::read_to_string(path(name)).ok().map(|text| text.trim().to_owned())
}

/// The host itself speaks no IPv6 on this link, so that tenants cannot reach it by a link-local address.
pub fn no_ipv6(link: &str) {
    let name = format!("net/ipv6/conf/{link}/disable_ipv6");
    // Absent where the kernel has no IPv6.
    if get(&name).is_some()
        && let Err(error) = set(&name, "1")
    {
        tracing::warn!(link, %error, "IPv6 of the host stays on");
    }
}

/// IPv6 is on, but the host has no address on this link, be it a link-local one, and takes none from advertisements. So a bridge can answer
/// neighbour discovery for others, which a link without IPv6 cannot. False where the kernel has no IPv6, or does not let it be so.
pub fn mute_ipv6(link: &str) -> bool {
    let name = |setting: &str| format!("net/ipv6/conf/{link}/{setting}");
    if get(&name("disable_ipv6")).is_none() {
        return false;
    }
    // It is on only once it can say nothing.
    let settings = [("addr_gen_mode", "1"), ("accept_ra", "0"), ("autoconf", "0"), ("disable_ipv6", "0")];
    let muted = settings.iter().try_for_each(|(setting, value)| set(&name(setting), value));
    muted.inspect_err(|error| tracing::warn!(link, %error, "IPv6 cannot be on without an address")).is_ok()
}

fn path(name: &str) -> PathBuf {
    PathBuf::from("/proc/sys").join(name)
}
