//! Ports: where a guest, a router or a DHCP server meets a network.
//!
//! A port's addresses and security groups stand on its row, so that lists are one query; `ip_allocations` and `port_security_groups` are
//! their indexes, written in the same transaction. A port bound to a host is DOWN until the host's agent says it is wired.

mod addresses;
pub mod bindings;
mod create;
mod deferred;
mod delete;
mod dhcp;
pub mod pairs;
mod update;
mod view;
mod wired;

use std::net::IpAddr;

use ipnet::IpNet;
use kit::clock::Timestamp;
use kit::db::Json;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Condition, ExprTrait, Query};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use addresses::{choose, drop_subnet, join_auto_addressed};
pub use create::{create, insert_with, new};
pub use delete::{delete, remove};
pub use dhcp::{is_served, refresh as refresh_dhcp, say as say_served};
pub use update::{settle, update};
pub use wired::wired;

use crate::attributes::Attribute;
use crate::resource::{Resource, Seen, extend, standard_view, with};
use crate::values::Kind;
use crate::{Tx, networks};

/// Owners that are parts of the cloud.
pub const DHCP: &str = "network:dhcp";
pub const ROUTER_INTERFACE: &str = "network:router_interface";
pub const ROUTER_GATEWAY: &str = "network:router_gateway";
pub const FLOATING_IP: &str = "network:floatingip";

pub const ACTIVE: &str = "ACTIVE";
pub const DOWN: &str = "DOWN";
/// A floating IP's own port has no state.
pub const NOT_APPLICABLE: &str = "N/A";

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "ports")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub project_id: String,
    pub network_id: String,
    pub name: String,
    pub description: String,
    pub admin_state_up: bool,
    pub status: String,
    pub mac_address: String,
    pub fixed_ips: Json<Vec<FixedIp>>,
    /// Ids.
    pub security_groups: Json<Vec<String>>,
    pub port_security_enabled: bool,
    pub allowed_address_pairs: Json<Vec<AddressPair>>,
    pub extra_dhcp_opts: Json<Vec<DhcpOption>>,
    pub device_id: String,
    pub device_owner: String,
    /// The host it is bound to; empty when to none.
    pub host_id: String,
    pub vnic_type: String,
    pub profile: Json<Value>,
    pub dns_name: String,
    pub dns_domain: String,
    pub qos_policy_id: Option<String>,
    /// What whoever forwards the port's frames says of it.
    pub data_plane_status: Option<String>,
    /// For backends that know them.
    pub hints: Json<Value>,
    /// Of its device, should it be one of the host's.
    pub numa_affinity_policy: Option<String>,
    /// It was made without addresses, to get them when it has a host.
    pub deferred: bool,
    pub tags: Json<Vec<String>>,
    pub revision_number: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FixedIp {
    pub subnet_id: String,
    pub ip_address: IpAddr,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressPair {
    /// An address or a prefix.
    pub ip_address: String,
    /// The port's own when absent.
    #[serde(default)]
    pub mac_address: Option<String>,
}

impl AddressPair {
    /// The address, if it is no prefix of many.
    pub fn single(&self) -> Option<IpAddr> {
        match self.ip_address.parse::<IpNet>() {
            Ok(net) => (net.prefix_len() == net.max_prefix_len()).then(|| net.addr()),
            Err(_) => self.ip_address.parse().ok(),
        }
    }
}

/// An option for the port's guest; without a value it is taken away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhcpOption {
    pub opt_name: String,
    #[serde(default)]
    pub opt_value: Option<String>,
    #[serde(default = "four", deserialize_with = "version")]
    pub ip_version: u8,
}

fn four() -> u8 {
    4
}

/// As a number, as text, or null.
fn version<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(if value == json!(6) || value == json!("6") { 6 } else { 4 })
}

impl Model {
    /// A router's leg or its gateway.
    pub fn is_routers(&self) -> bool {
        self.device_owner == ROUTER_INTERFACE || self.device_owner == ROUTER_GATEWAY
    }

    /// A router's or a DHCP server's, on some host.
    pub fn is_clouds(&self) -> bool {
        !self.host_id.is_empty() && (self.is_routers() || self.device_owner == DHCP)
    }

    /// The tap of a guest on some host, not a part of the cloud.
    pub fn is_bound_guest(&self) -> bool {
        !self.host_id.is_empty() && !self.device_owner.starts_with("network:")
    }

    pub fn is_servers(&self) -> bool {
        self.device_owner.starts_with("compute:") && !self.device_id.is_empty()
    }

    /// Its DHCP host name.
    pub fn hostname(&self) -> String {
        match self.fixed_ips.0.first() {
            _ if !self.dns_name.is_empty() => self.dns_name.clone(),
            Some(fixed) => format!("host-{}", fixed.ip_address.to_string().replace(['.', ':'], "-")),
            None => String::new(),
        }
    }
}

const NORMAL: &str = "normal";
const BRIDGE: &str = "bridge";
const BINDING_FAILED: &str = "binding_failed";

const NUMA_POLICIES: &[&str] = &["required", "preferred", "legacy", "socket"];

const VNIC_TYPES: &[&str] = &[
    NORMAL,
    "direct",
    "macvtap",
    "baremetal",
    "direct-physical",
    "virtio-forwarder",
    "smart-nic",
    "vdpa",
    "accelerator-direct",
    "accelerator-direct-physical",
    "remote-managed",
];

/// Waits for the turn on the networks of those of these ports that are there.
pub async fn turn(tx: &Tx<'_>, ports: Vec<String>) -> kit::Result<()> {
    if !networks::take_turns(tx) {
        return Ok(());
    }
    let ports: Vec<Model> = with(tx.db, "id", &ports).await?;
    networks::turn(tx, ports.into_iter().map(|port| port.network_id).collect()).await
}

impl Resource for Model {
    const KEY: &'static str = "port";
    const PLURAL: &'static str = "ports";
    const TABLE: &'static str = "ports";
    const NOUN: &'static str = "Port";
    const NOT_FOUND: &'static str = "PortNotFound";
    const ATTRIBUTES: &'static [Attribute] = &[
        Attribute::writable("name", Kind::Text(255)),
        Attribute::fixed("network_id", Kind::Uuid).required(),
        Attribute::writable("admin_state_up", Kind::Bool),
        Attribute::shown("status", Kind::Text(16)),
        Attribute::writable("mac_address", Kind::MacOrNull).ruled(),
        Attribute::writable("fixed_ips", Kind::FixedIps).composite(),
        Attribute::writable("security_groups", Kind::Uuids).composite(),
        Attribute::writable("port_security_enabled", Kind::Bool).ruled(),
        Attribute::writable("allowed_address_pairs", Kind::AddressPairs).composite().ruled(),
        Attribute::writable("extra_dhcp_opts", Kind::DhcpOptions).composite(),
        Attribute::writable("device_id", Kind::Text(255)),
        Attribute::writable("device_owner", Kind::Text(255)),
        Attribute::writable("binding:host_id", Kind::TextOrEmpty(255)).column("host_id").ruled(),
        Attribute::writable("binding:vnic_type", Kind::OneOf(VNIC_TYPES)).column("vnic_type"),
        Attribute::writable("binding:profile", Kind::ObjectOrNull).composite().ruled(),
        Attribute::shown("binding:vif_type", Kind::Text(64)).composite(),
        Attribute::writable("dns_name", Kind::DnsName),
        Attribute::writable("dns_domain", Kind::DnsDomain),
        Attribute::writable("qos_policy_id", Kind::UuidOrNull),
        Attribute { create: false, ..Attribute::writable("data_plane_status", Kind::OneOfOrNull(&["ACTIVE", "DOWN"])).ruled() },
        Attribute::writable("hints", Kind::Hints).composite().ruled(),
        Attribute::writable("numa_affinity_policy", Kind::OneOfOrNull(NUMA_POLICIES)),
        Attribute::shown("ip_allocation", Kind::Text(16)).composite(),
        Attribute::fixed("tags", Kind::Words).composite(),
    ];

    crate::standard!();

    fn visible(project: &str) -> Condition {
        let mine = Query::select().column("id").from("networks").and_where(Expr::col("project_id").eq(project)).to_owned();
        Condition::any().add(Column::ProjectId.eq(project)).add(Column::NetworkId.in_subquery(mine))
    }

    fn filter(name: &str, values: &[&str], _: &Seen) -> Option<Condition> {
        match name {
            "fixed_ips" => Some(by_address(values)),
            "security_groups" => {
                let ids = values.iter().copied();
                let members = Query::select()
                    .column("port_id")
                    .from("port_security_groups")
                    .and_where(Expr::col("security_group_id").is_in(ids))
                    .to_owned();
                Some(Condition::all().add(Column::Id.in_subquery(members)))
            }
            "ip_allocation" => Some(values.iter().fold(Condition::any(), |any, value| match *value {
                "none" => any.add(Column::FixedIps.eq("[]").and(Column::Deferred.eq(false))),
                "immediate" => any.add(Column::FixedIps.ne("[]").and(Column::Deferred.eq(false))),
                "deferred" => any.add(Column::Deferred.eq(true)),
                _ => any.add(Expr::val(1).eq(0)),
            })),
            "binding:vif_type" => Some(values.iter().fold(Condition::any(), |any, value| match *value {
                "unbound" => any.add(Column::HostId.eq("")),
                BRIDGE => any.add(Column::HostId.ne("").and(Column::VnicType.eq(NORMAL))),
                BINDING_FAILED => any.add(Column::HostId.ne("").and(Column::VnicType.ne(NORMAL))),
                _ => any.add(Expr::val(1).eq(0)),
            })),
            _ => None,
        }
    }

    fn view(&self, seen: &Seen) -> Map<String, Value> {
        let mut view = standard_view(&self.id, &self.project_id, &self.description, self.revision_number, self.created_at, self.updated_at);
        extend(
            &mut view,
            json!({
                "name": self.name, "network_id": self.network_id, "admin_state_up": self.admin_state_up, "status": self.status,
                "mac_address": self.mac_address, "fixed_ips": self.fixed_ips.0, "security_groups": self.security_groups.0,
                "port_security_enabled": self.port_security_enabled, "allowed_address_pairs": self.pairs_view(),
                "extra_dhcp_opts": self.extra_dhcp_opts.0, "device_id": self.device_id, "device_owner": self.device_owner,
                "binding:vnic_type": self.vnic_type, "dns_name": self.dns_name, "dns_domain": self.dns_domain,
                "dns_assignment": [], "qos_policy_id": self.qos_policy_id, "qos_network_policy_id": null,
                "data_plane_status": self.data_plane_status, "numa_affinity_policy": self.numa_affinity_policy,
                "ip_allocation": self.ip_allocation(), "tags": self.tags.0,
            }),
        );
        if seen.admin {
            let bound = !self.host_id.is_empty();
            view.insert("binding:host_id".into(), json!(self.host_id));
            view.insert("binding:vif_type".into(), json!(if bound { vif_type(&self.vnic_type) } else { "unbound" }));
            view.insert("binding:vif_details".into(), if bound { vif_details(&self.vnic_type) } else { json!({}) });
            view.insert("binding:profile".into(), self.profile.0.clone());
            view.insert("hints".into(), self.hints.0.clone());
        }
        view
    }

    async fn views(db: &DatabaseConnection, rows: Vec<Self>, seen: &Seen) -> kit::Result<Vec<Map<String, Value>>> {
        view::views(db, rows, seen).await
    }
}

/// What a bound port is to its guest. Hosts have bridges; devices that pass them by nobody makes.
fn vif_type(vnic_type: &str) -> &'static str {
    if vnic_type == NORMAL { BRIDGE } else { BINDING_FAILED }
}

fn vif_details(vnic_type: &str) -> Value {
    if vnic_type == NORMAL { json!({"port_filter": true, "connectivity": "l2"}) } else { json!({}) }
}

impl Model {
    fn ip_allocation(&self) -> &'static str {
        match self.fixed_ips.0.is_empty() {
            _ if self.deferred => "deferred",
            true => "none",
            false => "immediate",
        }
    }

    fn pairs_view(&self) -> Vec<Value> {
        let pair = |pair: &AddressPair| json!({"ip_address": pair.ip_address, "mac_address": pair.mac_address.as_ref().unwrap_or(&self.mac_address)});
        self.allowed_address_pairs.0.iter().map(pair).collect()
    }
}

/// `fixed_ips=ip_address=10.0.0.5`, `fixed_ips=subnet_id=...`, `fixed_ips=ip_address_substr=10.0`: values of one key mean or, and one address
/// has to fit all keys.
fn by_address(values: &[&str]) -> Condition {
    let mut all = Condition::all();
    for key in ["ip_address", "subnet_id", "ip_address_substr"] {
        let mut wanted = values.iter().filter_map(|value| value.split_once('=').filter(|(k, _)| *k == key)).peekable();
        if wanted.peek().is_some() {
            all = all.add(wanted.fold(Condition::any(), |any, (_, value)| any.add(address_fits(key, value))));
        }
    }
    if all.is_empty() {
        return Condition::all().add(Expr::val(1).eq(0));
    }
    let ports = Query::select().column("port_id").from("ip_allocations").cond_where(all).to_owned();
    Condition::all().add(Column::Id.in_subquery(ports))
}

fn address_fits(key: &'static str, value: &str) -> Expr {
    match key {
        "ip_address" => Expr::col(key).eq(value.parse::<IpAddr>().map_or_else(|_| value.to_owned(), |ip| ip.to_string())),
        "subnet_id" => Expr::col(key).eq(value),
        // digits, dots and colons only: nothing that LIKE would take for a pattern
        _ if value.bytes().all(|b| b.is_ascii_hexdigit() || b == b'.' || b == b':') => Expr::col("ip_address").like(format!("%{value}%")),
        _ => Expr::val(1).eq(0),
    }
}
