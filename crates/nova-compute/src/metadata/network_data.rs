//! `network_data.json`: the guest's interfaces and how to configure them where there is no DHCP.

use std::net::IpAddr;

use rpc::compute::{InterfaceAddress, NetworkInterface};
use serde_json::{Value, json};

/// The document of these interfaces.
pub fn render(interfaces: &[NetworkInterface]) -> Value {
    let mut networks = Vec::new();
    let mut services = Vec::new();
    for interface in interfaces {
        for address in &interface.fixed_ips {
            networks.push(network(networks.len(), interface, address));
            for dns in &address.dns {
                let service = json!({"type": "dns", "address": dns});
                if !services.contains(&service) {
                    services.push(service);
                }
            }
        }
    }
    json!({"links": interfaces.iter().map(link).collect::<Value>(), "networks": networks, "services": services})
}

fn link(interface: &NetworkInterface) -> Value {
    json!({"id": interface.device_name, "vif_id": interface.port_id, "type": "bridge", "mtu": interface.mtu,
           "ethernet_mac_address": interface.mac_address})
}

fn network(number: usize, interface: &NetworkInterface, address: &InterfaceAddress) -> Value {
    let family = if address.address.is_ipv4() { "ipv4" } else { "ipv6" };
    let mut network = json!({"id": format!("network{number}"), "link": interface.device_name, "network_id": interface.network_id});
    if address.dhcp && address.address.is_ipv4() {
        network["type"] = json!("ipv4_dhcp");
        return network;
    }
    network["type"] = json!(family);
    network["ip_address"] = json!(address.address);
    network["netmask"] = json!(netmask(&address.cidr));
    let (any, none) = if address.address.is_ipv4() { ("0.0.0.0", "0.0.0.0") } else { ("::", "::") };
    let default = address.gateway.map(|gateway| json!({"network": any, "netmask": none, "gateway": gateway}));
    let others = address.routes.iter().map(|(destination, next)| route(destination, next));
    network["routes"] = default.into_iter().chain(others).collect();
    network["services"] = address.dns.iter().map(|dns| json!({"type": "dns", "address": dns})).collect();
    network
}

fn route(destination: &str, next: &IpAddr) -> Value {
    let network = destination.split('/').next().unwrap_or_default();
    json!({"network": network, "netmask": netmask(destination), "gateway": next})
}

/// `255.255.255.0` of `10.0.0.0/24`
fn netmask(cidr: &str) -> String {
    cidr.parse::<ipnet::IpNet>().map(|net| net.netmask().to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::documents;
    use super::*;

    #[test]
    fn with_dhcp_the_guest_is_only_told_so() {
        let data = render(&documents().about.instance.network_info);
        assert_eq!(data["links"][0]["ethernet_mac_address"], "fa:16:3e:00:00:05");
        let dhcp = json!([{"id": "network0", "link": "cutport", "network_id": "network", "type": "ipv4_dhcp"}]);
        assert_eq!(data["networks"], dhcp);
        assert_eq!(data["services"], json!([{"type": "dns", "address": "10.0.0.2"}]));
    }

    #[test]
    fn without_it_is_told_everything() {
        let mut interfaces = documents().about.instance.network_info;
        interfaces[0].fixed_ips[0].dhcp = false;
        let network = &render(&interfaces)["networks"][0];
        assert_eq!(
            (&network["type"], &network["ip_address"], &network["netmask"]),
            (&json!("ipv4"), &json!("10.0.0.5"), &json!("255.255.255.0"))
        );
        let routes = json!([{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "10.0.0.1"},
                            {"network": "192.168.0.0", "netmask": "255.255.0.0", "gateway": "10.0.0.9"}]);
        assert_eq!(network["routes"], routes);
    }
}
