//! The options file of a dnsmasq: routes, name servers and MTU for each subnet, and what single ports want beside that or instead of it.

use std::fmt::Write;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use rpc::network::{DhcpOption, Network, Port};

use super::served::{self, Served, Service};
use crate::metadata;

/// Options by subnet, then those of ports: tags that a port has go before those of its subnet.
pub fn options<'a>(network: &Network, ports: impl Iterator<Item = &'a Port>) -> String {
    let mut text = format!("option:mtu,{}\n", network.mtu);
    for served in served::subnets(network) {
        match (served.net, served.service()) {
            (IpNet::V4(_), _) => ipv4(&mut text, &served),
            (IpNet::V6(_), Service::Addresses | Service::Options) => ipv6(&mut text, network, &served),
            (IpNet::V6(_), Service::Names) => {}
        }
    }
    for port in ports {
        for option in &port.extra_dhcp_opts {
            match extra(port, option) {
                Some(line) => text.push_str(&line),
                None => tracing::warn!(port = port.id, option = option.name, "a DHCP option that cannot be told is left out"),
            }
        }
    }
    text
}

/// What the options of a port are known by.
pub fn port_tag(port: &Port) -> String {
    format!("port-{}", port.id)
}

/// Routes to the metadata service by way of our port, and the default among them, as clients that know option 121 ignore option 3.
fn ipv4(text: &mut String, served: &Served<'_>) {
    let (tag, subnet, server) = (served.tag(), served.subnet, served.server);
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

fn ipv6(text: &mut String, network: &Network, served: &Served<'_>) {
    let tag = served.tag();
    let dns: Vec<String> = served.name_servers().iter().map(|ip| format!("[{ip}]")).collect();
    let _ = writeln!(text, "tag:{tag},option6:dns-server,{}", dns.join(","));
    if let Some(domain) = served::domain(network) {
        let _ = writeln!(text, "tag:{tag},option6:domain-search,{domain}");
    }
}

/// `tag:port-ID,option:NAME,VALUE`. A name may begin with a condition of dnsmasq's, `tag:ipxe,67`.
fn extra(port: &Port, option: &DhcpOption) -> Option<String> {
    let (condition, name) = match option.name.strip_prefix("tag:") {
        Some(rest) => rest.split_once(',').map(|(tag, name)| (format!("tag:{tag},"), name))?,
        None => (String::new(), option.name.as_str()),
    };
    let is_word = |text: &str, also: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(c));
    let fits = is_word(name, "-_") && (condition.is_empty() || is_word(&condition, "-_!:,"));
    if !fits || option.value.chars().any(char::is_control) {
        return None;
    }
    let kind = match (option.ip_version, name.chars().all(|c| c.is_ascii_digit())) {
        (6, _) => "option6:",
        (_, true) => "",
        (_, false) => "option:",
    };
    let value = if option.value.is_empty() { String::new() } else { format!(",{}", option.value) };
    Some(format!("tag:{},{condition}{kind}{name}{value}\n", port_tag(port)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    fn of(network: &Network) -> String {
        options(network, std::iter::empty())
    }

    #[test]
    fn option_121_has_metadata_and_the_default_route() {
        let text = of(&fixtures::network());
        let tag = format!("tag:subnet-{}", fixtures::SUBNET);
        assert!(text.contains(&format!("{tag},option:classless-static-route,169.254.169.254/32,10.1.0.2,0.0.0.0/0,10.1.0.1\n")));
        assert!(text.contains("option:mtu,1450\n"));
        assert!(text.contains(&format!("{tag},option:dns-server,10.1.0.2\n")));
    }

    #[test]
    fn without_a_gateway_there_is_no_default_route() {
        let mut network = fixtures::network();
        network.subnets[0].gateway_ip = None;
        let text = of(&network);
        assert!(!text.contains("0.0.0.0/0") && text.contains(",option:router\n"));
    }

    #[test]
    fn ipv6_guests_hear_of_name_servers_only() {
        let mut network = fixtures::network_6();
        let tag = format!("tag:subnet-{}", fixtures::SUBNET_6);
        let text = of(&network);
        assert!(text.ends_with(&format!("{tag},option6:dns-server,[fd00:1::2]\n{tag},option6:domain-search,openstacklocal\n")), "{text}");
        network.subnets[1].ipv6_address_mode = Some("slaac".into());
        assert!(!of(&network).contains("option6"));
    }

    #[test]
    fn ports_have_options_of_their_own() {
        let option = |name: &str, value: &str, ip_version| DhcpOption { name: name.into(), value: value.into(), ip_version };
        let mut port = fixtures::port(fixtures::PORT_A, 11);
        port.extra_dhcp_opts = vec![
            option("tftp-server", "10.0.0.9", 4),
            option("150", "10.0.0.9", 4),
            option("tag:!ipxe,67", "undionly.kpxe", 4),
            option("dns-server", "[fd00::53]", 6),
            option("router", "", 4),
            option("bootfile-name", "x\ntag:all,option:router,6.6.6.6", 4),
            option("mtu,1\n", "9000", 4),
        ];
        let text = options(&fixtures::network(), [port].iter());
        let tag = format!("tag:port-{}", fixtures::PORT_A);
        let own: Vec<String> = text.lines().filter_map(|line| Some(line.strip_prefix(&tag)?.to_owned())).collect();
        let expected = [
            ",option:tftp-server,10.0.0.9",
            ",150,10.0.0.9",
            ",tag:!ipxe,67,undionly.kpxe",
            ",option6:dns-server,[fd00::53]",
            ",option:router",
        ];
        assert_eq!(own, expected);
        assert!(!text.contains("6.6.6.6") && !text.contains("9000"));
    }
}
