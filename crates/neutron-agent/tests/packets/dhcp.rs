//! Addresses, options and metadata.

use rpc::network::{Change, DhcpOption};

use crate::HOST;
use crate::cloud::Cloud;
use crate::guest::{Guest, root};
use crate::sandbox::{eventually, sandboxed};
use crate::state::{PORT_A, PORT_B, PORT_C};

#[test]
fn dhcp_and_metadata_know_each_guest() {
    sandboxed("dhcp::dhcp_and_metadata_know_each_guest", async {
        let mut cloud = Cloud::start().await;
        let [a, c] = cloud.guests([PORT_A, PORT_C]).await;
        assert!(a.shell("ip -4 address show eth0").contains("10.1.0.11/24"));
        assert!(a.shell("ip route").contains("default via 10.1.0.1"));
        assert!(a.shell("ip link show eth0").contains("mtu 1450"));
        let claim =
            "GET /latest/meta-data/ HTTP/1.0\r\nX-Instance-ID: server-b\r\nX-Tenant-ID: other\r\nX-Forwarded-For: 10.1.0.12\r\n\r\n";
        for (guest, server, project) in [(&a, "server-a", "tenant-1"), (&c, "server-c", "tenant-2")] {
            let answer = guest.http("169.254.169.254:80", claim).to_lowercase();
            assert!(answer.starts_with("http/1.0 200") || answer.starts_with("http/1.1 200"), "{answer}");
            assert!(answer.contains(&format!("x-instance-id: {server}\r\n")), "{answer}");
            assert!(answer.contains(&format!("x-tenant-id: {project}\r\n")) && answer.contains("x-forwarded-for: 10.1.0.11\r\n"));
            assert!(!answer.contains("server-b") && !answer.contains(": other"), "{answer}");
        }
    });
}

#[test]
fn dns_knows_the_guests_and_asks_others_for_the_rest() {
    sandboxed("dhcp::dns_knows_the_guests_and_asks_others_for_the_rest", async {
        let mut cloud = Cloud::start_with(|config| config.dnsmasq_dns_servers = vec![HOST.into()]).await;
        let [a, _b] = cloud.guests([PORT_A, PORT_B]).await;
        assert!(Guest::last_lease().contains("dns=10.1.0.2"), "{}", Guest::last_lease());
        let elsewhere = "dnsmasq --conf-file=/dev/null --no-resolv --no-hosts --pid-file --bind-interfaces --listen-address=172.24.4.1 \
                         --address=/elsewhere.example/192.0.2.53";
        assert!(root().succeeds(elsewhere));
        let found = |name: &str| a.shell(&format!("busybox nslookup {name} 10.1.0.2"));
        eventually("another guest", || found("server-b.openstacklocal").contains("10.1.0.12")).await;
        eventually("what somebody else knows", || found("elsewhere.example").contains("192.0.2.53")).await;
        assert!(!found("nobody.openstacklocal").contains("192.0.2"), "{}", found("nobody.openstacklocal"));
    });
}

#[test]
fn an_address_that_changes_hands_is_leased_to_the_new_mac() {
    sandboxed("dhcp::an_address_that_changes_hands_is_leased_to_the_new_mac", async {
        let mut cloud = Cloud::start().await;
        let [a] = cloud.guests([PORT_A]).await;
        let mut port = cloud.port(PORT_A);
        cloud.update(vec![Change::PortGone(PORT_A.into())]).await;
        port.mac_address = "fa:16:3e:00:01:77".into();
        cloud.update(vec![Change::Port(port)]).await;
        a.shell("ip address flush dev eth0; ip link set eth0 address fa:16:3e:00:01:77");
        eventually("a lease for the new MAC", || a.try_dhcp()).await;
        assert!(a.shell("ip -4 address show eth0").contains("10.1.0.11/24"));
    });
}

#[test]
fn a_port_may_have_options_of_its_own() {
    sandboxed("dhcp::a_port_may_have_options_of_its_own", async {
        let mut cloud = Cloud::start().await;
        let option = |name: &str, value: &str| DhcpOption { name: name.into(), value: value.into(), ip_version: 4 };
        cloud
            .change_port(PORT_A, |port| {
                port.extra_dhcp_opts = vec![option("mtu", "1400"), option("tftp-server", "192.0.2.9"), option("67", "pxelinux.0")];
            })
            .await;
        let [a] = cloud.guests([PORT_A]).await;
        assert!(a.shell("ip link show eth0").contains("mtu 1400"), "instead of the network's");
        let told = Guest::last_lease();
        assert!(told.contains("tftp=192.0.2.9") && told.contains("bootfile=pxelinux.0"), "{told}");
        cloud.change_port(PORT_A, |port| port.extra_dhcp_opts.clear()).await;
        eventually("the options are gone", || a.try_dhcp() && !Guest::last_lease().contains("tftp=")).await;
    });
}
