//! Metering: labels under which routers count bytes, and the rules that say which.

pub mod rules;

use kit::{Context, Result, ids};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Condition;
use serde_json::{Map, Value, json};

use crate::agents::Touched;
use crate::attributes::{Attribute, Checked, ID, PROJECT, TENANT};
use crate::plain::Plain;
use crate::resource::{Resource, Seen};
use crate::values::Kind;
use crate::{Tx, sql};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "metering_labels")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub project_id: String,
    pub name: String,
    pub description: String,
    /// It counts what goes through everybody's routers.
    pub shared: bool,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Resource for Model {
    const KEY: &'static str = "metering_label";
    const PLURAL: &'static str = "metering_labels";
    const TABLE: &'static str = "metering_labels";
    const NOUN: &'static str = "Metering label";
    const NOT_FOUND: &'static str = "MeteringLabelNotFound";
    const ATTRIBUTES: &'static [Attribute] = &[
        ID,
        PROJECT,
        TENANT,
        Attribute::fixed("name", Kind::Text(255)),
        Attribute::fixed("description", Kind::Text(255)),
        Attribute::fixed("shared", Kind::Bool),
    ];

    crate::standard!(bare);

    fn path() -> String {
        "/metering/metering-labels".into()
    }

    fn visible(project: &str) -> Condition {
        Condition::any().add(Column::ProjectId.eq(project)).add(Column::Shared.eq(true))
    }

    fn view(&self, _: &Seen) -> Map<String, Value> {
        let view = json!({
            "id": self.id, "name": self.name, "description": self.description, "shared": self.shared,
            "project_id": self.project_id, "tenant_id": self.project_id,
        });
        if let Value::Object(view) = view { view } else { Map::new() }
    }
}

impl Plain for Model {
    fn new(checked: &Checked) -> Result<Model> {
        Ok(Model {
            id: ids::uuid(),
            project_id: checked.text("project_id")?,
            name: checked.text("name")?,
            description: checked.text("description")?,
            shared: checked.or("shared", false)?,
        })
    }

    fn apply(&mut self, _: &Checked) -> Result<()> {
        Ok(())
    }

    async fn inserting(&mut self, tx: &Tx<'_>, _: &Context) -> Result<()> {
        touch_routers(tx, self).await
    }

    async fn removing(&self, tx: &Tx<'_>, _: &Context) -> Result<()> {
        touch_routers(tx, self).await
    }
}

/// Routers that count under a label hear of it.
async fn touch_routers(tx: &Tx<'_>, label: &Model) -> Result<()> {
    let routers = match label.shared {
        true => sql::texts(tx.db, "SELECT id FROM routers", []).await?,
        false => sql::texts(tx.db, "SELECT id FROM routers WHERE project_id = $1", [label.project_id.as_str().into()]).await?,
    };
    routers.into_iter().for_each(|router| tx.touch(Touched::Router(router)));
    Ok(())
}
