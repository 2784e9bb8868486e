//! What dnsmasq is told: its command line, and the files it reads again on SIGHUP. Pure text, from the desired state.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use rpc::network::{Network, Port};

use super::options::port_tag;
use super::served::{self, Entry, Service, host_name};
use crate::host::mac::Mac;

/// Leases are renewed at half of this; addresses never change while a port lives.
const LEASE: &str = "86400";

/// Where the files of one network are.
pub struct Paths {
    pub dir: PathBuf,
}

impl Paths {
    pub fn new(state_dir: &Path, network_id: &str) -> Paths {
        Paths { dir: state_dir.join("neutron/dhcp").join(network_id) }
    }

    pub fn pid(&self) -> PathBuf {
        self.dir.join("pid")
    }

    pub fn hosts(&self) -> PathBuf {
        self.dir.join("hosts")
    }

    pub fn options(&self) -> PathBuf {
        self.dir.join("options")
    }

    pub fn names(&self) -> PathBuf {
        self.dir.join("names")
    }

    /// Addresses the running dnsmasq ever gave away, with their MACs.
    pub fn served(&self) -> PathBuf {
        self.dir.join("served")
    }
}

/// Whatever changes here needs a new process; the files do not.
pub fn arguments(network: &Network, interface: &str, paths: &Paths, dns_servers: &[IpAddr]) -> Vec<String> {
    let file = |option: &str, path: PathBuf| format!("--{option}={}", path.display());
    let mut arguments: Vec<String> =
        ["--conf-file=/dev/null", "--no-hosts", "--no-resolv", "--bind-interfaces", "--except-interface=lo"].map(Into::into).into();
    arguments.extend([
        format!("--interface={interface}"),
        file("pid-file", paths.pid()),
        file("dhcp-hostsfile", paths.hosts()),
        file("dhcp-optsfile", paths.options()),
        file("addn-hosts", paths.names()),
    ]);
    // Leases need no memory: every address is fixed, and whoever asks for his own gets it.
    arguments.extend(["--leasefile-ro", "--dhcp-authoritative", "--no-ping", "--quiet-dhcp", "--quiet-dhcp6"].map(Into::into));
    // Only our own ports are answered: elsewhere on the network another host's server knows better.
    arguments.push("--dhcp-ignore=tag:!known".into());
    // What options for network boot are conditional on.
    arguments.push("--dhcp-match=set:ipxe,175".into());
    // The files are private to root.
    arguments.push("--user=root".into());
    arguments.extend(dns_servers.iter().map(|server| format!("--server={server}")));
    if let Some(domain) = served::domain(network) {
        arguments.extend([format!("--domain={domain}"), format!("--local=/{domain}/")]);
    }
    for served in served::subnets(network).filter(|s| s.service() != Service::Names) {
        let length = match served.net {
            IpNet::V4(net) => net.netmask().to_string(),
            IpNet::V6(net) => net.prefix_len().to_string(),
        };
        arguments.push(format!("--dhcp-range=set:{},{},static,{length},{LEASE}", served.tag(), served.net.addr()));
    }
    arguments
}

/// `MAC,tag,address,name` for each address of each port; without an address for those that only want options.
pub fn hosts<'a>(network: &Network, ports: impl Iterator<Item = &'a Port>) -> String {
    let mut text = String::new();
    for entry in served::entries(network, ports) {
        let address = match (entry.service, entry.address) {
            (Service::Names, _) => continue,
            (Service::Options, _) => String::new(),
            (Service::Addresses, IpAddr::V4(address)) => format!(",{address}"),
            (Service::Addresses, IpAddr::V6(address)) => format!(",[{address}]"),
        };
        let tag = if entry.port.extra_dhcp_opts.is_empty() { String::new() } else { format!(",set:{}", port_tag(entry.port)) };
        let name = if entry.first { format!(",{}", name(&entry)) } else { String::new() };
        let _ = writeln!(text, "{}{tag}{address}{name}", entry.mac);
    }
    text
}

/// The addresses of all guests of the network for DNS: `address name.domain name`.
pub fn names<'a>(network: &Network, ports: impl Iterator<Item = &'a Port>) -> String {
    let mut text = String::new();
    let mut add = |address: IpAddr, name: String, domain: Option<&str>| {
        let _ = match domain {
            Some(domain) => writeln!(text, "{address} {name}.{domain} {name}"),
            None => writeln!(text, "{address} {name}"),
        };
    };
    for entry in served::entries(network, ports) {
        add(entry.address, name(&entry), served::domain_of(entry.port, network));
    }
    for peer in network.peers.iter().filter(|peer| !peer.dns_name.is_empty()) {
        for address in &peer.addresses {
            add(*address, host_name(&peer.dns_name, *address), served::domain(network));
        }
    }
    text
}

/// Address to MAC, as `hosts` gives them away.
pub fn bindings<'a>(network: &Network, ports: impl Iterator<Item = &'a Port>) -> BTreeMap<IpAddr, Mac> {
    let given = served::entries(network, ports).filter(|entry| entry.service == Service::Addresses);
    given.map(|entry| (entry.address, entry.mac)).collect()
}

fn name(entry: &Entry<'_>) -> String {
    host_name(&entry.port.dns_name, entry.address)
}

#[cfg(test)]
mod tests {
    use rpc::network::{DhcpOption, Peer};

    use super::*;
    use crate::fixtures;

    #[test]
    fn hosts_have_an_address_and_a_name() {
        let mut named = fixtures::port(fixtures::PORT_A, 11);
        named.dns_name = "web".into();
        let ports = [named, fixtures::port(fixtures::PORT_B, 12)];
        let network = fixtures::network();
        let text = hosts(&network, ports.iter());
        assert_eq!(text, "fa:16:3e:00:01:11,10.1.0.11,web\nfa:16:3e:00:01:12,10.1.0.12,host-10-1-0-12\n");
        assert!(names(&network, ports.iter()).starts_with("10.1.0.11 web.openstacklocal web\n"));
        let elsewhere = rpc::network::Port { dns_domain: "example.org.".into(), ..ports[0].clone() };
        assert_eq!(names(&network, [elsewhere].iter()), "10.1.0.11 web.example.org web\n");
    }

    #[test]
    fn guests_on_other_hosts_have_names_too() {
        let mut network = fixtures::network();
        let peer = |name: &str, ip: &str| Peer { dns_name: name.into(), addresses: vec![ip.parse().unwrap()], ..Peer::default() };
        network.peers = vec![peer("far", "10.1.0.77"), peer("", "10.1.0.3")];
        assert_eq!(names(&network, std::iter::empty()), "10.1.0.77 far.openstacklocal far\n");
        assert_eq!(hosts(&network, std::iter::empty()), "");
    }

    #[test]
    fn ports_with_options_have_a_tag() {
        let mut port = fixtures::port(fixtures::PORT_A, 11);
        port.extra_dhcp_opts = vec![DhcpOption { name: "mtu".into(), value: "1400".into(), ip_version: 4 }];
        let text = hosts(&fixtures::network(), [port].iter());
        assert_eq!(text, format!("fa:16:3e:00:01:11,set:port-{},10.1.0.11,host-10-1-0-11\n", fixtures::PORT_A));
    }

    #[test]
    fn ipv6_addresses_are_given_or_only_known() {
        let mut network = fixtures::network_6();
        let port = fixtures::port_6(fixtures::PORT_A, 11);
        let text = hosts(&network, [&port].into_iter());
        assert_eq!(text, "fa:16:3e:00:01:11,10.1.0.11,host-10-1-0-11\nfa:16:3e:00:01:11,[fd00:1::11]\n");
        network.subnets[1].ipv6_address_mode = Some("dhcpv6-stateless".into());
        assert!(hosts(&network, [&port].into_iter()).ends_with("\nfa:16:3e:00:01:11\n"));
        network.subnets[1].ipv6_address_mode = Some("slaac".into());
        assert_eq!(hosts(&network, [&port].into_iter()).lines().count(), 1);
        assert!(names(&network, [&port].into_iter()).contains("fd00:1::11 host-fd00-1--11.openstacklocal"));
        assert_eq!(bindings(&network, [&port].into_iter()).len(), 1);
    }

    #[test]
    fn a_host_name_cannot_smuggle_in_a_line() {
        let mut port = fixtures::port(fixtures::PORT_A, 11);
        port.dns_name = "x\nfa:16:3e:66:66:66,10.1.0.1".into();
        let text = hosts(&fixtures::network(), [port].iter());
        assert_eq!(text, "fa:16:3e:00:01:11,10.1.0.11,host-10-1-0-11\n");
    }

    #[test]
    fn a_subnet_is_a_static_range() {
        let paths = Paths::new(Path::new("/s"), fixtures::NET);
        let arguments = arguments(&fixtures::network_6(), "ns-33333333-33", &paths, &["192.0.2.53".parse().unwrap()]);
        let ranges = [
            format!("--dhcp-range=set:subnet-{},10.1.0.0,static,255.255.255.0,86400", fixtures::SUBNET),
            format!("--dhcp-range=set:subnet-{},fd00:1::,static,64,86400", fixtures::SUBNET_6),
        ];
        assert!(ranges.iter().all(|range| arguments.contains(range)), "{arguments:?}");
        for argument in ["--interface=ns-33333333-33", "--no-resolv", "--server=192.0.2.53", "--local=/openstacklocal/"] {
            assert!(arguments.contains(&argument.to_owned()), "{arguments:?}");
        }
    }
}
