//! What neutron-server wants on the host of the tests at first, and the parts to want more.

use rpc::network::*;

pub const NET_1: &str = "aaaaaaaa-aaaa-4000-8000-000000000001";
pub const NET_2: &str = "bbbbbbbb-bbbb-4000-8000-000000000002";
pub const EXTERNAL: &str = "eeeeeeee-eeee-4000-8000-000000000003";
pub const PORT_A: &str = "11111111-1111-4000-8000-000000000001";
pub const PORT_B: &str = "22222222-2222-4000-8000-000000000002";
pub const PORT_C: &str = "33333333-3333-4000-8000-000000000003";
/// Of the second network, where a test wants it.
pub const PORT_D: &str = "88888888-8888-4000-8000-000000000008";
pub const ROUTER: &str = "cccccccc-cccc-4000-8000-000000000001";
pub const GROUP_1: &str = "d1d1d1d1-d1d1-4000-8000-000000000001";
pub const GROUP_2: &str = "d2d2d2d2-d2d2-4000-8000-000000000002";
/// Of the first network once it has IPv6.
pub const SUBNET_6: &str = "subnet-6";

pub fn state() -> HostState {
    HostState {
        sequence: 1,
        networks: vec![tenant_network(NET_1, 1), tenant_network(NET_2, 2), external()],
        ports: vec![
            port(PORT_A, NET_1, "server-a", "10.1.0.11"),
            port(PORT_B, NET_1, "server-b", "10.1.0.12"),
            port(PORT_C, NET_2, "server-c", "10.1.0.11"),
        ],
        routers: vec![router()],
        security_groups: vec![group(GROUP_1, &["10.1.0.11", "10.1.0.12"]), group(GROUP_2, &["10.1.0.11"])],
        ..HostState::default()
    }
}

pub fn tenant_network(id: &str, tenant: u8) -> Network {
    let subnet_id = format!("subnet-{tenant}");
    Network {
        id: id.into(),
        project_id: format!("tenant-{tenant}"),
        network_type: "vxlan".into(),
        physical_network: None,
        segmentation_id: Some(100 + u32::from(tenant)),
        mtu: 1450,
        external: false,
        subnets: vec![Subnet {
            id: subnet_id.clone(),
            cidr: "10.1.0.0/24".into(),
            gateway_ip: Some("10.1.0.1".parse().unwrap()),
            enable_dhcp: true,
            dns_nameservers: vec![],
            host_routes: vec![],
            ..Subnet::default()
        }],
        dhcp: Some(DhcpPort {
            port_id: format!("7777777{tenant}-7777-4000-8000-000000000007"),
            mac_address: format!("fa:16:3e:00:0{tenant}:02"),
            fixed_ips: vec![FixedIp { subnet_id, ip_address: "10.1.0.2".parse().unwrap() }],
        }),
        dns_domain: "openstacklocal.".into(),
        ..Network::default()
    }
}

fn external() -> Network {
    Network {
        id: EXTERNAL.into(),
        project_id: "admin".into(),
        network_type: "flat".into(),
        physical_network: Some("public".into()),
        mtu: 1500,
        external: true,
        ..Network::default()
    }
}

pub fn port(id: &str, network_id: &str, server: &str, address: &str) -> Port {
    let (tenant, group) = if network_id == NET_1 { (1, GROUP_1) } else { (2, GROUP_2) };
    Port {
        id: id.into(),
        network_id: network_id.into(),
        project_id: format!("tenant-{tenant}"),
        device_id: server.into(),
        mac_address: mac(id).into(),
        fixed_ips: vec![FixedIp { subnet_id: format!("subnet-{tenant}"), ip_address: address.parse().unwrap() }],
        security_groups: vec![group.into()],
        port_security_enabled: true,
        allowed_address_pairs: vec![],
        admin_state_up: true,
        dns_name: server.into(),
        ..Port::default()
    }
}

/// As neutron makes `default`: everything out, members in.
pub fn group(id: &str, members: &[&str]) -> SecurityGroup {
    let from_members = SecurityGroupRule { remote_group_id: Some(id.into()), ..rule("ingress", None, None) };
    SecurityGroup {
        id: id.into(),
        stateful: true,
        rules: vec![rule("egress", None, None), from_members],
        members: members.iter().map(|ip| ip.parse().unwrap()).collect(),
        ..SecurityGroup::default()
    }
}

pub fn router() -> Router {
    Router {
        id: ROUTER.into(),
        project_id: "tenant-1".into(),
        admin_state_up: true,
        interfaces: vec![RouterInterface {
            port_id: "44444444-4444-4000-8000-000000000004".into(),
            network_id: NET_1.into(),
            mac_address: "fa:16:3e:00:01:01".into(),
            addresses: vec!["10.1.0.1/24".into()],
            ..RouterInterface::default()
        }],
        gateway: Some(RouterGateway {
            port_id: "55555555-5555-4000-8000-000000000005".into(),
            network_id: EXTERNAL.into(),
            mac_address: "fa:16:3e:00:09:10".into(),
            addresses: vec!["172.24.4.10/24".into()],
            nexthops: vec!["172.24.4.1".parse().unwrap()],
            enable_snat: true,
            ..RouterGateway::default()
        }),
        floating_ips: vec![FloatingIp {
            id: "66666666-6666-4000-8000-000000000006".into(),
            floating_ip_address: "172.24.4.50".parse().unwrap(),
            fixed_ip_address: "10.1.0.11".parse().unwrap(),
            port_id: PORT_A.into(),
            qos: Qos::default(),
        }],
        ..Router::default()
    }
}

/// Give the first network an IPv6 subnet, the router a leg in it, and the ports A and B addresses made from their MACs.
pub fn with_ipv6(mut state: HostState, mode: &str) -> HostState {
    let fixed = |address: &str| FixedIp { subnet_id: SUBNET_6.into(), ip_address: address.parse().unwrap() };
    for network in state.networks.iter_mut().filter(|network| network.id == NET_1) {
        network.subnets.push(Subnet {
            id: SUBNET_6.into(),
            cidr: "fd00:1::/64".into(),
            gateway_ip: Some("fd00:1::1".parse().unwrap()),
            enable_dhcp: true,
            ipv6_ra_mode: Some(mode.into()),
            ipv6_address_mode: Some(mode.into()),
            ..Subnet::default()
        });
        network.dhcp.as_mut().unwrap().fixed_ips.push(fixed("fd00:1::2"));
    }
    for (port, last) in [(PORT_A, "111"), (PORT_B, "112")] {
        let port = state.ports.iter_mut().find(|p| p.id == port).unwrap();
        port.fixed_ips.push(fixed(&format!("fd00:1::f816:3eff:fe00:{last}")));
    }
    state.routers[0].interfaces[0].addresses.push("fd00:1::1/64".into());
    state
}

pub fn bridge(network_id: &str) -> String {
    format!("cub{}", &network_id[..11])
}

pub fn mac(port_id: &str) -> &'static str {
    match port_id {
        PORT_A => "fa:16:3e:00:01:11",
        PORT_B => "fa:16:3e:00:01:12",
        PORT_D => "fa:16:3e:00:02:12",
        _ => "fa:16:3e:00:02:11",
    }
}

pub fn rule(direction: &str, protocol: Option<&str>, ports: Option<(u16, u16)>) -> SecurityGroupRule {
    SecurityGroupRule {
        id: "rule".into(),
        direction: direction.into(),
        ethertype: "IPv4".into(),
        protocol: protocol.map(Into::into),
        port_range_min: ports.map(|p| p.0),
        port_range_max: ports.map(|p| p.1),
        ..SecurityGroupRule::default()
    }
}
