//! Every kind of security group rule, and what of three kinds of packets it lets in.

use rpc::network::{AddressGroup, Change, SecurityGroupRule};

use crate::B;
use crate::cloud::Cloud;
use crate::guest::{Guest, connects, echo_server, pings, shell, udp_echo_server, udp_echoes};
use crate::sandbox::{eventually, sandboxed};
use crate::state::{GROUP_1, GROUP_2, PORT_A, PORT_B, rule};

const PING: [bool; 3] = [true, false, false];
const TCP: [bool; 3] = [false, true, false];
const UDP: [bool; 3] = [false, false, true];
const ALL: [bool; 3] = [true; 3];
const NONE: [bool; 3] = [false; 3];

/// Rules by what they say, and what of ping, TCP port 80 and UDP port 53 they let in from A.
fn kinds() -> Vec<(&'static str, SecurityGroupRule, [bool; 3])> {
    let any = || rule("ingress", None, None);
    let from = |prefix: &str| SecurityGroupRule { remote_ip_prefix: Some(prefix.into()), ..any() };
    let of_group = |group: &str| SecurityGroupRule { remote_group_id: Some(group.into()), ..any() };
    let icmp = |kind: u16, code: Option<u16>| SecurityGroupRule {
        port_range_min: Some(kind),
        port_range_max: code,
        ..rule("ingress", Some("icmp"), None)
    };
    vec![
        ("anything", any(), ALL),
        ("all of a protocol by its name", rule("ingress", Some("udp"), None), UDP),
        ("all of a protocol by its number", rule("ingress", Some("6"), None), TCP),
        ("a protocol that is none of these", rule("ingress", Some("gre"), None), NONE),
        ("all ICMP", rule("ingress", Some("icmp"), None), PING),
        ("one type of ICMP", icmp(8, None), PING),
        ("one type and code of ICMP", icmp(8, Some(0)), PING),
        ("another type of ICMP", icmp(3, None), NONE),
        ("one port", rule("ingress", Some("tcp"), Some((80, 80))), TCP),
        ("a range of ports", rule("ingress", Some("udp"), Some((50, 60))), UDP),
        ("ports beside it", rule("ingress", Some("tcp"), Some((81, 90))), NONE),
        ("the sender's address", from("10.1.0.11/32"), ALL),
        ("a prefix around it", from("10.1.0.0/28"), ALL),
        ("a prefix beside it", from("10.1.0.16/28"), NONE),
        ("a prefix with host bits", from("10.1.0.7/28"), ALL),
        ("a group the sender is in", of_group(GROUP_1), ALL),
        ("a group the sender's twin is in", of_group("e3e3e3e3-e3e3-4000-8000-000000000003"), NONE),
        ("an address group", SecurityGroupRule { remote_address_group_id: Some("ag".into()), ..any() }, ALL),
        ("IPv6", SecurityGroupRule { ethertype: "IPv6".into(), ..any() }, NONE),
    ]
}

/// What of a ping, TCP port 80 and UDP port 53 gets from a guest to B: all at once, as what is dropped takes its time.
fn reached(from: &Guest) -> [bool; 3] {
    std::thread::scope(|scope| {
        let probes = [scope.spawn(|| pings(from, B)), scope.spawn(|| connects(from, B, 80)), scope.spawn(|| udp_echoes(from, B, 53))];
        probes.map(|probe| probe.join().unwrap())
    })
}

#[test]
fn every_kind_of_rule_lets_in_what_it_says() {
    sandboxed("kinds::every_kind_of_rule_lets_in_what_it_says", async {
        let mut cloud = Cloud::start().await;
        let [a, b] = cloud.guests([PORT_A, PORT_B]).await;
        echo_server(&b, 80);
        udp_echo_server(&b, 53);
        let addresses = vec!["10.1.0.8/29".into()];
        cloud.update(vec![Change::AddressGroup(AddressGroup { id: "ag".into(), addresses })]).await;
        let ingress = || shell(&format!("nft list chain inet cumulo_groups group-{GROUP_1}-in"));
        for (what, rule, expected) in kinds() {
            // closed in between, so that nothing is left of the rule before
            cloud.set_rules(vec![self::rule("egress", None, None)]).await;
            eventually("no rule is there", || !ingress().contains("accept")).await;
            cloud.set_rules(vec![self::rule("egress", None, None), rule]).await;
            eventually("the rule is there", || ingress().contains("accept")).await;
            eventually(what, || reached(&a) == expected).await;
        }
    });
}

#[test]
fn what_may_leave_is_said_by_rules_too() {
    sandboxed("kinds::what_may_leave_is_said_by_rules_too", async {
        let mut cloud = Cloud::start().await;
        let [a, b] = cloud.guests([PORT_A, PORT_B]).await;
        echo_server(&b, 80);
        udp_echo_server(&b, 53);
        let to = |prefix: &str| SecurityGroupRule { remote_ip_prefix: Some(prefix.into()), ..rule("egress", None, None) };
        for (what, egress, expected) in [
            ("no rule", vec![], NONE),
            ("web only", vec![rule("egress", Some("tcp"), Some((80, 80)))], TCP),
            ("another place only", vec![to("192.0.2.0/24")], NONE),
            ("this place only", vec![to("10.1.0.12/32")], ALL),
            ("another group only", vec![SecurityGroupRule { remote_group_id: Some(GROUP_2.into()), ..rule("egress", None, None) }], NONE),
        ] {
            cloud.set_rules(egress.into_iter().chain([rule("ingress", None, None)]).collect()).await;
            eventually(what, || reached(&a) == expected).await;
        }
    });
}
