//! Segments: what carries a network, in parts. Most networks have one; of those with several a host is on the first that it is joined to.
//! [`carriers`] says what there may be, [`allocate`] takes it, [`ranges`] are the numbers to choose from.

mod allocate;
mod carriers;
pub mod ranges;

use std::collections::HashMap;

use kit::clock::Timestamp;
use kit::{Context, Error, Result, ids};
use sea_orm::ConnectionTrait;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Condition, ExprTrait};
use serde_json::{Map, Value, json};

pub use carriers::{Carrier, TENANT, VlanRange, largest_mtu, mtu};

use crate::agents::{Reach, Touched};
use crate::attributes::{Attribute, Checked, ID, TENANT as TENANT_ID};
use crate::fault::conflict;
use crate::plain::Plain;
use crate::resource::{Resource, Seen, locked, save, with};
use crate::values::Kind;
use crate::{Tx, networks, sql};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "network_segments")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub network_id: String,
    pub segment_index: i64,
    pub name: Option<String>,
    pub description: Option<String>,
    pub network_type: String,
    /// Empty for none.
    pub physical_network: String,
    /// 0 for none.
    pub segmentation_id: i64,
    pub revision_number: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    fn new(network: &str, index: usize, carrier: &Carrier) -> Model {
        let now = Timestamp::now();
        Model {
            id: ids::uuid(),
            network_id: network.to_owned(),
            segment_index: i64::try_from(index).unwrap_or(i64::MAX),
            name: None,
            description: None,
            network_type: carrier.network_type.clone(),
            physical_network: carrier.physical_network.clone().unwrap_or_default(),
            segmentation_id: carrier.segmentation_id.unwrap_or_default(),
            revision_number: 0,
            created_at: now,
            updated_at: now,
        }
    }

    pub fn carrier(&self) -> Carrier {
        Carrier {
            network_type: self.network_type.clone(),
            physical_network: Some(self.physical_network.clone()).filter(|name| !name.is_empty()),
            segmentation_id: Some(self.segmentation_id).filter(|id| *id != 0),
        }
    }
}

/// The segments of networks, by network and in their order.
pub async fn of<C: ConnectionTrait>(db: &C, networks: &[String]) -> Result<HashMap<String, Vec<Model>>> {
    let mut rows: Vec<Model> = with(db, "network_id", networks).await?;
    rows.sort_by_key(|segment| segment.segment_index);
    let mut of: HashMap<String, Vec<Model>> = HashMap::new();
    for row in rows {
        of.entry(row.network_id.clone()).or_default().push(row);
    }
    Ok(of)
}

/// Whether some of these networks have more than one.
pub async fn several<C: ConnectionTrait>(db: &C, networks: &[String]) -> Result<bool> {
    for some in networks.chunks(1000) {
        let further = sql::parameters(1, some.len());
        let further = format!("SELECT 1 FROM network_segments WHERE segment_index > 0 AND network_id IN ({further}) LIMIT 1");
        if sql::exists(db, &further, some.iter().map(|network| network.as_str().into())).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Makes the segments of a network that was just inserted: of what carries it, and what it is carried by besides.
pub async fn make(tx: &Tx<'_>, network: &mut networks::Model, further: &[Carrier]) -> Result<()> {
    let first = network.carrier();
    for (index, carrier) in std::iter::once(&first).chain(further).enumerate() {
        let made = allocate::take(tx, &network.project_id, Model::new(&network.id, index, carrier)).await?;
        if index == 0 {
            reflect(tx, network, Some(&made)).await?;
        }
    }
    Ok(())
}

/// A network shows its first segment as what carries it.
async fn reflect(tx: &Tx<'_>, network: &mut networks::Model, first: Option<&Model>) -> Result<()> {
    let carrier = first.map(Model::carrier).unwrap_or_default();
    if network.carrier() == carrier {
        return Ok(());
    }
    network.carry_by(carrier);
    let update = "UPDATE networks SET network_type = $1, segmentation_id = $2, physical_network = $3 WHERE id = $4";
    let values = [
        network.network_type.as_str().into(),
        network.segmentation_id.into(),
        network.physical_network.clone().into(),
        network.id.as_str().into(),
    ];
    sql::execute(tx.db, update, values).await.map(drop)
}

impl Resource for Model {
    const KEY: &'static str = "segment";
    const PLURAL: &'static str = "segments";
    const TABLE: &'static str = "network_segments";
    const NOUN: &'static str = "Segment";
    const NOT_FOUND: &'static str = "SegmentNotFound";
    const ATTRIBUTES: &'static [Attribute] = &[
        ID,
        TENANT_ID.composite(),
        Attribute::fixed("network_id", Kind::Uuid).required(),
        Attribute::fixed("network_type", Kind::Text(32)).required(),
        Attribute::fixed("physical_network", Kind::TextOrNull(64)),
        Attribute::fixed("segmentation_id", Kind::IntOrNull(1, carriers::LARGEST_VNI)),
        Attribute::writable("name", Kind::TextOrNull(255)),
        Attribute::writable("description", Kind::TextOrNull(255)),
        Attribute::shown("created_at", Kind::Text(32)),
        Attribute::shown("updated_at", Kind::Text(32)),
        Attribute::shown("revision_number", Kind::Int(0, i64::MAX)),
    ];

    type Table = Entity;

    fn id(&self) -> &str {
        &self.id
    }

    /// The cloud's.
    fn project_id(&self) -> &str {
        ""
    }

    fn touch(&mut self) {
        self.revision_number += 1;
        self.updated_at = Timestamp::now();
    }

    fn revision(&self) -> Option<i64> {
        Some(self.revision_number)
    }

    fn visible(_: &str) -> Condition {
        Condition::any().add(Expr::val(1).eq(0))
    }

    fn view(&self, _: &Seen) -> Map<String, Value> {
        let carrier = self.carrier();
        let view = json!({
            "id": self.id, "network_id": self.network_id, "name": self.name, "description": self.description,
            "network_type": carrier.network_type, "physical_network": carrier.physical_network,
            "segmentation_id": carrier.segmentation_id, "revision_number": self.revision_number,
            "created_at": self.created_at.to_seconds_z(), "updated_at": self.updated_at.to_seconds_z(),
        });
        if let Value::Object(view) = view { view } else { Map::new() }
    }
}

impl Plain for Model {
    fn new(checked: &Checked) -> Result<Model> {
        let carrier = Carrier {
            network_type: checked.text("network_type")?,
            physical_network: checked.get::<Option<String>>("physical_network")?.flatten().filter(|name| !name.is_empty()),
            segmentation_id: checked.get::<Option<i64>>("segmentation_id")?.flatten(),
        };
        let mut segment = Model::new(&checked.text("network_id")?, 0, &carrier);
        segment.apply(checked)?;
        Ok(segment)
    }

    fn apply(&mut self, checked: &Checked) -> Result<()> {
        checked.set("name", &mut self.name)?;
        checked.set("description", &mut self.description)
    }

    async fn insert(mut self, tx: &Tx<'_>) -> Result<Model> {
        let mut network: networks::Model = locked(tx.db, &self.network_id).await?;
        self.carrier().check(&tx.app)?;
        let others = of(tx.db, std::slice::from_ref(&network.id)).await?.remove(&network.id).unwrap_or_default();
        self.segment_index = others.last().map_or(0, |last| last.segment_index + 1);
        let made = allocate::take(tx, &network.project_id, self).await?;
        reflect(tx, &mut network, Some(others.first().unwrap_or(&made))).await?;
        network.mtu = Ord::min(network.mtu, largest_mtu(&tx.app, &made.network_type));
        save(tx.db, &mut network).await?;
        tx.touch(Touched::Segments(network.id));
        Ok(made)
    }

    async fn removing(&self, tx: &Tx<'_>, _: &Context) -> Result<()> {
        let mut network: networks::Model = locked(tx.db, &self.network_id).await?;
        let subnets = sql::texts(tx.db, "SELECT id FROM subnets WHERE segment_id = $1", [self.id.as_str().into()]).await?;
        if !subnets.is_empty() {
            return Err(in_use(self, &format!("The segment is still associated with subnet(s) {}", subnets.join(", "))));
        }
        let all = of(tx.db, std::slice::from_ref(&network.id)).await?.remove(&network.id).unwrap_or_default();
        let on = "SELECT host_id FROM ports WHERE network_id = $1 AND host_id <> '' AND device_owner <> 'network:dhcp'";
        let hosts = sql::texts(tx.db, on, [network.id.as_str().into()]).await?;
        let reach = Reach::read(tx.db).await?;
        let here = |host: &&String| reach.choose(&all, host).is_some_and(|segment| segment.id == self.id);
        let bound = hosts.iter().filter(here).count();
        if bound > 0 {
            return Err(in_use(self, &format!("The segment is still bound with {bound} port(s)")));
        }
        let first = all.iter().find(|segment| segment.id != self.id);
        reflect(tx, &mut network, first).await?;
        save(tx.db, &mut network).await?;
        tx.touch(Touched::Segments(network.id));
        Ok(())
    }
}

fn in_use(segment: &Model, reason: &str) -> Error {
    conflict("SegmentInUse", format!("Segment '{}' cannot be deleted: {reason}.", segment.id))
}
