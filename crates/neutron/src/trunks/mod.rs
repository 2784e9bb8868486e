//! Trunks: a guest's port that carries the frames of other ports, told apart by VLAN tags. Subports are where their trunk's parent is.

mod api;
mod subports;

use std::collections::HashMap;

use kit::Result;
use kit::clock::Timestamp;
use kit::db::Json;
use rpc::network::TrunkMember;
use sea_orm::ConnectionTrait;
use sea_orm::entity::prelude::*;
use serde_json::{Map, Value, json};

pub use api::{create, delete, update};
pub use subports::{add, list as list_subports, remove};

use crate::attributes::Attribute;
use crate::fault::conflict;
use crate::ports::{self, ACTIVE, DOWN};
use crate::resource::{Resource, Seen, extend, fetch, save, standard_view, with};
use crate::values::Kind;
use crate::{Tx, networks, sql};

/// The owner of ports that are part of a trunk.
pub const SUBPORT: &str = "trunk:subport";

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "trunks")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub project_id: String,
    pub name: String,
    pub description: String,
    pub admin_state_up: bool,
    /// As its ports are: ACTIVE when all are wired, DEGRADED when some are, DOWN when the parent is not.
    pub status: String,
    pub port_id: String,
    pub tags: Json<Vec<String>>,
    pub revision_number: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Resource for Model {
    const KEY: &'static str = "trunk";
    const PLURAL: &'static str = "trunks";
    const TABLE: &'static str = "trunks";
    const NOUN: &'static str = "Trunk";
    const NOT_FOUND: &'static str = "TrunkNotFound";
    const ATTRIBUTES: &'static [Attribute] = &[
        Attribute::writable("name", Kind::Text(255)),
        Attribute::writable("admin_state_up", Kind::Bool),
        Attribute::fixed("port_id", Kind::Uuid).required(),
        Attribute::fixed("sub_ports", Kind::SubPorts).composite(),
        Attribute::shown("status", Kind::Text(16)),
    ];

    crate::standard!();

    fn view(&self, _: &Seen) -> Map<String, Value> {
        let mut view = standard_view(&self.id, &self.project_id, &self.description, self.revision_number, self.created_at, self.updated_at);
        extend(
            &mut view,
            json!({
                "name": self.name, "admin_state_up": self.admin_state_up, "status": self.status, "port_id": self.port_id,
                "sub_ports": [], "tags": self.tags.0,
            }),
        );
        view
    }

    async fn views(db: &DatabaseConnection, rows: Vec<Self>, seen: &Seen) -> Result<Vec<Map<String, Value>>> {
        let ids: Vec<String> = rows.iter().map(|trunk| trunk.id.clone()).collect();
        let mut subports: HashMap<String, Vec<Value>> = HashMap::new();
        for subport in of(db, &ids).await? {
            subports.entry(subport.trunk_id.clone()).or_default().push(subport.view());
        }
        let whole = |trunk: &Model| {
            let mut view = trunk.view(seen);
            view.insert("sub_ports".into(), json!(subports.remove(&trunk.id).unwrap_or_default()));
            view
        };
        Ok(rows.iter().map(whole).collect())
    }
}

/// A port in a trunk.
#[derive(Clone, Debug)]
pub struct Subport {
    pub port_id: String,
    pub trunk_id: String,
    pub segmentation_type: String,
    pub segmentation_id: i64,
}

impl Subport {
    fn view(&self) -> Value {
        json!({"port_id": self.port_id, "segmentation_type": self.segmentation_type, "segmentation_id": self.segmentation_id})
    }
}

/// The subports of some trunks.
async fn of<C: ConnectionTrait>(db: &C, trunks: &[String]) -> Result<Vec<Subport>> {
    subports_where(db, "trunk_id", trunks).await
}

async fn subports_where<C: ConnectionTrait>(db: &C, column: &str, values: &[String]) -> Result<Vec<Subport>> {
    let mut subports = Vec::new();
    for some in values.chunks(1000) {
        let select = format!(
            "SELECT port_id, trunk_id, segmentation_type, segmentation_id FROM subports WHERE {column} IN ({}) ORDER BY segmentation_id, port_id",
            sql::parameters(1, some.len())
        );
        for row in sql::query(db, &select, some.iter().map(|value| value.as_str().into())).await? {
            subports.push(Subport {
                port_id: row.try_get_by_index(0)?,
                trunk_id: row.try_get_by_index(1)?,
                segmentation_type: row.try_get_by_index(2)?,
                segmentation_id: row.try_get_by_index(3)?,
            });
        }
    }
    Ok(subports)
}

/// What ports that carry a trunk show of it.
pub async fn details(db: &DatabaseConnection, ports: &[String]) -> Result<HashMap<String, Value>> {
    let trunks: Vec<Model> = with(db, "port_id", ports).await?;
    let ids: Vec<String> = trunks.iter().map(|trunk| trunk.id.clone()).collect();
    let subports = of(db, &ids).await?;
    let members: Vec<String> = subports.iter().map(|subport| subport.port_id.clone()).collect();
    let members: Vec<ports::Model> = with(db, "id", &members).await?;
    let one = |subport: &Subport| {
        let mut view = subport.view();
        if let Some(port) = members.iter().find(|port| port.id == subport.port_id) {
            view["mac_address"] = json!(port.mac_address);
        }
        view
    };
    let all = trunks.into_iter().map(|trunk| {
        let own: Vec<Value> = subports.iter().filter(|subport| subport.trunk_id == trunk.id).map(one).collect();
        (trunk.port_id, json!({"trunk_id": trunk.id, "sub_ports": own}))
    });
    Ok(all.collect())
}

/// Of which trunk's parent ports are subports, by port.
pub async fn members<C: ConnectionTrait>(db: &C, ports: &[String]) -> Result<HashMap<String, TrunkMember>> {
    let subports = subports_where(db, "port_id", ports).await?;
    let ids: Vec<String> = subports.iter().map(|subport| subport.trunk_id.clone()).collect();
    let trunks: Vec<Model> = with(db, "id", &ids).await?;
    let member = |subport: Subport| {
        let trunk = trunks.iter().find(|trunk| trunk.id == subport.trunk_id)?;
        let vlan = u16::try_from(subport.segmentation_id).ok()?;
        Some((subport.port_id, TrunkMember { parent_port_id: trunk.port_id.clone(), vlan }))
    };
    Ok(subports.into_iter().filter_map(member).collect())
}

/// 409 when a port is part of a trunk.
pub async fn check_unused(tx: &Tx<'_>, port: &str) -> Result<()> {
    if let Some(trunk) = sql::texts(tx.db, "SELECT id FROM trunks WHERE port_id = $1", [port.into()]).await?.first() {
        return Err(conflict("PortInUseAsTrunkParent", format!("Port {port} is currently a parent port for trunk {trunk}.")));
    }
    if let Some(trunk) = sql::texts(tx.db, "SELECT trunk_id FROM subports WHERE port_id = $1", [port.into()]).await?.first() {
        return Err(conflict("PortInUseAsSubPort", format!("Port {port} is currently a subport for trunk {trunk}.")));
    }
    Ok(())
}

/// A port moved to a host, or from one: if it carries a trunk, the subports move with it.
pub async fn parent_moved(tx: &Tx<'_>, parent: &ports::Model) -> Result<()> {
    let trunks: Vec<Model> = with(tx.db, "port_id", std::slice::from_ref(&parent.id)).await?;
    let ids: Vec<String> = trunks.iter().map(|trunk| trunk.id.clone()).collect();
    let mut subports = of(tx.db, &ids).await?;
    subports.sort_by(|a, b| a.port_id.cmp(&b.port_id));
    for subport in subports {
        if let Some(port) = fetch::<ports::Model, _>(tx.db, &subport.port_id).await? {
            place(tx, port, &parent.host_id, SUBPORT, &subport.trunk_id).await?;
        }
    }
    for mut trunk in trunks {
        trunk.status = DOWN.into();
        save(tx.db, &mut trunk).await?;
    }
    Ok(())
}

/// Puts a subport where its parent is, or (with nothing) frees it.
async fn place(tx: &Tx<'_>, mut port: ports::Model, host: &str, owner: &str, trunk: &str) -> Result<()> {
    let before = port.clone();
    port.host_id = host.to_owned();
    port.device_owner = owner.to_owned();
    port.device_id = trunk.to_owned();
    port.status = DOWN.into();
    save(tx.db, &mut port).await?;
    if let Some(network) = fetch::<networks::Model, _>(tx.db, &port.network_id).await? {
        Box::pin(ports::settle(tx, &network, &before, &port)).await?;
    }
    Ok(())
}

/// Ports were wired or unwired: so are the trunks they are part of.
pub async fn wired(tx: &Tx<'_>, ports: &[String]) -> Result<()> {
    let mut trunks: Vec<Model> = with(tx.db, "port_id", ports).await?;
    let carrying: Vec<String> = subports_where(tx.db, "port_id", ports).await?.into_iter().map(|subport| subport.trunk_id).collect();
    trunks.extend(with::<Model, _>(tx.db, "id", &carrying).await?);
    trunks.sort_by(|a, b| a.id.cmp(&b.id));
    trunks.dedup_by(|a, b| a.id == b.id);
    for mut trunk in trunks {
        let status = status(tx, &trunk).await?;
        if trunk.status != status {
            trunk.status = status.to_owned();
            save(tx.db, &mut trunk).await?;
        }
    }
    Ok(())
}

async fn status(tx: &Tx<'_>, trunk: &Model) -> Result<&'static str> {
    let active = |port: Option<ports::Model>| port.is_some_and(|port| port.status == ACTIVE);
    if !active(fetch(tx.db, &trunk.port_id).await?) {
        return Ok(DOWN);
    }
    let subports = of(tx.db, std::slice::from_ref(&trunk.id)).await?;
    let mut up = 0;
    for subport in &subports {
        up += usize::from(active(fetch(tx.db, &subport.port_id).await?));
    }
    Ok(if up == subports.len() { ACTIVE } else { "DEGRADED" })
}
