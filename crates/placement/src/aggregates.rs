//! `/resource_providers/{uuid}/aggregates`: groups of providers that others define; here they are only ids.

use std::collections::BTreeSet;

use kit::clock::Timestamp;
use kit::{Context, Error, Path, Reply, Result};
use sea_orm::{ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::entity::provider_aggregate;
use crate::input::{Body, shaped, uuid};
use crate::providers::store;
use crate::{Placement, answer, microversions as mv};

/// The body from 1.19 on; before, it is the bare list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Replace {
    aggregates: Vec<String>,
    resource_provider_generation: i64,
}

pub async fn list(app: Placement, ctx: Context, id: Path<String>) -> Result<Reply> {
    let provider = store::fetch(app.db.read(), &id.0).await?;
    view(&ctx, of_provider(app.db.read(), &provider.uuid).await?, provider.generation)
}

pub async fn replace(app: Placement, ctx: Context, id: Path<String>, body: Body<Value>) -> Result<Reply> {
    let (aggregates, given) = if ctx.speaks(mv::AGGREGATE_GENERATION) {
        let body: Replace = shaped(body.0)?;
        (body.aggregates, Some(body.resource_provider_generation))
    } else {
        (shaped::<Vec<String>>(body.0)?, None)
    };
    let unique = aggregates.iter().map(|text| uuid("aggregate", text)).collect::<Result<BTreeSet<_>>>()?;
    if unique.len() != aggregates.len() {
        return Err(Error::bad_request("JSON does not validate: the aggregates have non-unique elements"));
    }
    let names: Vec<String> = unique.iter().cloned().collect();
    let generation = app
        .db
        .write(move |tx| {
            Box::pin(async move {
                let provider = match given {
                    Some(generation) => store::fetch_at(tx, &id.0, generation).await?,
                    None => store::fetch(tx, &id.0).await?,
                };
                set(tx, &provider.uuid, unique).await?;
                if given.is_none() {
                    return Ok(provider.generation);
                }
                store::advance(tx, &provider.uuid, provider.generation).await
            })
        })
        .await?;
    view(&ctx, names, generation)
}

async fn set(tx: &DatabaseTransaction, uuid: &str, aggregates: BTreeSet<String>) -> Result<()> {
    provider_aggregate::Entity::delete_many().filter(provider_aggregate::Column::ProviderUuid.eq(uuid)).exec(tx).await?;
    if aggregates.is_empty() {
        return Ok(());
    }
    let rows = aggregates
        .into_iter()
        .map(|aggregate_uuid| provider_aggregate::Model { provider_uuid: uuid.to_owned(), aggregate_uuid }.into_active_model());
    provider_aggregate::Entity::insert_many(rows).exec_without_returning(tx).await?;
    Ok(())
}

async fn of_provider(conn: &impl ConnectionTrait, uuid: &str) -> Result<Vec<String>> {
    let rows = provider_aggregate::Entity::find().filter(provider_aggregate::Column::ProviderUuid.eq(uuid));
    let rows = rows.order_by_asc(provider_aggregate::Column::AggregateUuid).all(conn).await?;
    Ok(rows.into_iter().map(|row| row.aggregate_uuid).collect())
}

fn view(ctx: &Context, aggregates: Vec<String>, generation: i64) -> Result<Reply> {
    let mut body = json!({"aggregates": aggregates});
    if ctx.speaks(mv::AGGREGATE_GENERATION)
        && let Some(body) = body.as_object_mut()
    {
        body.insert("resource_provider_generation".into(), generation.into());
    }
    answer::ok(ctx, Timestamp::now(), &body)
}
