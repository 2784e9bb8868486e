//! Routers: between subnets, and to the outside. A router lives on the host of one L3 agent; with `ha` others stand by.

mod api;
pub mod extraroutes;
mod gateway;
mod ha;
mod interfaces;
mod placement;

use std::net::IpAddr;

use kit::clock::Timestamp;
use kit::db::Json;
use sea_orm::entity::prelude::*;
use serde_json::{Map, Value, json};

pub use api::{create, delete, make, plain, update};
pub use gateway::{GatewayInfo, clear as clear_gateway};
pub use ha::INTERFACE as HA_INTERFACE;
pub use interfaces::{add, attach, remove};
pub use placement::{put_on, reconcile, standbys, take_off};

use crate::attributes::Attribute;
use crate::ports::{self, FixedIp};
use crate::resource::{Resource, Seen, extend, standard_view};
use crate::subnets::Route;
use crate::values::Kind;
use crate::{Tx, sql};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "routers")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub project_id: String,
    pub name: String,
    pub description: String,
    pub admin_state_up: bool,
    pub status: String,
    /// The host that carries it; empty until there is one.
    pub host: String,
    pub gateway_port_id: Option<String>,
    pub gateway_network_id: Option<String>,
    pub enable_snat: bool,
    pub ha: bool,
    /// An administrator took it off its host and shall say where it goes.
    pub held: bool,
    /// Of the gateway.
    pub qos_policy_id: Option<String>,
    pub external_fixed_ips: Json<Vec<FixedIp>>,
    pub routes: Json<Vec<Route>>,
    pub availability_zone_hints: Json<Vec<String>>,
    pub tags: Json<Vec<String>>,
    pub revision_number: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Resource for Model {
    const KEY: &'static str = "router";
    const PLURAL: &'static str = "routers";
    const TABLE: &'static str = "routers";
    const NOUN: &'static str = "Router";
    const NOT_FOUND: &'static str = "RouterNotFound";
    const ATTRIBUTES: &'static [Attribute] = &[
        Attribute::writable("name", Kind::Text(255)),
        Attribute::writable("admin_state_up", Kind::Bool),
        Attribute::shown("status", Kind::Text(16)),
        Attribute::writable("external_gateway_info", Kind::ObjectOrNull).composite(),
        Attribute { create: false, ..Attribute::writable("routes", Kind::Routes).composite() },
        Attribute::writable("ha", Kind::BoolOrNull).ruled(),
        Attribute::writable("distributed", Kind::BoolOrNull).composite().ruled(),
        Attribute::fixed("flavor_id", Kind::UuidOrNull).composite(),
        Attribute::fixed("availability_zone_hints", Kind::Words).composite(),
    ];

    crate::standard!();

    fn view(&self, seen: &Seen) -> Map<String, Value> {
        let mut view = standard_view(&self.id, &self.project_id, &self.description, self.revision_number, self.created_at, self.updated_at);
        let gateway = self.gateway_network_id.as_ref().map(
            |network| json!({"network_id": network, "enable_snat": self.enable_snat, "external_fixed_ips": self.external_fixed_ips.0, "qos_policy_id": self.qos_policy_id}),
        );
        extend(
            &mut view,
            json!({
                "name": self.name, "admin_state_up": self.admin_state_up, "status": self.status, "external_gateway_info": gateway,
                "routes": self.routes.0, "availability_zone_hints": self.availability_zone_hints.0,
                "availability_zones": if self.host.is_empty() { json!([]) } else { json!(["nova"]) },
                "flavor_id": null, "tags": self.tags.0,
            }),
        );
        if seen.admin {
            view.insert("ha".into(), json!(self.ha));
            view.insert("distributed".into(), json!(false));
        }
        view
    }
}

impl Model {
    /// Its legs into projects' networks.
    pub async fn interfaces(&self, tx: &Tx<'_>) -> kit::Result<Vec<ports::Model>> {
        let ports: Vec<ports::Model> = crate::resource::with(tx.db, "device_id", std::slice::from_ref(&self.id)).await?;
        Ok(ports.into_iter().filter(|port| port.device_owner == ports::ROUTER_INTERFACE).collect())
    }
}

/// The router that joins a port's network to an external network, if any: floating IPs of the port go through it.
pub async fn reaching(tx: &Tx<'_>, port: &ports::Model, ip: IpAddr, external: &str) -> kit::Result<Option<Model>> {
    let subnet = port.fixed_ips.0.iter().find(|fixed| fixed.ip_address == ip).map(|fixed| fixed.subnet_id.clone()).unwrap_or_default();
    let find = "SELECT r.id FROM ip_allocations a JOIN ports p ON p.id = a.port_id JOIN routers r ON r.id = p.device_id \
                WHERE a.subnet_id = $1 AND p.device_owner = 'network:router_interface' AND r.gateway_network_id = $2 LIMIT 1";
    match sql::texts(tx.db, find, [subnet.into(), external.into()]).await?.pop() {
        Some(id) => crate::resource::fetch(tx.db, &id).await,
        None => Ok(None),
    }
}
