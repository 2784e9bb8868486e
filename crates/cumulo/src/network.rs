//! The `[network]` of `cumulo.toml`: how this host's networks meet the outside, and what the cloud's networks may be made of.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The physical network that is there in any case: the external one of a new cloud.
pub const PUBLIC: &str = "public";
/// What IPv6 needs within VXLAN.
const LEAST_MTU: u32 = 1330;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// The external network's range on this host.
    pub external_cidr: String,
    /// The host's own address in it, the gateway of routers.
    pub external_gateway: IpAddr,
    /// The first and the last address for routers and floating IPs.
    pub external_pool: (IpAddr, IpAddr),
    /// Lets guests reach beyond this host, by masquerading what leaves the external network.
    pub masquerade: bool,
    /// Name servers told to guests of the first networks; none by default.
    pub dns_nameservers: Vec<IpAddr>,
    /// Whom the networks' DNS servers on this machine ask for names that are no guest's, by way of the networks' gateways; nobody by default.
    pub dnsmasq_dns_servers: Vec<IpAddr>,
    /// Where other hosts send this one's VXLAN frames: an address of this machine. Without one, tenants' networks end at the host.
    pub vtep: Option<IpAddr>,
    /// MTU of the links between hosts and of physical networks (neutron's `global_physnet_mtu`): networks on VXLAN have 50 less.
    pub physical_mtu: u32,
    /// VLAN tags of physical networks that are given out when none is asked for, as `public:100:199`; by default any of `public`.
    pub vlan_ranges: Vec<String>,
    /// This machine's link to the external network, given to the cloud whole. Without one, that network ends at the host.
    pub external_interface: Option<String>,
    /// kbit/s of that link, each way, that guests may be promised by minimum bandwidth rules; of simulated hosts, too.
    pub external_bandwidth: Option<u32>,
    /// Packets a second, in thousands, that guests may be promised by minimum packet rate rules.
    pub packet_rate: Option<u32>,
    /// Further physical networks, for flat and VLAN networks.
    pub physical_networks: Vec<PhysicalNetwork>,
}

/// A physical network beside `public`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhysicalNetwork {
    /// The `provider:physical_network` of networks on it.
    pub name: String,
    /// This machine's link to it, given to the cloud whole. Without one, the machine is not joined to it.
    pub interface: Option<String>,
}

impl Default for Network {
    fn default() -> Network {
        Network {
            external_cidr: "172.24.4.0/24".into(),
            external_gateway: IpAddr::from([172, 24, 4, 1]),
            external_pool: (IpAddr::from([172, 24, 4, 10]), IpAddr::from([172, 24, 4, 250])),
            masquerade: false,
            dns_nameservers: Vec::new(),
            dnsmasq_dns_servers: Vec::new(),
            vtep: None,
            physical_mtu: neutron::Config::default().physical_mtu,
            vlan_ranges: vec![PUBLIC.into()],
            external_interface: None,
            external_bandwidth: None,
            packet_rate: None,
            physical_networks: Vec::new(),
        }
    }
}

impl Network {
    /// What the types cannot say.
    pub fn check(&self) -> Result<(), String> {
        if !(LEAST_MTU..=65_535).contains(&self.physical_mtu) {
            return Err(format!("network.physical_mtu is {}; it must be from {LEAST_MTU} to 65535.", self.physical_mtu));
        }
        self.vlan_ranges()?;
        for (index, network) in self.physical_networks.iter().enumerate() {
            let name = &network.name;
            if name.is_empty() || name.len() > 64 || name.contains(':') || name == PUBLIC {
                return Err(format!("network.physical_networks: {name:?} is no name for another network than {PUBLIC}."));
            }
            if self.physical_networks.iter().take(index).any(|earlier| earlier.name == *name) {
                return Err(format!("network.physical_networks has {name:?} twice."));
            }
        }
        Ok(())
    }

    /// As neutron is told.
    pub fn of_neutron(&self) -> Result<neutron::Config, String> {
        let further = self.physical_networks.iter().map(|network| network.name.clone());
        Ok(neutron::Config {
            dns_nameservers: self.dns_nameservers.clone(),
            physical_mtu: self.physical_mtu,
            physical_networks: std::iter::once(PUBLIC.to_owned()).chain(further).collect(),
            vlan_ranges: self.vlan_ranges()?,
            ..neutron::Config::default()
        })
    }

    /// The physical networks that this machine is joined to.
    pub fn of_machine(&self) -> Result<Vec<(String, neutron_agent::External)>, String> {
        let length = self.external_cidr.split_once('/').map_or("24", |(_, length)| length);
        let gateway = format!("{}/{length}", self.external_gateway);
        let gateway = gateway.parse().map_err(|_| format!("network.external_gateway: {gateway} is no address with a prefix."))?;
        let public = neutron_agent::External { gateway: vec![gateway], interface: self.external_interface.clone() };
        let joined = self.physical_networks.iter().filter(|network| network.interface.is_some());
        let further = joined.map(|network| {
            let external = neutron_agent::External { gateway: Vec::new(), interface: network.interface.clone() };
            (network.name.clone(), external)
        });
        Ok(std::iter::once((PUBLIC.to_owned(), public)).chain(further).collect())
    }

    fn vlan_ranges(&self) -> Result<Vec<neutron::VlanRange>, String> {
        let ranges = self.vlan_ranges.iter().map(|text| text.parse()).collect::<Result<_, String>>();
        ranges.map_err(|error| format!("network.vlan_ranges: {error}."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_physical_networks_are_neutrons_and_the_machines_that_have_a_link_to_them() {
        let text = "physical_mtu = 9000\n[[physical_networks]]\nname = 'a'\ninterface = 'eth1'\n[[physical_networks]]\nname = 'b'\n";
        let network: Network = toml::from_str(text).unwrap();
        let neutron = network.of_neutron().unwrap();
        assert_eq!((neutron.physical_mtu, neutron.physical_networks), (9000, ["public", "a", "b"].map(Into::into).into()));
        let machine: Vec<_> = network.of_machine().unwrap().into_iter().map(|(name, external)| (name, external.interface)).collect();
        assert_eq!(machine, [("public".into(), None), ("a".into(), Some("eth1".into()))]);
    }
}
