//! The host's own leg in an external network: a veth with the gateway's address, so that the host reaches floating IPs. The bridge itself has
//! no address; what guests send to the host takes the same filtered way as everything else.
//!
//! Packets leave the machine only when `masquerade_external` is set: a table of our own hides the external network behind the host's address,
//! and IP forwarding, which is a setting of the whole host, is switched on (and, by `cleanup`, off again if it was we who did it).
//! No rule or table of anybody else is read or changed.

use std::path::{Path, PathBuf};

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
    link::attach(host, &inner, &names::bridge(&network.id), network.mtu).await.map(|_| ())
}

/// What hides the external networks behind the host; an empty table when that is not wanted.
///
/// br_netfilter shows bridged packets to NAT, too. They stay inside, whatever addresses a tenant chose, so bridges of ours are left out.
pub fn masquerade(desired: &Desired, config: &Config) -> Table {
    let mut table = Table::new("ip", MASQUERADE);
    let externals = || desired.networks.values().filter_map(|network| Some((network, config.external(network)?)));
    let bridges = desired.networks.keys().map(|id| names::bridge(id));
    let inside = bridges.chain(externals().map(|(network, _)| names::external(&network.id)));
    table.set("inside", "type ifname;", inside.map(|link| format!("\"{link}\"")));
    let gateways = externals().flat_map(|(_, external)| &external.gateway);
    let nets = gateways.filter(|net| config.masquerade_external && net.addr().is_ipv4());
    let rules = nets.map(|net| format!("oifname != @inside ip saddr {} masquerade", net.trunc()));
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
        let text = masquerade(&desired, &config).replace();
        assert!(text.contains("oifname != @inside ip saddr 172.24.4.0/24 masquerade"), "{text}");
        assert!(text.contains("\"cubaaaaaaaa-aa\"") && text.contains("\"cuxeeeeeeee-ee\""), "{text}");
    }
}
