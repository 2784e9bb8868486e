//! Which subnets of a network the DHCP server of this host serves, and which ports it knows there.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use rpc::network::{Network, Port, Subnet};

use crate::host::mac::Mac;
use crate::metadata;

/// A subnet with DHCP on this host, and the address of our port in it.
#[derive(Clone, Copy)]
pub struct Served<'a> {
    pub subnet: &'a Subnet,
    pub net: IpNet,
    pub server: IpAddr,
}

/// What the server does for the guests of a subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Addresses and options.
    Addresses,
    /// Options for guests that made their address themselves.
    Options,
    /// Only names and metadata: routers tell the rest.
    Names,
}

impl Served<'_> {
    pub fn service(&self) -> Service {
        match (self.net, self.subnet.ipv6_address_mode.as_deref()) {
            (IpNet::V4(_), _) | (IpNet::V6(_), Some("dhcpv6-stateful")) => Service::Addresses,
            (IpNet::V6(_), Some("dhcpv6-stateless")) => Service::Options,
            (IpNet::V6(_), _) => Service::Names,
        }
    }

    /// The name servers of an IPv6 subnet: its own, or else ours.
    pub fn name_servers(&self) -> Vec<IpAddr> {
        let own: Vec<IpAddr> = self.subnet.dns_nameservers.iter().filter(|ip| ip.is_ipv6()).copied().collect();
        if own.is_empty() { vec![self.server] } else { own }
    }

    /// What its options are known by.
    pub fn tag(&self) -> String {
        format!("subnet-{}", self.subnet.id)
    }
}

pub fn subnets(network: &Network) -> impl Iterator<Item = Served<'_>> {
    network.subnets.iter().filter(|subnet| subnet.enable_dhcp).filter_map(|subnet| {
        let net: IpNet = subnet.cidr.parse().ok()?;
        let ours = network.dhcp.as_ref()?.fixed_ips.iter().find(|ip| ip.subnet_id == subnet.id)?;
        (ours.ip_address.is_ipv4() == net.addr().is_ipv4()).then_some(Served { subnet, net: net.trunc(), server: ours.ip_address })
    })
}

/// Has the network anything for a DHCP server to do?
pub fn is_served(network: &Network) -> bool {
    subnets(network).next().is_some()
}

/// Does the network have IPv6 on this host's DHCP port?
pub fn has_ipv6(network: &Network) -> bool {
    subnets(network).any(|s| s.server.is_ipv6())
}

/// The addresses of our port with their prefix lengths, and the metadata service's.
pub fn server_addresses(network: &Network) -> Vec<IpNet> {
    let own = subnets(network).filter_map(|s| IpNet::new(s.server, s.net.prefix_len()).ok());
    let metadata = has_ipv6(network).then(|| Ipv6Net::new_assert(metadata::ADDRESS_6, 64).into());
    own.chain([Ipv4Net::from(metadata::ADDRESS).into()]).chain(metadata).collect()
}

/// The gateways of the subnets, by which our own questions leave the network: one of each version.
pub fn gateways(network: &Network) -> Vec<IpAddr> {
    let near = |s: Served<'_>| s.subnet.gateway_ip.filter(|gateway| s.net.contains(gateway));
    let of = |v4: bool| subnets(network).filter_map(near).find(|gateway| gateway.is_ipv4() == v4);
    [of(true), of(false)].into_iter().flatten().collect()
}

/// One address of a port, as DHCP and DNS have it.
pub struct Entry<'a> {
    pub port: &'a Port,
    pub mac: Mac,
    pub address: IpAddr,
    pub service: Service,
    /// Is it the port's first?
    pub first: bool,
}

/// The addresses of these ports in served subnets.
pub fn entries<'a>(network: &Network, ports: impl Iterator<Item = &'a Port>) -> impl Iterator<Item = Entry<'a>> {
    let served: Vec<(String, Service)> = subnets(network).map(|s| (s.subnet.id.clone(), s.service())).collect();
    ports.flat_map(move |port| {
        let service = |id: &str| served.iter().find(|(subnet, _)| subnet == id).map(|(_, service)| *service);
        let own = port.fixed_ips.iter().filter_map(|ip| Some((ip.ip_address, service(&ip.subnet_id)?)));
        let mac: Option<Mac> = port.mac_address.parse().ok();
        let entry = |(i, (address, service))| Some(Entry { port, mac: mac?, address, service, first: i == 0 });
        own.enumerate().filter_map(entry).collect::<Vec<_>>()
    })
}

/// The port's name if it has one that fits, or one made from the address.
pub fn host_name(name: &str, address: IpAddr) -> String {
    if is_label(name) {
        return name.to_ascii_lowercase();
    }
    let name = format!("host-{}", address.to_string().replace(['.', ':'], "-"));
    name.trim_end_matches('-').to_owned()
}

/// What guests search names in.
pub fn domain(network: &Network) -> Option<&str> {
    labels(&network.dns_domain)
}

/// What the name of a port is in.
pub fn domain_of<'a>(port: &'a Port, network: &'a Network) -> Option<&'a str> {
    labels(&port.dns_domain).or_else(|| domain(network))
}

fn labels(domain: &str) -> Option<&str> {
    let domain = domain.trim_end_matches('.');
    domain.split('.').all(is_label).then_some(domain)
}

/// A DNS label, so that no name can smuggle in a line of configuration.
pub fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

pub fn ipv6(address: IpAddr) -> Option<Ipv6Addr> {
    match address {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn without_dhcp_nothing_is_served() {
        let mut network = fixtures::network();
        assert!(is_served(&network));
        network.subnets[0].enable_dhcp = false;
        assert!(!is_served(&network));
    }

    #[test]
    fn the_address_mode_says_what_the_server_does() {
        let mut network = fixtures::network_6();
        let service = |network: &Network| subnets(network).filter(|s| s.server.is_ipv6()).map(|s| s.service()).collect::<Vec<_>>();
        assert_eq!(service(&network), [Service::Addresses]);
        for (mode, expected) in [("dhcpv6-stateless", Service::Options), ("slaac", Service::Names)] {
            network.subnets[1].ipv6_address_mode = Some(mode.into());
            assert_eq!(service(&network), [expected]);
        }
        let addresses = server_addresses(&network);
        assert_eq!(addresses.last().unwrap().to_string(), "fe80::a9fe:a9fe/64");
    }

    #[test]
    fn questions_leave_by_the_gateways_that_are_near() {
        let mut network = fixtures::network_6();
        let text = |network: &Network| gateways(network).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(text(&network), ["10.1.0.1", "fd00:1::1"]);
        network.subnets[1].gateway_ip = Some("fe80::1".parse().unwrap());
        assert_eq!(text(&network), ["10.1.0.1"]);
    }

    #[test]
    fn names_are_labels() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(host_name("Web", ip("10.0.0.1")), "web");
        assert_eq!(host_name("", ip("fd00::5")), "host-fd00--5");
        assert_eq!(host_name("x\ny", ip("fd00::")), "host-fd00");
    }
}
