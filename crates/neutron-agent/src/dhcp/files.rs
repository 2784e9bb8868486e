//! What dnsmasq is told: its command line, and the files it reads again on SIGHUP. Pure text, from the desired state.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use rpc::network::{Network, Port, Subnet};

use crate::host::mac::Mac;
use crate::metadata;

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

/// A subnet with DHCP on this host, and the address of our port in it.
struct Served<'a> {
    subnet: &'a Subnet,
    net: Ipv4Net,
    server: Ipv4Addr,
}

fn served(network: &Network) -> impl Iterator<Item = Served<'_>> {
    network.subnets.iter().filter(|subnet| subnet.enable_dhcp).filter_map(|subnet| {
        let net: Ipv4Net = subnet.cidr.parse().ok()?;
        let ours = network.dhcp.as_ref()?.fixed_ips.iter().find(|ip| ip.subnet_id == subnet.id)?;
        match ours.ip_address {
            IpAddr::V4(server) => Some(Served { subnet, net: net.trunc(), server }),
            IpAddr::V6(_) => None,
        }
    })
}

/// Has the network anything for a DHCP server to do?
pub fn is_served(network: &Network) -> bool {
    served(network).next().is_some()
}

/// The addresses of our port with their prefix lengths, and the metadata service's.
pub fn server_addresses(network: &Network) -> Vec<ipnet::IpNet> {
    let own = served(network).filter_map(|s| Ipv4Net::new(s.server, s.net.prefix_len()).ok());
    own.chain([Ipv4Net::from(metadata::ADDRESS)]).map(Into::into).collect()
}

/// Whatever changes here needs a new process; the files do not.
pub fn arguments(network: &Network, interface: &str, paths: &Paths) -> Vec<String> {
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
    arguments.extend(["--leasefile-ro", "--dhcp-authoritative", "--no-ping", "--quiet-dhcp"].map(Into::into));
    // Only our own ports are answered: elsewhere on the network another host's server knows better.
    arguments.push("--dhcp-ignore=tag:!known".into());
    // The files are private to root.
    arguments.push("--user=root".into());
    if let Some(domain) = domain(network) {
        arguments.extend([format!("--domain={domain}"), format!("--local=/{domain}/")]);
    }
    for Served { subnet, net, .. } in served(network) {
        arguments.push(format!("--dhcp-range=set:{},{},static,{},{LEASE}", tag(subnet), net.addr(), net.netmask()));
    }
    arguments
}

/// `MAC,address,name` for each address of each port.
pub fn hosts<'a>(network: &Network, ports: impl Iterator<Item = &'a Port>) -> String {
    let mut text = String::new();
    for (port, mac, address, first) in entries(network, ports) {
        let name = if first { format!(",{}", host_name(port, address)) } else { String::new() };
        let _ = writeln!(text, "{mac},{address}{name}");
    }
    text
}

/// The same addresses for DNS: `address name.domain name`.
pub fn names<'a>(network: &Network, ports: impl Iterator<Item = &'a Port>) -> String {
    let mut text = String::new();
    for (port, _, address, _) in entries(network, ports) {
        let name = host_name(port, address);
        let _ = match domain(network) {
            Some(domain) => writeln!(text, "{address} {name}.{domain} {name}"),
            None => writeln!(text, "{address} {name}"),
        };
    }
    text
}

/// Address to MAC, as `hosts` gives them away.
pub fn bindings<'a>(network: &Network, ports: impl Iterator<Item = &'a Port>) -> BTreeMap<Ipv4Addr, Mac> {
    entries(network, ports).map(|(_, mac, address, _)| (address, mac)).collect()
}

/// Options by subnet: routes (the metadata service by way of our port, the default among them, as clients that know option 121 ignore
/// option 3), MTU and DNS.
pub fn options(network: &Network) -> String {
    let mut text = format!("option:mtu,{}\n", network.mtu);
    for Served { subnet, server, .. } in served(network) {
        let tag = tag(subnet);
        let mut routes = vec![format!("{},{server}", Ipv4Net::from(metadata::ADDRESS))];
        for route in &subnet.host_routes {
            if let (Ok(net), IpAddr::V4(hop)) = (route.destination.parse::<Ipv4Net>(), route.nexthop) {
                routes.push(format!("{},{hop}", net.trunc()));
            }
        }
        match subnet.gateway_ip {
            Some(IpAddr::V4(gateway)) => {
                routes.push(format!("0.0.0.0/0,{gateway}"));
                let _ = writeln!(text, "tag:{tag},option:router,{gateway}");
            }
            // an empty option: else dnsmasq names itself
            _ => drop(writeln!(text, "tag:{tag},option:router")),
        }
        let routes = routes.join(",");
        let _ = writeln!(text, "tag:{tag},option:classless-static-route,{routes}");
        let _ = writeln!(text, "tag:{tag},249,{routes}");
        let dns: Vec<String> = subnet.dns_nameservers.iter().filter(|ip| ip.is_ipv4()).map(IpAddr::to_string).collect();
        let dns = if dns.is_empty() { server.to_string() } else { dns.join(",") };
        let _ = writeln!(text, "tag:{tag},option:dns-server,{dns}");
    }
    text
}

/// (port, MAC, address, is it the port's first?) in served subnets.
fn entries<'a>(network: &Network, ports: impl Iterator<Item = &'a Port>) -> impl Iterator<Item = (&'a Port, Mac, Ipv4Addr, bool)> {
    let subnets: Vec<String> = served(network).map(|s| s.subnet.id.clone()).collect();
    ports.flat_map(move |port| {
        let own = port.fixed_ips.iter().filter(|ip| subnets.contains(&ip.subnet_id));
        let own = own.filter_map(|ip| match ip.ip_address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        });
        let mac: Option<Mac> = port.mac_address.parse().ok();
        own.enumerate().filter_map(|(i, address)| Some((port, mac?, address, i == 0))).collect::<Vec<_>>()
    })
}

fn tag(subnet: &Subnet) -> String {
    format!("subnet-{}", subnet.id)
}

fn domain(network: &Network) -> Option<&str> {
    let domain = network.dns_domain.trim_end_matches('.');
    let fits = |label: &str| is_label(label);
    (!domain.is_empty() && domain.split('.').all(fits)).then_some(domain)
}

fn host_name(port: &Port, address: Ipv4Addr) -> String {
    if is_label(&port.dns_name) {
        return port.dns_name.to_ascii_lowercase();
    }
    format!("host-{}", address.to_string().replace('.', "-"))
}

/// A DNS label, so that no name can smuggle in a line of configuration.
fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
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
    }

    #[test]
    fn option_121_has_metadata_and_the_default_route() {
        let text = options(&fixtures::network());
        let tag = format!("tag:subnet-{}", fixtures::SUBNET);
        assert!(text.contains(&format!("{tag},option:classless-static-route,169.254.169.254/32,10.1.0.2,0.0.0.0/0,10.1.0.1\n")));
        assert!(text.contains("option:mtu,1450\n"));
        assert!(text.contains(&format!("{tag},option:dns-server,10.1.0.2\n")));
    }

    #[test]
    fn without_a_gateway_there_is_no_default_route() {
        let mut network = fixtures::network();
        network.subnets[0].gateway_ip = None;
        let text = options(&network);
        assert!(!text.contains("0.0.0.0/0") && text.contains(",option:router\n"));
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
        let arguments = arguments(&fixtures::network(), "ns-33333333-33", &paths);
        let range = format!("--dhcp-range=set:subnet-{},10.1.0.0,static,255.255.255.0,86400", fixtures::SUBNET);
        assert!(arguments.contains(&range), "{arguments:?}");
        assert!(arguments.contains(&"--interface=ns-33333333-33".to_owned()));
        let mut off = fixtures::network();
        off.subnets[0].enable_dhcp = false;
        assert!(!is_served(&off));
    }
}
