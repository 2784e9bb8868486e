//! Usages: of a provider, from its counters; of a project, as the sum of its consumers' allocations.

use std::collections::BTreeMap;

use kit::clock::Timestamp;
use kit::policy::Target;
use kit::{Context, Error, Path, Query, Reply, Result};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};
use serde_json::{Map, Value, json};

use crate::allocations::is_consumer_type;
use crate::entity::{allocation, consumer};
use crate::input::{check_owner, only};
use crate::providers::store;
use crate::{Placement, answer, inventories, microversions as mv};

/// `GET /resource_providers/{uuid}/usages`
pub async fn of_provider(app: Placement, ctx: Context, id: Path<String>) -> Result<Reply> {
    let provider = store::fetch(app.db.read(), &id.0).await?;
    let rows = inventories::of_provider(app.db.read(), &provider.uuid).await?;
    let usages: BTreeMap<&str, i64> = rows.iter().map(|row| (row.resource_class.as_str(), row.used)).collect();
    answer::ok(&ctx, Timestamp::now(), &json!({"usages": usages, "resource_provider_generation": provider.generation}))
}

/// `GET /usages?project_id=...`
pub async fn total(app: Placement, ctx: Context, query: Query) -> Result<Reply> {
    let typed = ctx.speaks(mv::CONSUMER_TYPE);
    only(&query, if typed { &["project_id", "user_id", "consumer_type"] } else { &["project_id", "user_id"] })?;
    let Some(project) = query.get("project_id").filter(|p| !p.is_empty()) else {
        return Err(Error::bad_request("Invalid query string parameters: 'project_id' is a required property"));
    };
    let user = query.get("user_id");
    for id in [Some(project), user].into_iter().flatten() {
        check_owner("Invalid query string parameters", id)?;
    }
    ctx.enforce("placement:usages", &Target::project(project))?;
    let mut consumers = consumer::Entity::find().filter(consumer::Column::ProjectId.eq(project));
    if let Some(user) = user {
        consumers = consumers.filter(consumer::Column::UserId.eq(user));
    }
    let wanted = query.get("consumer_type").filter(|_| typed);
    if let Some(name) = wanted.filter(|name| !matches!(*name, "all" | "unknown") && !is_consumer_type(name)) {
        return Err(Error::bad_request(format!("Invalid query string parameters: '{name}' does not match '^[A-Z0-9_]+$|^all$|^unknown$'")));
    }
    match wanted {
        None | Some("all") => {}
        Some("unknown") => consumers = consumers.filter(consumer::Column::ConsumerType.is_null()),
        Some(name) => consumers = consumers.filter(consumer::Column::ConsumerType.eq(name)),
    }
    let consumers: BTreeMap<String, Option<String>> = consumers
        .select_only()
        .columns([consumer::Column::Uuid, consumer::Column::ConsumerType])
        .into_tuple::<(String, Option<String>)>()
        .all(app.db.read())
        .await?
        .into_iter()
        .collect();
    let mut groups: BTreeMap<String, (u64, BTreeMap<String, i64>)> = BTreeMap::new();
    let group = |kind: &Option<String>| match (wanted, kind) {
        (Some("all"), _) => "all".to_owned(),
        (_, Some(kind)) => kind.clone(),
        (_, None) => "unknown".to_owned(),
    };
    for kind in consumers.values() {
        groups.entry(group(kind)).or_default().0 += 1;
    }
    let ids: Vec<&String> = consumers.keys().collect();
    for some in ids.chunks(500) {
        let some = allocation::Column::ConsumerUuid.is_in(some.iter().map(|id| id.as_str()));
        for row in allocation::Entity::find().filter(some).all(app.db.read()).await? {
            let kind = consumers.get(&row.consumer_uuid).cloned().flatten();
            *groups.entry(group(&kind)).or_default().1.entry(row.resource_class).or_default() += row.used;
        }
    }
    answer::ok(&ctx, Timestamp::now(), &json!({"usages": if typed { by_type(groups) } else { summed(groups) }}))
}

fn by_type(groups: BTreeMap<String, (u64, BTreeMap<String, i64>)>) -> Value {
    let mut usages = Map::new();
    for (kind, (count, resources)) in groups {
        let mut group = Map::from_iter([("consumer_count".to_owned(), json!(count))]);
        group.extend(resources.into_iter().map(|(class, used)| (class, json!(used))));
        usages.insert(kind, Value::Object(group));
    }
    Value::Object(usages)
}

fn summed(groups: BTreeMap<String, (u64, BTreeMap<String, i64>)>) -> Value {
    let mut usages: BTreeMap<String, i64> = BTreeMap::new();
    for (class, used) in groups.into_values().flat_map(|(_, resources)| resources) {
        *usages.entry(class).or_default() += used;
    }
    json!(usages)
}
