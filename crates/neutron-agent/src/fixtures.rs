//! A small host for unit tests: one network with two ports, a router with a gateway and a floating IP, one group.

use rpc::network::*;

pub const NET: &str = "aaaaaaaa-aaaa-4000-8000-000000000001";
pub const EXTERNAL: &str = "eeeeeeee-eeee-4000-8000-000000000001";
pub const PORT_A: &str = "11111111-1111-4000-8000-000000000001";
pub const PORT_B: &str = "22222222-2222-4000-8000-000000000002";
pub const ROUTER: &str = "cccccccc-cccc-4000-8000-000000000001";
pub const GROUP: &str = "dddddddd-dddd-4000-8000-000000000001";
pub const SUBNET_6: &str = "bbbbbbbb-bbbb-4000-8000-000000000006";
pub const SUBNET: &str = "bbbbbbbb-bbbb-4000-8000-000000000001";

pub fn state() -> HostState {
    HostState {
        sequence: 1,
        networks: vec![network(), external()],
        ports: vec![port(PORT_A, 11), port(PORT_B, 12)],
        routers: vec![router()],
        security_groups: vec![group()],
        ..HostState::default()
    }
}

pub fn network() -> Network {
    Network {
        id: NET.into(),
        project_id: "tenant".into(),
        network_type: "vxlan".into(),
        physical_network: None,
        segmentation_id: Some(101),
        mtu: 1450,
        external: false,
        subnets: vec![Subnet {
            id: SUBNET.into(),
            cidr: "10.1.0.0/24".into(),
            gateway_ip: Some("10.1.0.1".parse().unwrap()),
            enable_dhcp: true,
            dns_nameservers: vec![],
            host_routes: vec![],
            ..Subnet::default()
        }],
        dhcp: Some(DhcpPort {
            port_id: "33333333-3333-4000-8000-000000000003".into(),
            mac_address: "fa:16:3e:00:01:02".into(),
            fixed_ips: vec![FixedIp { subnet_id: SUBNET.into(), ip_address: "10.1.0.2".parse().unwrap() }],
        }),
        dns_domain: "openstacklocal.".into(),
        ..Network::default()
    }
}

/// The same with an IPv6 subnet, whose addresses come by DHCPv6.
pub fn network_6() -> Network {
    let mut network = network();
    network.subnets.push(Subnet {
        id: SUBNET_6.into(),
        cidr: "fd00:1::/64".into(),
        gateway_ip: Some("fd00:1::1".parse().unwrap()),
        enable_dhcp: true,
        ipv6_ra_mode: Some("dhcpv6-stateful".into()),
        ipv6_address_mode: Some("dhcpv6-stateful".into()),
        ..Subnet::default()
    });
    let address = FixedIp { subnet_id: SUBNET_6.into(), ip_address: "fd00:1::2".parse().unwrap() };
    network.dhcp.as_mut().unwrap().fixed_ips.push(address);
    network
}

pub fn external() -> Network {
    Network {
        id: EXTERNAL.into(),
        network_type: "flat".into(),
        physical_network: Some("public".into()),
        segmentation_id: None,
        mtu: 1500,
        external: true,
        subnets: vec![],
        dhcp: None,
        ..network()
    }
}

pub fn port(id: &str, last: u8) -> Port {
    Port {
        id: id.into(),
        network_id: NET.into(),
        project_id: "tenant".into(),
        device_id: format!("server-{last}"),
        mac_address: format!("fa:16:3e:00:01:{last}"),
        fixed_ips: vec![FixedIp { subnet_id: SUBNET.into(), ip_address: format!("10.1.0.{last}").parse().unwrap() }],
        security_groups: vec![GROUP.into()],
        port_security_enabled: true,
        allowed_address_pairs: vec![],
        admin_state_up: true,
        ..Port::default()
    }
}

pub fn port_6(id: &str, last: u8) -> Port {
    let mut port = port(id, last);
    port.fixed_ips.push(FixedIp { subnet_id: SUBNET_6.into(), ip_address: format!("fd00:1::{last}").parse().unwrap() });
    port
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

pub fn group() -> SecurityGroup {
    SecurityGroup {
        id: GROUP.into(),
        stateful: true,
        rules: vec![
            rule("egress", None, None),
            SecurityGroupRule { remote_group_id: Some(GROUP.into()), ..rule("ingress", None, None) },
            rule("ingress", Some("tcp"), Some((22, 22))),
        ],
        members: vec!["10.1.0.11".parse().unwrap(), "10.1.0.12".parse().unwrap()],
        ..SecurityGroup::default()
    }
}

pub fn router() -> Router {
    Router {
        id: ROUTER.into(),
        project_id: "tenant".into(),
        admin_state_up: true,
        interfaces: vec![RouterInterface {
            port_id: "44444444-4444-4000-8000-000000000004".into(),
            network_id: NET.into(),
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
