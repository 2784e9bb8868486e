//! The answer: claims that would do, and a summary of every provider they could draw on.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use kit::clock::Timestamp;
use kit::{Context, Reply, Result};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde_json::{Map, Value, json};

use super::Candidate;
use super::request::Request;
use crate::entity::{inventory, provider, provider_trait};
use crate::{Placement, microversions as mv};

/// Keys in one `IN (...)`.
const CHUNK: usize = 500;

pub async fn answer(app: &Placement, ctx: &Context, request: &Request, candidates: Vec<Candidate>) -> Result<Reply> {
    let requests: Vec<Value> = candidates.iter().map(|candidate| claim(ctx, candidate)).collect();
    let summaries = summaries(app, ctx, request, &candidates).await?;
    let body = json!({"allocation_requests": requests, "provider_summaries": summaries});
    crate::answer::ok(ctx, Timestamp::now(), &body)
}

/// A candidate as a body for a claim.
fn claim(ctx: &Context, candidate: &Candidate) -> Value {
    let mut shares: BTreeMap<&str, BTreeMap<&str, i64>> = BTreeMap::new();
    let mut mappings: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for part in &candidate.parts {
        mappings.entry(&part.suffix).or_default().insert(&part.provider);
        for (class, amount) in &part.resources {
            *shares.entry(&part.provider).or_default().entry(class).or_default() += amount;
        }
    }
    if !ctx.speaks(mv::ALLOCATION_OBJECT) {
        let listed = shares.iter().map(|(uuid, resources)| json!({"resource_provider": {"uuid": uuid}, "resources": resources}));
        return json!({"allocations": listed.collect::<Vec<_>>()});
    }
    let keyed: BTreeMap<&str, Value> = shares.iter().map(|(uuid, resources)| (*uuid, json!({"resources": resources}))).collect();
    if ctx.speaks(mv::MAPPINGS) { json!({"allocations": keyed, "mappings": mappings}) } else { json!({"allocations": keyed}) }
}

/// From 1.29 on the whole tree of each candidate is shown; before, only who takes part.
async fn summaries(app: &Placement, ctx: &Context, request: &Request, candidates: &[Candidate]) -> Result<Map<String, Value>> {
    let taking_part: BTreeSet<&str> = candidates.iter().flat_map(|c| &c.parts).map(|part| part.provider.as_str()).collect();
    let roots: BTreeSet<&str> = candidates.iter().map(|c| c.root.as_str()).collect();
    let asked: HashSet<&str> = request.groups.iter().flat_map(|group| group.resources.keys()).map(String::as_str).collect();
    let whole_trees = ctx.speaks(mv::NESTED_CANDIDATES);
    let mut providers = fetch(app, provider::Column::Uuid, taking_part.iter().copied()).await?;
    if whole_trees {
        let trees = fetch(app, provider::Column::RootUuid, roots.into_iter()).await?;
        providers.extend(trees.into_iter().filter(|p| !taking_part.contains(p.uuid.as_str())));
    }
    let uuids: Vec<&str> = providers.iter().map(|p| p.uuid.as_str()).collect();
    let mut resources: HashMap<String, Map<String, Value>> = HashMap::new();
    let mut traits: HashMap<String, Vec<String>> = HashMap::new();
    for some in uuids.chunks(CHUNK) {
        let rows = inventory::Entity::find().filter(inventory::Column::ProviderUuid.is_in(some.iter().copied()));
        for row in rows.all(app.db.read()).await? {
            if ctx.speaks(mv::ALL_CLASSES) || asked.contains(row.resource_class.as_str()) {
                let usage = json!({"capacity": row.capacity, "used": row.used});
                resources.entry(row.provider_uuid).or_default().insert(row.resource_class, usage);
            }
        }
        if ctx.speaks(mv::REQUIRED) {
            let rows = provider_trait::Entity::find().filter(provider_trait::Column::ProviderUuid.is_in(some.iter().copied()));
            for row in rows.all(app.db.read()).await? {
                traits.entry(row.provider_uuid).or_default().push(row.name);
            }
        }
    }
    let mut summaries = Map::new();
    for provider in &providers {
        let mut summary = Map::from_iter([("resources".to_owned(), json!(resources.remove(&provider.uuid).unwrap_or_default()))]);
        if ctx.speaks(mv::REQUIRED) {
            summary.insert("traits".into(), json!(traits.remove(&provider.uuid).unwrap_or_default()));
        }
        if whole_trees {
            summary.insert("parent_provider_uuid".into(), json!(provider.parent_uuid));
            summary.insert("root_provider_uuid".into(), json!(provider.root_uuid));
        }
        summaries.insert(provider.uuid.clone(), Value::Object(summary));
    }
    Ok(summaries)
}

async fn fetch<'u>(app: &Placement, column: provider::Column, keys: impl Iterator<Item = &'u str>) -> Result<Vec<provider::Model>> {
    let keys: Vec<&str> = keys.collect();
    let mut rows = Vec::new();
    for some in keys.chunks(CHUNK) {
        rows.extend(provider::Entity::find().filter(column.is_in(some.iter().copied())).all(app.db.read()).await?);
    }
    Ok(rows)
}
