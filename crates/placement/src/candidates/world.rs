//! The providers that could matter to a request, with what matters about them, in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use kit::Result;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};

use super::flat::SHARES;
use super::request::Request;
use crate::entity::{inventory, provider, provider_aggregate, provider_trait};

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

    pub fn shares(&self) -> bool {
        self.traits.contains(SHARES)
    }
}

/// All of them, by tree.
#[derive(Clone, Debug, Default)]
pub struct World {
    pub trees: BTreeMap<String, Vec<Provider>>,
}

impl World {
    pub fn new(providers: impl IntoIterator<Item = Provider>) -> World {
        let mut trees: BTreeMap<String, Vec<Provider>> = BTreeMap::new();
        for provider in providers {
            trees.entry(provider.root.clone()).or_default().push(provider);
        }
        World { trees }
    }
}

/// Reads the providers with the requested classes and traits.
pub async fn load(conn: &impl ConnectionTrait, request: &Request) -> Result<World> {
    let mut providers: HashMap<String, Provider> = provider::Entity::find()
        .all(conn)
        .await?
        .into_iter()
        .map(|p| (p.uuid.clone(), Provider { uuid: p.uuid, parent: p.parent_uuid, root: p.root_uuid, ..Provider::default() }))
        .collect();
    let classes: BTreeSet<&str> = request.groups.iter().flat_map(|g| g.resources.keys()).map(String::as_str).collect();
    let rows = inventory::Entity::find().filter(inventory::Column::ResourceClass.is_in(classes)).all(conn).await?;
    for row in rows {
        if let Some(provider) = providers.get_mut(&row.provider_uuid) {
            let stock = Stock { left: row.capacity - row.used, min_unit: row.min_unit, max_unit: row.max_unit, step_size: row.step_size };
            provider.inventories.insert(row.resource_class, stock);
        }
    }
    let names: BTreeSet<&str> = request.traits().map(String::as_str).chain([SHARES]).collect();
    for row in provider_trait::Entity::find().filter(provider_trait::Column::Name.is_in(names)).all(conn).await? {
        if let Some(provider) = providers.get_mut(&row.provider_uuid) {
            provider.traits.insert(row.name);
        }
    }
    for row in provider_aggregate::Entity::find().all(conn).await? {
        if let Some(provider) = providers.get_mut(&row.provider_uuid) {
            provider.aggregates.insert(row.aggregate_uuid);
        }
    }
    Ok(World::new(providers.into_values()))
}
