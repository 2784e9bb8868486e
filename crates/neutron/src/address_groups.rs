//! Address groups: prefixes that security group rules name together, and that change without the rules.

use ipnet::IpNet;
use kit::clock::Timestamp;
use kit::db::Json;
use kit::{Context, Error, Path, Reply, Result, ids};
use sea_orm::entity::prelude::*;
use serde_json::{Map, Value, json};

use crate::agents::Touched;
use crate::attributes::{Attribute, Checked, Input};
use crate::fault::{conflict, invalid_attribute};
use crate::plain::Plain;
use crate::resource::{Resource, Seen, changeable, extend, save, standard_view};
use crate::values::{Kind, normalize};
use crate::{App, Tx, listing, sql};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "address_groups")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub project_id: String,
    pub name: String,
    pub description: String,
    pub addresses: Json<Vec<IpNet>>,
    pub tags: Json<Vec<String>>,
    pub revision_number: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Resource for Model {
    const KEY: &'static str = "address_group";
    const PLURAL: &'static str = "address_groups";
    const TABLE: &'static str = "address_groups";
    const NOUN: &'static str = "Address group";
    const NOT_FOUND: &'static str = "AddressGroupNotFound";
    const SHARED_AS: Option<&'static str> = Some("address_group");
    const ATTRIBUTES: &'static [Attribute] =
        &[Attribute::writable("name", Kind::Text(255)), Attribute::fixed("addresses", Kind::Prefixes).composite()];

    crate::standard!();

    fn view(&self, _: &Seen) -> Map<String, Value> {
        let mut view = standard_view(&self.id, &self.project_id, &self.description, self.revision_number, self.created_at, self.updated_at);
        extend(&mut view, json!({"name": self.name, "addresses": self.addresses.0, "tags": self.tags.0}));
        view
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
            addresses: Json(checked.or("addresses", Vec::new())?),
            tags: Json(Vec::new()),
            revision_number: 0,
            created_at: now,
            updated_at: now,
        })
    }

    fn apply(&mut self, checked: &Checked) -> Result<()> {
        checked.set("name", &mut self.name)?;
        checked.set("description", &mut self.description)
    }

    async fn removing(&self, tx: &Tx<'_>, _: &Context) -> Result<()> {
        let used = "SELECT 1 FROM security_group_rules WHERE remote_address_group_id = $1 LIMIT 1";
        if sql::exists(tx.db, used, [self.id.as_str().into()]).await? {
            return Err(conflict("AddressGroupInUse", format!("Address group {} is in use on one or more security group rules.", self.id)));
        }
        tx.touch(Touched::AddressGroup(self.id.clone()));
        Ok(())
    }
}

/// `PUT /address-groups/{address_group_id}/add_addresses`
pub async fn add(app: App, ctx: Context, id: Path<String>, input: Input) -> Result<Reply> {
    let new = addresses(input)?;
    change(app, ctx, id.0, move |group| {
        if new.iter().all(|net| group.addresses.0.contains(net)) {
            let message = format!("Addresses {} already exist in the address group {}.", listed(&new), group.id);
            return Err(conflict("AddressesAlreadyExist", message));
        }
        let missing: Vec<IpNet> = new.into_iter().filter(|net| !group.addresses.0.contains(net)).collect();
        group.addresses.0.extend(missing);
        Ok(())
    })
    .await
}

/// `PUT /address-groups/{address_group_id}/remove_addresses`
pub async fn remove(app: App, ctx: Context, id: Path<String>, input: Input) -> Result<Reply> {
    let gone = addresses(input)?;
    change(app, ctx, id.0, move |group| {
        let unknown: Vec<IpNet> = gone.iter().copied().filter(|net| !group.addresses.0.contains(net)).collect();
        if !unknown.is_empty() {
            let message = format!("Addresses {} not found in the address group {}.", listed(&unknown), group.id);
            return Err(Error::not_found(message).code("AddressesNotFound"));
        }
        group.addresses.0.retain(|net| !gone.contains(net));
        Ok(())
    })
    .await
}

async fn change(app: App, ctx: Context, id: String, edit: impl FnOnce(&mut Model) -> Result<()> + Send + 'static) -> Result<Reply> {
    let by = ctx.clone();
    let group = app.write(move |tx| {
        Box::pin(async move {
            let mut group: Model = changeable(tx.db, &by, "update_address_group", &id).await?;
            edit(&mut group)?;
            save(tx.db, &mut group).await?;
            tx.touch(Touched::AddressGroup(group.id.clone()));
            Ok(group)
        })
    });
    listing::updated(&app, &ctx, group.await?).await
}

fn addresses(input: Input) -> Result<Vec<IpNet>> {
    let addresses = input.into_body().get("addresses").cloned().unwrap_or(Value::Null);
    // as neutron has it, single addresses may be named here, but not at creation
    let checked = normalize(Kind::Cidrs, addresses).map_err(|reason| invalid_attribute("addresses", reason))?;
    serde_json::from_value(checked).map_err(|error| invalid_attribute("addresses", error))
}

fn listed(nets: &[IpNet]) -> String {
    nets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
