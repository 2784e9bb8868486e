//! `/default-security-group-rules`: the rules that new groups begin with.

use kit::clock::Timestamp;
use kit::{Context, Error, Result, ids};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Condition;
use sea_orm::{QueryFilter, QueryOrder};
use serde_json::{Map, Value, json};

use super::{Model as Group, rules};
use crate::Tx;
use crate::attributes::{Attribute, Checked, ID};
use crate::fault::conflict;
use crate::plain::Plain;
use crate::resource::{Resource, Seen, fetch};
use crate::values::Kind;

/// In the place of a remote group: the group itself.
const PARENT: &str = "PARENT";

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "default_security_group_rules")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub description: String,
    pub direction: String,
    pub ethertype: String,
    pub protocol: Option<String>,
    pub port_range_min: Option<i64>,
    pub port_range_max: Option<i64>,
    pub remote_ip_prefix: Option<String>,
    pub remote_group_id: Option<String>,
    pub remote_address_group_id: Option<String>,
    pub used_in_default_sg: bool,
    pub used_in_non_default_sg: bool,
    pub revision_number: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Resource for Model {
    const KEY: &'static str = "default_security_group_rule";
    const PLURAL: &'static str = "default_security_group_rules";
    const TABLE: &'static str = "default_security_group_rules";
    const NOUN: &'static str = "Default Security Group rule";
    const NOT_FOUND: &'static str = "DefaultSecurityGroupRuleNotFound";
    const ATTRIBUTES: &'static [Attribute] = &[
        ID,
        Attribute::fixed("description", Kind::Text(255)),
        Attribute::fixed("direction", Kind::OneOf(&["ingress", "egress"])).required(),
        Attribute::fixed("ethertype", Kind::OneOf(&["IPv4", "IPv6"])),
        Attribute::fixed("protocol", Kind::TextOrNull(40)),
        Attribute::fixed("port_range_min", Kind::IntOrNull(i64::MIN, i64::MAX)),
        Attribute::fixed("port_range_max", Kind::IntOrNull(i64::MIN, i64::MAX)),
        Attribute::fixed("remote_ip_prefix", Kind::TextOrNull(64)),
        Attribute::fixed("remote_group_id", Kind::TextOrNull(36)),
        Attribute::fixed("remote_address_group_id", Kind::UuidOrNull),
        Attribute::fixed("used_in_default_sg", Kind::Bool),
        Attribute::fixed("used_in_non_default_sg", Kind::Bool),
    ];

    type Table = Entity;

    fn id(&self) -> &str {
        &self.id
    }

    /// The cloud's.
    fn project_id(&self) -> &str {
        ""
    }

    fn visible(_: &str) -> Condition {
        Condition::all()
    }

    fn view(&self, _: &Seen) -> Map<String, Value> {
        let view = json!({
            "id": self.id, "description": self.description, "direction": self.direction, "ethertype": self.ethertype,
            "protocol": self.protocol, "port_range_min": self.port_range_min, "port_range_max": self.port_range_max,
            "remote_ip_prefix": self.remote_ip_prefix, "remote_group_id": self.remote_group_id,
            "remote_address_group_id": self.remote_address_group_id, "used_in_default_sg": self.used_in_default_sg,
            "used_in_non_default_sg": self.used_in_non_default_sg,
        });
        if let Value::Object(view) = view { view } else { Map::new() }
    }
}

impl Plain for Model {
    fn new(checked: &Checked) -> Result<Model> {
        let optional = |name: &str| checked.get::<Option<String>>(name).map(|value| value.flatten().filter(|text| !text.is_empty()));
        let port = |name: &str| checked.get::<Option<i64>>(name).map(Option::flatten);
        let now = Timestamp::now();
        let mut template = Model {
            id: ids::uuid(),
            description: checked.text("description")?,
            direction: checked.text("direction")?,
            ethertype: checked.or("ethertype", "IPv4".to_owned())?,
            protocol: optional("protocol")?.filter(|p| !p.eq_ignore_ascii_case("any")),
            port_range_min: port("port_range_min")?,
            port_range_max: port("port_range_max")?,
            remote_ip_prefix: optional("remote_ip_prefix")?,
            remote_group_id: optional("remote_group_id")?,
            remote_address_group_id: optional("remote_address_group_id")?,
            used_in_default_sg: checked.or("used_in_default_sg", false)?,
            used_in_non_default_sg: checked.or("used_in_non_default_sg", true)?,
            revision_number: 0,
            created_at: now,
            updated_at: now,
        };
        let mut rule = template.rule("", "", now);
        rules::check(&mut rule)?;
        template.protocol = rule.protocol;
        template.remote_ip_prefix = rule.remote_ip_prefix;
        Ok(template)
    }

    fn apply(&mut self, _: &Checked) -> Result<()> {
        Ok(())
    }

    async fn inserting(&mut self, tx: &Tx<'_>, _: &Context) -> Result<()> {
        let wanted = self.fingerprint()?;
        for other in Entity::find().all(tx.db).await? {
            let for_the_same =
                (self.used_in_default_sg && other.used_in_default_sg) || (self.used_in_non_default_sg && other.used_in_non_default_sg);
            if for_the_same && other.fingerprint()? == wanted {
                let message = format!("Default security group rule already exists. Rule id is {}.", other.id);
                return Err(conflict("DefaultSecurityGroupRuleExists", message));
            }
        }
        Ok(())
    }

    fn taken(&self) -> Error {
        conflict("DefaultSecurityGroupRuleExists", "Default security group rule already exists.")
    }
}

impl Model {
    fn rule(&self, project: &str, group: &str, now: Timestamp) -> rules::Model {
        let remote_group_id = self.remote_group_id.as_ref().map(|id| if id == PARENT { group.to_owned() } else { id.clone() });
        rules::Model {
            id: ids::uuid(),
            project_id: project.to_owned(),
            security_group_id: group.to_owned(),
            description: if self.created_at.0 == 0 { String::new() } else { self.description.clone() },
            direction: self.direction.clone(),
            ethertype: self.ethertype.clone(),
            protocol: self.protocol.clone(),
            port_range_min: self.port_range_min,
            port_range_max: self.port_range_max,
            remote_ip_prefix: self.remote_ip_prefix.clone(),
            remote_group_id,
            remote_address_group_id: self.remote_address_group_id.clone(),
            fingerprint: String::new(),
            revision_number: 0,
            created_at: now,
            updated_at: now,
        }
    }

    fn fingerprint(&self) -> Result<String> {
        let mut rule = self.rule("", PARENT, self.created_at);
        rules::check(&mut rule)?;
        Ok(rule.fingerprint)
    }
}

/// The rules a new group begins with.
pub async fn for_group(tx: &Tx<'_>, group: &Group) -> Result<Vec<rules::Model>> {
    let column = if group.name == super::DEFAULT { Column::UsedInDefaultSg } else { Column::UsedInNonDefaultSg };
    let templates = Entity::find().filter(column.eq(true)).order_by_asc(Column::Id).all(tx.db).await?;
    let mut made = Vec::with_capacity(templates.len());
    for template in templates {
        let mut rule = template.rule(&group.project_id, &group.id, group.created_at);
        rules::check(&mut rule)?;
        // a group that a template names may be gone since
        let there = match rule.remote_group_id.as_deref() {
            Some(remote) if remote != group.id => fetch::<Group, _>(tx.db, remote).await?.is_some(),
            _ => true,
        };
        made.extend(there.then_some(rule));
    }
    Ok(made)
}
