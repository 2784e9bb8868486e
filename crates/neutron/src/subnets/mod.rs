//! Subnets: a prefix of a network, what is given out of it, and what its hosts are told.

mod api;
mod create;
mod on_segment;
mod plan;

use std::net::IpAddr;

use ipnet::IpNet;
use kit::clock::Timestamp;
use kit::db::Json;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Condition, ExprTrait, Query};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use api::{check_told, delete, update};
pub use create::{create, make};
pub use on_segment::{of, usable_on};
pub use plan::plan;

use crate::attributes::Attribute;
use crate::resource::{Resource, Seen, extend, standard_view};
use crate::values::Kind;
use crate::{rbac, sql};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "subnets")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub project_id: String,
    pub network_id: String,
    pub name: String,
    pub description: String,
    pub ip_version: i64,
    pub cidr: String,
    pub gateway_ip: Option<String>,
    pub enable_dhcp: bool,
    pub dns_nameservers: Json<Vec<IpAddr>>,
    pub host_routes: Json<Vec<Route>>,
    pub allocation_pools: Json<Vec<Pool>>,
    pub ipv6_ra_mode: Option<String>,
    pub ipv6_address_mode: Option<String>,
    pub service_types: Json<Vec<String>>,
    pub subnetpool_id: Option<String>,
    pub dns_publish_fixed_ip: bool,
    /// Its ports are on this segment of the network.
    pub segment_id: Option<String>,
    pub tags: Json<Vec<String>>,
    pub revision_number: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    pub start: IpAddr,
    pub end: IpAddr,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    pub destination: String,
    pub nexthop: IpAddr,
}

impl Model {
    pub fn is_v4(&self) -> bool {
        self.ip_version == 4
    }

    pub fn net(&self) -> Option<IpNet> {
        self.cidr.parse().ok()
    }

    pub fn gateway(&self) -> Option<IpAddr> {
        self.gateway_ip.as_ref()?.parse().ok()
    }

    pub fn contains(&self, ip: IpAddr) -> bool {
        self.net().is_some_and(|net| net.contains(&ip))
    }

    pub fn pools_contain(&self, ip: IpAddr) -> bool {
        self.allocation_pools.0.iter().any(|pool| pool.start <= ip && ip <= pool.end)
    }

    /// Hosts choose their own addresses in it.
    pub fn is_auto_addressed(&self) -> bool {
        matches!(self.ipv6_address_mode.as_deref(), Some("slaac" | "dhcpv6-stateless"))
    }

    /// `10.0.0.5/24`
    pub fn with_prefix(&self, ip: IpAddr) -> String {
        format!("{ip}/{}", self.net().map_or(32, |net| net.prefix_len()))
    }
}

const MODES: &[&str] = &["slaac", "dhcpv6-stateful", "dhcpv6-stateless"];

impl Resource for Model {
    const KEY: &'static str = "subnet";
    const PLURAL: &'static str = "subnets";
    const TABLE: &'static str = "subnets";
    const NOUN: &'static str = "Subnet";
    const NOT_FOUND: &'static str = "SubnetNotFound";
    const ATTRIBUTES: &'static [Attribute] = &[
        Attribute::writable("name", Kind::Text(255)),
        Attribute::fixed("network_id", Kind::Uuid).required(),
        Attribute::fixed("ip_version", Kind::IpVersion).required(),
        Attribute::fixed("cidr", Kind::CidrOrNull),
        Attribute::fixed("subnetpool_id", Kind::UuidOrNull),
        Attribute::fixed("prefixlen", Kind::IntOrNull(0, 128)).composite(),
        Attribute::fixed("use_default_subnetpool", Kind::Bool).composite(),
        Attribute::writable("gateway_ip", Kind::IpOrNull),
        Attribute::writable("enable_dhcp", Kind::Bool),
        Attribute::writable("allocation_pools", Kind::Pools).composite(),
        Attribute::writable("dns_nameservers", Kind::Ips).composite(),
        Attribute::writable("host_routes", Kind::Routes).composite(),
        Attribute::fixed("ipv6_ra_mode", Kind::OneOfOrNull(MODES)),
        Attribute::fixed("ipv6_address_mode", Kind::OneOfOrNull(MODES)),
        Attribute::writable("service_types", Kind::Words).composite().ruled(),
        Attribute::writable("dns_publish_fixed_ip", Kind::Bool),
        Attribute::writable("segment_id", Kind::UuidOrNull).ruled(),
    ];

    crate::standard!();

    /// As its network is: also of an external one they only know.
    fn visible(project: &str) -> Condition {
        let shared = rbac::objects("network", project);
        let mine = Query::select().column("id").from("networks").and_where(Expr::col("project_id").eq(project)).to_owned();
        Condition::any()
            .add(Column::ProjectId.eq(project))
            .add(Column::NetworkId.in_subquery(shared))
            .add(Column::NetworkId.in_subquery(mine))
    }

    fn filter(name: &str, values: &[&str], seen: &Seen) -> Option<Condition> {
        match name {
            // a subnet is as shared, or external, as its network
            "shared" | "router:external" => {
                let wanted = values.first().is_some_and(|value| kit::call::truthy(value));
                let networks = match name {
                    "shared" => rbac::shared_objects("network", &seen.project),
                    _ => Query::select().column("id").from("networks").and_where(Expr::col("external").eq(true)).to_owned(),
                };
                let found = Condition::all().add(Column::NetworkId.in_subquery(networks));
                Some(if wanted { found } else { found.not() })
            }
            _ => None,
        }
    }

    fn view(&self, seen: &Seen) -> Map<String, Value> {
        let mut view = standard_view(&self.id, &self.project_id, &self.description, self.revision_number, self.created_at, self.updated_at);
        extend(
            &mut view,
            json!({
                "name": self.name, "network_id": self.network_id, "ip_version": self.ip_version, "cidr": self.cidr,
                "gateway_ip": self.gateway_ip, "enable_dhcp": self.enable_dhcp, "allocation_pools": self.allocation_pools.0,
                "dns_nameservers": self.dns_nameservers.0, "host_routes": self.host_routes.0, "ipv6_ra_mode": self.ipv6_ra_mode,
                "ipv6_address_mode": self.ipv6_address_mode, "service_types": self.service_types.0, "subnetpool_id": self.subnetpool_id,
                "dns_publish_fixed_ip": self.dns_publish_fixed_ip, "tags": self.tags.0,
            }),
        );
        if seen.admin {
            view.insert("segment_id".into(), json!(self.segment_id));
        }
        view
    }

    async fn views(db: &DatabaseConnection, rows: Vec<Self>, seen: &Seen) -> kit::Result<Vec<Map<String, Value>>> {
        let external = sql::texts(db, "SELECT id FROM networks WHERE external", []).await?;
        let with_network = |row: &Model| {
            let mut view = row.view(seen);
            view.insert("router:external".into(), json!(external.contains(&row.network_id)));
            view
        };
        Ok(rows.iter().map(with_network).collect())
    }
}
