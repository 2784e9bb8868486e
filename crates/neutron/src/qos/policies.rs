//! `/qos/policies`

use std::collections::HashMap;

use kit::clock::Timestamp;
use kit::db::Json;
use kit::{Context, Result, ids};
use sea_orm::entity::prelude::*;
use serde_json::{Map, Value, json};

use super::rules;
use crate::attributes::{Attribute, Checked};
use crate::fault::conflict;
use crate::plain::Plain;
use crate::resource::{Resource, Seen, extend, standard_view, with};
use crate::values::Kind;
use crate::{Tx, sql};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "qos_policies")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub project_id: String,
    pub name: String,
    pub description: String,
    /// New networks of the project get it.
    pub is_default: bool,
    pub tags: Json<Vec<String>>,
    pub revision_number: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Resource for Model {
    const KEY: &'static str = "policy";
    const PLURAL: &'static str = "policies";
    const TABLE: &'static str = "qos_policies";
    const NOUN: &'static str = "QoS policy";
    const NOT_FOUND: &'static str = "QosPolicyNotFound";
    const SHARED_AS: Option<&'static str> = Some("qos_policy");
    const ANY_MARKER: bool = true;
    const ATTRIBUTES: &'static [Attribute] = &[
        Attribute::writable("name", Kind::Text(255)).required(),
        Attribute::writable("is_default", Kind::Bool),
        Attribute::writable("shared", Kind::Bool).composite().ruled(),
        Attribute::shown("rules", Kind::Words).composite(),
    ];

    crate::standard!();

    fn path() -> String {
        "/qos/policies".into()
    }

    fn view(&self, _: &Seen) -> Map<String, Value> {
        let mut view = standard_view(&self.id, &self.project_id, &self.description, self.revision_number, self.created_at, self.updated_at);
        extend(&mut view, json!({"name": self.name, "is_default": self.is_default, "rules": [], "tags": self.tags.0}));
        view
    }

    async fn views(db: &DatabaseConnection, rows: Vec<Self>, seen: &Seen) -> Result<Vec<Map<String, Value>>> {
        let ids: Vec<String> = rows.iter().map(|policy| policy.id.clone()).collect();
        let mut of: HashMap<String, Vec<Value>> = HashMap::new();
        for rule in with::<rules::Model, _>(db, "policy_id", &ids).await? {
            of.entry(rule.policy_id.clone()).or_default().push(rule.in_policy());
        }
        let with_rules = |policy: &Model| {
            let mut view = policy.view(seen);
            view.insert("rules".into(), json!(of.remove(&policy.id).unwrap_or_default()));
            view
        };
        Ok(rows.iter().map(with_rules).collect())
    }
}

impl Plain for Model {
    fn new(checked: &Checked) -> Result<Model> {
        let now = Timestamp::now();
        Ok(Model {
            id: ids::uuid(),
            project_id: checked.text("project_id")?,
            name: checked.text("name")?,
            description: checked.text("description")?,
            is_default: checked.or("is_default", false)?,
            tags: Json(Vec::new()),
            revision_number: 0,
            created_at: now,
            updated_at: now,
        })
    }

    fn apply(&mut self, checked: &Checked) -> Result<()> {
        checked.set("name", &mut self.name)?;
        checked.set("description", &mut self.description)?;
        checked.set("is_default", &mut self.is_default)
    }

    async fn inserting(&mut self, tx: &Tx<'_>, _: &Context) -> Result<()> {
        self.check_default(tx).await
    }

    async fn changing(&mut self, _: &Model, tx: &Tx<'_>, _: &Context) -> Result<()> {
        self.check_default(tx).await
    }

    async fn removing(&self, tx: &Tx<'_>, _: &Context) -> Result<()> {
        for (table, what) in [("networks", "network"), ("ports", "port"), ("routers", "router"), ("floatingips", "floatingip")] {
            let user = format!("SELECT id FROM {table} WHERE qos_policy_id = $1 LIMIT 1");
            if let Some(id) = sql::texts(tx.db, &user, [self.id.as_str().into()]).await?.first() {
                return Err(conflict("QosPolicyInUse", format!("QoS Policy {} is used by {what} {id}.", self.id)));
            }
        }
        Ok(())
    }
}

impl Model {
    /// A project has one default policy.
    async fn check_default(&self, tx: &Tx<'_>) -> Result<()> {
        if !self.is_default {
            return Ok(());
        }
        match default_of(tx, &self.project_id).await? {
            Some(other) if other != self.id => {
                let message = format!("A default QoS policy exists for project {}: {other}.", self.project_id);
                Err(conflict("QoSPolicyDefaultAlreadyExists", message))
            }
            _ => Ok(()),
        }
    }
}

/// The policy that new networks of a project get.
pub async fn default_of(tx: &Tx<'_>, project: &str) -> Result<Option<String>> {
    let default = "SELECT id FROM qos_policies WHERE is_default AND project_id = $1";
    Ok(sql::texts(tx.db, default, [project.into()]).await?.pop())
}
