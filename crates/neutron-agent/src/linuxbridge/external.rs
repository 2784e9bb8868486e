//! The host's own leg in an external network: a veth with the gateway's address, so that the host reaches floating IPs. The bridge itself has
//! no address; what guests send to the host takes the same filtered way as everything else.
//!
//! Packets leave the machine only when `masquerade_external` is set: a table of our own hides the external network behind the host's address,
//! and IP forwarding, which is a setting of the whole host, is switched on (and, by `cleanup`, off again if it was we who did it).
//! No rule or table of anybody else is read or changed.

use std::path::{Path, PathBuf};

use ipnet::IpNet;
use rpc::network::Network;

use crate::config::{Config, External};
use crate::desired::Desired;
use crate::host::netlink::{Netlink, Peer};
use crate::host::nft::Table;
use crate::host::{files, link, sysctl};
use crate::names;
use crate::{Error, Result};

pub const MASQUERADE: &str = "cumulo_external";
const FORWARDING: &str = "net/ipv4/ip_forward";

/// Make the leg of this network, with its addresses.
pub async fn ensure(host: &Netlink, network: &Network, external: &External) -> Result<()> {
    let (outer, inner) = (names::external(&network.id), names::external_bridge_end(&network.id));
    let (mut leg, bridge_end) = (host.link(&outer).await?, host.link(&inner).await?);
    if leg.is_none() || bridge_end.is_none() {
        host.delete(&outer).await?;
        host.add_veth(&outer, network.mtu, Peer { name: &inner, netns: None, mac: None }).await?;
        leg = host.link(&outer).await?;
    }
    let leg = leg.ok_or_else(|| Error::internal(format!("{outer} did not appear")))?;
    sysctl::no_ipv6(&outer);
    let have = host.addresses(leg.index).await?;
    for address in have.iter().filter(|address| !external.gateway.contains(address)) {
        host.delete_address(leg.index, *address).await?;
    }
    for address in external.gateway.iter().filter(|address| !have.contains(address)) {
        host.add_address(leg.index, *address).await?;
    }
    host.set_up(&outer).await?;
    link::attach(host, &inner, &names::bridge(&network.id), network.mtu).await
}

/// What hides the external networks behind the host; an empty table when that is not wanted.
pub fn masquerade(desired: &Desired, config: &Config) -> Table {
    let mut table = Table::new("ip", MASQUERADE);
    let networks = desired.networks.values().filter(|_| config.masquerade_external);
    let rules = networks.filter_map(|network| Some((network, config.external(network)?))).flat_map(|(network, external)| {
        let leg = names::external(&network.id);
        let nets = external.gateway.iter().filter_map(|net| match net {
            IpNet::V4(net) => Some(net.trunc()),
            IpNet::V6(_) => None,
        });
        nets.map(move |net| format!("ip saddr {net} oifname != \"{leg}\" masquerade")).collect::<Vec<_>>()
    });
    table.hook("postrouting", "type nat hook postrouting priority srcnat", rules.collect());
    table
}

/// Switch IP forwarding on, and remember that it was we.
pub fn forward(config: &Config) -> Result<()> {
    if !config.masquerade_external || sysctl::get(FORWARDING).as_deref() == Some("1") {
        return Ok(());
    }
    let note = note(&config.state_dir);
    if let Some(dir) = note.parent() {
        files::make_dir(dir)?;
    }
    files::write_if_changed(&note, b"1\n")?;
    tracing::warn!("masquerade_external: switching on IP forwarding of this host");
    sysctl::set(FORWARDING, "1")
}

/// Leave IP forwarding as it was before us.
pub fn restore_forwarding(state_dir: &Path) -> Result<()> {
    if !note(state_dir).exists() {
        return Ok(());
    }
    sysctl::set(FORWARDING, "0")?;
    std::fs::remove_file(note(state_dir))?;
    Ok(())
}

fn note(state_dir: &Path) -> PathBuf {
    state_dir.join("neutron/forwarding-switched-on")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn packets_leave_the_machine_only_when_told() {
        let desired = Desired::from_state(fixtures::state());
        let mut config = Config::for_tests();
        assert!(!masquerade(&desired, &config).replace().contains("masquerade"));
        config.masquerade_external = true;
        let rule = "ip saddr 172.24.4.0/24 oifname != \"cuxeeeeeeee-ee\" masquerade";
        assert!(masquerade(&desired, &config).replace().contains(rule));
    }
}
