//! What things of ours are called on a host. Every name follows from an OpenStack id, so that a restart finds what it made, and cleaning up
//! can tell ours from what is foreign.

/// Characters of an id in a name; with the prefix they just fit the kernel's 15.
const ID: usize = 11;

/// Prefixes of the links we make in the host's namespace: bridges, taps (made by nova-compute, but for those of a trunk's subports), host ends of DHCP, router and gateway veths,
/// both ends of an external network's own veth, VXLAN and VLAN devices, detours of what guests send.
const PREFIXES: [&str; 10] = [BRIDGE, "cut", DHCP, ROUTER, GATEWAY, EXTERNAL, EXTERNAL_BRIDGE_END, VXLAN, VLAN, SHAPER];
const BRIDGE: &str = "cub";
const DHCP: &str = "cud";
const ROUTER: &str = "cuq";
const GATEWAY: &str = "cug";
const EXTERNAL: &str = "cux";
const EXTERNAL_BRIDGE_END: &str = "cuy";
const VXLAN: &str = "cuv";
const VLAN: &str = "cul";
const SHAPER: &str = "cui";

const DHCP_NAMESPACE: &str = "cumulo-dhcp-";
const ROUTER_NAMESPACE: &str = "cumulo-router-";

/// The bridge of a network.
pub fn bridge(network_id: &str) -> String {
    named(BRIDGE, network_id)
}

/// The host end of a network's DHCP and metadata port.
pub fn dhcp_host_end(network_id: &str) -> String {
    named(DHCP, network_id)
}

/// The same port inside its namespace.
pub fn dhcp_inner(port_id: &str) -> String {
    named("ns-", port_id)
}

pub fn router_host_end(port_id: &str) -> String {
    named(ROUTER, port_id)
}

pub fn router_inner(port_id: &str) -> String {
    named("qr-", port_id)
}

pub fn gateway_host_end(port_id: &str) -> String {
    named(GATEWAY, port_id)
}

pub fn gateway_inner(port_id: &str) -> String {
    named("qg-", port_id)
}

/// The host's own leg in an external network: the end that has the address.
pub fn external(network_id: &str) -> String {
    named(EXTERNAL, network_id)
}

/// The end of that leg in the bridge.
pub fn external_bridge_end(network_id: &str) -> String {
    named(EXTERNAL_BRIDGE_END, network_id)
}

pub fn vxlan(network_id: &str) -> String {
    named(VXLAN, network_id)
}

/// The tag of a network on its physical network.
pub fn vlan(network_id: &str) -> String {
    named(VLAN, network_id)
}

/// The link by which what a port's guest sends takes its detour.
pub fn shaper(port_id: &str) -> String {
    named(SHAPER, port_id)
}

pub fn dhcp_namespace(network_id: &str) -> String {
    format!("{DHCP_NAMESPACE}{network_id}")
}

pub fn router_namespace(router_id: &str) -> String {
    format!("{ROUTER_NAMESPACE}{router_id}")
}

/// The network whose DHCP namespace this is.
pub fn network_of_namespace(namespace: &str) -> Option<&str> {
    namespace.strip_prefix(DHCP_NAMESPACE)
}

/// The router whose namespace this is.
pub fn router_of_namespace(namespace: &str) -> Option<&str> {
    namespace.strip_prefix(ROUTER_NAMESPACE)
}

/// Is this link in the host's namespace ours? Prefix and shape of an id: a foreign `customer0` is not.
pub fn is_ours(link: &str) -> bool {
    PREFIXES.iter().any(|prefix| link.strip_prefix(prefix).is_some_and(looks_like_an_id))
}

/// Ours, and made by nova-compute: let go of, never deleted, while the cloud runs.
pub fn is_tap(link: &str) -> bool {
    link.strip_prefix("cut").is_some_and(looks_like_an_id)
}

pub fn is_bridge(link: &str) -> bool {
    link.strip_prefix(BRIDGE).is_some_and(looks_like_an_id)
}

fn named(prefix: &str, id: &str) -> String {
    format!("{prefix}{}", id.chars().take(ID).collect::<String>())
}

fn looks_like_an_id(text: &str) -> bool {
    text.len() == ID && text.chars().enumerate().all(|(i, c)| if i == 8 { c == '-' } else { c.is_ascii_hexdigit() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_are_recognised() {
        let id = "0a1b2c3d-4e5f-4a4b-8c4d-5e5f6a7b8c9d";
        for name in [bridge(id), dhcp_host_end(id), router_host_end(id), external(id), rpc::compute::tap_name(id)] {
            assert!(name.len() <= 15 && is_ours(&name), "{name}");
        }
        assert_eq!(network_of_namespace(&dhcp_namespace(id)), Some(id));
    }

    #[test]
    fn foreign_links_are_not_ours() {
        for name in ["eth0", "customer0", "cub", "docker0", "cutxxxxxxxx-yy", "cutoff12345678"] {
            assert!(!is_ours(name), "{name}");
        }
    }
}
