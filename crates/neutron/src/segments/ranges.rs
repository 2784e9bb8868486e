//! `/network_segment_ranges`: VXLAN ids and VLAN tags that are given out when none is asked for. Those of the configuration are the default
//! ones, for everybody; administrators add more, some for one project alone.

use kit::clock::Timestamp;
use kit::db::{Db, Json};
use kit::{Context, Error, Result, ids};
use sea_orm::entity::prelude::*;
use serde_json::{Map, Value, json};

use super::carriers::{LARGEST_VLAN, LARGEST_VNI};
use crate::attributes::{Attribute, Checked, ID, PROJECT};
use crate::fault::{bad_request, conflict};
use crate::plain::Plain;
use crate::resource::{Resource, Seen};
use crate::values::Kind;
use crate::{Config, Tx, sql};

/// Free numbers that a range shows at most: of VXLAN ids there are millions.
const SHOWN: usize = 1000;

const TYPES: &[&str] = &["vlan", "vxlan", "gre", "geneve"];

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "network_segment_ranges")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub name: String,
    pub description: String,
    /// Of the configuration.
    pub is_default: bool,
    pub shared: bool,
    /// Whose it is alone, if it is not shared.
    pub project_id: Option<String>,
    pub network_type: String,
    /// Empty for none.
    pub physical_network: String,
    pub minimum: i64,
    pub maximum: i64,
    pub tags: Json<Vec<String>>,
    pub revision_number: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Numbers that a project may get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    pub physical_network: String,
    pub first: i64,
    pub last: i64,
}

/// What a project's networks of a type may get when they do not ask for a number: first what is theirs alone, then what everybody's ranges have
/// beside those of other projects.
pub async fn open_to(tx: &Tx<'_>, project: &str, kind: &str) -> Result<Vec<Open>> {
    let mut ranges = Entity::find().filter(Column::NetworkType.eq(kind)).all(tx.db).await?;
    ranges.sort_by(|a, b| (&a.created_at, &a.physical_network, a.minimum).cmp(&(&b.created_at, &b.physical_network, b.minimum)));
    let open = |range: &Model| Open { physical_network: range.physical_network.clone(), first: range.minimum, last: range.maximum };
    let own = ranges.iter().filter(|range| range.project_id.as_deref() == Some(project)).map(open);
    let others: Vec<Open> = ranges.iter().filter(|range| range.project_id.as_deref().is_some_and(|id| id != project)).map(open).collect();
    let shared = ranges.iter().filter(|range| range.shared).flat_map(|range| without(open(range), &others));
    Ok(own.chain(shared).collect())
}

/// A range without those of others.
fn without(range: Open, others: &[Open]) -> Vec<Open> {
    let mut left = vec![range];
    for other in others {
        let cut = |open: Open| {
            if open.physical_network != other.physical_network || other.last < open.first || open.last < other.first {
                return vec![open];
            }
            let below = Open { last: other.first - 1, ..open.clone() };
            let above = Open { first: other.last + 1, ..open };
            [below, above].into_iter().filter(|open| open.first <= open.last).collect()
        };
        left = left.into_iter().flat_map(cut).collect();
    }
    left
}

/// Notes the ranges of the configuration as the default ones, and forgets those it no longer has.
pub async fn remember(db: &Db, config: &Config) -> Result<()> {
    let tunnels = ("vxlan", String::new(), 1, LARGEST_VNI);
    let tags = config.vlan_ranges.iter().map(|range| ("vlan", range.physical_network.clone(), range.first, range.last));
    let defaults: Vec<Model> = std::iter::once(tunnels).chain(tags).map(default).collect();
    db.write(move |tx| {
        Box::pin(async move {
            let ids: Vec<&str> = defaults.iter().map(|range| range.id.as_str()).collect();
            Entity::delete_many().filter(Column::IsDefault.eq(true)).filter(Column::Id.is_not_in(ids)).exec(tx).await?;
            for range in &defaults {
                crate::resource::insert(tx, range).await?;
            }
            Ok(())
        })
    })
    .await
}

fn default((kind, physical_network, minimum, maximum): (&str, String, i64, i64)) -> Model {
    let now = Timestamp::now();
    Model {
        id: ids::derived("network-segment-range", &format!("{kind}:{physical_network}:{minimum}:{maximum}")),
        name: String::new(),
        description: String::new(),
        is_default: true,
        shared: true,
        project_id: None,
        network_type: kind.to_owned(),
        physical_network,
        minimum,
        maximum,
        tags: Json(Vec::new()),
        revision_number: 0,
        created_at: now,
        updated_at: now,
    }
}

impl Resource for Model {
    const KEY: &'static str = "network_segment_range";
    const PLURAL: &'static str = "network_segment_ranges";
    const TABLE: &'static str = "network_segment_ranges";
    const NOUN: &'static str = "Network Segment Range";
    const NOT_FOUND: &'static str = "NetworkSegmentRangeNotFound";
    const ATTRIBUTES: &'static [Attribute] = &[
        ID,
        PROJECT,
        Attribute::writable("name", Kind::Text(255)),
        Attribute::writable("description", Kind::Text(255)),
        Attribute::shown("default", Kind::Bool).column("is_default"),
        Attribute::fixed("shared", Kind::Bool),
        Attribute::fixed("network_type", Kind::OneOf(TYPES)).required(),
        Attribute::fixed("physical_network", Kind::TextOrEmpty(64)),
        Attribute::writable("minimum", Kind::Int(1, u32::MAX as i64)).required(),
        Attribute::writable("maximum", Kind::Int(1, u32::MAX as i64)).required(),
        Attribute::shown("used", Kind::ObjectOrNull).composite(),
        Attribute::shown("available", Kind::Words).composite(),
        Attribute::shown("created_at", Kind::Text(32)),
        Attribute::shown("updated_at", Kind::Text(32)),
        Attribute::shown("revision_number", Kind::Int(0, i64::MAX)),
    ];

    type Table = Entity;

    const TAGGED: bool = true;

    fn id(&self) -> &str {
        &self.id
    }

    fn project_id(&self) -> &str {
        self.project_id.as_deref().unwrap_or_default()
    }

    fn touch(&mut self) {
        self.revision_number += 1;
        self.updated_at = Timestamp::now();
    }

    fn revision(&self) -> Option<i64> {
        Some(self.revision_number)
    }

    fn tags(&mut self) -> Option<&mut Vec<String>> {
        Some(&mut self.tags.0)
    }

    fn view(&self, _: &Seen) -> Map<String, Value> {
        let view = json!({
            "id": self.id, "name": self.name, "description": self.description, "default": self.is_default, "shared": self.shared,
            "project_id": self.project_id, "network_type": self.network_type, "physical_network": self.physical_network,
            "minimum": self.minimum, "maximum": self.maximum, "tags": self.tags.0, "revision_number": self.revision_number,
            "created_at": self.created_at.to_seconds_z(), "updated_at": self.updated_at.to_seconds_z(),
        });
        if let Value::Object(view) = view { view } else { Map::new() }
    }

    async fn views(db: &DatabaseConnection, rows: Vec<Self>, seen: &Seen) -> Result<Vec<Map<String, Value>>> {
        let mut views = Vec::with_capacity(rows.len());
        for row in rows {
            let used = row.used(db).await?;
            let free = (row.minimum..=row.maximum).filter(|id| used.binary_search_by_key(id, |(taken, _)| *taken).is_err());
            let available: Vec<i64> = free.take(SHOWN).collect();
            let used: Map<String, Value> = used.iter().map(|(id, project)| (id.to_string(), json!(project))).collect();
            let mut view = row.view(seen);
            view.insert("used".into(), used.into());
            view.insert("available".into(), json!(available));
            views.push(view);
        }
        Ok(views)
    }
}

impl Model {
    /// What of it is taken, in order, and by which projects.
    async fn used<C: ConnectionTrait>(&self, db: &C) -> Result<Vec<(i64, String)>> {
        let taken = "SELECT s.segmentation_id, n.project_id FROM network_segments s JOIN networks n ON n.id = s.network_id \
                     WHERE s.network_type = $1 AND s.physical_network = $2 AND s.segmentation_id BETWEEN $3 AND $4 \
                     AND s.network_type <> 'local' ORDER BY s.segmentation_id";
        let values = [self.network_type.as_str().into(), self.physical_network.as_str().into(), self.minimum.into(), self.maximum.into()];
        let rows = sql::query(db, taken, values).await?;
        Ok(rows.iter().map(|row| Ok::<_, DbErr>((row.try_get_by_index(0)?, row.try_get_by_index(1)?))).collect::<Result<_, _>>()?)
    }

    fn check(&self) -> Result<()> {
        let (vlan, range) = (self.network_type == "vlan", format!("{}:{}", self.minimum, self.maximum));
        let largest = if vlan { LARGEST_VLAN } else { LARGEST_VNI };
        let what = if vlan { "VLAN" } else { "tunnel" };
        let reason = match [self.minimum, self.maximum].into_iter().find(|id| !(1..=largest).contains(id)) {
            Some(id) => format!("{id} is not a valid {what} {}", if vlan { "tag" } else { "identifier" }),
            None if self.maximum < self.minimum => format!("End of {what} range is less than start of {what} range"),
            None => return Ok(()),
        };
        Err(match vlan {
            true => bad_request("NetworkVlanRangeError", format!("Invalid network VLAN range: '{range}' - '{reason}'.")),
            false => bad_request("NetworkTunnelRangeError", format!("Invalid network tunnel range: '{range}' - {reason}.")),
        })
    }

    /// Ranges that administrators add do not overlap each other.
    async fn check_apart(&self, tx: &Tx<'_>) -> Result<()> {
        let overlapping = "SELECT id FROM network_segment_ranges WHERE NOT is_default AND network_type = $1 AND physical_network = $2 \
                           AND minimum <= $3 AND maximum >= $4 AND id <> $5";
        let values = [
            self.network_type.as_str().into(),
            self.physical_network.as_str().into(),
            self.maximum.into(),
            self.minimum.into(),
            self.id.as_str().into(),
        ];
        match sql::texts(tx.db, overlapping, values).await?.as_slice() {
            [] => Ok(()),
            others => {
                let message = format!("Network segment range overlaps with range(s) with id {}", others.join(", "));
                Err(conflict("NetworkSegmentRangeOverlaps", message))
            }
        }
    }

    fn check_writable(&self) -> Result<()> {
        if !self.is_default {
            return Ok(());
        }
        let message = format!("Network Segment Range {} is a default segment range which could not be updated or deleted.", self.id);
        Err(bad_request("NetworkSegmentRangeDefaultReadOnly", message))
    }

    fn referenced(&self) -> Error {
        let message = format!("Network Segment Range {} is referenced by one or more project networks.", self.id);
        conflict("NetworkSegmentRangeReferencedByProject", message)
    }
}

impl Plain for Model {
    fn new(checked: &Checked) -> Result<Model> {
        let shared = checked.or("shared", true)?;
        let kind = checked.text("network_type")?;
        if !matches!(kind.as_str(), "vlan" | "vxlan") {
            let message = format!("Network type {kind} does not support network segment ranges.");
            return Err(bad_request("NetworkSegmentRangeNetTypeNotSupported", message));
        }
        let physical_network = if kind == "vlan" { checked.text("physical_network")? } else { String::new() };
        if kind == "vlan" && physical_network.is_empty() {
            let message = "Bad network_segment_range request: Network type vlan requires 'physical_network' to be specified while creating \
                           new range.";
            return Err(bad_request("BadRequest", message));
        }
        let range = Model {
            id: ids::uuid(),
            name: checked.text("name")?,
            description: checked.text("description")?,
            is_default: false,
            shared,
            project_id: Some(checked.text("project_id")?).filter(|_| !shared),
            minimum: checked.or("minimum", 0)?,
            maximum: checked.or("maximum", 0)?,
            ..default((&kind, physical_network, 0, 0))
        };
        range.check()?;
        Ok(range)
    }

    fn apply(&mut self, checked: &Checked) -> Result<()> {
        self.check_writable()?;
        checked.set("name", &mut self.name)?;
        checked.set("description", &mut self.description)?;
        checked.set("minimum", &mut self.minimum)?;
        checked.set("maximum", &mut self.maximum)?;
        self.check()
    }

    async fn inserting(&mut self, tx: &Tx<'_>, _: &Context) -> Result<()> {
        self.check_apart(tx).await
    }

    async fn changing(&mut self, before: &Self, tx: &Tx<'_>, _: &Context) -> Result<()> {
        let used = before.used(tx.db).await?;
        if let (Some((first, _)), Some((last, _))) = (used.first(), used.last())
            && (self.minimum > *first || self.maximum < *last)
        {
            return Err(self.referenced());
        }
        self.check_apart(tx).await
    }

    async fn removing(&self, tx: &Tx<'_>, _: &Context) -> Result<()> {
        self.check_writable()?;
        if self.used(tx.db).await?.is_empty() { Ok(()) } else { Err(self.referenced()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_one_projects_is_nobody_elses() {
        let open = |first, last| Open { physical_network: "p".into(), first, last };
        let elsewhere = Open { physical_network: "q".into(), ..open(1, 100) };
        assert_eq!(without(open(1, 100), &[open(10, 19), open(90, 200), elsewhere]), [open(1, 9), open(20, 89)]);
        assert_eq!(without(open(1, 100), &[open(1, 100)]), []);
    }
}
