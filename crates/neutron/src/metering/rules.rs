//! `/metering/metering-label-rules`

use ipnet::IpNet;
use kit::{Context, Error, Result, ids};
use sea_orm::entity::prelude::*;
use serde_json::{Map, Value, json};

use super::{Model as Label, touch_routers};
use crate::Tx;
use crate::attributes::{Attribute, Checked, ID, PROJECT, TENANT};
use crate::fault::{bad_request, conflict};
use crate::plain::Plain;
use crate::resource::{Resource, Seen, locked, with};
use crate::values::Kind;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "metering_label_rules")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub project_id: String,
    pub metering_label_id: String,
    pub direction: String,
    pub excluded: bool,
    /// The older way to say it: the end that is not ours.
    pub remote_ip_prefix: Option<String>,
    pub source_ip_prefix: Option<String>,
    pub destination_ip_prefix: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Resource for Model {
    const KEY: &'static str = "metering_label_rule";
    const PLURAL: &'static str = "metering_label_rules";
    const TABLE: &'static str = "metering_label_rules";
    const NOUN: &'static str = "Metering label rule";
    const NOT_FOUND: &'static str = "MeteringLabelRuleNotFound";
    const ATTRIBUTES: &'static [Attribute] = &[
        ID,
        PROJECT,
        TENANT,
        Attribute::fixed("metering_label_id", Kind::Uuid).required(),
        Attribute::fixed("direction", Kind::OneOf(&["ingress", "egress"])),
        Attribute::fixed("excluded", Kind::Bool),
        Attribute::fixed("remote_ip_prefix", Kind::CidrOrNull),
        Attribute::fixed("source_ip_prefix", Kind::CidrOrNull),
        Attribute::fixed("destination_ip_prefix", Kind::CidrOrNull),
    ];

    crate::standard!(bare);

    fn path() -> String {
        "/metering/metering-label-rules".into()
    }

    fn view(&self, _: &Seen) -> Map<String, Value> {
        let view = json!({
            "id": self.id, "metering_label_id": self.metering_label_id, "direction": self.direction, "excluded": self.excluded,
            "remote_ip_prefix": self.remote_ip_prefix, "source_ip_prefix": self.source_ip_prefix,
            "destination_ip_prefix": self.destination_ip_prefix,
        });
        if let Value::Object(view) = view { view } else { Map::new() }
    }
}

impl Plain for Model {
    fn new(checked: &Checked) -> Result<Model> {
        let prefix = |name: &str| checked.get::<Option<IpNet>>(name).map(|net| net.flatten().map(|net| net.to_string()));
        let rule = Model {
            id: ids::uuid(),
            project_id: checked.text("project_id")?,
            metering_label_id: checked.text("metering_label_id")?,
            direction: checked.or("direction", "ingress".to_owned())?,
            excluded: checked.or("excluded", false)?,
            remote_ip_prefix: prefix("remote_ip_prefix")?,
            source_ip_prefix: prefix("source_ip_prefix")?,
            destination_ip_prefix: prefix("destination_ip_prefix")?,
        };
        match (&rule.remote_ip_prefix, rule.source_ip_prefix.is_some() || rule.destination_ip_prefix.is_some()) {
            (Some(_), true) => Err(bad_request("BadRequest", "Invalid input: remote_ip_prefix cannot be used with the other prefixes.")),
            (None, false) => Err(bad_request(
                "BadRequest",
                "Invalid input: one of remote_ip_prefix, source_ip_prefix and destination_ip_prefix is needed.",
            )),
            _ => Ok(rule),
        }
    }

    fn apply(&mut self, _: &Checked) -> Result<()> {
        Ok(())
    }

    async fn inserting(&mut self, tx: &Tx<'_>, _: &Context) -> Result<()> {
        let label: Label = locked(tx.db, &self.metering_label_id).await?;
        let same = |other: &Model| {
            let twin = Model { id: self.id.clone(), excluded: self.excluded, project_id: self.project_id.clone(), ..other.clone() };
            twin == *self
        };
        let others: Vec<Model> = with(tx.db, "metering_label_id", std::slice::from_ref(&label.id)).await?;
        if others.iter().any(same) {
            return Err(self.taken());
        }
        touch_routers(tx, &label).await
    }

    async fn removing(&self, tx: &Tx<'_>, _: &Context) -> Result<()> {
        let label: Label = locked(tx.db, &self.metering_label_id).await?;
        touch_routers(tx, &label).await
    }

    fn taken(&self) -> Error {
        let prefix = self.remote_ip_prefix.as_deref().or(self.source_ip_prefix.as_deref()).unwrap_or_default();
        let message = format!("Metering label rule with remote_ip_prefix '{prefix}' overlaps another.");
        conflict("MeteringLabelRuleOverlaps", message)
    }
}
