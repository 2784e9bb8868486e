//! A link as the kernel describes it.

use std::net::IpAddr;

use rtnetlink::packet_route::link::{
    InfoBridge, InfoBridgePort, InfoData, InfoPortData, InfoVlan, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};

/// A link as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub name: String,
    /// Index of the bridge it is in; 0 when in none.
    pub master: u32,
    pub mtu: u32,
    pub up: bool,
    pub mac: Vec<u8>,
    /// Of a bridge: does it show packets to the inet family?
    pub filtered: bool,
    /// Of a link in a bridge: is neighbour discovery answered in its stead?
    pub suppressed: bool,
    /// What it is made of, if it is a tunnel or a tag.
    pub device: Option<Device>,
}

/// A link that gives another network's frames a way of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    /// To other hosts.
    Vxlan { vni: u32, local: IpAddr },
    /// Tagged frames of the link with this index.
    Vlan { parent: u32, tag: u16 },
}

/// The name of a link in an event.
pub fn name_of(message: &LinkMessage) -> Option<&str> {
    message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    })
}

pub fn parse(message: LinkMessage) -> Link {
    let up = message.header.flags.contains(LinkFlags::Up);
    let mut link = Link { index: message.header.index, up, ..Link::default() };
    let (mut parent, mut infos) = (0, vec![]);
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::Controller(index) => link.master = index,
            LinkAttribute::Address(mac) => link.mac = mac,
            LinkAttribute::Link(index) => parent = index,
            LinkAttribute::LinkInfo(found) => infos = found,
            _ => {}
        }
    }
    for info in &infos {
        match info {
            LinkInfo::Data(InfoData::Bridge(bridge)) => link.filtered = is_filtered(bridge),
            LinkInfo::Data(InfoData::Vxlan(vxlan)) => link.device = parse_vxlan(vxlan),
            LinkInfo::Data(InfoData::Vlan(vlan)) => link.device = parse_vlan(parent, vlan),
            LinkInfo::PortData(InfoPortData::BridgePort(port)) => link.suppressed = port.contains(&InfoBridgePort::NeighSupress(true)),
            _ => {}
        }
    }
    link
}

fn is_filtered(bridge: &[InfoBridge]) -> bool {
    bridge.contains(&InfoBridge::NfCallIpTables(true)) && bridge.contains(&InfoBridge::NfCallIp6Tables(true))
}

fn parse_vxlan(infos: &[InfoVxlan]) -> Option<Device> {
    let vni = infos.iter().find_map(|info| match info {
        InfoVxlan::Id(id) => Some(*id),
        _ => None,
    })?;
    let local = infos.iter().find_map(|info| match info {
        InfoVxlan::Local(ip) => Some(IpAddr::V4(*ip)),
        InfoVxlan::Local6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    })?;
    Some(Device::Vxlan { vni, local })
}

fn parse_vlan(parent: u32, infos: &[InfoVlan]) -> Option<Device> {
    infos.iter().find_map(|info| match info {
        InfoVlan::Id(tag) => Some(Device::Vlan { parent, tag: *tag }),
        _ => None,
    })
}
