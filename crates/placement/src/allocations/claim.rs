//! The claim: the one place where `used` counters move.
//!
//! However many consumers change at once, what matters to an inventory is the net difference, so a move from one consumer to another needs
//! no room of its own. Differences are applied in one order under the condition that they fit, which holds on any database: two claims
//! that meet at an inventory wait for each other, and the second sees what the first left.

use std::collections::{BTreeMap, HashMap};

use kit::clock::Timestamp;
use kit::{Error, Result};
use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait};
use sea_orm::{ActiveValue, ColumnTrait, Condition, DatabaseTransaction, EntityTrait, IntoActiveModel, QueryFilter};

use crate::entity::{allocation, consumer, inventory, provider};
use crate::fault::concurrent_update;

/// Provider and class.
pub type Key = (String, String);

/// What a consumer shall have from now on; nothing, to give everything back.
#[derive(Clone, Debug)]
pub struct Claim {
    pub consumer: String,
    pub amounts: BTreeMap<Key, i64>,
    pub project_id: String,
    pub user_id: String,
    pub consumer_type: Option<String>,
    pub expected: Expected,
}

/// The generation of the consumer that the client has in mind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Before 1.28 clients have none.
    Any,
    New,
    At(i64),
}

/// Makes all claims true, or none.
pub async fn apply(tx: &DatabaseTransaction, claims: &[Claim]) -> Result<()> {
    let mut difference: BTreeMap<Key, i64> = BTreeMap::new();
    let mut had = HashMap::new();
    for claim in claims {
        // one that is there after all is found when it is written
        let consumer = match claim.expected {
            Expected::New => None,
            Expected::Any | Expected::At(_) => consumer::Entity::find_by_id(claim.consumer.clone()).one(tx).await?,
        };
        check_generation(claim, consumer.as_ref())?;
        if consumer.is_some() {
            for row in of_consumer(tx, &claim.consumer).await? {
                *difference.entry((row.provider_uuid, row.resource_class)).or_default() -= row.used;
            }
        }
        for (key, amount) in &claim.amounts {
            *difference.entry(key.clone()).or_default() += amount;
        }
        had.insert(claim.consumer.as_str(), consumer);
    }
    check_inventories(tx, claims).await?;
    for claim in claims {
        let before = had.get(claim.consumer.as_str()).cloned().flatten();
        write_consumer(tx, claim, before).await?;
    }
    draw_all(tx, &difference).await
}

/// Gives everything of a consumer back; false when it had nothing.
pub async fn release(tx: &DatabaseTransaction, uuid: &str) -> Result<bool> {
    let rows = of_consumer(tx, uuid).await?;
    if rows.is_empty() {
        return Ok(false);
    }
    allocation::Entity::delete_many().filter(allocation::Column::ConsumerUuid.eq(uuid)).exec(tx).await?;
    let gone = consumer::Entity::delete_by_id(uuid.to_owned()).exec(tx).await?;
    if gone.rows_affected == 0 {
        // somebody else gave it back meanwhile
        return Err(concurrent_update(format!("consumer {uuid} was changed by another request")));
    }
    let returned: BTreeMap<Key, i64> = rows.into_iter().map(|row| ((row.provider_uuid, row.resource_class), row.used)).collect();
    let difference = returned.into_iter().map(|(key, amount)| (key, -amount)).collect();
    for (provider, changes) in by_provider(&difference) {
        // what is given back leaves the generation alone: whoever read it before may still write
        draw(tx, provider, &changes).await?;
    }
    Ok(true)
}

pub async fn of_consumer(conn: &impl sea_orm::ConnectionTrait, uuid: &str) -> Result<Vec<allocation::Model>> {
    Ok(allocation::Entity::find().filter(allocation::Column::ConsumerUuid.eq(uuid)).all(conn).await?)
}

fn check_generation(claim: &Claim, consumer: Option<&consumer::Model>) -> Result<()> {
    let actual = consumer.map(|c| c.generation);
    let wanted = match claim.expected {
        Expected::Any => return Ok(()),
        Expected::New => None,
        Expected::At(generation) => Some(generation),
    };
    if wanted == actual {
        return Ok(());
    }
    let word = |g: Option<i64>, none: &str| g.map_or_else(|| none.to_owned(), |g| g.to_string());
    let (expected, got) = (word(actual, "null"), word(wanted, "None"));
    Err(concurrent_update(format!("consumer generation conflict - expected {expected} but got {got}")))
}

/// Every amount must be of an inventory that exists, in units it is given out in.
async fn check_inventories(tx: &DatabaseTransaction, claims: &[Claim]) -> Result<()> {
    let mut wanted: Vec<String> = claims.iter().flat_map(|c| c.amounts.keys()).map(|(provider, _)| provider.clone()).collect();
    wanted.dedup();
    if wanted.is_empty() {
        return Ok(());
    }
    let rows = inventory::Entity::find().filter(inventory::Column::ProviderUuid.is_in(wanted)).all(tx).await?;
    let rows: HashMap<(&str, &str), &inventory::Model> =
        rows.iter().map(|row| ((row.provider_uuid.as_str(), row.resource_class.as_str()), row)).collect();
    for ((provider, class), amount) in claims.iter().flat_map(|c| &c.amounts) {
        let Some(row) = rows.get(&(provider.as_str(), class.as_str())) else {
            return Err(no_inventory(tx, provider, class).await?);
        };
        if *amount < row.min_unit || *amount > row.max_unit || amount % row.step_size != 0 {
            return Err(Error::conflict(format!(
                "Unable to allocate inventory: Unable to create allocation for '{class}' on resource provider '{provider}'. The requested amount would violate inventory constraints."
            )));
        }
    }
    Ok(())
}

async fn no_inventory(tx: &DatabaseTransaction, provider: &str, class: &str) -> Result<Error> {
    crate::classes::check_known(tx, std::iter::once(&class.to_owned())).await?;
    Ok(match provider::Entity::find_by_id(provider.to_owned()).one(tx).await? {
        None => Error::bad_request(format!("Allocation for resource provider '{provider}' that does not exist.")),
        Some(_) => {
            Error::conflict(format!("Unable to allocate inventory: Inventory for '{class}' on resource provider '{provider}' invalid."))
        }
    })
}

/// Moves counters, provider by provider in their order.
async fn draw_all(tx: &DatabaseTransaction, difference: &BTreeMap<Key, i64>) -> Result<()> {
    for (provider, changes) in by_provider(difference) {
        draw(tx, provider, &changes).await?;
        touch(tx, provider).await?;
    }
    Ok(())
}

/// The providers a difference is about, each with the counters that move.
fn by_provider(difference: &BTreeMap<Key, i64>) -> BTreeMap<&str, Vec<(&str, i64)>> {
    let mut providers: BTreeMap<&str, Vec<(&str, i64)>> = BTreeMap::new();
    for ((provider, class), change) in difference {
        let moved = providers.entry(provider).or_default();
        if *change != 0 {
            moved.push((class, *change));
        }
    }
    providers
}

/// Moves the counters of one provider, if there is room in each that grows.
async fn draw(tx: &DatabaseTransaction, provider: &str, changes: &[(&str, i64)]) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let class = || Expr::col(inventory::Column::ResourceClass);
    let change = changes.iter().fold(CaseStatement::new(), |case, (name, change)| case.case(class().eq(*name), *change)).finally(0);
    let used = Expr::col(inventory::Column::Used).add(change);
    let grows = changes.iter().filter(|(_, change)| *change > 0).map(|(name, _)| *name);
    let fits = Condition::any().add(class().is_not_in(grows)).add(used.clone().lte(Expr::col(inventory::Column::Capacity)));
    let update = inventory::Entity::update_many()
        .col_expr(inventory::Column::Used, used)
        .filter(inventory::Column::ProviderUuid.eq(provider))
        .filter(inventory::Column::ResourceClass.is_in(changes.iter().map(|(name, _)| *name)))
        .filter(fits);
    if update.exec(tx).await?.rows_affected == changes.len() as u64 {
        return Ok(());
    }
    let class = full(tx, provider, changes).await?;
    Err(Error::conflict(format!(
        "Unable to allocate inventory: Unable to create allocation for '{class}' on resource provider '{provider}'. The requested amount would exceed the capacity."
    )))
}

/// The class that has no room: the one that stayed as it was. All is taken back anyway.
async fn full(tx: &DatabaseTransaction, provider: &str, changes: &[(&str, i64)]) -> Result<String> {
    let rows = inventory::Entity::find().filter(inventory::Column::ProviderUuid.eq(provider)).all(tx).await?;
    let left = |name: &str| rows.iter().find(|row| row.resource_class == name).map_or(0, |row| row.capacity - row.used);
    let tightest = changes.iter().filter(|(_, change)| *change > 0).max_by_key(|(name, change)| change - left(name));
    Ok(tightest.or(changes.first()).map(|(name, _)| (*name).to_owned()).unwrap_or_default())
}

/// A provider's generation moves with what is drawn from it.
async fn touch(tx: &DatabaseTransaction, provider: &str) -> Result<()> {
    provider::Entity::update_many()
        .col_expr(provider::Column::Generation, Expr::col(provider::Column::Generation).add(1))
        .filter(provider::Column::Uuid.eq(provider))
        .exec(tx)
        .await?;
    Ok(())
}

/// Writes the consumer and its allocations; a consumer without allocations does not exist.
async fn write_consumer(tx: &DatabaseTransaction, claim: &Claim, before: Option<consumer::Model>) -> Result<()> {
    let changed =
        || concurrent_update(format!("consumer generation conflict - consumer {} was changed by another request", claim.consumer));
    let now = Timestamp::now();
    match &before {
        Some(before) => {
            // first, so that of two changes at once the second waits here and finds the generation gone
            let done = consumer::Entity::update_many()
                .set(consumer::ActiveModel {
                    project_id: ActiveValue::Set(claim.project_id.clone()),
                    user_id: ActiveValue::Set(claim.user_id.clone()),
                    consumer_type: ActiveValue::Set(claim.consumer_type.clone().or_else(|| before.consumer_type.clone())),
                    generation: ActiveValue::Set(before.generation + 1),
                    updated_at: ActiveValue::Set(now),
                    ..Default::default()
                })
                .filter(consumer::Column::Uuid.eq(&claim.consumer))
                .filter(consumer::Column::Generation.eq(before.generation))
                .exec(tx)
                .await?;
            if done.rows_affected == 0 {
                return Err(changed());
            }
            allocation::Entity::delete_many().filter(allocation::Column::ConsumerUuid.eq(&claim.consumer)).exec(tx).await?;
            if claim.amounts.is_empty() {
                consumer::Entity::delete_by_id(claim.consumer.clone()).exec(tx).await?;
            }
        }
        None if claim.amounts.is_empty() => {}
        None => {
            let row = consumer::Model {
                uuid: claim.consumer.clone(),
                project_id: claim.project_id.clone(),
                user_id: claim.user_id.clone(),
                consumer_type: claim.consumer_type.clone(),
                generation: 1,
                created_at: now,
                updated_at: now,
            };
            match consumer::Entity::insert(row.into_active_model()).exec_without_returning(tx).await {
                Ok(_) => {}
                Err(error) if kit::db::is_duplicate(&error) => return Err(changed()),
                Err(error) => return Err(error.into()),
            }
        }
    }
    if claim.amounts.is_empty() {
        return Ok(());
    }
    let rows = claim.amounts.iter().map(|((provider_uuid, resource_class), used)| {
        allocation::Model {
            consumer_uuid: claim.consumer.clone(),
            provider_uuid: provider_uuid.clone(),
            resource_class: resource_class.clone(),
            used: *used,
        }
        .into_active_model()
    });
    allocation::Entity::insert_many(rows).exec_without_returning(tx).await?;
    Ok(())
}
