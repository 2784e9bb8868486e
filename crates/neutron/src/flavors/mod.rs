//! Flavors of services, which an administrator offers, and the profiles they are made of: names for what a driver does. The one driver of
//! routers has no settings, so that they choose nothing yet.

pub mod profiles;

use std::collections::HashMap;

use kit::{Context, Path, Reply, Result, ids};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Condition;
use serde_json::{Map, Value, json};

use crate::attributes::{Attribute, Checked, ID, Input};
use crate::fault::{conflict, not_found};
use crate::plain::Plain;
use crate::resource::{Resource, Seen, locked};
use crate::values::Kind;
use crate::{App, sql};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "flavors")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub name: String,
    pub description: String,
    pub service_type: String,
    pub enabled: bool,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Resource for Model {
    const KEY: &'static str = "flavor";
    const PLURAL: &'static str = "flavors";
    const TABLE: &'static str = "flavors";
    const NOUN: &'static str = "Flavor";
    const NOT_FOUND: &'static str = "FlavorNotFound";
    const ATTRIBUTES: &'static [Attribute] = &[
        ID,
        Attribute::writable("name", Kind::Text(255)),
        Attribute::writable("description", Kind::Text(1024)),
        Attribute::fixed("service_type", Kind::Text(255)).required(),
        Attribute::writable("enabled", Kind::Bool),
        Attribute::shown("service_profiles", Kind::Uuids).composite(),
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
            "id": self.id, "name": self.name, "description": self.description, "service_type": self.service_type,
            "enabled": self.enabled, "service_profiles": [],
        });
        if let Value::Object(view) = view { view } else { Map::new() }
    }

    async fn views(db: &DatabaseConnection, rows: Vec<Self>, seen: &Seen) -> Result<Vec<Map<String, Value>>> {
        let mut of: HashMap<String, Vec<String>> = HashMap::new();
        for row in sql::query(db, "SELECT flavor_id, service_profile_id FROM flavor_profiles ORDER BY service_profile_id", []).await? {
            of.entry(row.try_get_by_index(0)?).or_default().push(row.try_get_by_index(1)?);
        }
        let with_profiles = |flavor: &Model| {
            let mut view = flavor.view(seen);
            view.insert("service_profiles".into(), json!(of.remove(&flavor.id).unwrap_or_default()));
            view
        };
        Ok(rows.iter().map(with_profiles).collect())
    }
}

impl Plain for Model {
    fn new(checked: &Checked) -> Result<Model> {
        Ok(Model {
            id: ids::uuid(),
            name: checked.text("name")?,
            description: checked.text("description")?,
            service_type: checked.text("service_type")?,
            enabled: checked.or("enabled", true)?,
        })
    }

    fn apply(&mut self, checked: &Checked) -> Result<()> {
        checked.set("name", &mut self.name)?;
        checked.set("description", &mut self.description)?;
        checked.set("enabled", &mut self.enabled)
    }
}

/// `POST /flavors/{flavor_id}/service_profiles`: answers with the flavor.
pub async fn bind(app: App, ctx: Context, id: Path<String>, input: Input) -> Result<Reply> {
    let profile = input.one("service_profile")?.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
    let flavor = app.write(move |tx| {
        Box::pin(async move {
            let flavor: Model = locked(tx.db, &id.0).await?;
            let profile: profiles::Model = locked(tx.db, &profile).await?;
            let insert = "INSERT INTO flavor_profiles (flavor_id, service_profile_id) VALUES ($1, $2) ON CONFLICT DO NOTHING";
            if sql::execute(tx.db, insert, [flavor.id.as_str().into(), profile.id.as_str().into()]).await? == 0 {
                let message = format!("Service Profile {} is already associated with flavor {}.", profile.id, flavor.id);
                return Err(conflict("FlavorServiceProfileBindingExists", message));
            }
            Ok(flavor)
        })
    });
    let mut views = Model::views(app.db().read(), vec![flavor.await?], &Seen::from(&ctx)).await?;
    Reply::created(&json!({"service_profile": views.pop()}))
}

/// `DELETE /flavors/{flavor_id}/service_profiles/{profile_id}`
pub async fn unbind(app: App, _: Context, path: Path<(String, String)>) -> Result<Reply> {
    let (flavor, profile) = path.0;
    app.write(move |tx| {
        Box::pin(async move {
            locked::<Model, _>(tx.db, &flavor).await?;
            let delete = "DELETE FROM flavor_profiles WHERE flavor_id = $1 AND service_profile_id = $2";
            if sql::execute(tx.db, delete, [flavor.as_str().into(), profile.as_str().into()]).await? == 0 {
                return Err(not_found(
                    "FlavorServiceProfileBindingNotFound",
                    "The association of the flavor with service profile",
                    &profile,
                ));
            }
            Ok(())
        })
    })
    .await?;
    Reply::no_content()
}
