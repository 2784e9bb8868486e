//! `/security-groups-default-statefulness`: whether new groups of a project, or of all that say nothing themselves, are stateful.

use kit::policy::Target;
use kit::{Context, Error, Reply, Result, ids};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Condition;
use serde_json::{Map, Value, json};

use crate::attributes::{Attribute, Checked, ID, Input, PROJECT, TENANT};
use crate::fault::{conflict, enforce};
use crate::plain::Plain;
use crate::resource::{Resource, Seen, insert};
use crate::values::Kind;
use crate::{App, Tx, listing, sql};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "default_statefulness")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// Empty for the whole cloud.
    pub project_id: String,
    pub stateful: bool,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Resource for Model {
    const KEY: &'static str = "security_groups_default_statefulness";
    const PLURAL: &'static str = "security_groups_default_statefulness";
    const TABLE: &'static str = "default_statefulness";
    const NOUN: &'static str = "Security group default statefulness";
    const NOT_FOUND: &'static str = "SecurityGroupDefaultStatefulnessNotFound";
    const ATTRIBUTES: &'static [Attribute] = &[ID, PROJECT, TENANT, Attribute::writable("stateful", Kind::Bool)];

    crate::standard!(bare);

    fn visible(project: &str) -> Condition {
        Condition::any().add(Column::ProjectId.eq(project)).add(Column::ProjectId.eq(""))
    }

    fn view(&self, _: &Seen) -> Map<String, Value> {
        let project = Some(&self.project_id).filter(|project| !project.is_empty());
        let view = json!({"id": self.id, "project_id": project, "stateful": self.stateful});
        if let Value::Object(view) = view { view } else { Map::new() }
    }
}

impl Plain for Model {
    fn new(checked: &Checked) -> Result<Model> {
        Ok(Model { id: ids::uuid(), project_id: checked.text("project_id")?, stateful: checked.or("stateful", true)? })
    }

    fn apply(&mut self, checked: &Checked) -> Result<()> {
        checked.set("stateful", &mut self.stateful)
    }

    fn taken(&self) -> Error {
        let whose = if self.project_id.is_empty() { "system-wide" } else { &self.project_id };
        let message = format!("A security group default statefulness setting already exists for project '{whose}'.");
        conflict("SecurityGroupDefaultStatefulnessAlreadyExists", message)
    }
}

/// `POST /security-groups-default-statefulness`: one that names no project is for the whole cloud.
pub async fn create(app: App, ctx: Context, input: Input) -> Result<Reply> {
    let body = input.one(Model::KEY)?;
    let for_all = ["project_id", "tenant_id"].iter().all(|key| body.get(*key).is_none_or(Value::is_null));
    let mut setting = Model::new(&Checked::create(&ctx, Model::KEY, Model::ATTRIBUTES, body)?)?;
    if for_all {
        enforce(&ctx, "create_security_groups_default_statefulness", &Target::project(""))?;
        setting.project_id.clear();
    }
    let made =
        app.write(move |tx| Box::pin(async move { if insert(tx.db, &setting).await? { Ok(setting) } else { Err(setting.taken()) } }));
    listing::created(&app, &ctx, vec![made.await?], false).await
}

/// Whether a group of a project that does not say itself is stateful.
pub async fn of(tx: &Tx<'_>, project: &str) -> Result<bool> {
    let nearest = "SELECT stateful FROM default_statefulness WHERE project_id IN ($1, '') ORDER BY project_id DESC LIMIT 1";
    let rows = sql::query(tx.db, nearest, [project.into()]).await?;
    Ok(rows.first().map(|row| row.try_get_by_index(0)).transpose()?.unwrap_or(true))
}
