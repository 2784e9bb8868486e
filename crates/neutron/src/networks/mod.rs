//! Networks: who owns them, who sees them, and what carries them.

mod api;

use std::collections::HashMap;

use kit::clock::Timestamp;
use kit::db::Json;
use kit::{Context, Error, Result};
use sea_orm::DbBackend;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Condition, ExprTrait, Query};
use serde_json::{Map, Value, json};

pub use api::{check_mtu, create, delete, make, make_own, tenant, update};

use crate::attributes::Attribute;
use crate::resource::{Resource, Seen, extend, seen, standard_view};
use crate::segments::{self, Carrier};
use crate::values::Kind;
use crate::{Tx, rbac, sql};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "networks")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub project_id: String,
    pub name: String,
    pub description: String,
    pub admin_state_up: bool,
    pub external: bool,
    pub is_default: bool,
    pub mtu: i64,
    /// Of its first segment, as `segments` has it: `flat`, `vlan`, `vxlan` or `local`; empty when it has none.
    pub network_type: String,
    pub physical_network: Option<String>,
    pub segmentation_id: Option<i64>,
    pub dns_domain: String,
    pub port_security_enabled: bool,
    pub availability_zone_hints: Json<Vec<String>>,
    pub qos_policy_id: Option<String>,
    /// Do frames with tags of its guests' own pass?
    pub vlan_transparent: Option<bool>,
    pub tags: Json<Vec<String>>,
    pub revision_number: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The domain of names in networks that have none.
const DOMAIN: &str = "openstacklocal.";

impl Model {
    /// The domain of the names of its ports that have none of their own.
    pub fn domain(&self) -> &str {
        if self.dns_domain.is_empty() { DOMAIN } else { &self.dns_domain }
    }

    /// What carries it, or the first part of it.
    pub fn carrier(&self) -> Carrier {
        Carrier {
            network_type: self.network_type.clone(),
            physical_network: self.physical_network.clone(),
            segmentation_id: self.segmentation_id,
        }
    }

    /// Has this carry it, or the first part of it.
    pub fn carry_by(&mut self, carrier: Carrier) {
        self.network_type = carrier.network_type;
        self.physical_network = carrier.physical_network;
        self.segmentation_id = carrier.segmentation_id;
    }
}

impl Resource for Model {
    const KEY: &'static str = "network";
    const PLURAL: &'static str = "networks";
    const TABLE: &'static str = "networks";
    const NOUN: &'static str = "Network";
    const NOT_FOUND: &'static str = "NetworkNotFound";
    const SHARED_AS: Option<&'static str> = Some("network");
    const ATTRIBUTES: &'static [Attribute] = &[
        Attribute::writable("name", Kind::Text(255)),
        Attribute::writable("admin_state_up", Kind::Bool),
        Attribute::writable("shared", Kind::Bool).composite().ruled(),
        Attribute::writable("qos_policy_id", Kind::UuidOrNull),
        Attribute::writable("router:external", Kind::Bool).column("external").ruled(),
        Attribute::writable("is_default", Kind::Bool).ruled(),
        Attribute::writable("mtu", Kind::Int(0, 65_535)),
        Attribute::writable("provider:network_type", Kind::Text(32)).composite().ruled(),
        Attribute::writable("provider:physical_network", Kind::TextOrNull(64)).composite().ruled(),
        Attribute::writable("provider:segmentation_id", Kind::Int(1, 16_777_215)).composite().ruled(),
        Attribute::fixed("segments", Kind::Segments).composite().ruled(),
        Attribute::writable("port_security_enabled", Kind::Bool),
        Attribute::writable("dns_domain", Kind::DnsDomain),
        Attribute::fixed("vlan_transparent", Kind::Bool),
        Attribute::fixed("availability_zone_hints", Kind::Words).composite(),
        Attribute::shown("status", Kind::Text(16)).composite(),
        Attribute::shown("subnets", Kind::Uuids).composite(),
    ];

    crate::standard!();

    fn filter(name: &str, values: &[&str], _: &Seen) -> Option<Condition> {
        match name {
            // a network without carrier trouble is ACTIVE; there is no other state
            "status" if values.contains(&"ACTIVE") => Some(Condition::all()),
            "status" => Some(Condition::any().add(Expr::val(1).eq(0))),
            "subnets" => {
                let networks = Query::select()
                    .column("network_id")
                    .from("subnets")
                    .and_where(Expr::col("id").is_in(values.iter().copied()))
                    .to_owned();
                Some(Condition::all().add(Column::Id.in_subquery(networks)))
            }
            "provider:network_type" => Some(on_segments("network_type", values)),
            "provider:physical_network" => Some(on_segments("physical_network", values)),
            "provider:segmentation_id" => Some(on_segments("segmentation_id", values)),
            _ => None,
        }
    }

    fn view(&self, _: &Seen) -> Map<String, Value> {
        let mut view = standard_view(&self.id, &self.project_id, &self.description, self.revision_number, self.created_at, self.updated_at);
        extend(
            &mut view,
            json!({
                "name": self.name, "admin_state_up": self.admin_state_up, "status": "ACTIVE",
                "router:external": self.external, "mtu": self.mtu, "port_security_enabled": self.port_security_enabled,
                "dns_domain": self.dns_domain, "qos_policy_id": self.qos_policy_id, "availability_zone_hints": self.availability_zone_hints.0,
                "availability_zones": ["nova"],
                "ipv4_address_scope": null, "ipv6_address_scope": null, "tags": self.tags.0, "subnets": [], "l2_adjacency": true,
                "vlan_transparent": self.vlan_transparent,
            }),
        );
        if self.external {
            view.insert("is_default".into(), json!(self.is_default));
        }
        view
    }

    async fn views(db: &DatabaseConnection, rows: Vec<Self>, seen: &Seen) -> Result<Vec<Map<String, Value>>> {
        let mut subnets = subnets_of(db, &rows).await?;
        let ids: Vec<String> = rows.iter().map(|row| row.id.clone()).collect();
        let carriers = if seen.admin { segments::of(db, &ids).await? } else { HashMap::new() };
        let with_subnets = |row: &Model| {
            let mut view = row.view(seen);
            let own = subnets.remove(&row.id).unwrap_or_default();
            for (version, key) in [(4, "ipv4_address_scope"), (6, "ipv6_address_scope")] {
                let scope = own.iter().find(|subnet| subnet.ip_version == version).and_then(|subnet| subnet.scope.clone());
                view.insert(key.into(), json!(scope));
            }
            if seen.admin {
                view.extend(carried_by(carriers.get(&row.id).map(Vec::as_slice).unwrap_or_default()));
            }
            view.insert("l2_adjacency".into(), json!(own.first().is_none_or(|subnet| !subnet.on_segment)));
            view.insert("subnets".into(), own.into_iter().map(|subnet| subnet.id).collect());
            view
        };
        Ok(rows.iter().map(with_subnets).collect())
    }
}

/// Networks with a segment that has one of these values.
fn on_segments(column: &'static str, values: &[&str]) -> Condition {
    let fits = match column {
        "segmentation_id" => Expr::col(column).is_in(values.iter().filter_map(|value| value.parse::<i64>().ok())),
        _ => Expr::col(column).is_in(values.iter().copied()),
    };
    let networks = Query::select().column("network_id").from("network_segments").and_where(fits).to_owned();
    Condition::all().add(Column::Id.in_subquery(networks))
}

/// How a network shows what carries it: one segment as its own attributes, several as a list.
fn carried_by(segments: &[segments::Model]) -> Map<String, Value> {
    let shown = |carrier: Carrier| {
        let kind = Some(carrier.network_type).filter(|kind| !kind.is_empty());
        Map::from_iter([
            ("provider:network_type".to_owned(), json!(kind)),
            ("provider:physical_network".to_owned(), json!(carrier.physical_network)),
            ("provider:segmentation_id".to_owned(), json!(carrier.segmentation_id)),
        ])
    };
    let mut all: Vec<Map<String, Value>> = segments.iter().map(|segment| shown(segment.carrier())).collect();
    match all.len() {
        0 => shown(Carrier::default()),
        1 => all.swap_remove(0),
        _ => Map::from_iter([("segments".to_owned(), json!(all))]),
    }
}

/// A network that the caller may put something (`port` or `subnet`) on: one of their own or a shared one. Of an external one they only know.
pub async fn usable(tx: &Tx<'_>, ctx: &Context, id: &str, what: &str) -> Result<Model> {
    let network: Model = seen(tx.db, ctx, id).await?;
    let project = ctx.project_id().unwrap_or_default();
    if ctx.is_service_or_admin() || network.project_id == project || rbac::is_shared(tx.db, id, project).await? {
        return Ok(network);
    }
    Err(Error::forbidden(format!("Tenant {project} not allowed to create {what} on this network")).code("HTTPForbidden"))
}

/// Waits until it is this change's turn on some networks. Whoever makes, changes or removes subnets and ports takes it before any row of
/// them, and before counting them: changes of one network follow each other, and no two ever wait for each other. Rows that only name a
/// network do not wait for it.
pub async fn turn(tx: &Tx<'_>, mut networks: Vec<String>) -> Result<()> {
    if !take_turns(tx) {
        return Ok(());
    }
    networks.sort_unstable();
    networks.dedup();
    for network in networks {
        sql::query(tx.db, "SELECT 1 FROM networks WHERE id = $1 FOR NO KEY UPDATE", [network.into()]).await?;
    }
    Ok(())
}

/// Whether there is more than one who writes, so that turns have to be taken: SQLite has one writer anyway.
pub fn take_turns(tx: &Tx<'_>) -> bool {
    tx.db.get_database_backend() == DbBackend::Postgres
}

/// A subnet came, changed or went: so did what the network is.
pub async fn bump(tx: &Tx<'_>, id: &str) -> Result<()> {
    let bump = "UPDATE networks SET revision_number = revision_number + 1, updated_at = $1 WHERE id = $2";
    sql::execute(tx.db, bump, [Timestamp::now().0.into(), id.into()]).await.map(drop)
}

/// What a network shows of a subnet.
struct SubnetOf {
    id: String,
    ip_version: i64,
    /// The address scope of its pool.
    scope: Option<String>,
    /// It is of one segment alone.
    on_segment: bool,
}

/// The networks' subnets, by network.
async fn subnets_of(db: &DatabaseConnection, rows: &[Model]) -> Result<HashMap<String, Vec<SubnetOf>>> {
    let mut subnets: HashMap<String, Vec<SubnetOf>> = HashMap::new();
    for some in rows.chunks(1000) {
        let statement = format!(
            "SELECT s.network_id, s.id, s.ip_version, p.address_scope_id, s.segment_id FROM subnets s LEFT JOIN subnetpools p ON p.id = s.subnetpool_id \
             WHERE s.network_id IN ({}) ORDER BY s.created_at, s.id",
            sql::parameters(1, some.len())
        );
        for row in sql::query(db, &statement, some.iter().map(|network| network.id.as_str().into())).await? {
            let on_segment = row.try_get_by_index::<Option<String>>(4)?.is_some();
            let subnet = SubnetOf {
                id: row.try_get_by_index(1)?,
                ip_version: row.try_get_by_index(2)?,
                scope: row.try_get_by_index(3)?,
                on_segment,
            };
            subnets.entry(row.try_get_by_index(0)?).or_default().push(subnet);
        }
    }
    Ok(subnets)
}
