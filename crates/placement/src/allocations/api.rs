//! The operations on allocations.

use std::collections::{BTreeMap, HashMap};

use kit::clock::Timestamp;
use kit::{Context, Error, Path, Reply, Result, ids};
use sea_orm::sea_query::Query as Sql;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde_json::{Value, json};

use super::claim::{self, of_consumer};
use super::wire::{self, ManagedConsumer, read_consumers};
use crate::entity::{allocation, consumer, provider};
use crate::input::Body;
use crate::providers::store;
use crate::{Placement, answer, microversions as mv};

/// `GET /allocations/{consumer}`; a consumer nobody knows has nothing.
pub async fn show(app: Placement, ctx: Context, id: Path<String>) -> Result<Reply> {
    let rows = of_consumer(app.db.read(), &id.0).await?;
    let consumer = consumer::Entity::find_by_id(id.0.clone()).one(app.db.read()).await?;
    let Some(consumer) = consumer.filter(|_| !rows.is_empty()) else {
        return answer::ok(&ctx, Timestamp::now(), &json!({"allocations": {}}));
    };
    let uuids = rows.iter().map(|row| row.provider_uuid.clone());
    let providers = provider::Entity::find().filter(provider::Column::Uuid.is_in(uuids)).all(app.db.read()).await?;
    let generations: HashMap<&str, i64> = providers.iter().map(|p| (p.uuid.as_str(), p.generation)).collect();
    let mut shares: BTreeMap<&str, Value> = BTreeMap::new();
    for row in &rows {
        let generation = generations.get(row.provider_uuid.as_str());
        let share = shares.entry(&row.provider_uuid).or_insert_with(|| json!({"resources": {}, "generation": generation}));
        if let Some(resources) = share.get_mut("resources").and_then(Value::as_object_mut) {
            resources.insert(row.resource_class.clone(), row.used.into());
        }
    }
    let mut body = json!({"allocations": shares});
    if let Some(body) = body.as_object_mut() {
        if ctx.speaks(mv::ALLOCATION_OBJECT) {
            body.insert("project_id".into(), consumer.project_id.into());
            body.insert("user_id".into(), consumer.user_id.into());
        }
        if ctx.speaks(mv::CONSUMER_GENERATION) {
            body.insert("consumer_generation".into(), consumer.generation.into());
        }
        if ctx.speaks(mv::CONSUMER_TYPE) {
            body.insert("consumer_type".into(), consumer.consumer_type.unwrap_or_else(|| "unknown".into()).into());
        }
    }
    answer::ok(&ctx, consumer.updated_at, &body)
}

/// `PUT /allocations/{consumer}`: the claim.
pub async fn update(app: Placement, ctx: Context, id: Path<String>, body: Body<Value>) -> Result<Reply> {
    let consumer = ids::parse_uuid(&id.0).ok_or_else(|| Error::bad_request(format!("Malformed consumer_uuid: {}", id.0)))?;
    let claim = wire::read(&ctx, &consumer, body.0)?;
    app.db.write(move |tx| Box::pin(async move { claim::apply(tx, &[claim]).await })).await?;
    Reply::no_content()
}

/// `POST /allocations`: several consumers, all or none.
pub async fn manage(app: Placement, ctx: Context, body: Body<BTreeMap<String, ManagedConsumer>>) -> Result<Reply> {
    if body.0.is_empty() {
        return Err(Error::bad_request("JSON does not validate: {} should be non-empty"));
    }
    let claims = read_consumers(&ctx, body.0)?;
    app.db.write(move |tx| Box::pin(async move { claim::apply(tx, &claims).await })).await?;
    Reply::no_content()
}

pub async fn delete(app: Placement, _: Context, id: Path<String>) -> Result<Reply> {
    let consumer = id.0.clone();
    if app.db.write(move |tx| Box::pin(async move { claim::release(tx, &consumer).await })).await? {
        return Reply::no_content();
    }
    Err(Error::not_found(format!("No allocations for consumer '{}'", id.0)))
}

/// `GET /resource_providers/{uuid}/allocations`
pub async fn of_provider(app: Placement, ctx: Context, id: Path<String>) -> Result<Reply> {
    let provider = store::fetch(app.db.read(), &id.0).await?;
    let of_it = allocation::Column::ProviderUuid.eq(&id.0);
    let rows = allocation::Entity::find().filter(of_it.clone()).all(app.db.read()).await?;
    let drawing = Sql::select().column(allocation::Column::ConsumerUuid).from(allocation::Entity).and_where(of_it).to_owned();
    let consumers = consumer::Entity::find().filter(consumer::Column::Uuid.in_subquery(drawing)).all(app.db.read()).await?;
    let generations: HashMap<String, i64> = consumers.into_iter().map(|c| (c.uuid, c.generation)).collect();
    let mut shares: BTreeMap<String, Value> = BTreeMap::new();
    for row in rows {
        let generation = generations.get(&row.consumer_uuid).filter(|_| ctx.speaks(mv::CONSUMER_GENERATION));
        let share = shares.entry(row.consumer_uuid).or_insert_with(|| match generation {
            Some(generation) => json!({"resources": {}, "consumer_generation": generation}),
            None => json!({"resources": {}}),
        });
        if let Some(resources) = share.get_mut("resources").and_then(Value::as_object_mut) {
            resources.insert(row.resource_class, row.used.into());
        }
    }
    let body = json!({"allocations": shares, "resource_provider_generation": provider.generation});
    answer::ok(&ctx, Timestamp::now(), &body)
}
