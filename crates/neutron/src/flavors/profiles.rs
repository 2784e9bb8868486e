//! `/service_profiles`: a driver, or what it is told, or both.

use kit::{Context, Error, Result, ids};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Condition;
use serde_json::{Map, Value, json};

use crate::attributes::{Attribute, Checked, ID};
use crate::fault::{conflict, invalid_input};
use crate::plain::Plain;
use crate::resource::{Resource, Seen};
use crate::values::Kind;
use crate::{Tx, sql};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "service_profiles")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub description: String,
    pub driver: String,
    pub metainfo: String,
    pub enabled: bool,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Resource for Model {
    const KEY: &'static str = "service_profile";
    const PLURAL: &'static str = "service_profiles";
    const TABLE: &'static str = "service_profiles";
    const NOUN: &'static str = "Service Profile";
    const NOT_FOUND: &'static str = "ServiceProfileNotFound";
    const ATTRIBUTES: &'static [Attribute] = &[
        ID,
        Attribute::writable("description", Kind::Text(1024)),
        Attribute::writable("driver", Kind::Text(1024)),
        Attribute::writable("metainfo", Kind::Text(4096)),
        Attribute::writable("enabled", Kind::Bool),
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
            "id": self.id, "description": self.description, "driver": self.driver, "metainfo": self.metainfo, "enabled": self.enabled,
        });
        if let Value::Object(view) = view { view } else { Map::new() }
    }
}

impl Plain for Model {
    fn new(checked: &Checked) -> Result<Model> {
        let profile = Model {
            id: ids::uuid(),
            description: checked.text("description")?,
            driver: checked.text("driver")?,
            metainfo: checked.text("metainfo")?,
            enabled: checked.or("enabled", true)?,
        };
        profile.check()?;
        Ok(profile)
    }

    fn apply(&mut self, checked: &Checked) -> Result<()> {
        checked.set("description", &mut self.description)?;
        checked.set("driver", &mut self.driver)?;
        checked.set("metainfo", &mut self.metainfo)?;
        checked.set("enabled", &mut self.enabled)?;
        self.check()
    }

    async fn changing(&mut self, _: &Self, tx: &Tx<'_>, _: &Context) -> Result<()> {
        self.check_unused(tx).await
    }

    async fn removing(&self, tx: &Tx<'_>, _: &Context) -> Result<()> {
        self.check_unused(tx).await
    }
}

impl Model {
    fn check(&self) -> Result<()> {
        if self.driver.is_empty() && self.metainfo.is_empty() {
            return Err(invalid_input("Empty service profile is not allowed").code("ServiceProfileEmpty"));
        }
        if !self.driver.is_empty() {
            let message = format!("Service Profile driver {} could not be found.", self.driver);
            return Err(Error::not_found(message).code("ServiceProfileDriverNotFound"));
        }
        Ok(())
    }

    async fn check_unused(&self, tx: &Tx<'_>) -> Result<()> {
        let used = "SELECT 1 FROM flavor_profiles WHERE service_profile_id = $1 LIMIT 1";
        match sql::exists(tx.db, used, [self.id.as_str().into()]).await? {
            true => Err(conflict("ServiceProfileInUse", format!("Service Profile {} is used by some service instance.", self.id))),
            false => Ok(()),
        }
    }
}
