//! `/resource_providers/{uuid}/inventories`: how much of each class a provider has.

use std::collections::BTreeMap;

use http::StatusCode;
use kit::clock::Timestamp;
use kit::{Context, Error, Path, Reply, Result};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::entity::{inventory, provider};
use crate::fault::{concurrent_update, inventory_in_use};
use crate::input::{Body, MOST, in_range};
use crate::providers::store;
use crate::{Placement, answer, classes, microversions as mv};

/// The largest allocation ratio.
const RATIO_MOST: f64 = 3.40282e+38;

/// One inventory on the wire.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inventory {
    pub total: i64,
    #[serde(default)]
    pub reserved: i64,
    #[serde(default = "one")]
    pub min_unit: i64,
    #[serde(default = "most")]
    pub max_unit: i64,
    #[serde(default = "one")]
    pub step_size: i64,
    #[serde(default = "even")]
    pub allocation_ratio: f64,
}

/// Body of `PUT .../inventories`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replace {
    pub inventories: BTreeMap<String, Inventory>,
    pub resource_provider_generation: i64,
}

/// Body of `PUT .../inventories/{class}` and, with the class, of `POST .../inventories`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct One {
    resource_class: Option<String>,
    resource_provider_generation: Option<i64>,
    total: i64,
    #[serde(default)]
    reserved: i64,
    #[serde(default = "one")]
    min_unit: i64,
    #[serde(default = "most")]
    max_unit: i64,
    #[serde(default = "one")]
    step_size: i64,
    #[serde(default = "even")]
    allocation_ratio: f64,
}

impl One {
    fn inventory(&self) -> Inventory {
        Inventory {
            total: self.total,
            reserved: self.reserved,
            min_unit: self.min_unit,
            max_unit: self.max_unit,
            step_size: self.step_size,
            allocation_ratio: self.allocation_ratio,
        }
    }
}

pub async fn list(app: Placement, ctx: Context, id: Path<String>) -> Result<Reply> {
    let provider = store::fetch(app.db.read(), &id.0).await?;
    let rows = of_provider(app.db.read(), &provider.uuid).await?;
    whole(&ctx, provider.generation, rows)
}

pub async fn show(app: Placement, ctx: Context, Path((id, class)): Path<(String, String)>) -> Result<Reply> {
    let provider = store::fetch(app.db.read(), &id).await?;
    let row = inventory::Entity::find_by_id((id.clone(), class.clone())).one(app.db.read()).await?;
    let row = row.ok_or_else(|| missing(&class, &id))?;
    single(&ctx, StatusCode::OK, provider.generation, &row)
}

/// Replaces all inventories of a provider.
pub async fn replace(app: Placement, ctx: Context, id: Path<String>, body: Body<Replace>) -> Result<Reply> {
    check_all(&ctx, &id.0, &body.0.inventories)?;
    let (generation, rows) = app
        .db
        .write(move |tx| {
            Box::pin(async move {
                let provider = store::fetch_at(tx, &id.0, body.0.resource_provider_generation).await?;
                classes::check_stocked(tx, &provider.uuid, body.0.inventories.keys()).await?;
                set(tx, &provider, &body.0.inventories).await?;
                drop_others(tx, &provider, &body.0.inventories).await?;
                let generation = store::advance(tx, &provider.uuid, provider.generation).await?;
                Ok((generation, of_provider(tx, &provider.uuid).await?))
            })
        })
        .await?;
    whole(&ctx, generation, rows)
}

/// Adds one inventory.
pub async fn create(app: Placement, ctx: Context, id: Path<String>, body: Body<One>) -> Result<Reply> {
    let Some(class) = body.0.resource_class.clone() else {
        return Err(Error::bad_request("JSON does not validate: 'resource_class' is a required property"));
    };
    let wanted = BTreeMap::from([(class.clone(), body.0.inventory())]);
    check_all(&ctx, &id.0, &wanted)?;
    let (provider, row) = app
        .db
        .write(move |tx| {
            Box::pin(async move {
                let mut provider = store::fetch(tx, &id.0).await?;
                if body.0.resource_provider_generation.is_some_and(|given| given != provider.generation) {
                    return Err(concurrent_update("resource provider generation conflict"));
                }
                classes::check_stocked(tx, &provider.uuid, wanted.keys()).await?;
                if inventory::Entity::find_by_id((provider.uuid.clone(), class.clone())).one(tx).await?.is_some() {
                    return Err(Error::conflict(format!("Update conflict: inventory for {class} of {} already exists", provider.uuid)));
                }
                set(tx, &provider, &wanted).await?;
                provider.generation = store::advance(tx, &provider.uuid, provider.generation).await?;
                let row = fetch(tx, &provider.uuid, &class).await?;
                Ok((provider, row))
            })
        })
        .await?;
    let location = ctx.link(&format!("/resource_providers/{}/inventories/{}", provider.uuid, row.resource_class));
    Ok(single(&ctx, StatusCode::CREATED, provider.generation, &row)?.header("location", &location))
}

/// Changes one inventory.
pub async fn update(app: Placement, ctx: Context, Path((id, class)): Path<(String, String)>, body: Body<One>) -> Result<Reply> {
    let Some(given) = body.0.resource_provider_generation else {
        return Err(Error::bad_request("JSON does not validate: 'resource_provider_generation' is a required property"));
    };
    let wanted = BTreeMap::from([(class.clone(), body.0.inventory())]);
    check_all(&ctx, &id, &wanted)?;
    let (provider, row) = app
        .db
        .write(move |tx| {
            Box::pin(async move {
                let mut provider = store::fetch_at(tx, &id, given).await?;
                let have = inventory::Entity::find_by_id((id.clone(), class.clone())).one(tx).await?;
                if have.is_none() {
                    return Err(Error::bad_request(format!("No inventory record with resource class {class} for resource provider {id}")));
                }
                set(tx, &provider, &wanted).await?;
                provider.generation = store::advance(tx, &provider.uuid, provider.generation).await?;
                let row = fetch(tx, &provider.uuid, &class).await?;
                Ok((provider, row))
            })
        })
        .await?;
    single(&ctx, StatusCode::OK, provider.generation, &row)
}

pub async fn delete(app: Placement, _: Context, Path((id, class)): Path<(String, String)>) -> Result<Reply> {
    app.db
        .write(move |tx| {
            Box::pin(async move {
                let provider = store::fetch(tx, &id).await?;
                let row = fetch(tx, &provider.uuid, &class).await?;
                if row.used > 0 {
                    return Err(inventory_in_use(&class, &id));
                }
                inventory::Entity::delete_by_id((id.clone(), class)).exec(tx).await?;
                store::advance(tx, &id, provider.generation).await
            })
        })
        .await?;
    Reply::no_content()
}

/// Deletes all inventories of a provider.
pub async fn clear(app: Placement, _: Context, id: Path<String>) -> Result<Reply> {
    app.db
        .write(move |tx| {
            Box::pin(async move {
                let provider = store::fetch(tx, &id.0).await?;
                drop_others(tx, &provider, &BTreeMap::new()).await?;
                store::advance(tx, &provider.uuid, provider.generation).await
            })
        })
        .await?;
    Reply::no_content()
}

/// Writes inventories, keeping what is used of them.
pub async fn set(tx: &DatabaseTransaction, provider: &provider::Model, wanted: &BTreeMap<String, Inventory>) -> Result<()> {
    if wanted.is_empty() {
        return Ok(());
    }
    use inventory::Column;
    let rows = wanted.iter().map(|(class, inventory)| row(&provider.uuid, class, inventory).into_active_model());
    let keep_used = OnConflict::columns([Column::ProviderUuid, Column::ResourceClass])
        .update_columns([
            Column::Total,
            Column::Reserved,
            Column::MinUnit,
            Column::MaxUnit,
            Column::StepSize,
            Column::AllocationRatio,
            Column::Capacity,
        ])
        .to_owned();
    inventory::Entity::insert_many(rows).on_conflict(keep_used).exec_without_returning(tx).await?;
    Ok(())
}

/// Deletes the inventories that are not among `wanted`; 409 when one is in use.
pub async fn drop_others(tx: &DatabaseTransaction, provider: &provider::Model, wanted: &BTreeMap<String, Inventory>) -> Result<()> {
    let others = of_provider(tx, &provider.uuid).await?.into_iter().filter(|row| !wanted.contains_key(&row.resource_class));
    let others: Vec<inventory::Model> = others.collect();
    let used: Vec<&str> = others.iter().filter(|row| row.used > 0).map(|row| row.resource_class.as_str()).collect();
    if !used.is_empty() {
        return Err(inventory_in_use(&used.join(", "), &provider.uuid));
    }
    let names = others.into_iter().map(|row| row.resource_class);
    inventory::Entity::delete_many()
        .filter(inventory::Column::ProviderUuid.eq(&provider.uuid))
        .filter(inventory::Column::ResourceClass.is_in(names))
        .exec(tx)
        .await?;
    Ok(())
}

pub async fn of_provider(conn: &impl ConnectionTrait, uuid: &str) -> Result<Vec<inventory::Model>> {
    let rows = inventory::Entity::find().filter(inventory::Column::ProviderUuid.eq(uuid));
    Ok(rows.order_by_asc(inventory::Column::ResourceClass).all(conn).await?)
}

async fn fetch(conn: &impl ConnectionTrait, uuid: &str, class: &str) -> Result<inventory::Model> {
    let row = inventory::Entity::find_by_id((uuid.to_owned(), class.to_owned())).one(conn).await?;
    row.ok_or_else(|| missing(class, uuid))
}

/// Refuses numbers out of range, and a provider whose whole stock is reserved before 1.26.
pub fn check_all(ctx: &Context, provider: &str, wanted: &BTreeMap<String, Inventory>) -> Result<()> {
    for (class, inventory) in wanted {
        let Inventory { total, reserved, min_unit, max_unit, step_size, allocation_ratio } = *inventory;
        in_range(total, 1)?;
        in_range(reserved, 0)?;
        for n in [min_unit, max_unit, step_size] {
            in_range(n, 1)?;
        }
        if !(0.0..=RATIO_MOST).contains(&allocation_ratio) {
            let wrong = if allocation_ratio < 0.0 { "less than the minimum of 0" } else { "greater than the maximum of 3.40282e+38" };
            return Err(Error::bad_request(format!("JSON does not validate: {allocation_ratio} is {wrong}")));
        }
        if reserved > total || (reserved == total && !ctx.speaks(mv::RESERVED_WHOLE)) {
            return Err(Error::bad_request(format!(
                "Unable to update inventory for resource provider {provider}: Invalid inventory for '{class}' on resource provider '{provider}'. \
                 The reserved value is greater than or equal to total."
            )));
        }
    }
    Ok(())
}

fn row(uuid: &str, class: &str, inventory: &Inventory) -> inventory::Model {
    let Inventory { total, reserved, min_unit, max_unit, step_size, allocation_ratio } = *inventory;
    inventory::Model {
        provider_uuid: uuid.to_owned(),
        resource_class: class.to_owned(),
        total,
        reserved,
        min_unit,
        max_unit,
        step_size,
        allocation_ratio,
        // amounts are whole, so the floor admits exactly what the fraction would
        capacity: ((total - reserved) as f64 * allocation_ratio) as i64,
        used: 0,
    }
}

fn view(row: &inventory::Model) -> Inventory {
    Inventory {
        total: row.total,
        reserved: row.reserved,
        min_unit: row.min_unit,
        max_unit: row.max_unit,
        step_size: row.step_size,
        allocation_ratio: row.allocation_ratio,
    }
}

fn whole(ctx: &Context, generation: i64, rows: Vec<inventory::Model>) -> Result<Reply> {
    let inventories: BTreeMap<&str, Inventory> = rows.iter().map(|row| (row.resource_class.as_str(), view(row))).collect();
    answer::ok(ctx, Timestamp::now(), &json!({"resource_provider_generation": generation, "inventories": inventories}))
}

fn single(ctx: &Context, status: StatusCode, generation: i64, row: &inventory::Model) -> Result<Reply> {
    let mut body = serde_json::to_value(view(row))?;
    if let Some(body) = body.as_object_mut() {
        body.insert("resource_provider_generation".into(), generation.into());
    }
    Ok(answer::dated(ctx, Timestamp::now(), Reply::json(status, &body)?))
}

fn missing(class: &str, uuid: &str) -> Error {
    Error::not_found(format!("No inventory of class {class} for {uuid}"))
}

fn one() -> i64 {
    1
}

fn most() -> i64 {
    MOST
}

fn even() -> f64 {
    1.0
}
