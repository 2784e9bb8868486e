//! Floating IPs: addresses of an external network that lead, through a router, to a port's fixed address.

mod api;
pub mod pools;
pub mod port_forwardings;

use std::collections::HashMap;
use std::net::IpAddr;

use kit::clock::Timestamp;
use kit::db::Json;
use kit::{Error, Result};
use sea_orm::entity::prelude::*;
use serde_json::{Map, Value, json};

pub use api::{create, delete, update};

use crate::agents::Touched;
use crate::attributes::Attribute;
use crate::resource::{Resource, Seen, extend, fetch, remove, save, standard_view, with};
use crate::values::Kind;
use crate::{Tx, nova, ports, sql};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "floatingips")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub project_id: String,
    pub description: String,
    pub floating_network_id: String,
    pub floating_ip_address: String,
    /// Its own port on the external network, which holds the address.
    pub floating_port_id: String,
    pub router_id: Option<String>,
    pub port_id: Option<String>,
    pub fixed_ip_address: Option<String>,
    pub status: String,
    pub qos_policy_id: Option<String>,
    pub dns_name: String,
    pub dns_domain: String,
    pub tags: Json<Vec<String>>,
    pub revision_number: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Resource for Model {
    const KEY: &'static str = "floatingip";
    const PLURAL: &'static str = "floatingips";
    const TABLE: &'static str = "floatingips";
    const NOUN: &'static str = "Floating IP";
    const NOT_FOUND: &'static str = "FloatingIPNotFound";
    const ATTRIBUTES: &'static [Attribute] = &[
        Attribute::fixed("floating_network_id", Kind::Uuid).required(),
        Attribute::fixed("floating_ip_address", Kind::IpOrNull).ruled(),
        Attribute { column: None, ..Attribute::fixed("subnet_id", Kind::UuidOrNull) },
        Attribute::writable("port_id", Kind::UuidOrNull),
        Attribute::writable("fixed_ip_address", Kind::IpOrNull),
        Attribute::writable("qos_policy_id", Kind::UuidOrNull),
        Attribute::fixed("dns_name", Kind::DnsName),
        Attribute::fixed("dns_domain", Kind::DnsDomain),
        Attribute::shown("router_id", Kind::UuidOrNull),
        Attribute::shown("status", Kind::Text(16)),
    ];

    crate::standard!();

    fn view(&self, _: &Seen) -> Map<String, Value> {
        let mut view = standard_view(&self.id, &self.project_id, &self.description, self.revision_number, self.created_at, self.updated_at);
        extend(
            &mut view,
            json!({
                "floating_network_id": self.floating_network_id, "floating_ip_address": self.floating_ip_address,
                "router_id": self.router_id, "port_id": self.port_id, "fixed_ip_address": self.fixed_ip_address,
                "status": self.status, "qos_policy_id": self.qos_policy_id, "dns_name": self.dns_name, "dns_domain": self.dns_domain,
                "port_details": null, "port_forwardings": [], "tags": self.tags.0,
            }),
        );
        view
    }

    async fn views(db: &DatabaseConnection, rows: Vec<Self>, seen: &Seen) -> Result<Vec<Map<String, Value>>> {
        let ids: Vec<String> = rows.iter().filter_map(|row| row.port_id.clone()).collect();
        let ports: HashMap<String, ports::Model> =
            with(db, "id", &ids).await?.into_iter().map(|p: ports::Model| (p.id.clone(), p)).collect();
        let ids: Vec<String> = rows.iter().map(|row| row.id.clone()).collect();
        let mut forwardings: HashMap<String, Vec<Value>> = HashMap::new();
        for row in with::<port_forwardings::Model, _>(db, "floatingip_id", &ids).await? {
            forwardings.entry(row.floatingip_id.clone()).or_default().push(row.in_floating_ip());
        }
        let with_port = |row: &Model| {
            let mut view = row.view(seen);
            view.insert("port_forwardings".into(), json!(forwardings.remove(&row.id).unwrap_or_default()));
            if let Some(port) = row.port_id.as_ref().and_then(|id| ports.get(id)) {
                view.insert("port_details".into(), details(port));
            }
            view
        };
        Ok(rows.iter().map(with_port).collect())
    }
}

fn details(port: &ports::Model) -> Value {
    json!({
        "name": port.name, "network_id": port.network_id, "mac_address": port.mac_address, "admin_state_up": port.admin_state_up,
        "status": port.status, "device_id": port.device_id, "device_owner": port.device_owner,
    })
}

impl Model {
    pub fn address(&self) -> Option<IpAddr> {
        self.floating_ip_address.parse().ok()
    }

    pub fn fixed_address(&self) -> Option<IpAddr> {
        self.fixed_ip_address.as_ref()?.parse().ok()
    }

    /// Leads nowhere any more. The caller saves it.
    fn disassociate(&mut self, tx: &Tx<'_>) {
        if let Some(router) = self.router_id.take() {
            tx.touch(Touched::Router(router));
        }
        self.port_id = None;
        self.fixed_ip_address = None;
        self.status = ports::DOWN.into();
    }
}

/// No router leads from a port's address to the floating IP's network.
fn unreachable(floating: &Model, port: &ports::Model, fixed: IpAddr) -> Error {
    let subnet = port.fixed_ips.0.iter().find(|f| f.ip_address == fixed).map(|f| f.subnet_id.as_str()).unwrap_or_default();
    let message = format!(
        "External network {} is not reachable from subnet {subnet}. Therefore, cannot associate Port {} with a Floating IP.",
        floating.floating_network_id, port.id
    );
    Error::not_found(message).code("ExternalGatewayForFloatingIPNotFound")
}

/// The host of their routers says of floating IPs whether they lead to their ports.
pub async fn carried(tx: &Tx<'_>, host: &str, ids: &[String], status: &str) -> Result<()> {
    let rows: Vec<Model> = with(tx.db, "id", ids).await?;
    for floating in rows.into_iter().filter(|floating| floating.status != status) {
        let update = "UPDATE floatingips SET status = $1, revision_number = revision_number + 1, updated_at = $2 \
                      WHERE id = $3 AND router_id IN (SELECT id FROM routers WHERE host = $4)";
        let values = [status.into(), Timestamp::now().0.into(), floating.id.into(), host.into()];
        sql::execute(tx.db, update, values).await?;
    }
    Ok(())
}

/// A port is about to go: what leads to it leads nowhere.
pub async fn port_gone(tx: &Tx<'_>, port: &ports::Model) -> Result<()> {
    port_forwardings::port_changed(tx, port, true).await?;
    for mut floating in with::<Model, _>(tx.db, "port_id", std::slice::from_ref(&port.id)).await? {
        floating.disassociate(tx);
        save(tx.db, &mut floating).await?;
    }
    Ok(())
}

/// A network is about to go: floating IPs of it that lead nowhere go, too.
pub async fn network_gone(tx: &Tx<'_>, network: &str) -> Result<()> {
    let all: Vec<Model> = with(tx.db, "floating_network_id", &[network.to_owned()]).await?;
    for floating in all.into_iter().filter(|floating| floating.router_id.is_none()) {
        remove::<Model, _>(tx.db, &floating.id).await?;
        if let Some(port) = fetch::<ports::Model, _>(tx.db, &floating.floating_port_id).await? {
            ports::remove(tx, &port).await?;
        }
    }
    Ok(())
}

/// A port has other addresses: what led to those it lost leads nowhere.
pub async fn addresses_changed(tx: &Tx<'_>, port: &ports::Model) -> Result<()> {
    port_forwardings::port_changed(tx, port, false).await?;
    for mut floating in with::<Model, _>(tx.db, "port_id", std::slice::from_ref(&port.id)).await? {
        let kept = floating.fixed_address().is_some_and(|ip| port.fixed_ips.0.iter().any(|fixed| fixed.ip_address == ip));
        if !kept {
            floating.disassociate(tx);
            save(tx.db, &mut floating).await?;
            if port.is_servers() {
                tx.tell_nova(nova::event("network-changed", port));
            }
        }
    }
    Ok(())
}
