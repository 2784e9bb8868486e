//! Takes everything of ours off a host, whether or not an agent ran to its end.

use std::path::Path;

use crate::dhcp::Dhcp;
use crate::host::files;
use crate::host::netlink::Netlink;
use crate::host::netns::Namespaces;
use crate::host::nft::Table;
use crate::host::ruleset::{blocking, nft};
use crate::linuxbridge::{external, firewall};
use crate::router::Routers;
use crate::{Result, names};

/// Removes namespaces, links, nft tables, dnsmasq processes and files of the cloud in `state_dir` from the network namespace it is called in, and
/// nothing else. Succeeds when there is nothing. Goes as far as it can, and answers the first error.
pub async fn cleanup(state_dir: &Path) -> Result<()> {
    let mut first: Result<()> = Ok(());
    let mut note = |result: Result<()>| {
        if let Err(error) = result {
            tracing::warn!(%error, "cleaning up");
            if first.is_ok() {
                first = Err(error);
            }
        }
    };
    let host = Netlink::here()?;
    let namespaces = Namespaces::new(state_dir);
    let dhcp = Dhcp::new(state_dir.to_owned(), vec![], namespaces.clone());
    let mut networks = files::names_in(&state_dir.join("neutron/dhcp"));
    let present = namespaces.list();
    networks.extend(present.iter().filter_map(|name| names::network_of_namespace(name)).map(Into::into));
    for network in &networks {
        note(dhcp.remove(&host, network).await);
    }
    let routers = Routers::new(state_dir, namespaces.clone());
    for router in present.iter().filter_map(|name| names::router_of_namespace(name)) {
        note(routers.remove(router).await);
    }
    for link in host.links().await?.keys().filter(|link| names::is_ours(link)) {
        note(host.delete(link).await);
    }
    note(remove_tables().await);
    note(external::restore_forwarding(state_dir));
    match std::fs::remove_dir_all(state_dir.join("neutron")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => note(Err(error.into())),
        _ => {}
    }
    first
}

async fn remove_tables() -> Result<()> {
    let tables = [("bridge", firewall::IDENTITY), ("inet", firewall::GROUPS), ("bridge", firewall::LIMITS), ("ip", external::MASQUERADE)];
    let script: String = tables.iter().map(|(family, name)| Table::new(family, name).delete()).collect();
    blocking(move || nft(&["-f", "-"], &script)).await.map(|_| ())
}
