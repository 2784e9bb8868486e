//! Security groups: what may reach a port and what it may reach. A project's group `default` is made when first needed.

mod api;
pub mod default_rules;
pub mod default_statefulness;
pub mod rules;

use std::collections::HashMap;

use kit::clock::Timestamp;
use kit::db::Json;
use kit::{Context, Result, ids};
use sea_orm::entity::prelude::*;
use serde_json::{Map, Value, json};

pub use api::{create, delete, list, update};

use crate::attributes::Attribute;
use crate::fault::conflict;
use crate::resource::{Resource, Seen, extend, insert, missing, standard_view, with};
use crate::values::Kind;
use crate::{Tx, quotas, rbac, sql};

pub const DEFAULT: &str = "default";

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "security_groups")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub project_id: String,
    pub name: String,
    pub description: String,
    pub stateful: bool,
    pub tags: Json<Vec<String>>,
    pub revision_number: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Resource for Model {
    const KEY: &'static str = "security_group";
    const PLURAL: &'static str = "security_groups";
    const TABLE: &'static str = "security_groups";
    const NOUN: &'static str = "Security group";
    const NOT_FOUND: &'static str = "SecurityGroupNotFound";
    const SHARED_AS: Option<&'static str> = Some("security_group");
    const ATTRIBUTES: &'static [Attribute] = &[Attribute::writable("name", Kind::Text(255)), Attribute::writable("stateful", Kind::Bool)];

    crate::standard!();

    fn view(&self, _: &Seen) -> Map<String, Value> {
        let mut view = standard_view(&self.id, &self.project_id, &self.description, self.revision_number, self.created_at, self.updated_at);
        let own = json!({
            "name": self.name, "stateful": self.stateful, "tags": self.tags.0, "security_group_rules": [],
        });
        extend(&mut view, own);
        view
    }

    async fn views(db: &DatabaseConnection, rows: Vec<Self>, seen: &Seen) -> Result<Vec<Map<String, Value>>> {
        let ids: Vec<String> = rows.iter().map(|group| group.id.clone()).collect();
        let mut rules: HashMap<String, Vec<Map<String, Value>>> = HashMap::new();
        for rule in with::<rules::Model, _>(db, "security_group_id", &ids).await? {
            let mut view = rule.view(seen);
            let default = rows.iter().any(|group| group.id == rule.security_group_id && group.name == DEFAULT);
            view.insert("belongs_to_default_sg".into(), json!(default));
            rules.entry(rule.security_group_id.clone()).or_default().push(view);
        }
        let with_rules = |group: &Model| {
            let mut view = group.view(seen);
            view.insert("security_group_rules".into(), json!(rules.remove(&group.id).unwrap_or_default()));
            view
        };
        Ok(rows.iter().map(with_rules).collect())
    }
}

impl Model {
    pub fn new(project: &str, name: &str, description: &str) -> Model {
        let now = Timestamp::now();
        Model {
            id: ids::uuid(),
            project_id: project.to_owned(),
            name: name.to_owned(),
            description: description.to_owned(),
            stateful: true,
            tags: Json(Vec::new()),
            revision_number: 1,
            created_at: now,
            updated_at: now,
        }
    }
}

/// The id of a project's default group, which is made if there is none.
pub async fn default_of(tx: &Tx<'_>, project: &str) -> Result<String> {
    let find = "SELECT id FROM security_groups WHERE project_id = $1 AND name = 'default'";
    if let Some(id) = sql::texts(tx.db, find, [project.into()]).await?.pop() {
        return Ok(id);
    }
    let mut group = Model::new(project, DEFAULT, "Default security group");
    group.stateful = default_statefulness::of(tx, project).await?;
    if insert(tx.db, &group).await? {
        for rule in default_rules::for_group(tx, &group).await? {
            insert(tx.db, &rule).await?;
        }
        quotas::forget(tx, project, "security_group").await?;
        quotas::forget(tx, project, "security_group_rule").await?;
        return Ok(group.id);
    }
    // another request made it in the meantime
    let id = sql::texts(tx.db, find, [project.into()]).await?.pop();
    id.ok_or_else(|| missing::<Model>(DEFAULT))
}

/// 404 unless the caller may put ports into these groups: the project's, or shared ones; 409 when they do not go together.
pub async fn check_usable(tx: &Tx<'_>, ctx: &Context, project: &str, groups: &[String]) -> Result<()> {
    let found: Vec<Model> = with(tx.db, "id", groups).await?;
    let shared = rbac::shared_with(tx.db, "security_group", project).await?;
    let may = |group: &Model| group.project_id == project || ctx.is_admin() || shared.contains(&group.id);
    if let Some(id) = groups.iter().find(|id| !found.iter().any(|group| group.id == **id && may(group))) {
        return Err(missing::<Model>(id));
    }
    if found.iter().any(|group| group.stateful) && found.iter().any(|group| !group.stateful) {
        let message = "Cannot apply both stateful and stateless security groups on the same port while attempting the operation.";
        return Err(conflict("SecurityGroupConflict", message));
    }
    Ok(())
}
