//! Address scopes: within one, addresses of its subnet pools do not overlap.

use kit::{Context, Result, ids};
use sea_orm::entity::prelude::*;
use serde_json::{Map, Value, json};

use crate::attributes::{Attribute, Checked, ID, PROJECT, TENANT};
use crate::fault::{bad_request, conflict};
use crate::plain::Plain;
use crate::resource::{Resource, Seen};
use crate::values::Kind;
use crate::{Tx, rbac, sql};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "address_scopes")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub project_id: String,
    pub name: String,
    pub ip_version: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Resource for Model {
    const KEY: &'static str = "address_scope";
    const PLURAL: &'static str = "address_scopes";
    const TABLE: &'static str = "address_scopes";
    const NOUN: &'static str = "Address scope";
    const NOT_FOUND: &'static str = "AddressScopeNotFound";
    const SHARED_AS: Option<&'static str> = Some("address_scope");
    const ATTRIBUTES: &'static [Attribute] = &[
        ID,
        PROJECT,
        TENANT,
        Attribute::writable("name", Kind::Text(255)),
        Attribute::fixed("ip_version", Kind::IpVersion).required(),
        Attribute::writable("shared", Kind::Bool).composite().ruled(),
    ];

    crate::standard!(bare);

    fn view(&self, _: &Seen) -> Map<String, Value> {
        let view = json!({
            "id": self.id, "name": self.name, "ip_version": self.ip_version, "project_id": self.project_id, "tenant_id": self.project_id,
        });
        if let Value::Object(view) = view { view } else { Map::new() }
    }
}

impl Plain for Model {
    fn new(checked: &Checked) -> Result<Model> {
        let ip_version = checked.or("ip_version", 4)?;
        Ok(Model { id: ids::uuid(), project_id: checked.text("project_id")?, name: checked.text("name")?, ip_version })
    }

    fn apply(&mut self, checked: &Checked) -> Result<()> {
        checked.set("name", &mut self.name)
    }

    async fn resharing(&self, tx: &Tx<'_>, shared: bool) -> Result<()> {
        if !shared && rbac::is_shared(tx.db, &self.id, rbac::ALL).await? {
            let message = format!("Unable to update address scope {} : Shared address scope can't be unshared.", self.id);
            return Err(bad_request("AddressScopeUpdateError", message));
        }
        Ok(())
    }

    async fn removing(&self, tx: &Tx<'_>, _: &Context) -> Result<()> {
        if sql::exists(tx.db, "SELECT 1 FROM subnetpools WHERE address_scope_id = $1 LIMIT 1", [self.id.as_str().into()]).await? {
            let message = format!(
                "Unable to complete operation on address scope {}. There are one or more subnet pools in use on the address scope",
                self.id
            );
            return Err(conflict("AddressScopeInUse", message));
        }
        Ok(())
    }
}
