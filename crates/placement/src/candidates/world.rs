//! The providers that could matter to a request, with what matters about them, in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use kit::Result;
use sea_orm::sea_query::{Expr, Query as Sql};
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::flat::SHARES;
use super::request::Request;
use crate::entity::{inventory, provider, provider_aggregate, provider_trait};
use crate::providers::filters::{is_root, tree_has_room};

/// Trees worked out at once.
pub const PAGE: u64 = 1000;
/// Keys in one `IN (...)`.
const CHUNK: usize = 500;

/// A provider as the search sees it.
#[derive(Clone, Debug, Default)]
pub struct Provider {
    pub uuid: String,
    pub parent: Option<String>,
    pub root: String,
    pub inventories: HashMap<String, Stock>,
    pub traits: BTreeSet<String>,
    pub aggregates: BTreeSet<String>,
}

/// What a provider has of a class, as far as requests are concerned.
#[derive(Clone, Copy, Debug)]
pub struct Stock {
    pub left: i64,
    pub min_unit: i64,
    pub max_unit: i64,
    pub step_size: i64,
}

impl Provider {
    pub fn has_room(&self, class: &str, amount: i64) -> bool {
        self.inventories.get(class).is_some_and(|stock| {
            amount <= stock.left && (stock.min_unit..=stock.max_unit).contains(&amount) && amount % stock.step_size.max(1) == 0
        })
    }
}

/// Some trees, and the providers that share with others, whichever tree they are in.
#[derive(Clone, Debug, Default)]
pub struct World {
    pub trees: BTreeMap<String, Vec<Provider>>,
    pub sharing: Vec<Provider>,
}

impl World {
    pub fn new(providers: impl IntoIterator<Item = Provider>, sharing: Vec<Provider>) -> World {
        let mut trees: BTreeMap<String, Vec<Provider>> = BTreeMap::new();
        for provider in providers {
            trees.entry(provider.root.clone()).or_default().push(provider);
        }
        World { trees, sharing }
    }
}

/// The roots after `after` whose trees may have what is asked for, a few at a time: beside what others share with them, some provider of the
/// tree has room for each class.
pub async fn roots(
    conn: &impl ConnectionTrait,
    request: &Request,
    sharing: &[Provider],
    (after, until): (&str, Option<&str>),
) -> Result<Vec<String>> {
    let mut condition = Condition::all().add(is_root()).add(provider::Column::Uuid.gt(after));
    if let Some(until) = until {
        condition = condition.add(provider::Column::Uuid.lte(until));
    }
    let asked = request.groups.iter().flat_map(|group| &group.resources);
    for (class, amount) in asked.filter(|(class, _)| sharing.iter().all(|p| !p.inventories.contains_key(*class))) {
        condition = condition.add(tree_has_room(class, *amount));
    }
    let rows = provider::Entity::find().select_only().column(provider::Column::Uuid).filter(condition);
    Ok(rows.order_by_asc(provider::Column::Uuid).limit(PAGE).into_tuple().all(conn).await?)
}

/// The providers that share, with the requested classes and traits.
pub async fn sharing(conn: &impl ConnectionTrait, request: &Request) -> Result<Vec<Provider>> {
    let rows = provider_trait::Entity::find().filter(provider_trait::Column::Name.eq(SHARES)).all(conn).await?;
    let uuids: Vec<String> = rows.into_iter().map(|row| row.provider_uuid).collect();
    read(conn, request, provider::Column::Uuid, &uuids).await
}

/// Reads whole trees with the requested classes and traits.
pub async fn load(conn: &impl ConnectionTrait, request: &Request, roots: &[String], sharing: Vec<Provider>) -> Result<World> {
    Ok(World::new(read(conn, request, provider::Column::RootUuid, roots).await?, sharing))
}

async fn read(conn: &impl ConnectionTrait, request: &Request, column: provider::Column, keys: &[String]) -> Result<Vec<Provider>> {
    let mut found = Vec::new();
    for some in keys.chunks(CHUNK) {
        found.extend(read_some(conn, request, column.is_in(some.iter().map(String::as_str))).await?);
    }
    Ok(found)
}

async fn read_some(conn: &impl ConnectionTrait, request: &Request, which: Expr) -> Result<Vec<Provider>> {
    let mut providers: HashMap<String, Provider> = provider::Entity::find()
        .filter(which.clone())
        .all(conn)
        .await?
        .into_iter()
        .map(|p| (p.uuid.clone(), Provider { uuid: p.uuid, parent: p.parent_uuid, root: p.root_uuid, ..Provider::default() }))
        .collect();
    let theirs = Sql::select().column(provider::Column::Uuid).from(provider::Entity).and_where(which).to_owned();
    let classes: BTreeSet<&str> = request.groups.iter().flat_map(|g| g.resources.keys()).map(String::as_str).collect();
    let rows = inventory::Entity::find().filter(inventory::Column::ProviderUuid.in_subquery(theirs.clone()));
    let rows = rows.filter(inventory::Column::ResourceClass.is_in(classes)).all(conn).await?;
    for row in rows {
        if let Some(provider) = providers.get_mut(&row.provider_uuid) {
            let stock = Stock { left: row.capacity - row.used, min_unit: row.min_unit, max_unit: row.max_unit, step_size: row.step_size };
            provider.inventories.insert(row.resource_class, stock);
        }
    }
    let names: BTreeSet<&str> = request.traits().map(String::as_str).collect();
    let rows = provider_trait::Entity::find().filter(provider_trait::Column::ProviderUuid.in_subquery(theirs.clone()));
    for row in rows.filter(provider_trait::Column::Name.is_in(names)).all(conn).await? {
        if let Some(provider) = providers.get_mut(&row.provider_uuid) {
            provider.traits.insert(row.name);
        }
    }
    let rows = provider_aggregate::Entity::find().filter(provider_aggregate::Column::ProviderUuid.in_subquery(theirs));
    for row in rows.all(conn).await? {
        if let Some(provider) = providers.get_mut(&row.provider_uuid) {
            provider.aggregates.insert(row.aggregate_uuid);
        }
    }
    Ok(providers.into_values().collect())
}
