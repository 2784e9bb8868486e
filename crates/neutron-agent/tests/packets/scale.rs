//! A thousand ports on one host: how long wiring, a change and a restart take. The bounds are generous; what is printed is what to look at.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use rpc::network::{Change, FixedIp, HostState, Port};

use crate::cloud::Cloud;
use crate::guest::shell;
use crate::sandbox::sandboxed;
use crate::state::{self, GROUP_1, NET_1};

const PORTS: u16 = 1000;

fn port(number: u16) -> Port {
    let [high, low] = number.to_be_bytes();
    Port {
        id: format!("{number:08x}-99aa-4000-8000-000000000099"),
        network_id: NET_1.into(),
        project_id: "tenant-1".into(),
        device_id: format!("server-{number}"),
        mac_address: format!("fa:16:3e:99:{high:02x}:{low:02x}"),
        fixed_ips: vec![FixedIp { subnet_id: "subnet-1".into(), ip_address: Ipv4Addr::new(10, 1, high + 1, low).into() }],
        security_groups: vec![GROUP_1.into()],
        port_security_enabled: true,
        admin_state_up: true,
        ..Port::default()
    }
}

fn crowded() -> HostState {
    let mut state = state::state();
    state.networks[0].subnets[0].cidr = "10.1.0.0/16".into();
    state.ports = (0..PORTS).map(port).collect();
    state.security_groups[0].members = state.ports.iter().map(|port| port.fixed_ips[0].ip_address).collect();
    state
}

fn plug(ports: &[Port]) {
    let lines: String = ports.iter().map(|port| format!("tuntap add {} mode tap\n", rpc::compute::tap_name(&port.id))).collect();
    std::fs::write("/run/taps", lines).unwrap();
    shell("ip -batch /run/taps");
}

#[test]
fn a_thousand_ports_are_wired_in_seconds() {
    sandboxed("scale::a_thousand_ports_are_wired_in_seconds", async {
        let state = crowded();
        let ids: Vec<String> = state.ports.iter().map(|port| port.id.clone()).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        plug(&state.ports);
        let begin = Instant::now();
        let mut cloud = Cloud::start_as(None, state, |config| config.reconcile_every = Duration::from_secs(600)).await;
        cloud.wired(&ids).await;
        let all = begin.elapsed();

        let one = port(PORTS);
        plug(std::slice::from_ref(&one));
        let begin = Instant::now();
        cloud.update(vec![Change::Port(one.clone())]).await;
        cloud.wired(&[&one.id]).await;
        let another = begin.elapsed();

        cloud.stop_agent().await;
        let begin = Instant::now();
        cloud.start_agent();
        cloud.wired(&ids).await;
        let again = begin.elapsed();
        println!("{PORTS} ports wired in {all:?}, another in {another:?}, an agent started anew in {again:?}");
        assert!(all < Duration::from_secs(60) && another < Duration::from_secs(10) && again < Duration::from_secs(30));
    });
}
